package queue_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/queue/queuetest"
)

// rarelyAsked is what deploy/nats allows though the walk of this file does not
// ask for it.
var rarelyAsked = map[string]string{
	"$JS.ACK.*.*.COMMITS.dispatcher.>":   "the second form of acknowledgements, which the server may switch to",
	"$JS.API.CONSUMER.MSG.NEXT.EVENTS.*": "the dispatcher reads the ledger of objects, which is empty here when it looks",
	"$JS.ACK.*.*.LOADS.*.>":              "the second form of acknowledgements, which the server may switch to",
}

// TestP11LeastPrivilege walks through all that each role does, with the
// production configuration and the role's own credentials. Nothing is refused,
// and nothing is allowed that no role asked for.
func TestP11LeastPrivilege(t *testing.T) {
	s := queuetest.StartSecured(t, "ws", "other")
	for range 2 { // what is there is looked at and changed
		q := s.Connect(t, queuetest.Provisioner)
		if err := q.Provision(within(t, 10*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	w := &secureWalk{
		server:     s,
		extractor:  s.Connect(t, "ws"),
		dispatcher: s.Connect(t, queuetest.Dispatcher),
		worker:     s.Connect(t, queuetest.Worker),
		operator:   s.Connect(t, queuetest.Operator),
		console:    s.Connect(t, queuetest.Console),
	}
	for _, q := range []*queue.Queue{w.dispatcher, w.worker, w.operator, w.console} {
		if err := q.Check(within(t, 10*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	w.destinations(t)
	w.dispatch(t)
	w.work(t)
	w.deadCommit(t)
	w.deadLoads(t)
	w.follow(t)
	w.presence(t)
	w.prove(t)
	for _, q := range []*queue.Queue{w.operator, w.console} {
		w.look(t, q)
	}

	for _, violation := range s.Violations() {
		t.Errorf("refused: %s", violation)
	}
	for _, who := range append(queuetest.Roles(), "ws") {
		permissions := s.Permissions(t, who)
		published, subscribed := s.Asked(who)
		if len(published) == 0 {
			t.Errorf("%s: nothing was recorded", who)
		}
		compareAllowed(t, who+" may publish", permissions.Publish.Allow, published)
		compareAllowed(t, who+" may subscribe", permissions.Subscribe.Allow, subscribed)
	}
}

// compareAllowed reports what is allowed and was not asked for. That what was
// asked for is allowed, the server says itself.
func compareAllowed(t *testing.T, what string, allowed, asked []string) {
	t.Helper()
	for _, pattern := range allowed {
		used := rarelyAsked[pattern] != ""
		for _, subject := range asked {
			used = used || server.SubjectsCollide(subject, pattern)
		}
		if !used {
			t.Errorf("%s %s, and never does", what, pattern)
		}
	}
	if len(allowed) == 0 {
		t.Errorf("%s everything", what)
	}
}

// secureWalk is the fleet, each role with its own connection.
type secureWalk struct {
	server                                           *queuetest.Secured
	extractor, dispatcher, worker, operator, console *queue.Queue
}

func drain[T any](t *testing.T, what string, all iter.Seq2[T, error]) (n int) {
	t.Helper()
	for _, err := range all {
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		n++
	}
	return n
}

func must(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func (w *secureWalk) destinations(t *testing.T) {
	ctx := within(t, 15*time.Second)
	store := w.operator.Destinations()
	revision, err := store.Put(ctx, "acme", []byte("first"), 0)
	must(t, "create destination", err)
	_, err = store.Put(ctx, "acme", []byte("second"), revision)
	must(t, "update destination", err)
	// So much that the server asks the reader to answer for its flow.
	for n := range 20 {
		_, err = store.Put(ctx, fmt.Sprintf("big-%d", n), bytes.Repeat([]byte("x"), 100<<10), queue.Any)
		must(t, "put destination", err)
	}
	must(t, "delete destination", store.Delete(ctx, "big-0", "me"))
}

// dispatch takes two extractions to loads.
func (w *secureWalk) dispatch(t *testing.T) {
	ctx := within(t, 15*time.Second)
	q := w.dispatcher
	extract(t, w.extractor, "ws", "e1", 3)
	d := nextCommit(t, q)
	must(t, "retry", d.Retry(ctx, 0))
	_, err := q.Lag(ctx)
	must(t, "lag", err)
	d = nextCommit(t, q)
	must(t, "release", d.Release(ctx))
	d = nextCommit(t, q)
	must(t, "event", q.Publish(ctx, messages.Event{Kind: messages.EventAccepted, Workspace: "ws", Extraction: "e1"}))
	_, err = q.Destinations().Get(ctx, "acme")
	must(t, "destination", err)
	if _, err = q.Plan(ctx, "ws", "e1"); !errors.Is(err, queue.ErrNoPlan) {
		t.Fatalf("plan: got %v, want ErrNoPlan", err)
	}
	drain(t, "objects", q.Objects().All(ctx, "acme"))
	known, revision, err := q.TableSchema(ctx, "acme", "ws", "ads")
	if err != nil || known != nil {
		t.Fatalf("table schema: got %v, %v, want none", known, err)
	}
	schema, err := encoding.NewSchema([]encoding.Column{{Name: "a", Type: encoding.Type{Kind: encoding.Bool}}})
	must(t, "schema", err)
	must(t, "put table schema", q.PutTableSchema(ctx, "acme", "ws", "ads", &messages.TableSchema{Schema: schema}, revision))
	for range 2 { // the second time it finds what it took
		_, err = q.TakeSecond(ctx, "acme", "out/*.csv", "ws", "e1", time.Unix(1e9, 0))
		must(t, "take a second", err)
	}
	_, err = q.PinPlan(ctx, "ws", "e1", []byte("{}"))
	must(t, "pin plan", err)
	if n := drain(t, "batches", q.Batches(ctx, "ws", "e1", nil)); n != 3 {
		t.Fatalf("batches: got %d, want 3", n)
	}
	for range 2 { // the second finds the first one's marker
		load, payload := loadOf("ws", "e1", 0, messages.Fresh)
		out := q.Dispatch(ctx, "ws", "e1", "plan")
		must(t, "add", out.Add(ctx, load, payload))
		load, _ = loadOf("ws", "e1", 1, messages.Backfill)
		slices := q.Slices(ctx, messages.SliceSubject("e1", load.ID, "1"))
		must(t, "slice", slices.Write(ctx, 1, []byte("rows")))
		load.Inline, load.Slices = nil, []messages.SliceRef{slices.Close()}
		must(t, "add", out.Add(ctx, load, nil))
		must(t, "dispatch", out.Close(ctx))
	}
	if plan, err := q.Dispatched(ctx, "ws", "e1"); err != nil || plan != nil {
		t.Fatalf("dispatched: got %v, %v, want none", plan, err)
	}
	must(t, "event", q.Publish(ctx, messages.Event{
		Kind: messages.EventDispatched, Workspace: "ws", Extraction: "e1", Plan: &messages.Plan{Loads: 2, Rows: 2},
	}))
	if _, err := q.Complete(ctx, "ws", "e1"); err != nil {
		t.Fatal(err)
	}
	must(t, "purge", q.PurgeRows(ctx, "ws", "e1"))
	must(t, "done", d.Done(ctx))

	// One whose batches stand in the wrong order, and that has no loads.
	nc := w.server.Attack(t, "ws")
	for _, ordinal := range []int{2, 1} {
		b := messages.Batch{Workspace: "ws", Extraction: "e2", Ordinal: ordinal, Rows: 1, Format: encoding.NDJSONInput}
		_, err := nc.RequestMsgWithContext(ctx, &nats.Msg{
			Subject: messages.RowsSubject("ws", "e2"), Header: nats.Header(b.Header()), Data: []byte("{}\n"),
		})
		must(t, "publish batch", err)
	}
	if n := drain(t, "batches", q.Batches(ctx, "ws", "e2", nil)); n != 2 {
		t.Fatalf("batches: got %d, want 2", n)
	}
	must(t, "event", q.Publish(ctx, messages.Event{
		Kind: messages.EventDispatched, Workspace: "ws", Extraction: "e2", Plan: &messages.Plan{},
	}))
	if done, err := q.Complete(ctx, "ws", "e2"); err != nil || !done {
		t.Fatalf("complete: got %v, %v, want true", done, err)
	}
}

// work carries out the loads of e1.
func (w *secureWalk) work(t *testing.T) {
	ctx := within(t, 15*time.Second)
	loads := openLoads(t, w.worker)
	must(t, "postpone", next(t, loads).Postpone(ctx, 0, queue.Past{}))
	watch, stop := context.WithCancel(ctx)
	n := 0
	for _, err := range w.worker.Destinations().Watch(watch) {
		if n++; n == 21 { // all, and the deleted one
			stop()
		}
		if err != nil && watch.Err() == nil {
			t.Error(err)
		}
	}
	stop()
	parked, err := w.worker.Loads(ctx, queue.LoadsConfig{Lanes: []messages.Lane{messages.Parked}})
	must(t, "parked lane", err)
	must(t, "park", next(t, loads).Park(ctx, queue.Past{Why: "denied"}))
	for _, q := range []*queue.Queue{w.operator, w.console} {
		status, err := q.Status(ctx)
		must(t, "status", err)
		if len(status.Parked) != 1 || status.Parked[0].Why != "denied" {
			t.Errorf("status: got %+v, want one destination that denied", status.Parked)
		}
	}
	must(t, "postpone", next(t, parked).Postpone(ctx, 0, queue.Past{}))
	for _, from := range []*queue.Loads{parked, loads} {
		d := next(t, from)
		must(t, "load", d.Err)
		must(t, "fetch", d.Fetch(ctx))
		_, err := d.Past(ctx)
		must(t, "past", err)
		_, err = w.worker.Destinations().Get(ctx, "acme")
		must(t, "destination", err)
		for _, ref := range d.Load.Slices {
			drain(t, "slices", w.worker.Slice(ctx, ref))
		}
		_, err = d.Object(ctx)
		must(t, "object", err)
		_, err = d.Bury(ctx, func(*queue.Object) queue.Gone { return queue.Gone{} })
		must(t, "record of a deletion", err)
		_, err = d.Claim(ctx, messages.Loaded, 1, queue.Gone{})
		must(t, "claim of a key", err)
		for range 2 { // the second finds that it was given back
			lease, err := w.worker.LeaseKey(ctx, d.Load, time.Minute)
			must(t, "lease of a key", err)
			must(t, "release of a key", lease.Release(ctx))
		}
		must(t, "done", d.Done(ctx, loadedOutcome(d)))
	}
	_, _, err = w.worker.Uncompleted(ctx, 0)
	must(t, "uncompleted", err)
	if done, err := w.worker.Complete(ctx, "ws", "e1"); err != nil || !done {
		t.Fatalf("complete: got %v, %v, want true", done, err)
	}
}

// deadCommit buries a commit, replays it as one who is killed before removing
// the letter, and buries it again.
func (w *secureWalk) deadCommit(t *testing.T) {
	ctx := within(t, 15*time.Second)
	extract(t, w.extractor, "ws", "e3", 0)
	for range 2 {
		d := nextCommit(t, w.dispatcher)
		must(t, "dead letter", d.DeadLetter(ctx, deadLetter(messages.ReasonCount)))
		stands := list(t, w.operator, queue.DeadLetterFilter{Stage: messages.StageDispatch})
		if len(stands) != 1 || stands[0].Replays != d.Replays() {
			t.Fatalf("dead letters: got %+v, want one of %d replays", stands, d.Replays())
		}
		if d.Replays() == 0 {
			must(t, "replay", queue.ReplayWithoutRemoving(ctx, w.operator, stands[0].Sequence))
		}
	}
}

// deadLoads does the same with a load, then replays and discards.
func (w *secureWalk) deadLoads(t *testing.T) {
	ctx := within(t, 15*time.Second)
	dispatch(t, w.dispatcher, "e4", 1, messages.Fresh)
	loads := openLoads(t, w.worker)
	filter := queue.DeadLetterFilter{Stage: messages.StageLoad}
	for range 2 {
		d := next(t, loads)
		must(t, "dead letter", d.DeadLetter(ctx, deadLetter(messages.ReasonBadRow)))
		if d.Lane == messages.Fresh {
			must(t, "replay", queue.ReplayWithoutRemoving(ctx, w.operator, list(t, w.operator, filter)[0].Sequence))
		}
	}
	must(t, "replay", w.operator.Replay(ctx, list(t, w.operator, filter)[0].Sequence, queue.Operation{}))
	d := next(t, loads)
	must(t, "dead letter", d.DeadLetter(ctx, deadLetter(messages.ReasonBadRow)))
	must(t, "discard", w.operator.Discard(ctx, list(t, w.operator, filter)[0].Sequence, queue.Operation{}))
}

// follow reads what became of an extraction as an extractor does.
func (w *secureWalk) follow(t *testing.T) {
	ctx := within(t, 10*time.Second)
	nc := w.server.Attack(t, "ws", nats.Name("ws"))
	heard, err := nc.SubscribeSync("event.ws.e5.>")
	must(t, "subscribe", err)
	must(t, "flush", nc.FlushWithContext(ctx))
	must(t, "event", w.dispatcher.Publish(ctx, messages.Event{Kind: messages.EventAccepted, Workspace: "ws", Extraction: "e5"}))
	m, err := heard.NextMsgWithContext(ctx)
	must(t, "hear an event", err)
	if e, err := messages.ParseEvent(m.Data); err != nil || e.Kind != messages.EventAccepted {
		t.Errorf("heard: got %s, %v", m.Data, err)
	}
	m, err = nc.RequestWithContext(ctx, "$JS.API.DIRECT.GET.EVENTS.event.ws.e1.completed", nil)
	must(t, "ask for an event", err)
	if e, err := messages.ParseEvent(m.Data); err != nil || e.Kind != messages.EventCompleted || e.Extraction != "e1" {
		t.Errorf("asked: got %s, %v", m.Data, err)
	}
}

// presence lets the processes be seen, and a worker be told what to do.
func (w *secureWalk) presence(t *testing.T) {
	ctx, end := context.WithCancel(within(t, 15*time.Second))
	var processes sync.WaitGroup
	defer processes.Wait()
	defer end()
	for role, q := range map[messages.Role]*queue.Queue{messages.RoleDispatcher: w.dispatcher, messages.RoleWorker: w.worker} {
		said := presence("p.1", "a")
		said.Role = role
		processes.Go(func() { q.Announce(ctx, nil, func() *messages.Presence { p := *said; return &p }) })
	}
	obeyed := make(chan *messages.Control, 10)
	processes.Go(func() {
		w.worker.Obey(ctx, messages.RoleWorker, "p.1", func(c *messages.Control) { obeyed <- c })
	})
	for _, q := range []*queue.Queue{w.operator, w.console} {
		fleet, err := q.Presences(ctx)
		must(t, "presences", err)
		_, err = fleet.Await(ctx, func(all []messages.Presence) bool { return len(all) == 2 })
		must(t, "who is there", err)
		fleet.Close()
	}
	c, err := w.operator.Instruct(ctx, messages.RoleWorker, "p.1", messages.InstructPause, nil, "me")
	must(t, "pause", err)
	told(ctx, t, obeyed, c)
}

// prove reads the record that a bucket is compared with, and notes on it that an
// object goes, as an operator does.
func (w *secureWalk) prove(t *testing.T) {
	ctx := within(t, 15*time.Second)
	q := w.operator
	_, err := q.Plan(ctx, "ws", "e1")
	must(t, "plan", err)
	if n, err := q.Marked(ctx, "ws", "e1"); err != nil || n != 2 {
		t.Errorf("marked: got %d, %v, want 2", n, err)
	}
	_, err = q.Commit(ctx, "ws", "e1")
	must(t, "commit", err)
	if there, err := q.Committed(ctx, "e1"); err != nil || !there {
		t.Errorf("committed: got %v, %v, want true", there, err)
	}
	n := 0
	for record, err := range q.Objects().All(ctx, "acme") {
		must(t, "objects", err)
		must(t, "remove an object", q.Objects().Remove(ctx, &record, "me", true))
		n++
	}
	if n == 0 {
		t.Error("objects: got none")
	}
}

// look does what changes nothing, as an operator and the console do.
func (w *secureWalk) look(t *testing.T, q *queue.Queue) {
	ctx := within(t, 15*time.Second)
	_, err := q.Status(ctx)
	must(t, "status", err)
	_, err = q.State(ctx, "ws", "e1")
	must(t, "state", err)
	all, err := q.Extractions(ctx, "")
	if err != nil || len(all) == 0 {
		t.Errorf("extractions: got %d, %v", len(all), err)
	}
	if n := drain(t, "events", q.Events(ctx, "ws", "e1", false)); n != 5 {
		t.Errorf("events: got %d, want 5", n)
	}
	drain(t, "events of a workspace", q.Events(ctx, "ws", "", false))
	if n := drain(t, "outcomes", q.Outcomes(ctx, "ws", "e1")); n != 2 {
		t.Errorf("outcomes: got %d, want 2", n)
	}
	drain(t, "outcomes of all", q.LoadOutcomes(ctx, queue.OutcomeFilter{Since: time.Now().Add(-time.Hour)}))
	drain(t, "objects", q.Objects().All(ctx, "acme"))
	if _, err := q.Objects().Get(ctx, "acme", "bucket", "key"); err != nil && !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("object: %v", err)
	}
	for a, err := range q.Audit(ctx, queue.AuditFilter{}) {
		must(t, "audit", err)
		_, err := q.Fate(ctx, &a)
		must(t, "fate", err)
	}
	if n := drain(t, "controls", q.Controls(ctx)); n != 1 {
		t.Errorf("controls: got %d, want 1", n)
	}
	if n := drain(t, "audit of the fleet", q.ControlAudit(ctx, "p.1")); n != 1 {
		t.Errorf("audit of the fleet: got %d, want 1", n)
	}
	if n := drain(t, "audit of destinations", q.Destinations().Audit(ctx, "")); n != 1 {
		t.Errorf("audit of destinations: got %d, want 1", n)
	}
	letters := list(t, q, queue.DeadLetterFilter{})
	if len(letters) != 1 {
		t.Fatalf("dead letters: got %d, want 1", len(letters))
	}
	_, err = q.DeadLetter(ctx, letters[0].Sequence)
	must(t, "dead letter", err)
	store := q.Destinations()
	_, err = store.Get(ctx, "acme")
	must(t, "destination", err)
	stored, err := store.List(ctx)
	if err != nil || len(stored) != 20 {
		t.Errorf("destinations: got %d, %v, want 20", len(stored), err)
	}
	history, err := store.History(ctx, "acme")
	if err != nil || len(history) != 2 {
		t.Errorf("history: got %d, %v, want 2", len(history), err)
	}
	watch, stop := context.WithCancel(ctx)
	defer stop()
	n := 0
	for _, err := range store.Watch(watch) {
		if n++; n == 21 { // all, and the deleted one
			stop()
		}
		if err != nil && watch.Err() == nil {
			t.Error(err)
		}
	}
}
