package queue_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/queue/queuetest"
)

func commitOf(workspace, extraction string) messages.Commit {
	return messages.Commit{
		Version: messages.Version, Extraction: extraction, WorkspaceID: workspace, Destination: "acme",
		Filename: "orders", Generation: 7, Lane: messages.Fresh,
	}
}

// within gives a step of a test a time in which it must be over.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), d, fmt.Errorf("test step took longer than %s", d))
	t.Cleanup(cancel)
	return ctx
}

// extract publishes an extraction of n batches and its commit.
func extract(t *testing.T, q *queue.Queue, workspace, extraction string, n int) {
	t.Helper()
	ctx := within(t, 10*time.Second)
	e, err := q.Extract(ctx, commitOf(workspace, extraction))
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if err := e.Append(ctx, messages.Batch{Rows: 1, Format: encoding.NDJSONInput, Body: fmt.Appendf(nil, "{\"n\":%d}\n", i+1)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Commit(ctx); err != nil {
		t.Fatal(err)
	}
}

func loadOf(workspace, extraction string, n int, lane messages.Lane) (*messages.Load, []byte) {
	payload := fmt.Appendf(nil, "rows of load %d", n)
	key := fmt.Sprintf("orders/%05d.csv", n)
	return &messages.Load{
		Version: messages.Version, ID: messages.LoadID(workspace, extraction, "bucket", key), Workspace: workspace, Destination: "acme",
		Extraction: extraction, Lane: lane, Generation: 7, Bucket: "bucket", Key: key, File: messages.FileSpec{Format: encoding.CSV},
		Rows: 1, Inline: &messages.RowsRef{Bytes: int64(len(payload)), SHA256: strings.Repeat("0", 64)},
		Time: time.Date(2024, 6, 18, 12, 0, 0, 0, time.UTC),
	}, payload
}

func dispatch(t *testing.T, q *queue.Queue, extraction string, loads int, lane messages.Lane) *queue.Dispatch {
	t.Helper()
	d, err := tryDispatch(within(t, 20*time.Second), q, extraction, "plan", loads, lane)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func tryDispatch(ctx context.Context, q *queue.Queue, extraction, plan string, loads int, lane messages.Lane) (*queue.Dispatch, error) {
	d := q.Dispatch(ctx, "ws", extraction, plan)
	for n := range loads {
		if err := d.Add(loadAndContext(ctx, extraction, n, lane)); err != nil {
			return d, err
		}
	}
	return d, d.Close(ctx)
}

func loadAndContext(ctx context.Context, extraction string, n int, lane messages.Lane) (context.Context, *messages.Load, []byte) {
	load, payload := loadOf("ws", extraction, n, lane)
	return ctx, load, payload
}

func openLoads(t *testing.T, q *queue.Queue) *queue.Loads {
	t.Helper()
	loads, err := q.Loads(within(t, 10*time.Second), queue.LoadsConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(loads.Close)
	return loads
}

func next(t *testing.T, loads *queue.Loads) *queue.LoadDelivery {
	t.Helper()
	d, err := loads.Next(within(t, 10*time.Second))
	if err != nil {
		t.Fatalf("next load: %v", err)
	}
	return d
}

func nextCommit(t *testing.T, q *queue.Queue) *queue.CommitDelivery {
	t.Helper()
	commits, err := q.Commits(within(t, 10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer commits.Close()
	d, err := commits.Next(within(t, 10*time.Second))
	if err != nil {
		t.Fatalf("next commit: %v", err)
	}
	return d
}

// loadsLeft is how many loads stand on the queue, settled ones excluded.
func loadsLeft(t *testing.T, q *queue.Queue) int {
	t.Helper()
	s, err := q.Status(within(t, 10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if s.Stuck != 0 {
		t.Errorf("stuck loads: got %d, want 0", s.Stuck)
	}
	left := 0
	for _, lane := range s.Lanes {
		left += int(lane.Pending) + lane.InFlight
	}
	return left
}

func loadedOutcome(d *queue.LoadDelivery) messages.Outcome {
	return messages.Outcome{
		Load: d.ID, Result: messages.Loaded, Bucket: d.Load.Bucket, Key: d.Load.Key, Format: string(d.Load.File.Format),
		Rows: d.Load.Rows, Generation: d.Load.Generation, Attempts: d.Attempt, Ended: time.Now().UTC(),
	}
}

func TestWalk(t *testing.T) {
	f := queuetest.Start(t)
	ctx := within(t, 20*time.Second)
	extract(t, f.Queue, "ws", "e1", 3)

	commit := nextCommit(t, f.Queue)
	if commit.Workspace != "ws" || commit.Extraction != "e1" || commit.At.IsZero() || commit.Attempt != 1 {
		t.Errorf("commit: got %+v", commit)
	}
	parsed, err := messages.ParseCommit(commit.Subject, commit.Body)
	if err != nil {
		t.Fatal(err)
	}
	if parsed.Rows != 3 || len(parsed.Batches) != 3 {
		t.Errorf("manifest: got %d rows in %d batches, want 3 in 3", parsed.Rows, len(parsed.Batches))
	}
	var ordinals []int
	for batch, err := range f.Batches(ctx, "ws", "e1", nil) {
		if err != nil {
			t.Fatal(err)
		}
		ordinals = append(ordinals, batch.Ordinal)
		if want := fmt.Sprintf("{\"n\":%d}\n", batch.Ordinal); string(batch.Body) != want || batch.Rows != 1 || batch.Format != encoding.NDJSONInput {
			t.Errorf("batch: got %+v, want body %q", batch, want)
		}
	}
	if diff := cmp.Diff([]int{1, 2, 3}, ordinals); diff != "" {
		t.Errorf("ordinals (-want +got):\n%s", diff)
	}

	if err := f.Publish(ctx, messages.Event{Kind: messages.EventAccepted, Workspace: "ws", Extraction: "e1", Destination: "acme"}); err != nil {
		t.Fatal(err)
	}
	dispatch(t, f.Queue, "e1", 2, messages.Fresh)
	if err := f.Publish(ctx, messages.Event{Kind: messages.EventDispatched, Workspace: "ws", Extraction: "e1", Plan: &messages.Plan{Loads: 2, Rows: 2}}); err != nil {
		t.Fatal(err)
	}
	if err := f.PurgeRows(ctx, "ws", "e1"); err != nil {
		t.Fatal(err)
	}
	if err := commit.Done(ctx); err != nil {
		t.Fatal(err)
	}
	for batch, err := range f.Batches(ctx, "ws", "e1", nil) {
		t.Errorf("after purge: got batch %+v, error %v", batch, err)
	}

	loads := openLoads(t, f.Queue)
	for n := range 2 {
		d := next(t, loads)
		want, payload := loadOf("ws", "e1", n, messages.Fresh)
		if d.Err != nil {
			t.Fatal(d.Err)
		}
		if diff := cmp.Diff(want, d.Load); diff != "" {
			t.Errorf("load (-want +got):\n%s", diff)
		}
		if string(d.Payload) != string(payload) {
			t.Errorf("payload: got %q, want %q", d.Payload, payload)
		}
		if done, err := f.Complete(ctx, "ws", "e1"); err != nil || done {
			t.Errorf("complete before load %d ended: got %v, %v", n, done, err)
		}
		if err := d.Done(ctx, loadedOutcome(d)); err != nil {
			t.Fatal(err)
		}
	}
	if done, err := f.Complete(ctx, "ws", "e1"); err != nil || !done {
		t.Errorf("complete: got %v, %v, want true", done, err)
	}
	if left := loadsLeft(t, f.Queue); left != 0 {
		t.Errorf("loads left: got %d, want 0", left)
	}

	var kinds []messages.EventKind
	for event, err := range f.Events(ctx, "ws", "e1", false) {
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, event.Kind)
	}
	if diff := cmp.Diff([]messages.EventKind{"accepted", "dispatched", "outcome", "outcome", "completed"}, kinds); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	n := 0
	for outcome, err := range f.Outcomes(ctx, "ws", "e1") {
		if err != nil || outcome.Result != messages.Loaded {
			t.Errorf("outcome: got %+v, %v", outcome, err)
		}
		n++
	}
	if n != 2 {
		t.Errorf("outcomes: got %d, want 2", n)
	}
	all, err := f.Extractions(ctx, "")
	if err != nil || len(all) != 1 || all[0].State != messages.EventCompleted || all[0].Destination != "acme" || all[0].Plan.Loads != 2 {
		t.Errorf("extractions: got %+v, %v", all, err)
	}
}

func TestLanesByUrgency(t *testing.T) {
	f := queuetest.Start(t)
	dispatch(t, f.Queue, "slow", 2, messages.Backfill)
	dispatch(t, f.Queue, "again", 2, messages.Replay)
	dispatch(t, f.Queue, "now", 2, messages.Fresh)
	loads := openLoads(t, f.Queue)
	var got []messages.Lane
	for range 6 {
		d := next(t, loads)
		got = append(got, d.Lane)
		if err := d.Done(t.Context(), loadedOutcome(d)); err != nil {
			t.Fatal(err)
		}
	}
	want := []messages.Lane{"fresh", "fresh", "replay", "replay", "backfill", "backfill"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lanes (-want +got):\n%s", diff)
	}
}

func TestSettleOnce(t *testing.T) {
	f := queuetest.Start(t)
	dispatch(t, f.Queue, "e", 1, messages.Fresh)
	loads := openLoads(t, f.Queue)
	d := next(t, loads)
	if err := d.Retry(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if err := d.Done(t.Context(), loadedOutcome(d)); !errors.Is(err, queue.ErrSettled) {
		t.Errorf("second settle: got %v, want ErrSettled", err)
	}
	if cause := context.Cause(d.Context()); !errors.Is(cause, queue.ErrSettled) {
		t.Errorf("context after settle: got cause %v, want ErrSettled", cause)
	}
	again := next(t, loads)
	if again.Attempt != 2 {
		t.Errorf("attempt: got %d, want 2", again.Attempt)
	}
	if err := again.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := next(t, loads).Release(t.Context()); err != nil {
		t.Fatal(err)
	}
}
