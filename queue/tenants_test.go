package queue_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/queue/queuetest"
)

// forbidden is what a role or another workspace's extractor would do to harm.
var forbidden = []struct {
	name, who, publish, subscribe string
}{
	{"worker publishes rows", queuetest.Worker, "rows.ws.e", ""},
	{"worker commits", queuetest.Worker, "commit.ws.e", ""},
	{"worker commits anew", queuetest.Worker, "recommit.ws.e.1", ""},
	{"worker makes a load", queuetest.Worker, "load.fresh.acme.e.l", ""},
	{"worker marks as dispatched", queuetest.Worker, "dispatched.ws.e.0", ""},
	{"worker says failed", queuetest.Worker, "event.ws.e.failed", ""},
	{"worker changes a destination", queuetest.Worker, "$KV.destinations.acme", ""},
	{"worker deletes a stream", queuetest.Worker, "$JS.API.STREAM.DELETE.LOADS", ""},
	{"worker purges loads", queuetest.Worker, "$JS.API.STREAM.PURGE.LOADS", ""},
	{"worker deletes its consumer", queuetest.Worker, "$JS.API.CONSUMER.DELETE.LOADS.loads-fresh", ""},
	{"worker changes its consumer", queuetest.Worker, "$JS.API.CONSUMER.CREATE.LOADS.loads-fresh.load.fresh.>", ""},
	{"worker takes commits", queuetest.Worker, "$JS.API.CONSUMER.MSG.NEXT.COMMITS.dispatcher", ""},
	{"worker changes a destination", queuetest.Worker, "$KV.destinations.acme", ""},
	{"dispatcher lists destinations", queuetest.Dispatcher, "$JS.API.CONSUMER.CREATE.KV_destinations.x.$KV.destinations.>", ""},
	{"worker buries a commit", queuetest.Worker, "dead.dispatch.acme.e", ""},
	{"worker hears answers to others", queuetest.Worker, "", "_INBOX_dispatcher.>"},
	{"worker hears everything", queuetest.Worker, "", ">"},
	{"worker hears rows", queuetest.Worker, "", "rows.*.*"},

	{"dispatcher publishes rows", queuetest.Dispatcher, "rows.ws.e", ""},
	{"dispatcher commits", queuetest.Dispatcher, "commit.ws.e", ""},
	{"dispatcher dates a commit", queuetest.Dispatcher, "recommit.ws.e.1", ""},
	{"dispatcher tells an outcome", queuetest.Dispatcher, "event.ws.e.outcome.l", ""},
	{"dispatcher changes a destination", queuetest.Dispatcher, "$KV.destinations.acme", ""},
	{"dispatcher takes loads", queuetest.Dispatcher, "$JS.API.CONSUMER.MSG.NEXT.LOADS.loads-fresh", ""},
	{"dispatcher settles loads", queuetest.Dispatcher, "$JS.ACK.LOADS.loads-fresh.1.1.1.1.0", ""},
	{"dispatcher deletes a stream", queuetest.Dispatcher, "$JS.API.STREAM.DELETE.ROWS", ""},
	{"dispatcher purges loads", queuetest.Dispatcher, "$JS.API.STREAM.PURGE.LOADS", ""},
	{"dispatcher deletes commits", queuetest.Dispatcher, "$JS.API.STREAM.MSG.DELETE.COMMITS", ""},
	{"dispatcher hears answers to others", queuetest.Dispatcher, "", "_INBOX_operator.>"},

	{"operator publishes rows", queuetest.Operator, "rows.ws.e", ""},
	{"operator commits", queuetest.Operator, "commit.ws.e", ""},
	{"operator makes a fresh load", queuetest.Operator, "load.fresh.acme.e.l", ""},
	{"operator tells an outcome", queuetest.Operator, "event.ws.e.outcome.l", ""},
	{"operator deletes a stream", queuetest.Operator, "$JS.API.STREAM.DELETE.DEAD", ""},
	{"operator changes a stream", queuetest.Operator, "$JS.API.STREAM.UPDATE.DEAD", ""},
	{"operator purges dead letters", queuetest.Operator, "$JS.API.STREAM.PURGE.DEAD", ""},

	{"console replays", queuetest.Console, "load.replay.acme.e.l", ""},
	{"console commits anew", queuetest.Console, "recommit.ws.e.1", ""},
	{"console discards", queuetest.Console, "$JS.API.STREAM.MSG.DELETE.DEAD", ""},
	{"console changes a destination", queuetest.Console, "$KV.destinations.acme", ""},
	{"console notes a destination's change", queuetest.Console, "audit.destination.acme.o", ""},
	{"console tells an event", queuetest.Console, "event.ws.e.completed", ""},

	{"provisioner deletes a stream", queuetest.Provisioner, "$JS.API.STREAM.DELETE.ROWS", ""},
	{"provisioner reads destinations", queuetest.Provisioner, "$JS.API.DIRECT.GET.KV_destinations.$KV.destinations.acme", ""},
	{"provisioner reads rows", queuetest.Provisioner, "$JS.API.CONSUMER.CREATE.ROWS.x.rows.*.*", ""},
	{"provisioner publishes rows", queuetest.Provisioner, "rows.ws.e", ""},

	{"extractor publishes another's rows", "other", "rows.ws.e", ""},
	{"extractor commits another's extraction", "other", "commit.ws.e", ""},
	{"extractor dates its commit", "other", "recommit.other.e.1", ""},
	{"extractor makes a load", "other", "load.fresh.acme.e.l", ""},
	{"extractor tells its own event", "other", "event.other.e.completed", ""},
	{"extractor asks for another's event", "other", "$JS.API.DIRECT.GET.EVENTS.event.ws.e.completed", ""},
	{"extractor asks for everyone's events", "other", "$JS.API.DIRECT.GET.EVENTS.event.*.e.completed", ""},
	{"extractor hears another's events", "other", "", "event.ws.>"},
	{"extractor hears everyone's events", "other", "", "event.>"},
}

