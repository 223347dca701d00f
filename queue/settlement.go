package queue

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/messages"
)

// settlement is how one load ended, on its way into the stream.
type settlement struct {
	event   messages.Event // of kind outcome
	body    []byte
	subject string
	tally   tallyName
	own     []byte // the body of our own outcome

	again    bool              // something may stand: look before storing
	expect   uint64            // what stands on the subject; 0 when nothing does
	replaces messages.Counts   // what tallies have of the load until ours has this outcome
	taken    *messages.Outcome // an outcome of somebody else's, stored anew in our name

	object        *messages.Object // nil when the load left none, or it is recorded
	objectBody    []byte
	objectSubject string
	objectExpect  uint64

	sequence uint64 // of the outcome, once it is stored
	done     chan error
	ended    bool // done was told; for the settler alone
}

// counts is the outcome that is to be counted.
func (s *settlement) counts() *messages.Outcome {
	if s.taken != nil {
		return s.taken
	}
	return s.event.Outcome
}

// begin forgets what stood: nothing does.
func (s *settlement) begin() {
	s.expect, s.replaces, s.taken, s.body = 0, nil, nil, s.own
}

// end tells the owner what became of the load.
func (s *settlement) end(err error) {
	if !s.ended {
		s.ended = true
		s.done <- err
	}
}

// settlement is the outcome of this delivery, ready to be stored. It fails,
// with a [*messages.DecodeError], when it can never be.
func (d *LoadDelivery) settlement(outcome messages.Outcome) (*settlement, error) {
	event := d.event(outcome)
	s := &settlement{event: event, subject: messages.EventSubject(&event)}
	s.tally = tallyName{event.Workspace, event.Extraction, event.Outcome.Worker}
	var err error
	if s.body, err = messages.EncodeEvent(&event); err != nil {
		return nil, fmt.Errorf("outcome of load %s: %w", d.ID, err)
	}
	s.own, s.again = s.body, d.Again()
	if d.Load == nil {
		return s, nil
	}
	s.object = messages.NewObject(d.Load, event.Outcome)
	if was := d.object; s.object != nil && d.recorded && was.Load == d.ID && was.Result == s.object.Result {
		s.object = nil // by Bury or Claim
	}
	if s.object != nil {
		s.objectSubject = messages.ObjectSubject(d.Load.Destination, d.Load.Bucket, d.Load.Key)
		if s.objectBody, err = messages.EncodeObject(s.object); err != nil {
			return nil, fmt.Errorf("object of load %s: %w", d.ID, err)
		}
	}
	return s, nil
}

// over decides what is stored of the object beside the record that stands: an
// older generation never replaces a newer one.
func (s *settlement) over(stands *Object) {
	switch {
	case s.object == nil:
	case stands == nil:
		s.objectExpect = 0
	case s.object.Before(&stands.Object):
		s.object = nil
	default:
		s.objectExpect = stands.Sequence
	}
}

// lookObject finds out what is on record of the object.
func (q *Queue) lookObject(ctx context.Context, s *settlement) error {
	object, err := q.Objects().Get(ctx, s.object.Destination, s.object.Bucket, s.object.Key)
	var unreadable *messages.DecodeError
	switch {
	case errors.Is(err, ErrNotFound):
		s.over(nil)
	case errors.As(err, &unreadable):
		s.object = nil // a newer program's: it knows better
	case err != nil:
		return err
	case object.Load == s.object.Load && object.Time.Equal(s.object.Time):
		s.object = nil // ours, whose answer was lost
	default:
		s.over(object)
	}
	return nil
}

// standing is an outcome as it stands, and who counts it.
type standing struct {
	outcome  *messages.Outcome
	body     []byte
	sequence uint64
	writer   string          // of the tally; empty when none counts it
	replaces messages.Counts // what tallies have of the load until it is counted
}

