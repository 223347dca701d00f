// Package dispatcher turns a committed extraction into loads. It is the only
// maker of loads.
//
// It promises that an extraction is dispatched as a whole and exactly once,
// through crashes at any line and with any number of dispatchers at work; that
// nothing uncommitted, incomplete or undecodable is dispatched; and that it
// stays within its byte budget whatever the size of an extraction. ARCHITECTURE.md,
// "The life of a load", steps 3 to 8, is this package.
package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/queue"
)

// Config is a dispatcher's settings; its zero value is usable.
type Config struct {
	Name         string // in logs and dead letters; default: the host's name and process id
	Concurrency  int    // extractions read at a time; default 1
	MemoryBytes  int64  // the budget of all of them together; default 256 MiB
	ScratchDir   string // for extractions beyond the budget; default: the system's
	InlineBytes  int    // a load's rows up to this size travel inside it; default 256 KiB
	MaxAttempts  int    // tries of one commit before its dead letter; default 8
	RetryDelay   time.Duration
	MaxBatchSize int64 // unpacked bytes of one batch; default 1 GiB
}

func (c Config) withDefaults() Config {
	if c.Name == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "dispatcher"
		}
		c.Name = fmt.Sprintf("%s-%d", host, os.Getpid())
	}
	c.Concurrency = max(c.Concurrency, 1)
	if c.MemoryBytes <= 0 {
		c.MemoryBytes = 256 << 20
	}
	if c.ScratchDir == "" {
		c.ScratchDir = os.TempDir()
	}
	if c.InlineBytes <= 0 {
		c.InlineBytes = 256 << 10
	}
	if c.MaxAttempts <= 0 {
		c.MaxAttempts = 8
	}
	if c.RetryDelay <= 0 {
		c.RetryDelay = time.Second
	}
	if c.MaxBatchSize <= 0 {
		c.MaxBatchSize = 1 << 30
	}
	return c
}

// chunkBytes is how much an extraction may hold in columns at a time. The
// budget covers four such: the open chunk, the gathered copy of the last one,
// and as much again for what the garbage collector has not yet taken back.
func (c Config) chunkBytes() int64 {
	return max(c.MemoryBytes/int64(4*c.Concurrency), 1<<20)
}

// Dispatcher takes commits from the queue until its context ends.
type Dispatcher struct {
	queue   *queue.Queue
	keyring *destination.Keyring
	cfg     Config
	log     *zap.Logger
}

// New makes a dispatcher on a provisioned queue. The keyring opens stored
// destinations; a dispatcher reads no secret from them.
func New(q *queue.Queue, k *destination.Keyring, cfg Config, log *zap.Logger) *Dispatcher {
	return &Dispatcher{queue: q, keyring: k, cfg: cfg.withDefaults(), log: log}
}

// Run dispatches until ctx is done. What is in work then is given back, and
// another dispatcher, or the next start of this one, carries it on. It returns
// nil on such a stop, else what made it impossible to go on.
func (d *Dispatcher) Run(ctx context.Context) error {
	commits, err := d.queue.Commits(ctx)
	if err != nil {
		return fmt.Errorf("dispatcher: %w", err)
	}
	defer commits.Close()
	var wg sync.WaitGroup
	errs := make([]error, d.cfg.Concurrency)
	for i := range d.cfg.Concurrency {
		wg.Go(func() { errs[i] = d.take(ctx, commits) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (d *Dispatcher) take(ctx context.Context, commits *queue.Commits) error {
	for {
		delivery, err := commits.Next(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("dispatcher: next commit: %w", err)
		}
		d.handle(ctx, delivery)
	}
}
