package queue_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/queue/queuetest"
)

// letters is so many dead letters of a destination and a reason, as if they had
// died now.
func letters(destination string, reason messages.Reason, n int) []messages.DeadLetter {
	all := make([]messages.DeadLetter, n)
	for i := range all {
		all[i] = messages.DeadLetter{
			ID: fmt.Sprintf("%s-%s-%d", destination, reason, i), Stage: messages.StageLoad, Workspace: "ws", Destination: destination, Extraction: "e",
			Failure: messages.Failure{Reason: reason}, Time: time.Now().UTC(),
		}
	}
	return all
}

// Of 3,000 dead letters a page holds its own, says how many are before and after
// it, and the pages together are all, the newest first: whether the server counts
// them or their headers are read, dense or one among many others.
func TestDeadLetterPages(t *testing.T) {
	t.Parallel()
	f := queuetest.Start(t)
	f.Bury(t, letters("few", messages.ReasonBadRow, 3)...)
	f.Bury(t, letters("acme", messages.ReasonBadRow, 1500)...)
	f.Bury(t, letters("few", messages.ReasonKey, 2)...)
	f.Bury(t, letters("acme", messages.ReasonKey, 1495)...)
	for _, c := range []struct {
		filter queue.DeadLetterFilter
		want   int
	}{
		{queue.DeadLetterFilter{}, 3000},
		{queue.DeadLetterFilter{Destination: "acme"}, 2995},
		{queue.DeadLetterFilter{Destination: "few", Stage: messages.StageLoad}, 5},
		{queue.DeadLetterFilter{Reason: messages.ReasonKey}, 1497},
		{queue.DeadLetterFilter{Destination: "few", Reason: messages.ReasonKey}, 2},
		{queue.DeadLetterFilter{Destination: "none"}, 0},
		{queue.DeadLetterFilter{Destination: "none", Reason: messages.ReasonKey}, 0},
	} {
		t.Run(fmt.Sprintf("%+v", c.filter), func(t *testing.T) {
			var before, last uint64
			seen := 0
			for {
				p, err := f.DeadLetterPage(within(t, 20*time.Second), c.filter, before, 100)
				if err != nil {
					t.Fatal(err)
				}
				if n := len(p.Letters); n != min(100, c.want-seen) || cap(p.Letters) > 201 || p.Newer != seen || p.Older != c.want-seen-n || p.All() != c.want {
					t.Fatalf("below %d: %d of %d letters held, %d newer and %d older; want %d and %d", before, n, cap(p.Letters), p.Newer, p.Older, seen, c.want-seen-min(100, c.want-seen))
				}
				for _, d := range p.Letters {
					if last != 0 && d.Sequence >= last {
						t.Fatalf("%d after %d", d.Sequence, last)
					}
					last, seen = d.Sequence, seen+1
				}
				if p.Older == 0 {
					break
				}
				before = last
			}
		})
	}
	p, err := f.DeadLetterPage(within(t, 20*time.Second), queue.DeadLetterFilter{}, 1<<40, 10)
	if err != nil || len(p.Letters) != 10 || p.Letters[0].Sequence != 3000 {
		t.Errorf("below what there will be: got %+v, %v", p, err)
	}
	for _, sequence := range []uint64{2999, 2998, 1} { // gaps
		if err := f.Discard(within(t, 20*time.Second), sequence, queue.Operation{}); err != nil {
			t.Fatal(err)
		}
	}
	p, err = f.DeadLetterPage(within(t, 20*time.Second), queue.DeadLetterFilter{}, 0, 10)
	if err != nil || len(p.Letters) != 10 || p.Letters[1].Sequence != 2997 || p.Older != 2987 {
		t.Errorf("with gaps: got %+v, %v", p, err)
	}
}
