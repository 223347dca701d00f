package queue

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/messages"
)

// Ending is how an extraction went.
type Ending struct {
	Workspace  string             `json:"workspace"`
	Extraction string             `json:"extraction"`
	State      messages.EventKind `json:"state"`   // completed or failed
	Plan       messages.Plan      `json:"plan"`    // what was dispatched
	Failure    *messages.Failure  `json:"failure"` // failed: why nothing was loaded
	// Results counts the loads by how they ended: as heard when every outcome was,
	// else as they had ended when the extraction was completed.
	Results map[messages.Result]int64 `json:"results"`
}

// Wait hears an extraction's events, as [Queue.Follow] does, until each of its
// loads has ended or it failed.
func (q *Queue) Wait(ctx context.Context, workspace, extraction string) (*Ending, error) {
	end := &Ending{Workspace: workspace, Extraction: extraction, Results: map[messages.Result]int64{}}
	var counts messages.Counts
	last := map[string]messages.Result{} // of a fleet whose completed has no counts yet
	for event, err := range q.Follow(ctx, workspace, extraction) {
		if err != nil {
			return nil, err
		}
		switch event.Kind {
		case messages.EventOutcome:
			last[event.Outcome.Load] = event.Outcome.Result
		case messages.EventDispatched:
			end.Plan = *event.Plan
		case messages.EventCompleted:
			counts = event.Counts
		}
		end.State, end.Failure = event.Kind, event.Failure // an earlier failure was replayed
	}
	if len(counts) > 0 && int64(len(last)) < end.Plan.Loads {
		for result, n := range counts {
			end.Results[result] = n.Loads
		}
		return end, nil
	}
	for _, result := range last {
		end.Results[result]++
	}
	return end, nil
}

// askAgain is how often stored events are asked for while none is heard.
const askAgain = 2 * time.Second

// Follow yields the events of an extraction from now on, and those of before
// that are not outcomes, until it is completed or has failed: that one is the
// last, unless there is an error. It needs no more rights than an extractor has:
// to hear its own workspace's events and to ask for the last of each kind. An
// outcome that was published before, or while the connection was away, is not
// heard; completed comes all the same.
func (q *Queue) Follow(ctx context.Context, workspace, extraction string) iter.Seq2[messages.Event, error] {
	return func(yield func(messages.Event, error) bool) {
		f := follower{q: q, workspace: workspace, extraction: extraction, heard: map[string]time.Time{}}
		err := f.run(ctx, func(e messages.Event) bool { return yield(e, nil) })
		if err != nil {
			yield(messages.Event{}, fmt.Errorf("follow extraction %s: %w", extraction, err))
		}
	}
}

type follower struct {
	q                     *Queue
	workspace, extraction string
	heard                 map[string]time.Time // by subject: of the last event
	latest                time.Time            // of those that are not outcomes
}

func (f *follower) run(ctx context.Context, yield func(messages.Event) bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(f.q.life, func() { cancel(ErrClosed) })()
	subscription, err := f.q.nc.SubscribeSync(messages.EventSubjects(f.workspace, f.extraction))
	if err != nil {
		return err
	}
	defer func() { _ = subscription.Unsubscribe() }() // fails when the connection is closed, and with it this
	for ask := true; ; {
		if ask {
			stored, err := f.ask(ctx)
			if err != nil {
				return err
			}
			for i, e := range stored {
				if i < len(stored)-1 && e.Kind == messages.EventFailed {
					continue // it was replayed since, and goes on
				}
				if stopped, ended := f.tell(e, yield); stopped || ended {
					return nil
				}
			}
		}
		step, stop := context.WithTimeout(ctx, askAgain)
		m, err := subscription.NextMsgWithContext(step)
		stop()
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, nats.ErrSlowConsumer) && !transient(err):
			return err
		case err != nil:
			ask = true
			continue
		}
		ask = false
		event, err := messages.ParseEvent(m.Data)
		if err != nil {
			f.q.log.Debug("event passed over", zap.String("subject", m.Subject), zap.Error(err)) // of a newer version
			continue
		}
		if stopped, ended := f.tell(*event, yield); stopped || ended {
			return nil
		}
	}
}

// tell yields an event that was not heard before, and reports whether the
// listener has had enough and whether the event ends the extraction. What is
// older than what was heard is of an earlier try.
func (f *follower) tell(e messages.Event, yield func(messages.Event) bool) (stopped, ended bool) {
	subject := messages.EventSubject(&e)
	if !e.Time.After(f.heard[subject]) || e.Kind != messages.EventOutcome && e.Time.Before(f.latest) {
		return false, false
	}
	f.heard[subject] = e.Time
	if e.Kind == messages.EventOutcome {
		return !yield(e), false
	}
	f.latest = e.Time
	return !yield(e), e.Kind == messages.EventCompleted || e.Kind == messages.EventFailed
}

// ask is the stored events that are not outcomes, in the order in which they
// happened.
func (f *follower) ask(ctx context.Context) ([]messages.Event, error) {
	var found []messages.Event
	for _, kind := range messages.EventKinds() {
		if kind == messages.EventOutcome {
			continue
		}
		e, err := f.q.StoredEvent(ctx, messages.Event{Kind: kind, Workspace: f.workspace, Extraction: f.extraction})
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		found = append(found, *e)
	}
	slices.SortStableFunc(found, func(a, b messages.Event) int { return a.Time.Compare(b.Time) })
	return found, nil
}

// StoredEvent is the last event on the subject of one (of its workspace,
// extraction and kind, and of an outcome's load); [ErrNotFound] when there is
// none. An extractor may ask for those of its own workspace.
func (q *Queue) StoredEvent(ctx context.Context, of messages.Event) (*messages.Event, error) {
	subject := messages.EventSubject(&of)
	var event *messages.Event
	err := q.retry(ctx, "event "+subject, func(ctx context.Context) error {
		m, err := q.nc.RequestWithContext(ctx, "$JS.API.DIRECT.GET."+streamEvents+"."+subject, nil)
		if err != nil {
			return err
		}
		switch status := m.Header.Get("Status"); status {
		case "":
		case "404":
			return ErrNotFound
		default:
			return fmt.Errorf("status %s: %s", status, m.Header.Get("Description"))
		}
		event, err = messages.ParseEvent(m.Data)
		return err
	})
	return event, err
}
