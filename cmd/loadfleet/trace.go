package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/zap"
)

// tracing is where spans go, by OpenTelemetry's own variables: nowhere, at no
// cost, unless OTEL_TRACES_EXPORTER is otlp or an OTLP endpoint is set. stop sends
// what is left. Everything else (headers, sampler, resource, timeouts) is read by
// the SDK from its variables.
func tracing(ctx context.Context, service string, log *zap.Logger) (trace.TracerProvider, func() error, error) {
	if !tracingAsked(os.Getenv) {
		return noop.NewTracerProvider(), func() error { return nil }, nil
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		if v := os.Getenv(name); v != "" && v != "http/protobuf" {
			return nil, nil, usage(fmt.Errorf("%s=%s: traces are sent by http/protobuf only", name, v))
		}
	}
	// What goes wrong on the way out is told to this one handler, and else to
	// standard error in a form of its own.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("traces", zap.Error(err)) }))
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("traces: %w", err)
	}
	// What the environment says comes last and counts.
	about, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", service), attribute.String("service.version", programVersion())),
		resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, nil, fmt.Errorf("traces: %w", err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	return provider, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		return provider.Shutdown(ctx)
	}, nil
}

func tracingAsked(env func(string) string) bool {
	switch exporter := strings.ToLower(env("OTEL_TRACES_EXPORTER")); {
	case strings.EqualFold(env("OTEL_SDK_DISABLED"), "true"):
		return false
	case exporter != "":
		return exporter == "otlp"
	}
	return env("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
}
