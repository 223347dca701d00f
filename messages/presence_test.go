package messages_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/loadfleet/loadfleet/messages"
)

func TestPresenceRoundTrip(t *testing.T) {
	want := &messages.Presence{
		Version: 1, Role: messages.RoleWorker, Name: "host.example-1", Instance: "I1", Program: "v1", Host: "h",
		Started: time.Date(2024, 6, 18, 12, 0, 0, 0, time.UTC), State: messages.ProcessPaused, Operation: "O1",
		InFlight: 3, Slots: 16, Memory: 256, Reserved: 12, Extractions: 9, Loads: 8, Rows: 7, Bytes: 6,
		DecodeSeconds: 0.5, EncodeSeconds: 1.5, PutSeconds: 2.5, Breakers: 1, Refusing: []string{"acme"},
	}
	body, err := messages.EncodePresence(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := messages.ParsePresence(body)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("read back (-want +got):\n%s", d)
	}
}

// A process's name may be anything that a host is called: it never adds a level
// to a subject.
func TestProcessSubjects(t *testing.T) {
	for name, want := range map[string]string{
		"worker-1":     "worker-1",
		"a.b>c* d":     "a%2Eb%3Ec%2A%20d",
		"w\n1":         "w%0A1",
		"presence.x.y": "presence%2Ex%2Ey",
	} {
		c := &messages.Control{Name: name, Operation: "O1"}
		for got, want := range map[string]string{
			messages.PresenceSubject(messages.RoleWorker, name): "presence.worker." + want,
			messages.ControlSubject(messages.RoleWorker, name):  "control.worker." + want,
			messages.ControlAuditSubject(c):                     "audit.fleet." + want + ".O1",
			messages.ControlAuditSubjects(name):                 "audit.fleet." + want + ".*",
		} {
			if got != want {
				t.Errorf("name %q: got subject %s, want %s", name, got, want)
			}
		}
	}
}

func TestProcessMistakes(t *testing.T) {
	presence := func(change func(*messages.Presence)) func() error {
		return func() error {
			p := &messages.Presence{Version: 1, Role: messages.RoleWorker, Name: "w", Instance: "i", State: messages.ProcessRunning}
			change(p)
			_, err := messages.EncodePresence(p)
			return err
		}
	}
	control := func(change func(*messages.Control)) func() error {
		return func() error {
			c := &messages.Control{
				Version: 1, Operation: "o", Instruction: messages.InstructPause, Role: messages.RoleWorker, Name: "w", By: "me", Time: time.Unix(1, 0),
			}
			change(c)
			_, err := messages.EncodeControl(c)
			return err
		}
	}
	for _, c := range []struct {
		name, want string // in the error; "" for none
		encode     func() error
	}{
		{"good presence", "", presence(func(*messages.Presence) {})},
		{"role", "unknown role", presence(func(p *messages.Presence) { p.Role = "king" })},
		{"no name", "cannot be the name", presence(func(p *messages.Presence) { p.Name = "" })},
		{"long name", "cannot be the name", presence(func(p *messages.Presence) { p.Name = strings.Repeat("n", 201) })},
		{"instance", "cannot be an id", presence(func(p *messages.Presence) { p.Instance = "a.b" })},
		{"no state", "state", presence(func(p *messages.Presence) { p.State = "" })},
		{"good control", "", control(func(*messages.Control) {})},
		{"instruction", "unknown instruction", control(func(c *messages.Control) { c.Instruction = "burn" })},
		{"nobody", "by", control(func(c *messages.Control) { c.By = "" })},
		{"operation", "cannot be an id", control(func(c *messages.Control) { c.Operation = "" })},
	} {
		err := c.encode()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
	if _, err := messages.ParsePresence([]byte(`{"version":1,"role":"worker","name":"w","instance":"i","state":"resting","new":1}`)); err != nil {
		t.Errorf("a state and a field of a newer program: got %v, want them passed over", err)
	}
}
