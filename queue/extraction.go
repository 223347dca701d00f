package queue

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/semaphore"

	"github.com/loadfleet/loadfleet/messages"
)

// inFlight bounds the bytes that an extraction has published and the server
// has not acknowledged. More is slower, and 128 MB makes the server refuse.
const inFlight = 16 << 20

// Extraction publishes the batches of one extraction and then its commit. Its
// methods are for one goroutine.
//
// Every publish is repeated until it is acknowledged or its context ends, also
// when the streams are full. An extraction may be published again from the
// start, by the same or another process: what stands already is not stored
// twice.
type Extraction struct {
	q      *Queue
	commit messages.Commit
	window *semaphore.Weighted
	flying sync.WaitGroup

	mu        sync.Mutex
	err       error // the first batch that could not be published
	stood     int   // batches that stood there before
	committed bool  // the commit stood there before
}

// Extract starts an extraction. Of the commit, Rows and Batches are filled in
// as batches are appended; the rest must be there.
func (q *Queue) Extract(ctx context.Context, commit messages.Commit) (*Extraction, error) {
	if !messages.ValidID(commit.WorkspaceID) || !messages.ValidID(commit.Extraction) {
		return nil, fmt.Errorf("extract: workspace %q and extraction %q must be 1 to %d letters, digits, dashes or underscores",
			commit.WorkspaceID, commit.Extraction, messages.MaxID)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("extract: %w", context.Cause(ctx))
	}
	commit.Rows, commit.Batches = 0, []messages.BatchManifest{}
	return &Extraction{q: q, commit: commit, window: semaphore.NewWeighted(inFlight)}, nil
}

// Append publishes the next batch; of b, Rows, Format, Compression and Body
// count. It returns when the batch is on its way, after waiting for room in the
// window; an earlier batch's failure is returned by the next call. The body
// belongs to the extraction until Commit returns.
func (e *Extraction) Append(ctx context.Context, b messages.Batch) error {
	body := b.Body
	ordinal := len(e.commit.Batches) + 1
	if limit := e.q.nc.MaxPayload(); limit > 0 && int64(len(body)) > limit-maxHeader {
		return fmt.Errorf("append batch %d: %d bytes are more than a message takes (%d)", ordinal, len(body), limit-maxHeader)
	}
	weight := min(int64(len(body))+1, inFlight)
	if err := e.window.Acquire(ctx, weight); err != nil {
		return fmt.Errorf("append batch %d: %w", ordinal, context.Cause(ctx))
	}
	if err := e.failure(); err != nil {
		e.window.Release(weight)
		return err
	}
	sum := sha256.Sum256(body)
	b.Workspace, b.Extraction, b.Ordinal = e.commit.WorkspaceID, e.commit.Extraction, ordinal
	m := &nats.Msg{Subject: messages.RowsSubject(b.Workspace, b.Extraction), Header: nats.Header(b.Header()), Data: body}
	// The first try is made here, so that batches stand in order unless one
	// must be repeated.
	future, err := e.q.js.PublishMsgAsync(m, jetstream.WithRetryAttempts(0))
	e.commit.Batches = append(e.commit.Batches, messages.BatchManifest{Rows: b.Rows, SHA256: hex.EncodeToString(sum[:])})
	e.commit.Rows += b.Rows
	e.flying.Go(func() {
		defer e.window.Release(weight)
		if err == nil {
			select {
			case ack := <-future.Ok():
				e.count(ack)
				return
			case err = <-future.Err():
			}
		}
		if transient(err) {
			var ack *jetstream.PubAck
			ack, err = e.q.publish(ctx, m)
			e.count(ack)
		}
		if err != nil {
			e.mu.Lock()
			e.err = errors.Join(e.err, fmt.Errorf("batch %d: %w", ordinal, err))
			e.mu.Unlock()
		}
	})
	return nil
}

// maxHeader is the room kept for a message's headers; the server takes 64 KB.
const maxHeader = 64 << 10

// count notes an acknowledgement that says that the batch stood there.
func (e *Extraction) count(ack *jetstream.PubAck) {
	if ack != nil && ack.Duplicate {
		e.mu.Lock()
		e.stood++
		e.mu.Unlock()
	}
}

// Stood is how many batches stood on the queue before, from an earlier try. One
// whose acknowledgement was lost and was repeated counts too.
func (e *Extraction) Stood() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.stood
}

func (e *Extraction) failure() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil {
		return fmt.Errorf("publish extraction %s: %w", e.commit.Extraction, e.err)
	}
	return nil
}

// Commit waits until every batch is acknowledged, then publishes the commit.
// It succeeds when the extraction was committed before; see Committed.
func (e *Extraction) Commit(ctx context.Context) error {
	e.flying.Wait() // each ends with its own context
	if err := e.failure(); err != nil {
		return err
	}
	body, err := e.commit.Encode()
	if err != nil {
		return fmt.Errorf("commit extraction %s: %w", e.commit.Extraction, err)
	}
	e.committed, err = e.q.publishCommit(ctx, e.commit, body)
	return err
}

// PublishCommit commits an extraction whose files are staged, or whose batches
// were published otherwise. It reports whether a commit stood there before: then
// that one counts.
func (q *Queue) PublishCommit(ctx context.Context, commit messages.Commit) (before bool, err error) {
	body, err := commit.Encode()
	if err != nil {
		return false, fmt.Errorf("commit extraction %s: %w", commit.Extraction, err)
	}
	return q.publishCommit(ctx, commit, body)
}

func (q *Queue) publishCommit(ctx context.Context, commit messages.Commit, body []byte) (before bool, err error) {
	m := &nats.Msg{Subject: messages.CommitSubject(commit.WorkspaceID, commit.Extraction), Header: nats.Header{}, Data: body}
	m.Header.Set(messages.HeaderMsgID, messages.CommitMsgID(commit.WorkspaceID, commit.Extraction, body))
	mark(ctx, messages.Header(m.Header))
	ack, err := q.publish(ctx, m)
	switch {
	case taken(err):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("commit extraction %s: %w", commit.Extraction, err)
	}
	return ack.Duplicate, nil
}

// Committed reports, after Commit, whether a commit of this extraction stood
// there before (possibly our own, when its acknowledgement was lost): that one
// counts, this one was dropped.
func (e *Extraction) Committed() bool { return e.committed }

// Manifest is the commit as it is, or will be, published.
func (e *Extraction) Manifest() messages.Commit { return e.commit }
