package worker

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/storage"
)

// LoadError says that a load itself is wrong: no retry can mend it.
type LoadError struct {
	Reason  messages.Reason
	Message string
}

func (e *LoadError) Error() string { return e.Message }

// decision is what becomes of a load that could not be carried out.
type decision uint8

const (
	retry   decision = iota // again later; counts as an attempt
	reject                  // dead letter
	park                    // the destination's trouble; dead letter after the park limit
	release                 // our own stop, or the lease is lost
)

// rule is one line of the table: errors of a class, what they mean, and what
// an operator is told to do.
type rule struct {
	err    error
	what   decision
	reason messages.Reason
	remedy string
}

// rules judges by class, first match first. What no rule knows is retried.
func rules() []rule {
	const dest = messages.ReasonDestination
	return []rule{
		{storage.ErrThrottled, retry, messages.ReasonExhausted, "the store is throttling: lower the destination's rate_limit or max_concurrency, then replay"},
		{storage.ErrUnavailable, retry, messages.ReasonExhausted, "the store did not answer: replay when it does"},
		{storage.ErrPrecondition, retry, messages.ReasonExhausted, "another writer kept changing the object: find it, then replay"},
		{storage.ErrConflict, retry, messages.ReasonExhausted, "another writer kept changing the object: find it, then replay"},
		{storage.ErrDenied, park, dest, "run `loadfleet destination check`, correct the customer's policy, then replay"},
		{storage.ErrCredentials, park, dest, "the credentials are refused: apply the destination with valid ones, then replay"},
		{storage.ErrNoBucket, park, dest, "the bucket does not exist: create it or correct the destination, then replay"},
		{storage.ErrRegion, park, dest, "the bucket is in another region: correct the destination's region, then replay"},
		{storage.ErrKMS, park, dest, "the KMS key cannot be used: enable it or correct encryption_key, then replay"},
		{storage.ErrEncryption, park, dest, "the store did not encrypt as asked: correct the destination's encryption, then replay"},
		{storage.ErrInvalid, reject, dest, "the store refuses the request as such: see the message"},
		{storage.ErrNotFound, retry, messages.ReasonExhausted, "the object vanished while it was written: replay"},
		{queue.ErrNotFound, park, messages.ReasonUnknownDestination, "apply the destination again, then replay"},
		{queue.ErrSliceDamaged, reject, messages.ReasonUndecodable, "the load's rows are gone or damaged: extract again"},
		{destination.ErrUnknownKey, park, dest, "this worker lacks the key that sealed the destination's secret: start it with the key, then replay"},
		{destination.ErrTampered, park, dest, "the stored secret was altered: apply the destination again, then replay"},
	}
}

// verdict judges why a load could not be carried out, by type and by cause.
func verdict(ctx context.Context, err error) (decision, messages.Failure) {
	f := messages.Failure{Message: err.Error()}
	if context.Cause(ctx) != nil {
		return release, f
	}
	var load *LoadError
	var row *encoding.RowError
	switch {
	case errors.As(err, &load):
		f.Reason, f.Remedy = load.Reason, "the load is damaged: extract again"
		return reject, f
	case errors.As(err, &row):
		f.Reason, f.Row, f.Column, f.Value = messages.ReasonBadRow, row.Row, row.Column, row.Value
		f.Remedy = "correct the row upstream and extract again"
		return reject, f
	}
	for _, r := range rules() {
		if errors.Is(err, r.err) {
			f.Reason, f.Remedy = r.reason, r.remedy
			return r.what, f
		}
	}
	f.Reason, f.Remedy = messages.ReasonExhausted, "see the message for the cause, then replay"
	return retry, f
}

// handle carries out one delivery and settles it, logging one line at its end.
func (w *Worker) handle(ctx context.Context, d *queue.LoadDelivery) {
	started := time.Now()
	if d.Load == nil {
		w.refuse(d, started)
		return
	}
	var took timing
	out, err := w.carry(ctx, d, &took)
	l := d.Load
	out.Load, out.Bucket, out.Key, out.Format = l.ID, l.Bucket, l.Key, string(l.File.Format)
	out.Rows, out.Generation = l.Rows, l.Generation
	out.Attempts, out.Worker, out.Ended = d.Attempt, w.cfg.Name, time.Now().UTC()
	fields := []zap.Field{
		zap.String("load", l.ID), zap.String("extraction", l.Extraction), zap.String("destination", l.Destination),
		zap.String("key", l.Key), zap.Int("attempt", d.Attempt), zap.Int64("rows", l.Rows), zap.Int64("bytes", out.Bytes),
		zap.Float64("encode_ms", took.encode.Seconds()*1e3), zap.Float64("put_ms", took.put.Seconds()*1e3),
	}
	if err == nil {
		if err = d.Done(ctx, out); err == nil {
			w.completion.loadEnded(l.Workspace, l.Extraction)
			w.log.Info("load", append(fields, zap.String("verdict", string(out.Result)))...)
			return
		}
		// The object is there; the load comes back and finds it.
		w.log.Warn("load", append(fields, zap.String("verdict", "unsettled"), zap.Error(err))...)
		return
	}
	what, failure := verdict(ctx, err)
	said, settle := w.settle(d, what, failure)
	w.log.Warn("load", append(fields, zap.String("verdict", said), zap.String("reason", string(failure.Reason)),
		zap.String("remedy", failure.Remedy), zap.Error(errors.Join(err, settle)))...)
}

// settle does with a delivery what was decided, once.
func (w *Worker) settle(d *queue.LoadDelivery, what decision, f messages.Failure) (string, error) {
	ctx := context.WithoutCancel(d.Context())
	switch {
	case what == release:
		return "release", d.Release(ctx)
	case what == retry && d.Attempt < w.cfg.MaxAttempts:
		return "retry", d.Retry(ctx, backoff(w.cfg.RetryDelay, d.Attempt))
	case what == park && time.Since(d.At) < w.cfg.ParkLimit:
		return "park", d.Retry(ctx, w.cfg.ParkDelay/2+rand.N(w.cfg.ParkDelay))
	}
	err := d.DeadLetter(ctx, w.letter(f))
	if err == nil {
		w.completion.loadEnded(d.Load.Workspace, d.Load.Extraction)
	}
	return "reject", err
}

func (w *Worker) letter(f messages.Failure) messages.DeadLetter {
	now := time.Now().UTC()
	return messages.DeadLetter{
		Failure: f, Time: now,
		Attempts: []messages.Attempt{{Worker: w.cfg.Name, Time: now, Error: f.Message}},
	}
}

// refuse dead-letters a message that is no load.
func (w *Worker) refuse(d *queue.LoadDelivery, started time.Time) {
	ctx := context.WithoutCancel(d.Context())
	f := messages.Failure{
		Reason: messages.ReasonUndecodable, Message: d.Err.Error(),
		Remedy: "a newer dispatcher may have written it: update this worker, then replay",
	}
	err := d.DeadLetter(ctx, w.letter(f))
	w.log.Warn("load", zap.String("subject", d.Subject), zap.String("verdict", "reject"),
		zap.String("reason", string(f.Reason)), zap.Duration("took", time.Since(started)), zap.Error(errors.Join(d.Err, err)))
}

// backoff doubles from base up to five minutes, with jitter so that what
// failed together does not come back together.
func backoff(base time.Duration, attempt int) time.Duration {
	delay := min(base<<min(max(attempt-1, 0), 12), 5*time.Minute)
	return delay/2 + rand.N(delay/2+1)
}
