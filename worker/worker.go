// Package worker carries out one load after another: rows to a file, the file
// to the customer's bucket, the outcome to the queue.
//
// It promises that every load it takes ends in exactly one outcome or goes back
// to the queue, that an object is only ever replaced by a newer generation, and
// that a load which fails takes nothing else down. What an error means is
// decided in verdict.go and nowhere else. ARCHITECTURE.md, "The life of a
// load", steps 9 to 15, is this package.
package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/storage"
)

// Config is a worker's settings; its zero value is usable.
type Config struct {
	Name        string        // in logs, outcomes and dead letters, and for `loadfleet fleet`; default: the host's name and process id
	Program     string        // the program's version, for operators
	Slots       int           // loads in work at a time; default: 64 a core, since a load mostly waits for S3, and at most one for 2 MiB of memory
	MemoryBytes int64         // what the process may have resident; default 256 MiB
	SpoolBytes  int64         // a file larger than this is spooled to disk; default 8 MiB
	ScratchDir  string        // default: the system's
	MaxAttempts int           // tries of one load before its dead letter; default 10
	RetryDelay  time.Duration // before the second try, doubling with each; default 1 s
	ParkDelay   time.Duration // between looks at a destination that refuses or is paused; default 1 min
	ParkLimit   time.Duration // how long a load waits for one that refuses, from its first refusal; default 6 h
	Grace       time.Duration // given to loads in work at a stop; default 20 s
	KeyLease    time.Duration // how long a key stays with a worker that died, in stores without conditional writes; default [queue.KeyLeaseTime]
	Storage     storage.Config
	Metrics     prometheus.Registerer // nil: no metrics
	Tracer      trace.TracerProvider  // nil: no spans
}

// slotBytes is the memory for which there is one slot by default: a slot has a
// goroutine, a connection and their buffers, besides what its load reserves.
const slotBytes = 2 << 20

// DefaultSlots is how many slots a worker has by default, on so many cores and with so
// much memory in bytes.
func DefaultSlots(cores int, memory int64) int {
	return int(max(min(64*int64(cores), memory/slotBytes), 1))
}

func (c Config) withDefaults() Config {
	if c.Name == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "worker"
		}
		c.Name = fmt.Sprintf("%s-%d", host, os.Getpid())
	}
	if c.MemoryBytes <= 0 {
		c.MemoryBytes = 256 << 20
	}
	if c.Slots <= 0 {
		c.Slots = DefaultSlots(runtime.GOMAXPROCS(0), c.MemoryBytes)
	}
	if c.SpoolBytes <= 0 {
		c.SpoolBytes = 8 << 20
	}
	if c.ScratchDir == "" {
		c.ScratchDir = os.TempDir()
	}
	if c.MaxAttempts <= 0 {
		c.MaxAttempts = 10
	}
	if c.KeyLease <= 0 {
		c.KeyLease = queue.KeyLeaseTime
	}
	if c.RetryDelay <= 0 {
		c.RetryDelay = time.Second
	}
	if c.ParkDelay <= 0 {
		c.ParkDelay = time.Minute
	}
	if c.ParkLimit <= 0 {
		c.ParkLimit = 6 * time.Hour
	}
	if c.Grace <= 0 {
		c.Grace = 20 * time.Second
	}
	return c
}

// ErrStopped is the cause with which loads in work are cancelled when the
// grace of a stop has run out.
var ErrStopped = errors.New("worker: stopped before the load was done")

// Worker takes loads from the queue until its context ends.
type Worker struct {
	queue      *queue.Queue
	stores     *stores
	completion *completion
	spools     *spools
	shares     *shares
	breakers   *breakers
	budget     *budget
	parking    parking
	gate       *gate
	done       done
	meters     *meters
	tracer     trace.Tracer
	self       messages.Presence // what never changes of it
	cfg        Config
	log        *zap.Logger
}

// New makes a worker on a provisioned queue. The keyring opens the secrets of
// stored destinations.
func New(q *queue.Queue, k *destination.Keyring, cfg Config, log *zap.Logger) *Worker {
	cfg = cfg.withDefaults()
	w := &Worker{
		queue: q, completion: newCompletion(q, log),
		spools: newSpools(cfg.SpoolBytes, cfg.ScratchDir), cfg: cfg, log: log,
		shares: newShares(cfg.Slots), budget: newBudget(cfg.MemoryBytes, cfg.SpoolBytes), parking: parking{base: cfg.ParkDelay},
		gate: newGate(), self: self(cfg),
		breakers: newBreakers(max(cfg.ParkDelay/12, time.Millisecond), 5*cfg.ParkDelay, outage),
	}
	w.meters = newMeters(w, cfg.Metrics)
	w.tracer = newTracer(cfg.Tracer)
	cfg.Storage.Observe = w.meters.requested
	cfg.Storage.Connections = max(cfg.Storage.Connections, w.shares.total())
	cfg.Storage.Roots = &storage.Roots{}
	w.stores = newStores(q.Destinations(), k, cfg.Storage, log)
	w.stores.changes = func(id string) { w.breakers.answered(id) }
	w.stores.opened = func(s *destination.Settings) { w.shares.settings(s.ID, s.Weight, s.MaxConcurrency) }
	return w
}

