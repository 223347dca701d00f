package worker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/storage"
)

// handle carries out one delivery and settles it, logging one line at its end. Of
// one whose object is in place it returns the rest, which mostly waits for the queue.
func (w *Worker) handle(s *shift, d *queue.LoadDelivery) (finish func()) {
	started := time.Now().UTC()
	work, unhook := s.on(d)
	work, span := w.startLoad(work, d)
	end := func() {
		span.End()
		unhook()
	}
	past, err := d.Past(work)
	if err == nil {
		past, err = w.readable(work, d, past)
	}
	entered, halted := w.breakers.enter(d.Destination, started)
	var made carried
	switch {
	case err != nil:
	case entered == halt:
		err = halted
	default:
		if err = d.Fetch(work); err == nil {
			made, err = w.carry(work, d)
		}
	}
	if err == nil {
		w.breakers.answered(d.Destination)
		return func() {
			defer end()
			describeEnd(span, made)
			w.finish(s.say, d, past, made, started)
		}
	}
	defer end()
	what, failure := verdict(work, err)
	span.RecordError(err)
	what, wait := w.consult(d.Destination, entered, what, err, &failure)
	said, settle := w.settle(s.say, d, past, what, failure, wait)
	w.meters.failed(said, failure.Reason)
	describeFailure(span, said, failure.Reason)
	fields := append(w.fields(d, past, made), zap.Stringer("verdict", said), zap.Error(errors.Join(err, settle)))
	if said == reject || said == park {
		fields = append(fields, zap.String("reason", string(failure.Reason)), zap.String("remedy", failure.Remedy))
	}
	w.log.Warn("load", fields...)
	return nil
}

// fields is the canonical line of a load, but for how it ended.
func (w *Worker) fields(d *queue.LoadDelivery, past queue.Past, made carried) []zap.Field {
	var rows int64
	if d.Load != nil {
		rows = d.Load.Rows
	}
	return []zap.Field{
		zap.String("id", d.ID), zap.String("destination", d.Destination), zap.String("extraction", d.Extraction),
		zap.Int("attempt", len(past.Attempts)+1), zap.Int64("rows", rows), zap.Int64("bytes", made.bytes),
		zap.Float64("decode_ms", made.decode.Seconds()*1e3), zap.Float64("encode_ms", made.encode.Seconds()*1e3), zap.Float64("put_ms", made.put.Seconds()*1e3),
	}
}

// unanswered is how often in a row a load may be delivered without a word
// from the worker that had it: it may be what killed them.
const unanswered = 30

// mayKill is how often a load is begun of which that is counted, without a
// word of how it went.
const mayKill = 10

// readable refuses a message that is no load, and one that nobody survives.
// Deliveries are no proof of that: a load may be given back unbegun for want of
// a slot. So from the thirtieth on it is written down that it is begun.
func (w *Worker) readable(ctx context.Context, d *queue.LoadDelivery, past queue.Past) (queue.Past, error) {
	if d.Attempt-1-past.Delivered > unanswered {
		if past.Started >= mayKill {
			return past, &LoadError{Reason: messages.ReasonPoison, Err: fmt.Errorf("begun %d times in a row without an answer", past.Started)}
		}
		past.Started++
		if err := d.Begin(ctx, past); err != nil {
			return past, err
		}
	}
	if d.Load == nil {
		return past, &LoadError{Reason: messages.ReasonUndecodable, Err: d.Err}
	}
	return past, nil
}

// consult tells the destination's breaker how a load failed. A load that finds
// its destination out of reach is parked when others have as well; wait is how
// long until the next probe.
func (w *Worker) consult(destination string, entered passage, what decision, err error, f *messages.Failure) (decision, time.Duration) {
	now := time.Now()
	halted, isHalted := errors.AsType[*haltError](err)
	switch {
	case isHalted && halted.held:
		return hold, 0
	case isHalted:
		if halted.remedy != "" {
			f.Remedy = halted.remedy
		}
		return park, 0
	case (what == park || what == hold) && !errors.Is(err, messages.ErrNewer):
		return what, w.breakers.refused(destination, f.Message, f.Remedy, what == hold, now)
	case what == retry && errors.Is(err, storage.ErrUnavailable):
		if opened, wait := w.breakers.unanswered(destination, f.Message, now); opened {
			return park, wait
		}
	case entered == probe:
		w.breakers.undecided(destination)
	}
	return what, 0
}

