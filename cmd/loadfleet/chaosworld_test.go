package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/storage"
	s3server "github.com/loadfleet/loadfleet/storage/embedded"
	"github.com/loadfleet/loadfleet/storage/storagetest"
)

// chaosLease is how long a load stays with a process that is not heard of.
const chaosLease = 3 * time.Second

// slot is a place where a process runs, again and again.
type slot struct {
	name    string
	args    []string
	environ []string
	process *process
	broken  bool // a fault is at work on it
	started time.Time
}

// span is a time during which something was so.
type span struct{ from, to time.Time }

func within(t time.Time, spans []span) bool {
	return slices.ContainsFunc(spans, func(s span) bool { return !t.Before(s.from) && !t.After(s.to) })
}

// chaosWorld is a fleet of processes that a test breaks: NATS servers, S3
// behind a proxy, dispatchers, workers and extractors.
type chaosWorld struct {
	*fleet
	seed    uint64
	token   string
	access  string
	secret  string
	keyring *destination.Keyring
	proxy   *storagetest.Proxy
	s3      string // its endpoint, past the proxy

	nats       []*slot
	servers    []natsServer
	actors     []*slot // dispatchers and workers
	targets    []*chaosTarget
	direct     map[string]*storage.Store
	schema     encoding.Schema
	oracle     *oracle
	violations chan string // found while it runs
	required   []string    // faults without which a run proves little

	died    []span // the lives of workers that were killed
	away    []span // of the store
	counts  faultCounts
	faults  *s3Faults
	observe sync.WaitGroup

	mu          sync.Mutex
	extractions []*chaosExtraction
}

// faultCounts counts what was done to the world, by kind.
type faultCounts struct {
	mu sync.Mutex
	of map[string]int
}

func (c *faultCounts) add(kind string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		c.of = map[string]int{}
	}
	c.of[kind]++
}

func (c *faultCounts) total() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, of := range c.of {
		n += of
	}
	return n
}

// has tells whether each of some kinds was counted.
func (c *faultCounts) has(kinds []string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !slices.ContainsFunc(kinds, func(kind string) bool { return c.of[kind] == 0 })
}

// chaosShape is how large a world is.
type chaosShape struct {
	dispatchers, workers int
	replicas             int
	nats                 func(w *chaosWorld) []natsServer
}

