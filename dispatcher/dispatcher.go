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
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
)

// Config is a dispatcher's settings; its zero value is usable.
type Config struct {
	Name         string                // in logs and dead letters, and for `loadfleet fleet`; default: the host's name and process id
	Program      string                // the program's version, for operators
	Concurrency  int                   // extractions read at a time; default 1
	MemoryBytes  int64                 // the budget of the process, its code included; default 256 MiB
	Readers      int                   // batches of one extraction decoded at a time; default: the cores, at most 4
	ScratchDir   string                // for extractions beyond the budget; default: the system's
	InlineBytes  int                   // a load's rows up to this size, unpacked, travel inside it; default 1 MiB
	MaxAttempts  int                   // failed tries of one commit here before its dead letter; default 8
	RetryDelay   time.Duration         // before the second try; doubles up to a minute; default 1 s
	HoldDelay    time.Duration         // between looks at a commit that is held; default 30 s
	Grace        time.Duration         // given to extractions in work at a stop; default 20 s
	MaxBatchSize int64                 // unpacked bytes of one batch; default 1 GiB
	Metrics      prometheus.Registerer // nil: no metrics
	Tracer       trace.TracerProvider  // nil: no spans
	Stage        Stage                 // where staged extractions' files are; nil: they are refused
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
	if c.Readers <= 0 {
		c.Readers = min(runtime.GOMAXPROCS(0), 4)
	}
	if c.MemoryBytes <= 0 {
		c.MemoryBytes = 256 << 20
	}
	if c.ScratchDir == "" {
		c.ScratchDir = os.TempDir()
	}
	if c.InlineBytes <= 0 {
		c.InlineBytes = 1 << 20
	}
	if c.MaxAttempts <= 0 {
		c.MaxAttempts = 8
	}
	if c.RetryDelay <= 0 {
		c.RetryDelay = time.Second
	}
	if c.HoldDelay <= 0 {
		c.HoldDelay = 30 * time.Second
	}
	if c.Grace <= 0 {
		c.Grace = 20 * time.Second
	}
	if c.MaxBatchSize <= 0 {
		c.MaxBatchSize = 1 << 30
	}
	return c
}

// fixedBytes is what a process has resident before it reads the first row: its
// code, the runtime, and the queue's buffers.
const fixedBytes = 80 << 20

// chunkBytes is how much a reader may hold in columns. What the budget leaves
// covers five such for each reader: the chunk with the room it grows into (two),
// the bodies it is decoded from, and what the garbage collector has not yet
// taken back. A walk over what was spilled holds less (see scratch).
func (c Config) chunkBytes() int64 {
	left := max(c.MemoryBytes-fixedBytes, c.MemoryBytes/4)
	return max(left/int64(5*c.Readers*c.Concurrency), 1<<20)
}

// scratch is where an extraction beyond its chunks goes: with three levels of
// runs, which hold 4096 chunks, a walk reads half a chunk at a time. The texts that
// runs share take up to another half.
func (c Config) scratch() scratch {
	return scratch{dir: c.ScratchDir, blockBytes: min(max(c.chunkBytes()/64, 16<<10), 256<<10), textBytes: c.chunkBytes() / 2}
}

// ErrStopped is the cause of an extraction's context when its dispatcher was
// stopped and the grace is over.
var ErrStopped = errors.New("dispatcher stopped")

// Dispatcher takes commits from the queue until its context ends.
type Dispatcher struct {
	queue  *queue.Queue
	cfg    Config
	log    *zap.Logger
	self   messages.Presence // what never changes of it
	done   done
	meters *meters
	tracer trace.Tracer

	mu    sync.Mutex
	tries map[string]int // by the commit's subject: tries of it that failed here
}

// New makes a dispatcher on a provisioned queue. It needs no seal key: what it
// reads of a stored destination stands there in plain.
func New(q *queue.Queue, cfg Config, log *zap.Logger) *Dispatcher {
	cfg = cfg.withDefaults()
	d := &Dispatcher{queue: q, cfg: cfg, log: log, self: self(cfg), tries: map[string]int{}}
	d.meters, d.tracer = newMeters(d, cfg.Metrics), newTracer(cfg.Tracer)
	return d
}

// Run dispatches until ctx is done. What is in work then has the grace to end;
// after it the rest is given back, and another dispatcher, or the next start of
// this one, carries it on. It returns nil on such a stop, else what made it
// impossible to go on.
func (d *Dispatcher) Run(ctx context.Context) error {
	commits, err := d.queue.Commits(ctx)
	if err != nil && ctx.Err() != nil {
		return nil // stopped before it had taken anything
	}
	if err != nil {
		return fmt.Errorf("dispatcher: %w", err)
	}
	defer commits.Close()
	// hard ends when the grace is over.
	hard, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	stopping := context.AfterFunc(ctx, func() {
		time.AfterFunc(d.cfg.Grace, func() { cancel(ErrStopped) })
	})
	defer stopping()
	// Told until the last extraction has ended.
	beside, end := context.WithCancel(context.WithoutCancel(ctx))
	var background sync.WaitGroup
	defer background.Wait()
	defer end()
	draining := make(chan struct{}, 1)
	defer context.AfterFunc(ctx, func() { draining <- struct{}{} })()
	background.Go(func() { d.queue.Announce(beside, draining, func() *messages.Presence { return d.presence(ctx) }) })
	var wg sync.WaitGroup
	errs := make([]error, d.cfg.Concurrency)
	for i := range d.cfg.Concurrency {
		wg.Go(func() { errs[i] = d.take(ctx, hard, commits) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (d *Dispatcher) take(ctx, hard context.Context, commits *queue.Commits) error {
	for {
		delivery, err := commits.Next(ctx)
		if ctx.Err() != nil && delivery == nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("dispatcher: next commit: %w", err)
		}
		work, cancel := context.WithCancelCause(delivery.Context())
		stop := context.AfterFunc(hard, func() { cancel(context.Cause(hard)) })
		d.done.inFlight.Add(1)
		d.handle(work, delivery)
		d.done.inFlight.Add(-1)
		stop()
		cancel(nil)
	}
}
