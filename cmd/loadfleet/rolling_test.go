package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
)

// rolling is a fleet that loads many small objects slowly, so that there is time
// to do something to it.
type rolling struct {
	*fleet
	queue *queue.Queue
	want  map[string]string // objects
	ended map[string]bool
}

const rollingID = "demo-parquet"

func startRolling(t *testing.T) *rolling {
	t.Helper()
	_, want := theDemo(t)
	f := newFleet(t, t.TempDir())
	f.up("--servers-only", "--bucket", demoBucket)
	doc := append(f.document("demo/5-parquet.yaml"), "rate_limit: 100\n"...)
	file := filepath.Join(t.TempDir(), "slow.yaml")
	if err := os.WriteFile(file, bytes.TrimSpace(doc), 0o600); err != nil {
		t.Fatal(err)
	}
	f.run("destination", "apply", "-f", file)
	f.publishDemo(rollingID, "rolling")
	f.command("dispatcher")
	return &rolling{fleet: f, queue: f.queue(), want: ofFormats(want, encoding.Parquet), ended: map[string]bool{}}
}

func (r *rolling) worker(name string) *process {
	r.Helper()
	// Few slots: a worker that stops ends what it has, at the rate of the destination.
	p := r.command("worker", "--name", name, "--park-delay", "100ms", "--slots", "16")
	if err := p.err.await(r.Context(), "worker ready"); err != nil {
		r.Fatalf("%s: %v\n%s", name, err, p.err.tail())
	}
	return p
}

// follow calls each step when so many loads have ended, and waits for the rest
// of them. Loads are left when the last step begins, or the test has shown nothing.
func (r *rolling) follow(steps map[int]func()) {
	r.Helper()
	planned, last := int64(-1), 0
	for n := range steps {
		last = max(last, n)
	}
	for event, err := range r.queue.Events(r.Context(), "ws1", "rolling", true) {
		if err != nil {
			r.Fatal(err)
		}
		switch event.Kind {
		case messages.EventFailed:
			r.Fatalf("the extraction failed: %+v", event.Failure)
		case messages.EventDispatched:
			planned = event.Plan.Loads
		case messages.EventOutcome:
			r.ended[event.Outcome.Load] = true
			n := len(r.ended)
			step := steps[n]
			if step == nil {
				break
			}
			delete(steps, n)
			if n == last {
				if a, err := accountFor(r.Context(), r.queue, "ws1", "rolling"); err != nil {
					r.Fatal(err)
				} else if a.Plan != nil && int64(len(a.Outcomes)) >= a.Plan.Loads {
					r.Errorf("all %d loads had ended before the last step", a.Plan.Loads)
				}
			}
			step()
		}
		if int64(len(r.ended)) == planned {
			break
		}
	}
	if len(steps) > 0 {
		r.Errorf("%d steps were never taken", len(steps))
	}
}

// whole checks that nothing was lost, nothing was done twice, and nothing counted
// as a failure.
func (r *rolling) whole() {
	r.Helper()
	r.run("extraction", "watch", "rolling", "--workspace", "ws1")
	a, err := accountFor(r.Context(), r.queue, "ws1", "rolling")
	if err != nil {
		r.Fatal(err)
	}
	oneOutcomeEach(r.T, a)
	workers := map[string]int{}
	for _, o := range a.Outcomes {
		if workers[o.Worker]++; o.Attempts != 1 {
			r.Errorf("load %s took %d attempts, want 1", o.Load, o.Attempts)
		}
	}
	if a.Rows != 100_000 {
		r.Errorf("%d rows were loaded, want 100000", a.Rows)
	}
	sameObjects(r.T, r.objects(), r.want)
	r.run("verify", "rolling", "--workspace", "ws1")
	r.Logf("%d loads, by worker %v", len(a.Outcomes), workers)
}

// Every worker is restarted twice, one after another, by the signal that a
// cluster sends, while hundreds of loads are under way.
func TestP1RollingRestart(t *testing.T) {
	t.Parallel()
	r := startRolling(t)
	workers := make([]*process, 3)
	for n := range workers {
		workers[n] = r.worker(fmt.Sprintf("w-%d", n))
	}
	steps := map[int]func(){}
	for n := range 2 * len(workers) {
		steps[40+60*n] = func() {
			at := n % len(workers)
			r.stop(workers[at])
			workers[at] = r.worker(fmt.Sprintf("w-%d", at))
		}
	}
	r.follow(steps)
	r.whole()
	for _, p := range workers {
		r.stop(p)
	}
}

// Workers and the destination are paused, drained and resumed by an operator's
// commands while hundreds of loads are under way.
func TestP1PauseDrainResume(t *testing.T) {
	t.Parallel()
	r := startRolling(t)
	workers := map[string]*process{"w-0": r.worker("w-0"), "w-1": r.worker("w-1")}
	crew, err := r.queue.Presences(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer crew.Close()
	// when waits until the worker says of itself what is wanted.
	when := func(name, what string, wanted func(messages.Presence) bool) (said messages.Presence) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if all, err := crew.Await(ctx, func(all []messages.Presence) bool {
			for _, p := range all {
				if p.Name == name && p.State != messages.ProcessStopped && wanted(p) {
					said = p
					return true
				}
			}
			return false
		}); err != nil {
			t.Fatalf("%s is not %s: %+v", name, what, all)
		}
		return said
	}
	idle := func(p messages.Presence) bool { return p.InFlight == 0 }
	r.follow(map[int]func(){
		60: func() {
			r.run("fleet", "pause", "w-0")
			before := when("w-0", "idle", idle).Loads
			moved := when("w-1", "at work", func(p messages.Presence) bool { return p.Loads > 0 }).Loads
			when("w-1", "going on", func(p messages.Presence) bool { return p.Loads > moved })
			if after := when("w-0", "there", idle).Loads; after != before {
				t.Errorf("the paused worker ended %d loads", after-before)
			}
		},
		120: func() {
			r.run("fleet", "drain", "w-1")
			if code := r.wait(workers["w-1"]); code != exitOK {
				t.Errorf("the drained worker ended with exit code %d, want 0\n%s", code, workers["w-1"].err.tail())
			}
			workers["w-1"] = r.worker("w-1")
		},
		200: func() {
			r.run("destination", "pause", rollingID)
			if err := workers["w-1"].err.await(t.Context(), `"verdict":"hold"`); err != nil {
				t.Fatalf("%v\n%s", err, workers["w-1"].err.tail())
			}
			r.run("destination", "resume", rollingID)
			r.run("fleet", "resume", "w-0")
			before := when("w-0", "there", func(messages.Presence) bool { return true }).Loads
			when("w-0", "at work again", func(p messages.Presence) bool { return p.Loads > before })
		},
	})
	r.whole()
	for _, p := range workers {
		r.stop(p)
	}
}