// standing is the outcome on a subject; nil when there is none.
func (q *Queue) standing(ctx context.Context, subject string) (*standing, error) {
	m, err := q.lastOn(ctx, streamEvents, subject)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	event, err := messages.ParseEvent(m.Data)
	if err != nil {
		return nil, fmt.Errorf("outcome on %s: %w", subject, err)
	}
	replaces, err := messages.ParseCounts(m.Header.Get(messages.HeaderReplaces))
	if err != nil {
		return nil, fmt.Errorf("outcome on %s: %w", subject, err)
	}
	return &standing{event.Outcome, m.Data, m.Sequence, m.Header.Get(messages.HeaderSettler), replaces}, nil
}

// meet decides what is to be done about an outcome that stands and that is
// not, or no longer, our own to count: nothing, when it stays and is counted;
// else ours replaces it, or it is taken over. What it replaced itself, and whoever
// stored it did not live to take back, is taken back by us.
func (q *Queue) meet(ctx context.Context, s *settlement, stands *standing) error {
	counted := true
	if stands.writer != "" {
		full, t, err := q.standingTally(ctx, s.event.Workspace, s.event.Extraction, stands.writer)
		if err != nil {
			return err
		}
		if counted = t.through >= stands.sequence; !counted {
			if err := q.fence(ctx, s.event.Workspace, s.event.Extraction, stands.writer, full, t.sequence); err != nil {
				return err // it was counted just now, perhaps: look again
			}
		}
	}
	s.begin()
	s.expect, s.replaces = stands.sequence, stands.replaces
	if counted {
		s.replaces = messages.Counts{}
		s.replaces.Add(stands.outcome)
	}
	switch {
	case !stays(stands.outcome, s.event.Outcome): // ours replaces it
	case counted:
		s.object = nil
		s.end(nil)
	default:
		s.taken, s.body = stands.outcome, stands.body
	}
	return nil
}

// stays reports whether an outcome that stands is not to be replaced. The
// first one of a round counts, and a replay begins a new round; but what one
// delivery gave up and another did is done.
func stays(stands, mine *messages.Outcome) bool {
	if stands.Replays != mine.Replays {
		return stands.Replays > mine.Replays
	}
	return stands.Result != messages.DeadLettered || mine.Result == messages.DeadLettered
}

// doneAlready reports whether another delivery has carried the load out, in
// this round or a later one.
func (d *LoadDelivery) doneAlready(ctx context.Context, s *settlement) (bool, error) {
	stands, err := d.q.standing(ctx, s.subject)
	if err != nil || stands == nil {
		return false, err
	}
	return stays(stands.outcome, s.event.Outcome) && stands.outcome.Result != messages.DeadLettered, nil
}

// store stores how the load ended, unless that stands already.
func (d *LoadDelivery) store(ctx context.Context, s *settlement) error {
	if s.object != nil {
		stands, err := d.Object(ctx)
		var unreadable *messages.DecodeError
		switch {
		case errors.As(err, &unreadable):
			s.object = nil // a newer program's: it knows better
		case err != nil:
			return err
		default:
			s.over(stands)
		}
	}
	if err := d.q.settler.settle(ctx, s); err != nil {
		return err
	}
	return d.q.at(stepSettled)
}

// exhume removes the dead letter of a load that one delivery gave up and this
// one carried out.
func (d *LoadDelivery) exhume(ctx context.Context) error {
	if d.Load == nil {
		return nil
	}
	subject := deadSubject(&messages.DeadLetter{Stage: messages.StageLoad, Workspace: d.Load.Workspace, Destination: d.Destination, ID: d.ID})
	stands, err := d.q.lastOn(ctx, streamDead, subject)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	letter := parseDeadLetter(messages.Header(stands.Header), stands.Sequence, stands.Subject, stands.Time)
	if letter.Replays != d.replays {
		return nil
	}
	d.q.log.Info("dead letter of a load that was carried out after all", zap.String("id", d.ID), zap.Uint64("sequence", stands.Sequence))
	if err := d.q.remove(ctx, stands.Sequence); !errors.Is(err, ErrNotFound) {
		return err
	}
	return nil
}
