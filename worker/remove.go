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
	record := o.Object
	there, err := store.Head(ctx, o.Bucket, o.Key)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		if err := asks(ctx, store, o); err != nil {
			return "", err
		}
		return WasGone, rewritten(q.Objects().Remove(ctx, &record, by, false))
	case err != nil:
		return "", fmt.Errorf("look at the orphan: %w", err)
	case !there.HasMeta:
		return NotOurs, nil
	case there.Meta.Load != o.Load:
		return Rewritten, nil
	}
	err = q.Objects().Remove(ctx, &record, by, true)
	if errors.Is(err, queue.ErrRevision) {
		return Rewritten, nil
	}
	if err != nil {
		return "", err
	}
	err = store.Delete(ctx, o.Bucket, o.Key, storage.IfMatch(there.ETag).Since(there.Looked))
	if errors.Is(err, storage.ErrPrecondition) || errors.Is(err, storage.ErrConflict) {
		return Rewritten, nil
	}
	if err != nil {
		return "", fmt.Errorf("remove the orphan: %w", err)
	}
	return Removed, rewritten(q.Objects().Remove(ctx, &record, by, false))
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
