package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
)

// Two dispatchers and four workers, each a process of its own on one NATS
// server, make the objects that one process makes, byte for byte.
func TestSeveralProcessesSameBytes(t *testing.T) {
	t.Parallel()
	_, want := theDemo(t)
	f := newFleet(t, t.TempDir())
	f.up("--servers-only", "--bucket", demoBucket)
	f.applyDemo()
	extractions := map[string]string{}
	for _, s := range f.demoSettings() {
		extractions[s.ID] = s.ID + "-pinned"
		f.publishDemo(s.ID, extractions[s.ID])
	}
	// All is there before they start, so that each finds something to do.
	var dispatchers, workers []*process
	for range 2 {
		dispatchers = append(dispatchers, f.command("dispatcher"))
	}
	for range 4 {
		workers = append(workers, f.command("worker"))
	}
	q := f.queue()
	loads := map[string]int{}
	for id, extraction := range extractions {
		f.run("extraction", "watch", extraction, "--workspace", "ws1")
		a, err := accountFor(t.Context(), q, "ws1", extraction)
		if err != nil {
			t.Fatal(err)
		}
		oneOutcomeEach(t, a)
		if a.Rows != 100_000 {
			t.Errorf("%s: %d rows were loaded, want 100000", id, a.Rows)
		}
		for _, o := range a.Outcomes {
			loads[o.Worker]++
		}
	}
	sameObjects(t, f.objects(), want)
	for _, p := range dispatchers {
		f.stop(p)
		if !strings.Contains(p.err.text(), `"verdict":"dispatched"`) {
			t.Errorf("dispatcher %d dispatched nothing, want both to work", p.cmd.Process.Pid)
		}
	}
	for _, p := range workers {
		f.stop(p)
		if loadsOf(p, loads) == 0 {
			t.Errorf("worker %d carried out nothing, want all four to work: %v", p.cmd.Process.Pid, loads)
		}
	}
}

// loadsOf is how many outcomes name the process as their worker.
func loadsOf(p *process, loads map[string]int) int {
	for worker, n := range loads {
		if strings.HasSuffix(worker, fmt.Sprintf("-%d", p.cmd.Process.Pid)) {
			return n
		}
	}
	return 0
}

// oneOutcomeEach checks that every planned load of an extraction ended in one
// outcome, and a good one.
func oneOutcomeEach(t *testing.T, a *account) {
	t.Helper()
	seen := map[string]bool{}
	for _, o := range a.Outcomes {
		if id := messages.LoadID(a.Workspace, a.Extraction, o.Bucket, o.Key); o.Load != id || seen[id] {
			t.Errorf("%s: an outcome of load %s for key %s (seen before: %t), want one of load %s", a.Extraction, o.Load, o.Key, seen[id], id)
		}
		seen[o.Load] = true
		if o.Result != messages.Loaded {
			t.Errorf("%s: key %s is %s, want loaded", a.Extraction, o.Key, o.Result)
		}
	}
	if a.Plan == nil || int64(len(seen)) != a.Plan.Loads {
		t.Errorf("%s: %d outcomes for the plan %+v", a.Extraction, len(seen), a.Plan)
	}
}

// The only worker is killed in the middle of its loads, three times, each time
// with loads in work; its successors end in the same bytes.
func TestP1KillWorkerSameBytes(t *testing.T) {
	t.Parallel()
	_, want := theDemo(t)
	f := newFleet(t, t.TempDir())
	f.env["LOADFLEET_LEASE"] = "2s"
	f.up("--servers-only", "--bucket", demoBucket)
	f.applyDemo()
	// Loads with their rows by reference, and many small ones.
	extractions := []string{"demo-json-gzip", "demo-parquet"}
	for _, id := range extractions {
		f.publishDemo(id, id)
	}
	dispatcher := f.command("dispatcher")
	workers := []*process{f.command("worker")}
	kills := []int{1, 300, 1200}

	q := f.queue()
	ended, total := map[string]bool{}, int64(-1)
	plans := map[string]int64{}
	for event, err := range q.Events(t.Context(), "ws1", "", true) {
		if err != nil {
			t.Fatal(err)
		}
		switch event.Kind {
		case messages.EventFailed:
			t.Fatalf("extraction %s failed: %+v", event.Extraction, event.Failure)
		case messages.EventDispatched:
			plans[event.Extraction] = event.Plan.Loads
			if len(plans) == len(extractions) {
				total = 0
				for n := range maps.Values(plans) {
					total += n
				}
			}
		case messages.EventOutcome:
			ended[event.Outcome.Load] = true
		}
		if len(kills) > 0 && len(ended) >= kills[0] {
			kills = kills[1:]
			f.kill(workers[len(workers)-1])
			workers = append(workers, f.command("worker"))
		}
		if int64(len(ended)) == total {
			break
		}
	}
	if len(kills) > 0 {
		t.Fatalf("all loads had ended before the kills at %v", kills)
	}
	for _, id := range extractions {
		a, err := accountFor(t.Context(), q, "ws1", id)
		if err != nil {
			t.Fatal(err)
		}
		oneOutcomeEach(t, a)
	}
	sameObjects(t, f.objects(), ofFormats(want, encoding.JSONGzip, encoding.Parquet))
	f.stop(workers[len(workers)-1])
	f.stop(dispatcher)
}

