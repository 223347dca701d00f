package queue_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/queue/queuetest"
)

// sale is a row as an extractor has it.
type sale struct {
	Day    queue.Date `json:"day"`
	Shop   string     `json:"shop"`
	Amount string     `json:"amount" loadfleet:"decimal(18,2)"`
	Note   *string    `json:"note"`
	Skip   int        `json:"-"`
}

var june18 = time.Date(2024, 6, 18, 0, 0, 0, 0, time.UTC)

// decoded is every row that stands on the queue, as CSV without its header.
func decoded(t *testing.T, q *queue.Queue, extraction string, schema *encoding.Schema) (text string, batches int) {
	t.Helper()
	var b strings.Builder
	d := encoding.NewDecoder(schema, encoding.DecodeOptions{}, func(r *encoding.Rows) error {
		w, err := encoding.NewWriter(&b, schema, encoding.FileOptions{Format: encoding.CSV})
		if err != nil {
			return err
		}
		return errors.Join(w.Write(r), w.Close())
	})
	for batch, err := range q.Batches(within(t, 10*time.Second), "ws", extraction, nil) {
		must(t, "batches", err)
		batches++
		if n, err := d.Decode(batch.Ordinal, batch.Format, batch.Compression, strings.NewReader(string(batch.Body))); err != nil || n != batch.Rows {
			t.Fatalf("batch %d: %d rows, %v, want %d", batch.Ordinal, n, err, batch.Rows)
		}
	}
	must(t, "flush", d.Flush())
	_, text, _ = strings.Cut(b.String(), "\n")
	return text, batches
}

// Rows of every shape become batches in the order in which they were added.
func TestPublisherTakesEveryShape(t *testing.T) {
	f := queuetest.Start(t)
	ctx := within(t, 20*time.Second)
	schema, err := queue.SchemaOf(sale{})
	must(t, "schema", err)
	commit := commitOf("ws", "e")
	commit.Schema, commit.DateColumn = schema, "day"
	p, err := f.OpenExtraction(ctx, commit)
	must(t, "open", err)
	note := "a <b> & \"c\""
	must(t, "structs", p.Add(ctx, sale{Day: queue.Date(june18), Shop: "one", Amount: "1.50", Note: &note}, &sale{Day: queue.Date(june18), Shop: "two", Amount: "2"}))
	must(t, "map", p.Add(ctx, map[string]any{"day": "2024-06-19", "shop": "three", "amount": 3}))
	must(t, "json", p.Add(ctx, json.RawMessage(`{"day":"2024-06-19", "shop":"four"}`)))
	must(t, "ndjson", p.AddNDJSON(ctx, strings.NewReader("{\"day\":\"2024-06-20\",\"shop\":\"five\"}\n")))
	must(t, "csv", p.AddCSV(ctx, strings.NewReader("shop,day\nsix,2024-06-20\n")))
	var record encoding.Record
	d := encoding.NewDecoder(schema, encoding.DecodeOptions{}, func(r *encoding.Rows) error { record = r.Arrow(); return nil })
	_, err = d.Decode(1, encoding.CSVInput, encoding.Plain, strings.NewReader("shop,day,amount\nseven,2024-06-21,7\n"))
	must(t, "record", errors.Join(err, d.Flush()))
	must(t, "arrow", p.AddRecords(ctx, func(yield func(encoding.Record, error) bool) { yield(record, nil) }))
	must(t, "map", p.Add(ctx, map[string]any{"shop": "eight"}))
	must(t, "commit", p.Commit(ctx))
	if p.Rows() != 8 || p.Stood() != 0 || p.Committed() {
		t.Errorf("got %d rows, %d batches stood, committed before %v, want 8, 0, false", p.Rows(), p.Stood(), p.Committed())
	}
	if err := p.Add(ctx, map[string]any{}); err == nil {
		t.Error("a row after the commit: got no error")
	}
	text, batches := decoded(t, f.Queue, "e", schema)
	want := "2024-06-18,one,1.50,\"a <b> & \"\"c\"\"\"\n2024-06-18,two,2.00,\n2024-06-19,three,3.00,\n2024-06-19,four,,\n" +
		"2024-06-20,five,,\n2024-06-20,six,,\n2024-06-21,seven,7.00,\n,eight,,\n"
	if diff := cmp.Diff(want, text); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if batches != 5 {
		t.Errorf("got %d batches, want 5", batches)
	}
	c, err := messages.ParseCommit(messages.CommitSubject("ws", "e"), nextCommit(t, f.Queue).Body)
	if err != nil || c.Rows != 8 || len(c.Batches) != 5 || c.Generation != commit.Generation {
		t.Errorf("commit: got %+v, %v", c, err)
	}
}

