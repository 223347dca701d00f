package worker_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/storage/storagetest"
	"github.com/loadfleet/loadfleet/worker"
)

// TestP3Faults puts a small file in one piece and a larger one in parts while
// requests fail. The SDK sends each request three times; what is left is the
// worker's.
func TestP3Faults(t *testing.T) {
	t.Parallel()
	const (
		small = 20
		large = 11_000 // over lookFirst, so that it is looked for
	)
	r := newRig(t)
	stop := r.start()
	for i, test := range []struct {
		fault     storagetest.Fault
		operation storagetest.Operation
		times     int
		rows      int
		attempts  int // of the outcome
	}{
		{storagetest.SlowDown, storagetest.PutObject, 2, small, 1},
		{storagetest.SlowDown, storagetest.PutObject, 3, small, 2},
		{storagetest.SlowDown, storagetest.PutObject, 8, small, 3},
		{storagetest.InternalError.ButApplied(), storagetest.PutObject, 3, small, 2},
		{storagetest.CutRequest, storagetest.PutObject, 3, small, 2},
		{storagetest.DroppedReply.ButApplied(), storagetest.PutObject, 1, small, 1},
		{storagetest.DroppedReply.ButApplied(), storagetest.PutObject, 3, small, 2},
		{storagetest.BodyCameTooLate, storagetest.PutObject, 3, small, 2},
		{storagetest.SlowDown, storagetest.HeadObject, 3, large, 2},
		{storagetest.SlowDown, storagetest.CreateUpload, 3, large, 2},
		{storagetest.CutRequest, storagetest.UploadPart, 3, large, 2},
		{storagetest.InternalError, storagetest.UploadPart, 6, large, 3},
		{storagetest.DroppedReply.ButApplied(), storagetest.UploadPart, 3, large, 2},
		{storagetest.UploadHasGone, storagetest.UploadPart, 1, large, 1},
		{storagetest.ConflictError, storagetest.CompleteUpload, 1, large, 1},
		{storagetest.EmptyOK, storagetest.CompleteUpload, 1, large, 2},
		{storagetest.EmptyOK.ButApplied(), storagetest.CompleteUpload, 1, large, 1},
		{storagetest.ErrorAfterOK, storagetest.CompleteUpload, 3, large, 2},
		{storagetest.DroppedReply, storagetest.CompleteUpload, 3, large, 2},
		{storagetest.DroppedReply.ButApplied(), storagetest.CompleteUpload, 3, large, 1},
	} {
		t.Run(fmt.Sprintf("%s %d times %s", test.operation, test.times, test.fault), func(t *testing.T) {
			r.proxy.Heal()
			r.proxy.Inject(test.operation, test.fault, test.times)
			content := rows(t, "e", test.rows)
			l := r.publish(spec{name: fmt.Sprint("fault ", i), rows: content, slices: test.rows / large})
			got := r.outcome(l)
			if got.Result != messages.Loaded || got.Attempts != test.attempts {
				t.Errorf("outcome: got %s after %d attempts, want loaded after %d; log:\n%s", got.Result, got.Attempts, test.attempts, r.log)
			}
			r.expect(l, content)
			r.expectNoUploads()
		})
	}
	stop()
	r.expectIdle()
}

// TestExhausted ends in a dead letter that lists every attempt, and its replay
// in the object.
func TestExhausted(t *testing.T) {
	t.Parallel()
	for _, size := range []int{20, 10_000} {
		t.Run(fmt.Sprintf("%d rows", size), func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.proxy.Inject(storagetest.PutObject, storagetest.SlowDown, storagetest.Always)
			r.proxy.Inject(storagetest.UploadPart, storagetest.SlowDown, storagetest.Always)
			content := rows(t, "e", size)
			l := r.publish(spec{rows: content, slices: size / 10_000})
			r.start(func(c *worker.Config) { c.MaxAttempts = 3 })
			got := r.outcome(l)
			if got.Result != messages.DeadLettered || got.Attempts != 3 || got.Failure.Reason != messages.ReasonExhausted || !strings.Contains(got.Failure.Remedy, "rate_limit") {
				t.Errorf("outcome: got %+v of %+v, want it exhausted after 3 attempts", got, got.Failure)
			}
			r.log.await(t, 1, "reject")
			dead := r.deadLetters(queue.DeadLetterFilter{})
			if len(dead) != 1 || len(dead[0].Attempts) != 3 || dead[0].Attempts[0].Error == "" || dead[0].Attempts[0].Worker != "w" {
				t.Fatalf("dead letters: got %+v, want one of three attempts", dead)
			}
			r.expectEmpty()
			r.expectNoUploads()
			r.proxy.Heal()
			if err := r.Replay(t.Context(), dead[0].Sequence, queue.Operation{}); err != nil {
				t.Fatal(err)
			}
			r.log.await(t, 1, "loaded")
			if got := r.outcome(l); got.Result != messages.Loaded || got.Attempts != 1 {
				t.Errorf("outcome of the replay: got %+v, want it loaded at the first attempt", got)
			}
			r.expect(l, content)
		})
	}
}

