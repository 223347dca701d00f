package worker_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/storage"
	"github.com/loadfleet/loadfleet/storage/storagetest"
	"github.com/loadfleet/loadfleet/worker"
)

// TestRemoveOrphan removes what loads left under names that the destination
// has no more, and nothing that became another's meanwhile.
func TestRemoveOrphan(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	stop := r.start()
	keys := []string{"plain", "gone", "foreign", "rewritten", "interrupted", "late"}
	for _, key := range keys {
		r.outcome(r.publish(spec{extraction: key, generation: 5, change: func(l *messages.Load) { l.Key = "old/" + key + ".csv"; rename(l) }}))
	}
	settings := &destination.Settings{
		ID: "acme", Bucket: r.bucket, Folder: "/new", FileName: "{{filename}}{{YYYY}}{{MM}}{{DD}}", FileFormat: "csv", PartitionBy: destination.ByDay,
	}
	orphans := func() map[string]*worker.Orphan {
		t.Helper()
		all, err := worker.Orphans(t.Context(), r.Queue, settings)
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]*worker.Orphan{}
		for i := range all {
			found[strings.TrimSuffix(strings.TrimPrefix(all[i].Key, "old/"), ".csv")] = &all[i]
		}
		return found
	}
	found := orphans()
	if len(found) != len(keys) {
		t.Fatalf("orphans: got %d, want %d", len(found), len(keys))
	}
	if err := r.direct.Delete(t.Context(), r.bucket, "old/gone.csv", storage.Always()); err != nil {
		t.Fatal(err)
	}
	foreign := storagetest.NewObject("old/foreign.csv", "x", 10)
	foreign.Meta = storage.Meta{}
	storagetest.Put(t, r.direct, r.bucket, foreign, storage.Always())
	r.outcome(r.publish(spec{extraction: "again", generation: 6, change: func(l *messages.Load) { l.Key = "old/rewritten.csv"; rename(l) }}))
	record := found["interrupted"].Object
	if err := r.Objects().Remove(t.Context(), &record, "somebody", true); err != nil { // and was killed
		t.Fatal(err)
	}
	if again := orphans()["interrupted"]; again == nil || !strings.Contains(again.Why, "somebody") {
		t.Fatalf("an interrupted removal is listed as %+v", again)
	} else {
		found["interrupted"] = again
	}

	got := map[string]worker.Removal{}
	for key, o := range found {
		what, err := worker.RemoveOrphan(t.Context(), r.Queue, r.direct, o, "ann@host")
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		got[key] = what
	}
	want := map[string]worker.Removal{
		"plain": worker.Removed, "gone": worker.WasGone, "foreign": worker.NotOurs, "rewritten": worker.Rewritten, "interrupted": worker.Removed, "late": worker.Removed,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("removals (-want +got):\n%s", d)
	}
	for _, key := range []string{"plain", "gone", "interrupted", "late"} {
		storagetest.ExpectAbsent(t, r.direct, r.bucket, "old/"+key+".csv")
		if o, err := r.Objects().Get(t.Context(), "acme", r.bucket, "old/"+key+".csv"); err != nil || o.Result != messages.Deleted || o.RemovedBy != "ann@host" || o.Removing {
			t.Errorf("record of %s: %+v, %v", key, o, err)
		}
	}
	storagetest.Expect(t, r.direct, r.bucket, foreign)
	if left := orphans(); len(left) != 2 || left["foreign"] == nil || left["rewritten"] == nil {
		t.Errorf("left: %v, want the two that were kept", left)
	}

	// A bucket that is not there is no proof that its object is gone.
	elsewhere := *orphans()["foreign"]
	elsewhere.Bucket = "acme-missing"
	if what, err := worker.RemoveOrphan(t.Context(), r.Queue, r.direct, &elsewhere, "ann@host"); !errors.Is(err, storage.ErrNoBucket) {
		t.Errorf("in a bucket that is not there: %q, %v, want an error", what, err)
	}

	// A late load of an older extraction does not bring one back.
	late := r.publish(spec{extraction: "earlier", generation: 4, change: func(l *messages.Load) { l.Key = "old/late.csv"; rename(l) }})
	if o := r.outcome(late); o.Result != messages.Superseded {
		t.Errorf("late load: got %s, want %s", o.Result, messages.Superseded)
	}
	storagetest.ExpectAbsent(t, r.direct, r.bucket, "old/late.csv")
	stop()
}

// TestP4OlderComesWhileAnOrphanIsRemoved: the orphan is gone, and before that is
// recorded a late load puts an older object, which knows of no removal.
func TestP4OlderComesWhileAnOrphanIsRemoved(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	stop := r.start()
	change := func(l *messages.Load) { l.Key = "old/gone.csv"; rename(l) }
	r.outcome(r.publish(spec{extraction: "e5", generation: 5, change: change}))
	stop()
	record, err := r.Objects().Get(t.Context(), "acme", r.bucket, "old/gone.csv")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.direct.Delete(t.Context(), r.bucket, "old/gone.csv", storage.Always()); err != nil {
		t.Fatal(err)
	}
	r.proxy.Inject(storagetest.HeadObject, storagetest.AnswerLate.After(3*time.Second), 1)
	removal, removed := make(chan worker.Removal, 1), make(chan error, 1)
	go func() {
		what, err := worker.RemoveOrphan(t.Context(), r.Queue, r.store(r.endpoint), &worker.Orphan{Object: *record}, "ann@host")
		removal <- what
		removed <- err
	}()
	r.proxy.AwaitHeld(t)
	older := storagetest.NewObject("old/gone.csv", "older", 10)
	older.Meta.Extraction, older.Meta.Generation = "e4", 4
	storagetest.Put(t, r.direct, r.bucket, older, storage.IfAbsent())
	if what, err := <-removal, <-removed; what != worker.Removed || err != nil {
		t.Errorf("removal: got %q, %v, want %q", what, err, worker.Removed)
	}
	storagetest.ExpectAbsent(t, r.direct, r.bucket, "old/gone.csv")

	// Stopped right before that, a second removal does the same.
	if record, err = r.Objects().Get(t.Context(), "acme", r.bucket, "old/gone.csv"); err != nil {
		t.Fatal(err)
	}
	if err := r.Objects().Remove(t.Context(), record, "ann@host", true); err != nil {
		t.Fatal(err)
	}
	storagetest.Put(t, r.direct, r.bucket, older, storage.IfAbsent())
	what, err := worker.RemoveOrphan(t.Context(), r.Queue, r.direct, &worker.Orphan{Object: *record}, "ann@host")
	if what != worker.Removed || err != nil {
		t.Errorf("second removal: got %q, %v, want %q", what, err, worker.Removed)
	}
	storagetest.ExpectAbsent(t, r.direct, r.bucket, "old/gone.csv")
}
