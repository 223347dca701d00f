package queue_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/queue/queuetest"
)

func deadLetter(reason messages.Reason) messages.DeadLetter {
	return messages.DeadLetter{
		Destination: "acme",
		Failure:     messages.Failure{Reason: reason, Message: "größer\nals 5 € erlaubt"},
		Attempts:    []messages.Attempt{{Worker: "w1", Time: time.Now().UTC(), Error: "no"}},
	}
}

func list(t *testing.T, q *queue.Queue, filter queue.DeadLetterFilter) []queue.DeadLetter {
	t.Helper()
	var all []queue.DeadLetter
	for letter, err := range q.DeadLetters(within(t, 10*time.Second), filter) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, letter)
	}
	return all
}

func outcomes(t *testing.T, q *queue.Queue, extraction string) map[messages.Result]int {
	t.Helper()
	got := map[messages.Result]int{}
	for o, err := range q.Outcomes(within(t, 10*time.Second), "ws", extraction) {
		if err != nil {
			t.Fatal(err)
		}
		got[o.Result]++
	}
	return got
}

func TestP1DeadLetterRepeatedAfterCrash(t *testing.T) {
	f := queuetest.Start(t, shortLease)
	dispatch(t, f.Queue, "e", 1, messages.Fresh)
	loads := openLoads(t, f.Queue)

	// The letter is stored and the server goes before the load is ended.
	other := f.Connect(t)
	d := next(t, openLoads(t, other))
	letter := deadLetter(messages.ReasonBadRow)
	if err := queue.Bury(t.Context(), other, d, letter); err != nil {
		t.Fatal(err)
	}
	if err := other.Close(t.Context()); err != nil {
		t.Fatal(err)
	}

	d = next(t, loads)
	if err := d.DeadLetter(t.Context(), letter); err != nil {
		t.Fatal(err)
	}
	all := list(t, f.Queue, queue.DeadLetterFilter{})
	if len(all) != 1 || all[0].ID != d.ID || all[0].Workspace != "ws" || all[0].Failure.Message != letter.Failure.Message {
		t.Errorf("dead letters: got %+v, want one, of %s", all, d.ID)
	}
	if left := loadsLeft(t, f.Queue); left != 0 {
		t.Errorf("loads left: got %d, want 0", left)
	}
	if diff := cmp.Diff(map[messages.Result]int{messages.DeadLettered: 1}, outcomes(t, f.Queue, "e")); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
}

func TestP8ReplayUntilItIsLoaded(t *testing.T) {
	f := queuetest.Start(t)
	dispatch(t, f.Queue, "e", 1, messages.Fresh)
	loads := openLoads(t, f.Queue)
	if err := next(t, loads).DeadLetter(t.Context(), deadLetter(messages.ReasonDestination)); err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= 2; n++ {
		all := list(t, f.Queue, queue.DeadLetterFilter{})
		if len(all) != 1 || all[0].Replays != n-1 {
			t.Fatalf("before replay %d: got %+v", n, all)
		}
		if err := f.Replay(t.Context(), all[0].Sequence, queue.Operation{}); err != nil {
			t.Fatal(err)
		}
		if err := f.Replay(t.Context(), all[0].Sequence, queue.Operation{}); !errors.Is(err, queue.ErrNotFound) {
			t.Errorf("replay of a replayed one: got %v, want ErrNotFound", err)
		}
		d := next(t, loads)
		if d.Err != nil || d.Lane != messages.Replay || d.Load.Replay == nil || d.Load.Replay.Count != n || string(d.Payload) != "rows of load 0" {
			t.Errorf("replay %d: got %+v with payload %q, error %v", n, d.Load, d.Payload, d.Err)
		}
		if n == 1 {
			if err := d.DeadLetter(t.Context(), deadLetter(messages.ReasonDestination)); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := d.Done(t.Context(), loadedOutcome(d)); err != nil {
			t.Fatal(err)
		}
	}
	if all := list(t, f.Queue, queue.DeadLetterFilter{}); len(all) != 0 {
		t.Errorf("dead letters: got %+v, want none", all)
	}
	if diff := cmp.Diff(map[messages.Result]int{messages.Loaded: 1}, outcomes(t, f.Queue, "e")); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
}

// TestP8LetterRemovedMeanwhile: a load that is replayed may be carried out, or die
// again, and remove its letter before who replays it does.
func TestP8LetterRemovedMeanwhile(t *testing.T) {
	f := queuetest.Start(t)
	dispatch(t, f.Queue, "e", 2, messages.Fresh)
	loads := openLoads(t, f.Queue)
	for range 2 {
		if err := next(t, loads).DeadLetter(t.Context(), deadLetter(messages.ReasonDestination)); err != nil {
			t.Fatal(err)
		}
	}
	for _, letter := range list(t, f.Queue, queue.DeadLetterFilter{}) {
		if err := queue.RemoveDeadLetter(t.Context(), f.Queue, letter.Sequence); err != nil {
			t.Fatal(err)
		}
		if err := queue.RemoveDeadLetter(t.Context(), f.Queue, letter.Sequence); !errors.Is(err, queue.ErrNotFound) {
			t.Errorf("letter %d once more: got %v, want that it is not found", letter.Sequence, err)
		}
	}
}

// A replay that crashed before it removed the dead letter, whose load then
// dies again: the old letter must not pass for the new one, or removing it
// would lose the load.
func TestP1ReplayInterruptedAndLoadDiesAgain(t *testing.T) {
	f := queuetest.Start(t)
	dispatch(t, f.Queue, "e", 1, messages.Fresh)
	loads := openLoads(t, f.Queue)
	if err := next(t, loads).DeadLetter(t.Context(), deadLetter(messages.ReasonDestination)); err != nil {
		t.Fatal(err)
	}
	old := list(t, f.Queue, queue.DeadLetterFilter{})[0]
	if err := queue.ReplayWithoutRemoving(t.Context(), f.Queue, old.Sequence); err != nil {
		t.Fatal(err)
	}
	if err := next(t, loads).DeadLetter(t.Context(), deadLetter(messages.ReasonExhausted)); err != nil {
		t.Fatal(err)
	}
	if err := f.Discard(t.Context(), old.Sequence, queue.Operation{}); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("the old letter: got %v, want ErrNotFound", err)
	}
	all := list(t, f.Queue, queue.DeadLetterFilter{})
	if len(all) != 1 || all[0].Replays != 1 || all[0].Failure.Reason != messages.ReasonExhausted {
		t.Errorf("dead letters: got %+v, want the second one", all)
	}
}

