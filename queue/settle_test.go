package queue_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/queue/queuetest"
)

// account compares what is counted with what stands: each load ended once, and
// was counted once.
func account(t *testing.T, q *queue.Queue, extraction string, want map[messages.Result]int) {
	t.Helper()
	ctx := within(t, 20*time.Second)
	walked := messages.Counts{}
	for o, err := range q.Outcomes(ctx, "ws", extraction) {
		if err != nil {
			t.Fatal(err)
		}
		walked.Add(&o)
	}
	counts, err := q.Counts(ctx, "ws", extraction)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(walked, counts); d != "" {
		t.Errorf("counts (-outcomes +tallies):\n%s", d)
	}
	got := map[messages.Result]int{}
	for r, n := range counts {
		got[r] = int(n.Loads)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("loads (-want +got):\n%s", d)
	}
}

// eventually polls until it holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	late := time.After(60 * time.Second)
	for !holds() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// TestP1PowerFailsWhileSettling breaks off at each line of the settling of a
// load, as a process does that is killed there, and lets another take over:
// the load ends once, in its outcome or dead letter, and is counted once.
func TestP1PowerFailsWhileSettling(t *testing.T) {
	t.Parallel()
	for _, dies := range []bool{false, true} {
		for _, at := range queue.Steps() {
			name := fmt.Sprintf("done/%s", at)
			if dies {
				name = fmt.Sprintf("dead letter/%s", at)
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := queuetest.Start(t, shortLease)
				dispatch(t, f.Queue, "e", 3, messages.Fresh)
				killed := f.Connect(t, shortLease)
				reached := killAt(killed, at)
				d := next(t, openLoads(t, killed))
				end := func(ctx context.Context, d *queue.LoadDelivery) error {
					if dies {
						return d.DeadLetter(ctx, deadLetter(messages.ReasonBadRow))
					}
					return d.Done(ctx, loadedOutcome(d))
				}
				if err := end(within(t, 20*time.Second), d); (err != nil) != reached() {
					t.Fatalf("killed at its line: %v, and the load was settled with %v", reached(), err)
				}
				loads := openLoads(t, f.Queue)
				for n := range 3 {
					d := next(t, loads)
					if err := end(within(t, 20*time.Second), d); err != nil {
						t.Fatalf("load %d: %v", n, err)
					}
					if loadsLeft(t, f.Queue) == 0 {
						break
					}
				}
				result, letters := messages.Loaded, 0
				if dies {
					result, letters = messages.DeadLettered, 3
				}
				account(t, f.Queue, "e", map[messages.Result]int{result: 3})
				if got := list(t, f.Queue, queue.DeadLetterFilter{}); len(got) != letters {
					t.Errorf("dead letters: got %d, want %d", len(got), letters)
				}
			})
		}
	}
}

