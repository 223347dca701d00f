package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// spanCollector is where processes send their spans, and keeps all of them.
type spanCollector struct {
	url string

	mu      sync.Mutex
	sent    []*otlp.ResourceSpans
	allowed map[string]bool // what was said in the header Authorization
}

func startCollector(t *testing.T) *spanCollector {
	t.Helper()
	c := &spanCollector{allowed: map[string]bool{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var sent collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &sent)
		}
		if err != nil || r.URL.Path != "/v1/traces" {
			http.Error(w, "no traces", http.StatusBadRequest)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.sent = append(c.sent, sent.GetResourceSpans()...)
		c.allowed[r.Header.Get("Authorization")] = true
	}))
	t.Cleanup(server.Close)
	c.url = server.URL
	return c
}

// service is who sent spans.
func service(of *otlp.ResourceSpans) string {
	for _, a := range of.GetResource().GetAttributes() {
		if a.GetKey() == "service.name" {
			return a.GetValue().GetStringValue()
		}
	}
	return ""
}

// searchSpans looks at everything that was sent to the collector: as it was on the
// wire, where texts stand as they are, resources and each span with its name,
// attributes, events, links and status.
func (s *search) searchSpans(t *testing.T, c *spanCollector) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	look := func(where string, m proto.Message) {
		t.Helper()
		b, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		s.look(t, "spans", where, b)
	}
	var names []string
	events, failed := 0, 0
	for _, of := range c.sent {
		look(service(of)+", resource", of.GetResource())
		for _, scope := range of.GetScopeSpans() {
			look(service(of)+", scope", scope.GetScope())
			for _, span := range scope.GetSpans() {
				look(service(of)+", "+span.GetName(), span)
				names = append(names, span.GetName())
				events += len(span.GetEvents())
				if span.GetStatus().GetCode() == otlp.Status_STATUS_CODE_ERROR {
					failed++
				}
			}
		}
	}
	for _, name := range []string{"extraction", "dispatch", "load", "encode", "put"} {
		if !slices.Contains(names, name) {
			t.Errorf("there is no span %q among %d: does this test still read them?", name, len(names))
		}
	}
	if events == 0 || failed == 0 {
		t.Errorf("%d events and %d failures in %d spans: does this test still read them?", events, failed, len(names))
	}
}
