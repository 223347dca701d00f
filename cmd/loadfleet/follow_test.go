package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue/queuetest"
)

// Whoever waited for an extraction asks for its counts next: an outcome is
// stored before it is counted, so that hearing the last one is not the end.
func TestP7FollowEndsWhenAllIsCounted(t *testing.T) {
	t.Parallel()
	q := queuetest.Start(t)
	tell := func(kind messages.EventKind, event messages.Event) {
		event.Kind, event.Workspace, event.Extraction = kind, "ws", "e1"
		if err := q.Publish(t.Context(), event); err != nil {
			t.Fatal(err)
		}
	}
	// It failed, was replayed, and goes on: that it failed stands in the stream.
	tell(messages.EventFailed, messages.Event{Failure: &messages.Failure{Reason: messages.ReasonBadRow, Message: "row 1"}})
	tell(messages.EventAccepted, messages.Event{})
	tell(messages.EventDispatched, messages.Event{Plan: &messages.Plan{Loads: 1, Rows: 3}})
	tell(messages.EventOutcome, messages.Event{Outcome: &messages.Outcome{
		Load: "l1", Result: messages.Loaded, Bucket: "b", Key: "k", Rows: 3, Attempts: 1, Ended: time.Now().UTC(),
	}})

	heard := 0
	e, err := follow(t.Context(), q.Queue, "ws", "e1", func(done, _ int64) {
		if heard++; heard == 3 && done == 1 { // only now
			tell(messages.EventCompleted, messages.Event{
				Plan: &messages.Plan{Loads: 1, Rows: 3}, Counts: messages.Counts{messages.Loaded: {Loads: 1, Rows: 3, Attempts: 1}},
			})
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[messages.Result]int64{messages.Loaded: 1}, e.results); d != "" || e.failure != nil || heard != 4 {
		t.Errorf("failure %v, want none; heard %d events, want 4; results (-want +got):\n%s", e.failure, heard, d)
	}
}
