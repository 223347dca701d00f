package queue

import (
	"cmp"
	"context"
	"fmt"
	"maps"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/messages"
)

// batchFrom is from how many messages on a batch costs less than the messages.
const batchFrom = 24

// publish stores what is not stored of a group. It gives an error that one of
// them got.
func (s *settler) publish(group []*settlement) error {
	var batch []outgoing
	for _, o := range group {
		batch = append(batch, s.outgoing(o)...)
	}
	if len(batch) < batchFrom {
		return s.publishEach(batch)
	}
	last, err := s.q.publishBatch(s.q.life, batch)
	if err == nil {
		err = s.q.at(stepStored)
	}
	if err != nil {
		// One guard that does not hold keeps the others back, and what is found
		// to stand decides for each.
		return cmp.Or(s.publishEach(batch), err)
	}
	for i, m := range batch { // they stand one behind the other
		m.stored(last - uint64(len(batch)-1-i))
	}
	return nil
}

// outgoing is one message about a load: its outcome, or its object's record.
type outgoing struct {
	o      *settlement
	object bool
	msg    *nats.Msg
	expect uint64 // what stands on its subject
}

func (m *outgoing) stored(sequence uint64) {
	if m.object {
		m.o.object = nil
		return
	}
	m.o.sequence = sequence
}

// outgoing is what is not stored of a load.
func (s *settler) outgoing(o *settlement) (all []outgoing) {
	if o.ended {
		return nil
	}
	if o.object != nil {
		all = append(all, outgoing{o, true, &nats.Msg{Subject: o.objectSubject, Header: nats.Header{}, Data: o.objectBody}, o.objectExpect})
	}
	if o.sequence == 0 {
		header := nats.Header{messages.HeaderSettler: {s.writer(o.tally.worker)}, jetstream.MsgTTLHeader: {KeepEvents.String()}}
		if len(o.replaces) > 0 {
			header.Set(messages.HeaderReplaces, messages.EncodeCounts(o.replaces))
		}
		all = append(all, outgoing{o, false, &nats.Msg{Subject: o.subject, Header: header, Data: o.body}, o.expect})
	}
	return all
}

// publishBatch stores all messages or none, and gives the last one's sequence.
// It tries once.
func (q *Queue) publishBatch(ctx context.Context, batch []outgoing) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, q.cfg.RequestTimeout)
	defer cancel()
	// No answer but the last is waited for: a batch that the server could not
	// begin it cannot end.
	out, err := jetstreamext.NewBatchPublisher(q.js, jetstreamext.BatchFlowControl{})
	if err != nil {
		return 0, err
	}
	for i, m := range batch {
		guard := jetstreamext.WithBatchExpectLastSequencePerSubject(m.expect)
		// The publisher writes into what it is given.
		msg := &nats.Msg{Subject: m.msg.Subject, Header: maps.Clone(m.msg.Header), Data: m.msg.Data}
		if i == len(batch)-1 {
			ack, err := out.CommitMsg(ctx, msg, guard)
			if err != nil {
				return 0, err
			}
			return ack.Sequence, nil
		}
		if err := out.AddMsg(msg, guard); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// publishEach sends all before it waits for the first answer.
func (s *settler) publishEach(batch []outgoing) (last error) {
	futures := make([]jetstream.PubAckFuture, len(batch))
	for i, m := range batch {
		var err error
		if futures[i], err = s.q.js.PublishMsgAsync(m.msg, jetstream.WithExpectLastSequencePerSubject(m.expect), jetstream.WithRetryAttempts(0)); err != nil {
			last = err
		}
	}
	for i, future := range futures {
		if future == nil {
			continue
		}
		m, sequence := &batch[i], uint64(0)
		var err error
		select {
		case ack := <-future.Ok():
			sequence, err = ack.Sequence, s.q.at(stepStored)
		case err = <-future.Err():
		case <-s.q.life.Done():
			err = ErrClosed
		}
		switch {
		case err == nil:
			m.stored(sequence)
		case outrun(err), transient(err), s.q.life.Err() != nil:
			last = err
		case m.object:
			s.q.log.Warn("object cannot be recorded", zap.Error(err), zap.String("subject", m.msg.Subject))
			m.o.object = nil // a hint, not worth the load
		default:
			m.o.end(fmt.Errorf("store outcome: %w", err))
		}
	}
	return last
}
