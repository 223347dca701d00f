package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/loadfleet/loadfleet/messages"
)

// An operator pauses a worker process, sees that it is paused, drains it and
// reads who did it, by the commands alone. What is said of nobody is told as such.
func TestFleetCommands(t *testing.T) {
	t.Parallel()
	f := newFleet(t, t.TempDir())
	f.up("--servers-only", "--bucket", demoBucket)
	dispatcher, worker := f.command("dispatcher", "--name", "d-1"), f.command("worker", "--name", "w.1")
	for _, p := range []*process{dispatcher, worker} {
		if err := p.err.await(t.Context(), "ready"); err != nil {
			t.Fatal(err)
		}
	}
	list := func() (r roll) {
		t.Helper()
		if err := json.Unmarshal([]byte(f.run("fleet", "list", "-o", "json")), &r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := list()
	if len(r.Processes) != 2 || r.Processes[0].Name != "d-1" || r.Processes[1].Name != "w.1" || r.Processes[1].State != messages.ProcessRunning {
		t.Fatalf("list: got %+v", r)
	}
	if out := f.run("fleet", "pause", "w.1", "--by", "ann"); !strings.Contains(out, "worker w.1: paused, it confirms") {
		t.Errorf("pause: got %q", out)
	}
	if r = list(); r.Processes[1].State != messages.ProcessPaused || len(r.Paused) != 1 || r.Paused[0].By != "ann" {
		t.Errorf("list after pause: got %+v", r)
	}
	if out := f.run("status"); !strings.Contains(out, "w.1") || !strings.Contains(out, "paused") {
		t.Errorf("status does not tell of the worker:\n%s", out)
	}
	if out := f.run("fleet", "drain", "w.1", "--by", "bob"); !strings.Contains(out, "draining, it confirms") {
		t.Errorf("drain: got %q", out)
	}
	if code := f.wait(worker); code != exitOK {
		t.Errorf("the drained worker ended with exit code %d, want 0\n%s", code, worker.err.tail())
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"fleet", "drain", "w.1"}, exitNotFound, "no worker of the name"},
		{[]string{"fleet", "pause", "nobody"}, exitBad, "no worker of the name nobody is heard: one that starts will be paused"},
		{[]string{"fleet", "pause", strings.Repeat("n", 300)}, exitUsage, "cannot be the name"},
	} {
		p := f.command(c.args...)
		if code := f.wait(p); code != c.code || !strings.Contains(p.err.text(), c.want) {
			t.Errorf("%v: exit code %d, want %d\n%s", c.args, code, c.code, p.err.tail())
		}
	}
	worker = f.command("worker", "--name", "w.1")
	if err := worker.err.await(t.Context(), "instruction"); err != nil {
		t.Fatal(err)
	}
	if r = list(); len(r.Processes) != 2 || r.Processes[1].State != messages.ProcessPaused {
		t.Errorf("list after the restart: got %+v, want it paused still", r)
	}
	if out := f.run("fleet", "resume", "w.1"); !strings.Contains(out, "running, it confirms") {
		t.Errorf("resume: got %q", out)
	}
	var record []messages.Control
	if err := json.Unmarshal([]byte(f.run("fleet", "audit", "w.1", "-o", "json")), &record); err != nil {
		t.Fatal(err)
	}
	if len(record) != 3 || record[2].By != "ann" || record[1].By != "bob" || record[0].Instruction != messages.InstructResume {
		t.Errorf("audit: got %+v", record)
	}
	f.stop(worker)
	f.stop(dispatcher)
	if out := f.run("fleet", "list"); !strings.Contains(out, "no dispatcher or worker is heard") {
		t.Errorf("list of nobody: got %q", out)
	}
}
