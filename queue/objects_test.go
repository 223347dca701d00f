package queue_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/queue/queuetest"
)

// TestObjectsOfSeveralLoads pulls loads together, of which some have objects on
// record: each knows its own, as it stood when they were pulled.
func TestObjectsOfSeveralLoads(t *testing.T) {
	f := queuetest.Start(t)
	ctx := within(t, 20*time.Second)
	loads := openLoads(t, f.Queue)
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

// TestP4DeletionAndPutFindEachOther: of a deletion and a load's put, the one that
// is recorded last finds the other, whichever it is, and whatever it knew before.
func TestP4DeletionAndPutFindEachOther(t *testing.T) {
	f := queuetest.Start(t)
	ctx := within(t, 20*time.Second)
	loads := openLoads(t, f.Queue)
	of := func(extraction string, generation int64, deletes bool) *queue.LoadDelivery {
		t.Helper()
		l, payload := loadOf("ws", extraction, 0, messages.Fresh)
		l.Key, l.Generation = "key", generation
		if deletes {
			l.Delete, l.Rows, l.Inline, payload = true, 0, nil, nil
		}
		l.ID = messages.LoadID(l.Workspace, extraction, l.Bucket, l.Key)
		out := f.Dispatch(ctx, "ws", extraction, "plan")
		if err := errors.Join(out.Add(ctx, l, payload), out.Close(ctx)); err != nil {
			t.Fatal(err)
		}
		return next(t, loads)
	}
	claim := func(d *queue.LoadDelivery, etag string) *queue.Object {
		t.Helper()
		stood, err := d.Claim(ctx, messages.Loaded, 3, queue.Gone{SHA256: strings.Repeat("ab", 32), ETag: etag, History: "w"})
		if err != nil {
			t.Fatal(err)
		}
		return stood
	}
	first, second, gone, late := of("e1", 1, false), of("e2", 2, false), of("e4", 4, true), of("e3", 3, false)
	for _, d := range []*queue.LoadDelivery{second, gone, late} {
		if o, err := d.Object(ctx); o != nil || err != nil {
			t.Fatalf("got %+v, %v, want no record yet", o, err)
		}
	}
	if stood := claim(first, `"one"`); stood != nil {
		t.Errorf("first claim: found %+v, want nothing", stood)
	}
	if stood := claim(second, `"two"`); stood == nil || stood.Generation != 1 {
		t.Errorf("second claim: found %+v, want the first", stood)
	}
	if superseded, err := gone.Bury(ctx, func(stood *queue.Object) queue.Gone { return stood.Gone() }); superseded || err != nil {
		t.Errorf("deletion: superseded %v, %v, want recorded", superseded, err)
	}
	if stood := claim(late, `"three"`); stood == nil || stood.Result != messages.Deleted || stood.Generation != 4 || stood.History != "w" {
		t.Errorf("late claim: found %+v, want the deletion", stood)
	}
	// What is taken back is on record beside the deletion, which stays as it is.
	if err := late.TakeBack(ctx, func(*queue.Object) queue.Gone { return queue.Gone{ETag: `"three"`} }); err != nil {
		t.Fatal(err)
	}
	if o, err := f.Objects().Get(ctx, "acme", "bucket", "key"); err != nil || o.Generation != 4 || o.Result != messages.Deleted || o.ETag != `"three"` {
		t.Errorf("record: got %+v, %v, want the deletion, with what was taken back", o, err)
	}
	// A second deletion can keep what the first one remembers.
	if superseded, err := of("e5", 5, true).Bury(ctx, func(stood *queue.Object) queue.Gone { return stood.Gone() }); superseded || err != nil {
		t.Errorf("second deletion: superseded %v, %v, want recorded", superseded, err)
	}
	if o, err := f.Objects().Get(ctx, "acme", "bucket", "key"); err != nil || o.Generation != 5 || o.ETag != `"three"` {
		t.Errorf("record: got %+v, %v, want the second deletion, with what was taken back", o, err)
	}
	if superseded, err := gone.Bury(ctx, func(*queue.Object) queue.Gone { return queue.Gone{} }); !superseded || err != nil {
		t.Errorf("deletion again: superseded %v, %v, want superseded", superseded, err)
	}
	// A newer load's record stays as it is, and is written anew: what was claimed
	// behind it is behind any deletion, too.
	newest := of("e6", 6, false)
	claim(newest, `"six"`)
	before, err := f.Objects().Get(ctx, "acme", "bucket", "key")
	if err != nil {
		t.Fatal(err)
	}
	if stood := claim(first, `"one"`); stood == nil || stood.Generation != 6 {
		t.Errorf("claim behind a newer load: found %+v, want that one", stood)
	}
	after, err := f.Objects().Get(ctx, "acme", "bucket", "key")
	if err != nil || after.Sequence == before.Sequence {
		t.Errorf("record %d was not written anew, %v", before.Sequence, err)
	}
	if d := cmp.Diff(before.Object, after.Object); d != "" {
		t.Errorf("record (-want +got):\n%s", d)
	}
	// A delivery that finds what an earlier one claimed leaves its result.
	if _, err := newest.Claim(ctx, messages.Unchanged, 3, queue.Gone{ETag: `"again"`}); err != nil {
		t.Fatal(err)
	}
	if _, err := newest.Claim(ctx, messages.Loaded, 3, queue.Gone{ETag: `"again"`}); err != nil {
		t.Fatal(err)
	}
	if o, err := f.Objects().Get(ctx, "acme", "bucket", "key"); err != nil || o.Result != messages.Unchanged {
		t.Errorf("record: got %+v, %v, want that of the first claim", o, err)
	}
	claim(newest, `"six"`)
	if after, err = f.Objects().Get(ctx, "acme", "bucket", "key"); err != nil {
		t.Fatal(err)
	}
	// What was recorded is not recorded again when the load ends.
	if err := newest.Done(ctx, messages.Outcome{
		Result: messages.Loaded, Bucket: "bucket", Key: "key", Rows: 1, Generation: 6, ETag: `"six"`, Worker: "w",
		Started: time.Now().UTC(), Ended: time.Now().UTC(), Attempts: 1,
	}); err != nil {
		t.Fatal(err)
	}
	if o, err := f.Objects().Get(ctx, "acme", "bucket", "key"); err != nil || o.Sequence != after.Sequence {
		t.Errorf("record: got %+v, %v, want record %d still", o, err, after.Sequence)
	}
}
