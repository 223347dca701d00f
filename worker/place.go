package worker

import (
	"context"
	"errors"
	"fmt"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/storage"
)

// lookFirst is the size from which it is cheaper to ask whether the key is
// taken than to send the file and be refused.
const lookFirst = 1 << 20

// looks is how often a decision is made anew because the object changed in
// between, before the load is left to a later try.
const looks = 5

// place puts the object where the load says unless the bucket holds something
// newer. Every write is conditional on what the decision was based on, so that
// of two workers at one key the newer generation stays (ARCHITECTURE.md, "The
// generation guard").
func place(ctx context.Context, store *storage.Store, bucket string, o storage.Object) (messages.Result, storage.Stored, error) {
	var there *storage.Stored // a small file is first put as if the key were free
	look := o.Size >= lookFirst
	var changed error
	for range looks {
		if look {
			found, err := store.Head(ctx, bucket, o.Key)
			switch {
			case err == nil:
				there = &found
			case errors.Is(err, storage.ErrNotFound):
				there = nil
			default:
				return "", storage.Stored{}, fmt.Errorf("look at the object: %w", err)
			}
		}
		result, stored, err := decide(ctx, store, bucket, o, there)
		if err == nil {
			return result, stored, nil
		}
		if !errors.Is(err, storage.ErrPrecondition) && !errors.Is(err, storage.ErrConflict) {
			return "", storage.Stored{}, err
		}
		look, changed = true, err
	}
	return "", storage.Stored{}, fmt.Errorf("the object changed under each of %d decisions: %w", looks, changed)
}

// decide makes the one decision that the object there asks for.
func decide(ctx context.Context, store *storage.Store, bucket string, o storage.Object, there *storage.Stored) (messages.Result, storage.Stored, error) {
	if there == nil {
		stored, err := store.Put(ctx, bucket, o, storage.IfAbsent())
		return messages.Loaded, stored, err
	}
	own := there.HasMeta && there.Meta.Load == o.Meta.Load
	equal := there.HasMeta && there.Meta.SHA256 == o.Meta.SHA256
	switch {
	case own && equal && store.Encrypted(*there):
		return messages.Loaded, *there, nil
	case there.HasMeta && newer(there.Meta, o.Meta):
		return messages.Superseded, *there, nil
	case equal && o.Size <= storage.MaxSinglePut: // beyond it nothing can be copied
		stored, err := store.Restamp(ctx, bucket, o.Key, *there, o.Meta)
		if errors.Is(err, storage.ErrDenied) {
			// A copy needs more rights than a put where somebody has tagged the
			// object: then the bytes are sent again.
			break
		}
		if own {
			return messages.Loaded, stored, err
		}
		return messages.Unchanged, stored, err
	}
	stored, err := store.Put(ctx, bucket, o, storage.IfMatch(there.ETag))
	return messages.Loaded, stored, err
}

// newer orders what two extractions of one table left at a key. Equal
// generations are ordered by extraction id: any order will do, as long as
// every worker takes the same one.
func newer(there, mine storage.Meta) bool {
	if there.Generation != mine.Generation {
		return there.Generation > mine.Generation
	}
	return there.Extraction > mine.Extraction
}