// TestParked has a destination refuse for many more deliveries than a load has
// attempts. When it is mended the load goes on, with all its attempts.
func TestParked(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, test := range []struct {
		name  string
		wreck func()
		mend  func()
	}{
		{name: "denied",
			wreck: func() { r.proxy.Inject(storagetest.PutObject, storagetest.DeniedByPolicy, storagetest.Always) }, mend: func() {}},
		{name: "bad credentials",
			wreck: func() { r.apply(func(s *destination.Settings) { s.SecretAccessKey = destination.NewSecret("wrong") }) },
			mend:  func() { r.apply(nil) }},
		{name: "key without permissions",
			wreck: func() { r.apply(func(s *destination.Settings) { s.AccessKeyID = putOnlyKey }) },
			mend:  func() { r.apply(nil) }},
		{name: "wrong region",
			wreck: func() { r.proxy.Inject(storagetest.PutObject, storagetest.WrongRegionReply, storagetest.Always) }, mend: func() {}},
		{name: "KMS key disabled",
			wreck: func() { r.applyEncryption(disabled) }, mend: func() { r.applyEncryption(kmsKey) }},
		{name: "destination deleted",
			wreck: func() {
				if err := r.Destinations().Delete(t.Context(), "acme", "me"); err != nil {
					t.Fatal(err)
				}
			},
			mend: func() { r.apply(nil) }},
		{name: "workspace not admitted",
			wreck: func() { r.apply(func(s *destination.Settings) { s.Workspaces = []string{"other"} }) },
			mend:  func() { r.apply(nil) }},
		{name: "sealed with another key",
			wreck: func() { r.seal("acme", "another key") },
			mend:  func() { r.apply(nil) }},
		{name: "stored by a newer program",
			wreck: func() { r.seal("acme", "newer") },
			mend:  func() { r.apply(nil) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			r.log.reset()
			test.wreck()
			content := rows(t, test.name, 20)
			l := r.publish(spec{name: test.name, rows: content})
			stop := r.start(func(c *worker.Config) { c.MaxAttempts, c.ParkDelay = 2, time.Millisecond })
			r.log.await(t, 4, "park")
			if n := r.log.verdicts()["park"] - len(r.log.loads()); n != 0 {
				t.Errorf("verdicts: got %v, want parked only", r.log.verdicts())
			}
			// One transient error of the second and last attempt's room.
			test.mend()
			r.proxy.Heal()
			r.proxy.Inject(storagetest.PutObject, storagetest.SlowDown, 3)
			if got := r.outcome(l); got.Result != messages.Loaded || got.Attempts != 2 {
				t.Errorf("outcome: got %+v of %+v, want it loaded at the second attempt", got, got.Failure)
			}
			stop()
			r.expect(l, content)
			r.expectIdle()
		})
	}
}

// TestParkLimit gives up on a destination that refuses for too long, counted
// from its first refusal and not from when the load was stored.
func TestParkLimit(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.apply(func(s *destination.Settings) { s.Bucket = "acme-missing" })
	l := r.publish(spec{change: func(l *messages.Load) { l.Bucket = "acme-missing" }})
	stop := r.start(func(c *worker.Config) { c.ParkLimit = time.Nanosecond })
	got := r.outcome(l)
	if got.Result != messages.DeadLettered || got.Failure.Reason != messages.ReasonDestination || !strings.Contains(got.Failure.Remedy, "bucket") {
		t.Errorf("outcome: got %+v of %+v, want it dead-lettered for its destination", got, got.Failure)
	}
	stop()
	if v := r.log.verdicts(); v["park"] != 1 || v["reject"] != 1 {
		t.Errorf("verdicts: got %v, want it parked at the first refusal and rejected at the second", v)
	}
}

// TestP6BucketLeftBehind corrects the bucket of a destination: loads that were made
// for the wrong one, which no correction can help, do not keep back those that are
// made for the right one, and say so.
func TestP6BucketLeftBehind(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.apply(func(s *destination.Settings) { s.Bucket = "acme-missing" })
	behind := r.publish(spec{name: "behind", change: func(l *messages.Load) { l.Bucket = "acme-missing" }})
	stop := r.start(func(c *worker.Config) { c.ParkDelay = time.Millisecond })
	r.log.await(t, 2, "park")
	r.apply(nil)
	content := rows(t, "right", 20)
	right := r.publish(spec{name: "right", rows: content})
	if got := r.outcome(right); got.Result != messages.Loaded {
		t.Errorf("outcome of the right bucket: got %+v of %+v, want it loaded", got, got.Failure)
	}
	got := r.outcome(behind)
	if got.Result != messages.DeadLettered || got.Failure.Reason != messages.ReasonDestination ||
		!strings.Contains(got.Failure.Remedy, "acme-missing") || !strings.Contains(got.Failure.Remedy, right.Bucket) {
		t.Errorf("outcome of the wrong bucket: got %+v of %+v, want it dead-lettered with both buckets in the remedy", got, got.Failure)
	}
	stop()
	r.expect(right, content)
}

// TestHeldBack has an operator hold a destination: its loads wait without
// limit and go on when it is released.
func TestHeldBack(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		hold func(*destination.Settings)
	}{
		{"paused", func(s *destination.Settings) { s.Paused = true }},
		{"awaiting approval", func(s *destination.Settings) { s.ConnectionOption = destination.SharedAccount }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.start(func(c *worker.Config) { c.MaxAttempts, c.ParkLimit, c.ParkDelay = 1, time.Nanosecond, time.Millisecond })
			r.outcome(r.publish(spec{extraction: "before"})) // the worker has the destination open
			r.apply(test.hold)
			content := rows(t, "held", 20)
			l := r.publish(spec{extraction: "held", generation: 2, rows: content})
			r.log.await(t, 3, "hold")
			r.apply(nil)
			if got := r.outcome(l); got.Result != messages.Loaded || got.Attempts != 1 {
				t.Errorf("outcome: got %+v of %+v, want it loaded at the first attempt", got, got.Failure)
			}
			r.expect(l, content)
		})
	}
}