// A dispatcher that is asked to stop gives what it has in work back at once:
// the next one need not wait for its lease to run out.
func TestStoppedDispatcherGivesBack(t *testing.T) {
	t.Parallel()
	f := newFleet(t, t.TempDir())
	f.up("--servers-only", "--bucket", demoBucket)
	f.applyDemo()
	f.publishDemo("demo-csv", "stopped")
	first := f.command("dispatcher", "--dispatch-grace", "1ms")
	var second *process
	for event, err := range f.queue().Events(t.Context(), "ws1", "stopped", true) {
		if err != nil {
			t.Fatal(err)
		}
		if event.Kind == messages.EventAccepted && second == nil {
			f.stop(first)
			if log := first.err.text(); !strings.Contains(log, `"verdict":"release"`) {
				t.Errorf("the stopped dispatcher did not give its extraction back:\n%s", log)
			}
			second = f.command("dispatcher")
		}
		if event.Kind == messages.EventDispatched {
			if event.Plan.Loads != 90 || event.Plan.Rows != 100_000 {
				t.Errorf("the plan is %+v, want 90 loads with 100000 rows", *event.Plan)
			}
			break
		}
	}
	if err := second.err.await(t.Context(), `"verdict":"dispatched"`); err != nil {
		t.Errorf("the second dispatcher: %v\n%s", err, second.err.tail())
	}
	f.stop(second)
}

// TestStoppedWhileItConnects stops a worker that waits for a broker's first word: it
// had nothing to lose, and ends well.
func TestStoppedWhileItConnects(t *testing.T) {
	t.Parallel()
	f := newFleet(t, t.TempDir())
	f.up("--servers-only")
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	p := f.command("worker", "--nats-url", "nats://"+silent.Addr().String())
	if err := silent.(*net.TCPListener).SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	conn, err := silent.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	f.stop(p)
}

// TestStoppedWhileItsStageOpens stops a dispatcher that waits for the word of its
// stage, which never comes.
func TestStoppedWhileItsStageOpens(t *testing.T) {
	t.Parallel()
	f := newFleet(t, t.TempDir())
	f.up("--servers-only")
	broker, err := url.Parse(f.env["LOADFLEET_NATS_URL"])
	if err != nil {
		t.Fatal(err)
	}
	var asked <-chan struct{}
	broker.Host, asked = deafTo(t, broker.Host, "OBJ_")
	p := f.command("dispatcher", "--nats-url", broker.String(), "--stage-url", "nats")
	select {
	case <-asked:
	case <-time.After(patience):
		t.Fatalf("the stage is not asked for\n%s", p.err.tail())
	}
	f.stop(p)
}

// deafTo forwards connections to an address, and hears nothing more of one that
// said the word.
func deafTo(t *testing.T, address, word string) (at string, said <-chan struct{}) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	heard := make(chan struct{})
	once := sync.OnceFunc(func() { close(heard) })
	forward := func(client net.Conn) {
		defer client.Close()
		server, err := net.Dial("tcp", address)
		if err != nil {
			t.Error(err)
			return
		}
		defer server.Close()
		go func() {
			_, _ = io.Copy(client, server) // ends with either connection
			_ = client.Close()
		}()
		for lines := bufio.NewReader(client); ; {
			line, err := lines.ReadBytes('\n')
			if bytes.Contains(line, []byte(word)) {
				once()
				_, _ = io.Copy(io.Discard, lines)
				return
			}
			if _, failed := server.Write(line); err != nil || failed != nil {
				return
			}
		}
	}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go forward(client)
		}
	}()
	return l.Addr().String(), heard
}
