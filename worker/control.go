package worker

import (
	"context"
	"errors"
	"slices"
	"sync"

	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/messages"
)

// errGateShut is the cause with which a pull ends when an operator pauses the
// worker.
var errGateShut = errors.New("worker: paused by an operator")

// gate lets loads be pulled, or not, as operators want.
type gate struct {
	changes chan struct{} // receives after the state changed

	mu        sync.Mutex
	paused    bool
	draining  bool
	operation string                  // the instruction that it obeys
	moved     chan struct{}           // closed and replaced when paused changes
	open      context.Context         // of the pulls; nil while nobody pulls
	shut      context.CancelCauseFunc // of open
}

func newGate() *gate {
	return &gate{changes: make(chan struct{}, 1), moved: make(chan struct{})}
}

// pass waits until the gate is open and gives a context that ends when it is
// shut, or with pulling, which is the same at every call; it fails when pulling
// has ended.
func (g *gate) pass(pulling context.Context) (context.Context, error) {
	for {
		g.mu.Lock()
		moved := g.moved
		if !g.paused && g.open == nil {
			g.open, g.shut = context.WithCancelCause(pulling)
		}
		open := g.open
		g.mu.Unlock()
		if pulling.Err() != nil {
			return nil, context.Cause(pulling)
		}
		if open != nil {
			return open, nil
		}
		select {
		case <-moved:
		case <-pulling.Done():
		}
	}
}

// set shuts or opens the gate by an instruction.
func (g *gate) set(paused bool, operation string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.operation = operation
	g.tell()
	if paused == g.paused {
		return
	}
	g.paused = paused
	if paused && g.open != nil {
		g.shut(errGateShut)
		g.open = nil
	}
	close(g.moved)
	g.moved = make(chan struct{})
}

// drain says that no more is pulled for good: what else there is to do is
// the stop's.
func (g *gate) drain() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.draining = true; g.shut != nil {
		g.shut(nil) // pulling has ended: this only lets go of it
	}
	g.tell()
}

func (g *gate) tell() {
	select {
	case g.changes <- struct{}{}:
	default:
	}
}

func (g *gate) state() (messages.ProcessState, string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.draining:
		return messages.ProcessDraining, g.operation
	case g.paused:
		return messages.ProcessPaused, g.operation
	}
	return messages.ProcessRunning, g.operation
}

// obey does what operators want: it pauses or resumes the worker, and begins
// its stop when it is named to be drained.
func (w *Worker) obey(c *messages.Control, drain context.CancelFunc) {
	drained := slices.Contains(c.Drain, w.self.Instance)
	w.log.Info("instruction", zap.String("instruction", string(c.Instruction)), zap.Bool("paused", c.Paused), zap.Bool("drained", drained),
		zap.String("by", c.By), zap.Time("at", c.Time), zap.String("operation", c.Operation))
	w.gate.set(c.Paused, c.Operation)
	if drained {
		drain()
	}
}
