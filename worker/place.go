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

// lookFirst is the size from which it is cheaper to ask whether the key is
// taken than to send the file and be refused.
const lookFirst = 1 << 20

// looks is how often a decision is made anew because the object changed in
// between, before the load is left to a later try.
const looks = 5

// settled is how long ago an object must have been written for the ledger to
// say enough of it: by then, what stood at the key before it is of no account
// (see storage.Object.Over).
const settled = 20 * time.Minute

// place is a load's object on its way to the bucket. Every write is conditional
// on what the decision was based on, so that of two workers at one key the newer
// generation stays (ARCHITECTURE.md, "The generation guard").
type place struct {
	store  *storage.Store
	load   *messages.Load
	object storage.Object

	// remembered is the ledger's record of the object; nil when there is none.
	// A hint: when it is wrong the store says so, and costs a look.
	remembered *queue.Object
	asked      time.Time // when the ledger was asked

	ledger  ledger
	deletes bool   // objects may be deleted here: then the ledger knows more than the bucket
	seen    uint64 // the sequence of the record by which the object's form was chosen

	looked bool      // the bucket was asked what stands at the key
	leased time.Time // when the lease on the key began; zero where the store judges conditions
}

// put puts the object where the load says unless the bucket holds something
// newer.
func (p *place) put(ctx context.Context) (messages.Result, storage.Stored, error) {
	there, look := p.guess()
	if p.buried(p.remembered) && !p.deletes {
		return messages.Superseded, storage.Stored{}, nil
	}
	// An earlier delivery may have put the object, and not claimed its key.
	look = look || p.buried(p.remembered)
	return p.settle(ctx, there, look, p.decide)
}

// remove deletes the object unless the bucket holds something newer.
func (p *place) remove(ctx context.Context) (messages.Result, storage.Stored, error) {
	return p.settle(ctx, nil, true, p.decideDelete)
}

type decide func(ctx context.Context, there *storage.Stored) (messages.Result, storage.Stored, error)

// settle decides until the object holds still under the decision.
func (p *place) settle(ctx context.Context, there *storage.Stored, look bool, decide decide) (messages.Result, storage.Stored, error) {
	var changed error
	for range looks {
		if look {
			var err error
			if there, err = p.look(ctx); err != nil {
				return "", storage.Stored{}, err
			}
			p.looked = true
		}
		result, stored, err := decide(ctx, there)
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

// look is what stands at the key; nil when nothing does.
func (p *place) look(ctx context.Context) (*storage.Stored, error) {
	if err := p.fresh(); err != nil {
		return nil, err
	}
	found, err := p.store.Head(ctx, p.load.Bucket, p.load.Key)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("look at the object: %w", err)
	}
	return &found, nil
}

// guess is what stands at the key as far as the ledger knows, and whether the
// bucket is to be asked all the same: about what may be newer, ours, or too
// young to know what was there before it.
func (p *place) guess() (there *storage.Stored, look bool) {
	r := p.remembered
	switch {
	case !p.leased.IsZero(): // nobody else would notice that the ledger is wrong
		return nil, true
	case r == nil:
		return nil, p.object.Size >= lookFirst
	case r.Result == messages.Deleted:
		return nil, false
	case r.ETag == "" || r.Load == p.load.ID || p.asked.Sub(r.Time) < settled:
		return nil, true
	}
	known := &storage.Stored{
		Key: r.Key, ETag: r.ETag, Size: r.Bytes, ContentType: p.object.ContentType, Looked: p.asked, Holds: string(r.Holds), History: r.History,
		Meta:    storage.Meta{Load: r.Load, Extraction: r.Extraction, Generation: r.Generation, Rows: r.Rows, SHA256: r.SHA256},
		HasMeta: true,
	}
	if newer(known.Meta, p.object.Meta) {
		return nil, true
	}
	return known, false
}

// decide makes the one decision that the object there asks for. Where objects may
// be deleted, what stands then is claimed: also when an earlier delivery put it and
// got no further.
func (p *place) decide(ctx context.Context, there *storage.Stored) (messages.Result, storage.Stored, error) {
	own := there != nil && there.HasMeta && there.Meta.Load == p.load.ID
	if p.buried(p.remembered) {
		if own {
			return p.takeBack(ctx, *there)
		}
		return messages.Superseded, storage.Stored{}, nil
	}
	decided := time.Now()
	if there != nil {
		decided = there.Looked
		p.recall(there)
	}
	result, stored, err := p.write(ctx, there, own)
	if err != nil || result == messages.Superseded || !p.deletes {
		return result, stored, err
	}
	stored.Looked = decided
	return p.claimed(ctx, result, stored)
}

// write writes the object over what is there, unless that is newer or the same.
func (p *place) write(ctx context.Context, there *storage.Stored, own bool) (messages.Result, storage.Stored, error) {
	if there == nil {
		return p.putFirst(ctx)
	}
	o := p.object
	equal := there.HasMeta && there.Meta.SHA256 == o.Meta.SHA256
	switch {
	case own && equal && p.store.Encrypted(*there):
		return messages.Loaded, *there, nil
	case there.HasMeta && newer(there.Meta, o.Meta):
		return messages.Superseded, *there, nil
	}
	if !own {
		if err := p.loses(there); err != nil {
			return "", storage.Stored{}, err
		}
	}
	if equal && o.Size <= storage.MaxSinglePut { // beyond it nothing can be copied
		there.Holds = o.Holds
		stored, err := p.store.Restamp(ctx, p.load.Bucket, o.Key, *there, o.Meta)
		switch {
		case errors.Is(err, storage.ErrDenied):
			// A copy needs more rights than a put where somebody has tagged the
			// object: then the bytes are sent again.
		case err == nil && stored.ETag == there.ETag:
			// This store keeps the ETag of a copy: only other bytes, or these in
			// another form, keep out a writer that waits for it.
			there = &stored
			stored, err = p.replace(ctx, there)
			return unchanged(own), stored, err
		default:
			return unchanged(own), stored, err
		}
	}
	stored, err := p.replace(ctx, there)
	return messages.Loaded, stored, err
}

// loses is an error when the object has accounts of which the load has no rows,
// and of which its extraction does not say that there are none.
func (p *place) loses(there *storage.Stored) error {
	n := p.load.Part.Lacks(messages.AccountSet(there.Holds))
	if n == 0 {
		return nil
	}
	return &LoadError{Reason: messages.ReasonPartial, Err: fmt.Errorf(
		"the object holds rows of %s that this extraction has none of and does not cover: they would be lost", accounts(n))}
}

func unchanged(own bool) messages.Result {
	if own {
		return messages.Loaded
	}
	return messages.Unchanged
}

func accounts(n int) string {
	if n == 1 {
		return "1 account"
	}
	return fmt.Sprintf("%d accounts", n)
}

func (p *place) replace(ctx context.Context, there *storage.Stored) (storage.Stored, error) {
	o := p.object
	o.Over = there
	return p.store.Put(ctx, p.load.Bucket, o, storage.IfMatch(there.ETag).Since(there.Looked))
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
