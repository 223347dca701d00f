package queue

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/loadfleet/loadfleet/messages"
)

// OutcomeFilter chooses outcomes; a zero field chooses all.
type OutcomeFilter struct {
	Workspace   string
	Destination string
	Result      messages.Result
	Since       time.Time // of the load's end; inclusive
	Until       time.Time // exclusive
}

// LoadOutcome is how a load ended, and whose it is.
type LoadOutcome struct {
	Workspace   string `json:"workspace"`
	Extraction  string `json:"extraction"`
	Destination string `json:"destination"`
	messages.Outcome
}

// clockSkew is how far a worker's clock may run ahead of the server's: an outcome
// is looked for from so much before the end that it tells.
const clockSkew = 10 * time.Minute

// LoadOutcomes yields the last outcome of every load that the filter chooses, of
// all extractions, in the order in which they were stored. It reads what was
// stored since then, not more. An error is the last thing it yields.
func (q *Queue) LoadOutcomes(ctx context.Context, filter OutcomeFilter) iter.Seq2[LoadOutcome, error] {
	r := reading{stream: streamEvents, subjects: []string{messages.EventKindSubjects(filter.Workspace, messages.EventOutcome+".*")}}
	if !filter.Since.IsZero() {
		r.since = filter.Since.Add(-clockSkew)
	}
	return func(yield func(LoadOutcome, error) bool) {
		for event, err := range q.eventsOf(ctx, r) {
			if err != nil {
				yield(LoadOutcome{}, err)
				return
			}
			o := event.Outcome
			if o == nil || filter.Destination != "" && event.Destination != filter.Destination || filter.Result != "" && o.Result != filter.Result ||
				o.Ended.Before(filter.Since) || !filter.Until.IsZero() && !o.Ended.Before(filter.Until) {
				continue
			}
			if !yield(LoadOutcome{event.Workspace, event.Extraction, event.Destination, *o}, nil) {
				return
			}
		}
	}
}

// LatestOutcomes is the latest of what [Queue.LoadOutcomes] yields, the latest
// first, at most limit of them (0: all), and how many more there are. It holds no
// more than twice the limit at a time.
func (q *Queue) LatestOutcomes(ctx context.Context, filter OutcomeFilter, limit int) (latest []LoadOutcome, more int, err error) {
	n := 0
	latest = []LoadOutcome{}
	for o, err := range q.LoadOutcomes(ctx, filter) {
		if err != nil {
			return nil, 0, err
		}
		n++
		latest = append(latest, o)
		if limit > 0 && len(latest) > 2*limit {
			latest = append(latest[:0], latest[len(latest)-limit:]...)
		}
	}
	slices.Reverse(latest)
	if limit > 0 {
		latest = latest[:min(limit, len(latest))]
	}
	return latest, n - len(latest), nil
}
