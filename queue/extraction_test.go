package queue_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/queue/queuetest"
)

// stranger is a client that is not ours: what it sends is up to it.
func stranger(t *testing.T, f *queuetest.Fixture) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(f.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func ordinals(t *testing.T, q *queue.Queue, workspace, extraction string) []string {
	t.Helper()
	var got []string
	for batch, err := range q.Batches(within(t, 10*time.Second), workspace, extraction, nil) {
		var refused *messages.BatchError
		switch {
		case errors.As(err, &refused):
			got = append(got, "refused")
		case err != nil:
			t.Fatal(err)
		default:
			got = append(got, strconv.Itoa(batch.Ordinal)+string(batch.Body))
		}
	}
	return got
}

func TestP2ExtractTwice(t *testing.T) {
	f := queuetest.Start(t)
	extract(t, f.Queue, "ws", "e", 3)
	extract(t, f.Connect(t), "ws", "e", 3)
	if got := ordinals(t, f.Queue, "ws", "e"); len(got) != 3 {
		t.Errorf("batches: got %q, want 3", got)
	}
	nextCommit(t, f.Queue).Done(t.Context())
	status, err := f.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if status.Commits.Pending != 0 || status.Commits.InFlight != 0 {
		t.Errorf("commits left: got %+v, want none", status.Commits)
	}
}

func TestP2SecondCommitIsRefused(t *testing.T) {
	f := queuetest.Start(t)
	js := stranger(t, f)
	subject := messages.CommitSubject("ws", "e")
	if _, err := js.Publish(t.Context(), subject, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), subject, []byte("{\"other\":1}")); err == nil {
		t.Error("a second commit without id: got no error from the server")
	}
	e, err := f.Extract(t.Context(), commitOf("ws", "e"))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Commit(t.Context()); err != nil || !e.Committed() {
		t.Errorf("our own second commit: got %v, committed %v, want nil, true", err, e.Committed())
	}
	if got := nextCommit(t, f.Queue); string(got.Body) != "{}" {
		t.Errorf("commit: got %q, want the first one", got.Body)
	}
}

func TestP11SameExtractionIDInTwoWorkspaces(t *testing.T) {
	f := queuetest.Start(t)
	extract(t, f.Queue, "one", "e", 2)
	extract(t, f.Queue, "two", "e", 2)
	for _, workspace := range []string{"one", "two"} {
		if got := ordinals(t, f.Queue, workspace, "e"); len(got) != 2 {
			t.Errorf("batches of %s: got %q, want 2", workspace, got)
		}
	}
}

func TestBatchesComeByOrdinal(t *testing.T) {
	f := queuetest.Start(t)
	js := stranger(t, f)
	for _, b := range []struct {
		ordinal int
		body    string
	}{{2, "a"}, {4, "a"}, {2, "b"}, {1, "a"}, {1, "b"}, {0, "x"}, {3, "a"}, {9, "a"}, {6, "a"}} {
		batch := messages.Batch{Workspace: "ws", Extraction: "e", Ordinal: b.ordinal, Rows: 1, Format: encoding.CSVInput}
		header := nats.Header(batch.Header())
		header.Del(messages.HeaderMsgID)
		if _, err := js.PublishMsg(t.Context(), &nats.Msg{Subject: messages.RowsSubject("ws", "e"), Header: header, Data: []byte(b.body)}); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"1a", "2a", "refused", "3a", "4a", "6a", "9a"}
	if diff := cmp.Diff(want, ordinals(t, f.Queue, "ws", "e")); diff != "" {
		t.Errorf("batches (-want +got):\n%s", diff)
	}
	// What is not wanted leaves its place to another of the same ordinal.
	var chosen []string
	for batch, err := range f.Batches(t.Context(), "ws", "e", func(b messages.Batch) bool { return b.Ordinal > 2 || string(b.Body) == "b" }) {
		if err == nil {
			chosen = append(chosen, strconv.Itoa(batch.Ordinal)+string(batch.Body))
		}
	}
	if diff := cmp.Diff([]string{"1b", "2b", "3a", "4a", "6a", "9a"}, chosen); diff != "" {
		t.Errorf("chosen batches (-want +got):\n%s", diff)
	}
	if got := ordinals(t, f.Queue, "ws", "none"); got != nil {
		t.Errorf("an extraction without batches: got %q", got)
	}
}

