package queue_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue/queuetest"
)

// TestExtractionIndex: what it heard is what the queue says, of before it
// listened and of since.
func TestExtractionIndex(t *testing.T) {
	f := queuetest.Start(t)
	carry := func(extraction string, n int) {
		t.Helper()
		dispatch(t, f.Queue, extraction, n, messages.Fresh)
		must(t, "event", f.Publish(t.Context(), messages.Event{
			Kind: messages.EventDispatched, Workspace: "ws", Extraction: extraction, Destination: "acme", Plan: &messages.Plan{Loads: int64(n), Rows: int64(n)},
		}))
		loads := openLoads(t, f.Queue)
		for range n {
			d := next(t, loads)
			must(t, "done", d.Done(t.Context(), loadedOutcome(d)))
		}
	}
	carry("before", 3)
	x := f.IndexExtractions(10)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- x.Follow(ctx) }()
	carry("since", 2)
	_, err := f.Complete(t.Context(), "ws", "since")
	must(t, "complete", err)
	for limit := time.After(20 * time.Second); ; {
		changed := x.Changed()
		if s := x.Get("ws", "since"); s != nil && s.State == messages.EventCompleted && x.Counts().Total().Loads == 5 {
			break
		}
		select {
		case <-changed:
		case <-limit:
			t.Fatalf("the index says %+v, %v", x.Get("ws", "since"), x.Counts())
		}
	}
	want, err := f.Extractions(t.Context(), "")
	must(t, "extractions", err)
	if d := cmp.Diff(want, x.All(), cmpopts.EquateEmpty()); d != "" {
		t.Errorf("index (-want +got):\n%s", d)
	}
	stop()
	<-ended
}

// TestExtractionIndexForgets the oldest.
func TestExtractionIndexForgets(t *testing.T) {
	f := queuetest.Start(t)
	x := f.IndexExtractions(4)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- x.Follow(ctx) }()
	for i := range 9 {
		must(t, "event", f.Publish(t.Context(), messages.Event{Kind: messages.EventAccepted, Workspace: "ws", Extraction: string(rune('a' + i))}))
	}
	for limit := time.After(20 * time.Second); ; {
		changed := x.Changed()
		if x.Get("ws", "i") != nil {
			break
		}
		select {
		case <-changed:
		case <-limit:
			t.Fatal("the last extraction was not heard")
		}
	}
	if n := len(x.All()); n > 5 || x.Get("ws", "a") != nil {
		t.Errorf("%d extractions are known, want 4 or 5, and not the first", n)
	}
	stop()
	<-ended
}