// newChaosWorld starts everything and applies the destinations.
func newChaosWorld(t *testing.T, seed uint64, shape chaosShape) *chaosWorld {
	t.Helper()
	w := &chaosWorld{
		fleet: newFleet(t, t.TempDir()), seed: seed, token: "chaos-nats-token-" + nats.NewInbox()[7:],
		access: "CHAOSACCESSKEY000001", secret: "chaos/secret/key/" + nats.NewInbox()[7:], targets: chaosTargets(),
		violations: make(chan string, 1000), direct: map[string]*storage.Store{},
		required: []string{"kill -9 of dispatcher", "kill -9 of worker", "kill -9 of nats", "SIGSTOP of worker", "SIGSTOP of dispatcher"},
	}
	if err := w.schema.UnmarshalJSON([]byte(chaosSchema)); err != nil {
		t.Fatal(err)
	}
	seal := destination.NewSealKey()
	for name, text := range map[string]string{"nats.token": w.token, "s3.secret-key": w.secret, sealKeyFile: seal} {
		if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if w.keyring, err = destination.ParseKeyring(seal); err != nil {
		t.Fatal(err)
	}
	w.startS3()
	w.servers = shape.nats(w)
	w.env["LOADFLEET_NATS_URL"] = natsURLs(w.token, w.servers)
	w.env["LOADFLEET_SEAL_KEY"] = "file:" + filepath.Join(w.dir, sealKeyFile)
	w.env["LOADFLEET_LEASE"] = chaosLease.String()
	for _, s := range w.servers {
		w.nats = append(w.nats, &slot{name: "nats " + s.name, args: []string{s.config}, environ: append(w.environ(), asServer+"=nats")})
	}
	for _, s := range w.nats {
		w.launch(s)
	}
	w.provision(shape.replicas)
	q := w.queue()
	w.oracle = &oracle{queue: q, keyring: w.keyring, stores: w.direct, targets: w.targets, orphan: w.orphan}
	for _, target := range w.targets {
		w.apply(target)
		settings, err := w.settings(target, w.s3)
		if err != nil {
			t.Fatal(err)
		}
		if w.direct[target.id], err = storage.OpenDestination(t.Context(), settings, storage.Config{}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(w.direct[target.id].Close)
	}
	for i := range shape.dispatchers {
		w.actors = append(w.actors, &slot{name: fmt.Sprint("dispatcher ", i), environ: w.environ(), args: []string{
			"dispatcher", "--hold-delay", "500ms", "--dispatch-retry-delay", "200ms", "--dispatch-grace", "2s",
		}})
	}
	for i := range shape.workers {
		w.actors = append(w.actors, &slot{name: fmt.Sprint("worker ", i), environ: w.environ(), args: []string{
			"worker", "--slots", "4", "--max-attempts", "4", "--retry-delay", "200ms", "--park-delay", "500ms", "--park-limit", "4s",
			"--grace", "2s", "--reply-timeout", "2s", "--multipart-threshold", fmt.Sprint(storage.MinPartSize),
		}})
	}
	for _, s := range w.actors {
		w.launch(s)
	}
	return w
}

// startS3 starts the store in a process of its own, and the proxy before it.
func (w *chaosWorld) startS3() {
	w.Helper()
	addr := fmt.Sprintf("127.0.0.1:%d", freePorts(w.T, 1)[0])
	cfg, err := json.Marshal(map[string]any{
		"Dir": filepath.Join(w.dir, "s3"), "Addr": addr, "AccessKey": w.access, "SecretKey": w.secret, "Buckets": []string{chaosBucket, shutBucket},
	})
	if err != nil {
		w.Fatal(err)
	}
	var check s3server.Config
	if err := json.Unmarshal(cfg, &check); err != nil {
		w.Fatal(err)
	}
	p, err := w.start(append(w.environ(), asServer+"=s3"), string(cfg))
	if err != nil {
		w.Fatal(err)
	}
	if err := p.out.await(w.Context(), "s3 is up"); err != nil {
		w.Fatalf("s3: %v\n%s", err, p.err.tail())
	}
	w.s3 = "http://" + addr
	w.proxy = storagetest.NewProxy(w.T, w.s3, false)
	w.faults = newS3Faults(w.seed, &w.counts)
}

// launch starts a slot's process.
func (w *chaosWorld) launch(s *slot) {
	w.Helper()
	p, err := w.start(s.environ, s.args...)
	if err != nil {
		w.Fatal(err)
	}
	s.process, s.broken = p, false
	s.started = time.Now()
}

// provision makes the streams, as soon as NATS lets it.
func (w *chaosWorld) provision(replicas int) {
	w.Helper()
	w.eventually("NATS to take the streams", func() error {
		p := w.command("provision", "--replicas", fmt.Sprint(replicas))
		if w.wait(p) != exitOK {
			return errors.New(p.err.tail())
		}
		return nil
	})
}

// eventually tries until it succeeds.
func (w *chaosWorld) eventually(what string, try func() error) {
	w.Helper()
	limit := time.Now().Add(patience)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(limit) {
			w.Fatalf("waited %s for %s: %v", patience, what, err)
		}
		<-tick.C
	}
}

func (w *chaosWorld) settings(t *chaosTarget, endpoint string) (*destination.Settings, error) {
	return destination.Parse(fmt.Appendf(nil, `id: %s
title: chaos
connection_option: access_keys
access_key_id: %s
secret_access_key: %s
region: us-east-1
endpoint: %s
path_style: true
bucket: %s
encryption: sse-s3
workspaces: [%s]
%s
`, t.id, w.access, w.secret, endpoint, t.bucket, chaosWorkspace, t.form), destination.OSResolver())
}

// apply stores a destination, waiting for NATS.
func (w *chaosWorld) apply(t *chaosTarget) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), patience)
	defer cancel()
	if err := w.store(ctx, t, nil); err != nil {
		w.Fatal(err)
	}
}

// store stores a destination, as an operator edits it.
func (w *chaosWorld) store(ctx context.Context, t *chaosTarget, change func(*destination.Settings)) error {
	s, err := w.settings(t, w.proxy.Endpoint())
	if err != nil {
		return err
	}
	if change != nil {
		change(s)
	}
	sealed, err := w.keyring.Seal(s)
	if err != nil {
		return err
	}
	_, err = w.oracle.queue.Destinations().Put(ctx, s.ID, sealed, queue.Any)
	return err
}

