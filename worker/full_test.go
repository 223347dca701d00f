package worker_test

import (
	"fmt"
	"testing"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
)

// TestP1DeadLettersFull: when there is no room for dead letters, loads that die
// stay on the queue and good ones go on; with more room every one gets its own.
func TestP1DeadLettersFull(t *testing.T) {
	t.Parallel()
	const bad = 12
	small := func(c *queue.Config) { c.Topology.DeadBytes = 24 << 10 }
	r := newRig(t, small)
	broken := make([]*messages.Load, bad)
	for i := range broken {
		broken[i] = r.publish(spec{name: fmt.Sprintf("bad%d", i), payload: func(b []byte) []byte { return append(b, 0) }})
	}
	r.start()
	good := r.publish(spec{name: "good"})
	if o := r.outcome(good); o.Result != messages.Loaded {
		t.Errorf("a good load: got %s, want %s", o.Result, messages.Loaded)
	}
	r.log.await(t, 2, "hold")
	standing := len(r.deadLetters(queue.DeadLetterFilter{}))
	if standing == 0 || standing >= bad {
		t.Fatalf("%d dead letters stand, want some of %d", standing, bad)
	}
	status, err := r.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range status.Streams {
		if s.Name == "DEAD" && s.Full() < queue.NearlyFull {
			t.Errorf("status says that %.2f of the room is taken", s.Full())
		}
	}

	// An operator gives more room.
	more := r.Connect(t, func(c *queue.Config) { c.Topology.DeadBytes = 0 })
	if err := more.Provision(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, l := range broken {
		if o := r.outcome(l); o.Result != messages.DeadLettered {
			t.Errorf("%s: got %s, want %s", l.Extraction, o.Result, messages.DeadLettered)
		}
	}
	if n := len(r.deadLetters(queue.DeadLetterFilter{})); n != bad {
		t.Errorf("%d dead letters, want %d", n, bad)
	}
	r.expectIdle()
}
