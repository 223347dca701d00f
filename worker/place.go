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
func place(ctx context.Context, store *storage.Store, l *messages.Load, o storage.Object) (messages.Result, storage.Stored, error) {
	known := o.Size < lookFirst // whether to assume that the key is free
	var there *storage.Stored
	for range looks {
		if !known {
			found, err := store.Head(ctx, l.Bucket, l.Key)
			switch {
			case errors.Is(err, storage.ErrNotFound):
				there = nil
			case err != nil:
				return "", storage.Stored{}, fmt.Errorf("look at %s: %w", l.Key, err)
			default:
				there = &found
			}
		}
		result, stored, err := settle(ctx, store, l, o, there)
		if errors.Is(err, storage.ErrPrecondition) || errors.Is(err, storage.ErrConflict) ||
			there != nil && errors.Is(err, storage.ErrNotFound) {
			known = false
			continue
		}
		if err != nil {
			return "", storage.Stored{}, fmt.Errorf("put %s: %w", l.Key, err)
		}
		return result, stored, nil
	}
	return "", storage.Stored{}, fmt.Errorf("put %s: %w", l.Key, errRestless)
}

// errRestless says that the object changed at every look.
var errRestless = errors.New("the object kept changing under the decision")

// settle makes the one decision that the object there asks for.
func settle(ctx context.Context, store *storage.Store, l *messages.Load, o storage.Object, there *storage.Stored) (messages.Result, storage.Stored, error) {
	if there == nil {
		stored, err := store.Put(ctx, l.Bucket, o, storage.IfAbsent())
		return messages.Loaded, stored, err
	}
	m := there.Meta
	switch {
	case there.HasMeta && m.Load == l.ID && m.SHA256 == o.Meta.SHA256:
		return messages.Loaded, *there, nil
	case there.HasMeta && newer(m, o.Meta):
		return messages.Superseded, *there, nil
	case there.HasMeta && m.SHA256 == o.Meta.SHA256:
		stored, err := store.Restamp(ctx, l.Bucket, l.Key, *there, o.Meta)
		return messages.Unchanged, stored, err
	}
	stored, err := store.Put(ctx, l.Bucket, o, storage.IfMatch(there.ETag))
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