// many yields n rows that do not compress well.
func many(n int) iter.Seq[map[string]any] {
	return func(yield func(map[string]any) bool) {
		for i := range n {
			if !yield(map[string]any{"day": "2024-06-18", "text": fmt.Sprintf("%d %x", i, i*i*7919)}) {
				return
			}
		}
	}
}

// An extractor that dies before its commit begins again: what stands is
// recognised, the rest is published, and each row is there once.
func TestP2PublisherResumes(t *testing.T) {
	f := queuetest.Start(t)
	ctx := within(t, 60*time.Second)
	const rows = 300_000 // about four batches
	first, err := f.OpenExtraction(ctx, commitOf("ws", "e"))
	must(t, "open", err)
	for row := range many(rows / 2) {
		must(t, "add", first.Add(ctx, row))
	}
	// It dies here, and a part of the third batch with it. What was on its way arrives.
	stream, err := stranger(t, f).Stream(ctx, "ROWS")
	must(t, "stream", err)
	var stands uint64
	for stands == 0 {
		info, err := stream.Info(ctx)
		must(t, "info", err)
		stands = info.State.Msgs
	}
	second, err := f.Connect(t).OpenExtraction(ctx, commitOf("ws", "e"))
	must(t, "open again", err)
	for row := range many(rows) {
		must(t, "add", second.Add(ctx, row))
	}
	must(t, "commit", second.Commit(ctx))
	if second.Stood() < int(stands) || second.Stood() == 0 {
		t.Errorf("recognised %d batches, of which at least %d stood", second.Stood(), stands)
	}
	var total int64
	count := 0
	for b, err := range f.Batches(ctx, "ws", "e", nil) {
		must(t, "batches", err)
		total += b.Rows
		count++
	}
	info, err := stream.Info(ctx)
	must(t, "info", err)
	if total != rows || info.State.Msgs != uint64(count) {
		t.Errorf("got %d rows in %d batches, %d messages, want %d rows and no message twice", total, count, info.State.Msgs, rows)
	}

	third, err := f.OpenExtraction(ctx, commitOf("ws", "e"))
	must(t, "open a committed one", err)
	must(t, "commit again", third.Commit(ctx))
	if !third.Committed() {
		t.Error("a second commit is not recognised")
	}
}

func TestPublisherRefuses(t *testing.T) {
	f := queuetest.Start(t)
	ctx := within(t, 20*time.Second)
	bad := commitOf("ws", "e")
	bad.Filename, bad.AccountColumn, bad.DateColumn = "", "a", "a"
	_, err := f.OpenExtraction(ctx, bad)
	var wrong *messages.CommitError
	if !errors.As(err, &wrong) || len(wrong.Mistakes) != 2 {
		t.Errorf("open: got %v, want both mistakes of the commit", err)
	}
	for name, row := range map[string]any{"a list": []int{1}, "a number": 7, "NaN": map[string]any{"x": make(chan int)}} {
		p, err := f.OpenExtraction(ctx, commitOf("ws", "e"))
		must(t, "open", err)
		must(t, "add", p.Add(ctx, map[string]any{"x": 1}))
		err = p.Add(ctx, row)
		if err == nil || !strings.Contains(err.Error(), "row 2") {
			t.Errorf("%s: got %v, want an error that names row 2", name, err)
		}
		if again := p.Commit(ctx); again == nil {
			t.Errorf("%s: the commit after it: got no error", name)
		}
	}
	for name, row := range map[string]any{"no struct": 1, "nil": nil, "tag": struct {
		A int `loadfleet:"number"`
	}{}} {
		if _, err := queue.SchemaOf(row); err == nil {
			t.Errorf("schema of %s: got no error", name)
		}
	}
}

