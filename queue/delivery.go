package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/messages"
)

// delivery is a message in our hands: kept alive until it is settled, and
// settled once.
type delivery struct {
	// Subject is where the message stands, At when it was stored and Attempt
	// how often it was delivered, from 1: an upper bound of the real attempts,
	// because a delayed delivery counts too, and lazily kept by the server.
	// See Past for the real ones of a load.
	Subject string
	At      time.Time
	Attempt int

	q        *Queue
	sequence uint64 // in its stream
	msg      jetstream.Msg
	ctx      context.Context
	cancel   context.CancelCauseFunc
	settled  atomic.Bool
	lease    atomic.Pointer[time.Time] // its end, as last renewed
	stop     context.CancelFunc        // of the heartbeats
	stopped  chan struct{}             // closed when they have ended
}

// The answers to a delivery.
var (
	answerDone  = []byte("+ACK")
	answerAlive = []byte("+WPI")
)

func nak(delay time.Duration) []byte {
	if delay <= 0 {
		return []byte("-NAK")
	}
	return fmt.Appendf(nil, `-NAK {"delay": %d}`, delay.Nanoseconds())
}

// releaseDelay keeps a message that was given back from coming straight to
// the one that gave it.
const releaseDelay = 100 * time.Millisecond

// hold takes a pulled message into our hands. ctx lends its values only.
func (q *Queue) hold(ctx context.Context, p pulled) (*delivery, error) {
	meta, err := p.msg.Metadata()
	if err != nil {
		return nil, fmt.Errorf("metadata of %s: %w", p.msg.Subject(), err)
	}
	d := &delivery{
		Subject:  p.msg.Subject(),
		At:       meta.Timestamp.UTC(),
		Attempt:  int(meta.NumDelivered),
		q:        q,
		sequence: meta.Sequence.Stream,
		msg:      p.msg,
		stopped:  make(chan struct{}),
	}
	d.ctx, d.cancel = context.WithCancelCause(traced(context.WithoutCancel(ctx), messages.Header(p.msg.Headers())))
	var beats context.Context
	beats, d.stop = context.WithCancel(q.life)
	if !q.spawn(func() {
		defer close(d.stopped)
		d.keepAlive(beats, p.since.Add(q.cfg.AckWait))
	}) {
		d.stop()
		d.cancel(ErrClosed)
		return nil, ErrClosed
	}
	return d, nil
}

// Context is that of the work on this delivery, in the trace that the message
// belongs to. Its cause is [ErrLeaseLost]
// when the server was out of reach for longer than the lease, [ErrClosed] when
// the queue was closed, and [ErrSettled] after the delivery was settled.
func (d *delivery) Context() context.Context { return d.ctx }

// Held is nil while the message is ours: the work's context has not ended, and
// the lease has not by either clock, also when this process was stopped and
// nobody has noticed yet.
func (d *delivery) Held() error {
	if cause := context.Cause(d.ctx); cause != nil {
		return cause
	}
	if end, now := d.lease.Load(), time.Now(); end != nil && (now.After(*end) || now.Round(0).After(end.Round(0))) {
		return ErrLeaseLost
	}
	return nil
}

// keepAlive renews the lease until ctx ends. A heartbeat counts only when the
// server answered it, and from when it was sent.
func (d *delivery) keepAlive(ctx context.Context, lease time.Time) {
	wait := d.q.cfg.AckWait
	first := lease
	d.lease.Store(&first)
	next := time.NewTimer(wait / 3)
	defer next.Stop()
	for {
		d.q.mu.Lock()
		back := d.q.back
		d.q.mu.Unlock()
		select {
		case <-ctx.Done():
			if d.q.life.Err() != nil {
				d.cancel(ErrClosed)
			}
			return
		case <-next.C:
		case <-back:
		}
		sent := time.Now()
		err := d.beat(ctx, min(wait/3, time.Until(lease)))
		switch {
		case err == nil:
			lease = sent.Add(wait)
			renewed := lease
			d.lease.Store(&renewed)
			next.Reset(wait / 3)
			continue
		case ctx.Err() != nil:
			continue
		case !time.Now().Before(lease):
			d.q.log.Warn("lease lost", zap.String("subject", d.Subject), zap.Error(err))
			d.cancel(ErrLeaseLost)
			return
		}
		next.Reset(min(wait/12, time.Until(lease)))
	}
}

func (d *delivery) beat(ctx context.Context, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	_, err := d.q.nc.RequestWithContext(ctx, d.msg.Reply(), answerAlive)
	return err
}

// settle answers the server once and for all; before stores what must be
// stored first. When it fails, the message comes again after its lease; the
// delivery is settled all the same.
//
// After the lease is lost only what is done may still be said: any other
// answer would speak for the one who has the message now.
func (d *delivery) settle(ctx context.Context, verb string, answer []byte, before func(context.Context) error) error {
	if lost := d.lost(); lost != nil && !bytes.Equal(answer, answerDone) {
		return fmt.Errorf("%s %s: %w", verb, d.Subject, lost)
	}
	if !d.settled.CompareAndSwap(false, true) {
		return fmt.Errorf("%s %s: %w", verb, d.Subject, ErrSettled)
	}
	var err error
	if before != nil {
		err = before(ctx)
	}
	if errors.Is(err, ErrDeadLettersFull) {
		d.settled.Store(false) // it stays in our hands
		return fmt.Errorf("%s %s: %w", verb, d.Subject, err)
	}
	defer d.cancel(ErrSettled)
	// Heartbeats must have ended before the answer: one that came after a
	// delayed release would take the delay back.
	d.stop()
	<-d.stopped
	if err != nil {
		return fmt.Errorf("%s %s: %w", verb, d.Subject, err)
	}
	// A server that crashed may not know that it delivered this message, and
	// then answers only when it has delivered it again: to us, perhaps, if we
	// did not wait here. Without heartbeats the lease is over by then anyway.
	ctx, cancel := context.WithTimeoutCause(ctx, d.q.cfg.AckWait, ErrLeaseLost)
	defer cancel()
	return d.q.retry(ctx, verb+" "+d.Subject, func(ctx context.Context) error {
		_, err := d.q.nc.RequestWithContext(ctx, d.msg.Reply(), answer)
		return err
	})
}

// lost is why the delivery is no longer ours, nil while it is.
func (d *delivery) lost() error {
	if cause := context.Cause(d.ctx); errors.Is(cause, ErrLeaseLost) {
		return cause
	}
	return nil
}

// Retry gives the message back, to be delivered again after delay, to anyone.
func (d *delivery) Retry(ctx context.Context, delay time.Duration) error {
	return d.settle(ctx, "retry", nak(max(delay, releaseDelay)), nil)
}

// Release gives the message back for another to take at once: for our own
// stop, not for a failure.
func (d *delivery) Release(ctx context.Context) error {
	return d.settle(ctx, "release", nak(releaseDelay), nil)
}

// terminate ends the message after its dead letter is stored.
func (d *delivery) terminate(ctx context.Context, reason string, before func(context.Context) error) error {
	reason = strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, reason)
	return d.settle(ctx, "dead-letter", []byte("+TERM "+reason), before)
}
