package worker_test

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/storage/storagetest"
	"github.com/loadfleet/loadfleet/worker"
)

// expectNoGoroutines finds nothing of a worker running any more. What its owner has
// waited for may still have to return, which takes no longer than a moment.
func expectNoGoroutines(t *testing.T) {
	t.Helper()
	var all bytes.Buffer
	for limit := time.Now().Add(5 * time.Second); ; runtime.Gosched() {
		all.Reset()
		if err := pprof.Lookup("goroutine").WriteTo(&all, 1); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(all.String(), "loadfleet/worker.(*") && !strings.Contains(all.String(), "loadfleet/storage.(*") {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("goroutines are left behind:\n%s", all.String())
		}
	}
}

// TestStopWithinGrace stops a worker whose load is on its way: it ends as if
// nothing had happened, the extraction is counted as completed, and nothing
// runs any more. It is not parallel, so that all stacks are its own.
func TestStopWithinGrace(t *testing.T) {
	r := newRig(t)
	r.proxy.Inject(storagetest.PutObject, storagetest.SlowDown.After(150*time.Millisecond), 1)
	stop := r.start()
	content := rows(t, "e", 20)
	l := r.publish(spec{rows: content})
	if err := r.Publish(t.Context(), messages.Event{
		Kind: messages.EventDispatched, Workspace: workspace, Extraction: "e", Destination: "acme", Plan: &messages.Plan{Loads: 1, Rows: 20},
	}); err != nil {
		t.Fatal(err)
	}
	r.proxy.Await(within(t, 10*time.Second), t, storagetest.PutObject, 1)
	stop()
	expectNoGoroutines(t)
	r.expect(l, content)
	r.expectIdle()
	states, err := r.Extractions(t.Context(), workspace)
	if err != nil || len(states) != 1 || states[0].State != messages.EventCompleted {
		t.Errorf("extractions: got %+v, %v, want one completed", states, err)
	}
}

// TestStopBeyondGrace stops a worker whose upload does not end: it is
// cancelled and given back, and another worker has it at once, with no attempt
// counted and nothing left in the bucket.
func TestStopBeyondGrace(t *testing.T) {
	for _, size := range []int{20, 10_000} {
		r := newRig(t)
		r.proxy.Inject(storagetest.PutObject, storagetest.AnswersTooLate, storagetest.Always)
		r.proxy.Inject(storagetest.UploadPart, storagetest.AnswersTooLate, storagetest.Always)
		stop := r.start(func(c *worker.Config) { c.Grace, c.MaxAttempts = 50*time.Millisecond, 1 })
		content := rows(t, "e", size)
		l := r.publish(spec{rows: content, slices: size / 10_000})
		operation := storagetest.PutObject
		if size > 20 {
			operation = storagetest.UploadPart
		}
		r.proxy.Await(within(t, 10*time.Second), t, operation, 1)
		stop()
		expectNoGoroutines(t)
		if v := r.log.verdicts(); v["release"] != 1 || len(v) != 1 {
			t.Errorf("verdicts: got %v, want one release", v)
		}
		if text := r.log.String(); !strings.Contains(text, worker.ErrStopped.Error()) {
			t.Errorf("log: got %s, want it to name %v", text, worker.ErrStopped)
		}
		r.expectEmpty()
		r.expectNoUploads()
		r.proxy.Heal()
		released := time.Now()
		stop = r.start()
		if got := r.outcome(l); got.Result != messages.Loaded || got.Attempts != 1 {
			t.Errorf("outcome: got %+v, want it loaded at the first attempt", got)
		}
		if took := time.Since(released); took > 5*time.Second { // the lease is a minute
			t.Errorf("the next worker had the load after %s", took)
		}
		stop()
		r.expect(l, content)
	}
}

// TestStopWhileQueueIsAway has nobody to give the load back to: the stop ends
// all the same, and the load comes again when its lease is over.
func TestStopWhileQueueIsAway(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *queue.Config) { c.AckWait, c.RequestTimeout = 2*time.Second, 500*time.Millisecond })
	r.proxy.Inject(storagetest.PutObject, storagetest.AnswersTooLate, storagetest.Always)
	stop := r.start(func(c *worker.Config) { c.Grace = 10 * time.Millisecond })
	content := rows(t, "e", 20)
	l := r.publish(spec{rows: content})
	r.proxy.Await(within(t, 10*time.Second), t, storagetest.PutObject, 1)
	r.StopServer(t)
	began := time.Now()
	stop()
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("the stop took %s", took)
	}
	r.StartServer(t)
	r.proxy.Heal()
	r.start()
	if got := r.outcome(l); got.Result != messages.Loaded {
		t.Errorf("outcome: got %+v, want it loaded", got)
	}
	r.expect(l, content)
}

// TestLeaseLost takes the queue away for longer than a lease while a file is
// sent: the upload is cancelled and says nothing; the next delivery loads it.
func TestLeaseLost(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *queue.Config) { c.AckWait, c.RequestTimeout = time.Second, 500*time.Millisecond })
	r.proxy.Inject(storagetest.PutObject, storagetest.AnswersTooLate, storagetest.Always)
	stop := r.start()
	content := rows(t, "e", 20)
	l := r.publish(spec{rows: content})
	r.proxy.Await(within(t, 10*time.Second), t, storagetest.PutObject, 1)
	r.StopServer(t)
	r.log.await(t, 1, "release")
	if text := r.log.String(); !strings.Contains(text, queue.ErrLeaseLost.Error()) {
		t.Errorf("log: got %s, want it to name %v", text, queue.ErrLeaseLost)
	}
	r.expectEmpty()
	r.proxy.Heal()
	r.StartServer(t)
	if got := r.outcome(l); got.Result != messages.Loaded || got.Attempts != 1 {
		t.Errorf("outcome: got %+v, want it loaded at the first attempt", got)
	}
	stop()
	if v := r.log.verdicts(); v["release"] != 1 || v["loaded"] != 1 || len(v) != 2 {
		t.Errorf("verdicts: got %v, want one release and one loaded", v)
	}
	r.expect(l, content)
}

// TestQueueClosed ends Run with an error instead of leaving it idle.
func TestQueueClosed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	q := r.Connect(t)
	w := worker.New(q, r.keyring, worker.Config{Slots: 2, Grace: time.Millisecond}, zap.New(r.log))
	ended := make(chan error, 1)
	go func() { ended <- w.Run(context.Background()) }()
	r.outcome(r.publish(spec{}))
	if err := q.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, queue.ErrClosed) {
			t.Errorf("run: got %v, want %v", err, queue.ErrClosed)
		}
	case <-within(t, 10*time.Second).Done():
		t.Error("run outlived its queue")
	}
}

// TestStoppedWhileItStarts: a stop that comes before the lanes are open is a stop, not a failure.
func TestStoppedWhileItStarts(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := worker.New(r.Queue, r.keyring, worker.Config{}, zap.NewNop()).Run(ctx); err != nil {
		t.Errorf("run: got %v, want nil", err)
	}
}
