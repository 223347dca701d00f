package queue

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// reading says what to read from a stream, in order.
type reading struct {
	stream      string
	subjects    []string
	headersOnly bool
	live        bool // follow what comes, until ctx ends
}

// How much a reading keeps on its way to us.
const (
	readMessages = 256
	readBytes    = 16 << 20
)

// stall is how long a reading hears nothing before it asks whether there is
// anything left: messages may be purged under it.
const stall = 5 * time.Second

// read yields what stands on the subjects, in stream order, and ends when it
// has caught up with what was there; a live reading goes on. An error is the
// last thing it yields.
func (q *Queue) read(ctx context.Context, r reading) iter.Seq2[jetstream.Msg, error] {
	return func(yield func(jetstream.Msg, error) bool) {
		fail := func(err error) { yield(nil, fmt.Errorf("read %s: %w", r.subjects[0], err)) }
		var consumer jetstream.Consumer
		err := q.retry(ctx, "open reader", func(ctx context.Context) (err error) {
			consumer, err = q.js.OrderedConsumer(ctx, r.stream, jetstream.OrderedConsumerConfig{
				FilterSubjects: r.subjects,
				DeliverPolicy:  jetstream.DeliverAllPolicy,
				HeadersOnly:    r.headersOnly,
			})
			return err
		})
		if err != nil {
			fail(err)
			return
		}
		info := consumer.CachedInfo()
		if info.NumPending == 0 && !r.live {
			q.drop(r.stream, info.Name)
			return
		}
		iterator, err := consumer.Messages(jetstream.PullMaxMessagesWithBytesLimit(readMessages, readBytes))
		if err != nil {
			fail(err)
			return
		}
		defer func() {
			iterator.Stop()
			q.drop(r.stream, consumer.CachedInfo().Name)
		}()
		stop := context.AfterFunc(q.life, iterator.Stop)
		defer stop()
		for {
			step, cancel := ctx, context.CancelFunc(func() {})
			if !r.live {
				step, cancel = context.WithTimeout(ctx, stall)
			}
			msg, err := iterator.Next(jetstream.NextContext(step))
			cancel()
			switch {
			case ctx.Err() != nil:
				fail(context.Cause(ctx))
				return
			case q.life.Err() != nil:
				fail(ErrClosed)
				return
			case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout):
				if empty, err := q.readOut(ctx, consumer); err != nil {
					fail(err)
					return
				} else if empty {
					return
				}
				continue
			case err != nil:
				fail(err)
				return
			}
			meta, err := msg.Metadata()
			if err != nil {
				fail(err)
				return
			}
			if !yield(msg, nil) || (meta.NumPending == 0 && !r.live) {
				return
			}
		}
	}
}

// readOut asks whether nothing is left for a reader that hears nothing.
func (q *Queue) readOut(ctx context.Context, consumer jetstream.Consumer) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, q.cfg.RequestTimeout)
	defer cancel()
	info, err := consumer.Info(ctx)
	switch {
	case err == nil:
		return info.NumPending == 0 && info.Delivered.Stream == 0, nil
	case transient(err) || errors.Is(err, jetstream.ErrConsumerNotFound):
		return false, nil // the reader makes a new one by itself
	}
	return false, err
}

// drop removes a reader's consumer; the server does so itself after a while.
func (q *Queue) drop(stream, name string) {
	q.spawn(func() {
		ctx, cancel := context.WithTimeout(q.life, q.cfg.RequestTimeout)
		defer cancel()
		_ = q.js.DeleteConsumer(ctx, stream, name)
	})
}
