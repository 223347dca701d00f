package queue_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/queue/queuetest"
)

// TestLatestOutcomes chooses by destination, result, workspace and time, and says
// how many more there are.
func TestLatestOutcomes(t *testing.T) {
	f := queuetest.Start(t)
	now := time.Now().UTC()
	for i, e := range []struct {
		workspace, destination string
		result                 messages.Result
		age                    time.Duration
	}{
		{"ws", "acme", messages.Loaded, time.Hour},
		{"ws", "acme", messages.DeadLettered, 50 * time.Hour}, // of before
		{"ws", "acme", messages.DeadLettered, 3 * time.Hour},
		{"ws", "other", messages.DeadLettered, 2 * time.Hour},
		{"ws2", "acme", messages.DeadLettered, time.Hour},
	} {
		o := messages.Outcome{Load: strings.Repeat(fmt.Sprint(i), 32), Result: e.result, Bucket: "b", Key: fmt.Sprint(i), Format: "csv", Generation: 1, Attempts: 1, Ended: now.Add(-e.age)}
		if e.result == messages.DeadLettered {
			o.Failure = &messages.Failure{Reason: messages.ReasonBadRow, Message: "why"}
		}
		must(t, "event", f.Publish(t.Context(), messages.Event{Kind: messages.EventOutcome, Workspace: e.workspace, Extraction: "e", Destination: e.destination, Outcome: &o}))
	}
	day := now.Add(-24 * time.Hour)
	for _, tt := range []struct {
		name   string
		filter queue.OutcomeFilter
		limit  int
		want   []string
		more   int
	}{
		{"everything", queue.OutcomeFilter{}, 0, []string{"4", "3", "2", "1", "0"}, 0},
		{"the latest", queue.OutcomeFilter{}, 2, []string{"4", "3"}, 3},
		{"of a destination, failed, in a day", queue.OutcomeFilter{Destination: "acme", Result: messages.DeadLettered, Since: day}, 10, []string{"4", "2"}, 0},
		{"of a workspace", queue.OutcomeFilter{Workspace: "ws2"}, 0, []string{"4"}, 0},
		{"before a day ago", queue.OutcomeFilter{Until: day}, 0, []string{"1"}, 0},
		{"none", queue.OutcomeFilter{Destination: "nobody"}, 0, nil, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			latest, more, err := f.LatestOutcomes(t.Context(), tt.filter, tt.limit)
			must(t, "outcomes", err)
			var got []string
			for _, o := range latest {
				got = append(got, o.Key)
			}
			if d := cmp.Diff(tt.want, got); d != "" || more != tt.more {
				t.Errorf("outcomes (-want +got), %d more, want %d:\n%s", more, tt.more, d)
			}
		})
	}
	// What was stored before is not read at all.
	if latest, _, err := f.LatestOutcomes(t.Context(), queue.OutcomeFilter{Since: now.Add(time.Hour)}, 0); err != nil || len(latest) > 0 {
		t.Errorf("of the future: %v, %v", latest, err)
	}
}

func TestLateExtraction(t *testing.T) {
	now := time.Now()
	for _, tt := range []struct {
		name  string
		state queue.ExtractionState
		want  bool
	}{
		{"just accepted", queue.ExtractionState{State: messages.EventAccepted, Accepted: now.Add(-time.Minute)}, false},
		{"not dispatched", queue.ExtractionState{State: messages.EventAccepted, Accepted: now.Add(-time.Hour)}, true},
		{"loads left", queue.ExtractionState{State: messages.EventDispatched, Accepted: now.Add(-time.Hour), Plan: &messages.Plan{Loads: 1}}, true},
		{"none left", queue.ExtractionState{State: messages.EventDispatched, Accepted: now.Add(-time.Hour), Plan: &messages.Plan{Loads: 1}, Counts: messages.Counts{messages.Loaded: {Loads: 1}}}, false},
		{"failed", queue.ExtractionState{State: messages.EventFailed, Accepted: now.Add(-time.Hour)}, false},
	} {
		if got := tt.state.Late(now, queue.LateAfter); got != tt.want {
			t.Errorf("%s: late is %v, want %v", tt.name, got, tt.want)
		}
	}
}
