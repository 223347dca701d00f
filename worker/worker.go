// Package worker carries out one load after another: rows to a file, the file
// to the customer's bucket, the outcome to the queue.
//
// It promises that every load it takes ends in exactly one outcome or goes back
// to the queue, that an object is only ever replaced by a newer generation, and
// that a load which fails takes nothing else down. What an error means is
// decided in verdict.go and nowhere else. ARCHITECTURE.md, "The life of a
// load", steps 9 to 14, is this package.
package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/storage"
)

// Config is a worker's settings; its zero value is usable.
type Config struct {
	Name        string        // in logs, outcomes and dead letters; default: the host's name and process id
	Slots       int           // loads in work at a time; default: four a core, since a load mostly waits for S3
	SpoolBytes  int64         // a file larger than this is spooled to disk; default 8 MiB
	ScratchDir  string        // default: the system's
	MaxAttempts int           // tries of one load before its dead letter; default 10
	RetryDelay  time.Duration // before the second try, doubling with each; default 1 s
	ParkDelay   time.Duration // between looks at a destination that refuses; default 1 min
	ParkLimit   time.Duration // how long a load waits for such a destination; default 6 h
	Grace       time.Duration // given to loads in work at a stop; default 20 s
	Storage     storage.Config
}

func (c Config) withDefaults() Config {
	if c.Name == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "worker"
		}
		c.Name = fmt.Sprintf("%s-%d", host, os.Getpid())
	}
	if c.Slots <= 0 {
		c.Slots = 4 * runtime.GOMAXPROCS(0)
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
	cfg        Config
	log        *zap.Logger
}

// New makes a worker on a provisioned queue. The keyring opens the secrets of
// stored destinations.
func New(q *queue.Queue, k *destination.Keyring, cfg Config, log *zap.Logger) *Worker {
	cfg = cfg.withDefaults()
	return &Worker{
		queue: q, stores: newStores(q.Destinations(), k, cfg.Storage), completion: newCompletion(q, log), cfg: cfg, log: log,
	}
}

// Run works until ctx is done. Then it pulls no more, gives what is in work
// the grace to end, gives the rest back to the queue, and returns nil.
func (w *Worker) Run(ctx context.Context) error {
	loads, err := w.queue.Loads(ctx, queue.LoadsConfig{})
	if err != nil {
		return fmt.Errorf("worker: %w", err)
	}
	defer loads.Close()
	defer w.stores.close()
	// hard ends when the grace is over.
	hard, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	stopping := context.AfterFunc(ctx, func() {
		time.AfterFunc(w.cfg.Grace, func() { cancel(ErrStopped) })
	})
	defer stopping()
	var counting sync.WaitGroup
	defer counting.Wait()
	counted, stopCounting := context.WithCancel(context.WithoutCancel(ctx))
	defer stopCounting()
	counting.Go(func() { w.completion.run(counted) })
	var slots sync.WaitGroup
	errs := make([]error, w.cfg.Slots)
	for i := range w.cfg.Slots {
		slots.Go(func() { errs[i] = w.take(ctx, hard, loads) })
	}
	slots.Wait()
	return errors.Join(errs...)
}

func (w *Worker) take(ctx, hard context.Context, loads *queue.Loads) error {
	for {
		delivery, err := loads.Next(ctx)
		if ctx.Err() != nil && delivery == nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("worker: next load: %w", err)
		}
		work, cancel := context.WithCancelCause(delivery.Context())
		stop := context.AfterFunc(hard, func() { cancel(context.Cause(hard)) })
		w.handle(work, delivery)
		stop()
		cancel(nil)
	}
}
