package queue

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"iter"
	"strconv"

	"github.com/nats-io/nats.go"

	"github.com/loadfleet/loadfleet/messages"
)

// SliceWriter stores rows too large for a load's own message as a run of
// messages on one subject. Its methods are for one goroutine.
type SliceWriter struct {
	q    *Queue
	ref  messages.SliceRef
	hash hash.Hash
}

// Slices starts a run of slices on the subject, which must be of this run
// alone (see [messages.SliceSubject]).
func (q *Queue) Slices(ctx context.Context, subject string) *SliceWriter {
	return &SliceWriter{q: q, ref: messages.SliceRef{Subject: subject}, hash: sha256.New()}
}

// Write stores one slice; it returns when the slice is acknowledged.
func (w *SliceWriter) Write(ctx context.Context, rows int64, payload []byte) error {
	ordinal := strconv.Itoa(w.ref.Count + 1)
	m := &nats.Msg{Subject: w.ref.Subject, Header: nats.Header{}, Data: payload}
	m.Header.Set(messages.HeaderMsgID, w.ref.Subject+"/"+ordinal)
	m.Header.Set(messages.HeaderBatch, ordinal)
	if _, err := w.q.publish(ctx, m); err != nil {
		return fmt.Errorf("write slice %s: %w", ordinal, err)
	}
	w.hash.Write(payload)
	w.ref.Count++
	w.ref.Rows += rows
	w.ref.Bytes += int64(len(payload))
	return nil
}

// Close is the reference to the run. Nothing is written after it.
func (w *SliceWriter) Close() messages.SliceRef {
	ref := w.ref
	ref.SHA256 = hex.EncodeToString(w.hash.Sum(nil))
	return ref
}

// Slice yields the payloads of a run, in order. Only when it ends without an
// error were they all there and unharmed; otherwise the last thing it yields
// is [ErrSliceDamaged] or what stopped the reading.
func (q *Queue) Slice(ctx context.Context, ref messages.SliceRef) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		sum, count := sha256.New(), 0
		for msg, err := range q.read(ctx, reading{stream: streamSlices, subjects: []string{ref.Subject}}) {
			if err != nil {
				yield(nil, err)
				return
			}
			ordinal, err := strconv.Atoi(msg.Headers().Get(messages.HeaderBatch))
			if err == nil && ordinal <= count {
				continue // stored twice, by a publish repeated late
			}
			if err != nil || ordinal != count+1 || count == ref.Count {
				yield(nil, fmt.Errorf("slice %d of %s: %w", count+1, ref.Subject, ErrSliceDamaged))
				return
			}
			count++
			sum.Write(msg.Data())
			if !yield(msg.Data(), nil) {
				return
			}
		}
		if got := hex.EncodeToString(sum.Sum(nil)); count != ref.Count || got != ref.SHA256 {
			yield(nil, fmt.Errorf("slices of %s: %d of %d, sha256 %s instead of %s: %w", ref.Subject, count, ref.Count, got, ref.SHA256, ErrSliceDamaged))
		}
	}
}

// PurgeSlices removes a run whose load has ended.
func (q *Queue) PurgeSlices(ctx context.Context, ref messages.SliceRef) error {
	return q.purge(ctx, streamSlices, ref.Subject)
}
