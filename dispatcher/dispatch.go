package dispatcher

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
)

// sliceBytes is how much of a large load's rows goes into one slice message.
const sliceBytes = 2 << 20

// dispatch carries out one commit: ARCHITECTURE.md, steps 3 to 8. Run again
// after a crash at any line it ends in the same loads.
func (d *Dispatcher) dispatch(ctx context.Context, e *extraction) (messages.Plan, error) {
	done, err := d.queue.Dispatched(ctx, e.Workspace, e.Extraction)
	if err != nil {
		return messages.Plan{}, fmt.Errorf("look for an earlier dispatch: %w", err)
	}
	if done == nil {
		counts, err := d.makeLoads(ctx, e)
		if err != nil {
			return messages.Plan{}, err
		}
		done = &counts
		if err := d.publish(ctx, e, messages.Event{Kind: messages.EventDispatched, Plan: done}); err != nil {
			return messages.Plan{}, err
		}
	}
	// Its loads may have ended before this said how many there are.
	if _, err := d.queue.Complete(ctx, e.Workspace, e.Extraction); err != nil {
		return *done, fmt.Errorf("complete: %w", err)
	}
	if err := d.queue.PurgeRows(ctx, e.Workspace, e.Extraction); err != nil {
		return *done, fmt.Errorf("purge rows: %w", err)
	}
	return *done, nil
}

func (d *Dispatcher) makeLoads(ctx context.Context, e *extraction) (counts messages.Plan, err error) {
	if err := d.publish(ctx, e, messages.Event{Kind: messages.EventAccepted}); err != nil {
		return counts, err
	}
	p, err := d.pinPlan(ctx, e)
	if err != nil {
		return counts, err
	}
	ps, err := newPartitions(e.commit, p, d.cfg.scratch())
	if err != nil {
		return counts, err
	}
	defer func() { err = errors.Join(err, ps.close()) }()
	if p.Schema != nil {
		if err := d.gather(ctx, e, p, ps); err != nil {
			return counts, err
		}
	}
	if err := ps.restate(); err != nil {
		return counts, err
	}
	out := d.queue.Dispatch(ctx, e.Workspace, e.Extraction, p.hash)
	try := rand.Text()
	for part, rows := range ps.all() {
		if err := d.send(ctx, out, p.load(e, part), try, rows); err != nil {
			return counts, fmt.Errorf("partition %s: %w", part.key, err)
		}
		counts.Loads++
		counts.Rows += part.rows
	}
	if err := d.sendManifests(ctx, out, p, e, ps, &counts); err != nil {
		return counts, err
	}
	if err := out.Close(ctx); err != nil {
		return counts, fmt.Errorf("dispatch: %w", err)
	}
	return counts, nil
}

// gather reads the whole extraction into its partitions.
func (d *Dispatcher) gather(ctx context.Context, e *extraction, p *plan, ps *partitions) error {
	located := locate{batches: e.commit.Parts(), date: e.commit.DateColumn, account: e.commit.AccountColumn}
	err := d.read(ctx, e, p, func(rows *encoding.Rows) error {
		if err := ps.add(rows); err != nil {
			return located.row(err)
		}
		located.before += int64(rows.Len())
		return ctx.Err()
	})
	if err == nil && located.before != e.commit.Rows {
		return &ManifestError{Counts: true, Message: fmt.Sprintf(
			"the batches hold %d rows, and the commit says %d", located.before, e.commit.Rows)}
	}
	return err
}

// send dispatches one load. One that stands already is passed over, its rows
// unread where they can be.
func (d *Dispatcher) send(ctx context.Context, out *queue.Dispatch, l *messages.Load, try string, rows iter.Seq2[*encoding.Rows, error]) error {
	stands, err := out.Pass(ctx, l)
	if err != nil {
		return err
	}
	if stands {
		for _, err := range rows { // the walk must go by them
			if err != nil {
				return err
			}
		}
		return nil
	}
	var payload []byte
	if !l.Delete {
		if payload, err = d.pack(ctx, l, try, rows); err != nil {
			return err
		}
	}
	return out.Add(ctx, l, payload)
}

