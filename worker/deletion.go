package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/storage"
)

// A deletion leaves nothing in the bucket that an older load could be compared
// with. So where objects may be deleted, the ledger is a part of the generation
// guard: ARCHITECTURE.md, "The generation guard".

// ledger is the ledger of objects, for one load.
type ledger interface {
	// Grave reads the record of the load's object anew: a hint.
	Grave(ctx context.Context) (*queue.Object, error)
	Bury(ctx context.Context, gone func(stood *queue.Object) queue.Gone) (superseded bool, err error)
	Claim(ctx context.Context, result messages.Result, bytes int64, put queue.Gone) (stood *queue.Object, err error)
	TakeBack(ctx context.Context, gone func(stood *queue.Object) queue.Gone) error
}

// deliveryLedger is the queue's ledger.
type deliveryLedger struct {
	*queue.LoadDelivery
	objects *queue.Objects
}

func (l deliveryLedger) Grave(ctx context.Context) (*queue.Object, error) {
	return l.objects.Get(ctx, l.Load.Destination, l.Load.Bucket, l.Load.Key)
}

// errLookFirst stands for a decision that was made without a look and needs one.
var errLookFirst = fmt.Errorf("%w: a deletion is on record, and the bucket was not asked yet", storage.ErrPrecondition)

// putFirst puts the object at a key that is free: unless a newer generation
// deleted what was there.
func (p *place) putFirst(ctx context.Context) (messages.Result, storage.Stored, error) {
	decided, o := time.Now(), p.object
	if p.deletes {
		grave, err := p.dug(ctx)
		switch {
		case err != nil:
			return "", storage.Stored{}, err
		case p.buried(grave) && !p.looked:
			return "", storage.Stored{}, errLookFirst
		case p.buried(grave):
			return messages.Superseded, storage.Stored{}, nil
		case grave != nil:
			p.seen = grave.Sequence
			o.Over = lately(grave)
		}
	}
	stored, err := p.store.Put(ctx, p.load.Bucket, o, storage.IfAbsent().Since(decided))
	return messages.Loaded, stored, err
}

// recall has there tell what the ledger knows of its key's history, too.
func (p *place) recall(there *storage.Stored) {
	p.seen = 0
	if r := p.remembered; p.deletes && r != nil && r.Load == there.Meta.Load && r.ETag == there.ETag {
		p.seen = r.Sequence
		there.History = there.Told(r.History)
	}
}

// claimed records the object that stands now. A deletion is recorded before the
// object goes, and looks once more behind its record when it found none: so either
// it finds this object, or the claim finds the deletion.
func (p *place) claimed(ctx context.Context, result messages.Result, stored storage.Stored) (messages.Result, storage.Stored, error) {
	stood, err := p.ledger.Claim(ctx, result, stored.Size, gone(stored))
	if err != nil {
		return "", storage.Stored{}, fmt.Errorf("claim the key: %w", err)
	}
	if p.buried(stood) {
		return p.takeBack(ctx, stored)
	}
	if stood == nil || stood.Load == p.load.ID || stood.Sequence == p.seen || lately(stood) == nil {
		return result, stored, nil
	}
	// Nobody had heard of this record when the object's form was chosen.
	history, more, repeats := stored.Recall(lately(stood))
	if !more {
		return result, stored, nil
	}
	stored.History = history
	if repeats {
		decided := stored.Looked
		if stored, err = p.replace(ctx, &stored); err != nil {
			return "", storage.Stored{}, err
		}
		stored.Looked = decided
	}
	return p.claimed(ctx, result, stored)
}