// Draining reports whether the worker pulls no more for good.
func (w *Worker) Draining() bool {
	state, _ := w.gate.state()
	return state == messages.ProcessDraining
}

// outage is how many failures in a row, of loads that had no answer from their
// store, open a destination's breaker.
const outage = 5

// Run works until ctx is done, or an operator drains it. Then it pulls no more,
// gives what is in work the grace to end, gives the rest back to the queue, and
// returns nil. It returns an error, after the same stop, when no more loads can
// be had.
func (w *Worker) Run(ctx context.Context) error {
	lanes, parked, err := openLanes(ctx, w.queue)
	if err != nil && ctx.Err() != nil {
		return nil // stopped before it had taken anything
	}
	if err != nil {
		return fmt.Errorf("worker: %w", err)
	}
	defer lanes.Close()
	defer parked.Close()
	defer w.stores.close()
	// Before the first load: one that was paused takes none when it starts again.
	switch c, err := w.queue.Control(ctx, messages.RoleWorker, w.cfg.Name); {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		w.log.Warn("instruction cannot be read", zap.Error(err)) // it is looked for again below
	case c != nil:
		w.gate.set(c.Paused, c.Operation)
	}
	// Beside the loads: followed until the last of them has ended.
	beside, end := context.WithCancel(context.WithoutCancel(ctx))
	var background sync.WaitGroup
	defer background.Wait()
	defer end()
	background.Go(func() { w.completion.run(beside) })
	background.Go(func() { w.stores.follow(beside) })
	ctx, drain := context.WithCancel(ctx)
	defer drain()
	background.Go(func() { w.queue.Announce(beside, w.gate.changes, w.presence) })
	background.Go(func() {
		w.queue.Obey(beside, messages.RoleWorker, w.cfg.Name, func(c *messages.Control) { w.obey(c, drain) })
	})

	slots, pulling := errgroup.WithContext(ctx)
	background.Go(func() {
		<-pulling.Done()
		w.gate.drain()
		// Now, not at the end: what is given back meanwhile must not come to a
		// pull of ours that is still open.
		lanes.Close()
		parked.Close()
	})
	s := newShift(ctx)
	background.Go(func() { s.stop(beside, pulling, w.cfg.Grace) })
	in := newIntake(w, s)
	defer in.crew.end()
	slots.Go(func() error { return in.lanes(pulling, lanes) })
	slots.Go(func() error { return in.parked(pulling, parked) })
	return slots.Wait()
}

// lastWords is how long after the grace the queue may still be told what
// became of the loads that were in work.
const lastWords = 5 * time.Second

// shift is how long a worker works and speaks: work ends with the grace, so
// that an upload may not hold up a stop, and say a little later, so that what
// is unfinished can still be given back.
type shift struct {
	work, say         context.Context
	endWork, endSpeak context.CancelCauseFunc
}

// newShift begins a shift; ctx lends its values only.
func newShift(ctx context.Context) *shift {
	s := &shift{}
	s.work, s.endWork = context.WithCancelCause(context.WithoutCancel(ctx))
	s.say, s.endSpeak = context.WithCancelCause(context.WithoutCancel(ctx))
	return s
}

// stop ends the shift: its work the grace after pulling has ended, and all of
// it at once when beside ends.
func (s *shift) stop(beside, pulling context.Context, grace time.Duration) {
	defer s.endSpeak(ErrStopped)
	defer s.endWork(ErrStopped)
	<-pulling.Done()
	if wait(beside, grace) != nil {
		return
	}
	s.endWork(ErrStopped)
	_ = wait(beside, lastWords)
}

// on is the context of the work on one delivery: it ends with the lease and
// with the shift.
func (s *shift) on(d *queue.LoadDelivery) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(d.Context())
	hooked := make(chan struct{})
	unhook := context.AfterFunc(s.work, func() {
		defer close(hooked)
		cancel(context.Cause(s.work))
	})
	return ctx, sync.OnceFunc(func() {
		if !unhook() {
			<-hooked
		}
		cancel(nil)
	})
}

// wait lets d pass; it returns ctx's cause when that ends first.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
