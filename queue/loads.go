package queue

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/messages"
)

// LoadsConfig says how a worker takes loads. The zero value takes from every
// lane.
type LoadsConfig struct {
	Lanes []messages.Lane // most urgent first; all when empty
}

// Loads hands out loads to workers. It is safe for concurrent use: each slot
// of a worker calls Next when it is free.
type Loads struct{ puller *puller }

// Loads opens the lanes; they are there after Provision.
func (q *Queue) Loads(ctx context.Context, cfg LoadsConfig) (*Loads, error) {
	if len(cfg.Lanes) == 0 {
		cfg.Lanes = messages.Lanes()
	}
	var names []string
	for _, lane := range cfg.Lanes {
		names = append(names, laneConsumer(lane))
	}
	p, err := q.puller(ctx, streamLoads, names...)
	if err != nil {
		return nil, fmt.Errorf("open loads: %w", err)
	}
	return &Loads{puller: p}, nil
}

// Next waits for a load of the most urgent lane that has any. When ctx ends it
// returns its cause, after Close [ErrClosed]; any other trouble is waited out.
func (l *Loads) Next(ctx context.Context) (*LoadDelivery, error) {
	few, err := l.Few(ctx, 1)
	if err != nil {
		return nil, err
	}
	return few[0], nil
}

// Few is Next for a caller that has room for several loads at once: it waits for
// one, and gives as many of the same lane as are there, at most most.
func (l *Loads) Few(ctx context.Context, most int) ([]*LoadDelivery, error) {
	found, err := l.puller.few(ctx, most)
	if err != nil {
		return nil, err
	}
	few := make([]*LoadDelivery, 0, len(found))
	for i, one := range found {
		load, err := l.puller.q.load(ctx, one)
		if err != nil {
			for _, other := range found[i:] {
				l.puller.giveBack(other)
			}
			if len(few) == 0 {
				return nil, err
			}
			break
		}
		few = append(few, load)
	}
	l.puller.q.lookAhead(ctx, few)
	return few, nil
}

// load takes a pulled load into our hands.
func (q *Queue) load(ctx context.Context, found pulled) (*LoadDelivery, error) {
	d, err := q.hold(ctx, found)
	if err != nil {
		return nil, err
	}
	load := &LoadDelivery{delivery: d, Payload: found.msg.Data()}
	header := messages.Header(found.msg.Headers())
	load.Lane, load.Destination, load.Extraction, load.ID = loadOrigin(d.Subject)
	load.Parked = load.Lane == messages.Parked
	load.replays = replays(header)
	load.Load, load.Err = parseLoad(d.Subject, header)
	return load, nil
}

// Close ends every waiting Next with [ErrClosed]. Deliveries stay as they are.
func (l *Loads) Close() { l.puller.close() }

// LoadDelivery is a load to be carried out. It is settled with one of Done,
// Postpone, Retry, DeadLetter and Release; until then it is kept alive.
type LoadDelivery struct {
	*delivery
	Load    *messages.Load // nil when the message cannot be read; see Err
	Err     error          // why it cannot
	Payload []byte         // the rows, when the load is inline; of a parked load after Fetch
	Parked  bool           // it stood on the lane of parked loads

	// What the subject says, also when the message cannot be read.
	Lane                        messages.Lane
	Destination, Extraction, ID string

	replays  int
	fetched  bool
	object   *Object   // as Object found it
	looked   time.Time // when it asked; zero when it has not
	recorded bool      // object is what Bury, Claim or TakeBack wrote
}

// Again reports whether the load is likely to have been carried out before, in part
// or whole: it was delivered earlier, parked, or is replayed. A server that crashed
// may not know of a delivery: Again saves work, and nothing is to rest on it.
func (d *LoadDelivery) Again() bool { return d.Attempt > 1 || d.replays > 0 || d.Parked }

// Done stores the outcome, unless that of another delivery stands, then
// settles the load.
func (d *LoadDelivery) Done(ctx context.Context, outcome messages.Outcome) error {
	err := d.settle(ctx, "finish load", answerDone, func(ctx context.Context) error {
		if err := d.q.at(stepCarried); err != nil {
			return err
		}
		s, err := d.settlement(outcome)
		if err == nil {
			err = d.store(ctx, s)
		}
		if err != nil {
			return err
		}
		if d.Again() {
			return d.exhume(ctx)
		}
		return nil
	})
	if err == nil {
		d.forget(ctx)
	}
	return err
}

func (d *LoadDelivery) event(outcome messages.Outcome) messages.Event {
	event := messages.Event{
		Version:     messages.Version,
		Kind:        messages.EventOutcome,
		Time:        outcome.Ended,
		Extraction:  d.Extraction,
		Destination: d.Destination,
		Outcome:     &outcome,
	}
	if outcome.Load == "" {
		outcome.Load = d.ID
	}
	outcome.Replays = d.replays
	if d.Load != nil {
		event.Workspace = d.Load.Workspace
	}
	if event.Time.IsZero() {
		event.Time = time.Now().UTC()
	}
	return event
}

// DeadLetter stores the dead letter and the outcome, then ends the load; it
// only ends it when another delivery has carried it out meanwhile. What the
// letter does not say and the delivery knows (id, workspace, subject, time...)
// is filled in. After [ErrDeadLettersFull] the delivery is not settled.
func (d *LoadDelivery) DeadLetter(ctx context.Context, letter messages.DeadLetter) error {
	if err := d.Fetch(ctx); err != nil {
		return err
	}
	outcome := d.complete(&letter)
	err := d.terminate(ctx, string(letter.Failure.Reason), func(ctx context.Context) error {
		var s *settlement
		if d.Load != nil { // else nobody knows whose outcome it would be
			var err error
			if s, err = d.settlement(outcome); err != nil {
				// Never to be written: it must not bring the load back for ever.
				d.q.log.Warn("outcome cannot be written", zap.Error(err), zap.String("extraction", d.Extraction))
			} else if done, err := d.doneAlready(ctx, s); err != nil {
				return err
			} else if done {
				return d.store(ctx, s) // ours gives way, and that one is counted
			}
		}
		if err := d.q.bury(ctx, letter, original(d.msg.Headers()), d.Payload); err != nil {
			return err
		}
		if err := d.q.at(stepBuried); err != nil || s == nil {
			return err
		}
		return d.store(ctx, s)
	})
	if err == nil {
		d.forget(ctx)
	}
	return err
}

// complete fills a dead letter in and makes the outcome that goes with it.
func (d *LoadDelivery) complete(letter *messages.DeadLetter) messages.Outcome {
	letter.Stage = messages.StageLoad
	letter.Destination, letter.Extraction, letter.ID = d.Destination, d.Extraction, d.ID
	letter.Subject = d.Subject
	letter.Replays = d.replays
	if letter.Time.IsZero() {
		letter.Time = time.Now().UTC()
	}
	outcome := messages.Outcome{
		Load:     letter.ID,
		Result:   messages.DeadLettered,
		Attempts: len(letter.Attempts),
		Ended:    letter.Time,
		Failure:  &letter.Failure,
	}
	if n := len(letter.Attempts); n > 0 {
		outcome.Worker, outcome.Started = letter.Attempts[n-1].Worker, letter.Attempts[n-1].Time
	}
	if l := d.Load; l != nil {
		letter.Workspace = l.Workspace
		outcome.Bucket, outcome.Key, outcome.Format = l.Bucket, l.Key, l.Format()
		outcome.Rows, outcome.Generation = l.Rows, l.Generation
	}
	return outcome
}
