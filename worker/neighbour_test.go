package worker_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/storage/storagetest"
	"github.com/loadfleet/loadfleet/worker"
)

// to makes a load one of another destination.
func (r *rig) to(id, extraction, key string) *messages.Load {
	r.t.Helper()
	l, payload := r.load(spec{extraction: extraction, rows: rows(r.t, key, 3), change: func(l *messages.Load) {
		l.Destination, l.Key = id, key
		if id == "denied" {
			l.Bucket = "acme-missing"
		}
		rename(l)
	}})
	r.send(l, payload, extraction+"-"+key)
	return l
}

// await waits until something holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	limit := time.NewTimer(2 * time.Minute)
	defer limit.Stop()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for !holds() {
		select {
		case <-limit.C:
			t.Fatalf("waited too long until %s", what)
		case <-look.C:
		}
	}
}

// slowly is an endpoint that takes its time for each put, until it is enough.
func slowly(t *testing.T, puts *atomic.Int64, delay time.Duration, enough <-chan struct{}) string {
	t.Helper()
	target, err := url.Parse(server.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // as it was signed
	}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			puts.Add(1)
			timer := time.NewTimer(delay)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-enough:
			case <-r.Context().Done():
				return
			}
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// TestP6Refused: loads of a destination that refuses them leave the lane, so
// that the others' go on, and come back when it takes them again.
func TestP6Refused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.apply(func(s *destination.Settings) { s.ID, s.Bucket = "denied", "acme-missing" })
	stop := r.start(func(c *worker.Config) { c.ParkDelay = 50 * time.Millisecond })
	var refused []*messages.Load
	for i := range 60 {
		refused = append(refused, r.to("denied", "x", fmt.Sprintf("refused/%d", i)))
	}
	for i := range 20 {
		if o := r.outcome(r.to("acme", "y", fmt.Sprintf("healthy/%d", i))); o.Result != messages.Loaded {
			t.Fatalf("a neighbour's load: %+v", o)
		}
	}
	await(t, "all loads of the destination are parked", func() bool {
		status, err := r.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, lane := range status.Lanes {
			if lane.Pending > 0 || lane.InFlight > 0 {
				return false
			}
		}
		if status.Stuck != 0 || len(status.Parked) != 1 {
			return false
		}
		p := status.Parked[0]
		return p.Destination == "denied" && p.Loads == int64(len(refused)) && strings.Contains(p.Why, "bucket") && !p.Since.IsZero()
	})
	tried := len(r.proxy.Requests(storagetest.PutObject))
	if tried > 60 { // 20 of the neighbour's; the others are probes
		t.Errorf("%d puts, want few of the refused loads tried", tried)
	}
	stop()
	r.start(func(c *worker.Config) { c.ParkDelay, c.ParkLimit = 20*time.Millisecond, time.Nanosecond })
	await(t, "all are given up", func() bool { return len(r.ended("x")) == len(refused) })
	for _, o := range r.ended("x") {
		if o.Result != messages.DeadLettered || o.Failure.Reason != messages.ReasonDestination {
			t.Fatalf("a parked load after the limit: %+v %+v", o, o.Failure)
		}
	}
	dead := r.deadLetters(queue.DeadLetterFilter{})
	if len(dead) != len(refused) {
		t.Fatalf("%d dead letters, want %d", len(dead), len(refused))
	}
	if whole, err := r.DeadLetter(t.Context(), dead[0].Sequence); err != nil || len(whole.Payload) == 0 {
		t.Errorf("the dead letter of a parked load has %d bytes of rows, %v", len(whole.Payload), err)
	}
	r.expectIdle()
}

// TestP6Resumed: parked loads are loaded, with their rows, when the destination
// takes them again; nobody has to ask for it.
func TestP6Resumed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.proxy.Inject(storagetest.PutObject, storagetest.DeniedByPolicy, storagetest.Always)
	stop := r.start(func(c *worker.Config) { c.ParkDelay = 30 * time.Millisecond })
	var all []*messages.Load
	for i := range 40 {
		all = append(all, r.to("acme", "x", fmt.Sprintf("resumed/%d", i)))
	}
	await(t, "all are parked", func() bool {
		parked, err := r.Parked(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return len(parked) == 1 && parked[0].Loads == int64(len(all))
	})
	stop()
	r.proxy.Heal()
	r.start(func(c *worker.Config) { c.ParkDelay = 30 * time.Millisecond })
	await(t, "all are loaded", func() bool { return len(r.ended("x")) == len(all) })
	ended := r.ended("x")
	for _, l := range all {
		o := ended[l.ID]
		if o.Result != messages.Loaded || o.Attempts != 1 || o.Rows != 3 {
			t.Fatalf("%+v %+v", o, o.Failure)
		}
		r.expect(l, rows(t, l.Key, 3))
	}
	r.expectIdle()
}

// TestP6Hanging: a destination that does not answer holds its share of the
// slots and no more.
func TestP6Hanging(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	hanging := storagetest.NewProxy(t, server.Endpoint(), false)
	hanging.Inject(storagetest.PutObject, storagetest.AnswersTooLate, storagetest.Always)
	r.apply(func(s *destination.Settings) { s.ID, s.Endpoint = "hanging", hanging.Endpoint() })
	r.start(func(c *worker.Config) { c.Slots, c.Grace = 4, time.Millisecond })
	for i := range 200 {
		r.to("hanging", "x", fmt.Sprintf("hanging/%d", i))
	}
	await(t, "some of its loads hang", func() bool { return len(hanging.Requests(storagetest.PutObject)) >= 2 })
	for i := range 30 {
		if o := r.outcome(r.to("acme", "y", fmt.Sprintf("beside/%d", i))); o.Result != messages.Loaded {
			t.Fatalf("a neighbour's load: %+v", o)
		}
	}
}

// TestP6BehindABacklog: one load behind hundreds of another destination's, in
// the same lane, does not wait for them.
func TestP6BehindABacklog(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var puts atomic.Int64
	ended := make(chan struct{})
	slow := slowly(t, &puts, 500*time.Millisecond, ended) // however busy the machine is, its puts are the slower part
	r.apply(func(s *destination.Settings) { s.ID, s.Endpoint = "backlog", slow })
	var backlog []*messages.Load
	for i := range 200 {
		backlog = append(backlog, r.to("backlog", "x", fmt.Sprintf("backlog/%d", i)))
	}
	fresh := r.to("acme", "y", "fresh")
	r.start(func(c *worker.Config) { c.Slots = 4 })
	r.outcome(fresh)
	n := int(puts.Load())
	close(ended)
	if n > len(backlog)/2 {
		t.Errorf("%d of %d loads of the backlog went before the one behind it", n, len(backlog))
	}
	await(t, "the backlog has ended", func() bool { return len(r.ended("x")) == len(backlog) })
	for _, o := range r.ended("x") {
		if o.Result != messages.Loaded || o.Attempts != 1 {
			t.Fatalf("%+v", o)
		}
	}
}
