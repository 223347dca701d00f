package queue

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/messages"
)

// Control is what operators want of the processes of a name; nil when they have
// said nothing.
func (q *Queue) Control(ctx context.Context, role messages.Role, name string) (*messages.Control, error) {
	c, _, err := q.control(ctx, role, name)
	return c, err
}

// control is Control with the sequence of its message.
func (q *Queue) control(ctx context.Context, role messages.Role, name string) (*messages.Control, uint64, error) {
	m, err := q.lastOn(ctx, streamEvents, messages.ControlSubject(role, name))
	if errors.Is(err, ErrNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	c, err := messages.ParseControl(m.Data)
	return c, m.Sequence, err
}

// Controls yields what operators want, as of last, of every process that they
// ever said something of in the last 400 days. An error is the last thing it yields.
func (q *Queue) Controls(ctx context.Context) iter.Seq2[messages.Control, error] {
	return q.readControls(ctx, messages.ControlSubjects())
}

// ControlAudit yields the instructions about the processes of a name in the last
// 400 days, the oldest first; the empty name stands for all. An error is the last
// thing it yields.
func (q *Queue) ControlAudit(ctx context.Context, name string) iter.Seq2[messages.Control, error] {
	return q.readControls(ctx, messages.ControlAuditSubjects(name))
}

func (q *Queue) readControls(ctx context.Context, subjects string) iter.Seq2[messages.Control, error] {
	return func(yield func(messages.Control, error) bool) {
		for msg, err := range q.read(ctx, reading{stream: streamEvents, subjects: []string{subjects}}) {
			if err != nil {
				yield(messages.Control{}, err)
				return
			}
			c, err := messages.ParseControl(msg.Data())
			if err != nil {
				q.log.Warn("instruction cannot be read", zap.String("subject", msg.Subject()), zap.Error(err))
				continue
			}
			if !yield(*c, nil) {
				return
			}
		}
	}
}

// Instruct stores what an operator wants of the processes of a name; drain is
// the instances that shall end. The record of it is stored first: somebody killed
// in between leaves a record of something that was not done, never the reverse.
// What is stored is not obeyed yet: see [Presences].
func (q *Queue) Instruct(ctx context.Context, role messages.Role, name string, what messages.Instruction, drain []string, by string) (*messages.Control, error) {
	c := &messages.Control{
		Version: messages.Version, Operation: rand.Text(), Instruction: what, Role: role, Name: name, Drain: drain,
		By: cmp.Or(by, "unknown"), NATSUser: cmp.Or(q.nc.Opts.Nkey, q.nc.Opts.User), Time: time.Now().UTC(),
	}
	body, err := messages.EncodeControl(c)
	if err != nil {
		return nil, err
	}
	if _, err := q.publish(ctx, &nats.Msg{Subject: messages.ControlAuditSubject(c), Data: body}); err != nil {
		return nil, err
	}
	for {
		stands, sequence, err := q.control(ctx, role, name)
		if _, unreadable := errors.AsType[*messages.DecodeError](err); err != nil && !unreadable {
			return nil, err
		}
		if stands != nil && stands.Operation == c.Operation { // the answer to our own write was lost
			return c, nil
		}
		c.After, c.Paused = sequence, what == messages.InstructPause
		if what == messages.InstructDrain {
			c.Paused = stands != nil && stands.Paused
		}
		if body, err = messages.EncodeControl(c); err != nil {
			return nil, err
		}
		_, err = q.publish(ctx, &nats.Msg{Subject: messages.ControlSubject(role, name), Data: body}, jetstream.WithExpectLastSequencePerSubject(sequence))
		if err == nil {
			return c, nil
		}
		if !outrun(err) {
			return nil, err
		}
		// By somebody else, or a server that has not heard of the last one.
		if err := q.pause(ctx, firstPause); err != nil {
			return nil, fmt.Errorf("%s %s: %w", what, name, err)
		}
	}
}

// How often what operators want is looked at though nobody said that it changed,
// and how long after somebody said so a server may take to show it.
const (
	controlLook = 30 * time.Second
	controlSeen = 5 * time.Second
)

// Obey tells a process of a name what operators want of it: what stands, and
// every change, within moments, until ctx ends. It outlives the server's absence.
func (q *Queue) Obey(ctx context.Context, role messages.Role, name string, changed func(*messages.Control)) {
	// What is heard is a hint: the server passes on also what it then refuses to
	// store. What stands counts.
	hints := make(chan *nats.Msg, 16)
	sub, err := q.nc.ChanSubscribe(messages.ControlSubject(role, name), hints)
	if err != nil {
		q.log.Warn("cannot listen for instructions: they are looked for from time to time", zap.Error(err))
	} else {
		defer func() { _ = sub.Unsubscribe() }()
	}
	look := time.NewTicker(controlLook)
	defer look.Stop()
	var seen, wanted uint64 // the last instruction's After, plus one
	var until time.Time
	for {
		q.mu.Lock()
		back := q.back
		q.mu.Unlock()
		c, err := q.Control(ctx, role, name)
		switch {
		case ctx.Err() != nil || errors.Is(err, ErrClosed):
			return
		case err != nil:
			q.log.Warn("instruction cannot be read", zap.Error(err))
		case c != nil && c.After+1 > seen:
			seen = c.After + 1
			changed(c)
		}
		var soon <-chan time.Time
		if seen < wanted && time.Now().Before(until) {
			soon = time.After(5 * firstPause)
		}
		select {
		case m := <-hints:
			if hint, err := messages.ParseControl(m.Data); err == nil {
				wanted, until = hint.After+1, time.Now().Add(controlSeen)
			}
		case <-soon:
		case <-look.C:
		case <-back:
		case <-ctx.Done():
			return
		}
	}
}
