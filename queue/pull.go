package queue

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

// puller takes messages from consumers in order of urgency, for any number of
// callers. Nothing is prefetched beyond what a caller has room for at once: a
// message that waits in a client ages as if it were worked on, and another worker
// could have had it.
//
// One caller at a time looks: it sweeps the lanes, most urgent first, and only
// when all are empty leaves a pull open on each ("watches" it). A watch outlives
// its caller; what it then brings goes straight back.
type puller struct {
	q      *Queue
	lanes  []jetstream.Consumer // most urgent first
	expiry time.Duration        // of a watch
	turn   chan struct{}        // held by the caller that looks

	life context.Context
	end  context.CancelCauseFunc

	mu      sync.Mutex
	watched []bool
	waiter  chan pulled // of the caller that waits for a watch
}

// pulled is what a watch ended with; msg is nil when it was nothing.
type pulled struct {
	msg   jetstream.Msg
	since time.Time // from when the lease counts
}

func (q *Queue) puller(ctx context.Context, stream string, consumers ...string) (*puller, error) {
	p := &puller{q: q, expiry: min(3*time.Second, q.cfg.AckWait/2), turn: make(chan struct{}, 1), watched: make([]bool, len(consumers))}
	for _, name := range consumers {
		if err := q.retry(ctx, fmt.Sprintf("consumer %s of %s", name, stream), func(ctx context.Context) error {
			c, err := q.js.Consumer(ctx, stream, name)
			if err == nil {
				p.lanes = append(p.lanes, c)
			}
			return err
		}); err != nil {
			return nil, err
		}
	}
	p.life, p.end = context.WithCancelCause(q.life)
	return p, nil
}

// close ends the waiting callers with ErrClosed.
func (p *puller) close() { p.end(ErrClosed) }

// next waits for the most urgent message there is.
func (p *puller) next(ctx context.Context) (pulled, error) {
	found, err := p.few(ctx, 1)
	if err != nil {
		return pulled{}, err
	}
	return found[0], nil
}

// few waits for messages of the most urgent lane that has any: at least one and
// at most as many as asked for.
func (p *puller) few(ctx context.Context, most int) ([]pulled, error) {
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-p.life.Done():
		return nil, ErrClosed
	}
	for {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if p.life.Err() != nil {
			return nil, ErrClosed
		}
		if found := p.sweep(most); len(found) > 0 {
			return found, nil
		}
		found, err := p.wait(ctx)
		if err != nil {
			return nil, err
		}
		if found.msg != nil {
			return []pulled{found}, nil
		}
	}
}

// sweep asks each lane for messages that are there now. A watched lane is
// empty, or its watch would have ended.
func (p *puller) sweep(most int) (found []pulled) {
	for i, lane := range p.lanes {
		p.mu.Lock()
		skip := p.watched[i]
		p.mu.Unlock()
		if skip {
			continue
		}
		since := time.Now()
		batch, err := lane.FetchNoWait(most)
		if err != nil {
			continue // the watch that follows says so, after a pause
		}
		if found = drained(batch, since); len(found) > 0 {
			return found
		}
	}
	return nil
}

// drained is what a pull brought. What has come is not held back for long by
// what a lost connection may have swallowed.
func drained(batch jetstream.MessageBatch, since time.Time) (found []pulled) {
	var limit <-chan time.Time
	for {
		select {
		case msg, ok := <-batch.Messages():
			if !ok {
				return found
			}
			found = append(found, pulled{msg: msg, since: since})
		case <-limit:
			return found
		}
		if limit == nil {
			limit = time.After(time.Second)
		}
	}
}

// wait watches every lane and returns when one watch ends.
func (p *puller) wait(ctx context.Context) (pulled, error) {
	arrival := make(chan pulled, 1)
	p.mu.Lock()
	p.waiter = arrival
	for i := range p.lanes {
		if !p.watched[i] {
			p.watched[i] = p.q.spawn(func() { p.watch(i) })
		}
	}
	p.mu.Unlock()
	select {
	case found := <-arrival:
		return found, nil
	case <-ctx.Done():
	case <-p.life.Done():
	}
	p.mu.Lock()
	p.waiter = nil
	p.mu.Unlock()
	select {
	case found := <-arrival: // it came at the last moment
		p.giveBack(found)
	default:
	}
	if p.life.Err() != nil {
		return pulled{}, ErrClosed
	}
	return pulled{}, context.Cause(ctx)
}

// watch leaves a pull open on one lane until it brings a message, expires or
// dies with the connection. It outlives the puller, too: the server has the pull
// until it expires, and what it sends must be given back, or would wait for the
// end of its lease.
func (p *puller) watch(i int) {
	p.q.mu.Lock()
	back := p.q.back
	p.q.mu.Unlock()
	ctx, cancel := context.WithTimeout(p.q.life, p.expiry)
	defer cancel()
	var found pulled
	batch, err := p.lanes[i].Fetch(1, jetstream.FetchContext(ctx))
	if err == nil {
		select {
		case msg, ok := <-batch.Messages():
			if ok {
				found = pulled{msg: msg, since: time.Now()}
			}
		case <-back: // the server we asked has forgotten
			cancel()
			if msg, ok := <-batch.Messages(); ok {
				found = pulled{msg: msg, since: time.Now()}
			}
		}
		err = batch.Error()
	}
	if found.msg == nil && err != nil && ctx.Err() == nil {
		if !transient(err) {
			p.q.log.Warn("pull fails", zap.Int("lane", i), zap.Error(err))
		}
		_ = p.q.pause(ctx, 200*time.Millisecond)
	}
	p.mu.Lock()
	p.watched[i] = false
	waiter := p.waiter
	p.waiter = nil
	p.mu.Unlock()
	if waiter != nil {
		waiter <- found
		return
	}
	p.giveBack(found)
}

// giveBack lets another worker have the message at once.
func (p *puller) giveBack(found pulled) {
	if found.msg == nil {
		return
	}
	// Unheard, the message comes again when its lease ends.
	_ = p.q.nc.Publish(found.msg.Reply(), nak(0))
}
