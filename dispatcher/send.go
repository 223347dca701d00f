package dispatcher

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"iter"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
)

const (
	// sliceBytes is how much of a large load's rows goes into one slice message.
	sliceBytes = 2 << 20
	// packedAhead is how many bytes of payloads are packed while the ones before
	// are being stored: as many as go out at once.
	packedAhead = 8 << 20
)

// packed is a load on its way to the queue.
type packed struct {
	load    *messages.Load
	payload []byte
	weight  int64
	rows    iter.Seq2[stretch, error] // of a large load: read by who sends it
	done    chan struct{}             // closed when they were read
}

// rowsPacker makes payloads, in memory that it keeps.
type rowsPacker struct {
	merger encoding.Merger
	rows   encoding.RowsPacker
}

// sendAll dispatches every partition's load, in key order. Small ones are packed
// ahead, while the queue stores those before them.
func (d *Dispatcher) sendAll(ctx context.Context, out *queue.Dispatch, e *extraction, p *plan, ps *partitions, counts *messages.Plan) error {
	group, ctx := errgroup.WithContext(ctx)
	loads := make(chan *packed, 4096)
	ahead := semaphore.NewWeighted(packedAhead)
	try := rand.Text()
	group.Go(func() error {
		defer close(loads)
		var packer rowsPacker
		for part, rows := range ps.all() {
			l := &packed{load: p.load(e, part), rows: rows}
			if err := d.prepare(ctx, l, ps, try, &packer, ahead); err != nil {
				return fmt.Errorf("partition %s: %w", part.key, err)
			}
			select {
			case loads <- l:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			if l.done == nil {
				continue
			}
			select {
			case <-l.done:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	})
	group.Go(func() error {
		var packer rowsPacker
		for l := range loads {
			if err := d.send(ctx, out, l, try, &packer); err != nil {
				return fmt.Errorf("partition %s: %w", l.load.Key, err)
			}
			ahead.Release(l.weight)
			counts.Loads++
			counts.Rows += l.load.Rows
		}
		return nil
	})
	return group.Wait()
}

// prepare packs a load that is likely to be small. A large one is left alone: it
// may stand already, and its slices would be garbage.
func (d *Dispatcher) prepare(ctx context.Context, l *packed, ps *partitions, try string, packer *rowsPacker, ahead *semaphore.Weighted) (err error) {
	if l.load.Delete {
		return nil
	}
	if l.load.Rows*ps.rowBytes() > int64(d.cfg.InlineBytes) {
		l.done = make(chan struct{})
		return nil
	}
	if l.payload, err = d.pack(ctx, l.load, try, packer, l.rows); err != nil {
		return err
	}
	l.weight = min(int64(len(l.payload)), packedAhead)
	if err := ahead.Acquire(ctx, l.weight); err != nil {
		return context.Cause(ctx)
	}
	return nil
}

// send dispatches one load. A large one that stands already is passed over, its
// rows unpacked.
func (d *Dispatcher) send(ctx context.Context, out *queue.Dispatch, l *packed, try string, packer *rowsPacker) error {
	stands, err := out.Pass(ctx, l.load)
	if err != nil {
		return err
	}
	if l.done != nil {
		defer close(l.done)
		if stands {
			for _, err := range l.rows { // the walk must go by them
				if err != nil {
					return err
				}
			}
		} else if l.payload, err = d.pack(ctx, l.load, try, packer, l.rows); err != nil {
			return err
		}
	}
	if stands {
		return nil
	}
	return out.Add(ctx, l.load, l.payload)
}

// pack puts a partition's rows into the load, as its payload when they are
// few, else as slices that are acknowledged before this returns.
func (d *Dispatcher) pack(ctx context.Context, l *messages.Load, try string, packer *rowsPacker, rows iter.Seq2[stretch, error]) ([]byte, error) {
	merger := &packer.merger
	merger.Reset()
	var slices *queue.SliceWriter
	slice := func(rows *encoding.Rows, b []byte) error {
		if slices == nil {
			slices = d.queue.Slices(ctx, messages.SliceSubject(l.Extraction, l.ID, try))
		}
		return slices.Write(ctx, int64(rows.Len()), b)
	}
	write := func(rows *encoding.Rows) error {
		b, _, err := packer.rows.Pack(rows)
		if err != nil {
			return err
		}
		return slice(rows, b)
	}
	var whole *encoding.Rows // of a load that is all that its source holds
	for part, err := range rows {
		if err != nil {
			return nil, err
		}
		if from := part.from.Rows; int64(part.len()) == l.Rows && part.len() == from.Len() && !from.Numbered() && from.Size() <= sliceBytes {
			whole = from
			break
		}
		for part.len() > 0 {
			n := part.len()
			if part.from.Rows.Numbered() || merger.Size()+2*int64(n)*part.from.Rows.RowBytes() > sliceBytes {
				n = merger.Fits(part.from, part.row, part.end, sliceBytes)
			}
			if n == 0 {
				if err := write(merger.Merged()); err != nil {
					return nil, err
				}
				merger.Reset()
				continue
			}
			merger.Add(part.from, part.row, part.row+n)
			part.row += n
		}
	}
	if whole == nil {
		whole = merger.Merged()
	}
	if slices == nil {
		b, unpacked, err := packer.rows.Pack(whole)
		if err != nil {
			return nil, err
		}
		if unpacked <= d.cfg.InlineBytes {
			sum := sha256.Sum256(b)
			l.Inline = &messages.RowsRef{
				Bytes: int64(len(b)), Packed: encoding.PackedColumns, Unpacked: int64(unpacked), SHA256: hex.EncodeToString(sum[:]),
			}
			return bytes.Clone(b), nil
		}
		if err := slice(whole, b); err != nil {
			return nil, err
		}
	} else if whole != nil {
		if err := write(whole); err != nil {
			return nil, err
		}
	}
	ref := slices.Close()
	ref.Packed = encoding.PackedColumns
	l.Slices = []messages.SliceRef{ref}
	return nil, nil
}
