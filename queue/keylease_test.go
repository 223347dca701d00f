package queue_test

import (
	"errors"
	"testing"
	"time"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/queue/queuetest"
)

// TestP4KeyLease: a key is one load's at a time, until it is given back or its
// time is over; who asks again because an answer was lost has it.
func TestP4KeyLease(t *testing.T) {
	f := queuetest.Start(t)
	ctx := within(t, 30*time.Second)
	mine, _ := loadOf("ws", "e1", 0, messages.Fresh)
	other, _ := loadOf("ws", "e2", 1, messages.Fresh)
	other.Key = mine.Key
	elsewhere, _ := loadOf("ws", "e3", 2, messages.Fresh)
	elsewhere.Key = mine.Key + "-other"
	lease := func(l *messages.Load, lasting time.Duration) *queue.KeyLease {
		t.Helper()
		got, err := f.LeaseKey(ctx, l, lasting)
		must(t, "lease", err)
		return got
	}
	taken := func(l *messages.Load) {
		t.Helper()
		if _, err := f.LeaseKey(ctx, l, time.Minute); !errors.Is(err, queue.ErrKeyLeased) {
			t.Errorf("lease of a key that is another's: got %v, want %v", err, queue.ErrKeyLeased)
		}
	}
	first := lease(mine, time.Minute)
	taken(other)
	taken(mine) // another delivery of the same load
	lease(elsewhere, time.Minute)
	must(t, "the same again, whose answer was lost", queue.AcquireAgain(ctx, first))
	must(t, "release", first.Release(ctx))
	second := lease(other, time.Second)
	taken(mine)
	for { // nobody gives it back
		if _, err := f.LeaseKey(ctx, mine, time.Minute); err == nil {
			break
		} else if !errors.Is(err, queue.ErrKeyLeased) {
			t.Fatal(err)
		}
	}
	if held := time.Since(second.Since); held < time.Second {
		t.Errorf("the lease was over after %s, want 1s or more", held)
	}
	if err := second.Release(ctx); err == nil {
		t.Error("a lease that is another's by now was given back")
	}
}
