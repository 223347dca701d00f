package queue_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/queue/queuetest"
)

// fates is what became of every decision, the oldest first.
func fates(t *testing.T, q *queue.Queue, filter queue.AuditFilter) (got []queue.FateState) {
	t.Helper()
	for a, err := range q.Audit(within(t, 10*time.Second), filter) {
		if err != nil {
			t.Fatal(err)
		}
		fate, err := q.Fate(within(t, 10*time.Second), &a)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fate.State)
	}
	return got
}

// Who decided what about a load stays known, and what became of it since: it
// waits, dies again, is replayed again, ends, or is given up.
func TestP8AuditTellsWhatBecame(t *testing.T) {
	t.Parallel()
	f := queuetest.Start(t)
	ctx := within(t, 30*time.Second)
	dispatch(t, f.Queue, "e", 2, messages.Fresh)
	loads := openLoads(t, f.Queue)
	for range 2 {
		if err := next(t, loads).DeadLetter(ctx, deadLetter(messages.ReasonDestination)); err != nil {
			t.Fatal(err)
		}
	}
	all := list(t, f.Queue, queue.DeadLetterFilter{})
	op := queue.NewOperation("ann@desk", "--destination acme")
	if err := f.Replay(ctx, all[0].Sequence, op); err != nil {
		t.Fatal(err)
	}
	if err := f.Discard(ctx, all[1].Sequence, queue.NewOperation("bob@desk", "2")); err != nil {
		t.Fatal(err)
	}
	expect := func(want ...queue.FateState) {
		t.Helper()
		if d := cmp.Diff(want, fates(t, f.Queue, queue.AuditFilter{})); d != "" {
			t.Fatalf("fates (-want +got):\n%s", d)
		}
	}
	expect(queue.FateWaiting, queue.FateDiscarded)
	if err := next(t, loads).DeadLetter(ctx, deadLetter(messages.ReasonDestination)); err != nil {
		t.Fatal(err)
	}
	expect(queue.FateDied, queue.FateDiscarded)
	again := list(t, f.Queue, queue.DeadLetterFilter{})
	if err := f.Replay(ctx, again[0].Sequence, queue.NewOperation("ann@desk", "--all")); err != nil {
		t.Fatal(err)
	}
	d := next(t, loads)
	if err := d.Done(ctx, loadedOutcome(d)); err != nil {
		t.Fatal(err)
	}
	expect(queue.FateEnded, queue.FateDiscarded, queue.FateEnded)

	for a, err := range f.Audit(ctx, queue.AuditFilter{Operation: op.ID}) {
		if err != nil {
			t.Fatal(err)
		}
		if a.By != "ann@desk" || a.Filter != "--destination acme" || a.Verb != messages.VerbReplay || a.ID != all[0].ID || a.Reason != messages.ReasonDestination {
			t.Errorf("record: got %+v", a)
		}
	}
	for filter, want := range map[queue.AuditFilter]int{
		{By: "bob@desk"}: 1, {Destination: "acme"}: 3, {Destination: "other"}: 0, {ID: all[0].ID}: 2,
		{Verb: messages.VerbDiscard}: 1, {Until: op0(all)}: 0, {Extraction: "e"}: 3, {Workspace: "none"}: 0,
	} {
		if got := len(fates(t, f.Queue, filter)); got != want {
			t.Errorf("%+v: got %d records, want %d", filter, got, want)
		}
	}
}

func op0(all []queue.DeadLetter) time.Time { return all[0].Time }

// One who is killed between the audit and the replay leaves a record of what
// was not done; the dead letter stands.
func TestP8AuditOfAnInterruptedReplay(t *testing.T) {
	t.Parallel()
	f := queuetest.Start(t)
	ctx := within(t, 30*time.Second)
	dispatch(t, f.Queue, "e", 1, messages.Fresh)
	if err := next(t, openLoads(t, f.Queue)).DeadLetter(ctx, deadLetter(messages.ReasonBadRow)); err != nil {
		t.Fatal(err)
	}
	dead := list(t, f.Queue, queue.DeadLetterFilter{})[0]
	if err := queue.RecordOnly(ctx, f.Queue, dead.Sequence, queue.Operation{}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]queue.FateState{queue.FateUndone}, fates(t, f.Queue, queue.AuditFilter{})); d != "" {
		t.Errorf("fates (-want +got):\n%s", d)
	}
	if err := f.Replay(ctx, dead.Sequence, queue.Operation{}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]queue.FateState{queue.FateWaiting, queue.FateWaiting}, fates(t, f.Queue, queue.AuditFilter{})); d != "" {
		t.Errorf("fates (-want +got):\n%s", d)
	}
}
