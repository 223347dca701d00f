package queue_test

import (
	"errors"
	"testing"
	"time"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/queue/queuetest"
)

// TestRecords asks for all that a check of the bucket needs: before anything
// happened, while loads wait, and after some have ended.
func TestRecords(t *testing.T) {
	t.Parallel()
	const n, ended = 1200, 3 // two chunks
	f := queuetest.Start(t)
	ctx := within(t, 30*time.Second)
	if _, err := f.Commit(ctx, "ws", "e"); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("commit of nothing: %v, want %v", err, queue.ErrNotFound)
	}
	if _, err := f.State(ctx, "ws", "e"); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("state of nothing: %v, want %v", err, queue.ErrNotFound)
	}
	if known, err := f.Committed(ctx, "e"); known || err != nil {
		t.Errorf("committed: %t, %v, want nothing", known, err)
	}
	if loads, err := f.Marked(ctx, "ws", "e"); loads != 0 || err != nil {
		t.Errorf("marked: %d, %v, want none", loads, err)
	}
	if waiting, err := f.Waiting(ctx, "acme", "e"); len(waiting) != 0 || err != nil {
		t.Errorf("waiting: %d, %v, want none", len(waiting), err)
	}

	extract(t, f.Queue, "ws", "e", 2)
	dispatch(t, f.Queue, "e", n, messages.Fresh)
	if commit, err := f.Commit(ctx, "ws", "e"); err != nil || len(commit.Batches) != 2 {
		t.Errorf("commit: %d batches, %v, want 2", len(commit.Batches), err)
	}
	if known, err := f.Committed(ctx, "e"); !known || err != nil {
		t.Errorf("committed: %t, %v, want true", known, err)
	}
	sample, _ := loadOf("ws", "e", 0, messages.Fresh)
	waiting, err := f.Waiting(ctx, sample.Destination, "e")
	if err != nil || len(waiting) != n || !waiting[sample.ID] {
		t.Errorf("waiting: %d with the first %t, %v, want %d", len(waiting), waiting[sample.ID], err, n)
	}
	seen := carryOut(t, f.Queue, ended)
	if waiting, err = f.Waiting(ctx, sample.Destination, "e"); err != nil || len(waiting) != n-ended {
		t.Errorf("waiting after %d have ended: %d, %v", ended, len(waiting), err)
	}
	if loads, err := f.Marked(ctx, sample.Workspace, "e"); loads != n || err != nil {
		t.Errorf("marked: %d, %v, want %d as before", loads, err, n)
	}
	for id := range seen {
		if o, err := f.Outcome(ctx, "e", id); err != nil || o.Load != id {
			t.Errorf("outcome of %s: %+v, %v", id, o, err)
		}
	}
	if _, err := f.Outcome(ctx, "e", "other"); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("outcome of another: %v, want %v", err, queue.ErrNotFound)
	}
}
