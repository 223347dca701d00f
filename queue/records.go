package queue

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/loadfleet/loadfleet/messages"
)

// This file is what stays on record of an extraction after its loads are gone:
// what a check of the bucket compares with.

// Commit is an extraction's commit, which stays for 30 days; [ErrNotFound] when
// there is none, and a [*messages.CommitError] when it is no commit.
func (q *Queue) Commit(ctx context.Context, workspace, extraction string) (messages.Commit, error) {
	subject := messages.CommitSubject(workspace, extraction)
	m, err := q.lastOn(ctx, streamCommits, subject)
	if err != nil {
		return messages.Commit{}, fmt.Errorf("commit of %s: %w", extraction, err)
	}
	return messages.ParseCommit(subject, m.Data)
}

// Committed reports whether an extraction of that id was committed, by any
// workspace, in the last 30 days.
func (q *Queue) Committed(ctx context.Context, extraction string) (bool, error) {
	_, err := q.lastOn(ctx, streamCommits, "commit.*."+messages.Token(extraction))
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// State is what became of one extraction so far; [ErrNotFound] when nothing has.
func (q *Queue) State(ctx context.Context, workspace, extraction string) (*ExtractionState, error) {
	var subjects []string
	for _, kind := range messages.EventKinds() {
		if kind != messages.EventOutcome {
			subjects = append(subjects, messages.EventSubject(&messages.Event{Kind: kind, Workspace: workspace, Extraction: extraction}))
		}
	}
	var state *ExtractionState
	for event, err := range q.events(ctx, false, subjects...) {
		if err != nil {
			return nil, fmt.Errorf("state of %s: %w", extraction, err)
		}
		if state == nil {
			state = &ExtractionState{Workspace: workspace, Extraction: extraction, Counts: messages.Counts{}}
		}
		state.apply(event)
	}
	if state == nil {
		return nil, fmt.Errorf("state of %s: %w", extraction, ErrNotFound)
	}
	var err error
	if state.Counts, err = q.Counts(ctx, workspace, extraction); err != nil {
		return nil, fmt.Errorf("state of %s: %w", extraction, err)
	}
	return state, nil
}

// Outcome is how one load of any workspace's extraction of that id ended;
// [ErrNotFound] when it has not, or longer ago than outcomes are kept.
func (q *Queue) Outcome(ctx context.Context, extraction, load string) (*messages.Outcome, error) {
	return q.outcomeOf(ctx, "", extraction, load)
}

// outcomeOf is how one load ended; the empty workspace stands for any.
func (q *Queue) outcomeOf(ctx context.Context, workspace, extraction, load string) (*messages.Outcome, error) {
	if workspace == "" {
		workspace = "*"
	} else {
		workspace = messages.Token(workspace)
	}
	subject := "event." + workspace + "." + messages.Token(extraction) + "." + string(messages.EventOutcome) + "." + messages.Token(load)
	m, err := q.lastOn(ctx, streamEvents, subject)
	if err != nil {
		return nil, fmt.Errorf("outcome of load %s: %w", load, err)
	}
	event, err := messages.ParseEvent(m.Data)
	if err != nil {
		return nil, fmt.Errorf("outcome of load %s: %w", load, err)
	}
	return event.Outcome, nil
}

// Marked counts the loads of an extraction that its markers say were put on
// the queue.
func (q *Queue) Marked(ctx context.Context, workspace, extraction string) (loads int64, err error) {
	d := q.Dispatch(ctx, workspace, extraction, "")
	for chunk := 0; ; chunk++ {
		subject := messages.DispatchedSubject(workspace, extraction, chunk)
		var stands *marker
		err := q.retry(ctx, "marker "+subject, func(ctx context.Context) (err error) {
			stands, err = d.standing(ctx, subject)
			return err
		})
		if err != nil || stands == nil {
			return loads, err
		}
		loads += int64(stands.Loads)
	}
}

// Waiting is the ids of the loads into a destination that stand on the queue
// for an extraction, in any lane, in work or not. An extraction of the same id
// in another workspace counts too: load ids tell them apart.
func (q *Queue) Waiting(ctx context.Context, destination, extraction string) (map[string]bool, error) {
	filter := "load.*." + messages.Token(destination) + "." + messages.Token(extraction) + ".*"
	waiting := map[string]bool{}
	err := q.retry(ctx, "loads of "+extraction, func(ctx context.Context) error {
		s, err := q.stream(ctx, streamLoads)
		if err != nil {
			return err
		}
		standing, err := s.Info(ctx, jetstream.WithSubjectFilter(filter))
		if err != nil {
			return err
		}
		clear(waiting)
		for subject := range standing.State.Subjects {
			_, _, _, id := loadOrigin(subject)
			waiting[id] = true
		}
		return nil
	})
	return waiting, err
}