func TestP8ReplayCommit(t *testing.T) {
	f := queuetest.Start(t)
	extract(t, f.Queue, "ws", "e", 1)
	first := nextCommit(t, f.Queue)
	if err := first.DeadLetter(t.Context(), deadLetter(messages.ReasonUnknownDestination)); err != nil {
		t.Fatal(err)
	}
	states, err := f.Extractions(t.Context(), "ws")
	if err != nil || len(states) != 1 || states[0].State != messages.EventFailed || states[0].Failure.Reason != messages.ReasonUnknownDestination {
		t.Errorf("extractions: got %+v, %v", states, err)
	}
	dead := list(t, f.Queue, queue.DeadLetterFilter{Stage: messages.StageDispatch, Destination: "acme"})
	if len(dead) != 1 {
		t.Fatalf("dead letters: got %+v, want one", dead)
	}
	if err := f.Replay(t.Context(), dead[0].Sequence, queue.Operation{}); err != nil {
		t.Fatal(err)
	}
	again := nextCommit(t, f.Queue)
	if !strings.HasPrefix(again.Subject, "recommit.ws.e.") || again.Workspace != "ws" || again.Extraction != "e" || again.Replays() != 1 {
		t.Errorf("replayed commit: got %+v", again)
	}
	if !again.At.Equal(first.At) {
		t.Errorf("commit's instant: got %s, want that of the first, %s", again.At, first.At)
	}
	if string(again.Body) != string(first.Body) {
		t.Errorf("body: got %q, want %q", again.Body, first.Body)
	}
	if err := again.Done(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestP11DeadLettersOfTwoWorkspaces(t *testing.T) {
	f := queuetest.Start(t)
	for _, workspace := range []string{"one", "two"} {
		extract(t, f.Queue, workspace, "e", 1)
		if err := nextCommit(t, f.Queue).DeadLetter(t.Context(), deadLetter(messages.ReasonIncomplete)); err != nil {
			t.Fatal(err)
		}
	}
	if all := list(t, f.Queue, queue.DeadLetterFilter{}); len(all) != 2 {
		t.Errorf("dead letters: got %+v, want one of each workspace", all)
	}
}

func TestP1UndecodableLoad(t *testing.T) {
	f := queuetest.Start(t)
	js := stranger(t, f)
	tests := []struct {
		name, header string
	}{
		{"no header", ""},
		{"not json", "x"},
		{"elsewhere", `{"version":1,"id":"other"}`},
	}
	loads := openLoads(t, f.Queue)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			id := strings.ReplaceAll(test.name, " ", "-")
			m := &nats.Msg{Subject: "load.fresh.acme.e." + id, Header: nats.Header{}, Data: []byte("rows")}
			if test.header != "" {
				m.Header.Set(messages.HeaderLoad, test.header)
			}
			if _, err := js.PublishMsg(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			d := next(t, loads)
			if d.Load != nil || d.Err == nil || d.Destination != "acme" || d.Extraction != "e" || d.ID != id {
				t.Errorf("delivery: got %+v", d)
			}
			if err := d.DeadLetter(t.Context(), deadLetter(messages.ReasonUndecodable)); err != nil {
				t.Fatal(err)
			}
			all := list(t, f.Queue, queue.DeadLetterFilter{ID: id})
			if len(all) != 1 {
				t.Fatalf("dead letters: got %+v, want one", all)
			}
			dead, err := f.DeadLetter(t.Context(), all[0].Sequence)
			if err != nil || string(dead.Payload) != "rows" || dead.Header.Get(messages.HeaderLoad) != test.header {
				t.Errorf("shown: got %+v, %v", dead, err)
			}
			if err := f.Discard(t.Context(), all[0].Sequence, queue.Operation{}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDeadLetterFilter(t *testing.T) {
	f := queuetest.Start(t)
	dispatch(t, f.Queue, "e", 2, messages.Fresh)
	dispatch(t, f.Queue, "other", 1, messages.Fresh)
	loads := openLoads(t, f.Queue)
	for _, reason := range []messages.Reason{messages.ReasonBadRow, messages.ReasonDestination, messages.ReasonDestination} {
		if err := next(t, loads).DeadLetter(t.Context(), deadLetter(reason)); err != nil {
			t.Fatal(err)
		}
	}
	all := list(t, f.Queue, queue.DeadLetterFilter{})
	tests := []struct {
		name   string
		filter queue.DeadLetterFilter
		want   int
	}{
		{"all", queue.DeadLetterFilter{}, 3},
		{"reason", queue.DeadLetterFilter{Reason: messages.ReasonDestination}, 2},
		{"extraction", queue.DeadLetterFilter{Extraction: "e"}, 2},
		{"both", queue.DeadLetterFilter{Extraction: "e", Reason: messages.ReasonDestination}, 1},
		{"id", queue.DeadLetterFilter{ID: all[0].ID}, 1},
		{"stage", queue.DeadLetterFilter{Stage: messages.StageDispatch}, 0},
		{"destination", queue.DeadLetterFilter{Destination: "acme"}, 3},
		{"another destination", queue.DeadLetterFilter{Destination: "acm"}, 0},
		{"workspace", queue.DeadLetterFilter{Workspace: "ws2"}, 0},
		{"since", queue.DeadLetterFilter{Since: all[1].Time}, 2},
		{"until", queue.DeadLetterFilter{Until: all[1].Time}, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := list(t, f.Queue, test.filter); len(got) != test.want {
				t.Errorf("got %d, want %d", len(got), test.want)
			}
		})
	}
	status, err := f.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []queue.DeadLetterCount{{Destination: "acme", Reason: messages.ReasonDestination, Count: 2}, {Destination: "acme", Reason: messages.ReasonBadRow, Count: 1}}
	if diff := cmp.Diff(want, status.DeadLetters); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}

// TestDeadLettersWarn: the log says that the room for dead letters is nearly
// taken before it is, and a full stream leaves the delivery in our hands.
func TestDeadLettersWarn(t *testing.T) {
	f := queuetest.Start(t, func(c *queue.Config) { c.Topology.DeadBytes = 16 << 10 })
	dispatch(t, f.Queue, "e", 30, messages.Fresh)
	loads := openLoads(t, f.Queue)
	for n := 0; ; n++ {
		d := next(t, loads)
		err := d.DeadLetter(t.Context(), deadLetter(messages.ReasonBadRow))
		if errors.Is(err, queue.ErrDeadLettersFull) {
			if n < 2 {
				t.Fatalf("full after %d dead letters", n)
			}
			if err := f.Discard(t.Context(), list(t, f.Queue, queue.DeadLetterFilter{})[0].Sequence, queue.Operation{}); err != nil {
				t.Fatal(err)
			}
			core, logs := observer.New(zap.WarnLevel)
			other := connectLogged(t, f, zap.New(core))
			if err := queue.Bury(t.Context(), other, d, deadLetter(messages.ReasonBadRow)); err != nil {
				t.Fatalf("there is room again: %v", err)
			}
			said := logs.FilterMessageSnippet("dead letters fill most of their stream").All()
			if len(said) != 1 || said[0].ContextMap()["full"].(float64) < queue.NearlyFull {
				t.Errorf("warnings: %+v, want one", said)
			}
			must(t, "the delivery is still ours", d.DeadLetter(t.Context(), deadLetter(messages.ReasonBadRow)))
			return
		}
		must(t, "dead letter", err)
	}
}

func connectLogged(t *testing.T, f *queuetest.Fixture, log *zap.Logger) *queue.Queue {
	t.Helper()
	q, err := queue.Connect(t.Context(), queue.Config{URL: f.URL()}, log)
	must(t, "connect", err)
	t.Cleanup(func() { must(t, "close", q.Close(context.WithoutCancel(t.Context()))) })
	return q
}
