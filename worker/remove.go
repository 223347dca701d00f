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
	Rewritten Removal = "rewritten" // a newer load wrote it since it was found
)

// RemoveOrphan deletes what stands at an orphan's key, if loads of ours put it and
// none that is newer than the orphan: its metadata is asked first, and the deletion
// holds for the ETag that was seen only. The ledger says before the deletion that it
// is under way and by whom, so that no late load brings an older object back, and
// after it that it is done. Stopped in between, the orphan is found again and may be
// removed again. In stores that judge no conditions nobody is to load meanwhile.
func RemoveOrphan(ctx context.Context, q *queue.Queue, store *storage.Store, o *Orphan, by string) (Removal, error) {
	record, removal := o.Object, WasGone
	// A late load may put an older object between a look that finds nothing and the
	// record of the removal: who finds nothing looks again behind the record.
	for recorded := false; ; recorded = true {
		there, err := lookAtOrphan(ctx, store, o)
		switch {
		case err != nil:
			return "", err
		case there == nil:
		case !there.HasMeta && recorded:
			return NotOurs, rewritten(q.Objects().Remove(ctx, &record, by, false))
		case !there.HasMeta:
			return NotOurs, nil
		case newer(there.Meta, storage.Meta{Extraction: o.Extraction, Generation: o.Generation}):
			return Rewritten, nil
		default:
			removal = Removed
			record.SHA256, record.ETag, record.History = there.Meta.SHA256, there.ETag, there.History
		}
		if there == nil && recorded {
			break
		}
		err = q.Objects().Remove(ctx, &record, by, true)
		switch {
		case errors.Is(err, queue.ErrRevision) && there == nil:
			return WasGone, nil
		case errors.Is(err, queue.ErrRevision):
			return Rewritten, nil
		case err != nil:
			return "", err
		case there == nil:
			continue
		}
		err = store.Delete(ctx, o.Bucket, o.Key, storage.IfMatch(there.ETag).Since(there.Looked))
		if errors.Is(err, storage.ErrPrecondition) || errors.Is(err, storage.ErrConflict) {
			return Rewritten, nil
		}
		if err != nil {
			return "", fmt.Errorf("remove the orphan: %w", err)
		}
		break
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
