package queue_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/loadfleet/loadfleet/encoding"
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

// TestP1RepeatedWhileInProcess has the leader lose the other servers: what is
// published then is neither stored nor lost, and the leader refuses its
// repetition as being in process. The extractor repeats it until it is stored.
func TestP1RepeatedWhileInProcess(t *testing.T) {
	t.Parallel()
	c := queuetest.StartCluster(t)
	ctx := within(t, 60*time.Second)
	alone := c.Leader(t, "ROWS")
	others := []int{(alone + 1) % 3, (alone + 2) % 3}
	for _, i := range others {
		c.StopServer(i)
	}
	b := messages.Batch{Workspace: "ws", Extraction: "e", Ordinal: 1, Rows: 1, Format: encoding.NDJSONInput, Body: []byte("{\"n\":1}\n")}
	m := &nats.Msg{Subject: messages.RowsSubject("ws", "e"), Header: nats.Header(b.Header()), Data: b.Body}
	nc, err := nats.Connect(c.URL(alone))
	must(t, "connect", err)
	t.Cleanup(nc.Close)
	if answer, err := nc.RequestMsg(m, 500*time.Millisecond); err == nil {
		t.Fatalf("one server of three answered %s, want nothing", answer.Data)
	}
	answer, err := nc.RequestMsg(m, 5*time.Second)
	must(t, "repetition", err)
	if !strings.Contains(string(answer.Data), "10158") {
		t.Fatalf("the repetition is answered %s, want that it is in process", answer.Data)
	}
	e, err := c.Connect(t).Extract(ctx, commitOf("ws", "e"))
	must(t, "extract", err)
	must(t, "append", e.Append(ctx, b))
	for _, i := range others {
		c.StartServer(t, i)
	}
	must(t, "commit", e.Commit(ctx))
	if n := drain(t, "batches", c.Batches(ctx, "ws", "e", nil)); n != 1 {
		t.Errorf("batches: got %d, want 1", n)
	}
}
