package worker_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/storage"
	"github.com/loadfleet/loadfleet/storage/storagetest"
)

func holding(names ...string) messages.AccountSet {
	var a messages.Accounts
	for _, n := range names {
		a.Add(n)
	}
	return a.Set()
}

// TestSharedFile: a load does not replace a file with one that lacks accounts
// of it, unless its extraction says that it covers them.
func TestSharedFile(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name          string
		first, second messages.Partition
		want          messages.Result
	}{
		{"the same accounts", messages.Partition{Holds: holding("a", "b")}, messages.Partition{Holds: holding("b", "a")}, messages.Loaded},
		{"one more", messages.Partition{Holds: holding("a")}, messages.Partition{Holds: holding("b", "a")}, messages.Loaded},
		{"one is missing", messages.Partition{Holds: holding("a", "b")}, messages.Partition{Holds: holding("a")}, messages.DeadLettered},
		{"one is gone, and covered", messages.Partition{Holds: holding("a", "b")}, messages.Partition{Holds: holding("a"), Covers: holding("a", "b", "c")}, messages.Loaded},
		{"one is gone, and all are covered", messages.Partition{Holds: holding("a", "b")}, messages.Partition{Holds: holding("a"), Covers: messages.AllAccounts}, messages.Loaded},
		{"another is covered", messages.Partition{Holds: holding("a", "b")}, messages.Partition{Holds: holding("a"), Covers: holding("a", "c")}, messages.DeadLettered},
		{"nobody knows", messages.Partition{}, messages.Partition{Holds: holding("a")}, messages.Loaded},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.start()
			shared := func(p messages.Partition) func(*messages.Load) {
				return func(l *messages.Load) { l.Part.Holds, l.Part.Covers = p.Holds, p.Covers }
			}
			old := rows(t, "old", 20)
			first := r.publish(spec{extraction: "e1", rows: old, change: func(l *messages.Load) { l.Key = "k"; shared(c.first)(l); rename(l) }})
			r.outcome(first)
			second := r.publish(spec{extraction: "e2", generation: 2, change: func(l *messages.Load) { l.Key = "k"; shared(c.second)(l); rename(l) }})
			o := r.outcome(second)
			if o.Result != c.want {
				t.Fatalf("got %s, want %s (%+v)", o.Result, c.want, o.Failure)
			}
			if c.want == messages.DeadLettered {
				if o.Failure.Reason != messages.ReasonPartial || !strings.Contains(o.Failure.Message, "rows of 1 account that") {
					t.Errorf("failure: %+v", o.Failure)
				}
				r.expect(first, old)
			}
		})
	}
}

func rename(l *messages.Load) {
	l.ID = messages.LoadID(l.Workspace, l.Extraction, l.Bucket, l.Key)
}

// TestDelete: a partition without rows takes its object along, but never a
// newer one, nor one that is not ours; and no older load brings it back.
func TestP4Delete(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.apply(func(s *destination.Settings) { s.EmptyPartition = destination.DeleteEmpty })
	r.start()
	at := func(key string, change func(*messages.Load)) func(*messages.Load) {
		return func(l *messages.Load) {
			l.Key = key
			if change != nil {
				change(l)
			}
			rename(l)
		}
	}
	gone := func(l *messages.Load) { l.Delete, l.Rows, l.Inline = true, 0, nil }
	remove := func(key, extraction string, generation int64) messages.Outcome {
		t.Helper()
		l, _ := r.load(spec{extraction: extraction, generation: generation, change: at(key, gone)})
		r.send(l, nil, extraction)
		return r.outcome(l)
	}
	expect := func(what string, o messages.Outcome, want messages.Result) {
		t.Helper()
		if o.Result != want {
			t.Errorf("%s: got %s, want %s (%+v)", what, o.Result, want, o.Failure)
		}
	}
	first := r.publish(spec{extraction: "e2", generation: 2, change: at("k", nil)})
	expect("put", r.outcome(first), messages.Loaded)
	expect("older delete", remove("k", "e1", 1), messages.Superseded)
	storagetest.ExpectAbsent(t, r.direct, r.bucket, "never")
	deleted := remove("k", "e4", 4)
	expect("delete", deleted, messages.Deleted)
	if deleted.SHA256 != r.ended("e2")[first.ID].SHA256 {
		t.Errorf("the outcome tells of %q, want the hash of what was deleted", deleted.SHA256)
	}
	storagetest.ExpectAbsent(t, r.direct, r.bucket, "k")
	late := r.publish(spec{extraction: "e3", generation: 3, change: at("k", nil)})
	expect("late load", r.outcome(late), messages.Superseded)
	storagetest.ExpectAbsent(t, r.direct, r.bucket, "k")
	fresh := r.publish(spec{extraction: "e5", generation: 5, change: at("k", nil)})
	expect("newer load", r.outcome(fresh), messages.Loaded)
	expect("nothing was there", remove("nothing", "e6", 6), messages.Deleted)
	both := r.publish(spec{extraction: "e8", generation: 6, change: at("shared", func(l *messages.Load) { l.Part.Holds = holding("a", "b") })})
	expect("a file of two accounts", r.outcome(both), messages.Loaded)
	l, _ := r.load(spec{extraction: "e9", generation: 7, change: at("shared", func(l *messages.Load) { gone(l); l.Part.Covers = holding("a") })})
	r.send(l, nil, "e9")
	if o := r.outcome(l); o.Result != messages.DeadLettered || o.Failure.Reason != messages.ReasonPartial {
		t.Errorf("a deletion for one account of two: got %s, want a dead letter as partial (%+v)", o.Result, o.Failure)
	}
	foreign := storagetest.NewObject("foreign", "x", 10)
	foreign.Meta = storage.Meta{}
	storagetest.Put(t, r.direct, r.bucket, foreign, storage.Always())
	expect("a stranger's", remove("foreign", "e7", 7), messages.DeadLettered)
	if _, err := r.direct.Head(t.Context(), r.bucket, "foreign"); errors.Is(err, storage.ErrNotFound) {
		t.Error("a stranger's object was deleted")
	}
}

// TestP4OlderComesBetweenLookAndGrave: a delete finds the key free, an older load
// puts its object and finds no grave, and then the delete digs it. The object must
// not stay.
func TestP4OlderComesBetweenLookAndGrave(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.apply(func(s *destination.Settings) { s.EmptyPartition = destination.DeleteEmpty })
	r.proxy.Inject(storagetest.HeadObject, storagetest.AnswerLate.After(3*time.Second), 1)
	gone, _ := r.load(spec{extraction: "e4", generation: 4, change: func(l *messages.Load) { l.Delete, l.Rows, l.Inline = true, 0, nil }})
	r.send(gone, nil, "e4")
	r.start()
	r.proxy.AwaitHeld(t)
	older := r.publish(spec{extraction: "e3", generation: 3})
	if o := r.outcome(older); o.Result != messages.Loaded {
		t.Errorf("older load: got %s, want %s: it knows of no deletion", o.Result, messages.Loaded)
	}
	if o := r.outcome(gone); o.Result != messages.Deleted {
		t.Errorf("delete: got %s, want %s (%+v)", o.Result, messages.Deleted, o.Failure)
	}
	storagetest.ExpectAbsent(t, r.direct, r.bucket, older.Key)
	if o, err := r.Objects().Get(t.Context(), "acme", r.bucket, older.Key); err != nil || o.Result != messages.Deleted || o.Generation != 4 {
		t.Errorf("record: got %+v, %v, want the deletion", o, err)
	}
}
