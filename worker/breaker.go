package worker

import (
	"sync"
	"time"
)

// breakers keeps the loads of a destination that refuses them out of the way:
// while its breaker is open they are parked, all but one at a time that tries
// whether the destination takes loads again. Each worker has its own; what is
// parked is the fleet's.
type breakers struct {
	first, last time.Duration // between probes: doubling from one to the other
	failures    int           // in a row, of a destination that does not answer, until its breaker opens

	mu   sync.Mutex
	open map[string]*breaker
}

// breaker is that of a destination with which something is wrong.
type breaker struct {
	opened  bool
	failed  int // in a row
	wait    time.Duration
	probe   time.Time // the next one
	probing bool
	held    bool // by an operator's wish: for as long as it takes
	why     string
	remedy  string
}

func newBreakers(first, last time.Duration, failures int) *breakers {
	return &breakers{first: first, last: last, failures: failures, open: map[string]*breaker{}}
}

// passage is what a load may do at its destination's breaker.
type passage uint8

const (
	pass  passage = iota // go on
	probe                // go on, and say how it went: others wait for it
	halt                 // wait
)

// enter asks for a load's passage. Of a probe, ended must be told.
func (b *breakers) enter(destination string, now time.Time) (p passage, halted *haltError) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := b.open[destination]
	switch {
	case at == nil || !at.opened:
		return pass, nil
	case at.probing || now.Before(at.probe):
		return halt, &haltError{at.why, at.remedy, at.held}
	}
	at.probing = true
	return probe, nil
}

// refused opens the breaker, or leaves it open for longer after a probe. It
// says how long until the next probe. held is by an operator's wish.
func (b *breakers) refused(destination, why, remedy string, held bool, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := b.at(destination)
	at.held, at.remedy = held, remedy
	return b.trip(at, why, now)
}

// unanswered counts a failure of a destination that is out of reach, and
// reports whether its breaker is open now.
func (b *breakers) unanswered(destination, why string, now time.Time) (opened bool, wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := b.at(destination)
	if at.failed++; at.failed < b.failures && !at.opened {
		return false, 0
	}
	return true, b.trip(at, why, now)
}

func (b *breakers) at(destination string) *breaker {
	at := b.open[destination]
	if at == nil {
		at = &breaker{}
		b.open[destination] = at
	}
	return at
}

func (b *breakers) trip(at *breaker, why string, now time.Time) time.Duration {
	switch {
	case !at.opened:
		at.opened, at.wait = true, b.first
	case at.probing:
		at.wait = min(2*at.wait, b.last)
	default: // loads that were under way when it opened
		at.why = why
		return max(at.probe.Sub(now), 0)
	}
	at.probing, at.why, at.probe = false, why, now.Add(spread(at.wait))
	return at.probe.Sub(now)
}

// answered closes the breaker: the destination has taken a load, or was
// changed. It reports whether it was open.
func (b *breakers) answered(destination string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := b.open[destination]
	delete(b.open, destination)
	return at != nil && at.opened
}

// undecided ends a probe that told nothing.
func (b *breakers) undecided(destination string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if at := b.open[destination]; at != nil {
		at.probing = false
	}
}

// Breaker is a destination that refuses loads of this worker.
type Breaker struct {
	Destination, Why string
}

// refusing lists the open breakers.
func (b *breakers) refusing() []Breaker {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []Breaker
	for destination, at := range b.open {
		if at.opened {
			all = append(all, Breaker{destination, at.why})
		}
	}
	return all
}
