package worker

import (
	"context"
	"errors"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/storage"
)

// LoadError says that a load itself is wrong: no retry can mend it.
type LoadError struct {
	Reason messages.Reason
	Remedy string // empty: the reason's
	Err    error
}

func (e *LoadError) Error() string { return e.Err.Error() }
func (e *LoadError) Unwrap() error { return e.Err }

// decision is what becomes of a load that could not be carried out.
type decision uint8

const (
	retry   decision = iota // again later; counts as an attempt
	reject                  // dead letter
	park                    // the destination's trouble: again later; dead letter after the park limit
	hold                    // an operator's wish: again later, without limit
	await                   // other loads come first: again soon, without limit
	release                 // our own stop, or the lease is lost
)

func (d decision) String() string {
	return [...]string{"retry", "reject", "park", "hold", "await", "release"}[d]
}

// rule is one line of the table: errors of a class, what they mean, and what
// an operator is told to do.
type rule struct {
	is     func(error) bool
	what   decision
	reason messages.Reason // of the dead letter, if it comes to one; empty: the error's own
	remedy string          // empty: the reason's
}

func oneOf(classes ...error) func(error) bool {
	return func(err error) bool {
		for _, class := range classes {
			if errors.Is(err, class) {
				return true
			}
		}
		return false
	}
}

func typed[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// rules judges by class, first match first. What no rule knows is retried.
func rules() []rule {
	const (
		dest      = messages.ReasonDestination
		exhausted = messages.ReasonExhausted
	)
	return []rule{
		// What the queue gave us.
		{oneOf(queue.ErrLeaseLost, queue.ErrClosed, queue.ErrSettled), release, "", ""},
		{oneOf(queue.ErrDeadLettersFull), hold, exhausted, ""},
		{oneOf(messages.ErrNewer), park, messages.ReasonUndecodable, "a newer dispatcher wrote it: update the workers, then replay"},
		{typed[*messages.DecodeError], reject, messages.ReasonUndecodable, "the load is damaged: extract again"},
		{oneOf(queue.ErrSliceDamaged), reject, messages.ReasonUndecodable, "the load's rows are gone or damaged: extract again"},
		{typed[*LoadError], reject, "", ""},
		{typed[*encoding.RowError], reject, messages.ReasonBadRow, "correct the row upstream and extract again"},
		{typed[*encoding.BatchError], reject, messages.ReasonUndecodable, "the load's rows are damaged: extract again"},
		{typed[*destination.KeyError], reject, messages.ReasonKey, ""},

		// The destination as it is stored.
		{typed[*haltError], park, dest, "see what the destination answered, run `loadfleet destination check`, then replay"},
		{oneOf(errWaiting, queue.ErrKeyLeased, errLeaseOld), await, messages.ReasonExhausted, ""},
		{oneOf(errPaused, errUnapproved), hold, dest, "resume or approve the destination"},
		{oneOf(queue.ErrNotFound, errNotAdmitted), park, messages.ReasonUnknownDestination, ""},
		{oneOf(destination.ErrUnknownKey, destination.ErrNoKey), park, dest, "this worker lacks the key that sealed the destination's secret: start it with the key, then replay"},
		{oneOf(destination.ErrTampered), park, dest, "the stored secret was altered: apply the destination again, then replay"},
		{typed[*openError], park, dest, "this worker cannot use the destination as it is stored: apply it again or update the worker, then replay"},

		// The store.
		{oneOf(storage.ErrDenied), park, dest, "run `loadfleet destination check`, correct the customer's policy, then replay"},
		{oneOf(storage.ErrCredentials), park, dest, "the credentials are refused: apply the destination with valid ones, then replay"},
		{oneOf(storage.ErrNoBucket), park, dest, "the bucket does not exist: create it, then replay; or correct the destination and extract again, since a load keeps the bucket that it was made for"},
		{oneOf(storage.ErrRegion), park, dest, "the bucket is in another region: correct the destination's region, then replay"},
		{oneOf(storage.ErrKMS), park, dest, "the KMS key cannot be used: enable it or correct encryption_key, then replay"},
		{oneOf(storage.ErrEncryption), park, dest, "the store did not encrypt as asked: correct the destination's encryption, then replay"},
		{oneOf(storage.ErrInvalid), reject, dest, "the store refuses the request as such: see the message"},
		{oneOf(storage.ErrThrottled), retry, exhausted, "the store is throttling: lower the destination's rate_limit or max_concurrency, then replay"},
		{oneOf(storage.ErrUnavailable), retry, exhausted, "the store did not answer: replay when it does"},
		{oneOf(storage.ErrPrecondition, storage.ErrConflict), retry, exhausted, "another writer kept changing the object: find it, then replay"},
		{oneOf(storage.ErrNotFound), retry, exhausted, "the object vanished while it was written: replay"},

		// The worker itself.
		{oneOf(errSpool), retry, exhausted, "the worker could not keep the file until it was put: look at the space in its scratch directory, then replay"},
	}
}

// verdict judges why a load could not be carried out, by type and by cause.
func verdict(ctx context.Context, err error) (decision, messages.Failure) {
	what, f := judge(ctx, err)
	f.Message = err.Error()
	if load, ok := errors.AsType[*LoadError](err); ok && f.Reason == "" {
		f.Reason, f.Remedy = load.Reason, load.Remedy
	}
	if row, ok := errors.AsType[*encoding.RowError](err); ok {
		f.Row, f.Column, f.Value = row.Row, row.Column, row.Value
	}
	if f.Remedy == "" {
		f.Remedy = f.Reason.Remedy()
	}
	return what, f
}

func judge(ctx context.Context, err error) (decision, messages.Failure) {
	if ctx.Err() != nil {
		return release, messages.Failure{}
	}
	for _, r := range rules() {
		if r.is(err) {
			return r.what, messages.Failure{Reason: r.reason, Remedy: r.remedy}
		}
	}
	return retry, messages.Failure{Reason: messages.ReasonExhausted, Remedy: "see the message for the cause, then replay"}
}
