package queue

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// reading says what to read from a stream, in order.
type reading struct {
	stream      string
	subjects    []string
	headersOnly bool
	live        bool      // follow what comes, until ctx ends
	after       uint64    // begin behind this sequence
	since       time.Time // or with what was stored since then; zero for all
}

// How much a reading keeps on its way to us.
const (
	readMessages = 256
	readBytes    = 16 << 20
)

// A reading that hears nothing for a while asks anew, with another consumer,
// whether there is anything left: messages may be purged under it. So too when
// nothing came at all, and sooner: in a cluster, a request to a consumer that was
// just made may reach a server that has not heard of it, and is lost.
const (
	firstStall = 500 * time.Millisecond
	stall      = 5 * time.Second
)

// read yields what stands on the subjects, in stream order, and ends when it
// has caught up with what was there; a live reading goes on. It outlives the
// server's absence. An error is the last thing it yields.
func (q *Queue) read(ctx context.Context, r reading) iter.Seq2[jetstream.Msg, error] {
	return func(yield func(jetstream.Msg, error) bool) {
		next, patience := r.after+1, firstStall
		for {
			over, err := q.readFrom(ctx, r, &next, &patience, yield)
			if over {
				return
			}
			if err == nil {
				err = q.pause(ctx, firstPause)
			} else if transient(err) || errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrConsumerDeleted) {
				err = q.pause(ctx, lastPause/8)
			}
			if err != nil {
				yield(nil, fmt.Errorf("read %s: %w", r.subjects[0], err))
				return
			}
		}
	}
}

// readFrom reads with one consumer, from *next on, until the reading is over
// or the consumer fails. It waits for its first message as long as its patience
// is, which then grows.
func (q *Queue) readFrom(ctx context.Context, r reading, next *uint64, patience *time.Duration, yield func(jetstream.Msg, error) bool) (over bool, err error) {
	var consumer jetstream.Consumer
	err = q.retry(ctx, "open reader", func(ctx context.Context) error {
		var err error
		cfg := jetstream.OrderedConsumerConfig{
			FilterSubjects: r.subjects,
			DeliverPolicy:  jetstream.DeliverByStartSequencePolicy,
			OptStartSeq:    *next,
			HeadersOnly:    r.headersOnly,
			// Its own repetitions would not end with ctx.
			MaxResetAttempts: 1,
		}
		if !r.since.IsZero() && *next == r.after+1 { // nothing was read yet
			cfg.DeliverPolicy, cfg.OptStartSeq, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, 0, &r.since
		}
		consumer, err = q.js.OrderedConsumer(ctx, r.stream, cfg)
		return err
	})
	if err != nil {
		return false, err
	}
	info := consumer.CachedInfo()
	defer func() { q.drop(r.stream, consumer.CachedInfo().Name) }()
	if info.NumPending == 0 && !r.live {
		return true, nil
	}
	iterator, err := consumer.Messages(jetstream.PullMaxMessagesWithBytesLimit(readMessages, readBytes))
	if err != nil {
		return false, err
	}
	defer iterator.Stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(q.life, func() { cancel(ErrClosed) })()
	for pending := info.NumPending; ; {
		step, release := ctx, context.CancelFunc(func() {})
		if pending > 0 {
			step, release = context.WithTimeout(ctx, *patience)
		}
		msg, err := iterator.Next(jetstream.NextContext(step))
		release()
		switch {
		case ctx.Err() != nil:
			return false, context.Cause(ctx)
		case errors.Is(err, context.DeadlineExceeded):
			// Purged under us? A new consumer knows.
			*patience = min(2**patience, stall)
			return false, nil
		case err != nil:
			return false, err
		}
		meta, err := msg.Metadata()
		if err != nil {
			return false, err
		}
		*next, *patience, pending = meta.Sequence.Stream+1, stall, meta.NumPending
		if !yield(msg, nil) || (pending == 0 && !r.live) {
			return true, nil
		}
	}
}

// drop removes a reader's consumer; the server does so itself after a while.
func (q *Queue) drop(stream, name string) {
	q.spawn(func() {
		ctx, cancel := context.WithTimeout(q.life, q.cfg.RequestTimeout)
		defer cancel()
		_ = q.js.DeleteConsumer(ctx, stream, name)
	})
}
