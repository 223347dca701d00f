package queue_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/queue/queuetest"
)

// obeyed collects what a process is told.
func obeyed(t *testing.T, q *queue.Queue, name string) <-chan *messages.Control {
	t.Helper()
	told := make(chan *messages.Control, 100)
	ctx, end := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		q.Obey(ctx, messages.RoleWorker, name, func(c *messages.Control) { told <- c })
	})
	t.Cleanup(func() {
		end()
		done.Wait()
	})
	return told
}

func told(ctx context.Context, t *testing.T, all <-chan *messages.Control, want *messages.Control) {
	t.Helper()
	for {
		select {
		case c := <-all:
			if c.Operation == want.Operation {
				return
			}
		case <-ctx.Done():
			t.Fatalf("the process was not told %s", want.Instruction)
		}
	}
}

// An instruction reaches the process that runs, the one that starts later, and
// the one that was cut off; all of them are on record.
func TestControl(t *testing.T) {
	t.Parallel()
	f := queuetest.Start(t)
	ctx := within(t, 30*time.Second)
	instruct := func(name string, what messages.Instruction, drain ...string) *messages.Control {
		t.Helper()
		c, err := f.Instruct(ctx, messages.RoleWorker, name, what, drain, "ann@desk")
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if c, err := f.Control(ctx, messages.RoleWorker, "w.1"); c != nil || err != nil {
		t.Fatalf("before any: got %+v, %v, want none", c, err)
	}
	cutOff := f.Connect(t)
	running := obeyed(t, cutOff, "w.1")
	told(ctx, t, running, instruct("w.1", messages.InstructPause))
	drained := instruct("w.1", messages.InstructDrain, "a", "b")
	if !drained.Paused {
		t.Error("a drain took the pause back")
	}
	told(ctx, t, running, drained)
	told(ctx, t, obeyed(t, f.Connect(t), "w.1"), drained)

	f.StopServer(t)
	f.StartServer(t)
	told(ctx, t, running, instruct("w.1", messages.InstructResume))
	instruct("other", messages.InstructPause)

	var record []messages.Instruction
	for c, err := range f.ControlAudit(ctx, "w.1") {
		if err != nil {
			t.Fatal(err)
		}
		if c.By != "ann@desk" || time.Since(c.Time) > time.Minute {
			t.Errorf("record: got by %s at %s", c.By, c.Time)
		}
		record = append(record, c.Instruction)
	}
	if len(record) != 3 || record[0] != messages.InstructPause || record[1] != messages.InstructDrain || record[2] != messages.InstructResume {
		t.Errorf("record: got %v, want pause, drain, resume", record)
	}
	stands := map[string]bool{}
	for c, err := range f.Controls(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		stands[c.Name] = c.Paused
	}
	if len(stands) != 2 || stands["w.1"] || !stands["other"] {
		t.Errorf("paused: got %v, want only the other one", stands)
	}
}

// Operators who speak at a time end in one of their instructions, the same for
// the stream and for the process.
func TestControlByManyAtOnce(t *testing.T) {
	t.Parallel()
	f := queuetest.Start(t)
	ctx := within(t, 30*time.Second)
	all := obeyed(t, f.Connect(t), "w")
	var operators sync.WaitGroup
	for n := range 8 {
		q := f.Connect(t)
		operators.Go(func() {
			what := []messages.Instruction{messages.InstructPause, messages.InstructResume}[n%2]
			if _, err := q.Instruct(ctx, messages.RoleWorker, "w", what, nil, "me"); err != nil {
				t.Error(err)
			}
		})
	}
	operators.Wait()
	stands, err := f.Control(ctx, messages.RoleWorker, "w")
	if err != nil {
		t.Fatal(err)
	}
	told(ctx, t, all, stands)
	n := 0
	for _, err := range f.ControlAudit(ctx, "") {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 8 {
		t.Errorf("%d instructions are on record, want 8", n)
	}
}