// watch looks on while faults are at work. It counts how often an extraction is
// said to be completed, and reads objects as a customer would: each that it sees
// must be whole, of the extraction that its metadata names, and never older than
// what it saw there before. (Where objects are deleted, one may show for a moment
// that an older load put there and takes back.)
func (w *chaosWorld) watch(ctx context.Context) {
	completed := map[string]int{}
	w.oracle.completed = completed
	w.observe.Go(func() {
		for event, err := range w.oracle.queue.Events(ctx, chaosWorkspace, "", true) {
			if err != nil {
				if ctx.Err() == nil {
					w.violations <- fmt.Sprintf("P7: the events cannot be followed: %v", err)
				}
				return
			}
			if event.Kind == messages.EventCompleted {
				w.mu.Lock()
				completed[event.Extraction]++
				w.mu.Unlock()
			}
		}
	})
	w.observe.Go(func() {
		random := rand.New(rand.NewPCG(w.seed, 4))
		last := map[string]storage.Meta{}
		for ctx.Err() == nil {
			t := w.targets[random.IntN(len(w.targets))]
			var keys []string
			for found, err := range w.direct[t.id].List(ctx, t.bucket, "") {
				if err != nil {
					break // the store is always there; the context may not be
				}
				keys = append(keys, found.Key)
			}
			random.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
			for _, key := range keys[:min(len(keys), 8)] {
				w.look(ctx, t, key, last)
			}
			pause(ctx, 50*time.Millisecond)
		}
	})
}

// look reads one object and compares it with what it must be.
func (w *chaosWorld) look(ctx context.Context, t *chaosTarget, key string, last map[string]storage.Meta) {
	b, stored, err := fetch(ctx, w.direct[t.id], t.bucket, key)
	if err != nil {
		return
	}
	e := w.extraction(stored.Meta.Extraction)
	if e == nil {
		w.violations <- fmt.Sprintf("P3: s3://%s/%s is of extraction %q, which does not exist", t.bucket, key, stored.Meta.Extraction)
		return
	}
	for _, wrong := range matches(e, key, b, stored) {
		w.violations <- "while running: " + wrong
	}
	name := t.bucket + "/" + key
	if before := w.extraction(last[name].Extraction); before != nil && before.beats(e) && !t.covers {
		w.violations <- fmt.Sprintf("P4: s3://%s went back from extraction %s (generation %d) to %s (%d)", name, before.id, before.generation, e.id, e.generation)
	}
	last[name] = stored.Meta
}

func (w *chaosWorld) extraction(id string) *chaosExtraction {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.extractions {
		if e.id == id {
			return e
		}
	}
	return nil
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// crashes looks for processes that did not end because somebody ended them.
func (w *chaosWorld) crashes() (found []string) {
	w.fleet.mu.Lock()
	defer w.fleet.mu.Unlock()
	for _, p := range w.processes {
		for _, sign := range []string{"panic: ", "fatal error: ", "WARNING: DATA RACE", "unexpected signal"} {
			if text := p.err.text(); strings.Contains(text, sign) {
				at := strings.Index(text, sign)
				found = append(found, fmt.Sprintf("P1: %s crashed: %s", p.name, text[at:min(len(text), at+2000)]))
			}
		}
	}
	return found
}

// orphan tells an upload that nobody was left to abort: it was begun in the life
// of a worker that was killed, its beginning was never answered because the
// store went away, or a worker that could not abort it said so in its log.
func (w *chaosWorld) orphan(u storage.Upload) bool {
	begun := u.Begun.Truncate(time.Second)
	for _, s := range w.died {
		if !begun.Before(s.from.Truncate(time.Second)) && !begun.After(s.to) {
			return true
		}
	}
	if within(u.Begun, w.away) {
		return true
	}
	w.fleet.mu.Lock()
	defer w.fleet.mu.Unlock()
	return slices.ContainsFunc(w.processes, func(p *process) bool { return strings.Contains(p.err.text(), u.ID) })
}

// connect connects another client; it waits for NATS.
func (w *chaosWorld) connect(ctx context.Context, name string) (*queue.Queue, error) {
	for {
		q, err := queue.Connect(ctx, queue.Config{URL: w.env["LOADFLEET_NATS_URL"], Name: name, RequestTimeout: 2 * time.Second}, zap.NewNop())
		if err == nil {
			return q, nil
		}
		if pause(ctx, 100*time.Millisecond); ctx.Err() != nil {
			return nil, err
		}
	}
}
