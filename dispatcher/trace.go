package dispatcher

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/loadfleet/loadfleet/messages"
)

// newTracer makes the dispatcher's tracer; without a provider its spans cost
// nothing.
func newTracer(p trace.TracerProvider) trace.Tracer {
	if p == nil {
		p = noop.NewTracerProvider()
	}
	return p.Tracer("github.com/loadfleet/loadfleet/dispatcher")
}

// start begins the span of one delivery of a commit: in the extractor's trace, if
// the commit names one, else in a new one. Its loads carry it on.
func (d *Dispatcher) start(ctx context.Context, workspace, extraction string) (context.Context, trace.Span) {
	return d.tracer.Start(ctx, "dispatch", trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
		attribute.String("loadfleet.workspace", workspace), attribute.String("loadfleet.extraction", extraction)))
}

func describe(span trace.Span, verdict string, reason messages.Reason, plan messages.Plan, err error) {
	span.SetAttributes(attribute.String("loadfleet.verdict", verdict), attribute.Int64("loadfleet.loads", plan.Loads),
		attribute.Int64("loadfleet.rows", plan.Rows))
	if err != nil {
		span.RecordError(err)
		span.SetStatus(codes.Error, verdict)
		span.SetAttributes(attribute.String("loadfleet.reason", string(reason)))
	}
}
