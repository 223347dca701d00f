package dispatcher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/loadfleet/loadfleet/messages"
)

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
		if err := d.publish(ctx, e, messages.Event{Kind: messages.EventDispatched, Plan: done, Notes: e.notes}); err != nil {
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
	if err := d.remember(ctx, e, p); err != nil {
		return counts, err
	}
	e.notes = p.notes()
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
	if err := d.sendAll(ctx, out, e, p, ps, &counts); err != nil {
		return counts, err
	}
	if err := d.sendManifests(ctx, out, p, e, ps, &counts); err != nil {
		return counts, err
	}
	if err := d.sendSidecars(ctx, out, p, e, ps, &counts); err != nil {
		return counts, err
	}
	if err := out.Close(ctx); err != nil {
		return counts, fmt.Errorf("dispatch: %w", err)
	}
	return counts, nil
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
