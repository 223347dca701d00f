package dispatcher

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/queue/queuetest"
)

// world is a real queue with destinations on it, and a stranger's connection
// that publishes what no client of ours would.
type world struct {
	*queuetest.Fixture
	t       testing.TB
	keyring *destination.Keyring
	js      jetstream.JetStream
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{Fixture: queuetest.Start(t), t: t}
	var err error
	if w.keyring, err = destination.NewKeyring(destination.NewSealKey()); err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(w.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if w.js, err = jetstream.New(nc); err != nil {
		t.Fatal(err)
	}
	return w
}

// apply stores the destination "acme" with changes.
func (w *world) apply(changes ...func(*destination.Settings)) {
	w.t.Helper()
	s := &destination.Settings{
		ID: "acme", Title: "Acme", ConnectionOption: destination.AccessKeys, AccessKeyID: "AKIAIOSFODNN7EXAMPLE",
		Region: "eu-central-1", Bucket: "acme-data", Folder: "/out", FileName: "{{filename}}-{{YYYY}}{{MM}}{{DD}}",
		FileFormat: encoding.CSV, PartitionBy: destination.ByDay, UndatedRows: destination.RejectUndated,
	}
	for _, change := range changes {
		change(s)
	}
	doc, err := w.keyring.Seal(s)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.Destinations().Put(w.within(), s.ID, doc, queue.Any); err != nil {
		w.t.Fatal(err)
	}
}

func byAccount(s *destination.Settings) {
	s.LoadByAccount, s.FileName = true, "{{account}}-{{YYYY}}{{MM}}{{DD}}"
}

func (w *world) within() context.Context {
	ctx, cancel := context.WithTimeoutCause(w.t.Context(), 20*time.Second, errors.New("a step of the test took too long"))
	w.t.Cleanup(cancel)
	return ctx
}

// A batch as it is published; empty headers get their usual values.
type batch struct {
	body    string
	rows    int64
	headers map[string]string
	absent  bool // only the commit knows it
}

func commitOf(extraction string) messages.Commit {
	schema, err := encoding.NewSchema([]encoding.Column{
		{Name: "day", Type: encoding.Type{Kind: encoding.Date}},
		{Name: "account", Type: encoding.Type{Kind: encoding.String}},
		{Name: "n", Type: encoding.Type{Kind: encoding.Int64}},
	})
	if err != nil {
		panic(err)
	}
	return messages.Commit{
		Version: messages.Version, Extraction: extraction, WorkspaceID: "ws", Destination: "acme", Filename: "orders",
		Generation: 1, Schema: schema, DateColumn: "day", AccountColumn: "account",
	}
}

func hash(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:])
}

func (w *world) publish(subject string, headers map[string]string, body string) {
	w.t.Helper()
	m := &nats.Msg{Subject: subject, Header: nats.Header{}, Data: []byte(body)}
	for k, v := range headers {
		m.Header.Set(k, v)
	}
	if _, err := w.js.PublishMsg(w.within(), m); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) publishBatch(extraction string, ordinal int, b batch) {
	w.t.Helper()
	headers := map[string]string{messages.HeaderBatch: fmt.Sprint(ordinal), messages.HeaderContentType: "application/x-ndjson"}
	for k, v := range b.headers {
		headers[k] = v
	}
	w.publish(messages.RowsSubject("ws", extraction), headers, b.body)
}

// manifest fills in what a commit says of batches.
func manifest(c messages.Commit, batches []batch) messages.Commit {
	c.Batches = []messages.BatchManifest{}
	for _, b := range batches {
		c.Batches = append(c.Batches, messages.BatchManifest{Rows: b.rows, SHA256: hash(b.body)})
		c.Rows += b.rows
	}
	return c
}

func (w *world) commit(c messages.Commit) {
	w.t.Helper()
	body, err := json.Marshal(c)
	if err != nil {
		w.t.Fatal(err)
	}
	w.publish(messages.CommitSubject("ws", c.Extraction), nil, string(body))
}

// extract publishes batches and their commit.
func (w *world) extract(c messages.Commit, batches ...batch) {
	w.t.Helper()
	for i, b := range batches {
		if !b.absent {
			w.publishBatch(c.Extraction, i+1, b)
		}
	}
	w.commit(manifest(c, batches))
}

