package worker_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
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
	"github.com/loadfleet/loadfleet/storage"
	"github.com/loadfleet/loadfleet/storage/embedded"
	"github.com/loadfleet/loadfleet/storage/storagetest"
	"github.com/loadfleet/loadfleet/worker"
)

const (
	rootKey    = "AKIAROOTROOTROOTROOT"
	rootSecret = "root-secret-access-key"
	putOnlyKey = "AKIAPUTONLYPUTONLYPU"
	region     = "eu-central-1"
	kmsKey     = "arn:aws:kms:eu-central-1:111111111111:key/0f1e2d3c"
	disabled   = "arn:aws:kms:eu-central-1:111111111111:key/disabled"

	workspace = "ws"
	careless  = "acme-without-conditions"
	maxBucket = 220
)

// The gateway allows one server per process, so all tests share this one and
// keep to buckets of their own.
var (
	server  *embedded.Server
	buckets atomic.Int64
)

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "loadfleet-worker")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	names := make([]string, maxBucket)
	for i := range names {
		names[i] = bucketName(i)
	}
	names = append(names, careless)
	server, err = embedded.Start(context.Background(), embedded.Config{
		Dir: dir, AccessKey: rootKey, SecretKey: rootSecret, Region: region, Buckets: names,
		Users:  []embedded.User{{ARN: "arn:aws:iam::111111111111:user/none", AccessKey: putOnlyKey, SecretKey: rootSecret}},
		Quirks: map[string]embedded.Quirk{careless: {IgnoreConditions: true}},
		Keys:   []embedded.Key{{ARN: kmsKey}, {ARN: disabled, State: embedded.KeyDisabled}},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := server.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func bucketName(n int) string { return fmt.Sprintf("acme-%d", n) }

// rig is a queue of its own, a bucket of its own behind a proxy, and the
// destination "acme" that leads there.
type rig struct {
	*queuetest.Fixture
	t        testing.TB
	proxy    *storagetest.Proxy
	endpoint string // the proxy's
	bucket   string
	direct   *storage.Store // past the proxy: the truth
	keyring  *destination.Keyring
	log      *logbook
}

func newRig(t *testing.T, changes ...func(*queue.Config)) *rig {
	t.Helper()
	r := &rig{
		Fixture: queuetest.Start(t, changes...), t: t, bucket: bucketName(int(buckets.Add(1) - 1)),
		proxy: storagetest.NewProxy(t, server.Endpoint(), false), log: newLogbook(),
	}
	var err error
	if r.keyring, err = destination.NewKeyring(destination.NewSealKey()); err != nil {
		t.Fatal(err)
	}
	r.endpoint = r.proxy.Endpoint()
	r.direct = r.store(server.Endpoint())
	r.apply(nil)
	return r
}

func (r *rig) store(endpoint string) *storage.Store {
	r.t.Helper()
	s, err := storage.Open(r.t.Context(), storage.Access{
		Destination: "direct", ConnectionOption: "access_keys", AccessKeyID: rootKey, SecretAccessKey: rootSecret,
		Region: region, Endpoint: endpoint, PathStyle: true, Checksum: true, Encryption: "none",
	}, quick())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(s.Close)
	return s
}

// quick is a configuration in which failures do not wait.
func quick() storage.Config {
	return storage.Config{PartSize: 5 << 20, MultipartThreshold: 256 << 10, RetryBackoff: 5 * time.Millisecond}
}

// apply stores the destination, changed from its usual settings.
func (r *rig) apply(change func(*destination.Settings)) {
	r.t.Helper()
	doc := fmt.Sprintf(`
id: acme
title: Acme
connection_option: access_keys
access_key_id: %s
secret_access_key: %s
region: %s
bucket: %s
endpoint: %s
path_style: true
workspaces: [%s]
folder: /
file_name: "{{filename}}{{YYYY}}{{MM}}{{DD}}"
file_format: csv
separator: comma
partition_by: day
load_by_account: false
encryption: none
`, rootKey, rootSecret, region, r.bucket, r.endpoint, workspace)
	s, err := destination.Parse([]byte(doc), destination.OSResolver())
	if err != nil {
		r.t.Fatal(err)
	}
	if change != nil {
		change(s)
	}
	sealed, err := r.keyring.Seal(s)
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.Destinations().Put(r.t.Context(), s.ID, sealed, queue.Any); err != nil {
		r.t.Fatal(err)
	}
}

// start runs a worker on a connection of its own; stop ends it and waits.
func (r *rig) start(changes ...func(*worker.Config)) (stop func()) {
	r.t.Helper()
	cfg := worker.Config{
		Name: "w", Slots: 2, SpoolBytes: 64 << 10, RetryDelay: 2 * time.Millisecond, ParkDelay: 20 * time.Millisecond,
		Grace: 10 * time.Second, Storage: quick(),
	}
	for _, change := range changes {
		change(&cfg)
	}
	if cfg.ScratchDir == "" {
		cfg.ScratchDir = r.t.TempDir()
	}
	w := worker.New(r.Connect(r.t), r.keyring, cfg, zap.New(r.log))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			r.t.Errorf("run: %v", err)
		}
		left, err := os.ReadDir(cfg.ScratchDir)
		if err != nil || len(left) > 0 {
			r.t.Errorf("scratch directory: %v, %v, want it empty", left, err)
		}
	})
	r.t.Cleanup(stop)
	return stop
}

