package worker_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/storage"
)

// table is writers at one key, which a test lets go on one at a time.
type table struct {
	*rig
	ledger
	key string
}

// load is a writer of a generation; an empty content deletes.
func (b *table) load(generation int, content string) *writer {
	load := &messages.Load{
		Version: 1, Workspace: workspace, Destination: "acme", Extraction: fmt.Sprintf("e%d", generation), Generation: int64(generation),
		Bucket: b.bucket, Key: b.key, Delete: content == "",
	}
	load.ID = messages.LoadID(workspace, load.Extraction, load.Bucket, b.key)
	return &writer{load: load, content: content, turn: make(chan struct{}), waits: make(chan bool)}
}

// begin lets a writer go on until its first write, before which it sleeps.
func (b *table) begin(w *writer) {
	b.t.Helper()
	go w.run(b.t.Context(), b.direct, &b.ledger)
	b.sleeps(w)
}

func (b *table) sleeps(w *writer) {
	b.t.Helper()
	if !<-w.waits {
		b.t.Fatalf("generation %d ended: %s, %v", w.load.Generation, w.result, w.err)
	}
}

// wake lets a writer that sleeps go on to its end.
func (b *table) wake(w *writer) {
	b.t.Helper()
	w.turn <- struct{}{}
	for <-w.waits {
		w.turn <- struct{}{}
	}
	if w.err != nil {
		b.t.Fatalf("generation %d: %v", w.load.Generation, w.err)
	}
}

// through lets a writer go from begin to end.
func (b *table) through(w *writer) messages.Result {
	b.t.Helper()
	go w.run(b.t.Context(), b.direct, &b.ledger)
	for <-w.waits {
		w.turn <- struct{}{}
	}
	if w.err != nil {
		b.t.Fatalf("generation %d: %v", w.load.Generation, w.err)
	}
	return w.result
}

// stands requires that the object is of the generation; 0 is none.
func (b *table) stands(generation int64) {
	b.t.Helper()
	there, err := b.direct.Head(b.t.Context(), b.bucket, b.key)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		b.t.Fatal(err)
	}
	if there.Meta.Generation != generation {
		b.t.Errorf("generation %d is there, want %d", there.Meta.Generation, generation)
	}
}

// TestP4DeletionOfUnclaimedObject: the worker of an older load was killed when its
// object was there and its key not claimed, and the broker does not know that it
// delivered the load.
func TestP4DeletionOfUnclaimedObject(t *testing.T) {
	t.Parallel()
	b := &table{rig: newRig(t), key: "unclaimed.csv"}
	if got := b.through(b.load(4, "")); got != messages.Deleted {
		t.Fatalf("deletion: got %s", got)
	}
	killed := b.load(3, "a")
	sum := sha256.Sum256([]byte("a"))
	if _, err := b.direct.Put(t.Context(), b.bucket, storage.Object{
		Key: b.key, ContentType: "text/csv", Body: bytes.NewReader([]byte("a")), Size: 1, SHA256: sum,
		Meta: storage.Meta{Load: killed.load.ID, Extraction: "e3", Generation: 3, Rows: 1, SHA256: fmt.Sprintf("%x", sum)},
	}, storage.IfAbsent()); err != nil {
		t.Fatal(err)
	}
	if got := b.through(killed); got != messages.Superseded {
		t.Errorf("load: got %s, want %s", got, messages.Superseded)
	}
	b.stands(0)
}

// TestP4DeletionKeepsTheHistory: bytes that a deletion freed come back two
// generations later, while a writer waits for their ETag. The generation between
// did not hear of the deletion before it put.
func TestP4DeletionKeepsTheHistory(t *testing.T) {
	t.Parallel()
	b := &table{rig: newRig(t), key: "history.csv"}
	late, between := b.load(2, "c"), b.load(4, "b")
	b.begin(between)
	b.through(b.load(1, "a"))
	b.begin(late) // waits for the ETag of a
	b.through(b.load(3, ""))
	b.wake(between)
	b.stands(4)
	b.through(b.load(5, "a"))
	b.stands(5)
	b.wake(late)
	b.stands(5)
}

// TestP4LateTakeBack: an older load is about to take back what a deletion must not
// have found, and is stopped; another delivery of it does so, and a newer load puts
// the same bytes.
func TestP4LateTakeBack(t *testing.T) {
	t.Parallel()
	b := &table{rig: newRig(t), key: "takeback.csv"}
	older := b.load(3, "a")
	b.begin(older)
	b.through(b.load(4, ""))
	older.turn <- struct{}{}
	b.sleeps(older) // its object is there; it is about to delete it
	b.through(b.load(3, "a"))
	b.stands(0)
	b.through(b.load(5, "a"))
	b.stands(5)
	b.wake(older)
	b.stands(5)
}
