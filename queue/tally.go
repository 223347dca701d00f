package queue

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/messages"
)

// know reads the tallies of a group that are not known, before anything of the
// group is stored: whoever fences one then cannot be overlooked. It is false
// when the queue was closed meanwhile.
func (s *settler) know(group []*settlement) bool {
	if len(s.tallies) >= maxTallies {
		clear(s.tallies)
	}
	for _, o := range group {
		for s.tallies[o.tally] == nil {
			_, t, err := s.q.standingTally(s.q.life, o.tally.workspace, o.tally.extraction, s.writer(o.tally.worker))
			if err == nil {
				s.tallies[o.tally] = t
				break
			}
			s.q.log.Warn("tally cannot be read", zap.Error(err), zap.String("extraction", o.tally.extraction))
			if s.q.pause(s.q.life, lastPause) != nil {
				return false
			}
		}
	}
	return true
}

// count is what a tally will be with some more outcomes.
func (s *settler) count(name tallyName, some []*settlement) *messages.Tally {
	t := s.tallies[name]
	next := &messages.Tally{
		Version: messages.Version, Workspace: name.workspace, Extraction: name.extraction, Worker: name.worker,
		Counts: maps.Clone(t.counts), Through: t.through, Time: time.Now().UTC(),
	}
	for _, o := range some {
		next.Counts.Add(o.counts())
		next.Counts.Take(o.replaces)
		next.Through = max(next.Through, o.sequence)
	}
	return next
}

func (s *settler) publishTally(name tallyName, next *messages.Tally, body []byte) error {
	ctx, cancel := context.WithTimeout(s.q.life, s.q.cfg.RequestTimeout)
	defer cancel()
	t := s.tallies[name]
	ack, err := s.q.js.PublishMsg(ctx, &nats.Msg{Subject: messages.TallySubject(name.workspace, name.extraction, s.writer(name.worker)), Data: body},
		jetstream.WithExpectLastSequencePerSubject(t.sequence), jetstream.WithMsgTTL(KeepEvents), jetstream.WithRetryAttempts(0))
	if err == nil {
		err = s.q.at(stepCounted)
	}
	if err != nil {
		return err
	}
	s.tallies[name] = &tally{counts: next.Counts, through: next.Through, sequence: ack.Sequence}
	return nil
}

// reread looks at a tally that could not be stored, or of which it is not
// known: whether it stands as we wrote it, or another has fenced it.
func (s *settler) reread(name tallyName, wrote *messages.Tally) (written, fenced bool, err error) {
	_, stands, err := s.q.standingTally(s.q.life, name.workspace, name.extraction, s.writer(name.worker))
	if err != nil {
		return false, false, err
	}
	before := s.tallies[name]
	s.tallies[name] = stands
	// Through grows with every outcome that we count, and no one else changes it.
	written = stands.through == wrote.Through
	return written, !written && before.sequence != stands.sequence, nil
}

// reclaim stores outcomes of ours anew after our tally was fenced, and gives
// those that are still ours: one that was taken over is counted by who took it.
func (s *settler) reclaim(some []*settlement) (ours []*settlement) {
	for _, o := range some {
		o.expect, o.sequence = o.sequence, 0
	}
	pause := firstPause
	for {
		last := s.publish(some)
		var open []*settlement
		for _, o := range some {
			switch {
			case o.ended:
			case o.sequence != 0:
				ours = append(ours, o)
			default:
				open = append(open, o)
			}
		}
		if len(open) == 0 {
			return ours
		}
		if !outrun(last) && s.q.pause(s.q.life, pause) != nil {
			return nil
		}
		pause = min(2*pause, lastPause)
		for _, o := range open {
			stands, err := s.q.standing(s.q.life, o.subject)
			switch {
			case err != nil:
			case stands != nil && stands.sequence == o.expect: // not stored yet
			case stands != nil && stands.writer == s.writer(o.tally.worker):
				o.sequence = stands.sequence
				ours = append(ours, o)
			default:
				o.end(errTaken)
			}
		}
		some = open[:0]
		for _, o := range open {
			if !o.ended && o.sequence == 0 {
				some = append(some, o)
			}
		}
		if len(some) == 0 || s.q.life.Err() != nil {
			return ours
		}
	}
}

// standingTally is a tally as it stands; an empty one when there is none.
func (q *Queue) standingTally(ctx context.Context, workspace, extraction, writer string) (*messages.Tally, *tally, error) {
	m, err := q.lastOn(ctx, streamEvents, messages.TallySubject(workspace, extraction, writer))
	if errors.Is(err, ErrNotFound) {
		return nil, &tally{counts: messages.Counts{}}, nil
	}
	if err != nil {
		return nil, nil, err
	}
	t, err := messages.ParseTally(m.Data)
	if err != nil {
		return nil, nil, fmt.Errorf("tally of %s: %w", extraction, err)
	}
	if t.Counts == nil {
		t.Counts = messages.Counts{}
	}
	return t, &tally{counts: t.Counts, through: t.Through, sequence: m.Sequence}, nil
}

// fence changes nothing in a tally but its sequence, so that its writer, if it
// lives, must look at its outcomes again before it counts them.
func (q *Queue) fence(ctx context.Context, workspace, extraction, writer string, stands *messages.Tally, sequence uint64) error {
	if stands == nil {
		stands = &messages.Tally{Version: messages.Version, Workspace: workspace, Extraction: extraction, Time: time.Now().UTC()}
	}
	body, err := messages.EncodeTally(stands)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, q.cfg.RequestTimeout)
	defer cancel()
	_, err = q.js.PublishMsg(ctx, &nats.Msg{Subject: messages.TallySubject(workspace, extraction, writer), Data: body},
		jetstream.WithExpectLastSequencePerSubject(sequence), jetstream.WithMsgTTL(KeepEvents), jetstream.WithRetryAttempts(0))
	return err
}
