package queue_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/queue/queuetest"
)

// TestPast follows one load through postponements, its dead letter and its
// replay, with and without a past.
func TestPast(t *testing.T) {
	t.Parallel()
	f := queuetest.Start(t)
	dispatch(t, f.Queue, "e", 1, messages.Fresh)
	loads := openLoads(t, f.Queue)
	ctx := within(t, 20*time.Second)
	expect := func(d *queue.LoadDelivery, want queue.Past) {
		t.Helper()
		got, err := d.Past(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("past of delivery %d (-want +got):\n%s", d.Attempt, diff)
		}
	}
	at := time.Date(2024, 6, 18, 12, 0, 0, 0, time.UTC)
	d := next(t, loads)
	expect(d, queue.Past{})
	long := strings.Repeat("é", 400)
	failed := messages.Attempt{Worker: "w", Time: at, Error: long}
	if err := d.Postpone(ctx, 0, queue.Past{Attempts: []messages.Attempt{failed}, Parked: at}); err != nil {
		t.Fatal(err)
	}
	// Released in between, as by a worker that stops: nothing is forgotten.
	failed.Error = long[:512]
	past := queue.Past{Attempts: []messages.Attempt{failed}, Parked: at, Delivered: 1}
	d = next(t, loads)
	expect(d, past)
	if err := d.Release(ctx); err != nil {
		t.Fatal(err)
	}
	d = next(t, loads)
	expect(d, past)
	letter := messages.DeadLetter{Failure: messages.Failure{Reason: messages.ReasonExhausted, Message: "no"}}
	if err := d.DeadLetter(ctx, letter); err != nil {
		t.Fatal(err)
	}
	for dead, err := range f.Queue.DeadLetters(ctx, queue.DeadLetterFilter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Queue.Replay(ctx, dead.Sequence, queue.Operation{}); err != nil {
			t.Fatal(err)
		}
	}
	d = next(t, loads)
	if err := d.Release(ctx); err != nil {
		t.Fatal(err)
	}
	d = next(t, loads) // delivered twice, and new all the same
	expect(d, queue.Past{})
	if err := d.Done(ctx, loadedOutcome(d)); err != nil {
		t.Fatal(err)
	}
	status, err := f.Queue.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range status.Streams {
		if s.Name == "PAST" && s.Messages != 0 {
			t.Errorf("pasts left behind: got %d, want 0", s.Messages)
		}
	}
}
