package main

import (
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

var metricsAddress = regexp.MustCompile(`"msg":"metrics","address":"([^"]+)"`)

// asked is what a process's monitor answers.
func (f *fleet) asked(p *process, path string) (int, string) {
	f.Helper()
	if err := p.err.await(f.Context(), `"msg":"metrics"`); err != nil {
		f.Fatalf("%v\n%s", err, p.err.tail())
	}
	found := metricsAddress.FindStringSubmatch(p.err.text())
	if found == nil {
		f.Fatalf("%s does not say where its metrics are\n%s", p.name, p.err.tail())
	}
	ctx, cancel := context.WithTimeout(f.Context(), 20*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+found[1]+path, nil)
	if err != nil {
		f.Fatal(err)
	}
	reply, err := http.DefaultClient.Do(r)
	if err != nil {
		f.Fatalf("%s of %s: %v", path, p.name, err)
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(reply.Body)
	if err != nil {
		f.Fatal(err)
	}
	return reply.StatusCode, string(text)
}

// A process says whether it is alive, whether it takes work, and what it counts;
// it is alive and not ready while its queue is away.
func TestMonitor(t *testing.T) {
	t.Parallel()
	f := newFleet(t, t.TempDir())
	servers := f.up("--servers-only", "--bucket", demoBucket)
	processes := map[string]*process{
		"loadfleet_queue_up 1":             f.command("dispatcher", "--metrics", "127.0.0.1:0"),
		"loadfleet_worker_breakers_open 0": f.command("worker", "--metrics", "127.0.0.1:0"),
	}
	for want, p := range processes {
		if code, text := f.asked(p, "/healthz"); code != http.StatusOK {
			t.Errorf("%s: not alive: %d %s", p.name, code, text)
		}
		if code, text := f.asked(p, "/readyz"); code != http.StatusOK {
			t.Errorf("%s: not ready: %d %s", p.name, code, text)
		}
		code, text := f.asked(p, "/metrics")
		for _, line := range []string{want, `loadfleet_build_info{version="` + programVersion() + `"} 1`, "go_goroutines", "process_resident_memory_bytes"} {
			if code != http.StatusOK || !strings.Contains(text, line) {
				t.Errorf("%s: metrics do not hold %q: %d", p.name, line, code)
			}
		}
	}
	f.stop(servers)
	for _, p := range processes {
		if err := p.err.await(t.Context(), "queue disconnected"); err != nil {
			t.Fatal(err)
		}
		if code, text := f.asked(p, "/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(text, "the queue is not connected") {
			t.Errorf("%s without a queue: got %d %q", p.name, code, text)
		}
		if code, _ := f.asked(p, "/healthz"); code != http.StatusOK {
			t.Errorf("%s without a queue: not alive", p.name)
		}
	}
	busy := f.command("worker", "--metrics", "127.0.0.1:1")
	if code := f.wait(busy); code == exitOK {
		t.Error("a worker that cannot listen runs all the same")
	}
}
