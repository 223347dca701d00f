package queue_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/queue/queuetest"
)

func shortLease(c *queue.Config) {
	c.AckWait = time.Second
	c.RequestTimeout = 500 * time.Millisecond
}

func TestLeaseLost(t *testing.T) {
	f := queuetest.Start(t, shortLease)
	dispatch(t, f.Queue, "e", 1, messages.Fresh)
	loads := openLoads(t, f.Queue)
	d := next(t, loads)
	f.StopServer(t)
	select {
	case <-d.Context().Done():
	case <-within(t, 5*time.Second).Done():
		t.Fatal("the context outlived the lease")
	}
	if cause := context.Cause(d.Context()); !errors.Is(cause, queue.ErrLeaseLost) {
		t.Errorf("cause: got %v, want ErrLeaseLost", cause)
	}
	f.StartServer(t)
	if err := d.Retry(t.Context(), time.Hour); !errors.Is(err, queue.ErrLeaseLost) {
		t.Errorf("retry after the lease: got %v, want ErrLeaseLost", err)
	}
	again := next(t, loads)
	if err := again.Done(t.Context(), loadedOutcome(again)); err != nil {
		t.Fatal(err)
	}
}

func TestDeliveryIsKeptAlive(t *testing.T) {
	t.Parallel()
	f := queuetest.Start(t, shortLease)
	dispatch(t, f.Queue, "e", 1, messages.Fresh)
	loads := openLoads(t, f.Queue)
	d := next(t, loads)
	// Another worker waits for more than two leases and gets nothing.
	ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
	defer cancel()
	if other, err := openLoads(t, f.Connect(t)).Next(ctx); err == nil {
		t.Errorf("a held load was delivered again, attempt %d", other.Attempt)
	} else if !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if d.Context().Err() != nil {
		t.Errorf("lease: got %v, want it held", context.Cause(d.Context()))
	}
	if err := d.Done(t.Context(), loadedOutcome(d)); err != nil {
		t.Error(err)
	}
}

func TestP1DeadHolder(t *testing.T) {
	f := queuetest.Start(t, shortLease)
	dispatch(t, f.Queue, "e", 1, messages.Fresh)
	other := f.Connect(t)
	d := next(t, openLoads(t, other))
	if err := other.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if cause := context.Cause(d.Context()); !errors.Is(cause, queue.ErrClosed) {
		t.Errorf("cause: got %v, want ErrClosed", cause)
	}
	if again := next(t, openLoads(t, f.Queue)); again.Attempt != 2 {
		t.Errorf("attempt: got %d, want 2", again.Attempt)
	}
}

func TestP1NextThroughRestart(t *testing.T) {
	t.Parallel()
	f := queuetest.Start(t)
	loads := openLoads(t, f.Queue)
	ctx := within(t, 20*time.Second)
	type result struct {
		d   *queue.LoadDelivery
		err error
	}
	got := make(chan result)
	for range 4 {
		go func() {
			d, err := loads.Next(ctx)
			got <- result{d, err}
		}()
	}
	for {
		status, err := f.Status(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if status.Lanes[0].Waiting > 0 {
			break
		}
	}
	f.StopServer(t)
	f.StartServer(t)
	dispatch(t, f.Queue, "e", 4, messages.Fresh)
	seen := map[string]bool{}
	for range 4 {
		r := <-got
		if r.err != nil {
			t.Fatal(r.err)
		}
		if seen[r.d.ID] {
			t.Errorf("load %s came twice", r.d.ID)
		}
		seen[r.d.ID] = true
		if err := r.d.Done(ctx, loadedOutcome(r.d)); err != nil {
			t.Error(err)
		}
	}
}

func TestNextEnds(t *testing.T) {
	f := queuetest.Start(t)
	loads, err := f.Loads(t.Context(), queue.LoadsConfig{})
	if err != nil {
		t.Fatal(err)
	}
	stopped := errors.New("stopped")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stopped)
	if _, err := loads.Next(ctx); !errors.Is(err, stopped) {
		t.Errorf("next with an ended context: got %v, want its cause", err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := loads.Next(t.Context())
		ended <- err
	}()
	loads.Close()
	if err := <-ended; !errors.Is(err, queue.ErrClosed) {
		t.Errorf("next of closed loads: got %v, want ErrClosed", err)
	}
}

// TestFew: a caller that has room for several gets what there is, of one lane,
// the most urgent first.
func TestFew(t *testing.T) {
	f := queuetest.Start(t)
	dispatch(t, f.Queue, "old", 3, messages.Backfill)
	dispatch(t, f.Queue, "new", 5, messages.Fresh)
	loads := openLoads(t, f.Queue)
	var got []string
	for range 3 {
		few, err := loads.Few(t.Context(), 4)
		if err != nil {
			t.Fatal(err)
		}
		said := fmt.Sprint(len(few))
		for _, d := range few {
			said += " " + string(d.Lane)
			must(t, "done", d.Done(t.Context(), loadedOutcome(d)))
		}
		got = append(got, said)
	}
	want := []string{"4 fresh fresh fresh fresh", "1 fresh", "3 backfill backfill backfill"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("few (-want +got):\n%s", d)
	}
}

func TestP6DelayedLoadsHoldNobodyUp(t *testing.T) {
	t.Parallel()
	const parked, healthy = 300, 50
	f := queuetest.Start(t)
	dispatch(t, f.Queue, "parked", parked, messages.Fresh)
	loads := openLoads(t, f.Queue)
	for range parked {
		if err := next(t, loads).Retry(t.Context(), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	dispatch(t, f.Queue, "healthy", healthy, messages.Fresh)
	var workers sync.WaitGroup
	var ended atomic.Int32
	for range 8 {
		workers.Go(func() {
			for {
				d, err := loads.Next(t.Context())
				if err != nil {
					return
				}
				if err := d.Done(t.Context(), loadedOutcome(d)); err != nil {
					t.Error(err)
				}
				if ended.Add(1) == healthy {
					loads.Close()
				}
			}
		})
	}
	workers.Wait()
	if left := loadsLeft(t, f.Queue); left != parked {
		t.Errorf("loads left: got %d, want the %d parked ones", left, parked)
	}
}

// What the server sends to a pull that nobody waits for any more is given back:
// the next one need not wait for its lease to run out.
func TestClosedPullGivesBack(t *testing.T) {
	f := queuetest.Start(t)
	other := f.Connect(t)
	for n := range 50 {
		commits, err := f.Commits(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() {
			_, err := commits.Next(t.Context())
			ended <- err
		}()
		for open := 0; open == 0; {
			s, err := f.Status(within(t, 10*time.Second))
			if err != nil {
				t.Fatal(err)
			}
			open = s.Commits.Waiting
		}
		closed := make(chan struct{})
		go func() {
			commits.Close() // while the server sends
			close(closed)
		}()
		extract(t, other, "ws", fmt.Sprintf("e%d", n), 0)
		<-closed
		if err := <-ended; err == nil {
			continue // it was quicker
		} else if !errors.Is(err, queue.ErrClosed) {
			t.Fatalf("next of closed commits: got %v, want ErrClosed", err)
		}
		if err := nextCommit(t, other).Done(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