// lines is n rows of three days and two accounts.
func lines(n int) batch {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"day":"2024-06-%02d","account":"a%d","n":%d}`+"\n", 18+i%3, i%2, i)
	}
	return batch{body: b.String(), rows: int64(n)}
}

// quick is a dispatcher's configuration for tests.
func quick() Config {
	return Config{RetryDelay: time.Millisecond, HoldDelay: 50 * time.Millisecond, Grace: time.Millisecond, MaxAttempts: 3}
}

func (w *world) dispatcher(q *queue.Queue, cfg Config) *Dispatcher {
	if cfg.ScratchDir == "" {
		cfg.ScratchDir = w.t.TempDir()
	}
	return New(q, cfg, zap.NewNop())
}

// start runs a dispatcher until the returned func, or the end of the test,
// stops it.
func (w *world) start(q *queue.Queue, cfg Config) (stop func()) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	d := w.dispatcher(q, cfg)
	go func() { ended <- d.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			w.t.Errorf("dispatcher: %v", err)
		}
	}
	w.t.Cleanup(stop)
	return stop
}

// await waits for an event of one of the kinds.
func (w *world) await(extraction string, kinds ...messages.EventKind) messages.Event {
	w.t.Helper()
	for e, err := range w.Events(w.within(), "ws", extraction, true) {
		if err != nil {
			w.t.Fatalf("await %v of %s: %v", kinds, extraction, err)
		}
		if slices.Contains(kinds, e.Kind) {
			return e
		}
	}
	panic("unreachable")
}

// dispatched waits until the extraction is, and fails when it is rejected.
func (w *world) dispatched(extraction string) messages.Plan {
	w.t.Helper()
	e := w.await(extraction, messages.EventDispatched, messages.EventFailed)
	if e.Failure != nil {
		w.t.Fatalf("extraction %s: rejected: %+v", extraction, *e.Failure)
	}
	return *e.Plan
}

// sent is a load as it stands on the queue.
type sent struct {
	*messages.Load
	payload []byte
}

// loads is every load on the queue in the order in which they were stored.
func (w *world) loads(extraction string) []sent {
	w.t.Helper()
	ctx := w.within()
	s, err := w.js.Stream(ctx, "LOADS")
	if err != nil {
		w.t.Fatal(err)
	}
	state := s.CachedInfo().State
	var all []sent
	for n := max(state.FirstSeq, 1); n <= state.LastSeq; n++ {
		m, err := s.GetMsg(ctx, n)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			w.t.Fatal(err)
		}
		if !strings.HasPrefix(m.Subject, "load.") {
			continue
		}
		l, err := messages.ParseLoad(m.Header.Get(messages.HeaderLoad))
		if err != nil {
			w.t.Fatal(err)
		}
		if l.Extraction == extraction {
			all = append(all, sent{l, m.Data})
		}
	}
	return all
}

// standing counts the messages of each load on the queue, by id.
func (w *world) standing(extraction string) map[string]uint64 {
	w.t.Helper()
	s, err := w.js.Stream(w.within(), "LOADS")
	if err != nil {
		w.t.Fatal(err)
	}
	info, err := s.Info(w.within(), jetstream.WithSubjectFilter("load.fresh.acme."+extraction+".*"))
	if err != nil {
		w.t.Fatal(err)
	}
	all := map[string]uint64{}
	for subject, n := range info.State.Subjects {
		all[subject[strings.LastIndexByte(subject, '.')+1:]] = n
	}
	return all
}

// load is a load on the queue by its key.
func (w *world) load(extraction, key string) sent {
	w.t.Helper()
	s, err := w.js.Stream(w.within(), "LOADS")
	if err != nil {
		w.t.Fatal(err)
	}
	m, err := s.GetLastMsgForSubject(w.within(), "load.fresh.acme."+extraction+"."+messages.LoadID("ws", extraction, "acme-data", key))
	if err != nil {
		w.t.Fatalf("load %s: %v", key, err)
	}
	l, err := messages.ParseLoad(m.Header.Get(messages.HeaderLoad))
	if err != nil {
		w.t.Fatal(err)
	}
	return sent{l, m.Data}
}

func keys(loads []sent) []string {
	all := []string{}
	for _, l := range loads {
		all = append(all, l.Key)
	}
	return all
}

// rows is a load's rows.
func (w *world) rows(l sent) *encoding.Rows {
	w.t.Helper()
	var parts [][]byte
	var packing string
	if l.Inline != nil {
		parts, packing = [][]byte{l.payload}, l.Inline.Packed
	} else {
		for _, ref := range l.Slices {
			for b, err := range w.Slice(w.within(), ref) {
				if err != nil {
					w.t.Fatal(err)
				}
				parts, packing = append(parts, b), ref.Packed
			}
		}
	}
	var all []*encoding.Rows
	for _, b := range parts {
		r, err := new(encoding.RowsUnpacker).Unpack(packing, b)
		if err != nil {
			w.t.Fatal(err)
		}
		all = append(all, r)
	}
	return encoding.Concat(all...)
}

func (w *world) deadLetters() []queue.DeadLetter {
	w.t.Helper()
	var all []queue.DeadLetter
	for l, err := range w.DeadLetters(w.within(), queue.DeadLetterFilter{}) {
		if err != nil {
			w.t.Fatal(err)
		}
		all = append(all, l)
	}
	return all
}

// settled waits until no commit is left, in work or waiting.
func (w *world) settled() {
	w.t.Helper()
	ctx := w.within()
	for {
		s, err := w.Status(ctx)
		if err != nil {
			w.t.Fatal(err)
		}
		if s.Commits.Pending == 0 && s.Commits.InFlight == 0 {
			return
		}
	}
}
