package queue_test

import (
	"testing"
	"time"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/queue/queuetest"
)

// TestObjectsOfSeveralLoads pulls loads together, of which some have objects on
// record: each knows its own, as it stood when they were pulled.
func TestObjectsOfSeveralLoads(t *testing.T) {
	f := queuetest.Start(t)
	ctx := within(t, 20*time.Second)
	loads, err := f.Loads(ctx, queue.LoadsConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer loads.Close()
	pull := func(extraction string, n int) (all []*queue.LoadDelivery) {
		t.Helper()
		out := f.Dispatch(ctx, "ws", extraction, "plan")
		for i := range n {
			l, payload := loadOf("ws", extraction, i, messages.Fresh)
			if err := out.Add(ctx, l, payload); err != nil {
				t.Fatal(err)
			}
		}
		if err := out.Close(ctx); err != nil {
			t.Fatal(err)
		}
		few, err := loads.Few(ctx, n)
		if err != nil || len(few) != n {
			t.Fatalf("pulled %d loads of %d, %v", len(few), n, err)
		}
		return few
	}
	for _, d := range pull("first", 3) {
		if o, err := d.Object(ctx); o != nil || err != nil {
			t.Errorf("%s: got %+v, %v, want none", d.Load.Key, o, err)
		}
		if err := d.Done(ctx, messages.Outcome{
			Result: messages.Loaded, Bucket: d.Load.Bucket, Key: d.Load.Key, Rows: 1, Generation: 7, ETag: `"` + d.ID + `"`, Worker: "w",
			Started: time.Now().UTC(), Ended: time.Now().UTC(), Attempts: 1,
		}); err != nil {
			t.Fatal(err)
		}
	}
	few := pull("second", 4)
	pulled := time.Now()
	record, err := f.Objects().Get(ctx, "acme", "bucket", few[0].Load.Key)
	if err != nil {
		t.Fatal(err)
	}
	stood := *record
	if err := f.Objects().Remove(ctx, record, "me", false); err != nil {
		t.Fatal(err)
	}
	for i, d := range few {
		o, err := d.Object(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if looked := d.Looked(); looked.IsZero() || looked.After(pulled) {
			t.Errorf("%s: looked up at %s, want before %s, when it was pulled", d.Load.Key, looked, pulled)
		}
		switch {
		case i == 3 && o != nil:
			t.Errorf("%s: got %+v, want none", d.Load.Key, o)
		case i < 3 && (o == nil || o.Key != d.Load.Key || o.Extraction != "first"):
			t.Errorf("%s: got %+v, want that of the first extraction", d.Load.Key, o)
		case i == 0 && o.Sequence != stood.Sequence:
			t.Errorf("%s: got record %d, want %d, which stood when it was pulled", d.Load.Key, o.Sequence, stood.Sequence)
		}
	}
	// The record that is out of date is found out when the load ends.
	if err := few[0].Done(ctx, messages.Outcome{
		Result: messages.Loaded, Bucket: "bucket", Key: few[0].Load.Key, Rows: 1, Generation: 7, ETag: `"again"`, Worker: "w",
		Started: time.Now().UTC(), Ended: time.Now().UTC(), Attempts: 1,
	}); err != nil {
		t.Fatal(err)
	}
	if o, err := f.Objects().Get(ctx, "acme", "bucket", few[0].Load.Key); err != nil || o.ETag != `"again"` {
		t.Errorf("record: got %+v, %v, want the last load's", o, err)
	}
}
