package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
)

// intake takes loads off the queue and gives each a slot, when there is room
// for it: memory, a slot of its destination's share, and a destination that
// takes loads. A load for which there is none goes back, or is parked, and
// costs no attempt.
type intake struct {
	worker *Worker
	shift  *shift
	slots  chan struct{} // one for each load in work
	crew   *crew
}

func newIntake(w *Worker, s *shift) *intake {
	slots := w.shares.total()
	return &intake{worker: w, shift: s, slots: make(chan struct{}, slots), crew: newCrew(slots)}
}

// lanes takes loads from the lanes, while the gate is open, until pulling ends:
// as many at once as are worth it, so that a busy queue is asked the less often.
func (in *intake) lanes(pulling context.Context, loads *queue.Loads) error {
	for {
		open, err := in.worker.gate.pass(pulling)
		if err != nil {
			return nil
		}
		if in.room(open) != nil {
			continue
		}
		worth := in.worker.shares.worth(open)
		few, err := loads.Few(open, min(worth, 1+cap(in.slots)-len(in.slots)))
		if err != nil {
			in.back()
			if open.Err() != nil {
				continue
			}
			return fmt.Errorf("worker: next load: %w", err)
		}
		for i, d := range few {
			// Who waits for loads holds one slot only; parked ones may have
			// taken the others meanwhile.
			if i > 0 && in.room(open) != nil {
				in.giveBack(d, 0)
				continue
			}
			in.admit(d, patience)
		}
	}
}

// room waits for a slot and the memory of a pull.
func (in *intake) room(open context.Context) error {
	select {
	case in.slots <- struct{}{}:
	case <-open.Done():
		return context.Cause(open)
	}
	if err := in.worker.budget.pull(open); err != nil {
		<-in.slots
		return err
	}
	return nil
}

// patience is how often a load that is too large for what is free is passed by
// before the others wait for it.
const patience = 4

// parked takes parked loads, headers only, until pulling ends. Most go back at
// once: their destinations refuse them still.
func (in *intake) parked(pulling context.Context, loads *queue.Loads) error {
	for {
		open, err := in.worker.gate.pass(pulling)
		if err != nil {
			return nil
		}
		d, err := loads.Next(open)
		if err != nil {
			if open.Err() != nil {
				continue
			}
			return fmt.Errorf("worker: next parked load: %w", err)
		}
		w, now := in.worker, time.Now()
		entered, _ := w.breakers.enter(d.Destination, now)
		if entered == halt {
			delay := w.parking.delay(now)
			since := d.ParkedSince()
			left := w.cfg.ParkLimit - now.Sub(since)
			if since.IsZero() || left > 0 {
				if !since.IsZero() {
					delay = min(delay, left)
				}
				in.giveBack(d, delay)
				continue
			} // else it is given up below
		}
		if entered == probe {
			w.breakers.undecided(d.Destination) // begun below, when there is a slot
		}
		if in.room(open) != nil {
			in.giveBack(d, 0)
			continue
		}
		in.admit(d, patience)
	}
}

// admit carries a load out beside others, or gives it back. Its slot and the
// memory of its pull are taken. The slot is for the work: a load whose object is
// in place waits beside the others for the queue to know, with as much memory as
// its message has. So many are settled at once, and the next one is begun.
func (in *intake) admit(d *queue.LoadDelivery, patience int) {
	w, now := in.worker, time.Now()
	ok, again := w.shares.enter(d.Destination, now)
	if !ok {
		in.back()
		in.giveBack(d, again)
		return
	}
	need := w.budget.need(d.Load, len(d.Payload))
	if !w.budget.grow(d.Context(), need, d.Attempt > patience) {
		w.shares.left(d.Destination, now)
		in.back()
		in.giveBack(d, spread(w.cfg.RetryDelay/4))
		return
	}
	in.crew.do(func() {
		all, held := pullReserve+need, settling(d.Load, len(d.Payload))
		w.done.inFlight.Add(1)
		finish := w.handle(in.shift, d)
		w.shares.left(d.Destination, time.Now())
		w.budget.release(all - held)
		<-in.slots
		end := func() {
			w.budget.release(held)
			w.done.inFlight.Add(-1)
		}
		if finish == nil {
			end()
			return
		}
		in.crew.wait(func() {
			defer end()
			finish()
		})
	})
}

// back gives a slot and the memory of a pull back.
func (in *intake) back() {
	in.worker.budget.release(pullReserve)
	<-in.slots
}

// giveBack gives a load back that was not begun.
func (in *intake) giveBack(d *queue.LoadDelivery, delay time.Duration) {
	if err := d.Retry(in.shift.say, delay); err != nil && !errors.Is(err, queue.ErrClosed) {
		in.worker.log.Debug("load given back", zap.String("id", d.ID), zap.Error(err))
	}
}

// parking spreads the deliveries of parked loads, so that however many there are
// they cost the others nothing.
type parking struct {
	base time.Duration

	mu    sync.Mutex
	since time.Time
	count int
	slow  float64
}

// parkedRate is how many parked loads a worker looks at in a second, at most,
// when there are many.
const parkedRate = 250

// delay is how long a parked load is given back for: the base, or longer so
// that parkedRate is kept.
func (p *parking) delay(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if window := now.Sub(p.since); window >= p.base || p.since.IsZero() {
		if !p.since.IsZero() {
			p.slow = max(float64(p.count)/window.Seconds()/parkedRate, 1)
		}
		p.since, p.count = now, 0
	}
	p.count++
	return spread(time.Duration(float64(p.base) * max(p.slow, 1)))
}

// all lanes there are for loads that are not parked.
func openLanes(ctx context.Context, q *queue.Queue) (lanes, parked *queue.Loads, err error) {
	if lanes, err = q.Loads(ctx, queue.LoadsConfig{}); err != nil {
		return nil, nil, err
	}
	if parked, err = q.Loads(ctx, queue.LoadsConfig{Lanes: []messages.Lane{messages.Parked}}); err != nil {
		lanes.Close()
		return nil, nil, err
	}
	return lanes, parked, nil
}
