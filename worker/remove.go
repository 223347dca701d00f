package worker

import (
	"context"
	"errors"
	"fmt"

	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/storage"
)

// Removal is what became of an orphan that was to be removed.
type Removal string

// The removals. Of these only the first two leave nothing at the key.
const (
	Removed   Removal = "removed"
	WasGone   Removal = "gone"      // somebody else had removed it
	NotOurs   Removal = "foreign"   // what is there was not made by loadfleet
	Rewritten Removal = "rewritten" // another load wrote it since it was found
)

// RemoveOrphan deletes an orphan's object if it is still the one that
// loadfleet's load left there: its metadata is asked first, and the deletion
// holds for the ETag that was seen only. The ledger says before the deletion
// that it is under way and by whom, so that no late load brings an older object
// back, and after it that it is done. Stopped in between, the orphan is found
// again and may be removed again.
func RemoveOrphan(ctx context.Context, q *queue.Queue, store *storage.Store, o *Orphan, by string) (Removal, error) {
	record, removal := o.Object, Removed
	there, err := lookAtOrphan(ctx, store, o)
	switch {
	case err != nil:
		return "", err
	case there == nil:
		removal = WasGone
	case !there.HasMeta:
		return NotOurs, nil
	case there.Meta.Load != o.Load:
		return Rewritten, nil
	}
	if there != nil {
		record.History = there.History
	}
	err = q.Objects().Remove(ctx, &record, by, true)
	if errors.Is(err, queue.ErrRevision) {
		if removal == WasGone {
			return WasGone, nil
		}
		return Rewritten, nil
	}
	if err != nil {
		return "", err
	}
	if there == nil {
		// A late load may have put an older one since our look, before it could
		// know that this was recorded.
		if there, err = lookAtOrphan(ctx, store, o); err != nil {
			return "", err
		}
		if there != nil && (!there.HasMeta || newer(there.Meta, storage.Meta{Extraction: o.Extraction, Generation: o.Generation})) {
			return Rewritten, nil
		}
	}
	if there != nil {
		err = store.Delete(ctx, o.Bucket, o.Key, storage.IfMatch(there.ETag).Since(there.Looked))
		if errors.Is(err, storage.ErrPrecondition) || errors.Is(err, storage.ErrConflict) {
			return Rewritten, nil
		}
		if err != nil {
			return "", fmt.Errorf("remove the orphan: %w", err)
		}
	}
	return removal, rewritten(q.Objects().Remove(ctx, &record, by, false))
}

// lookAtOrphan is what stands at the orphan's key; nil when its bucket has nothing
// there.
func lookAtOrphan(ctx context.Context, store *storage.Store, o *Orphan) (*storage.Stored, error) {
	there, err := store.Head(ctx, o.Bucket, o.Key)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, asks(ctx, store, o)
	}
	if err != nil {
		return nil, fmt.Errorf("look at the orphan: %w", err)
	}
	return &there, nil
}

// asks makes sure that it is the orphan's bucket which lacks the object: a HEAD
// does not say whether there is such a bucket, and the destination may have
// moved to another store.
func asks(ctx context.Context, store *storage.Store, o *Orphan) error {
	for _, err := range store.List(ctx, o.Bucket, o.Key) {
		if err != nil {
			return fmt.Errorf("look for the orphan's bucket: %w", err)
		}
		break
	}
	return nil
}

// rewritten passes over a record that a load wrote meanwhile: its own counts.
func rewritten(err error) error {
	if errors.Is(err, queue.ErrRevision) {
		return nil
	}
	return err
}