func TestP11Forbidden(t *testing.T) {
	s := queuetest.StartSecured(t, "ws", "other")
	must(t, "provision", s.Connect(t, queuetest.Provisioner).Provision(within(t, 10*time.Second)))
	before := standing(t, s)
	clients := map[string]*nats.Conn{}
	for _, who := range append(queuetest.Roles(), "other") {
		clients[who] = s.Attack(t, who, nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	}
	for _, test := range forbidden {
		t.Run(test.name, func(t *testing.T) {
			nc, refused := clients[test.who], len(s.Violations())
			if test.publish != "" {
				must(t, "publish", nc.PublishRequest(test.publish, nc.NewInbox(), []byte("{}")))
			} else if _, err := nc.SubscribeSync(test.subscribe); err != nil {
				t.Fatal(err)
			}
			must(t, "flush", nc.FlushTimeout(5*time.Second)) // what came before it is judged
			violations := s.Violations()[refused:]
			if len(violations) != 1 || !strings.Contains(violations[0], `"`+test.publish+test.subscribe+`"`) {
				t.Errorf("got violations %q, want one of %s%s", violations, test.publish, test.subscribe)
			}
		})
	}
	if diff := cmp.Diff(before, standing(t, s)); diff != "" {
		t.Errorf("what stands on the streams (-before +after):\n%s", diff)
	}
}

// standing is how many messages each stream holds.
func standing(t *testing.T, s *queuetest.Secured) map[string]uint64 {
	t.Helper()
	status, err := s.Connect(t, queuetest.Operator).Status(within(t, 10*time.Second))
	must(t, "status", err)
	counts := map[string]uint64{}
	for _, stream := range status.Streams {
		counts[stream.Name] = stream.Messages
	}
	return counts
}

// TestP11AccountsAreTheWall gives an extractor every permission in its own
// account: what it may not do is then held by the account alone.
func TestP11AccountsAreTheWall(t *testing.T) {
	s := queuetest.StartSecured(t, "ws", "loose")
	s.Unbind(t, "loose")
	s.Restart(t)
	must(t, "provision", s.Connect(t, queuetest.Provisioner).Provision(within(t, 10*time.Second)))
	dispatcher := s.Connect(t, queuetest.Dispatcher)
	tell := func(workspace string) {
		must(t, "event", dispatcher.Publish(within(t, 5*time.Second), messages.Event{
			Kind: messages.EventAccepted, Workspace: workspace, Extraction: "e",
		}))
	}
	tell("ws")
	before := standing(t, s)
	nc := s.Attack(t, "loose")
	everything, err := nc.SubscribeSync("event.>")
	must(t, "subscribe", err)

	for _, subject := range []string{
		"rows.ws.e", "commit.ws.e", "rows.*.e", "rows.>", "recommit.loose.e.1", "recommit.ws.e.1", "load.fresh.acme.e.l",
		"slice.e.l.1", "dispatched.ws.e.0", "event.ws.e.completed", "event.loose.e.completed", "dead.load.acme.l",
		"$KV.destinations.acme", "$JS.API.STREAM.DELETE.ROWS", "$JS.API.STREAM.INFO.ROWS", "$JS.API.STREAM.NAMES", "$JS.API.INFO",
		"$JS.API.CONSUMER.CREATE.EVENTS.x.event.loose.>", "$JS.API.CONSUMER.MSG.NEXT.LOADS.loads-fresh", "$JS.ACK.LOADS.loads-fresh.1.1.1.1.0",
		"$JS.API.DIRECT.GET.EVENTS", "$JS.API.DIRECT.GET.EVENTS.event.ws.e.accepted", "$JS.API.DIRECT.GET.EVENTS.event.*.e.accepted",
		"$JS.API.DIRECT.GET.EVENTS.event.>", "$SYS.REQ.SERVER.PING", "$SYS.REQ.ACCOUNT.PING.CONNZ.FLEET",
	} {
		t.Run(subject, func(t *testing.T) {
			m, err := nc.RequestWithContext(within(t, 300*time.Millisecond), subject, []byte(`{"last_by_subj":"event.ws.e.accepted"}`))
			if m != nil && !refused(m) {
				t.Errorf("got answer %q %v, %v", m.Data, m.Header, err)
			}
		})
	}
	// The message is stored where it belongs; the server's acknowledgement
	// comes back to the account and goes nowhere else.
	for n, reply := range []string{"load.fresh.acme.e.l", "commit.ws.e", "rows.ws.e", "event.ws.e.failed", "$KV.destinations.acme", "$JS.API.STREAM.DELETE.ROWS"} {
		b := messages.Batch{Workspace: "loose", Extraction: "e", Ordinal: n + 1}
		must(t, "publish", nc.PublishMsg(&nats.Msg{Subject: "rows.loose.e", Reply: reply, Header: nats.Header(b.Header())}))
	}
	for _, to := range []string{"load.fresh.acme.e.l", "rows.ws.e"} { // a trace of the message goes there
		must(t, "publish", nc.PublishMsg(&nats.Msg{Subject: "rows.loose.e", Header: nats.Header{"Nats-Trace-Dest": {to}}}))
	}
	m, err := nc.RequestWithContext(within(t, 5*time.Second), "rows.loose.e", nil) // comes after them
	if err != nil || !strings.Contains(string(m.Data), `"seq":9`) {
		t.Errorf("ninth batch: got %+v, %v", m, err)
	}
	want := before
	want["ROWS"] += 9
	if diff := cmp.Diff(want, standing(t, s)); diff != "" {
		t.Errorf("what stands on the streams (-want +got):\n%s", diff)
	}

	tell("ws")
	tell("loose")
	for { // what it published itself it hears in its own account
		m, err := everything.NextMsg(5 * time.Second)
		must(t, "hear an event", err)
		if e, err := messages.ParseEvent(m.Data); err == nil {
			if e.Workspace != "loose" {
				t.Errorf("heard an event of workspace %s", e.Workspace)
			}
			break
		}
	}
}

// TestP11HostileHeaders publishes on an extractor's own subjects with headers
// that make the server do more than store.
func TestP11HostileHeaders(t *testing.T) {
	s := queuetest.StartSecured(t, "ws", "other")
	must(t, "provision", s.Connect(t, queuetest.Provisioner).Provision(within(t, 10*time.Second)))
	dispatcher := s.Connect(t, queuetest.Dispatcher)
	for _, workspace := range []string{"ws", "other"} {
		must(t, "event", dispatcher.Publish(within(t, 5*time.Second), messages.Event{
			Kind: messages.EventAccepted, Workspace: workspace, Extraction: "e",
		}))
	}
	extract(t, s.Connect(t, "ws"), "ws", "e", 2)
	before := standing(t, s)
	nc := s.Attack(t, "other")
	headers := []struct {
		name   string
		header map[string]string
	}{
		{"roll the stream up", map[string]string{"Nats-Rollup": "all"}},
		{"roll a subject up", map[string]string{"Nats-Rollup": "sub"}},
		{"expire", map[string]string{"Nats-TTL": "1s"}},
		{"schedule elsewhere", map[string]string{"Nats-Schedule": "@at 2020-01-01T00:00:00Z", "Nats-Schedule-Target": "rows.ws.e"}},
		{"batch", map[string]string{"Nats-Batch-Id": "b", "Nats-Batch-Sequence": "1", "Nats-Batch-Commit": "1"}},
		{"count", map[string]string{"Nats-Incr": "1"}},
	}
	for _, test := range headers {
		t.Run(test.name, func(t *testing.T) {
			m := &nats.Msg{Subject: "rows.other.e", Header: nats.Header{}, Data: []byte("{}")}
			for name, value := range test.header {
				m.Header.Set(name, value)
			}
			answer, err := nc.RequestMsgWithContext(within(t, 5*time.Second), m)
			must(t, "publish", err)
			if !refused(answer) {
				t.Errorf("got answer %s, want a refusal", answer.Data)
			}
		})
	}
	// Direct Get by subject takes no other question in its body.
	for _, body := range []string{`{"last_by_subj":"event.ws.e.accepted"}`, `{"seq":1}`, `{"multi_last":["event.>"]}`, `{"next_by_subj":"event.>","batch":9}`} {
		m, err := nc.RequestWithContext(within(t, 5*time.Second), "$JS.API.DIRECT.GET.EVENTS.event.other.e.accepted", []byte(body))
		if err != nil || m.Header.Get("Status") != "408" || len(m.Data) > 0 {
			t.Errorf("%s: got %q %v, %v, want status 408", body, m.Data, m.Header, err)
		}
	}
	if diff := cmp.Diff(before, standing(t, s)); diff != "" {
		t.Errorf("what stands on the streams (-want +got):\n%s", diff)
	}
	if n := drain(t, "batches", dispatcher.Batches(within(t, 5*time.Second), "ws", "e", nil)); n != 2 {
		t.Errorf("batches of the other workspace: got %d, want 2", n)
	}
}

// refused reports whether an answer says that nobody listens, or comes from
// the JetStream that the account does not have.
func refused(m *nats.Msg) bool {
	return len(m.Data) == 0 && m.Header.Get("Status") == "503" || strings.Contains(string(m.Data), `"error":`)
}

// TestP11ForeignMessageIDs: message ids are compared over a whole stream. One
// who can name another's next batch or commit must not make it a duplicate.
func TestP11ForeignMessageIDs(t *testing.T) {
	s := queuetest.StartSecured(t, "ws", "other")
	must(t, "provision", s.Connect(t, queuetest.Provisioner).Provision(within(t, 10*time.Second)))
	nc := s.Attack(t, "other")
	for subject, id := range map[string]string{"rows.other.e": "ws/e/1", "commit.other.e": "ws/e/commit"} {
		m := &nats.Msg{Subject: subject, Header: nats.Header{}}
		m.Header.Set(messages.HeaderMsgID, id)
		_, err := nc.RequestMsgWithContext(within(t, 5*time.Second), m)
		must(t, "publish", err)
	}
	extract(t, s.Connect(t, "ws"), "ws", "e", 1)
	counts := standing(t, s)
	if counts["ROWS"] != 2 || counts["COMMITS"] != 2 {
		t.Errorf("got %d batches and %d commits, want 2 of each: the victim's was dropped", counts["ROWS"], counts["COMMITS"])
	}
}

// TestSecuredCluster takes an extraction through the three servers of
// cluster.conf, each role with its own credentials.
func TestSecuredCluster(t *testing.T) {
	s := queuetest.StartSecuredCluster(t, "ws")
	three := func(c *queue.Config) { c.Topology.Replicas = 3 }
	must(t, "provision", s.Connect(t, queuetest.Provisioner, three).Provision(within(t, 20*time.Second)))
	dispatcher, worker := s.Connect(t, queuetest.Dispatcher), s.Connect(t, queuetest.Worker)
	extract(t, s.Connect(t, "ws"), "ws", "e", 2)
	commit := nextCommit(t, dispatcher)
	if n := drain(t, "batches", dispatcher.Batches(within(t, 10*time.Second), "ws", "e", nil)); n != 2 {
		t.Errorf("batches: got %d, want 2", n)
	}
	dispatch(t, dispatcher, "e", 3, messages.Fresh)
	must(t, "done", commit.Done(within(t, 10*time.Second)))
	loads := openLoads(t, worker)
	for range 3 {
		d := next(t, loads)
		must(t, "done", d.Done(within(t, 10*time.Second), loadedOutcome(d)))
	}
	if left := loadsLeft(t, s.Connect(t, queuetest.Operator)); left != 0 {
		t.Errorf("loads left: got %d, want 0", left)
	}
	for _, violation := range s.Violations() {
		t.Errorf("refused: %s", violation)
	}
}

// TestAdmitWhileRunning admits a workspace by a reload; those that are
// connected stay so.
func TestAdmitWhileRunning(t *testing.T) {
	s := queuetest.StartSecured(t, "ws")
	must(t, "provision", s.Connect(t, queuetest.Provisioner).Provision(within(t, 10*time.Second)))
	dispatcher, old := s.Connect(t, queuetest.Dispatcher), s.Connect(t, "ws")
	extract(t, old, "ws", "e1", 1)
	s.Invite(t, "late")
	s.Reload(t) // knows the account
	s.Reload(t) // and now its imports: nats-server 2.15.2 leaves them out the first time
	extract(t, s.Connect(t, "late"), "late", "e1", 1)
	extract(t, old, "ws", "e2", 1)
	for _, workspace := range []string{"ws", "late"} {
		if n := drain(t, "batches", dispatcher.Batches(within(t, 10*time.Second), workspace, "e1", nil)); n != 1 {
			t.Errorf("batches of %s: got %d, want 1", workspace, n)
		}
	}
}

func TestAdmit(t *testing.T) {
	s := queuetest.StartSecured(t, "ws")
	_, key, err := queue.NewNKey()
	must(t, "key", err)
	tests := []struct {
		name, workspace, key string
		ok                   bool
	}{
		{"as it should be", "A-b_9", key, true},
		{"again", "A-b_9", key, true},
		{"all workspaces", "*", key, false},
		{"everything", ">", key, false},
		{"two tokens", "a.b", key, false},
		{"empty", "", key, false},
		{"space", "a b", key, false},
		{"quote", `a"b`, key, false},
		{"line", "a\nb", key, false},
		{"path", "../fleet", key, false},
		{"too long", strings.Repeat("a", 65), key, false},
		{"the fleet's account", "FLEET", key, false},
		{"the system's account", "SYS", key, false},
		{"a seed", "a", "SU" + key[2:], false},
		{"half a key", "a", key[:20], false},
		{"no key", "a", `U" } ] }`, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			out, err := s.Admit(t, test.workspace, test.key)
			if (err == nil) != test.ok {
				t.Errorf("got %v, want success %v\n%s", err, test.ok, out)
			}
		})
	}
	list, err := os.ReadFile(filepath.Join(s.Dir, "tenants.conf"))
	must(t, "read", err)
	if n := strings.Count(string(list), "include"); n != 2 {
		t.Errorf("got %d workspaces, want 2:\n%s", n, list)
	}
	s.Restart(t)

	// A file written by hand that takes another's name stops the server.
	path := filepath.Join(s.Dir, "tenants", "A-b_9.conf")
	text, err := os.ReadFile(path)
	must(t, "read", err)
	for _, subject := range []string{"rows.%s.*", "commit.%s.*", "event.%s.>", "$JS.API.DIRECT.GET.EVENTS.event.%s.>"} {
		own, foreign := fmt.Sprintf(`subject: "`+subject, "A-b_9"), fmt.Sprintf(`subject: "`+subject, "ws")
		changed := strings.Replace(string(text), own, foreign, 1)
		if changed == string(text) {
			t.Fatalf("the file imports no %s:\n%s", own, text)
		}
		must(t, "write", os.WriteFile(path, []byte(changed), 0o600))
		options, err := server.ProcessConfigFile(filepath.Join(s.Dir, "server.conf"))
		if err == nil {
			options.Port, options.HTTPPort = server.RANDOM_PORT, 0
			_, err = server.NewServer(options)
		}
		if err == nil {
			t.Errorf("import of %s: got no error", foreign)
		}
	}
}

func TestCheck(t *testing.T) {
	s := queuetest.StartSecured(t)
	worker := s.Connect(t, queuetest.Worker)
	if err := worker.Check(within(t, 10*time.Second)); !errors.Is(err, queue.ErrNotProvisioned) {
		t.Errorf("before: got %v, want ErrNotProvisioned", err)
	}
	must(t, "provision", s.Connect(t, queuetest.Provisioner).Provision(within(t, 10*time.Second)))
	must(t, "check", worker.Check(within(t, 10*time.Second)))
	must(t, "make anew", queue.ForgetStream(t.Context(), s.Connect(t, queuetest.Provisioner), "DEAD"))
	if err := worker.Check(within(t, 10*time.Second)); !errors.Is(err, queue.ErrNotProvisioned) || !strings.Contains(err.Error(), "DEAD") {
		t.Errorf("made by an older version: got %v, want ErrNotProvisioned for DEAD", err)
	}
}