// load describes a partition's load, without its rows.
func (p *plan) load(e *extraction, part *partition) *messages.Load {
	l := p.loadAt(e, part.key)
	l.Part, l.Rows, l.Delete = messages.Partition{Account: part.account}, part.rows, part.gone
	if part.spans {
		l.Part.From, l.Part.To = day(part.from), day(part.to)
		l.Part.DateColumn = e.commit.DateColumn
	}
	if p.Account {
		l.Part.AccountColumn = e.commit.AccountColumn
	}
	if part.shared {
		l.Part.Holds, l.Part.Covers = part.holds.Set(), coveredAccounts(e.commit.Covers)
	}
	return l
}

func day(n int32) string {
	return time.Unix(int64(n)*86400, 0).UTC().Format(time.DateOnly)
}

// loadAt describes the load that makes the object of a key.
func (p *plan) loadAt(e *extraction, key string) *messages.Load {
	return &messages.Load{
		Version:   messages.Version,
		ID:        messages.LoadID(e.Workspace, e.Extraction, p.Bucket, key),
		Workspace: e.Workspace, Destination: e.commit.Destination, Extraction: e.Extraction,
		Lane: cmp.Or(e.commit.Lane, messages.Fresh), Generation: e.commit.Generation, Table: e.commit.Filename,
		Bucket: p.Bucket, Key: key, File: p.File, Time: p.Time,
	}
}

// pack puts a partition's rows into the load, as its payload when they are
// few, else as slices that are acknowledged before this returns.
func (d *Dispatcher) pack(ctx context.Context, l *messages.Load, try string, parts iter.Seq2[*encoding.Rows, error]) ([]byte, error) {
	var held []*encoding.Rows
	var size int64
	var slices *queue.SliceWriter
	flush := func() error {
		rows := encoding.Concat(held...)
		b, err := encoding.MarshalRows(rows)
		if err != nil {
			return err
		}
		held, size = nil, 0
		return slices.Write(ctx, int64(rows.Len()), b)
	}
	for rows, err := range parts {
		if err != nil {
			return nil, err
		}
		for _, piece := range pieces(rows, sliceBytes) {
			if size > 0 && size+piece.Size() > sliceBytes {
				if slices == nil {
					slices = d.queue.Slices(ctx, messages.SliceSubject(l.Extraction, l.ID, try))
				}
				if err := flush(); err != nil {
					return nil, err
				}
			}
			held = append(held, piece)
			size += piece.Size()
		}
	}
	if slices == nil {
		b, err := encoding.MarshalRows(encoding.Concat(held...))
		if err != nil {
			return nil, err
		}
		if len(b) <= d.cfg.InlineBytes {
			sum := sha256.Sum256(b)
			l.Inline = &messages.RowsRef{Bytes: int64(len(b)), SHA256: hex.EncodeToString(sum[:])}
			return b, nil
		}
		slices = d.queue.Slices(ctx, messages.SliceSubject(l.Extraction, l.ID, try))
		if err := slices.Write(ctx, l.Rows, b); err != nil {
			return nil, err
		}
	} else if err := flush(); err != nil {
		return nil, err
	}
	l.Slices = []messages.SliceRef{slices.Close()}
	return nil, nil
}

func (d *Dispatcher) publish(ctx context.Context, e *extraction, ev messages.Event) error {
	ev.Version, ev.Time = messages.Version, time.Now().UTC()
	ev.Workspace, ev.Extraction = e.Workspace, e.Extraction
	if e.commit != nil {
		ev.Destination, ev.Table = e.commit.Destination, e.commit.Filename
	}
	if err := d.queue.Publish(ctx, ev); err != nil {
		return fmt.Errorf("event %s: %w", ev.Kind, err)
	}
	return nil
}