// An extractor in an account of its own hears how its extraction ends, with the
// rights that deploy/nats gives it.
func TestP11ExtractorWaits(t *testing.T) {
	s := queuetest.StartSecured(t, "ws", "other")
	ctx := within(t, 30*time.Second)
	must(t, "provision", s.Connect(t, queuetest.Provisioner).Provision(ctx))
	dispatcher, worker := s.Connect(t, queuetest.Dispatcher), s.Connect(t, queuetest.Worker)
	p, err := s.Connect(t, "ws").OpenExtraction(ctx, commitOf("ws", "e"))
	must(t, "open", err)
	must(t, "add", p.Add(ctx, map[string]any{"day": "2024-06-18"}))
	must(t, "commit", p.Commit(ctx))
	commit := nextCommit(t, dispatcher)
	must(t, "accepted", dispatcher.Publish(ctx, messages.Event{Kind: messages.EventAccepted, Workspace: "ws", Extraction: "e"}))
	ended := make(chan *queue.Ending, 1)
	go func() {
		end, err := p.Wait(ctx)
		if err != nil {
			t.Error(err)
		}
		ended <- end
	}()
	dispatch(t, dispatcher, "e", 2, messages.Fresh)
	must(t, "dispatched", dispatcher.Publish(ctx, messages.Event{
		Kind: messages.EventDispatched, Workspace: "ws", Extraction: "e", Plan: &messages.Plan{Loads: 2, Rows: 2},
	}))
	must(t, "done", commit.Done(ctx))
	loads := openLoads(t, worker)
	for range 2 {
		d := next(t, loads)
		must(t, "done", d.Done(ctx, loadedOutcome(d)))
	}
	if done, err := worker.Complete(ctx, "ws", "e"); err != nil || !done {
		t.Fatalf("complete: got %v, %v", done, err)
	}
	if end := <-ended; end == nil || end.State != messages.EventCompleted || end.Plan.Loads != 2 {
		t.Errorf("ended: got %+v, want completed with 2 loads", end)
	}
	// Who asks late is told the same.
	if end, err := s.Connect(t, "ws").Wait(ctx, "ws", "e"); err != nil || end.State != messages.EventCompleted {
		t.Errorf("asked late: got %+v, %v", end, err)
	}
	// Another workspace is told nothing.
	short := within(t, 300*time.Millisecond)
	if end, err := s.Connect(t, "other").Wait(short, "ws", "e"); err == nil {
		t.Errorf("another workspace was told %+v", end)
	}
	for _, violation := range s.Violations() {
		if !strings.Contains(violation, `"event.ws.e.>"`) && !strings.Contains(violation, "DIRECT.GET.EVENTS.event.ws.e.") {
			t.Errorf("refused: %s", violation)
		}
	}
}

// A failed extraction that was replayed is not over before its second end.
func TestFollowGoesByTime(t *testing.T) {
	f := queuetest.Start(t)
	ctx := within(t, 20*time.Second)
	tell := func(kind messages.EventKind, at time.Duration) {
		e := messages.Event{Kind: kind, Time: june18.Add(at), Workspace: "ws", Extraction: "e"}
		switch kind {
		case messages.EventFailed:
			e.Failure = &messages.Failure{Reason: messages.ReasonKey, Message: "too long"}
		case messages.EventDispatched:
			e.Plan = &messages.Plan{}
		}
		must(t, string(kind), f.Publish(ctx, e))
	}
	tell(messages.EventFailed, time.Second)
	end, err := f.Wait(ctx, "ws", "e")
	if err != nil || end.State != messages.EventFailed || end.Failure.Reason != messages.ReasonKey {
		t.Errorf("failed: got %+v, %v", end, err)
	}
	tell(messages.EventAccepted, 2*time.Second)
	tell(messages.EventDispatched, 3*time.Second)
	var kinds []messages.EventKind
	for e, err := range f.Follow(ctx, "ws", "e") {
		must(t, "follow", err)
		kinds = append(kinds, e.Kind)
		if e.Kind == messages.EventDispatched {
			tell(messages.EventCompleted, 4*time.Second)
		}
	}
	if diff := cmp.Diff([]messages.EventKind{"accepted", "dispatched", "completed"}, kinds); diff != "" {
		t.Errorf("kinds (-want +got):\n%s", diff)
	}
}
