package worker_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/storage/storagetest"
	"github.com/loadfleet/loadfleet/worker"
)

// TestCanonicalLine expects one line in the log for each delivery, whole on
// its line whatever stands in the key.
func TestCanonicalLine(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.proxy.Inject(storagetest.PutObject, storagetest.SlowDown, 3)
	l := r.publish(spec{change: func(l *messages.Load) {
		l.Key = "orders/line\nbreak\x1b[31m\u2028.csv"
		l.ID = messages.LoadID(l.Workspace, l.Extraction, l.Bucket, l.Key)
	}})
	stop := r.start()
	o := r.outcome(l)
	stop()
	lines := r.log.loads()
	var got []map[string]any
	for _, line := range lines {
		if strings.Count(line.text, "\n") != 1 || !json.Valid([]byte(line.text)) || strings.ContainsAny(line.text, "\x1b") {
			t.Errorf("not one line of JSON: %q", line.text)
		}
		for _, timing := range []string{"decode_ms", "encode_ms", "put_ms"} {
			if took, ok := line.fields[timing].(float64); !ok || took <= 0 {
				t.Errorf("%s: got %v, want more than 0", timing, line.fields[timing])
			}
		}
		got = append(got, line.fields)
	}
	same := map[string]any{"id": l.ID, "destination": "acme", "extraction": "e", "rows": int64(20), "bytes": o.Bytes}
	want := []map[string]any{{"attempt": int64(1), "verdict": "retry"}, {"attempt": int64(2), "verdict": "loaded"}}
	for _, fields := range want {
		for name, value := range same {
			fields[name] = value
		}
	}
	ignore := cmpopts.IgnoreMapEntries(func(name string, _ any) bool {
		return name == "decode_ms" || name == "encode_ms" || name == "put_ms" || strings.HasPrefix(name, "error")
	})
	if diff := cmp.Diff(want, got, ignore); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

// TestPoison delivers a load to workers that die on it, again and again, and
// then to one that refuses it untouched.
func TestPoison(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	l := r.publish(spec{})
	loads, err := r.Loads(t.Context(), queue.LoadsConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer loads.Close()
	// The first thirty deliveries prove nothing: it may have been given back
	// unbegun. From then on a worker writes down that it begins, and dies.
	begun := 0
	for range 41 {
		d, err := loads.Next(within(t, 10*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		if d.Attempt > 31 {
			begun++
			if err := d.Begin(t.Context(), queue.Past{Started: begun}); err != nil {
				t.Fatal(err)
			}
		}
		// As a lease that ends, and sooner: nothing is said but that.
		if err := d.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	r.start()
	got := r.outcome(l)
	if got.Result != messages.DeadLettered || got.Failure.Reason != messages.ReasonPoison {
		t.Errorf("outcome: got %+v of %+v, want it dead-lettered as poison", got, got.Failure)
	}
	r.expectEmpty()
}

// TestCompletion counts outcomes that a killed worker had left uncounted.
func TestCompletion(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	stop := r.start()
	r.outcome(r.publish(spec{}))
	stop()
	if err := r.Publish(t.Context(), messages.Event{
		Kind: messages.EventDispatched, Workspace: workspace, Extraction: "e", Destination: "acme", Plan: &messages.Plan{Loads: 1, Rows: 20},
	}); err != nil {
		t.Fatal(err)
	}
	r.start(func(c *worker.Config) { c.Slots = 1 })
	for event, err := range r.Events(within(t, 10*time.Second), workspace, "e", true) {
		if err != nil {
			t.Fatal(err)
		}
		if event.Kind == messages.EventCompleted {
			return
		}
	}
}
