package worker_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/storage/storagetest"
	"github.com/loadfleet/loadfleet/worker"
)

// crew is what the fleet's processes say of themselves, as an operator hears it.
type crew struct {
	*rig
	*queue.Presences
}

func (r *rig) crew() *crew {
	r.t.Helper()
	p, err := r.Presences(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(p.Close)
	return &crew{r, p}
}

// until waits for the only worker to be as wanted.
func (c *crew) until(what string, wanted func(p messages.Presence) bool) messages.Presence {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
	defer cancel()
	all, err := c.Await(ctx, func(all []messages.Presence) bool { return len(all) == 1 && wanted(all[0]) })
	if err != nil {
		c.t.Fatalf("no worker is %s: %+v", what, all)
	}
	return all[0]
}

func (c *crew) gone() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
	defer cancel()
	if all, err := c.Await(ctx, func(all []messages.Presence) bool { return len(all) == 0 }); err != nil {
		c.t.Fatalf("there are still %+v", all)
	}
}

// instruct tells the worker, and waits until it says that it obeys.
func (c *crew) instruct(what messages.Instruction, drain ...string) messages.Presence {
	c.t.Helper()
	said, err := c.Instruct(c.t.Context(), messages.RoleWorker, "w", what, drain, "ann@desk")
	if err != nil {
		c.t.Fatal(err)
	}
	return c.until(string(what)+"d", func(p messages.Presence) bool { return p.Operation == said.Operation })
}

// A worker that is paused keeps the load that it has and takes no other, also
// after it was started again under its name; resumed, it goes on. No attempt is
// counted.
func TestPausedWorker(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	fleet := r.crew()
	r.proxy.Inject(storagetest.PutObject, storagetest.SlowDown.After(300*time.Millisecond), 1)
	stop := r.start(func(c *worker.Config) { c.Slots = 1 })
	held := r.publish(spec{name: "held"})
	r.proxy.Await(within(t, 10*time.Second), t, storagetest.PutObject, 1)
	if p := fleet.instruct(messages.InstructPause); p.State != messages.ProcessPaused {
		t.Fatalf("the worker says that it is %s", p.State)
	}
	waits := r.publish(spec{name: "waits"})
	if o := r.outcome(held); o.Result != messages.Loaded {
		t.Errorf("the load that it had: got %+v", o)
	}
	idle := fleet.until("idle", func(p messages.Presence) bool { return p.InFlight == 0 && p.Loads == 1 && p.Reserved == 0 })
	if idle.Rows != 20 || idle.Bytes == 0 || idle.EncodeSeconds <= 0 || idle.PutSeconds < 0.3 || idle.Name != "w" || idle.Slots != 1 {
		t.Errorf("it says of itself %+v", idle)
	}
	stop()
	fleet.gone()

	stop = r.start(func(c *worker.Config) { c.Slots = 1 })
	again := fleet.until("paused", func(p messages.Presence) bool { return p.State == messages.ProcessPaused })
	if again.Instance == idle.Instance {
		t.Error("two starts of a worker are one instance")
	}
	status, err := r.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := status.Lanes[0]; got.Pending+uint64(got.InFlight) != 1 {
		t.Errorf("while the worker is paused: got %+v, want one load that waits", got)
	}
	fleet.instruct(messages.InstructResume)
	if o := r.outcome(waits); o.Result != messages.Loaded || o.Attempts != 1 {
		t.Errorf("the load that waited: got %+v, want it loaded at the first attempt", o)
	}
	stop()
	r.expectIdle()
}

// A worker that is drained finishes what it can within the grace, gives the
// rest back without an attempt, and ends well; one started again under its name
// takes loads.
func TestDrainedWorker(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	fleet := r.crew()
	r.proxy.Inject(storagetest.PutObject, storagetest.AnswersTooLate, storagetest.Always)
	stop := r.start(func(c *worker.Config) { c.Grace = 100 * time.Millisecond })
	var loads []*messages.Load
	for n := range 3 {
		loads = append(loads, r.publish(spec{name: fmt.Sprintf("load-%d", n)}))
	}
	r.proxy.Await(within(t, 10*time.Second), t, storagetest.PutObject, 2)
	running := fleet.until("at work", func(p messages.Presence) bool { return p.InFlight == 2 })
	if _, err := r.Instruct(t.Context(), messages.RoleWorker, "w", messages.InstructDrain, []string{"of-another"}, "me"); err != nil {
		t.Fatal(err)
	}
	if p := fleet.until("told", func(p messages.Presence) bool { return p.Operation != "" }); p.State != messages.ProcessRunning {
		t.Errorf("a drain of another: the worker is %s", p.State)
	}
	if _, err := r.Instruct(t.Context(), messages.RoleWorker, "w", messages.InstructDrain, []string{running.Instance}, "me"); err != nil {
		t.Fatal(err)
	}
	fleet.gone()
	stop() // it has ended by itself, and well
	r.proxy.Heal()
	stop = r.start()
	for _, l := range loads {
		if o := r.outcome(l); o.Result != messages.Loaded || o.Attempts != 1 {
			t.Errorf("outcome: got %+v, want it loaded at the first attempt", o)
		}
	}
	stop()
	r.expectIdle()
}
