package queue

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/messages"
)

// ExtractionIndex is what became of extractions, kept current by hearing their
// events and tallies: the stream is read once, at the start, and what moves then
// comes by itself. It is safe for concurrent use.
type ExtractionIndex struct {
	q    *Queue
	keep int

	mu      sync.Mutex
	known   map[ExtractionName]*ExtractionState
	tallies map[string]*messages.Tally // by subject: a tally replaces its last
	counts  messages.Counts            // of all tallies, growing with each
	changed chan struct{}              // closed and replaced at every change
}

// IndexExtractions makes an index that remembers the latest keep extractions.
// It is empty until Follow has run for a while.
func (q *Queue) IndexExtractions(keep int) *ExtractionIndex {
	return &ExtractionIndex{
		q: q, keep: keep, known: map[ExtractionName]*ExtractionState{}, tallies: map[string]*messages.Tally{},
		counts: messages.Counts{}, changed: make(chan struct{}),
	}
}

// Follow keeps the index current until ctx ends, and returns its cause.
func (x *ExtractionIndex) Follow(ctx context.Context) error {
	subjects := []string{messages.TallySubjects("", "")}
	for _, kind := range []messages.EventKind{messages.EventAccepted, messages.EventDispatched, messages.EventCompleted, messages.EventFailed} {
		subjects = append(subjects, messages.EventKindSubjects("", kind))
	}
	for msg, err := range x.q.read(ctx, reading{stream: streamEvents, subjects: subjects, live: true}) {
		if err != nil {
			return err
		}
		if _, _, ok := messages.TallyOrigin(msg.Subject()); ok {
			t, err := messages.ParseTally(msg.Data())
			if err != nil {
				x.q.log.Warn("tally cannot be read", zap.String("subject", msg.Subject()), zap.Error(err))
				continue
			}
			x.tally(msg.Subject(), t)
			continue
		}
		e, err := messages.ParseEvent(msg.Data())
		if err != nil {
			x.q.log.Warn("event cannot be read", zap.String("subject", msg.Subject()), zap.Error(err))
			continue
		}
		x.event(e)
	}
	return context.Cause(ctx)
}

func (x *ExtractionIndex) at(workspace, extraction string) *ExtractionState {
	n := ExtractionName{workspace, extraction}
	s := x.known[n]
	if s == nil {
		s = &ExtractionState{Workspace: workspace, Extraction: extraction, Counts: messages.Counts{}}
		x.known[n] = s
	}
	return s
}

func (x *ExtractionIndex) event(e *messages.Event) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.at(e.Workspace, e.Extraction).apply(*e)
	x.forget()
	x.moved()
}

func (x *ExtractionIndex) tally(subject string, t *messages.Tally) {
	x.mu.Lock()
	defer x.mu.Unlock()
	s, before := x.at(t.Workspace, t.Extraction), x.tallies[subject]
	if before != nil {
		s.Counts.Take(before.Counts)
		x.counts.Take(before.Counts)
	}
	s.Counts.Merge(t.Counts)
	x.counts.Merge(t.Counts)
	x.tallies[subject] = t
	x.moved()
}

// moved tells whoever waits; x.mu is held.
func (x *ExtractionIndex) moved() {
	close(x.changed)
	x.changed = make(chan struct{})
}

// forget drops the oldest extractions when there are many more than are kept.
func (x *ExtractionIndex) forget() {
	if len(x.known) <= x.keep+x.keep/4 {
		return
	}
	all := x.sorted()
	for _, s := range all[x.keep:] {
		delete(x.known, ExtractionName{s.Workspace, s.Extraction})
	}
	for subject, t := range x.tallies {
		if x.known[ExtractionName{t.Workspace, t.Extraction}] == nil {
			delete(x.tallies, subject)
		}
	}
}

func (x *ExtractionIndex) sorted() []*ExtractionState {
	all := make([]*ExtractionState, 0, len(x.known))
	for _, s := range x.known {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *ExtractionState) int {
		return cmp.Or(b.Updated().Compare(a.Updated()), cmp.Compare(a.Workspace, b.Workspace), cmp.Compare(a.Extraction, b.Extraction))
	})
	return all
}

// All is every extraction that the index knows, the latest first. The states are
// the caller's.
func (x *ExtractionIndex) All() []*ExtractionState {
	x.mu.Lock()
	defer x.mu.Unlock()
	all := x.sorted()
	for i, s := range all {
		all[i] = s.clone()
	}
	return all
}

// Get is one extraction; nil when the index does not know it.
func (x *ExtractionIndex) Get(workspace, extraction string) *ExtractionState {
	x.mu.Lock()
	defer x.mu.Unlock()
	if s := x.known[ExtractionName{workspace, extraction}]; s != nil {
		return s.clone()
	}
	return nil
}

// Counts is how all loads ended that the index has heard of. Two of them, and
// the time between, tell a rate. An extraction that moves after it was forgotten
// is counted anew, which shows once.
func (x *ExtractionIndex) Counts() messages.Counts {
	x.mu.Lock()
	defer x.mu.Unlock()
	all := messages.Counts{}
	all.Merge(x.counts)
	return all
}

// Changed is closed at the next change.
func (x *ExtractionIndex) Changed() <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.changed
}

func (s *ExtractionState) clone() *ExtractionState {
	c := *s
	c.Counts = messages.Counts{}
	c.Counts.Merge(s.Counts)
	return &c
}
