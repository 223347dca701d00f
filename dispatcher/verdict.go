package dispatcher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
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

// heldError says that no loads may flow to the destination for now.
type heldError struct{ destination, why string }

func (e *heldError) Error() string { return "destination " + e.destination + " " + e.why }

func unknownDestination(id string) error {
	return &rejection{messages.Failure{
		Reason:  messages.ReasonUnknownDestination,
		Message: fmt.Sprintf("there is no destination %q that this workspace may load into", id),
		Remedy:  "apply the destination, or list the workspace in its workspaces, then replay; or publish again under a new id to one that there is",
	}}
}

// locate turns a row of a chunk into a row of a batch.
type locate struct {
	batches       []messages.BatchManifest
	date, account string // columns
	before        int64  // rows of earlier chunks
}

func (l *locate) row(err error) error {
	var row *encoding.RowError
	if !errors.As(err, &row) || row.Batch > 0 {
		return err
	}
	at := *row
	switch {
	case errors.Is(err, errUndated), errors.Is(err, errUncoveredDay):
		at.Column = l.date
	case errors.Is(err, errNoAccount), errors.Is(err, errUncoveredAccount):
		at.Column = l.account
	}
	n := l.before + row.Row
	for i, b := range l.batches {
		if n <= b.Rows || i == len(l.batches)-1 {
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
	hold                    // give back until the destination, or a newer dispatcher, takes it; no try counts
	release                 // give back: our own stop, or the lease is lost
)

// verdict judges why a commit could not be dispatched, by type and by cause.
// What is not known to be the input's fault is retried.
func verdict(ctx context.Context, err error) (decision, messages.Failure) {
	f := messages.Failure{Message: err.Error(), Reason: messages.ReasonExhausted}
	if context.Cause(ctx) != nil {
		return release, f
	}
	var (
		held     *heldError
		rejected *rejection
		commit   *messages.CommitError
		wire     *messages.BatchError
		manifest *ManifestError
		row      *encoding.RowError
		batch    *encoding.BatchError
		key      *destination.KeyError
	)
	if errors.As(err, &row) {
		f.Batch, f.Row, f.Column, f.Value = row.Batch, row.Row, row.Column, row.Value
	}
	switch {
	case errors.As(err, &held):
		return hold, f
	case errors.Is(err, messages.ErrNewer):
		return hold, f // a newer dispatcher may be at work beside this one
	case errors.As(err, &rejected):
		return reject, rejected.Failure
	case errors.As(err, &commit):
		return reject, commit.Failure()
	case errors.As(err, &wire):
		return reject, wire.Failure()
	case errors.As(err, &key):
		f.Reason, f.Remedy = messages.ReasonKey, nameInCommit(key.Empty)
	case row != nil:
		f.Reason = messages.ReasonBadRow
	case errors.As(err, &batch):
		f.Reason, f.Batch = messages.ReasonUndecodable, batch.Batch
	case errors.As(err, &manifest):
		f.Reason, f.Batch = messages.ReasonIncomplete, manifest.Batch
		if manifest.Counts {
			f.Reason = messages.ReasonCount
		}
	case errors.Is(err, queue.ErrPlanDiffers):
		// No try can mend it; what it was meanwhile dispatched as stands.
	default:
		return retry, f
	}
	f.Remedy = cmp.Or(f.Remedy, f.Reason.Remedy())
	return reject, f
}

// nameInCommit is what to do about a variable of the templates that the commit gave
// no value; "" if there is none, or it is not the commit's to give.
func nameInCommit(variable string) string {
	switch variable {
	case "workspace_title", "data_source", "data_table_title", "report_type":
		return fmt.Sprintf("name it in the commit's %s (for `publish`: --%s), or leave {{%s}} out of the destination's folder, and publish the extraction again under a new id",
			variable, strings.ReplaceAll(variable, "_", "-"), variable)
	}
	return ""
}

// missingTries is how often a commit whose batches have not all arrived is
// looked at again: they may have been published beside it.
const missingTries = 3

// settleTime bounds how long the queue may take to take an answer. Without
// one the commit comes again when its lease ends.
const settleTime = 30 * time.Second

// handle carries out one delivery and settles it, logging one line at its end.
func (d *Dispatcher) handle(ctx context.Context, delivery *queue.CommitDelivery) {
	started := time.Now()
	ctx, span := d.start(ctx, delivery.Workspace, delivery.Extraction)
	defer span.End()
	e := &extraction{Workspace: delivery.Workspace, Extraction: delivery.Extraction, at: delivery.At}
	fields := []zap.Field{
		zap.String("extraction", e.Extraction), zap.String("workspace", e.Workspace), zap.Int("attempt", delivery.Attempt),
	}
	var counts messages.Plan
	commit, err := messages.ParseCommit(delivery.Subject, delivery.Body)
	if err == nil {
		e.commit = &commit
		fields = append(fields, zap.String("destination", commit.Destination))
		counts, err = d.dispatch(ctx, e)
	}
	settled, reason, settle := d.settle(ctx, delivery, e, err)
	d.meters.ended(settled, reason, counts, time.Since(started))
	describe(span, settled, reason, counts, err)
	fields = append(fields, zap.Int64("loads", counts.Loads), zap.Int64("rows", counts.Rows),
		zap.Duration("took", time.Since(started)), zap.String("verdict", settled))
	if err = errors.Join(err, settle); err != nil {
		d.log.Warn("extraction", append(fields, zap.Error(err))...)
		return
	}
	d.done.add(counts)
	d.log.Info("extraction", fields...)
}

// settle answers a delivery, once, and says how and why.
func (d *Dispatcher) settle(ctx context.Context, delivery *queue.CommitDelivery, e *extraction, err error) (said string, why messages.Reason, _ error) {
	answer, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), settleTime, queue.ErrLeaseLost)
	defer cancel()
	if err == nil {
		d.forget(delivery.Subject)
		return dispatchedVerdict, "", delivery.Done(answer)
	}
	what, f := verdict(ctx, err)
	switch what {
	case release:
		return "release", "", delivery.Release(answer)
	case hold:
		return "hold", "", delivery.Retry(answer, d.cfg.HoldDelay/2+rand.N(d.cfg.HoldDelay))
	}
	tries := d.failed(delivery.Subject)
	var manifest *ManifestError
	again := what == retry && tries < d.cfg.MaxAttempts ||
		errors.As(err, &manifest) && manifest.Missing && tries < missingTries
	if again {
		return "retry", f.Reason, delivery.Retry(answer, backoff(d.cfg.RetryDelay, tries))
	}
	d.forget(delivery.Subject)
	f.Remedy = cmp.Or(f.Remedy, f.Reason.Remedy())
	now := time.Now().UTC()
	letter := messages.DeadLetter{
		Failure: f, Time: now,
		Attempts: []messages.Attempt{{Worker: d.cfg.Name, Time: now, Error: f.Message}},
	}
	if e.commit != nil {
		letter.Destination = e.commit.Destination
	}
	err = delivery.DeadLetter(answer, letter)
	if errors.Is(err, queue.ErrDeadLettersFull) {
		// The commit stays on the queue; it is told again each time.
		return "hold", f.Reason, errors.Join(err, delivery.Retry(answer, d.cfg.HoldDelay/2+rand.N(d.cfg.HoldDelay)))
	}
	return "reject", f.Reason, err
}

// dispatchedVerdict is how an extraction ends that is dispatched.
const dispatchedVerdict = "dispatched"

// maxTries bounds the commits whose tries are remembered: some are settled by
// another dispatcher, and this one never hears of them again.
const maxTries = 10000

// failed counts a failed try. The server's count of deliveries would not do:
// it counts what was held and released as well.
func (d *Dispatcher) failed(subject string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.tries) >= maxTries {
		clear(d.tries)
	}
	d.tries[subject]++
	return d.tries[subject]
}

func (d *Dispatcher) forget(subject string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.tries, subject)
}

// backoff doubles from base up to a minute, with jitter so that what failed
// together does not come back together.
func backoff(base time.Duration, try int) time.Duration {
	delay := min(base<<min(try-1, 10), time.Minute)
	return delay/2 + rand.N(delay/2+1)
}
