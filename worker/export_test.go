package worker

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/storage"
)

// Carry places a load's object, or deletes it, with a ledger of the test's own,
// as a worker does whose destination may delete.
func Carry(ctx context.Context, store *storage.Store, l *messages.Load, o storage.Object, ledger Ledger) (messages.Result, error) {
	p := &place{store: store, load: l, object: o, asked: time.Now(), ledger: ledger, deletes: true}
	var err error
	if p.remembered, err = ledger.Grave(ctx); err != nil && !errors.Is(err, queue.ErrNotFound) {
		return "", err
	}
	if l.Delete {
		result, _, err := p.remove(ctx)
		return result, err
	}
	result, _, err := p.put(ctx)
	return result, err
}

// Ledger is the ledger of one object, as one writer sees it.
type Ledger = ledger

// MaxDestinations is how many destinations have a label of their own.
const MaxDestinations = maxDestinations

// Requested counts requests of destinations on a registry.
func Requested(r prometheus.Registerer) func(destination string) {
	w := &Worker{gate: newGate(), breakers: newBreakers(0, 0, 1), budget: newBudget(0, 0)}
	m := newMeters(w, r)
	return func(destination string) {
		m.requested(storage.Request{Destination: destination, Operation: "PutObject", Status: 200})
	}
}

// SpanOff is the spans of one load of a worker that traces nothing.
func SpanOff() func(context.Context) {
	w := &Worker{tracer: newTracer(nil)}
	d := &queue.LoadDelivery{}
	nothing := func(context.Context) error { return nil }
	return func(ctx context.Context) {
		ctx, span := w.startLoad(ctx, d)
		_ = w.spanned(ctx, "encode", nothing)
		_ = w.spanned(ctx, "put", nothing)
		describeEnd(span, carried{})
		span.End()
	}
}
