package queue_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue/queuetest"
)

func TestP2RacingDispatchersOnThreeServers(t *testing.T) {
	t.Parallel()
	const n = 1200
	c := queuetest.StartCluster(t)
	ctx := within(t, 60*time.Second)
	race := func() {
		t.Helper()
		var all sync.WaitGroup
		fails := make([]error, 3)
		for i := range fails {
			q := c.Connect(t)
			all.Go(func() { _, fails[i] = tryDispatch(ctx, q, "e", "plan", n, messages.Fresh) })
		}
		all.Wait()
		if err := errors.Join(fails...); err != nil {
			t.Fatal(err)
		}
	}
	c.StopServer(1) // two of three go on
	race()
	c.StartServer(t, 1)
	c.AwaitHealthy(t, 1)
	c.StopServer(0)
	loads := openLoads(t, c.Queue)
	for range 20 {
		d := next(t, loads)
		if err := d.Done(ctx, loadedOutcome(d)); err != nil {
			t.Fatal(err)
		}
	}
	c.StartServer(t, 0)
	c.AwaitHealthy(t, 0)
	race()
	if left := loadsLeft(t, c.Queue); left != n-20 {
		t.Errorf("loads left: got %d, want %d", left, n-20)
	}
}
