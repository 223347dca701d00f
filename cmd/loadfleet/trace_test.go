package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

// endedSpans waits until so many spans of a name have ended, and gives all there are
// of the trace.
func endedSpans(t *testing.T, p *sdktrace.TracerProvider, to *tracetest.InMemoryExporter, of trace.TraceID, want map[string]int) tracetest.SpanStubs {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ticker := time.NewTicker(10 * time.Millisecond) // a span's end is told to nobody
	defer ticker.Stop()
	for {
		if err := p.ForceFlush(ctx); err != nil {
			t.Fatal(err)
		}
		var found tracetest.SpanStubs
		missing := 0
		for _, n := range want {
			missing += n
		}
		for _, s := range to.GetSpans() {
			if s.SpanContext.TraceID() == of || !of.IsValid() {
				found = append(found, s)
				if want[s.Name] > 0 {
					missing--
				}
			}
		}
		if missing <= 0 {
			return found
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("there are %d spans, want %v", len(found), want)
		}
	}
}

// The spans of one extraction form one trace, from the extractor's own span
// through the dispatch and each load to its put; and one that begins with the
// dispatch when the extractor has none. A dispatcher without traces passes the
// extractor's on.
func TestTraces(t *testing.T) {
	exporter := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter))
	const settings = "folder: /%s\nfile_name: \"{{YYYY}}-{{MM}}-{{DD}}\"\nfile_format: csv\nseparator: comma"
	for _, c := range []struct {
		name                  string
		extractor, dispatcher bool
		parents               map[string]string // of spans, by name; "" for none
	}{
		{"extractor, dispatcher and worker", true, true, map[string]string{"extraction": "", "dispatch": "extraction", "load": "dispatch", "encode": "load", "put": "load"}},
		{"no extractor", false, true, map[string]string{"dispatch": "", "load": "dispatch", "encode": "load", "put": "load"}},
		{"no dispatcher", true, false, map[string]string{"extraction": "", "load": "extraction", "encode": "load", "put": "load"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			exporter.Reset()
			p := startProving(t, func(cfg *nodeConfig) {
				cfg.worker.Tracer = provider
				if c.dispatcher {
					cfg.dispatcher.Tracer = provider
				}
			})
			p.apply(t, "traced", settings)
			ctx, of := t.Context(), trace.TraceID{}
			if c.extractor {
				var span trace.Span
				ctx, span = provider.Tracer("extractor").Start(ctx, "extraction")
				of = span.SpanContext().TraceID()
				span.End()
			}
			p.sendWithin(ctx, t, "traced", "traced", nil)
			counts := map[string]int{}
			for name := range c.parents {
				counts[name] = 1
				if name != "extraction" && name != "dispatch" {
					counts[name] = provingDays
				}
			}
			spans := endedSpans(t, provider, exporter, of, counts)
			names, found := map[trace.SpanID]string{}, map[string]int{}
			for _, s := range spans {
				names[s.SpanContext.SpanID()] = s.Name
				found[s.Name]++
			}
			for _, s := range spans {
				if s.SpanContext.TraceID() != spans[0].SpanContext.TraceID() {
					t.Errorf("span %s is of another trace", s.Name)
				}
				if got := names[s.Parent.SpanID()]; got != c.parents[s.Name] {
					t.Errorf("span %s is within %q, want %q", s.Name, got, c.parents[s.Name])
				}
			}
			for name, want := range counts {
				if found[name] != want {
					t.Errorf("%d spans %s, want %d", found[name], name, want)
				}
			}
		})
	}
}

// Processes send their spans where OpenTelemetry's variables say, and the one
// extraction is one trace over three of them.
func TestTracesOfProcesses(t *testing.T) {
	t.Parallel()
	sent := startCollector(t)
	f := newFleet(t, t.TempDir())
	f.up("--servers-only", "--bucket", demoBucket)
	f.applyDemo()
	f.env["OTEL_EXPORTER_OTLP_ENDPOINT"] = sent.url
	dispatcher, worker := f.command("dispatcher"), f.command("worker")
	file := filepath.Join(t.TempDir(), "rows.ndjson")
	if err := os.WriteFile(file, []byte(`{"date":"2024-06-20","n":1}`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.run("publish", "--destination", "demo-csv", "--workspace", "ws1", "--table", "t", "--date-column", "date", "--data-source", "d",
		"--report-type", "r", "--wait", file)
	f.stop(worker) // sends what is left
	f.stop(dispatcher)
	sent.mu.Lock()
	defer sent.mu.Unlock()
	traces, services := map[string]bool{}, map[string]bool{}
	for _, of := range sent.sent {
		services[service(of)] = true
		for _, scope := range of.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				traces[string(s.GetTraceId())] = true
			}
		}
	}
	if len(traces) != 1 || len(services) != 3 {
		t.Errorf("%d traces of %v, want one of three services", len(traces), services)
	}
	f.env["OTEL_EXPORTER_OTLP_PROTOCOL"] = "grpc"
	f.fails(exitUsage, f.command("worker"))
}

func TestTracingAsked(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		want bool
	}{
		{nil, false},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, true},
		{map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x"}, true},
		{map[string]string{"OTEL_TRACES_EXPORTER": "otlp"}, true},
		{map[string]string{"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, false},
		{map[string]string{"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "otlp"}, false},
	} {
		if got := tracingAsked(func(name string) string { return c.env[name] }); got != c.want {
			t.Errorf("%v: got %t, want %t", c.env, got, c.want)
		}
	}
}
