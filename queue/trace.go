package queue

import (
	"context"

	"go.opentelemetry.io/otel/propagation"

	"github.com/loadfleet/loadfleet/messages"
)

// trace is the headers of a message as the carrier of a W3C trace context. Of it
// only the traceparent travels: a tracestate is as long as a stranger made it.
type trace struct{ header messages.Header }

// Get implements [propagation.TextMapCarrier].
func (t trace) Get(key string) string {
	if key != messages.HeaderTraceparent {
		return ""
	}
	return t.header.Get(key)
}

// Set implements [propagation.TextMapCarrier].
func (t trace) Set(key, value string) {
	if key == messages.HeaderTraceparent {
		t.header.Set(key, value)
	}
}

// Keys implements [propagation.TextMapCarrier].
func (t trace) Keys() []string { return []string{messages.HeaderTraceparent} }

// traced is ctx within the trace that a message belongs to, if it says one.
func traced(ctx context.Context, h messages.Header) context.Context {
	return propagation.TraceContext{}.Extract(ctx, trace{h})
}

// mark says on a message's headers which trace ctx is in, if it is in one.
func mark(ctx context.Context, h messages.Header) { propagation.TraceContext{}.Inject(ctx, trace{h}) }
