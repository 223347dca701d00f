package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/pprof"

	"github.com/spf13/pflag"
	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/dispatcher"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/worker"
)

// actor is what a dispatcher or worker process is made of.
type actor struct {
	queue *queue.Queue
	log   *zap.Logger
	// stopped is the error of what must be there before the role begins, or nil
	// when the process was stopped first.
	stopped func(error) error
}

// actor runs one role on a queue of the network until ctx ends. One that is
// stopped before it is ready has done nothing, and that well. The checks come
// before it is ready.
func (p *program) actor(ctx context.Context, role string, run func(context.Context, *actor) error, checks ...func(context.Context, *actor) error) (err error) {
	log := p.logger(p.settings.level())
	stopped := func(err error) error {
		if ctx.Err() == nil {
			return err
		}
		log.Warn(role+" stopped before it was ready", zap.Error(err))
		return nil
	}
	q, err := p.settings.connect(ctx, role, log)
	if err != nil {
		return stopped(err)
	}
	defer func() { err = errors.Join(err, q.Close(context.WithoutCancel(ctx))) }()
	if err := q.Check(ctx); err != nil {
		return stopped(fmt.Errorf("%s: %w", role, err))
	}
	if p.settings.profile != "" {
		stop, failed := profileTo(p.settings.profile)
		if failed != nil {
			return failed
		}
		defer func() { err = errors.Join(err, stop()) }()
	}
	a := &actor{queue: q, log: log, stopped: stopped}
	for _, check := range checks {
		if err := check(ctx, a); err != nil {
			return stopped(fmt.Errorf("%s: %w", role, err))
		}
	}
	log.Info(role + " ready")
	return run(ctx, a)
}

// profileTo writes a CPU profile until stop.
func profileTo(path string) (stop func() error, err error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}

func bindName(f *pflag.FlagSet, name *string) {
	f.StringVar(name, "name", "", "what operators call this process; what they paused stays paused under its name; default: the host's name and process id")
}

func bindDispatcher(f *pflag.FlagSet, c *dispatcher.Config) {
	bindDispatcherTuning(f, c)
	f.IntVar(&c.Concurrency, "dispatch-concurrency", 1, "extractions read at a time")
	f.DurationVar(&c.Grace, "dispatch-grace", 0, "given to the extraction in work at a stop; default 20s")
	f.StringVar(&c.ScratchDir, "dispatch-scratch", "", "directory for spills; default: the system's temporary one")
}

func bindWorker(f *pflag.FlagSet, c *worker.Config) {
	f.IntVar(&c.Slots, "slots", 0, "loads in work at a time; default: 64 a core, at most one for 2 MB of memory")
	f.IntVar(&c.MaxAttempts, "max-attempts", 10, "tries of a load before its dead letter")
	f.DurationVar(&c.ParkLimit, "park-limit", 0, "how long loads wait for a destination that refuses them; default 6h")
	f.DurationVar(&c.Grace, "grace", 0, "given to loads in work at a stop; default 20s")
	bindStorage(f, &c.Storage)
	bindTuning(f, c)
	f.StringVar(&c.ScratchDir, "scratch", "", "directory for files larger than fit memory; default: the system's temporary one")
}
