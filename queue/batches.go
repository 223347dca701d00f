package queue

import (
	"context"
	"iter"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/loadfleet/loadfleet/messages"
)

// Batches yields the batches of an extraction that stand on the queue when it
// is called, in the order in which they stand: by ordinal, unless the
// extractor had to repeat one. A batch that was published twice comes twice.
//
// A batch that cannot be read is yielded with its error (a
// [*messages.BatchError]) and reading goes on; any other error is the last.
func (q *Queue) Batches(ctx context.Context, workspace, extraction string) iter.Seq2[messages.Batch, error] {
	return func(yield func(messages.Batch, error) bool) {
		subject := messages.RowsSubject(workspace, extraction)
		for msg, err := range q.read(ctx, reading{stream: streamRows, subjects: []string{subject}}) {
			if err != nil {
				yield(messages.Batch{}, err)
				return
			}
			batch, err := messages.ParseBatch(msg.Subject(), messages.Header(msg.Headers()), msg.Data())
			if !yield(batch, err) {
				return
			}
		}
	}
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
