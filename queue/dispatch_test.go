package queue_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/queue/queuetest"
)

// carryOut ends n loads and returns how often each was delivered.
func carryOut(t *testing.T, q *queue.Queue, n int) map[string]int {
	t.Helper()
	loads := openLoads(t, q)
	seen := map[string]int{}
	for range n {
		d := next(t, loads)
		seen[d.ID]++
		if err := d.Done(within(t, 10*time.Second), loadedOutcome(d)); err != nil {
			t.Fatal(err)
		}
	}
	return seen
}

func TestP2DispatchTwice(t *testing.T) {
	t.Parallel()
	const n = 1200 // two chunks
	f := queuetest.Start(t)
	first := dispatch(t, f.Queue, "e", n, messages.Fresh)
	if first.Chunks() != 2 || first.Passed() != 0 {
		t.Errorf("first dispatch: got %d chunks, %d passed, want 2, 0", first.Chunks(), first.Passed())
	}
	steps := []struct {
		name   string
		before func()
		left   int
	}{
		{"at once", func() {}, n},
		{"after a restart", func() { f.StopServer(t); f.StartServer(t) }, n},
		{"after some were carried out", func() { carryOut(t, f.Queue, n-1000) }, 1000},
		{"after those and a restart", func() { f.StopServer(t); f.StartServer(t) }, 1000},
	}
	for _, step := range steps {
		step.before()
		again := dispatch(t, f.Queue, "e", n, messages.Fresh)
		if again.Chunks() != 2 || again.Passed() != 2 {
			t.Errorf("%s: got %d chunks, %d passed, want 2, 2", step.name, again.Chunks(), again.Passed())
		}
		if left := loadsLeft(t, f.Queue); left != step.left {
			t.Errorf("%s: got %d loads left, want %d", step.name, left, step.left)
		}
	}
}

func TestP2DispatchInterruptedBetweenChunks(t *testing.T) {
	f := queuetest.Start(t)
	ctx := within(t, 20*time.Second)
	d := f.Dispatch(ctx, "ws", "e", "plan")
	for n := range 1000 { // the last one makes the first chunk go out
		if err := d.Add(loadAndContext(ctx, "e", n, messages.Fresh)); err != nil {
			t.Fatal(err)
		}
	}
	if left := loadsLeft(t, f.Queue); left != 999 {
		t.Fatalf("before the crash: got %d loads, want 999", left)
	}
	again := dispatch(t, f.Connect(t), "e", 1500, messages.Fresh)
	if again.Passed() != 1 {
		t.Errorf("passed: got %d, want 1", again.Passed())
	}
	if left := loadsLeft(t, f.Queue); left != 1500 {
		t.Errorf("after the second dispatch: got %d loads, want 1500", left)
	}
}

func TestP2RacingDispatchers(t *testing.T) {
	t.Parallel()
	const n = 1500
	f := queuetest.Start(t)
	ctx := within(t, 20*time.Second)
	var all sync.WaitGroup
	fails := make([]error, 8)
	for i := range fails {
		q := f.Connect(t)
		all.Go(func() { _, fails[i] = tryDispatch(ctx, q, "e", "plan", n, messages.Fresh) })
	}
	all.Wait()
	if err := errors.Join(fails...); err != nil {
		t.Fatal(err)
	}
	if left := loadsLeft(t, f.Queue); left != n {
		t.Errorf("loads: got %d, want %d", left, n)
	}
}

func TestDispatchNothing(t *testing.T) {
	f := queuetest.Start(t)
	for _, passed := range []int{0, 1} {
		d := dispatch(t, f.Queue, "e", 0, messages.Fresh)
		if d.Chunks() != 1 || d.Passed() != passed {
			t.Errorf("got %d chunks, %d passed, want 1, %d", d.Chunks(), d.Passed(), passed)
		}
	}
}

func TestDispatchOtherPlan(t *testing.T) {
	f := queuetest.Start(t)
	dispatch(t, f.Queue, "e", 3, messages.Fresh)
	tests := []struct {
		name  string
		plan  string
		loads int
	}{
		{"another hash", "other", 3},
		{"another cut", "plan", 2},
		{"nothing at all", "plan", 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := tryDispatch(within(t, 10*time.Second), f.Queue, "e", test.plan, test.loads, messages.Fresh)
			var differs *queue.PlanError
			if !errors.Is(err, queue.ErrPlanDiffers) || !errors.As(err, &differs) || differs.Chunk != 0 {
				t.Errorf("got %v, want ErrPlanDiffers of chunk 0", err)
			}
		})
	}
	if left := loadsLeft(t, f.Queue); left != 3 {
		t.Errorf("loads: got %d, want 3", left)
	}
}

