package dispatcher

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
)

// extraction is a committed extraction in work.
type extraction struct {
	Workspace, Extraction string
	commit                *messages.Commit
	at                    time.Time // when JetStream stored the commit
	notes                 []string  // for the event dispatched
}

// maxRowBytes bounds one row, so that a slice of one row fits a message.
const maxRowBytes = 4 << 20

// batches walks the batches that the commit names, in order and each once, and
// checks each body against the manifest. What the commit does not name is
// passed over, and so is a batch whose body is another than the manifest's: an
// extractor that was restarted may have published both. It fails with a
// *ManifestError when one is not there.
func (d *Dispatcher) batches(ctx context.Context, e *extraction, each func(messages.Batch) error) error {
	var (
		others = map[int]string{} // ordinal to the hash of a body that is not the committed one
		broken = map[int]error{}  // ordinal (0: unknown) to why a message is no batch
		next   = 1
	)
	committed := func(b messages.Batch) bool {
		if b.Ordinal > len(e.commit.Batches) {
			return false
		}
		sum := sha256.Sum256(b.Body)
		got := hex.EncodeToString(sum[:])
		if got != e.commit.Batches[b.Ordinal-1].SHA256 {
			others[b.Ordinal] = got
			return false
		}
		return true
	}
	for b, err := range d.queue.Batches(ctx, e.Workspace, e.Extraction, committed) {
		var wire *messages.BatchError
		if errors.As(err, &wire) {
			broken[wire.Ordinal] = err
			continue
		}
		if err != nil {
			return fmt.Errorf("read batches: %w", err)
		}
		if b.Ordinal != next {
			break // a gap, and all others have been seen
		}
		if err := each(b); err != nil {
			return err
		}
		next++
	}
	if next > len(e.commit.Batches) {
		return nil
	}
	subject := messages.RowsSubject(e.Workspace, e.Extraction)
	if got, differs := others[next]; differs {
		return &ManifestError{Batch: next, Message: fmt.Sprintf(
			"batch %d on %s has the SHA-256 %s, and the commit says %s: it is not the batch that was committed",
			next, subject, got, e.commit.Batches[next-1].SHA256)}
	}
	if err := cmp.Or(broken[next], broken[0]); err != nil {
		return err
	}
	return &ManifestError{Batch: next, Missing: true, Message: fmt.Sprintf(
		"batch %d of %d is not on %s: publish every batch there, and wait for its acknowledgement, before the commit",
		next, len(e.commit.Batches), subject)}
}

// infer reads the whole extraction once for its schema: nil when it has no rows
// to infer one from.
func (d *Dispatcher) infer(ctx context.Context, e *extraction) (*encoding.Schema, error) {
	in := encoding.NewInferrer()
	in.Dates(e.commit.DateColumn)
	if len(e.commit.Files) > 0 {
		in.Limit(maxStagedBytes)
	}
	err := d.bodies(ctx, e, func(b messages.Batch, body io.Reader) error {
		return in.Observe(b.Ordinal, b.Format, b.Compression, body)
	})
	if err != nil {
		return nil, err
	}
	s, err := in.Schema()
	if err != nil && e.commit.Rows == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, &rejection{messages.Failure{
			Reason:  messages.ReasonInvalidCommit,
			Message: "no schema in the commit, and none can be inferred: " + err.Error(),
			Remedy:  "declare the schema in the commit",
		}}
	}
	return s, nil
}
