package queue_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/queue/queuetest"
)

func TestDestinations(t *testing.T) {
	f := queuetest.Start(t)
	ctx := within(t, 10*time.Second)
	store := f.Destinations()
	if _, err := store.Get(ctx, "acme"); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("get of none: got %v, want ErrNotFound", err)
	}
	if _, err := store.Put(ctx, "a.b", nil, 0); err == nil {
		t.Error("put under an invalid id: got no error")
	}
	first, err := store.Put(ctx, "acme", []byte("one"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Put(ctx, "acme", []byte("two"), 0); !errors.Is(err, queue.ErrRevision) {
		t.Errorf("put over an existing one: got %v, want ErrRevision", err)
	}
	second, err := store.Put(ctx, "acme", []byte("two"), first)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Put(ctx, "acme", []byte("three"), first); !errors.Is(err, queue.ErrRevision) {
		t.Errorf("put over an old revision: got %v, want ErrRevision", err)
	}
	if revision, err := store.Put(ctx, "acme", []byte("two"), first); err != nil || revision != second {
		t.Errorf("put repeated: got %d, %v, want %d", revision, err, second)
	}
	if _, err := store.Put(ctx, "beta", []byte("b"), queue.Any); err != nil {
		t.Fatal(err)
	}
	got, err := store.Get(ctx, "acme")
	if err != nil || string(got.Document) != "two" || got.Revision != second {
		t.Errorf("get: got %+v, %v", got, err)
	}
	if all, err := store.List(ctx); err != nil || len(all) != 2 || all[0].ID != "acme" || all[1].ID != "beta" {
		t.Errorf("list: got %+v, %v", all, err)
	}

	watch, stop := context.WithCancel(ctx)
	var seen []string
	for d, err := range store.Watch(watch) {
		if err != nil {
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			break
		}
		seen = append(seen, d.ID)
		switch {
		case len(seen) == 2:
			if err := store.Delete(ctx, "acme", "me"); err != nil {
				t.Fatal(err)
			}
		case d.Deleted:
			stop()
		}
	}
	stop()
	if len(seen) != 3 {
		t.Errorf("watch: got %v, want two and a deletion", seen)
	}
	if _, err := store.Get(ctx, "acme"); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("get of a deleted one: got %v, want ErrNotFound", err)
	}
	if history, err := store.History(ctx, "acme"); err != nil || len(history) != 3 || !history[2].Deleted || string(history[0].Document) != "one" {
		t.Errorf("history: got %+v, %v", history, err)
	}
	if _, err := store.Put(ctx, "acme", []byte("back"), 0); err != nil {
		t.Errorf("put after delete: got %v", err)
	}
}

func TestEventsLive(t *testing.T) {
	t.Parallel()
	f := queuetest.Start(t)
	ctx := within(t, 10*time.Second)
	publish := func(kind messages.EventKind, extraction string) {
		event := messages.Event{Kind: kind, Workspace: "ws", Extraction: extraction}
		if kind == messages.EventDispatched {
			event.Plan = &messages.Plan{}
		}
		if err := f.Publish(ctx, event); err != nil {
			t.Fatal(err)
		}
	}
	publish(messages.EventAccepted, "e")
	publish(messages.EventAccepted, "other")
	var got []messages.EventKind
	for event, err := range f.Events(ctx, "ws", "e", true) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, event.Kind)
		switch len(got) {
		case 1:
			publish(messages.EventDispatched, "e")
		case 2:
			f.StopServer(t)
			f.StartServer(t)
			publish(messages.EventCompleted, "e")
		}
		if len(got) == 3 {
			break
		}
	}
	if len(got) != 3 || got[2] != messages.EventCompleted {
		t.Errorf("events: got %v", got)
	}
	n := 0
	for _, err := range f.Events(ctx, "ws", "", false) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 4 {
		t.Errorf("events of the workspace: got %d, want 4", n)
	}
}

// TestMilestones: who asks for milestones hears of no load.
func TestMilestones(t *testing.T) {
	t.Parallel()
	f := queuetest.Start(t)
	ctx := within(t, 10*time.Second)
	for _, event := range []messages.Event{
		{Kind: messages.EventAccepted, Extraction: "e"},
		{Kind: messages.EventOutcome, Extraction: "e", Outcome: &messages.Outcome{Load: "0123456789abcdef0123456789abcdef", Result: messages.Loaded}},
		{Kind: messages.EventAccepted, Extraction: "other"},
		{Kind: messages.EventCompleted, Extraction: "e"},
	} {
		event.Workspace = "ws"
		if err := f.Publish(ctx, event); err != nil {
			t.Fatal(err)
		}
	}
	var got []messages.EventKind
	for event, err := range f.Milestones(ctx, "ws", "e") {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, event.Kind); event.Kind == messages.EventCompleted {
			break
		}
	}
	if want := []messages.EventKind{messages.EventAccepted, messages.EventCompleted}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestProvisionAgain(t *testing.T) {
	f := queuetest.Start(t)
	dispatch(t, f.Queue, "e", 1, messages.Fresh)
	wider := f.Connect(t, func(c *queue.Config) { c.Topology.LoadsBytes = 1 << 30; c.AckWait = 30 * time.Second })
	for range 2 {
		if err := wider.Provision(within(t, 10*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	status, err := wider.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range status.Streams {
		if s.Name == "LOADS" && (s.MaxBytes != 1<<30 || s.Messages != 2) {
			t.Errorf("loads: got %+v, want a limit of 1 GiB and 2 messages", s)
		}
	}
}
