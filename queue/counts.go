package queue

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/messages"
)

// This file counts the loads of extractions: by the tallies that workers keep,
// never by walking outcomes.

// ExtractionName names an extraction: its id is unique in its workspace only.
type ExtractionName struct{ Workspace, Extraction string }

// Counts is how the loads of an extraction ended, so far. It is exact as of one
// moment, though a replica may answer that lags behind.
func (q *Queue) Counts(ctx context.Context, workspace, extraction string) (messages.Counts, error) {
	counts := messages.Counts{}
	for t, err := range q.latestTallies(ctx, messages.TallySubjects(workspace, extraction)) {
		if err != nil {
			return nil, fmt.Errorf("counts of %s: %w", extraction, err)
		}
		counts.Merge(t.Counts)
	}
	return counts, nil
}

// latestTallies yields every tally on a filter, as of one moment, by one
// request.
func (q *Queue) latestTallies(ctx context.Context, filter string) iter.Seq2[*messages.Tally, error] {
	return func(yield func(*messages.Tally, error) bool) {
		var found []*jetstream.RawStreamMsg
		if err := q.retry(ctx, "tallies on "+filter, func(ctx context.Context) error {
			found = found[:0]
			all, err := jetstreamext.GetLastMsgsFor(ctx, q.js, streamEvents, []string{filter})
			if err != nil {
				return err
			}
			for m, err := range all {
				switch {
				case errors.Is(err, jetstreamext.ErrNoMessages) && len(found) == 0:
					return nil
				case errors.Is(err, jetstreamext.ErrNoMessages): // one of them went while it was read
					return fmt.Errorf("%w (%w)", nats.ErrTimeout, err)
				case err != nil:
					return err
				}
				found = append(found, m)
			}
			return ctx.Err() // an answer without its end ends with the time
		}); err != nil {
			yield(nil, err)
			return
		}
		for _, m := range found {
			t, err := messages.ParseTally(m.Data)
			if !yield(t, err) || err != nil {
				return
			}
		}
	}
}

// countsOfAll is the counts of every extraction of a workspace, or of all when
// it is empty.
func (q *Queue) countsOfAll(ctx context.Context, workspace string) (map[ExtractionName]messages.Counts, error) {
	latest := map[string]*messages.Tally{}
	for msg, err := range q.read(ctx, reading{stream: streamEvents, subjects: []string{messages.TallySubjects(workspace, "")}}) {
		if err != nil {
			return nil, fmt.Errorf("count loads: %w", err)
		}
		t, err := messages.ParseTally(msg.Data())
		if err != nil {
			q.log.Warn("tally cannot be read", zap.String("subject", msg.Subject()), zap.Error(err))
			continue
		}
		latest[msg.Subject()] = t
	}
	counts := map[ExtractionName]messages.Counts{}
	for _, t := range latest {
		n := ExtractionName{t.Workspace, t.Extraction}
		if counts[n] == nil {
			counts[n] = messages.Counts{}
		}
		counts[n].Merge(t.Counts)
	}
	return counts, nil
}

// Complete publishes that an extraction is completed, with its plan and counts,
// when as many loads have ended as were dispatched; it reports whether they
// have. Anybody may call it, at any time: the event is stored once, and a
// replay that ends later changes the counts, not the event.
func (q *Queue) Complete(ctx context.Context, workspace, extraction string) (bool, error) {
	completed := messages.Event{Version: messages.Version, Kind: messages.EventCompleted, Workspace: workspace, Extraction: extraction}
	_, err := q.lastOn(ctx, streamEvents, messages.EventSubject(&completed))
	if !errors.Is(err, ErrNotFound) {
		return err == nil, err
	}
	m, err := q.lastOn(ctx, streamEvents, messages.EventSubject(&messages.Event{Kind: messages.EventDispatched, Workspace: workspace, Extraction: extraction}))
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	dispatched, err := messages.ParseEvent(m.Data)
	if err != nil {
		return false, fmt.Errorf("complete extraction %s: %w", extraction, err)
	}
	if dispatched.Plan == nil {
		return false, nil
	}
	if completed.Counts, err = q.Counts(ctx, workspace, extraction); err != nil {
		return false, err
	}
	if completed.Counts.Total().Loads < dispatched.Plan.Loads {
		return false, nil
	}
	completed.Time, completed.Plan = time.Now().UTC(), dispatched.Plan
	completed.Destination, completed.Table = dispatched.Destination, dispatched.Table
	body, err := messages.EncodeEvent(&completed)
	if err != nil {
		return false, fmt.Errorf("complete extraction %s: %w", extraction, err)
	}
	_, err = q.publish(ctx, &nats.Msg{Subject: messages.EventSubject(&completed), Data: body},
		jetstream.WithMsgTTL(KeepEvents), jetstream.WithExpectLastSequencePerSubject(0))
	if outrun(err) {
		err = nil // somebody was faster, or our own first try, whose answer was lost
	}
	return err == nil, err
}

// Uncompleted is the extractions of which something was dispatched or counted
// after a sequence of the stream of events, 0 for all there are, and that were
// not completed since; and the sequence from which to look next time. Whoever
// should have completed one may have been killed.
func (q *Queue) Uncompleted(ctx context.Context, after uint64) (open []ExtractionName, next uint64, err error) {
	moved := map[ExtractionName]bool{} // false: completed
	next = after
	for msg, err := range q.read(ctx, reading{stream: streamEvents, headersOnly: true, after: after, subjects: []string{
		messages.TallySubjects("", ""), messages.EventKindSubjects("", messages.EventDispatched), messages.EventKindSubjects("", messages.EventCompleted),
	}}) {
		if err != nil {
			return nil, after, fmt.Errorf("look for uncompleted extractions: %w", err)
		}
		if meta, err := msg.Metadata(); err == nil {
			next = meta.Sequence.Stream
		}
		if workspace, extraction, ok := messages.TallyOrigin(msg.Subject()); ok {
			n := ExtractionName{workspace, extraction}
			if _, known := moved[n]; !known {
				moved[n] = true
			}
			continue
		}
		if workspace, extraction, kind, ok := messages.EventOrigin(msg.Subject()); ok {
			n := ExtractionName{workspace, extraction}
			_, known := moved[n]
			moved[n] = kind != messages.EventCompleted && (!known || moved[n])
		}
	}
	for n, is := range moved {
		if is {
			open = append(open, n)
		}
	}
	return open, next, nil
}
