package queue

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/messages"
)

// Object is an object's record as it stands on the queue.
type Object struct {
	messages.Object
	Sequence uint64 `json:"sequence"` // grows with each change of the record
}

// Objects is the ledger: the last known state of every object that the fleet
// wrote, kept for [KeepObjects] after it was last written. A record is stored
// together with the outcome of the load that wrote the object, and is never
// replaced by that of an older generation.
//
// It is a record and a hint, never a lock: an object may be written and its
// outcome not yet stored, and others may write to the bucket. What is about to
// be done to an object is to be guarded at the object.
type Objects struct{ q *Queue }

// Objects is the ledger of this queue.
func (q *Queue) Objects() *Objects { return &Objects{q: q} }

// Get is the record of one object, by one request; [ErrNotFound] when there
// is none. A deleted object has a record, of result deleted.
func (o *Objects) Get(ctx context.Context, destination, bucket, key string) (*Object, error) {
	m, err := o.q.lastOn(ctx, streamEvents, messages.ObjectSubject(destination, bucket, key))
	if err != nil {
		return nil, fmt.Errorf("record of object %q: %w", key, err)
	}
	stands, err := messages.ParseObject(m.Data)
	if err != nil {
		return nil, fmt.Errorf("record of object %q: %w", key, err)
	}
	// Beyond any doubt: a hash of 16 bytes names the record.
	if stands.Bucket != bucket || stands.Key != key {
		return nil, fmt.Errorf("record of object %q: %w", key, ErrNotFound)
	}
	return &Object{Object: *stands, Sequence: m.Sequence}, nil
}

// All yields the record of every object of a destination, deleted ones too, in
// the order in which they were last written. One that is written meanwhile may
// come twice: the later one counts. An error is the last thing it yields.
func (o *Objects) All(ctx context.Context, destination string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		for msg, err := range o.q.read(ctx, reading{stream: streamEvents, subjects: []string{messages.ObjectSubjects(destination)}}) {
			if err != nil {
				yield(Object{}, err)
				return
			}
			meta, metaErr := msg.Metadata()
			stands, err := messages.ParseObject(msg.Data())
			if err := errors.Join(err, metaErr); err != nil {
				o.q.log.Warn("record of an object cannot be read", zap.String("subject", msg.Subject()), zap.Error(err))
				continue
			}
			if !yield(Object{Object: *stands, Sequence: meta.Sequence.Stream}, nil) {
				return
			}
		}
	}
}

// Object is the record of the load's object as it stood when this was first
// asked; nil when there is none. The load's outcome replaces it.
func (d *LoadDelivery) Object(ctx context.Context) (*Object, error) {
	if d.Load == nil {
		return nil, d.Err
	}
	if !d.looked {
		stands, err := d.q.Objects().Get(ctx, d.Load.Destination, d.Load.Bucket, d.Load.Key)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil, err
		}
		d.object, d.looked = stands, true
	}
	return d.object, nil
}
