package worker

import (
	"cmp"
	"context"
	"math"
	"sync"
	"time"
)

// shares divides a worker's slots among destinations. One that is alone may
// have them all; where several have loads, each has its share by weight, and
// what one does not use the others may. A few slots more than that are kept for
// whoever has none, so that a load behind ten thousand others is found at once.
type shares struct {
	slots, spare int

	freed chan struct{} // a load has left

	mu     sync.Mutex
	inWork int
	of     map[string]*share
}

// share is a destination's part of the slots.
type share struct {
	weight   float64
	limit    int // max_concurrency; 0: none
	inWork   int
	turned   float64   // loads given back because there was no slot for them
	turnedAt time.Time // the last one
	seen     time.Time
	pace     float64 // loads that ended a second, lately
	ended    time.Time
}

// recent is how long a destination without loads in work counts as one that has
// more.
const recent = time.Second

func newShares(slots int) *shares {
	return &shares{slots: slots, spare: max(1, slots/4), freed: make(chan struct{}, 1), of: map[string]*share{}}
}

// total is how many loads may be in work at a time.
func (s *shares) total() int { return s.slots + s.spare }

// lookAhead is how long a pull waits for slots to become free.
const lookAhead = 3 * time.Millisecond

// worth is how many loads are worth a pull: as many as have a slot. While loads
// end fast it waits for a few slots, since a pull for each costs as much as the
// loads do. The spare slots are worth a look when no load ends at all: what would
// most likely be given back, of the destination that has the others, is pulled
// only in search of somebody else's.
func (s *shares) worth(ctx context.Context) int {
	var late <-chan time.Time
	for {
		s.mu.Lock()
		free := s.slots - s.inWork
		s.mu.Unlock()
		if free >= s.spare {
			return free
		}
		if late == nil {
			timer := time.NewTimer(lookAhead)
			defer timer.Stop()
			late = timer.C
		}
		select {
		case <-s.freed:
		case <-late:
			if free > 0 {
				return free
			}
			return s.spare
		case <-ctx.Done():
			return 1
		}
	}
}

// enter takes a slot for a load. When the destination has its share, it says
// for how long to give the load back: about until it is its turn.
func (s *shares) enter(destination string, now time.Time) (ok bool, again time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	mine := s.at(destination)
	mine.seen = now
	if mine.inWork < s.allowed(destination, mine, now) {
		mine.inWork++
		s.inWork++
		mine.turned = max(mine.turned-1, 0)
		return true, 0
	}
	mine.turned++
	mine.turnedAt = now
	pace := max(mine.pace, 1)
	if mine.ended.IsZero() { // nothing is known yet: better too early than too late
		pace = float64(10 * s.slots)
	}
	again = time.Duration(min(max(mine.turned/pace, 0.1), 10) * float64(time.Second))
	return false, spread(again * 2 / 3)
}

// allowed is how many loads of a destination may be in work now.
func (s *shares) allowed(destination string, mine *share, now time.Time) int {
	weights, wanted := mine.weight, 0.0
	for name, other := range s.of {
		if name != destination && other.wants(now) > 0 {
			weights += other.weight
		}
	}
	fair := max(math.Floor(float64(s.slots)*mine.weight/weights), 1)
	for name, other := range s.of {
		if wants := other.wants(now); name != destination && wants > 0 {
			wanted += min(float64(wants), max(math.Floor(float64(s.slots)*other.weight/weights), 1))
		}
	}
	n := int(max(fair, float64(s.slots)-wanted))
	if mine.inWork == 0 {
		n = max(n, 1) // the spare slots are for such
	}
	if mine.limit > 0 {
		n = min(n, mine.limit)
	}
	return n
}

// wants is about how many slots a destination would use now.
func (o *share) wants(now time.Time) int {
	n := o.inWork
	if now.Sub(o.turnedAt) < recent {
		n += int(o.turned)
	}
	return n
}

// left gives the slot back.
func (s *shares) left(destination string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	mine := s.at(destination)
	mine.inWork--
	s.inWork--
	select {
	case s.freed <- struct{}{}:
	default: // one that waits for it will look
	}
	if since := now.Sub(mine.ended).Seconds(); since > 0 {
		// An average over about the last second.
		keep := math.Exp(-since)
		mine.pace = mine.pace*keep + (1-keep)/since
	}
	mine.ended = now
	s.forget(now)
}

// settings tells the share what the destination's settings say.
func (s *shares) settings(destination string, weight float64, limit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	mine := s.at(destination)
	mine.weight, mine.limit = cmp.Or(weight, 1), limit
}

func (s *shares) at(destination string) *share {
	mine := s.of[destination]
	if mine == nil {
		mine = &share{weight: 1}
		s.of[destination] = mine
	}
	return mine
}

// maxShares is how many destinations are remembered that have nothing to do.
const maxShares = 1000

func (s *shares) forget(now time.Time) {
	if len(s.of) <= maxShares {
		return
	}
	for name, o := range s.of {
		if o.inWork == 0 && now.Sub(o.seen) > time.Minute {
			delete(s.of, name)
		}
	}
}
