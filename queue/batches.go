package queue

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/loadfleet/loadfleet/messages"
)

// Batches yields the batches of an extraction that stand on the queue when it
// is called, by ordinal and each ordinal once, whatever order they were stored
// in. wanted chooses: what it refuses is passed over, and another batch of the
// same ordinal may take its place. nil takes the first of each ordinal.
//
// A batch that cannot be read is yielded with its error (a
// [*messages.BatchError]) when it is met, and reading goes on; any other error
// is the last. Memory holds the batches on their way (16 MB), not the extraction.
func (q *Queue) Batches(ctx context.Context, workspace, extraction string, wanted func(messages.Batch) bool) iter.Seq2[messages.Batch, error] {
	if wanted == nil {
		wanted = func(messages.Batch) bool { return true }
	}
	return func(yield func(messages.Batch, error) bool) {
		subject := messages.RowsSubject(workspace, extraction)
		expected := 1
		early := map[int]uint64{} // sequences of batches met before their turn
		for msg, err := range q.read(ctx, reading{stream: streamRows, subjects: []string{subject}}) {
			if err != nil {
				yield(messages.Batch{}, err)
				return
			}
			batch, err := messages.ParseBatch(msg.Subject(), messages.Header(msg.Headers()), msg.Data())
			if err != nil {
				if !yield(batch, err) {
					return
				}
				continue
			}
			if _, twice := early[batch.Ordinal]; twice || batch.Ordinal < expected || !wanted(batch) {
				continue
			}
			if batch.Ordinal > expected {
				meta, err := msg.Metadata()
				if err != nil {
					yield(messages.Batch{}, fmt.Errorf("read %s: %w", subject, err))
					return
				}
				early[batch.Ordinal] = meta.Sequence.Stream
				continue
			}
			if !yield(batch, nil) {
				return
			}
			for expected++; early[expected] != 0; expected++ {
				if !q.earlyBatch(ctx, early[expected], yield) {
					return
				}
				delete(early, expected)
			}
		}
		for _, ordinal := range slices.Sorted(maps.Keys(early)) { // after a gap
			if !q.earlyBatch(ctx, early[ordinal], yield) {
				return
			}
		}
	}
}

// earlyBatch fetches a batch that was passed over, by sequence.
func (q *Queue) earlyBatch(ctx context.Context, sequence uint64, yield func(messages.Batch, error) bool) bool {
	m, err := q.message(ctx, streamRows, sequence)
	if errors.Is(err, ErrNotFound) {
		return true // purged since: it is missing, and its reader will say so
	}
	if err != nil {
		yield(messages.Batch{}, err)
		return false
	}
	return yield(messages.ParseBatch(m.Subject, messages.Header(m.Header), m.Data))
}

// PurgeRows removes the batches of an extraction that is dispatched.
func (q *Queue) PurgeRows(ctx context.Context, workspace, extraction string) error {
	return q.purge(ctx, streamRows, messages.RowsSubject(workspace, extraction))
}

func (q *Queue) purge(ctx context.Context, stream, subject string) error {
	return q.retry(ctx, "purge "+subject, func(ctx context.Context) error {
		s, err := q.stream(ctx, stream)
		if err != nil {
			return err
		}
		return s.Purge(ctx, jetstream.WithPurgeSubject(subject))
	})
}
