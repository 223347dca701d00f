package worker

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
)

// newTracer makes the worker's tracer; without a provider its spans cost nothing.
func newTracer(p trace.TracerProvider) trace.Tracer {
	if p == nil {
		p = noop.NewTracerProvider()
	}
	return p.Tracer("github.com/loadfleet/loadfleet/worker")
}

// startLoad begins the span of one delivery of a load, in the trace of its
// extraction.
func (w *Worker) startLoad(ctx context.Context, d *queue.LoadDelivery) (context.Context, trace.Span) {
	ctx, span := w.tracer.Start(ctx, "load", trace.WithSpanKind(trace.SpanKindConsumer))
	if span.IsRecording() {
		span.SetAttributes(attribute.String("loadfleet.load", d.ID), attribute.String("loadfleet.extraction", d.Extraction),
			attribute.String("loadfleet.destination", d.Destination), attribute.String("loadfleet.lane", string(d.Lane)),
			attribute.String("loadfleet.worker", w.cfg.Name))
		if d.Load != nil {
			span.SetAttributes(attribute.String("loadfleet.workspace", d.Load.Workspace), attribute.String("loadfleet.format", d.Load.Format()),
				attribute.Int64("loadfleet.rows", d.Load.Rows))
		}
	}
	return ctx, span
}

func describeEnd(span trace.Span, made carried) {
	span.SetAttributes(attribute.String("loadfleet.result", string(made.result)), attribute.Int64("loadfleet.bytes", made.bytes))
}

func describeFailure(span trace.Span, what decision, reason messages.Reason) {
	span.SetStatus(codes.Error, what.String())
	span.SetAttributes(attribute.String("loadfleet.verdict", what.String()), attribute.String("loadfleet.reason", string(reason)))
}

// spanned runs one step of a load within a span of its own.
func (w *Worker) spanned(ctx context.Context, name string, step func(context.Context) error) error {
	ctx, span := w.tracer.Start(ctx, name)
	defer span.End()
	err := step(ctx)
	if err != nil {
		span.RecordError(err)
		span.SetStatus(codes.Error, "")
	}
	return err
}
