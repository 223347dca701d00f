package worker_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/storage/storagetest"
	"github.com/loadfleet/loadfleet/worker"
)

// unguarded is a rig whose store judges no conditions, and a destination that
// says so.
func unguarded(t *testing.T, bucket string) *rig {
	t.Helper()
	r := newRig(t)
	r.bucket = bucket
	r.apply(func(s *destination.Settings) { s.WriteGuard = destination.ByLease })
	return r
}

// generation is a load of the key.
func (r *rig) generation(extraction string, n int64, key string) *messages.Load {
	r.t.Helper()
	return r.publish(spec{extraction: extraction, generation: n, change: func(l *messages.Load) { l.Key = key; rename(l) }})
}

// anotherKey is one that no test of this process has used.
func anotherKey() string { return fmt.Sprintf("k%d.csv", keys.Add(1)) }

var keys atomic.Int64

// TestP4Lease: in a store without conditions, a newer load waits until an older
// one that is writing has its answer; no condition is asked for.
func TestP4Lease(t *testing.T) {
	t.Parallel()
	r, key := unguarded(t, careless), anotherKey()
	r.proxy.Inject(storagetest.PutObject, storagetest.ComesLate.After(time.Second), 1)
	first := r.generation("first", 1, key)
	r.start()
	r.proxy.Await(within(t, 20*time.Second), t, storagetest.PutObject, 1)
	second := r.generation("second", 2, key)
	r.log.await(t, 1, "await")
	for _, l := range []*messages.Load{first, second} {
		if o := r.outcome(l); o.Result != messages.Loaded || o.Attempts != 1 {
			t.Errorf("%s: got %s after %d attempts, want %s after 1", l.Extraction, o.Result, o.Attempts, messages.Loaded)
		}
	}
	r.expect(second, rows(t, "second", 20))
	for _, request := range r.proxy.Requests(storagetest.AnyOperation) {
		if request.Header.Get("If-Match")+request.Header.Get("If-None-Match") != "" {
			t.Errorf("%s was asked for a condition", request.Operation)
		}
	}
	late := r.generation("late", 1, key)
	if o := r.outcome(late); o.Result != messages.Superseded {
		t.Errorf("a late load: got %s, want %s", o.Result, messages.Superseded)
	}
}

// TestP4LeaseOutlivesItsWorker: a worker ends while its write is under way, which
// the store carries out later. Nobody writes at the key before.
func TestP4LeaseOutlivesItsWorker(t *testing.T) {
	t.Parallel()
	r, key := unguarded(t, careless), anotherKey()
	short := func(c *worker.Config) { c.KeyLease, c.Grace = 4*time.Second, 10*time.Millisecond }
	r.proxy.Inject(storagetest.PutObject, storagetest.ComesLate.After(2*time.Second), 1)
	first := r.generation("first", 1, key)
	stop := r.start(short)
	r.proxy.Await(within(t, 20*time.Second), t, storagetest.PutObject, 1)
	stop()
	second := r.generation("second", 2, key)
	r.start(short)
	r.log.await(t, 2, "await")
	if o := r.outcome(second); o.Result != messages.Loaded {
		t.Errorf("the newer load: got %s, want %s", o.Result, messages.Loaded)
	}
	if o := r.outcome(first); o.Result != messages.Loaded && o.Result != messages.Superseded {
		t.Errorf("the older load: got %s", o.Result)
	}
	if err := r.proxy.AwaitIdle(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.expect(second, rows(t, "second", 20))
}
