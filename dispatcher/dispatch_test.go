package dispatcher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
)

// wide is an extraction of more loads than one chunk takes, and one that goes
// by slices: accounts 0 to n-1, the first of them with 3 MB of rows.
func wide(n int) (messages.Commit, []batch) {
	c := commitOf("wide")
	columns := append(c.Schema.Columns(), encoding.Column{Name: "text", Type: encoding.Type{Kind: encoding.String}})
	c.Schema, _ = encoding.NewSchema(columns)
	var all []batch
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"day":"2024-06-18","account":"%05d","n":%d}`+"\n", i, i)
	}
	all = append(all, batch{body: b.String(), rows: int64(n)})
	for i := range 3 {
		b.Reset()
		for j := range 100 {
			fmt.Fprintf(&b, `{"day":"2024-06-18","account":"00000","n":%d,"text":"%d%s"}`+"\n", j, i*100+j, strings.Repeat("x", 10000))
		}
		all = append(all, batch{body: b.String(), rows: 100})
	}
	return c, all
}

// work is an extraction as a dispatcher holds it.
func work(c messages.Commit, batches []batch) *extraction {
	c = manifest(c, batches)
	return &extraction{Workspace: "ws", Extraction: c.Extraction, commit: &c, at: time.Now().UTC()}
}

var errCrash = errors.New("crash")

// fuse is a context that ends when it has been asked a number of times.
type fuse struct {
	context.Context
	left atomic.Int64
	blow context.CancelCauseFunc
}

func newFuse(parent context.Context, n int64) *fuse {
	f := new(fuse)
	f.Context, f.blow = context.WithCancelCause(parent)
	f.left.Store(n)
	return f
}

func (f *fuse) burn() {
	if f.left.Add(-1) == 0 {
		f.blow(errCrash)
	}
}

func (f *fuse) Done() <-chan struct{} { f.burn(); return f.Context.Done() }
func (f *fuse) Err() error            { f.burn(); return f.Context.Err() }

// TestP2Interrupted stops a dispatch after each of its steps, edits the
// destination, and lets another dispatcher carry on.
func TestP2Interrupted(t *testing.T) {
	const accounts = 1100 // two chunks
	c, batches := wide(accounts)
	elsewhere := func(s *destination.Settings) { byAccount(s); s.Folder = "/elsewhere" }
	steps := []struct {
		name   string
		crash  func(t *testing.T, d *Dispatcher, e *extraction) // what the first try does before it dies
		folder string                                           // of the keys afterwards
	}{
		{"before the plan", func(*testing.T, *Dispatcher, *extraction) {}, "elsewhere"},
		{"after the plan", func(t *testing.T, d *Dispatcher, e *extraction) {
			if _, err := d.pinPlan(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}, "out"},
		{"after the slices", func(t *testing.T, d *Dispatcher, e *extraction) { sendSome(t, d, e, 1) }, "out"},
		{"within the second chunk", func(t *testing.T, d *Dispatcher, e *extraction) { sendSome(t, d, e, 1050) }, "out"},
		{"after the loads", func(t *testing.T, d *Dispatcher, e *extraction) {
			if _, err := d.makeLoads(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}, "out"},
		{"after the event", func(t *testing.T, d *Dispatcher, e *extraction) {
			counts, err := d.makeLoads(t.Context(), e)
			if err != nil {
				t.Fatal(err)
			}
			if err := d.publish(t.Context(), e, messages.Event{Kind: messages.EventDispatched, Plan: &counts}); err != nil {
				t.Fatal(err)
			}
		}, "out"},
		{"after the purge", func(t *testing.T, d *Dispatcher, e *extraction) {
			if _, err := d.dispatch(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}, "out"},
	}
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.apply(byAccount)
			for i, b := range batches {
				w.publishBatch(c.Extraction, i+1, b)
			}
			tight := quick()
			tight.MemoryBytes = 1 // chunks of 1 MiB: the first try spills, the second does not
			step.crash(t, w.dispatcher(w.Queue, tight), work(c, batches))
			w.apply(elsewhere)
			w.commit(manifest(c, batches))
			w.start(w.Connect(t), quick())
			if got := w.dispatched(c.Extraction); got != (messages.Plan{Loads: accounts, Rows: accounts + 300}) {
				t.Errorf("got %+v, want %d loads", got, accounts)
			}
			w.settled()
			key := func(i int) string { return fmt.Sprintf("%s/%05d-20240618.csv", step.folder, i) }
			want := map[string]uint64{}
			for i := range accounts {
				want[messages.LoadID("ws", c.Extraction, "acme-data", key(i))] = 1
			}
			if diff := cmp.Diff(want, w.standing(c.Extraction)); diff != "" {
				t.Fatalf("loads (-want +got):\n%s", diff)
			}
			large, small := w.load(c.Extraction, key(0)), w.load(c.Extraction, key(1))
			if n := w.rows(large).Len(); n != 301 || len(large.Slices) == 0 || small.Inline == nil {
				t.Errorf("got %d rows in slices %+v, and inline %+v, want 301 in slices, then inline", n, large.Slices, small.Inline)
			}
			if letters := w.deadLetters(); len(letters) != 0 {
				t.Errorf("dead letters: got %+v", letters)
			}
		})
	}
}

// sendSome makes the first n loads and dies.
func sendSome(t *testing.T, d *Dispatcher, e *extraction, n int) {
	t.Helper()
	ctx := t.Context()
	p, err := d.pinPlan(ctx, e)
	if err != nil {
		t.Fatal(err)
	}
	ps, err := newPartitions(e.commit, p, d.cfg.scratch())
	if err != nil {
		t.Fatal(err)
	}
	defer ps.close()
	if err := d.gather(ctx, e, p, ps); err != nil {
		t.Fatal(err)
	}
	out := d.queue.Dispatch(ctx, e.Workspace, e.Extraction, p.hash)
	var packer rowsPacker
	for part, rows := range ps.all() {
		if n--; n < 0 {
			return
		}
		if err := d.send(ctx, out, &packed{load: p.load(e, part), rows: rows, done: make(chan struct{})}, "dead", &packer); err != nil {
			t.Fatal(err)
		}
	}
}

// TestP2InterruptedAnywhere lets the context end at many a request, between
// any two of them, and each time dispatches again.
func TestP2InterruptedAnywhere(t *testing.T) {
	w := newWorld(t)
	w.apply()
	interrupted, over := 0, false
	for n := int64(1); !over; n += 1 + n/8 {
		c := commitOf(fmt.Sprintf("e%d", n))
		batches := []batch{lines(30), lines(30)}
		for i, b := range batches {
			w.publishBatch(c.Extraction, i+1, b)
		}
		e := work(c, batches)
		_, err := w.dispatcher(w.Queue, quick()).dispatch(newFuse(t.Context(), n), e)
		switch {
		case err == nil:
			over = true
		case !errors.Is(err, context.Canceled) && !errors.Is(err, errCrash):
			t.Fatalf("after %d: got %v, want the crash", n, err)
		default:
			interrupted++
		}
		got, err := w.dispatcher(w.Queue, quick()).dispatch(t.Context(), e)
		if err != nil || got != (messages.Plan{Loads: 3, Rows: 60}) {
			t.Fatalf("again after %d: got %+v, %v, want 3 loads of 60 rows", n, got, err)
		}
		want := []string{"out/orders-20240618.csv", "out/orders-20240619.csv", "out/orders-20240620.csv"}
		if diff := cmp.Diff(want, keys(w.loads(c.Extraction))); diff != "" {
			t.Fatalf("keys after %d (-want +got):\n%s", n, diff)
		}
	}
	if interrupted < 10 {
		t.Errorf("interrupted %d times, want at least 10", interrupted)
	}
}

func TestP2TwoDispatchersRace(t *testing.T) {
	const n = 20
	w := newWorld(t)
	w.apply()
	for range 2 {
		cfg := quick()
		cfg.Concurrency = 2
		w.start(w.Connect(t), cfg)
	}
	for i := range n {
		w.extract(commitOf(fmt.Sprintf("e%d", i)), lines(9))
	}
	for i := range n {
		w.dispatched(fmt.Sprintf("e%d", i))
	}
	w.settled()
	for i := range n {
		if got := w.loads(fmt.Sprintf("e%d", i)); len(got) != 3 {
			t.Errorf("extraction %d: got loads %q, want 3", i, keys(got))
		}
	}
}

// A stop gives back what is in work, and costs it no try.
func TestStopReleases(t *testing.T) {
	w := newWorld(t)
	w.apply()
	cfg := quick()
	cfg.MaxAttempts = 1
	stop := w.start(w.Connect(t), cfg)
	const n = 20
	for i := range n {
		w.extract(commitOf(fmt.Sprintf("e%d", i)), lines(9))
	}
	w.dispatched("e0")
	stop()
	w.start(w.Connect(t), cfg)
	for i := range n {
		w.dispatched(fmt.Sprintf("e%d", i))
	}
	w.settled()
	for i := range n {
		if got := w.loads(fmt.Sprintf("e%d", i)); len(got) != 3 {
			t.Errorf("extraction %d: got loads %q, want 3", i, keys(got))
		}
	}
}

func TestPlanDiffers(t *testing.T) {
	w := newWorld(t)
	w.apply()
	other := w.Dispatch(t.Context(), "ws", "e", "another plan")
	if err := other.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.start(w.Queue, quick())
	w.extract(commitOf("e"), lines(3))
	e := w.await("e", messages.EventFailed, messages.EventDispatched)
	if e.Failure == nil || e.Failure.Reason != messages.ReasonExhausted || e.Failure.Remedy == "" {
		t.Errorf("got %+v, want failed, exhausted", e)
	}
}

func TestExhausted(t *testing.T) {
	w := newWorld(t)
	w.apply()
	cfg := quick()
	cfg.ScratchDir = t.TempDir() + "/none" // every spill fails: the disk's trouble, not the input's
	cfg.MemoryBytes = 1
	w.start(w.Queue, cfg)
	w.apply(byAccount)
	c, batches := wide(10)
	w.extract(c, batches...)
	e := w.await("wide", messages.EventFailed, messages.EventDispatched)
	if e.Failure == nil || e.Failure.Reason != messages.ReasonExhausted || !strings.Contains(e.Failure.Message, "scratch: ") || e.Failure.Remedy == "" {
		t.Errorf("got %+v, want failed, exhausted, by the scratch", e)
	}
	if letters := w.deadLetters(); len(letters) != 1 {
		t.Errorf("dead letters: got %+v, want one", letters)
	}
}

func TestHold(t *testing.T) {
	tests := []struct {
		name       string
		hold, free func(*destination.Settings)
	}{
		{"paused", func(s *destination.Settings) { s.Paused = true }, func(*destination.Settings) {}},
		{"not approved", func(s *destination.Settings) { s.ConnectionOption = destination.SharedAccount },
			func(s *destination.Settings) { s.ConnectionOption, s.Approved = destination.SharedAccount, true }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.apply(test.hold)
			w.apply(func(s *destination.Settings) { s.ID = "neighbour" })
			cfg := quick()
			cfg.MaxAttempts, cfg.HoldDelay = 1, time.Millisecond
			w.start(w.Queue, cfg)
			w.extract(commitOf("held"), lines(3))
			// It comes back again and again: each look tells that it was accepted.
			seen := 0
			for e, err := range w.Events(w.within(), "ws", "held", true) {
				if err != nil {
					t.Fatal(err)
				}
				if e.Kind != messages.EventAccepted {
					t.Fatalf("got event %+v, want accepted", e)
				}
				if seen++; seen == 4 {
					break
				}
			}
			c := commitOf("free")
			c.Destination = "neighbour"
			w.extract(c, lines(3))
			w.dispatched("free")
			if got := w.loads("held"); len(got) != 0 {
				t.Errorf("loads while held: got %q", keys(got))
			}
			w.apply(test.free)
			if got := w.dispatched("held"); got.Loads != 3 {
				t.Errorf("after it was freed: got %+v, want 3 loads", got)
			}
			if letters := w.deadLetters(); len(letters) != 0 {
				t.Errorf("dead letters: got %+v", letters)
			}
		})
	}
}

// A commit of a newer version goes back to the queue for a newer dispatcher,
// however often that is.
func TestHoldNewerCommit(t *testing.T) {
	w := newWorld(t)
	w.apply()
	cfg := quick()
	cfg.MaxAttempts, cfg.HoldDelay = 1, time.Millisecond
	d := w.dispatcher(w.Queue, cfg)
	newer := commitOf("newer")
	newer.Version = messages.Version + 1
	w.extract(newer, lines(3))
	commits, err := w.Commits(w.within())
	if err != nil {
		t.Fatal(err)
	}
	defer commits.Close()
	for range 4 {
		delivery, err := commits.Next(w.within())
		if err != nil {
			t.Fatal(err)
		}
		d.handle(delivery.Context(), delivery)
		if letters := w.deadLetters(); len(letters) != 0 {
			t.Fatalf("dead letters after delivery %d: got %+v, want none", delivery.Attempt, letters)
		}
	}
}

func TestEmptyExtraction(t *testing.T) {
	w := newWorld(t)
	w.apply()
	w.start(w.Queue, quick())
	for _, test := range []struct {
		name    string
		schema  bool
		batches []batch
	}{
		{"no-batch", true, nil},
		{"no-row", true, []batch{{body: ""}, {body: "\n"}}},
		{"no-schema", false, nil},
		{"no-schema-no-row", false, []batch{{body: ""}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := commitOf(test.name)
			if !test.schema {
				c.Schema = nil
			}
			w.extract(c, test.batches...)
			e := w.await(test.name, messages.EventCompleted, messages.EventFailed)
			if e.Kind != messages.EventCompleted || *e.Plan != (messages.Plan{}) {
				t.Errorf("got %+v, failure %+v, want completed with 0 loads", e, e.Failure)
			}
		})
	}
}

// The manifest decides which batch is meant, not the order of arrival.
func TestBatchesAsTheyCome(t *testing.T) {
	w := newWorld(t)
	w.apply()
	one := func(n int) batch {
		return batch{body: fmt.Sprintf(`{"day":"2024-06-18","n":%d}`+"\n", n), rows: 1}
	}
	c := commitOf("e")
	for _, b := range []struct{ ordinal, n int }{{3, 3}, {1, 99}, {2, 2}, {2, 2}, {9, 9}, {5, 98}, {1, 1}, {4, 4}, {5, 5}, {1, 97}} {
		w.publishBatch("e", b.ordinal, one(b.n))
	}
	w.commit(manifest(c, []batch{one(1), one(2), one(3), one(4), one(5)}))
	w.start(w.Queue, quick())
	if got := w.dispatched("e"); got != (messages.Plan{Loads: 1, Rows: 5}) {
		t.Fatalf("got %+v, want one load of 5 rows", got)
	}
	if got, want := file(t, w.rows(w.loads("e")[0])), "{\"day\":\"2024-06-18\",\"account\":null,\"n\":1}\n"; !strings.HasPrefix(got, want) || strings.Count(got, "\n") != 5 {
		t.Errorf("rows: got %s", got)
	}
}

func TestPartitionRules(t *testing.T) {
	const undated = `{"day":"2024-06-18","account":"a","n":1}
{"day":"2024-02-30","account":"a","n":2}
{"account":"b","n":3}
{"day":"2024-05-31","account":"b","n":4}
`
	today := time.Now().UTC().Format("20060102")
	tests := []struct {
		name   string
		change func(*destination.Settings)
		commit func(*messages.Commit)
		body   string
		rows   int64
		want   map[string]int64
	}{
		{"undated rows by the load", func(s *destination.Settings) { s.UndatedRows = destination.DateByLoad }, nil, undated, 4,
			map[string]int64{"out/orders-20240531.csv": 1, "out/orders-20240618.csv": 1, "out/orders-" + today + ".csv": 2}},
		{"undated rows by the load, without a schema", func(s *destination.Settings) { s.UndatedRows = destination.DateByLoad },
			func(c *messages.Commit) { c.Schema = nil }, undated, 4,
			map[string]int64{"out/orders-20240531.csv": 1, "out/orders-20240618.csv": 1, "out/orders-" + today + ".csv": 2}},
		{"no date column", nil, func(c *messages.Commit) { c.DateColumn = "" }, lines(9).body, 9,
			map[string]int64{"out/orders-" + today + ".csv": 9}},
		{"by month", func(s *destination.Settings) {
			s.PartitionBy, s.FileName = destination.ByMonth, "{{filename}}-{{YYYY}}{{MM}}"
		}, nil,
			strings.Replace(lines(9).body, "06-18", "07-01", 1), 9, map[string]int64{"out/orders-202406.csv": 8, "out/orders-202407.csv": 1}},
		{"by account", byAccount, nil, lines(6).body, 6, map[string]int64{
			"out/a0-20240618.csv": 1, "out/a0-20240619.csv": 1, "out/a0-20240620.csv": 1,
			"out/a1-20240618.csv": 1, "out/a1-20240619.csv": 1, "out/a1-20240620.csv": 1}},
		{"without a schema", byAccount, func(c *messages.Commit) { c.Schema = nil }, `{"day":"2024-06-18","account":"x/y"}` + "\n", 1,
			map[string]int64{"out/x%2Fy-20240618.csv": 1}},
	}
	w := newWorld(t)
	w.start(w.Queue, quick())
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := commitOf(fmt.Sprintf("e%d", i))
			if test.commit != nil {
				test.commit(&c)
			}
			c.Destination = fmt.Sprintf("d%d", i)
			change := test.change
			if change == nil {
				change = func(*destination.Settings) {}
			}
			w.apply(change, func(s *destination.Settings) { s.ID = c.Destination })
			w.extract(c, batch{body: test.body, rows: test.rows})
			w.dispatched(c.Extraction)
			got := map[string]int64{}
			loads := w.loads(c.Extraction)
			for _, l := range loads {
				got[l.Key] = l.Rows
				if n := w.rows(l).Len(); int64(n) != l.Rows {
					t.Errorf("%s: got %d rows, and it says %d", l.Key, n, l.Rows)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("rows by key (-want +got):\n%s", diff)
			}
			if !slices.IsSorted(keys(loads)) {
				t.Errorf("keys are not in order: %q", keys(loads))
			}
		})
	}
}

func TestPlanIsReadBack(t *testing.T) {
	w := newWorld(t)
	w.apply()
	c := commitOf("e")
	d := w.dispatcher(w.Queue, quick())
	first, err := d.pinPlan(t.Context(), work(c, nil))
	if err != nil {
		t.Fatal(err)
	}
	w.apply(func(s *destination.Settings) { s.Bucket = "another"; s.FileFormat = encoding.Parquet })
	again, err := d.pinPlan(t.Context(), work(c, nil))
	if err != nil {
		t.Fatal(err)
	}
	want, _ := json.Marshal(first)
	got, _ := json.Marshal(again)
	if string(got) != string(want) || again.hash != first.hash {
		t.Errorf("got %s, want %s", got, want)
	}
}

func file(t testing.TB, rows *encoding.Rows) string {
	t.Helper()
	var b strings.Builder
	out, err := encoding.NewWriter(&b, rows.Schema(), encoding.FileOptions{Format: encoding.JSON})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(out.Write(rows), out.Close()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestStoppedWhileItStarts: a stop that comes before commits can be taken is a stop, not a failure.
func TestStoppedWhileItStarts(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.dispatcher(w.Queue, quick()).Run(ctx); err != nil {
		t.Errorf("run: got %v, want nil", err)
	}
}
