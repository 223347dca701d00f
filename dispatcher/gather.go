package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
)

// span is consecutive batches, or a staged file, that one reader decodes.
type span struct {
	batches []messages.Batch
	file    *messages.StagedFile // the only batch's body, if it is not inside
	before  int64                // rows of the extraction before it
	made    chan sorted
}

// sorted is what became of a span: its rows as runs, in the order of the extraction.
type sorted struct {
	runs []*run
	err  error
}

// firstSpan is how many bytes of bodies the first span has: what they unpack to
// is not known until one of them was read.
const firstSpan = 1 << 20

// gathering reads an extraction with several readers: while one waits for the
// disk or the collector, another one decodes.
type gathering struct {
	d  *Dispatcher
	e  *extraction
	p  *plan
	ps *partitions

	parts []messages.BatchManifest
	spans chan *span
	grows atomic.Int64 // bytes in columns per KiB of bodies, once known
}

// gather reads the whole extraction into its partitions.
func (d *Dispatcher) gather(ctx context.Context, e *extraction, p *plan, ps *partitions) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g := &gathering{d: d, e: e, p: p, ps: ps, parts: e.commit.Parts(), spans: make(chan *span)}
	var readers sync.WaitGroup
	for range d.cfg.Readers {
		readers.Go(func() { g.read(ctx) })
	}
	err := g.collect(ctx, cancel)
	readers.Wait()
	return err
}

