package queue_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/queue/queuetest"
)

func presence(name, instance string) *messages.Presence {
	return &messages.Presence{
		Version: messages.Version, Role: messages.RoleWorker, Name: name, Instance: instance, State: messages.ProcessRunning,
	}
}

// Those who announce themselves are there until their last word; a change is
// heard when it is announced, not an interval later.
func TestPresences(t *testing.T) {
	t.Parallel()
	f := queuetest.Start(t)
	ctx := within(t, 20*time.Second)
	fleet, err := f.Presences(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer fleet.Close()
	var mu sync.Mutex
	said := presence("odd name.>*", "a")
	again := make(chan struct{}, 1)
	live, end := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		f.Announce(live, again, func() *messages.Presence {
			mu.Lock()
			defer mu.Unlock()
			p := *said
			return &p
		})
	})
	is := func(want *messages.Presence) func([]messages.Presence) bool {
		return func(all []messages.Presence) bool { return len(all) == 1 && cmp.Equal(all[0], *want) }
	}
	if all, err := fleet.Await(ctx, is(said)); err != nil {
		t.Fatalf("there are %+v: %v", all, err)
	}
	mu.Lock()
	said.State, said.Loads = messages.ProcessPaused, 7
	mu.Unlock()
	began := time.Now()
	again <- struct{}{}
	if all, err := fleet.Await(ctx, is(said)); err != nil {
		t.Fatalf("there are %+v: %v", all, err)
	}
	if took := time.Since(began); took > messages.PresenceInterval {
		t.Errorf("the change was heard after %s", took)
	}
	end()
	if all, err := fleet.Await(ctx, func(all []messages.Presence) bool { return len(all) == 0 }); err != nil {
		t.Errorf("after its last word there are %+v: %v", all, err)
	}
	done.Wait()
}

// Who is not heard for a while is forgotten, and what is no presence, or another's,
// never counts.
func TestPresencesForget(t *testing.T) {
	fleet, began := queue.NewPresences(), time.Now()
	say := func(instance string, at time.Time) {
		said := presence("w", instance)
		queue.HearAt(fleet, messages.PresenceSubject(said.Role, said.Name), said, at)
	}
	for n := range 3 {
		say(fmt.Sprint(n), began)
	}
	queue.HearOn(fleet, "presence.worker.other", presence("w", "9"))
	if n := len(queue.ThereAt(fleet, began)); n != 3 {
		t.Errorf("there are %d, want 3", n)
	}
	say("1", began.Add(messages.PresenceLost-time.Second))
	if all := queue.ThereAt(fleet, began.Add(messages.PresenceLost+time.Second)); len(all) != 1 || all[0].Instance != "1" {
		t.Errorf("there are %+v, want the one that was heard again", all)
	}
}

// Await notices that somebody is heard no more, though nobody says anything.
func TestPresencesAwaitSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := queue.NewPresences()
		queue.Hear(fleet, presence("w", "1"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if all, err := fleet.Await(ctx, func(all []messages.Presence) bool { return len(all) == 0 }); err != nil {
			t.Errorf("there are %+v: %v", all, err)
		}
	})
}