// spec is a load to be made; its zero value is usable.
type spec struct {
	extraction string // "e" when empty
	name       string // of the case, in tests of many: makes extraction and key its own
	generation int64  // 1 when 0
	rows       *encoding.Rows
	format     encoding.Format // csv when empty
	slices     int             // how many; 0 puts the rows inside
	change     func(*messages.Load)
	payload    func([]byte) []byte
}

// publish puts a load on the queue.
func (r *rig) publish(s spec) *messages.Load {
	r.t.Helper()
	l, payload := r.load(s)
	r.send(l, payload, l.Extraction)
	return l
}

func (r *rig) load(s spec) (*messages.Load, []byte) {
	r.t.Helper()
	ctx := r.t.Context()
	folder := "orders"
	if s.name != "" {
		folder = strings.Map(func(c rune) rune {
			if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' {
				return c
			}
			return '-'
		}, s.name)
		s.extraction = folder
	}
	if s.extraction == "" {
		s.extraction = "e"
	}
	if s.generation == 0 {
		s.generation = 1
	}
	if s.format == "" {
		s.format = encoding.CSV
	}
	if s.rows == nil {
		s.rows = rows(r.t, s.extraction, 20)
	}
	l := &messages.Load{
		Version: messages.Version, Workspace: workspace, Destination: "acme", Extraction: s.extraction, Lane: messages.Fresh,
		Generation: s.generation, Bucket: r.bucket, Key: folder + "/20240618" + s.format.Extension(), File: messages.FileSpec{Format: s.format},
		Part: messages.Partition{From: "2024-06-18", To: "2024-06-18", Account: "acct-1", DateColumn: "day", AccountColumn: "account"},
		Rows: int64(s.rows.Len()), Time: time.Date(2024, 6, 18, 12, 0, 0, 0, time.UTC),
	}
	l.ID = messages.LoadID(l.Workspace, l.Extraction, l.Bucket, l.Key)
	var payload []byte
	if s.slices == 0 {
		var unpacked int
		payload, unpacked = pack(r.t, s.rows)
		sum := sha256.Sum256(payload)
		l.Inline = &messages.RowsRef{
			Bytes: int64(len(payload)), Packed: encoding.PackedColumns, Unpacked: int64(unpacked), SHA256: hex.EncodeToString(sum[:]),
		}
	} else {
		w := r.Slices(ctx, messages.SliceSubject(l.Extraction, l.ID, "try"))
		for i := range s.slices {
			part := s.rows.Slice(i*s.rows.Len()/s.slices, (i+1)*s.rows.Len()/s.slices)
			b, _ := pack(r.t, part)
			if err := w.Write(ctx, int64(part.Len()), b); err != nil {
				r.t.Fatal(err)
			}
		}
		ref := w.Close()
		ref.Packed = encoding.PackedColumns
		l.Slices = []messages.SliceRef{ref}
	}
	if s.change != nil {
		s.change(l)
	}
	if s.payload != nil {
		payload = s.payload(payload)
	}
	return l, payload
}

