package dispatcher

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
)

// The clock of keys is that of the commit in the stream, also when it comes
// back from the dead letters.
func TestClock(t *testing.T) {
	w := newWorld(t)
	timed := func(s *destination.Settings) { s.FileName = "{{filename}}-{{YYYY}}{{MM}}{{DD_today}}T{{H}}{{M}}{{S}}" }
	w.extract(commitOf("replayed"), lines(3))
	s, err := w.js.Stream(t.Context(), "COMMITS")
	if err != nil {
		t.Fatal(err)
	}
	stored, err := s.GetLastMsgForSubject(t.Context(), messages.CommitSubject("ws", "replayed"))
	if err != nil {
		t.Fatal(err)
	}
	w.start(w.Queue, quick())
	if e := w.await("replayed", messages.EventFailed); e.Failure.Reason != messages.ReasonUnknownDestination {
		t.Fatalf("got %+v, want unknown destination", e.Failure)
	}
	w.settled()
	for time.Now().Truncate(time.Second).Equal(stored.Time.Local().Truncate(time.Second)) {
		<-time.After(20 * time.Millisecond) // the clock itself is what is waited for
	}
	w.apply(timed, func(s *destination.Settings) { s.Paused = true }) // held at first, so delivered more than once
	for _, l := range w.deadLetters() {
		if err := w.Replay(t.Context(), l.Sequence, queue.Operation{}); err != nil {
			t.Fatal(err)
		}
	}
	w.apply(timed)
	w.await("replayed", messages.EventDispatched)
	want := []string{"out/orders-" + stored.Time.UTC().Format("20060102T150405") + ".csv"}
	loads := w.loads("replayed")
	if diff := cmp.Diff(want, keys(loads)); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	if !loads[0].Time.Equal(stored.Time) {
		t.Errorf("time of the load: got %s, want %s", loads[0].Time, stored.Time)
	}
}

// TestP1OneFilePerExtraction: extractions of a table that are committed within one
// second have a second each, the same however often it is asked for, and those of
// other tables do not wait for it.
func TestP1OneFilePerExtraction(t *testing.T) {
	w := newWorld(t)
	w.apply(func(s *destination.Settings) { s.FileName = "{{filename}}-{{timestamp}}" })
	at := time.Date(2024, 6, 20, 12, 15, 17, 123_456_000, time.UTC)
	take := func(glob, extraction string, want time.Time) {
		t.Helper()
		if got, err := w.TakeSecond(t.Context(), "acme-data", glob, "ws", extraction, at); err != nil || !got.Equal(want) {
			t.Errorf("%s of %s: got %s, %v, want %s", extraction, glob, got, err, want)
		}
	}
	second := at.Truncate(time.Second)
	for range 2 {
		take("out/a-*.csv", "x1", at)
		take("out/a-*.csv", "x2", second.Add(time.Second))
		take("out/b-*.csv", "x2", at)
		take("out/a-*.csv", "x3", second.Add(2*time.Second))
	}

	const extractions = 5
	for i := range extractions {
		w.extract(commitOf(fmt.Sprint("x", i)), lines(3))
	}
	w.start(w.Queue, quick())
	seen := map[string]bool{}
	for i := range extractions {
		w.dispatched(fmt.Sprint("x", i))
		for _, key := range keys(w.loads(fmt.Sprint("x", i))) {
			if seen[key] {
				t.Errorf("two extractions have the file %s", key)
			}
			seen[key] = true
		}
	}
	if len(seen) != extractions {
		t.Errorf("got %d files, want one per extraction", len(seen))
	}
}
