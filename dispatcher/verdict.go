package dispatcher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
)

// ManifestError says that the batches on the queue are not those of the commit.
type ManifestError struct {
	Batch   int  // from 1; 0 when it is about all of them
	Missing bool // the batch is not there (yet)
	Counts  bool // rows do not add up
	Message string
}

func (e *ManifestError) Error() string { return e.Message }

// rejection is bad input found by the dispatcher itself.
type rejection struct{ messages.Failure }

func (r *rejection) Error() string { return r.Message }

func unknownDestination(id string) error {
	return &rejection{messages.Failure{
		Reason:  messages.ReasonUnknownDestination,
		Message: fmt.Sprintf("there is no destination %q that this workspace may load into", id),
		Remedy:  "correct the commit's destination, or apply the destination (and list the workspace in its workspaces), then replay",
	}}
}

// locate turns a row of a chunk into a row of a batch.
type locate struct {
	batches []messages.BatchManifest
	before  int64 // rows of earlier chunks
}

func (l *locate) row(err error) error {
	var row *encoding.RowError
	if !errors.As(err, &row) || row.Batch > 0 {
		return err
	}
	at := *row
	n := l.before + row.Row
	for i, b := range l.batches {
		if n <= b.Rows {
			at.Batch, at.Row = i+1, n
			break
		}
		n -= b.Rows
	}
	return &at
}

// decision is what becomes of a commit.
type decision uint8

const (
	retry   decision = iota // try again later
	reject                  // dead letter, and the event failed
	release                 // give back: our own stop, or the lease is lost
)

// verdict judges why a commit could not be dispatched. What is not known to
// be the input's fault is retried.
func verdict(ctx context.Context, err error) (decision, messages.Failure) {
	if cause := context.Cause(ctx); cause != nil {
		return release, messages.Failure{Message: cause.Error()}
	}
	f := messages.Failure{Message: err.Error()}
	var (
		rejected *rejection
		commit   *messages.CommitError
		wire     *messages.BatchError
		manifest *ManifestError
		row      *encoding.RowError
		batch    *encoding.BatchError
		key      *destination.KeyError
	)
	switch {
	case errors.Is(err, messages.ErrNewer):
		return retry, f // a newer dispatcher may be at work beside this one
	case errors.As(err, &rejected):
		return reject, rejected.Failure
	case errors.As(err, &commit):
		return reject, commit.Failure()
	case errors.As(err, &wire):
		return reject, wire.Failure()
	case errors.As(err, &key):
		f.Reason = messages.ReasonKey
	case errors.As(err, &row):
		f.Reason, f.Batch, f.Row, f.Column, f.Value = messages.ReasonBadRow, row.Batch, row.Row, row.Column, row.Value
	case errors.As(err, &batch):
		f.Reason, f.Batch = messages.ReasonUndecodable, batch.Batch
	case errors.As(err, &manifest):
		f.Reason, f.Batch = messages.ReasonIncomplete, manifest.Batch
		if manifest.Counts {
			f.Reason = messages.ReasonCount
		}
	case errors.Is(err, queue.ErrPlanDiffers):
		f.Reason = messages.ReasonExhausted
	default:
		f.Reason = messages.ReasonExhausted
		return retry, f
	}
	f.Remedy = f.Reason.Remedy()
	return reject, f
}

// missingTries is how often a commit whose batches have not all arrived is
// looked at again: they may have been published beside it.
const missingTries = 3

// handle carries out one delivery and settles it, logging one line at its end.
func (d *Dispatcher) handle(ctx context.Context, delivery *queue.CommitDelivery) {
	started := time.Now()
	work, cancel := context.WithCancelCause(delivery.Context())
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() { cancel(ErrStopped) })()
	ctx = context.WithoutCancel(ctx) // the delivery is settled all the same
	e := &extraction{Workspace: delivery.Workspace, Extraction: delivery.Extraction, at: delivery.At}
	var counts messages.Plan
	commit, err := messages.ParseCommit(delivery.Subject, delivery.Body)
	if err == nil {
		e.commit = &commit
		counts, err = d.dispatch(work, e)
	}
	settled, failure := "dispatched", messages.Failure{}
	var settle error
	if err == nil {
		settle = delivery.Done(ctx)
	} else {
		var what decision
		what, failure = verdict(work, err)
		var manifest *ManifestError
		if errors.As(err, &manifest) && manifest.Missing && delivery.Attempt < missingTries {
			what = retry
		}
		settled, settle = d.settle(ctx, delivery, e, what, failure)
	}
	fields := []zap.Field{
		zap.String("extraction", e.Extraction), zap.String("workspace", e.Workspace),
		zap.Int("attempt", delivery.Attempt), zap.Int64("loads", counts.Loads), zap.Int64("rows", counts.Rows),
		zap.Duration("took", time.Since(started)), zap.String("verdict", settled),
	}
	if e.commit != nil {
		fields = append(fields, zap.String("destination", e.commit.Destination))
	}
	if err = errors.Join(err, settle); err != nil {
		d.log.Warn("extraction", append(fields, zap.String("reason", string(failure.Reason)), zap.Error(err))...)
		return
	}
	d.log.Info("extraction", fields...)
}

// settle does with a delivery what was decided, once.
func (d *Dispatcher) settle(ctx context.Context, delivery *queue.CommitDelivery, e *extraction, what decision, f messages.Failure) (string, error) {
	if what == retry && delivery.Attempt >= d.cfg.MaxAttempts {
		what = reject
		f.Reason = cmp.Or(f.Reason, messages.ReasonExhausted)
		f.Remedy = f.Reason.Remedy()
	}
	switch what {
	case release:
		return "release", delivery.Release(ctx)
	case retry:
		return "retry", delivery.Retry(ctx, backoff(d.cfg.RetryDelay, delivery.Attempt))
	}
	now := time.Now().UTC()
	letter := messages.DeadLetter{
		Failure: f, Time: now,
		Attempts: []messages.Attempt{{Worker: d.cfg.Name, Time: now, Error: f.Message}},
	}
	if e.commit != nil {
		letter.Destination = e.commit.Destination
	}
	return "reject", delivery.DeadLetter(ctx, letter)
}

// backoff doubles from base up to a minute, with jitter so that what failed
// together does not come back together.
func backoff(base time.Duration, attempt int) time.Duration {
	delay := min(base<<min(attempt-1, 10), time.Minute)
	return delay/2 + rand.N(delay/2+1)
}