// send dispatches one load; the same load may be sent again as another
// dispatch, which is how a delivery is had twice.
func (r *rig) send(l *messages.Load, payload []byte, dispatch string) {
	r.t.Helper()
	ctx := r.t.Context()
	d := r.Dispatch(ctx, workspace, dispatch, "plan")
	if err := errors.Join(d.Add(ctx, l, payload), d.Close(ctx)); err != nil {
		r.t.Fatal(err)
	}
}

func pack(t testing.TB, rows *encoding.Rows) (packed []byte, unpacked int) {
	t.Helper()
	packed, unpacked, err := new(encoding.RowsPacker).Pack(rows)
	if err != nil {
		t.Fatal(err)
	}
	return packed, unpacked
}

func schema(t testing.TB) *encoding.Schema {
	t.Helper()
	column := func(name, kind string) encoding.Column {
		typ, err := encoding.ParseType(kind)
		if err != nil {
			t.Fatal(err)
		}
		return encoding.Column{Name: name, Type: typ}
	}
	s, err := encoding.NewSchema([]encoding.Column{
		column("day", "date"), column("account", "string"), column("campaign", "string"), column("clicks", "int64"),
		column("cost", "decimal(12,2)"), column("rate", "float64"), column("seen", "timestamp"), column("extra", "json"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// rows are n rows of one day and account that depend on seed.
func rows(t testing.TB, seed string, n int) *encoding.Rows {
	t.Helper()
	var text bytes.Buffer
	for i := range n {
		fmt.Fprintf(&text, `{"day":"2024-06-18","account":"acct-1","campaign":"%s, \"quoted\" %d","clicks":%d,"cost":"%d.50","rate":0.%d,"seen":"2024-06-18T12:15:%02dZ","extra":{"n":%d}}`+"\n",
			seed, i%97, int64(1)<<53+int64(i), i, i+1, i%60, i)
	}
	return decode(t, text.String())
}

func decode(t testing.TB, ndjson string) *encoding.Rows {
	t.Helper()
	var parts []*encoding.Rows
	d := encoding.NewDecoder(schema(t), encoding.DecodeOptions{}, func(part *encoding.Rows) error {
		parts = append(parts, part)
		return nil
	})
	_, err := d.Decode(1, encoding.NDJSONInput, encoding.Plain, strings.NewReader(ndjson))
	if err := errors.Join(err, d.Flush()); err != nil {
		t.Fatal(err)
	}
	return encoding.Concat(parts...)
}

// file is the rows encoded without a worker.
func file(t testing.TB, rows *encoding.Rows, format encoding.Format) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := encoding.NewWriter(&b, rows.Schema(), encoding.FileOptions{Format: format})
	if err == nil {
		err = errors.Join(w.Write(rows), w.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// object is what a load's rows are as an object.
func object(t testing.TB, l *messages.Load, rows *encoding.Rows) storage.Object {
	t.Helper()
	b := file(t, rows, l.File.Format)
	sum := sha256.Sum256(b)
	return storage.Object{
		Key: l.Key, ContentType: l.File.Format.ContentType(), Body: bytes.NewReader(b), Size: int64(len(b)), SHA256: sum,
		Meta: storage.Meta{Load: l.ID, Extraction: l.Extraction, Generation: l.Generation, Rows: l.Rows, SHA256: hex.EncodeToString(sum[:])},
	}
}

// expect fails the test unless the bucket holds exactly what the load's rows
// are, with its metadata.
func (r *rig) expect(l *messages.Load, rows *encoding.Rows) storage.Stored {
	r.t.Helper()
	body, stored, err := r.direct.Get(r.t.Context(), l.Bucket, l.Key)
	if err != nil {
		r.t.Fatalf("get %s: %v", l.Key, err)
	}
	got, err := io.ReadAll(body)
	if err := errors.Join(err, body.Close()); err != nil {
		r.t.Fatal(err)
	}
	want := object(r.t, l, rows)
	if sum := sha256.Sum256(got); sum != want.SHA256 {
		r.t.Errorf("%s holds %d bytes with sha256 %x, want %d with %x", l.Key, len(got), sum, want.Size, want.SHA256)
	}
	if stored.Meta != want.Meta || stored.ContentType != want.ContentType {
		r.t.Errorf("%s: got %+v, %s, want %+v, %s", l.Key, stored.Meta, stored.ContentType, want.Meta, want.ContentType)
	}
	return stored
}

// expectEmpty fails the test when anything is in the bucket.
func (r *rig) expectEmpty() {
	r.t.Helper()
	for o, err := range r.direct.List(r.t.Context(), r.bucket, "") {
		r.t.Errorf("in the bucket: %s, %v, want nothing", o.Key, err)
	}
}

// expectNoUploads fails the test when an upload was left behind.
func (r *rig) expectNoUploads() {
	r.t.Helper()
	for u, err := range r.direct.Uploads(r.t.Context(), r.bucket, "") {
		r.t.Errorf("unfinished upload: %+v, %v, want none", u, err)
	}
}

// outcome waits for how a load ended.
func (r *rig) outcome(l *messages.Load) messages.Outcome {
	r.t.Helper()
	ctx := within(r.t, 20*time.Second)
	for event, err := range r.Events(ctx, l.Workspace, l.Extraction, true) {
		if err != nil {
			r.t.Fatalf("wait for the outcome of %s: %v; log:\n%s", l.Extraction, err, r.log)
		}
		if o := event.Outcome; o != nil && o.Load == l.ID {
			return *o
		}
	}
	r.t.Fatal("the events ended")
	return messages.Outcome{}
}

// deadLetters is all that the filter chooses.
func (r *rig) deadLetters(filter queue.DeadLetterFilter) []queue.DeadLetter {
	r.t.Helper()
	var all []queue.DeadLetter
	for d, err := range r.DeadLetters(r.t.Context(), filter) {
		if err != nil {
			r.t.Fatal(err)
		}
		all = append(all, d)
	}
	return all
}

// expectIdle fails the test unless every load has been settled for good.
func (r *rig) expectIdle() {
	r.t.Helper()
	s, err := r.Status(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	for _, lane := range s.Lanes {
		if lane.Pending > 0 || lane.InFlight > 0 {
			r.t.Errorf("lane %s: %d pending and %d in flight, want none", lane.Lane, lane.Pending, lane.InFlight)
		}
	}
	if s.Stuck != 0 {
		r.t.Errorf("stuck loads: got %d, want 0", s.Stuck)
	}
}

// within gives a step of a test a time in which it must be over.
func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), d, fmt.Errorf("test step took longer than %s", d))
	t.Cleanup(cancel)
	return ctx
}

// jetStream is a client past the queue package, for what it refuses to send.
func (r *rig) jetStream() jetstream.JetStream {
	r.t.Helper()
	nc, err := nats.Connect(r.URL())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		r.t.Fatal(err)
	}
	return js
}

func message(subject, load string) *nats.Msg {
	m := &nats.Msg{Subject: subject, Header: nats.Header{}}
	if load != "" {
		m.Header.Set(messages.HeaderLoad, load)
	}
	return m
}

func (r *rig) applyEncryption(key string) {
	r.t.Helper()
	r.apply(func(s *destination.Settings) { s.Encryption, s.EncryptionKey = destination.SSEKMSCustomer, key })
}

// seal stores the destination as this worker cannot open it.
func (r *rig) seal(id, how string) {
	r.t.Helper()
	stored, err := r.Destinations().Get(r.t.Context(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	document := stored.Document
	if how == "newer" {
		document = bytes.Replace(document, []byte(`"version":1`), []byte(`"version":9`), 1)
	} else {
		s, err := r.keyring.Open(document)
		if err != nil {
			r.t.Fatal(err)
		}
		other, err := destination.NewKeyring(destination.NewSealKey())
		if err != nil {
			r.t.Fatal(err)
		}
		if document, err = other.Seal(s); err != nil {
			r.t.Fatal(err)
		}
	}
	if _, err := r.Destinations().Put(r.t.Context(), id, document, queue.Any); err != nil {
		r.t.Fatal(err)
	}
}