// haltError is the breaker of a destination that was open.
type haltError struct {
	why, remedy string
	held        bool
}

func (e *haltError) Error() string { return "the destination refuses loads: " + e.why }

// finish tells the queue that the load is done. When that fails the load comes
// back and finds its object in place.
func (w *Worker) finish(ctx context.Context, d *queue.LoadDelivery, past queue.Past, made carried, started time.Time) {
	l := d.Load
	fields := w.fields(d, past, made)
	err := d.Done(ctx, messages.Outcome{
		Load: l.ID, Result: made.result, Bucket: l.Bucket, Key: l.Key, Format: l.Format(),
		Rows: l.Rows, Bytes: made.bytes, SHA256: made.sha256, ETag: made.etag, Generation: l.Generation,
		Attempts: len(past.Attempts) + 1, Worker: w.cfg.Name, Started: started, Ended: time.Now().UTC(),
	})
	if err != nil {
		w.log.Warn("load", append(fields, zap.String("verdict", "unsettled"), zap.Error(err))...)
		return
	}
	w.completion.loadEnded(l.Workspace, l.Extraction)
	w.done.add(1, l.Rows, made)
	w.meters.ended(l, made.result, made)
	w.log.Info("load", append(fields, zap.String("verdict", string(made.result)))...)
}

// settle does with a delivery what was decided, once, and says what that was
// in the end: patience has its limits.
func (w *Worker) settle(ctx context.Context, d *queue.LoadDelivery, past queue.Past, what decision, f messages.Failure, wait time.Duration) (decision, error) {
	now := time.Now().UTC()
	tried := messages.Attempt{Worker: w.cfg.Name, Time: now, Error: f.Message}
	switch what {
	case release:
		return release, d.Release(ctx)
	case hold:
		past.Parked, past.Why = time.Time{}, f.Message
		return hold, w.park(ctx, d, past, wait)
	case await:
		past.Parked = time.Time{}
		return await, d.Postpone(ctx, spread(w.cfg.RetryDelay), past)
	case park:
		if past.Parked.IsZero() {
			past.Parked = now
		}
		past.Why = f.Message
		if left := w.cfg.ParkLimit - now.Sub(past.Parked); left > 0 {
			return park, w.park(ctx, d, past, min(wait, left))
		}
	case retry:
		past.Parked = time.Time{}
		if n := len(past.Attempts) + 1; n < w.cfg.MaxAttempts {
			past.Attempts = append(past.Attempts, tried)
			return retry, d.Postpone(ctx, backoff(w.cfg.RetryDelay, n), past)
		}
	}
	err := d.DeadLetter(ctx, messages.DeadLetter{Failure: f, Time: now, Attempts: append(past.Attempts, tried)})
	if errors.Is(err, queue.ErrDeadLettersFull) {
		// The load stays on the queue, and the log says why each time.
		return hold, errors.Join(err, d.Postpone(ctx, spread(w.cfg.ParkDelay), past))
	}
	if err == nil {
		w.done.loads.Add(1)
		w.meters.ended(d.Load, messages.DeadLettered, carried{})
	}
	if err == nil && d.Load != nil {
		w.completion.loadEnded(d.Load.Workspace, d.Load.Extraction)
	}
	return reject, err
}

// park takes a load out of its lane, or lets one that is parked wait on: until
// the next probe, since it may be the one.
func (w *Worker) park(ctx context.Context, d *queue.LoadDelivery, past queue.Past, wait time.Duration) error {
	if d.Parked || d.Load == nil {
		if wait <= 0 {
			wait = spread(w.cfg.ParkDelay)
		}
		return d.Postpone(ctx, wait, past)
	}
	return d.Park(ctx, past)
}

// backoff doubles from base up to five minutes.
func backoff(base time.Duration, attempt int) time.Duration {
	return spread(min(base<<min(max(attempt-1, 0), 12), 5*time.Minute))
}

// spread is between half of d and one and a half, so that what failed
// together does not come back together.
func spread(d time.Duration) time.Duration { return d/2 + rand.N(d+1) }
