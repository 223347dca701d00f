package main

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/storage"
	"github.com/loadfleet/loadfleet/storage/storagetest"
)

// calmWorld is a world in which nothing goes wrong: a node in this process,
// two generations of a table of files per day, one of files per month, and an
// extraction with a bad row.
type calmWorld struct {
	*testing.T
	p      *proving
	oracle *oracle
	store  *storage.Store
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
		if target.id != "csv" && target.id != "parquet" {
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
			{id: "bad-" + target.id, generation: 3, content: 3, days: []int{2}, poison: true},
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
	return w
}

// key is the object of a day.
func (w *calmWorld) key(id string, day int) string {
	e := w.e[id]
	return e.target.key(e.table, chaosRow{Day: chaosDay(day)})
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

// outcomeOf is the subject of the outcome of an object's load.
func (w *calmWorld) outcomeOf(id, key string) string {
	return messages.EventSubject(&messages.Event{Kind: messages.EventOutcome, Workspace: chaosWorkspace, Extraction: id,
		Outcome: &messages.Outcome{Load: messages.LoadID(chaosWorkspace, id, provingBucket, key)}})
}

// TestOracleCanFail breaks what the oracle examines, one thing at a time: each
// must be reported, under its promise. What calm gives is reported as nothing.
func TestOracleCanFail(t *testing.T) {
	t.Parallel()
	w := newCalmWorld(t)
	at, month := w.key("new-csv", 2), w.key("new-parquet", 3)
	for _, mutation := range []struct {
		name, promise, says string
		mutate              func() (undo func())
	}{
		{"nothing", "", "", func() func() { return func() {} }},
		{"a row dropped from an object", "P1", "lacks", func() func() {
			b, s := w.object(w.key("new-csv", 2))
			header, _, _ := bytes.Cut(b, []byte("\n2024-"))
			w.put(at, append(header, '\n'), s.Meta)
			return func() { w.put(at, b, s.Meta) }
		}},
		{"a row twice in an object", "P2", "once too often", func() func() {
			b, s := w.object(at)
			_, rows, _ := bytes.Cut(b, []byte("\n"))
			w.put(at, slices.Concat(b, rows), s.Meta)
			return func() { w.put(at, b, s.Meta) }
		}},
		{"a cell changed", "P2", "not extraction", func() func() {
			b, s := w.object(at)
			w.put(at, bytes.Replace(b, []byte("2024-01-31;acc"), []byte("2024-01-31;bcc"), 1), s.Meta)
			return func() { w.put(at, b, s.Meta) }
		}},
		{"two objects swapped", "P4", "want new-csv", func() func() {
			one, s1 := w.object(at)
			other := w.key("old-csv", 0)
			two, s2 := w.object(other)
			w.put(at, two, s2.Meta)
			w.put(other, one, s1.Meta)
			return func() { w.put(at, one, s1.Meta); w.put(other, two, s2.Meta) }
		}},
		{"two contents swapped, each with the metadata of its key", "P1", "lacks", func() func() {
			one, s1 := w.object(at)
			other := w.key("old-csv", 0)
			two, s2 := w.object(other)
			w.put(at, two, s1.Meta)
			w.put(other, one, s2.Meta)
			return func() { w.put(at, one, s1.Meta); w.put(other, two, s2.Meta) }
		}},
		{"the older generation put back", "P4", "generation 1", func() func() {
			b, s := w.object(at)
			old := w.e["old-csv"].byKey()[at]
			text := "day;account;id;n;note\n"
			for _, r := range old {
				text += r.Day + ";" + r.Account + ";" + r.ID + ";0;\n"
			}
			m := s.Meta
			m.Extraction, m.Generation, m.Load = "old-csv", 1, messages.LoadID(chaosWorkspace, "old-csv", provingBucket, at)
			w.put(at, []byte(text), m)
			return func() { w.put(at, b, s.Meta) }
		}},
		{"an object removed", "P1", "is missing", func() func() {
			b, s := w.object(month)
			if err := w.store.Delete(t.Context(), provingBucket, month, storage.Always()); err != nil {
				t.Fatal(err)
			}
			return func() { w.put(month, b, s.Meta) }
		}},
		{"an object that nobody ordered", "P3", "nobody's", func() func() {
			stray := at + ".part"
			w.put(stray, []byte("x"), storage.Meta{Load: "x"})
			return func() {
				if err := w.store.Delete(t.Context(), provingBucket, stray, storage.Always()); err != nil {
					t.Fatal(err)
				}
			}
		}},
		{"an object cut in half", "P3", "cannot be read", func() func() {
			b, s := w.object(month)
			w.put(month, b[:len(b)/2], s.Meta)
			return func() { w.put(month, b, s.Meta) }
		}},
		{"metadata of another's load", "P5", "does not make it", func() func() {
			b, s := w.object(at)
			m := s.Meta
			m.Load = "another"
			w.put(at, b, m)
			return func() { w.put(at, b, s.Meta) }
		}},
		{"an extraction said to be completed twice", "P7", "completed 2 times", func() func() {
			w.oracle.completed["new-csv"]++
			return func() { w.oracle.completed["new-csv"]-- }
		}},
		{"a commit that was acknowledged and is not there", "P1", "is gone", func() func() {
			before := w.oracle.extractions
			lost := &chaosExtraction{id: "lost", target: w.e["new-csv"].target, table: "other", generation: 1, days: []int{1}, acked: true}
			w.oracle.extractions = append(before[:len(before):len(before)], lost)
			return func() { w.oracle.extractions = before }
		}},
		{"an upload left unfinished", "P3", "left unfinished", func() func() { return w.leaveUpload(at) }},
		// The last ones cannot be undone.
		{"an outcome removed", "P7", "0 outcomes", func() func() {
			w.p.purge(t, w.outcomeOf("new-csv", at))
			return func() {}
		}},
		{"a dead letter discarded", "P1", "0 dead letters", func() func() {
			for _, d := range w.p.deadLetters(t, "bad-csv") {
				if err := w.p.node.queue.Discard(t.Context(), d.Sequence, queue.Operation{}); err != nil {
					t.Fatal(err)
				}
			}
			return func() {}
		}},
	} {
		undo := mutation.mutate()
		found, err := w.oracle.examine(t.Context())
		undo()
		if err != nil {
			t.Fatalf("%s: %v", mutation.name, err)
		}
		if mutation.promise == "" {
			if len(found) > 0 {
				t.Fatalf("%s: got %q, want nothing", mutation.name, found)
			}
			continue
		}
		reported := false
		for _, v := range found {
			reported = reported || strings.HasPrefix(v, mutation.promise+": ") && strings.Contains(v, mutation.says)
		}
		if !reported {
			t.Errorf("%s: got %q, want a violation of %s that says %q", mutation.name, found, mutation.promise, mutation.says)
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
