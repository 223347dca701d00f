package main

import (
	"bytes"
	"crypto/sha256"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/storage"
	"github.com/loadfleet/loadfleet/storage/storagetest"
)

// calmWorld is a world in which nothing goes wrong: a node in this process,
// two generations of a table of files per day, of files per month, and of files
// per day and account, and extractions with a bad row. Afterwards nobody works.
type calmWorld struct {
	*testing.T
	p      *proving
	oracle *oracle
	store  *storage.Store
	js     jetstream.JetStream
	e      map[string]*chaosExtraction
}

func newCalmWorld(t *testing.T) *calmWorld {
	p := startProving(t)
	w := &calmWorld{T: t, p: p, e: map[string]*chaosExtraction{}}
	w.oracle = &oracle{queue: p.node.queue, keyring: p.node.keyring, stores: map[string]*storage.Store{}, completed: map[string]int{},
		once: true, orphan: func(storage.Upload) bool { return false }}
	env := map[string]string{"LOADFLEET_NATS_URL": p.node.natsURL()}
	chaos := &chaosWorld{fleet: &fleet{T: t, env: env}, access: p.node.accessKey, secret: p.node.secretKey}
	if err := chaos.schema.UnmarshalJSON([]byte(chaosSchema)); err != nil {
		t.Fatal(err)
	}
	x := newExtractors(chaos)
	for _, target := range chaosTargets() {
		if target.id != "csv" && target.id != "parquet" && target.id != "json" && target.id != "gone" {
			continue
		}
		target.bucket = provingBucket
		s, err := chaos.settings(target, p.node.s3.Endpoint())
		if err != nil {
			t.Fatal(err)
		}
		sealed, err := p.node.keyring.Seal(s)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.node.queue.Destinations().Put(t.Context(), s.ID, sealed, queue.Any); err != nil {
			t.Fatal(err)
		}
		if w.store, err = storage.OpenDestination(t.Context(), s, storage.Config{}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(w.store.Close)
		w.oracle.stores[target.id] = w.store
		w.oracle.targets = append(w.oracle.targets, target)
		for _, e := range []*chaosExtraction{
			{id: "old-" + target.id, generation: 1, content: 1, days: []int{0, 1, 2, 3, 4}},
			{id: "new-" + target.id, generation: 2, content: 2, days: []int{1, 2, 3}},
			{id: "again-" + target.id, generation: 3, content: 2, days: []int{1}}, // equal to what is there
			{id: "bad-" + target.id, generation: 4, content: 3, days: []int{2}, poison: true},
		} {
			e.target, e.table = target, "ads"
			w.e[e.id] = e
			w.oracle.extractions = append(w.oracle.extractions, e)
			if err := x.publish(t.Context(), behaviour{e: e, batchRows: 7}); err != nil {
				t.Fatal(err)
			}
			for event, err := range p.node.queue.Events(t.Context(), chaosWorkspace, e.id, true) {
				if err != nil {
					t.Fatal(err)
				}
				if event.Kind == messages.EventCompleted {
					w.oracle.completed[e.id]++
				}
				if event.Kind == messages.EventCompleted || event.Kind == messages.EventFailed {
					break
				}
			}
		}
	}
	p.stopActors(t)
	nc, err := nats.Connect(p.node.natsURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if w.js, err = jetstream.New(nc); err != nil {
		t.Fatal(err)
	}
	return w
}

// key is the object of a day, of the first account.
func (w *calmWorld) key(id string, day int) string {
	e := w.e[id]
	return e.target.key(e.table, chaosRow{Day: chaosDay(day), Account: "acc0"})
}

func (w *calmWorld) object(key string) ([]byte, storage.Stored) {
	w.Helper()
	b, stored, err := fetch(w.Context(), w.store, provingBucket, key)
	if err != nil {
		w.Fatal(err)
	}
	return b, stored
}

// put puts bytes with the metadata of another object, whose hash is made to fit.
func (w *calmWorld) put(key string, b []byte, m storage.Meta) {
	w.Helper()
	m.SHA256 = ""
	if _, err := w.store.Put(w.Context(), provingBucket, storage.Object{
		Key: key, Body: bytes.NewReader(b), Size: int64(len(b)), SHA256: sha256.Sum256(b), Meta: m,
	}, storage.Always()); err != nil {
		w.Fatal(err)
	}
}

// stands is the last message on a subject of a stream.
func (w *calmWorld) stands(stream, subject string) *jetstream.RawStreamMsg {
	w.Helper()
	s, err := w.js.Stream(w.Context(), stream)
	if err != nil {
		w.Fatal(err)
	}
	m, err := s.GetLastMsgForSubject(w.Context(), subject)
	if err != nil {
		w.Fatalf("%s: %v", subject, err)
	}
	return m
}

// replace puts another body in place of what stands on a subject; without one
// nothing.
func (w *calmWorld) replace(stream, subject string, change func([]byte) []byte) (undo func()) {
	w.Helper()
	m := w.stands(stream, subject)
	w.remove(stream, m.Subject)
	if change != nil {
		w.publish(m.Subject, m.Header, change(m.Data))
	}
	return func() {
		w.remove(stream, m.Subject)
		w.publish(m.Subject, m.Header, m.Data)
	}
}

func (w *calmWorld) remove(stream, subject string) {
	w.Helper()
	s, err := w.js.Stream(w.Context(), stream)
	if err != nil {
		w.Fatal(err)
	}
	if err := s.Purge(w.Context(), jetstream.WithPurgeSubject(subject)); err != nil {
		w.Fatal(err)
	}
}

func (w *calmWorld) publish(subject string, header nats.Header, body []byte) {
	w.Helper()
	m := &nats.Msg{Subject: subject, Data: body, Header: nats.Header{}}
	for name, values := range header {
		if !strings.HasPrefix(name, "Nats-Expected") && name != messages.HeaderMsgID && !strings.HasPrefix(name, "Nats-Batch") {
			m.Header[name] = values
		}
	}
	if _, err := w.js.PublishMsg(w.Context(), m); err != nil {
		w.Fatal(err)
	}
}

// event changes an event that stands.
func (w *calmWorld) event(subject string, change func(*messages.Event)) (undo func()) {
	return w.replace("EVENTS", subject, func(b []byte) []byte {
		e, err := messages.ParseEvent(b)
		if err != nil {
			w.Fatal(err)
		}
		change(e)
		if b, err = messages.EncodeEvent(e); err != nil {
			w.Fatal(err)
		}
		return b
	})
}

// outcomeOf is the subject of the outcome of an object's load.
func (w *calmWorld) outcomeOf(id, key string) string {
	return messages.EventSubject(&messages.Event{Kind: messages.EventOutcome, Workspace: chaosWorkspace, Extraction: id,
		Outcome: &messages.Outcome{Load: messages.LoadID(chaosWorkspace, id, provingBucket, key)}})
}

func (w *calmWorld) eventOf(id string, kind messages.EventKind) string {
	return messages.EventSubject(&messages.Event{Kind: kind, Workspace: chaosWorkspace, Extraction: id})
}

// letter adds a dead letter like the one of the bad extraction.
func (w *calmWorld) letter(change func(*messages.DeadLetter)) (undo func()) {
	w.Helper()
	m := w.stands("DEAD", "dead.dispatch.csv.>")
	d, err := messages.ParseDeadLetter(m.Header.Get(messages.HeaderDeadLetter))
	if err != nil {
		w.Fatal(err)
	}
	change(d)
	text, err := messages.EncodeDeadLetter(d)
	if err != nil {
		w.Fatal(err)
	}
	header := maps.Clone(m.Header)
	header[messages.HeaderDeadLetter] = []string{text}
	subject := messages.DeadLetterSubject(d)
	w.publish(subject, header, m.Data)
	return func() { w.remove("DEAD", subject) }
}

// signature is what a violation is about, without the particulars.
func signature(violation string) string {
	promise, text, _ := strings.Cut(violation, ": ")
	if rest, ok := strings.CutPrefix(text, "verify "); ok {
		_, kind, _ := strings.Cut(rest, ": ")
		kind, _, _ = strings.Cut(kind, " at ")
		return "verify " + kind
	}
	for _, about := range []string{"lacks", "once too often", "nobody's object", "is missing", "cannot be read", "does not make it", "said to be completed",
		"its commit was acknowledged, and is gone", "left unfinished", "outcomes of", "dead letters, want", "is dead", "; want", "no metadata", "has bytes of",
		"nothing newer was committed", "no object of its rows", "the outcome of", "was planned", "are committed", "nobody committed", "want it", "ended", "same rows", "was deleted"} {
		if strings.Contains(text, about) {
			return promise + " " + about
		}
	}
	return violation
}

// TestOracleCanFail breaks what the oracle examines, one thing at a time, as
// nobody of the fleet does: it must report each for what it is, and nothing
// else. What calm gives is reported as nothing, before and after.
func TestOracleCanFail(t *testing.T) {
	// Not beside others: the S3 server in this process has its working directory.
	w := newCalmWorld(t)
	at, month, mine := w.key("new-csv", 2), w.key("new-parquet", 3), w.key("new-json", 3)
	// put puts bytes in an object's place, with its metadata.
	put := func(key string, change func([]byte) []byte) (undo func()) {
		b, s := w.object(key)
		w.put(key, change(b), s.Meta)
		return func() { w.put(key, b, s.Meta) }
	}
	meta := func(key string, change func(*storage.Meta)) (undo func()) {
		b, s := w.object(key)
		m := s.Meta
		change(&m)
		w.put(key, b, m)
		return func() { w.put(key, b, s.Meta) }
	}
	all := func(undo ...func()) func() {
		return func() {
			for _, u := range undo {
				u()
			}
		}
	}
	extractions := func(change func(all []*chaosExtraction) []*chaosExtraction) (undo func()) {
		before := w.oracle.extractions
		w.oracle.extractions = change(slices.Clone(before))
		return func() { w.oracle.extractions = before }
	}
	content := []string{"verify content", "verify etag", "verify metadata", "verify size"} // where bytes are not those of the load
	for _, mutation := range []struct {
		name   string
		want   []string // signatures
		mutate func() (undo func())
	}{
		{"nothing", nil, func() func() { return func() {} }},

		// Objects.
		{"a row dropped from an object", append(content, "P1 lacks", "verify rows"), func() func() {
			return put(at, func(b []byte) []byte { return b[:bytes.LastIndex(b[:len(b)-1], []byte("\n2024-"))+1] })
		}},
		{"the rows of an object twice", append(content, "P2 once too often", "verify rows"), func() func() {
			return put(at, func(b []byte) []byte { _, rows, _ := bytes.Cut(b, []byte("\n")); return slices.Concat(b, rows) })
		}},
		{"a cell changed", []string{"P1 lacks", "P2 once too often", "verify content", "verify etag", "verify metadata"}, func() func() {
			return put(at, func(b []byte) []byte { return bytes.Replace(b, []byte("2024-01-31;acc"), []byte("2024-01-31;bcc"), 1) })
		}},
		{"a row of another account", append(content, "P2 once too often", "verify rows", "verify partition"), func() func() {
			return put(mine, func(b []byte) []byte {
				line, _, _ := bytes.Cut(b, []byte("\n"))
				return slices.Concat(b, bytes.Replace(line, []byte(`"acc0"`), []byte(`"acc1"`), 1), []byte("\n"))
			})
		}},
		{"a row of another day", append(content, "P2 once too often", "verify rows", "verify partition"), func() func() {
			return put(mine, func(b []byte) []byte {
				line, _, _ := bytes.Cut(b, []byte("\n"))
				return slices.Concat(b, bytes.Replace(line, []byte(chaosDay(3)), []byte(chaosDay(4)), 1), []byte("\n"))
			})
		}},
		{"an object cut in half", append(content, "P3 cannot be read", "verify unreadable"), func() func() {
			return put(month, func(b []byte) []byte { return b[:len(b)/2] })
		}},
		{"an object removed", []string{"P1 is missing", "verify missing-object"}, func() func() {
			b, s := w.object(month)
			if err := w.store.Delete(t.Context(), provingBucket, month, storage.Always()); err != nil {
				t.Fatal(err)
			}
			return func() { w.put(month, b, s.Meta) }
		}},
		{"an object that nobody ordered", []string{"P3 nobody's object"}, func() func() {
			stray := at + ".part"
			w.put(stray, []byte("x"), storage.Meta{Load: "x"})
			return func() {
				if err := w.store.Delete(t.Context(), provingBucket, stray, storage.Always()); err != nil {
					t.Fatal(err)
				}
			}
		}},
		{"two contents swapped, each with the metadata of its key", append(content, "P1 lacks", "P2 once too often", "verify rows", "verify partition"), func() func() {
			other := w.key("old-csv", 0)
			one, _ := w.object(at)
			two, _ := w.object(other)
			return all(put(at, func([]byte) []byte { return two }), put(other, func([]byte) []byte { return one }))
		}},
		{"the older generation put back", append(content, "P1 lacks", "P2 once too often", "P4 ; want", "verify stale"), func() func() {
			b, s := w.object(at)
			text := "day;account;id;n;note\n"
			for _, r := range w.e["old-csv"].byKey()[at] {
				text += r.Day + ";" + r.Account + ";" + r.ID + ";0;\n"
			}
			m := s.Meta
			m.Extraction, m.Generation, m.Load = "old-csv", 1, messages.LoadID(chaosWorkspace, "old-csv", provingBucket, at)
			w.put(at, []byte(text), m)
			return func() { w.put(at, b, s.Meta) }
		}},
		{"a deleted object put back", append(content, "P4 was deleted", "verify stale", "verify rows"), func() func() {
			key, m := w.key("old-gone", 0), storage.Meta{Extraction: "old-gone", Generation: 1, Rows: 1}
			m.Load = messages.LoadID(chaosWorkspace, "old-gone", provingBucket, key)
			w.put(key, []byte("day,account,id,n,note\n"), m)
			return func() {
				if err := w.store.Delete(t.Context(), provingBucket, key, storage.Always()); err != nil {
					t.Fatal(err)
				}
			}
		}},
		{"metadata of another's load", []string{"P5 does not make it", "verify foreign"}, func() func() {
			return meta(at, func(m *storage.Meta) { m.Load = "another" })
		}},
		{"an object without metadata", []string{"P4 no metadata", "verify foreign", "verify content", "verify etag", "verify size"}, func() func() {
			return meta(at, func(m *storage.Meta) { *m = storage.Meta{} })
		}},
		{"an upload left unfinished", []string{"P3 left unfinished"}, func() func() { return w.leaveUpload(at) }},

		// Commits and events.
		{"a commit that was acknowledged and is not there", []string{"P1 its commit was acknowledged, and is gone"}, func() func() {
			return extractions(func(all []*chaosExtraction) []*chaosExtraction {
				return append(all, &chaosExtraction{id: "lost", target: w.e["new-csv"].target, table: "other", generation: 1, days: []int{1}, acked: true})
			})
		}},
		{"a commit of fewer rows than were acknowledged", []string{"P1 are committed", "P2 was planned", "P7 outcomes of", "P1 is missing"}, func() func() {
			e := w.e["new-csv"]
			before := e.days
			e.days = []int{1, 2, 3, 6}
			return func() { e.days = before }
		}},
		{"an extraction said to be completed twice", []string{"P7 said to be completed"}, func() func() {
			w.oracle.completed["new-csv"]++
			return func() { w.oracle.completed["new-csv"]-- }
		}},
		{"an extraction never said to be completed", []string{"P7 want it"}, func() func() {
			return w.replace("EVENTS", w.eventOf("new-csv", messages.EventCompleted), nil)
		}},
		{"a failure that nobody was told", []string{"P7 want it", "verify unfinished"}, func() func() {
			return w.replace("EVENTS", w.eventOf("bad-csv", messages.EventFailed), nil)
		}},
		{"a plan of one load more", []string{"P2 was planned", "verify plan", "verify missing-outcome"}, func() func() {
			more := func(e *messages.Event) { e.Plan.Loads++ }
			return all(w.event(w.eventOf("new-csv", messages.EventDispatched), more), w.event(w.eventOf("new-csv", messages.EventCompleted), more))
		}},

		// Outcomes and tallies.
		{"an outcome removed", []string{"P7 outcomes of", "verify missing-outcome", "verify tally"}, func() func() {
			return w.replace("EVENTS", w.outcomeOf("new-csv", at), nil)
		}},
		{"an outcome of one row less", []string{"P7 the outcome of", "verify plan", "verify tally", "verify metadata", "verify rows", "verify record"}, func() func() {
			return w.event(w.outcomeOf("new-csv", at), func(e *messages.Event) { e.Outcome.Rows-- })
		}},
		{"an outcome of another generation", []string{"P7 the outcome of", "verify outcome"}, func() func() {
			return w.event(w.outcomeOf("new-csv", at), func(e *messages.Event) { e.Outcome.Generation++ })
		}},
		{"an outcome of an object that is none", []string{"P2 no object of its rows", "P7 outcomes of", "verify outcome"}, func() func() {
			return w.event(w.outcomeOf("new-csv", at), func(e *messages.Event) { e.Outcome.Key += "x" })
		}},
		{"the newest said to be superseded", []string{"P4 nothing newer was committed", "verify stale", "verify tally"}, func() func() {
			return w.event(w.outcomeOf("new-csv", at), func(e *messages.Event) { e.Outcome.Result = messages.Superseded })
		}},
		{"a load said to be deleted", []string{"P1 ended", "verify stale", "verify tally", "verify record"}, func() func() {
			return w.event(w.outcomeOf("new-csv", at), func(e *messages.Event) { e.Outcome.Result = messages.Deleted })
		}},
		{"a tally off by one", []string{"verify tally"}, func() func() {
			return w.replace("EVENTS", messages.TallySubjects(chaosWorkspace, "new-csv"), func(b []byte) []byte {
				tally, err := messages.ParseTally(b)
				if err != nil {
					t.Fatal(err)
				}
				n := tally.Counts[messages.Loaded]
				n.Attempts++
				tally.Counts[messages.Loaded] = n
				if b, err = messages.EncodeTally(tally); err != nil {
					t.Fatal(err)
				}
				return b
			})
		}},
		{"another file of the same rows", []string{"P5 same rows", "verify content", "verify metadata", "verify record"}, func() func() {
			return w.event(w.outcomeOf("again-csv", w.key("again-csv", 1)), func(e *messages.Event) { e.Outcome.SHA256 = strings.Repeat("0", 64) })
		}},
		{"a record of an object removed", []string{"verify record"}, func() func() {
			return w.replace("EVENTS", messages.ObjectSubject("csv", provingBucket, at), nil)
		}},

		// Dead letters.
		{"a dead letter removed", []string{"P1 dead letters, want", "verify dead-letter"}, func() func() {
			m := w.stands("DEAD", "dead.dispatch.csv.>")
			w.remove("DEAD", m.Subject)
			return func() { w.publish(m.Subject, m.Header, m.Data) }
		}},
		{"a dead letter twice", []string{"P1 dead letters, want"}, func() func() {
			return w.letter(func(d *messages.DeadLetter) { d.ID += "-again" })
		}},
		{"a dead letter of an extraction that was loaded", []string{"P1 is dead"}, func() func() {
			return w.letter(func(d *messages.DeadLetter) { d.ID, d.Extraction = "new-csv", "new-csv" })
		}},
		{"a dead letter of nobody's extraction", []string{"P1 nobody committed"}, func() func() {
			return w.letter(func(d *messages.DeadLetter) { d.ID, d.Extraction = "ghost", "ghost" })
		}},
		{"a load left dead", []string{"P1 is dead"}, func() func() {
			return w.letter(func(d *messages.DeadLetter) { d.ID, d.Stage = "load", messages.StageLoad })
		}},

		{"nothing, again", nil, func() func() { return func() {} }},
	} {
		undo := mutation.mutate()
		found, err := w.oracle.examine(t.Context())
		undo()
		if err != nil {
			t.Fatalf("%s: %v", mutation.name, err)
		}
		got := map[string]bool{}
		for _, v := range found {
			got[signature(v)] = true
		}
		want := slices.Sorted(slices.Values(mutation.want))
		if diff := cmp.Diff(want, slices.Sorted(maps.Keys(got))); diff != "" {
			t.Errorf("%s: violations (-want +got):\n%s%s", mutation.name, diff, strings.Join(found, "\n"))
		}
	}
}

// leaveUpload begins an upload whose completion and abort both fail.
func (w *calmWorld) leaveUpload(key string) (undo func()) {
	w.Helper()
	proxy := storagetest.NewProxy(w.T, w.p.node.s3.Endpoint(), false)
	proxy.Inject(storagetest.UploadPart, storagetest.DeniedByPolicy, storagetest.Always)
	proxy.Inject(storagetest.AbortUpload, storagetest.DeniedByPolicy, storagetest.Always)
	s, err := (&chaosWorld{access: w.p.node.accessKey, secret: w.p.node.secretKey}).settings(w.e["new-csv"].target, proxy.Endpoint())
	if err != nil {
		w.Fatal(err)
	}
	store, err := storage.OpenDestination(w.Context(), s, storage.Config{MultipartThreshold: storage.MinPartSize, AbortTimeout: time.Second})
	if err != nil {
		w.Fatal(err)
	}
	defer store.Close()
	b := make([]byte, storage.MinPartSize+1)
	if _, err := store.Put(w.Context(), provingBucket, storage.Object{Key: key, Body: bytes.NewReader(b), Size: int64(len(b))}, storage.Always()); err == nil {
		w.Fatal("the upload succeeded")
	}
	return func() {
		proxy.Heal()
		w.oracle.orphan = func(storage.Upload) bool { return true }
	}
}