// Another program, or the same one with other limits, packs the same loads
// into other payloads and would cut the chunks elsewhere.
func TestP2DispatchPackedOtherwise(t *testing.T) {
	t.Parallel()
	const n = 7
	f := queuetest.Start(t)
	ctx := within(t, 20*time.Second)
	add := func(d *queue.Dispatch, loads, size int) {
		for i := range loads {
			load, _ := loadOf("ws", "e", i, messages.Fresh)
			if err := d.Add(ctx, load, make([]byte, size)); err != nil {
				t.Fatal(err)
			}
		}
	}
	interrupted := f.Dispatch(ctx, "ws", "e", "plan")
	add(interrupted, 5, 3<<20) // a chunk of one goes out, and one of two
	late := f.Dispatch(ctx, "ws", "e", "plan")
	if stands, err := late.Pass(ctx, loadOnly(loadOf("ws", "e", 0, messages.Fresh))); !stands || err != nil {
		t.Fatalf("load 0: got %v, %v, want that it stands", stands, err)
	}
	again := f.Connect(t).Dispatch(ctx, "ws", "e", "plan")
	add(again, n, 10)
	if err := again.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if again.Passed() != 2 || again.Chunks() != 3 {
		t.Errorf("second dispatch: got %d passed of %d, want 2 of 3", again.Passed(), again.Chunks())
	}
	// The interrupted one comes back to life with a chunk that was cut
	// otherwise and stands by now.
	for i := 5; i < n; i++ {
		load, _ := loadOf("ws", "e", i, messages.Fresh)
		if err := interrupted.Add(ctx, load, make([]byte, 3<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := interrupted.Close(ctx); err != nil || interrupted.Passed() != 1 {
		t.Errorf("interrupted dispatch: got %v, %d passed, want nil, 1", err, interrupted.Passed())
	}
	if left := loadsLeft(t, f.Queue); left != n {
		t.Errorf("loads: got %d, want %d", left, n)
	}
}

func loadOnly(load *messages.Load, _ []byte) *messages.Load { return load }

func TestDispatchCutsByBytes(t *testing.T) {
	t.Parallel()
	f := queuetest.Start(t)
	ctx := within(t, 20*time.Second)
	d := f.Dispatch(ctx, "ws", "e", "plan")
	for n := range 5 {
		load, _ := loadOf("ws", "e", n, messages.Fresh)
		if err := d.Add(ctx, load, make([]byte, 3<<20)); err != nil {
			t.Fatal(err)
		}
		// The first chunk is a small one, and goes out at once.
		if want := []int{0, 1, 1, 2, 2}[n]; d.Chunks() != want {
			t.Errorf("%d loads added: got %d chunks, want %d", n+1, d.Chunks(), want)
		}
	}
	if err := d.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if d.Chunks() != 3 {
		t.Errorf("chunks: got %d, want 3", d.Chunks())
	}
	load, _ := loadOf("ws", "e", 9, messages.Fresh)
	if err := d.Add(ctx, load, make([]byte, 9<<20)); err == nil {
		t.Error("a load larger than a message: got no error")
	}
}

func TestSlices(t *testing.T) {
	f := queuetest.Start(t)
	ctx := within(t, 20*time.Second)
	write := func(load string, n int) messages.SliceRef {
		w := f.Slices(ctx, messages.SliceSubject("e", load, "1"))
		for i := range n {
			if err := w.Write(ctx, 10, fmt.Appendf(nil, "slice %d", i)); err != nil {
				t.Fatal(err)
			}
		}
		return w.Close()
	}
	read := func(ref messages.SliceRef) (got []string, err error) {
		for payload, err := range f.Slice(ctx, ref) {
			if err != nil {
				return got, err
			}
			got = append(got, string(payload))
		}
		return got, nil
	}
	ref := write("a", 3)
	got, err := read(ref)
	if err != nil || len(got) != 3 || got[2] != "slice 2" || ref.Rows != 30 {
		t.Errorf("got %q, %v of %+v", got, err, ref)
	}
	wrongSum, wrongCount := ref, ref
	wrongSum.SHA256 = write("b", 2).SHA256
	wrongCount.Count = 2
	purged := write("c", 2)
	if err := f.PurgeSlices(ctx, purged); err != nil {
		t.Fatal(err)
	}
	for name, damaged := range map[string]messages.SliceRef{"sum": wrongSum, "count": wrongCount, "purged": purged} {
		if _, err := read(damaged); !errors.Is(err, queue.ErrSliceDamaged) {
			t.Errorf("%s: got %v, want ErrSliceDamaged", name, err)
		}
	}
}