// collect cuts the extraction into spans and keeps what was made of them, in
// their order. Of several errors it returns the one of the earliest batch.
func (g *gathering) collect(ctx context.Context, cancel context.CancelFunc) error {
	var pending []*span
	var failed error
	take := func(wait bool) {
		for len(pending) > 0 {
			var m sorted
			select {
			case m = <-pending[0].made:
			default:
				if !wait {
					return
				}
				m = <-pending[0].made
			}
			pending = pending[1:]
			if failed == nil {
				failed = m.err
			}
			if failed == nil {
				failed = g.ps.keep(m.runs)
				m.runs = nil
			}
			if failed != nil {
				cancel() // those behind it need not be read
				for _, r := range m.runs {
					failed = errors.Join(failed, r.close())
				}
			}
		}
	}
	next := &span{}
	size, rows, collected := 0, int64(0), int64(0)
	send := func() error {
		next.made = make(chan sorted, 1)
		select {
		case g.spans <- next:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		pending = append(pending, next)
		next, size = &span{before: rows}, 0
		take(false)
		return failed
	}
	add := func(b messages.Batch, file *messages.StagedFile) error {
		next.batches, next.file = append(next.batches, b), file
		rows, collected = rows+g.parts[b.Ordinal-1].Rows, collected+int64(len(b.Body))
		if size += len(b.Body); file != nil || size >= g.spanBytes(size, collected, rows) {
			return send()
		}
		return nil
	}
	err := g.d.each(ctx, g.e, add)
	if err == nil && len(next.batches) > 0 {
		err = send()
	}
	close(g.spans)
	take(true)
	if failed != nil {
		return failed
	}
	if err == nil && rows != g.e.commit.Rows {
		err = &ManifestError{Counts: true, Message: fmt.Sprintf("the batches hold %d rows, and the commit says %d", rows, g.e.commit.Rows)}
	}
	return err
}

// spanBytes is how many bytes of bodies the next span is to have: what makes about
// one chunk, with some room. It has size already, and so far all spans have
// collected bytes of rows. The last ones are smaller, so that readers end at about
// the same time.
func (g *gathering) spanBytes(size int, collected, rows int64) int {
	grows := g.grows.Load()
	if grows == 0 {
		return firstSpan
	}
	chunk := g.d.cfg.chunkBytes()
	full := min(chunk*1024/grows*9/10, chunk/2)
	readers := int64(g.d.cfg.Readers)
	perRow := float64(collected) / float64(max(rows, 1))
	if left := int64(size) + int64(float64(g.e.commit.Rows-rows)*perRow); left < readers*full {
		return int(max(left/(readers+1), full/3))
	}
	return int(full)
}

// read decodes one span after another. The last chunk of a span stays in
// memory until the reader needs that for the next: at the end a chunk of each
// reader was never on disk.
func (g *gathering) read(ctx context.Context) {
	r := &reader{gathering: g, located: locate{
		batches: g.parts, date: g.e.commit.DateColumn, account: g.e.commit.AccountColumn,
	}}
	r.open(ctx)
	for s := range g.spans {
		r.finish()
		r.span = s
		if err := r.decode(ctx); err != nil {
			for _, on := range r.runs {
				err = errors.Join(err, on.close())
			}
			s.made <- sorted{err: err}
			r.span, r.runs, r.last = nil, nil, nil
			r.open(ctx) // a decoder takes nothing after an error
		}
	}
	if r.span != nil {
		if r.last != nil {
			r.runs = append(r.runs, g.ps.scratch.inMemory(r.last))
		}
		r.span.made <- sorted{runs: r.runs}
	}
}

// reader decodes spans.
type reader struct {
	*gathering
	decoder *encoding.Decoder
	located locate
	span    *span // being read, or whose last chunk is in memory
	runs    []*run
	last    *encoding.Arrangement
	ending  bool  // the span's last chunk is about to be emitted
	columns int64 // bytes emitted of the span
}

func (r *reader) open(ctx context.Context) {
	opts := encoding.DecodeOptions{
		UnknownColumns: r.e.commit.UnknownColumns == messages.IgnoreUnknown || r.p.Loose,
		ChunkBytes:     r.d.cfg.chunkBytes(),
		MaxBatchBytes:  r.d.cfg.MaxBatchSize,
		MaxRowBytes:    maxRowBytes,
		Recycle:        true,
	}
	if len(r.e.commit.Files) > 0 {
		opts.MaxBatchBytes = maxStagedBytes
	}
	if r.p.dateByLoad() {
		opts.LenientColumn = r.e.commit.DateColumn
	}
	r.decoder = encoding.NewDecoder(r.p.Schema, opts, func(rows *encoding.Rows) error { return r.emit(ctx, rows) })
}

// finish hands over what was made of the span before: its memory is needed.
func (r *reader) finish() {
	if r.span == nil {
		return
	}
	var err error
	if r.last != nil {
		err = r.spill(r.last)
	}
	r.span.made <- sorted{r.runs, err}
	r.span, r.runs, r.last = nil, nil, nil
}

func (r *reader) spill(a *encoding.Arrangement) error {
	on, err := r.ps.scratch.onDisk(a)
	if err != nil {
		return err
	}
	r.runs = append(r.runs, on)
	return nil
}

func (r *reader) decode(ctx context.Context) error {
	r.located.before, r.columns, r.ending = r.span.before, 0, false
	bodies := 0
	for i := range r.span.batches {
		b := &r.span.batches[i]
		err := r.d.body(ctx, r.e, *b, r.span.file, func(body io.Reader) error {
			rows, err := r.decoder.Decode(b.Ordinal, b.Format, b.Compression, body)
			if want := r.parts[b.Ordinal-1].Rows; err == nil && rows != want {
				err = &ManifestError{Batch: b.Ordinal, Message: fmt.Sprintf(
					"batch %d holds %d rows, and the commit says %d", b.Ordinal, rows, want), Counts: true}
			}
			return err
		})
		if err != nil {
			return err
		}
		bodies += len(b.Body)
		b.Body = nil // not needed any more
	}
	r.ending = true
	if err := r.decoder.Flush(); err != nil {
		return err
	}
	if bodies > 0 {
		r.grows.Store(max(r.columns*1024/int64(bodies), 1))
	}
	return ctx.Err()
}

// emit takes a chunk, whose memory the decoder uses again for the next.
func (r *reader) emit(ctx context.Context, rows *encoding.Rows) error {
	r.columns += rows.Size()
	a, err := r.ps.arrange(rows)
	if err != nil {
		return r.located.row(err)
	}
	r.located.before += int64(rows.Len())
	if r.ending {
		r.last = a
		return ctx.Err()
	}
	if err := r.spill(a); err != nil {
		return err
	}
	return ctx.Err()
}
