package queue

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"

	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/messages"
)

// groupLoads is how many loads are settled together at most.
const groupLoads = 256

// errTaken says that another delivery of the load settles it: that one, not
// this one, is to acknowledge it.
var errTaken = errors.New("another delivery of the load settles it")

// settler stores how loads ended, and counts them: all that ended at a time
// together. First the outcomes and the records of objects, each guarded by what
// stands on its subject, then one tally per extraction, and only then the
// loads are acknowledged.
//
// A tally has one writer, this settler, and says through which sequence of the
// stream its outcomes are counted. So whoever finds an outcome knows whether it
// is: what was stored and not counted, because a worker was killed in between,
// was not acknowledged either and is found by the next delivery of the load.
// That one fences the tally, so that a writer which lives after all must look
// again, takes the outcome over by storing it anew, and counts it.
//
// A large group is stored as one atomic batch, which the server syncs as a
// whole. A small one goes as single messages: an unreplicated stream stages each
// batch in a directory of its own, which costs as much as twenty messages. So
// nothing here rests on a batch being whole (docs/decisions/09-settling.md).
type settler struct {
	q       *Queue
	id      string // of this process, in the names of its tallies
	in      chan *settlement
	begun   sync.Once
	tallies map[tallyName]*tally // that have moved lately; for run alone
}

type tallyName struct{ workspace, extraction, worker string }

// tally is one of ours as it was last stored.
type tally struct {
	counts   messages.Counts
	through  uint64 // our outcomes up to this sequence are counted
	sequence uint64 // of its message; 0 when there is none
}

// maxTallies is how many tallies are remembered; a forgotten one is read again.
const maxTallies = 4096

func newSettler(q *Queue) *settler {
	return &settler{q: q, id: rand.Text()[:13], in: make(chan *settlement), tallies: map[tallyName]*tally{}}
}

// writer names the settler's tallies of a worker in subjects and headers.
func (s *settler) writer(worker string) string { return messages.Token(worker) + "-" + s.id }

// settle stores the outcome of a load, and waits until it is stored and
// counted, or ctx ends. After an error it may be so all the same.
func (s *settler) settle(ctx context.Context, o *settlement) error {
	s.begun.Do(func() { s.q.spawn(s.run) })
	o.done = make(chan error, 1)
	select {
	case s.in <- o:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.q.life.Done():
		return ErrClosed
	}
	select {
	case err := <-o.done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.q.life.Done():
		return ErrClosed
	}
}

// run settles group after group until the queue is closed. What comes while a
// group is on its way makes the next one: nothing waits to be joined.
func (s *settler) run() {
	var next []*settlement
	for {
		if len(next) == 0 {
			select {
			case o := <-s.in:
				next = append(next, o)
			case <-s.q.life.Done():
				return
			}
		}
		var group []*settlement
		group, next = s.gather(next)
		s.store(group)
		if s.q.life.Err() != nil {
			return
		}
	}
}

// gather takes what is there. A subject stands in a group once: a second load
// of one object, or a second delivery of one load, is left for the next.
func (s *settler) gather(first []*settlement) (group, left []*settlement) {
	used := map[string]bool{}
	add := func(o *settlement) {
		if used[o.subject] || o.object != nil && used[o.objectSubject] {
			left = append(left, o)
			return
		}
		used[o.subject] = true
		if o.object != nil {
			used[o.objectSubject] = true
		}
		group = append(group, o)
	}
	for _, o := range first {
		add(o)
	}
	for len(group)+len(left) < groupLoads {
		select {
		case o := <-s.in:
			add(o)
		default:
			return group, left
		}
	}
	return group, left
}

// store stores and counts a group. It goes on until each load's fate is known,
// also when nobody waits for it any more: a tally may say that it counts all
// up to a sequence only when there is no doubt about any.
func (s *settler) store(group []*settlement) {
	if !s.know(group) || !s.outcomes(group) {
		return
	}
	counted := map[tallyName][]*settlement{}
	for _, o := range group {
		if !o.ended {
			counted[o.tally] = append(counted[o.tally], o)
		}
	}
	for name, some := range counted {
		s.tally(name, some)
	}
}

// outcomes stores the outcomes of a group, and the records of objects; false
// when the queue was closed meanwhile.
func (s *settler) outcomes(group []*settlement) bool {
	pause := firstPause
	for _, o := range group {
		if o.again {
			_ = s.look(o) // what fails is looked at below
		}
	}
	for try := 1; ; try++ {
		last := s.publish(group)
		var open []*settlement
		for _, o := range group {
			if !o.ended && (o.sequence == 0 || o.object != nil) {
				open = append(open, o)
			}
		}
		if len(open) == 0 {
			return true
		}
		if try == 3 {
			s.q.log.Warn("loads cannot be settled yet", zap.Int("loads", len(open)), zap.Error(last))
		}
		if try > 1 || !outrun(last) {
			if s.q.pause(s.q.life, pause) != nil {
				return false
			}
			pause = min(2*pause, lastPause)
		}
		for _, o := range open {
			if err := s.look(o); err != nil {
				s.q.log.Debug("look for an outcome", zap.Error(err)) // the next try looks again
			}
		}
		if s.q.life.Err() != nil {
			return false
		}
		group = open
	}
}

// look finds out what stands of a load that was not stored as expected, or of
// which it is not known whether it was, and what is to be done then.
func (s *settler) look(o *settlement) error {
	if o.object != nil {
		if err := s.q.lookObject(s.q.life, o); err != nil {
			return err
		}
	}
	if o.sequence != 0 {
		return nil
	}
	stands, err := s.q.standing(s.q.life, o.subject)
	if err != nil {
		return err
	}
	switch t := s.tallies[o.tally]; {
	case stands == nil:
		o.begin()
		return nil
	case stands.writer == s.writer(o.tally.worker) && stands.sequence > t.through:
		// Our own, whose answer was lost: all others of ours are counted.
		o.sequence = stands.sequence
		return nil
	}
	return s.q.meet(s.q.life, o, stands)
}

// tally counts outcomes that are stored, in one message, and ends them. A
// tally that another has fenced is counted anew: of the outcomes that are
// still ours.
func (s *settler) tally(name tallyName, some []*settlement) {
	pause := firstPause
	for try := 1; ; try++ {
		next := s.count(name, some)
		body, err := messages.EncodeTally(next)
		if err == nil {
			err = s.publishTally(name, next, body)
		}
		switch {
		case err == nil:
			for _, o := range some {
				o.end(nil)
			}
			return
		case s.q.life.Err() != nil:
			return
		case !outrun(err) && !transient(err):
			for _, o := range some {
				o.end(fmt.Errorf("count outcome: %w", err))
			}
			return
		}
		if try == 3 {
			s.q.log.Warn("loads cannot be counted yet", zap.Int("loads", len(some)), zap.Error(err))
		}
		if s.q.pause(s.q.life, pause) != nil {
			return
		}
		pause = min(2*pause, lastPause)
		written, fenced, err := s.reread(name, next)
		if err == nil && written {
			for _, o := range some {
				o.end(nil)
			}
			return
		}
		if fenced {
			some = s.reclaim(some)
		}
		if len(some) == 0 || s.q.life.Err() != nil {
			return
		}
	}
}