// takeBack deletes the load's object, which a newer generation has deleted. Its
// bytes are on record first: they are not to come back under their ETag, or a
// deletion that is carried out late would find them.
func (p *place) takeBack(ctx context.Context, own storage.Stored) (messages.Result, storage.Stored, error) {
	err := p.ledger.TakeBack(ctx, func(stood *queue.Object) queue.Gone { return joined(&own, stood) })
	if err != nil {
		return "", storage.Stored{}, fmt.Errorf("take the object back: %w", err)
	}
	err = p.store.Delete(ctx, p.load.Bucket, p.load.Key, storage.IfMatch(own.ETag).Since(own.Looked))
	if errors.Is(err, storage.ErrPrecondition) { // it is another's by now
		err = nil
	}
	return messages.Superseded, storage.Stored{}, err
}

// gone is what the ledger remembers of an object's bytes.
func gone(s storage.Stored) queue.Gone {
	return queue.Gone{SHA256: s.Meta.SHA256, ETag: s.ETag, History: s.History}
}

// joined is what the ledger is to remember once was, nil for nothing, is deleted at
// a key of which it has a record.
func joined(was *storage.Stored, stood *queue.Object) queue.Gone {
	before := lately(stood)
	switch {
	case was == nil && before == nil:
		return queue.Gone{}
	case was == nil:
		return stood.Gone()
	case before == nil:
		return gone(*was)
	}
	all := *was
	all.History, _, _ = was.Recall(before)
	return gone(all)
}

// rememberedFor is how long what a record says of a key's bytes may matter: a deletion
// may be carried out as long after its record as its signature holds.
const rememberedFor = settled + storage.SignatureHolds

// lately is what a record tells of a key's bytes; nil when that is long ago.
func lately(r *queue.Object) *storage.Stored {
	if r == nil || r.ETag == "" || time.Since(r.Time) >= rememberedFor {
		return nil
	}
	return &storage.Stored{ETag: r.ETag, Meta: storage.Meta{SHA256: r.SHA256}, History: r.History}
}

// dug is the record of the object's deletion as it is now; nil when it is not
// deleted.
func (p *place) dug(ctx context.Context) (*queue.Object, error) {
	r, err := p.ledger.Grave(ctx)
	if errors.Is(err, queue.ErrNotFound) || err == nil && r.Result != messages.Deleted {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for a deletion: %w", err)
	}
	return r, nil
}

// buried reports whether a record is of a deletion by a newer generation.
func (p *place) buried(r *queue.Object) bool {
	return r != nil && r.Result == messages.Deleted &&
		newer(storage.Meta{Extraction: r.Extraction, Generation: r.Generation}, p.object.Meta)
}

// decideDelete deletes what is there if it is a load's and not newer. An object
// that nobody of ours made is not ours to delete.
func (p *place) decideDelete(ctx context.Context, there *storage.Stored) (messages.Result, storage.Stored, error) {
	if there != nil && there.HasMeta && newer(there.Meta, p.object.Meta) {
		return messages.Superseded, *there, nil
	}
	if there != nil && !there.HasMeta {
		return "", storage.Stored{}, &LoadError{
			Reason: messages.ReasonPartial, Err: errors.New("the partition is empty now, and the object at its key was not made by loadfleet"),
			Remedy: "look at the object; move it, then replay",
		}
	}
	if p.buried(p.remembered) {
		return messages.Superseded, storage.Stored{}, nil
	}
	var was storage.Stored
	if there != nil {
		if err := p.loses(there); err != nil {
			return "", storage.Stored{}, err
		}
		was = *there
	}
	superseded, err := p.ledger.Bury(ctx, func(stood *queue.Object) queue.Gone { return joined(there, stood) })
	if err != nil || superseded {
		return messages.Superseded, storage.Stored{}, err
	}
	if there == nil {
		// An older load may have put its object since our look, and claimed its key
		// before the record: of the two, one looks last.
		if there, err := p.look(ctx); err != nil || there != nil {
			if err == nil {
				err = fmt.Errorf("%w: the key was free, and is not any more", storage.ErrPrecondition)
			}
			return "", storage.Stored{}, err
		}
		return messages.Deleted, was, nil
	}
	err = p.store.Delete(ctx, p.load.Bucket, p.load.Key, storage.IfMatch(there.ETag).Since(there.Looked))
	return messages.Deleted, was, err
}