// TestP2LostAnswers loses the answer to every first try of the settler: what
// was stored is recognised, alone and in groups that go as a batch.
func TestP2LostAnswers(t *testing.T) {
	t.Parallel()
	f := queuetest.Start(t)
	const n = 100
	dispatch(t, f.Queue, "e", n, messages.Fresh)
	var mu sync.Mutex
	lost := map[string]int{}
	queue.BreakAt(f.Queue, func(step string) error {
		mu.Lock()
		defer mu.Unlock()
		if lost[step]++; lost[step]%3 == 1 && step != "object put" && step != "outcome counted" {
			return nats.ErrTimeout
		}
		return nil
	})
	loads := openLoads(t, f.Queue)
	var held []*queue.LoadDelivery
	for range n {
		held = append(held, next(t, loads))
	}
	ctx := within(t, 60*time.Second)
	var group sync.WaitGroup
	for _, d := range held {
		group.Go(func() {
			if err := d.Done(ctx, loadedOutcome(d)); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	account(t, f.Queue, "e", map[messages.Result]int{messages.Loaded: n})
	if left := loadsLeft(t, f.Queue); left != 0 {
		t.Errorf("loads left: got %d, want 0", left)
	}
}

// TestP1ServerRestartsWhileSettling restarts the server again and again under
// groups that are on their way.
func TestP1ServerRestartsWhileSettling(t *testing.T) {
	t.Parallel()
	f := queuetest.Start(t, shortLease)
	const n = 200
	dispatch(t, f.Queue, "e", n, messages.Fresh)
	loads := openLoads(t, f.Queue)
	ctx := within(t, 90*time.Second)
	work, stop := context.WithCancel(ctx)
	defer stop()
	var slots sync.WaitGroup
	ended := make(chan struct{}, 4*n)
	for range 16 {
		slots.Go(func() {
			for {
				d, err := loads.Next(work)
				if err != nil {
					return
				}
				if d.Done(ctx, loadedOutcome(d)) == nil { // else it comes again
					ended <- struct{}{}
				}
			}
		})
	}
	for i := range 3 {
		for range 20 * (i + 1) {
			<-ended
		}
		f.StopServer(t)
		f.StartServer(t)
	}
	eventually(t, "every load is gone", func() bool { return loadsLeft(t, f.Queue) == 0 })
	stop()
	slots.Wait()
	account(t, f.Queue, "e", map[messages.Result]int{messages.Loaded: n})
}

// TestP2TwoDeliveriesOfOneLoad: a worker that lost its lease and the one that
// has the load now both settle it, at the same time.
func TestP2TwoDeliveriesOfOneLoad(t *testing.T) {
	t.Parallel()
	for _, second := range []messages.Result{messages.Loaded, messages.Superseded} {
		t.Run(string(second), func(t *testing.T) {
			t.Parallel()
			f := queuetest.Start(t, shortLease)
			dispatch(t, f.Queue, "e", 1, messages.Fresh)
			slow := f.Connect(t, shortLease)
			d := next(t, openLoads(t, slow))
			resume := make(chan struct{})
			stored := make(chan struct{})
			var once sync.Once
			queue.BreakAt(slow, func(step string) error {
				if step == "outcome or object stored, unheard" {
					once.Do(func() { close(stored) })
					<-resume // its outcome is stored, and not counted
				}
				return nil
			})
			slowly := make(chan error, 1)
			ctx := within(t, 30*time.Second)
			go func() { slowly <- d.Done(ctx, loadedOutcome(d)) }()
			<-stored
			queue.LoseLease(d)
			again := next(t, openLoads(t, f.Queue))
			outcome := loadedOutcome(again)
			outcome.Worker, outcome.Result = "w2", second
			if err := again.Done(ctx, outcome); err != nil {
				t.Fatal(err)
			}
			close(resume)
			<-slowly // whatever it says
			// The first outcome counts, whoever counts it.
			account(t, f.Queue, "e", map[messages.Result]int{messages.Loaded: 1})
			if left := loadsLeft(t, f.Queue); left != 0 {
				t.Errorf("loads left: got %d, want 0", left)
			}
		})
	}
}

// TestP7CountsThroughReplays: a replay takes back what was counted before, of
// whichever worker.
func TestP7CountsThroughReplays(t *testing.T) {
	t.Parallel()
	f := queuetest.Start(t)
	ctx := within(t, 30*time.Second)
	dispatch(t, f.Queue, "e", 2, messages.Fresh)
	must(t, "dispatched", f.Publish(ctx, messages.Event{Kind: messages.EventDispatched, Workspace: "ws", Extraction: "e", Plan: &messages.Plan{Loads: 2, Rows: 2}}))
	loads := openLoads(t, f.Queue)
	for range 2 {
		must(t, "dead letter", next(t, loads).DeadLetter(ctx, deadLetter(messages.ReasonDestination)))
	}
	if done, err := f.Complete(ctx, "ws", "e"); err != nil || !done {
		t.Fatalf("complete: got %v, %v", done, err)
	}
	account(t, f.Queue, "e", map[messages.Result]int{messages.DeadLettered: 2})
	other := f.Connect(t)
	replayed := openLoads(t, other)
	for i, letter := range list(t, f.Queue, queue.DeadLetterFilter{}) {
		must(t, "replay", f.Replay(ctx, letter.Sequence, queue.Operation{}))
		d := next(t, replayed)
		if i == 0 {
			must(t, "done", d.Done(ctx, loadedOutcome(d)))
			continue
		}
		must(t, "dead letter", d.DeadLetter(ctx, deadLetter(messages.ReasonDestination)))
	}
	account(t, f.Queue, "e", map[messages.Result]int{messages.DeadLettered: 1, messages.Loaded: 1})
	// The event said how it was then, once; the state says how it is.
	if done, err := f.Complete(ctx, "ws", "e"); err != nil || !done {
		t.Fatalf("complete: got %v, %v", done, err)
	}
	completed := 0
	for event, err := range f.Events(ctx, "ws", "e", false) {
		must(t, "events", err)
		if event.Kind == messages.EventCompleted {
			completed++
			if n := event.Counts[messages.DeadLettered].Loads; n != 2 {
				t.Errorf("completed with %d dead letters, want 2", n)
			}
		}
	}
	if completed != 1 {
		t.Errorf("completed: heard %d times, want once", completed)
	}
	state, err := f.State(ctx, "ws", "e")
	must(t, "state", err)
	if state.Counts[messages.Loaded].Loads != 1 || state.Left() != 0 {
		t.Errorf("state: got %+v", state.Counts)
	}
}

// TestP1KilledWhileReplaying breaks off at each line of the settling of a load that
// came back from the dead letters, once and by the next delivery again: what was
// counted of its first round is taken back all the same.
func TestP1KilledWhileReplaying(t *testing.T) {
	t.Parallel()
	for _, kills := range []int{1, 2} {
		for _, counted := range []bool{true, false} {
			for _, at := range queue.Steps() {
				t.Run(fmt.Sprintf("%d times/first round counted %v/%s", kills, counted, at), func(t *testing.T) {
					t.Parallel()
					f := queuetest.Start(t, shortLease)
					ctx := within(t, 60*time.Second)
					dispatch(t, f.Queue, "e", 1, messages.Fresh)
					if counted {
						must(t, "dead letter", next(t, openLoads(t, f.Queue)).DeadLetter(ctx, deadLetter(messages.ReasonDestination)))
					} else {
						dying := f.Connect(t, shortLease)
						d := next(t, openLoads(t, dying))
						killAt(dying, "outcome or object stored, unheard")
						if d.DeadLetter(ctx, deadLetter(messages.ReasonDestination)) == nil {
							t.Fatal("the one that was killed settled its load")
						}
					}
					must(t, "replay", f.Replay(ctx, list(t, f.Queue, queue.DeadLetterFilter{})[0].Sequence, queue.Operation{}))
					for range kills {
						if loadsLeft(t, f.Queue) == 0 {
							break // the line is none of this walk
						}
						dying := f.Connect(t, shortLease)
						d := next(t, openLoads(t, dying))
						reached := killAt(dying, at)
						if err := d.Done(ctx, loadedOutcome(d)); (err != nil) != reached() {
							t.Fatalf("killed at its line: %v, and the load was settled with %v", reached(), err)
						}
					}
					loads := openLoads(t, f.Queue)
					for loadsLeft(t, f.Queue) > 0 {
						d := next(t, loads)
						must(t, "done", d.Done(ctx, loadedOutcome(d)))
					}
					account(t, f.Queue, "e", map[messages.Result]int{messages.Loaded: 1})
				})
			}
		}
	}
}

// killAt ends a queue as its process is killed, at a line of the settling, and
// tells whether it came there.
func killAt(q *queue.Queue, at string) (reached func() bool) {
	var once sync.Once
	var killed atomic.Bool
	queue.BreakAt(q, func(step string) error {
		if step != at {
			return nil
		}
		once.Do(func() {
			killed.Store(true)
			queue.Kill(q)
		})
		return queue.ErrClosed
	})
	return killed.Load
}

// TestP7CompletedOnce: many say it at a time, and after a lost answer; it is
// stored once.
func TestP7CompletedOnce(t *testing.T) {
	t.Parallel()
	f := queuetest.Start(t)
	ctx := within(t, 30*time.Second)
	must(t, "dispatched", f.Publish(ctx, messages.Event{Kind: messages.EventDispatched, Workspace: "ws", Extraction: "e", Plan: &messages.Plan{}}))
	open, seen, err := f.Uncompleted(ctx, 0)
	if err != nil || !slices.Equal(open, []queue.ExtractionName{{Workspace: "ws", Extraction: "e"}}) {
		t.Fatalf("uncompleted: got %v, %v", open, err)
	}
	before := queue.LastSequence(ctx, t, f.Queue)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if done, err := f.Complete(ctx, "ws", "e"); err != nil || !done {
				t.Errorf("complete: got %v, %v", done, err)
			}
		})
	}
	all.Wait()
	if stored := queue.LastSequence(ctx, t, f.Queue) - before; stored != 1 {
		t.Errorf("stored %d events, want 1", stored)
	}
	if open, _, err := f.Uncompleted(ctx, 0); err != nil || len(open) != 0 {
		t.Errorf("uncompleted: got %v, %v, want none", open, err)
	}
	if open, _, err := f.Uncompleted(ctx, seen); err != nil || len(open) != 0 {
		t.Errorf("uncompleted since: got %v, %v, want none", open, err)
	}
}

