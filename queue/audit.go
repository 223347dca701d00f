package queue

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/messages"
)

// Operation says who decides about dead letters, for the audit. What is
// decided at once shares one; the zero value is an operation of its own, by
// nobody known.
type Operation struct {
	ID     string // NewOperation makes one
	By     string // user@host, or what a sign-on says
	Filter string // how the dead letters were chosen, as it was said
}

// NewOperation begins an operation with an id of its own.
func NewOperation(by, filter string) Operation {
	return Operation{ID: rand.Text(), By: by, Filter: filter}
}

// Decide replays or discards dead letters, one after another, not faster than
// rate a second (0: no limit), and says of how many it did; those that somebody
// else was faster with are passed over. It ends with the first error.
func (q *Queue) Decide(ctx context.Context, verb messages.Verb, sequences []uint64, op Operation, rate float64) (n int, err error) {
	act := q.Discard
	if verb == messages.VerbReplay {
		act = q.Replay
	}
	var turn <-chan time.Time
	if rate > 0 {
		ticker := time.NewTicker(time.Duration(float64(time.Second) / rate))
		defer ticker.Stop()
		turn = ticker.C
	}
	for i, sequence := range sequences {
		if turn != nil && i > 0 {
			select {
			case <-turn:
			case <-ctx.Done():
				return n, context.Cause(ctx)
			}
		}
		switch err := act(ctx, sequence, op); {
		case errors.Is(err, ErrNotFound): // somebody else was faster
		case err != nil:
			return n, err
		default:
			n++
		}
	}
	return n, nil
}

// record is the audit of what is about to be done with a dead letter. It is
// stored first: somebody killed in between leaves a record of something that
// was not done, never the reverse, and Fate tells which.
func (q *Queue) record(ctx context.Context, op Operation, verb messages.Verb, dead *DeadMessage) error {
	a := &messages.Audit{
		Version: messages.Version, Operation: cmp.Or(op.ID, rand.Text()), Verb: verb, By: cmp.Or(op.By, "unknown"),
		NATSUser: cmp.Or(q.nc.Opts.Nkey, q.nc.Opts.User), Filter: op.Filter, Time: time.Now().UTC(),
		Sequence: dead.Sequence, ID: dead.ID, Stage: dead.Stage, Workspace: dead.Workspace, Destination: dead.Destination,
		Extraction: dead.Extraction, Reason: dead.Failure.Reason, Died: dead.Time, Replays: dead.Replays,
	}
	body, err := messages.EncodeAudit(a)
	if err != nil {
		return err
	}
	_, err = q.publish(ctx, &nats.Msg{Subject: messages.AuditSubject(a), Data: body})
	return err
}

// AuditFilter chooses records of the audit; a zero field chooses all.
type AuditFilter struct {
	Operation   string
	Verb        messages.Verb
	By          string
	ID          string // of the load or extraction
	Workspace   string
	Destination string
	Extraction  string
	Since       time.Time // inclusive
	Until       time.Time // exclusive
}

func (f *AuditFilter) match(a *messages.Audit) bool {
	same := func(want, got string) bool { return want == "" || want == got }
	return same(f.Operation, a.Operation) && same(string(f.Verb), string(a.Verb)) && same(f.By, a.By) && same(f.ID, a.ID) &&
		same(f.Workspace, a.Workspace) && same(f.Destination, a.Destination) && same(f.Extraction, a.Extraction) &&
		(f.Since.IsZero() || !a.Time.Before(f.Since)) && (f.Until.IsZero() || a.Time.Before(f.Until))
}

// Audit yields who replayed and discarded what in the last 400 days, the
// oldest first. An error is the last thing it yields.
func (q *Queue) Audit(ctx context.Context, filter AuditFilter) iter.Seq2[messages.Audit, error] {
	return func(yield func(messages.Audit, error) bool) {
		for msg, err := range q.read(ctx, reading{stream: streamEvents, subjects: []string{messages.AuditSubjects(filter.Destination)}}) {
			if err != nil {
				yield(messages.Audit{}, err)
				return
			}
			a, err := messages.ParseAudit(msg.Data())
			if err != nil {
				q.log.Warn("audit record cannot be read", zap.String("subject", msg.Subject()), zap.Error(err))
				continue
			}
			if filter.match(a) && !yield(*a, nil) {
				return
			}
		}
	}
}

// FateState says what became of a decision about a dead letter.
type FateState string

// The states.
const (
	FateDiscarded FateState = "discarded" // given up for good
	FateUndone    FateState = "undone"    // the dead letter still stands: whoever decided was stopped
	FateWaiting   FateState = "waiting"   // replayed, and not ended yet
	FateEnded     FateState = "ended"     // replayed, and ended: as a load, see the outcome; as an extraction, it was dispatched
	FateDied      FateState = "died"      // replayed, and dead-lettered again
	FateForgotten FateState = "forgotten" // longer ago than outcomes are kept
)

// Fate is what became of a decision.
type Fate struct {
	State   FateState         `json:"state"`
	Outcome *messages.Outcome `json:"outcome,omitempty"` // of a load that ended or died, as it is now
}

// Fate tells what became of a recorded decision until now.
func (q *Queue) Fate(ctx context.Context, a *messages.Audit) (Fate, error) {
	stands, err := q.stillDead(ctx, a)
	switch {
	case err != nil:
		return Fate{}, err
	case stands:
		return Fate{State: FateUndone}, nil
	case a.Verb == messages.VerbDiscard:
		return Fate{State: FateDiscarded}, nil
	case a.Stage == messages.StageDispatch:
		return q.fateOfExtraction(ctx, a)
	}
	outcome, err := q.outcomeOf(ctx, a.Workspace, a.Extraction, a.ID)
	switch {
	case err == nil && outcome.Replays <= a.Replays, errors.Is(err, ErrNotFound) && time.Since(a.Time) < KeepEvents:
		return Fate{State: FateWaiting}, nil
	case errors.Is(err, ErrNotFound):
		return Fate{State: FateForgotten}, nil
	case err != nil:
		return Fate{}, err
	case outcome.Result == messages.DeadLettered:
		return Fate{State: FateDied, Outcome: outcome}, nil
	}
	return Fate{State: FateEnded, Outcome: outcome}, nil
}

// stillDead reports whether the dead letter of a record stands yet.
func (q *Queue) stillDead(ctx context.Context, a *messages.Audit) (bool, error) {
	dead, err := q.DeadLetter(ctx, a.Sequence)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("fate of dead letter %d: %w", a.Sequence, err)
	}
	// Sequences begin anew when a stream is made anew.
	return dead.ID == a.ID && dead.Workspace == a.Workspace && dead.Time.Equal(a.Died), nil
}

func (q *Queue) fateOfExtraction(ctx context.Context, a *messages.Audit) (Fate, error) {
	state, err := q.State(ctx, a.Workspace, a.Extraction)
	switch {
	case errors.Is(err, ErrNotFound) && time.Since(a.Time) < KeepEvents:
		return Fate{State: FateWaiting}, nil
	case errors.Is(err, ErrNotFound):
		return Fate{State: FateForgotten}, nil
	case err != nil:
		return Fate{}, err
	case state.Dispatched.After(a.Time):
		return Fate{State: FateEnded}, nil
	case state.State == messages.EventFailed && state.Ended.After(a.Time):
		return Fate{State: FateDied}, nil
	}
	return Fate{State: FateWaiting}, nil
}
