package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/messages"
)

// Publish stores an event. Of each kind an extraction keeps the last one, and
// of outcomes the last one of each load: publishing one again changes nothing.
func (q *Queue) Publish(ctx context.Context, event messages.Event) error {
	if event.Version == 0 {
		event.Version = messages.Version
	}
	if event.Time.IsZero() {
		event.Time = time.Now().UTC()
	}
	body, err := messages.EncodeEvent(&event)
	if err != nil {
		return fmt.Errorf("publish event %s: %w", event.Kind, err)
	}
	_, err = q.publish(ctx, &nats.Msg{Subject: messages.EventSubject(&event), Data: body}, jetstream.WithMsgTTL(KeepEvents))
	return err
}

// tell publishes an event beside a dead letter. One that can never be
// published, such as that of a commit on a subject without valid names, must
// not bring the message back for ever.
func (q *Queue) tell(ctx context.Context, event messages.Event) error {
	err := q.Publish(ctx, event)
	var refused *messages.DecodeError
	if errors.As(err, &refused) {
		q.log.Warn("event cannot be written", zap.Error(err), zap.String("extraction", event.Extraction))
		return nil
	}
	return err
}

// Events yields the events of an extraction, or of a whole workspace when
// extraction is empty, in the order in which they were stored. With live it
// then waits for more until ctx ends. An error is the last thing it yields.
func (q *Queue) Events(ctx context.Context, workspace, extraction string, live bool) iter.Seq2[messages.Event, error] {
	subject := messages.EventSubjects(workspace, extraction)
	if extraction == "" {
		subject = messages.EventKindSubjects(workspace, ">")
	}
	return q.events(ctx, live, subject)
}

// Milestones yields the events of an extraction but for the outcomes of its loads,
// and then waits for more until ctx ends: for who must not be busy with each load.
// An error is the last thing it yields.
func (q *Queue) Milestones(ctx context.Context, workspace, extraction string) iter.Seq2[messages.Event, error] {
	subject := messages.EventSubjects(workspace, extraction)
	return q.events(ctx, true, subject[:len(subject)-1]+"*")
}

// Outcomes yields how the loads of an extraction ended, so far.
func (q *Queue) Outcomes(ctx context.Context, workspace, extraction string) iter.Seq2[messages.Outcome, error] {
	return func(yield func(messages.Outcome, error) bool) {
		for event, err := range q.events(ctx, false, outcomeSubjects(workspace, extraction)) {
			if err != nil {
				yield(messages.Outcome{}, err)
				return
			}
			if event.Outcome != nil && !yield(*event.Outcome, nil) {
				return
			}
		}
	}
}

// outcomeSubjects is the filter for all outcomes of an extraction.
func outcomeSubjects(workspace, extraction string) string {
	subject := messages.EventSubjects(workspace, extraction)
	return subject[:len(subject)-1] + string(messages.EventOutcome) + ".*"
}

func (q *Queue) events(ctx context.Context, live bool, subjects ...string) iter.Seq2[messages.Event, error] {
	return q.eventsOf(ctx, reading{stream: streamEvents, subjects: subjects, live: live})
}

func (q *Queue) eventsOf(ctx context.Context, r reading) iter.Seq2[messages.Event, error] {
	return func(yield func(messages.Event, error) bool) {
		for msg, err := range q.read(ctx, r) {
			if err != nil {
				yield(messages.Event{}, err)
				return
			}
			event, err := messages.ParseEvent(msg.Data())
			if err != nil {
				q.log.Warn("event cannot be read", zap.String("subject", msg.Subject()), zap.Error(err))
				continue
			}
			if !yield(*event, nil) {
				return
			}
		}
	}
}

// ExtractionState is what became of an extraction so far. Times are zero when
// that has not happened.
type ExtractionState struct {
	Workspace   string `json:"workspace"`
	Extraction  string `json:"extraction"`
	Destination string `json:"destination"`
	Table       string `json:"table"`

	State      messages.EventKind `json:"state"` // the last thing that happened
	Accepted   time.Time          `json:"accepted,omitzero"`
	Dispatched time.Time          `json:"dispatched,omitzero"`
	Ended      time.Time          `json:"ended,omitzero"` // completed or failed
	Plan       *messages.Plan     `json:"plan"`
	Counts     messages.Counts    `json:"counts"` // of the loads that ended, until now
	Failure    *messages.Failure  `json:"failure"`
}

// Left is how many of the planned loads have not ended.
func (s *ExtractionState) Left() int64 {
	if s.Plan == nil {
		return 0
	}
	return max(s.Plan.Loads-s.Counts.Total().Loads, 0)
}

// LateAfter is how long an extraction may take before operators call it late.
const LateAfter = 15 * time.Minute

// Over reports whether nothing more is to be expected.
func (s *ExtractionState) Over() bool {
	return s.State == messages.EventCompleted || s.State == messages.EventFailed || s.Plan != nil && s.Left() == 0
}

// Late reports whether an extraction that was accepted longer than after ago is
// not over.
func (s *ExtractionState) Late(now time.Time, after time.Duration) bool {
	return !s.Over() && now.Sub(s.Accepted) > after
}

// Updated is when the last thing happened.
func (s *ExtractionState) Updated() time.Time {
	return slices.MaxFunc([]time.Time{s.Accepted, s.Dispatched, s.Ended}, time.Time.Compare)
}

func (s *ExtractionState) apply(e messages.Event) {
	// A replayed extraction begins again after it has failed.
	if s.State == "" || !e.Time.Before(s.Updated()) {
		s.State = e.Kind
		s.Failure = nil
	}
	s.Destination = cmp.Or(e.Destination, s.Destination)
	s.Table = cmp.Or(e.Table, s.Table)
	switch e.Kind {
	case messages.EventAccepted:
		s.Accepted = e.Time
	case messages.EventDispatched:
		s.Dispatched, s.Plan = e.Time, e.Plan
	case messages.EventCompleted, messages.EventFailed:
		if e.Time.After(s.Ended) {
			s.Ended = e.Time
		}
	}
	if s.State == messages.EventFailed && e.Kind == messages.EventFailed {
		s.Failure = e.Failure
	}
}

// Extractions lists the extractions of a workspace, or of all when it is
// empty, the latest first.
func (q *Queue) Extractions(ctx context.Context, workspace string) ([]*ExtractionState, error) {
	var subjects []string
	for _, kind := range []messages.EventKind{messages.EventAccepted, messages.EventDispatched, messages.EventCompleted, messages.EventFailed} {
		subjects = append(subjects, messages.EventKindSubjects(workspace, kind))
	}
	known := map[ExtractionName]*ExtractionState{}
	var all []*ExtractionState
	for event, err := range q.events(ctx, false, subjects...) {
		if err != nil {
			return nil, err
		}
		n := ExtractionName{event.Workspace, event.Extraction}
		if known[n] == nil {
			known[n] = &ExtractionState{Workspace: n.Workspace, Extraction: n.Extraction, Counts: messages.Counts{}}
			all = append(all, known[n])
		}
		known[n].apply(event)
	}
	counts, err := q.countsOfAll(ctx, workspace)
	if err != nil {
		return nil, err
	}
	for n, s := range known {
		s.Counts.Merge(counts[n])
	}
	slices.SortStableFunc(all, func(a, b *ExtractionState) int {
		return cmp.Or(b.Updated().Compare(a.Updated()), cmp.Compare(a.Workspace, b.Workspace), cmp.Compare(a.Extraction, b.Extraction))
	})
	return all, nil
}