// TestP4LedgerKeepsTheNewest: the record of an object is that of the newest
// generation, in whatever order loads end.
func TestP4LedgerKeepsTheNewest(t *testing.T) {
	t.Parallel()
	f := queuetest.Start(t)
	ctx := within(t, 30*time.Second)
	d := f.Dispatch(ctx, "ws", "old", "plan")
	older, payload := loadOf("ws", "old", 1, messages.Fresh)
	must(t, "add", d.Add(ctx, older, payload))
	must(t, "dispatch", d.Close(ctx))
	d = f.Dispatch(ctx, "ws", "new", "plan")
	newer, payload := loadOf("ws", "new", 1, messages.Fresh)
	newer.Generation++
	must(t, "add", d.Add(ctx, newer, payload))
	must(t, "dispatch", d.Close(ctx))
	loads := openLoads(t, f.Queue)
	first, second := next(t, loads), next(t, loads)
	for _, d := range []*queue.LoadDelivery{second, first} {
		o := loadedOutcome(d)
		o.ETag = `"` + d.Extraction + `"`
		must(t, "done", d.Done(ctx, o))
		object, err := f.Objects().Get(ctx, "acme", newer.Bucket, newer.Key)
		must(t, "object", err)
		if object.Generation != newer.Generation || object.ETag != `"new"` || object.Load != newer.ID {
			t.Errorf("after %s: got %+v, want the newer one", d.Extraction, object)
		}
	}
	n := 0
	for o, err := range f.Objects().All(ctx, "acme") {
		must(t, "objects", err)
		if n++; o.Key != newer.Key {
			t.Errorf("object: got %+v", o)
		}
	}
	if n != 1 {
		t.Errorf("objects: got %d, want 1", n)
	}
}
