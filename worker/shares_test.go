package worker

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// TestP6Shares lets destinations come and go: a lone one has every slot, a new
// one gets in at once, and by and by each has its share.
func TestP6Shares(t *testing.T) {
	now := time.Now()
	s := newShares(8)
	fill := func(destination string, least, most int) {
		t.Helper()
		got := 0
		for range 40 {
			if ok, again := s.enter(destination, now); ok {
				got++
			} else if again <= 0 {
				t.Errorf("%s: given back for %s", destination, again)
			}
		}
		if got < least || got > most {
			t.Errorf("%s got %d slots, want %d to %d", destination, got, least, most)
		}
	}
	leave := func(destination string) {
		for s.of[destination].inWork > 0 {
			s.left(destination, now)
		}
		now = now.Add(2 * recent)
	}
	fill("a", 8, 8) // alone
	fill("b", 4, 4) // its half, at once: in the spare slots and beyond
	s.left("a", now)
	fill("a", 0, 0) // it has more than its half
	fill("c", 2, 4)
	leave("b")
	leave("c")
	leave("a")
	fill("a", 8, 8) // alone again
	s.settings("heavy", 3, 0)
	fill("heavy", 5, 6)
	leave("heavy")
	s.settings("few", 1, 2)
	fill("few", 2, 2) // its max_concurrency
}

// TestWorthAPull: while loads end fast a pull waits for a few slots; when none
// ends, the spare ones are worth a look.
func TestWorthAPull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShares(8)
		expect := func(what string, want int, after time.Duration) {
			t.Helper()
			began := time.Now()
			if got := s.worth(t.Context()); got != want || time.Since(began) != after {
				t.Errorf("%s: worth %d after %s, want %d after %s", what, got, time.Since(began), want, after)
			}
		}
		expect("nothing is in work", 8, 0)
		for range 6 {
			s.enter("a", time.Now())
		}
		expect("as many are free as are spare", 2, 0)
		s.enter("a", time.Now())
		expect("one is free", 1, lookAhead)
		s.enter("a", time.Now())
		expect("none is free", 2, lookAhead)
		worth := make(chan int, 1)
		go func() { worth <- s.worth(t.Context()) }()
		for range 2 {
			synctest.Wait() // it waits for slots
			if len(worth) > 0 {
				t.Error("it does not wait for a few slots")
			}
			s.left("a", time.Now())
		}
		if got := <-worth; got != 2 {
			t.Errorf("two end: worth %d, want 2", got)
		}
		stopped, stop := context.WithCancel(t.Context())
		stop()
		s.enter("a", time.Now())
		if got := s.worth(stopped); got != 1 {
			t.Errorf("at a stop: worth %d, want 1", got)
		}
	})
}

// TestDeferredOnce: a load that is given back for want of a slot comes back
// about when it is its turn, not before.
func TestDeferredOnce(t *testing.T) {
	s, now := newShares(4), time.Now()
	for range 4 {
		s.enter("a", now)
	}
	for range 30 { // ten loads a second end
		now = now.Add(100 * time.Millisecond)
		s.left("a", now)
		s.enter("a", now)
	}
	var last time.Duration
	for range 200 {
		if _, again := s.enter("a", now); again > last {
			last = again
		}
	}
	if last < 3*time.Second || last > 15*time.Second {
		t.Errorf("the 200th load waits %s, want some seconds at 10 loads a second", last)
	}
}

func TestBreaker(t *testing.T) {
	now := time.Now()
	b := newBreakers(time.Second, 10*time.Second, 3)
	expect := func(what string, want passage) {
		t.Helper()
		if got, _ := b.enter("acme", now); got != want {
			t.Errorf("%s: passage %d, want %d", what, got, want)
		}
	}
	expect("nothing is known", pass)
	for i := range 2 {
		if opened, _ := b.unanswered("acme", "no answer", now); opened {
			t.Errorf("failure %d opened it", i+1)
		}
	}
	b.answered("acme")
	for range 2 {
		b.unanswered("acme", "no answer", now)
	}
	expect("two failures after a success", pass)
	opened, wait := b.unanswered("acme", "no answer", now)
	if !opened || wait <= 0 {
		t.Fatalf("three failures in a row: opened %t, probe in %s", opened, wait)
	}
	expect("open", halt)
	if _, halted := b.enter("acme", now); halted.why != "no answer" || halted.held {
		t.Errorf("why: %+v", halted)
	}
	if got, _ := b.enter("other", now); got != pass {
		t.Error("another destination is halted")
	}
	now = now.Add(wait)
	expect("the time has come", probe)
	expect("one probes", halt)
	second := b.refused("acme", "denied", "", false, now)
	if second < wait/2 {
		t.Errorf("the second probe comes in %s, the first came in %s", second, wait)
	}
	now = now.Add(second)
	expect("again", probe)
	b.undecided("acme")
	expect("the probe told nothing", probe)
	for range 10 {
		second = b.refused("acme", "paused", "", true, now)
		now = now.Add(second)
		expect("again and again", probe)
	}
	if second > 15*time.Second {
		t.Errorf("the last probe came in %s, want at most about 10 s", second)
	}
	if !b.answered("acme") || len(b.refusing()) != 0 {
		t.Error("it does not close")
	}
	expect("closed", pass)
}

// TestP9Budget: what is not there is not given out, and a load larger than all
// there is has all of it.
func TestP9Budget(t *testing.T) {
	b := newBudget(64<<20, 8<<20)
	if b.all != 32<<20 {
		t.Fatalf("%d bytes for loads", b.all)
	}
	if err := b.pull(t.Context()); err != nil {
		t.Fatal(err)
	}
	large := b.need(nil, 1<<30)
	if large != b.all-pullReserve {
		t.Errorf("a load larger than all needs %d, want %d", large, b.all-pullReserve)
	}
	if !b.grow(t.Context(), large, false) || b.bytes.TryAcquire(1) {
		t.Error("all was not given out, or more than that")
	}
	b.release(pullReserve + large)
	if !b.bytes.TryAcquire(b.all) {
		t.Error("something is missing after it was given back")
	}
}

// TestDefaultSlots: a machine of many cores has no more slots than memory.
func TestDefaultSlots(t *testing.T) {
	for _, tt := range []struct {
		memory int64
		want   int
	}{{64 << 30, 64 * runtime.GOMAXPROCS(0)}, {32 << 20, 16}, {1, 1}} {
		if got := (Config{MemoryBytes: tt.memory}).withDefaults().Slots; got != tt.want {
			t.Errorf("%d bytes: got %d slots, want %d", tt.memory, got, tt.want)
		}
	}
}
