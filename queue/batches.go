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
// is called, by ordinal, whatever order they were stored in. A batch that was
// published twice comes twice: at its place, or when it is met if that is later.
//
// A batch that cannot be read is yielded with its error (a
// [*messages.BatchError]) and reading goes on; any other error is the last.
// Memory holds the batches on their way (16 MB), not the extraction.
func (q *Queue) Batches(ctx context.Context, workspace, extraction string) iter.Seq2[messages.Batch, error] {
	return func(yield func(messages.Batch, error) bool) {
		subject := messages.RowsSubject(workspace, extraction)
		expected := 1
		early := map[int][]uint64{} // sequences of batches met before their turn
		for msg, err := range q.read(ctx, reading{stream: streamRows, subjects: []string{subject}}) {
			if err != nil {
				yield(messages.Batch{}, err)
				return
			}
			batch, err := messages.ParseBatch(msg.Subject(), messages.Header(msg.Headers()), msg.Data())
			if err == nil && batch.Ordinal > expected {
				meta, err := msg.Metadata()
				if err != nil {
					yield(messages.Batch{}, fmt.Errorf("read %s: %w", subject, err))
					return
				}
				early[batch.Ordinal] = append(early[batch.Ordinal], meta.Sequence.Stream)
				continue
			}
			if !yield(batch, err) {
				return
			}
			if err != nil || batch.Ordinal < expected {
				continue
			}
			for expected++; early[expected] != nil; expected++ {
				if !q.earlyBatches(ctx, early[expected], yield) {
					return
				}
				delete(early, expected)
			}
		}
		for _, ordinal := range slices.Sorted(maps.Keys(early)) { // after a gap
			if !q.earlyBatches(ctx, early[ordinal], yield) {
				return
			}
		}
	}
}

// earlyBatches fetches batches that were passed over, by sequence.
func (q *Queue) earlyBatches(ctx context.Context, sequences []uint64, yield func(messages.Batch, error) bool) bool {
	for _, sequence := range sequences {
		m, err := q.message(ctx, streamRows, sequence)
		if errors.Is(err, ErrNotFound) {
			continue // purged since: it is missing, and its reader will say so
		}
		if err != nil {
			yield(messages.Batch{}, err)
			return false
		}
		if !yield(messages.ParseBatch(m.Subject, messages.Header(m.Header), m.Data)) {
			return false
		}
	}
	return true
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