func TestP1PublishWaitsForRoom(t *testing.T) {
	t.Parallel()
	f := queuetest.Start(t, func(c *queue.Config) { c.Topology.RowsBytes = 1 << 20 })
	body := bytes.Repeat([]byte("x"), 600<<10)
	full, err := f.Extract(t.Context(), commitOf("ws", "first"))
	if err != nil {
		t.Fatal(err)
	}
	if err := full.Append(t.Context(), messages.Batch{Rows: 1, Format: encoding.CSVInput, Body: body}); err != nil {
		t.Fatal(err)
	}
	if err := full.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	e, err := f.Extract(t.Context(), commitOf("ws", "second"))
	if err != nil {
		t.Fatal(err)
	}
	ctx := within(t, 10*time.Second)
	if err := e.Append(ctx, messages.Batch{Rows: 1, Format: encoding.CSVInput, Body: body}); err != nil {
		t.Fatal(err)
	}
	committed := make(chan error, 1)
	go func() { committed <- e.Commit(ctx) }()
	js := stranger(t, f)
	info, err := js.Stream(ctx, "ROWS")
	if err != nil || info.CachedInfo().State.Msgs != 1 {
		t.Fatalf("full stream: got %v, %v, want 1 message", info, err)
	}
	if err := f.PurgeRows(ctx, "ws", "first"); err != nil {
		t.Fatal(err)
	}
	if err := <-committed; err != nil {
		t.Errorf("commit after room was made: got %v", err)
	}
	if got := ordinals(t, f.Queue, "ws", "second"); len(got) != 1 {
		t.Errorf("batches: got %d, want 1", len(got))
	}

	// Without room it ends with its context, and nothing is committed.
	third, err := f.Extract(t.Context(), commitOf("ws", "third"))
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := third.Append(short, messages.Batch{Rows: 1, Format: encoding.CSVInput, Body: body}); err != nil {
		t.Fatal(err)
	}
	if err := third.Commit(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("commit of a batch that found no room: got %v, want DeadlineExceeded", err)
	}
}

func TestP1PublishThroughRestart(t *testing.T) {
	const n = 40
	f := queuetest.Start(t)
	ctx := within(t, 20*time.Second)
	e, err := f.Extract(ctx, commitOf("ws", "e"))
	if err != nil {
		t.Fatal(err)
	}
	body := func(i int) []byte { return append(fmt.Appendf(nil, "%d ", i), make([]byte, 64<<10)...) }
	for i := range n {
		switch i {
		case n / 4:
			f.StopServer(t)
		case 3 * n / 4:
			f.StartServer(t)
		}
		if err := e.Append(ctx, messages.Batch{Rows: 1, Format: encoding.CSVInput, Body: body(i + 1)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	i := 0
	for batch, err := range f.Batches(ctx, "ws", "e", nil) {
		if err != nil {
			t.Fatal(err)
		}
		i++
		if batch.Ordinal != i || !bytes.Equal(batch.Body, body(i)) {
			t.Fatalf("batch %d: got ordinal %d, body %.20q", i, batch.Ordinal, batch.Body)
		}
	}
	if i != n {
		t.Errorf("batches: got %d, want %d", i, n)
	}
}

// Backpressure reaches an extractor of any language as the server's answer: what
// it was told is stored stands, and what was refused does not, whatever it does next.
func TestP9FullStreamIsAnAnswer(t *testing.T) {
	t.Parallel()
	f := queuetest.Start(t, func(c *queue.Config) { c.Topology.RowsBytes = 1 << 20 })
	js := stranger(t, f)
	ctx := within(t, 10*time.Second)
	var stored []string
	var refused error
	for n := 1; refused == nil && n < 100; n++ {
		b := messages.Batch{
			Workspace: "ws", Extraction: "raw", Ordinal: n, Rows: 1, Format: encoding.CSVInput, Body: bytes.Repeat([]byte{byte('a' + n)}, 100<<10),
		}
		_, refused = js.PublishMsg(ctx, &nats.Msg{Subject: messages.RowsSubject("ws", "raw"), Header: nats.Header(b.Header()), Data: b.Body})
		if refused == nil {
			stored = append(stored, strconv.Itoa(n)+string(b.Body))
		}
	}
	var api *jetstream.APIError
	if !errors.As(refused, &api) || api.ErrorCode != 10077 || len(stored) < 5 {
		t.Fatalf("after %d batches of 100 KiB in 1 MiB: got %v, want the error 10077", len(stored), refused)
	}
	if diff := cmp.Diff(stored, ordinals(t, f.Queue, "ws", "raw")); diff != "" {
		t.Errorf("what was acknowledged stands, and nothing else (-want +got):\n%s", diff)
	}
}
