package queue

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
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
// together with the outcome of the load that wrote the object, or before it where
// objects may be deleted ([LoadDelivery.Claim]), and is never replaced by that of an
// older generation.
//
// What it says of an object that is there is a hint: the object may be written and
// its outcome not yet stored, and others may write to the bucket. What is about to
// be done to it is to be guarded at the object. Only of an object that is not there
// the ledger has the last word: a deletion is recorded nowhere else.
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

// Remove records that an object is about to be removed, or, when removing is
// false, that it is gone. The record must be the one that stands, or else
// [ErrRevision]; it becomes what stands now.
func (o *Objects) Remove(ctx context.Context, record *Object, by string, removing bool) error {
	next := record.Object
	next.Result, next.RemovedBy, next.Removing, next.Time = messages.Deleted, by, removing, time.Now().UTC()
	body, err := messages.EncodeObject(&next)
	if err != nil {
		return err
	}
	ack, err := o.q.publish(ctx, &nats.Msg{Subject: messages.ObjectSubject(next.Destination, next.Bucket, next.Key), Data: body},
		jetstream.WithExpectLastSequencePerSubject(record.Sequence))
	if outrun(err) {
		return fmt.Errorf("record the removal of %q: %w", next.Key, errors.Join(ErrRevision, err))
	}
	if err != nil {
		return fmt.Errorf("record the removal of %q: %w", next.Key, err)
	}
	record.Object, record.Sequence = next, ack.Sequence
	return nil
}

// Object is the record of the load's object as it stood when this was first
// asked; nil when there is none. The load's outcome replaces it.
func (d *LoadDelivery) Object(ctx context.Context) (*Object, error) {
	if d.Load == nil {
		return nil, d.Err
	}
	if d.looked.IsZero() {
		asked := time.Now()
		stands, err := d.q.Objects().Get(ctx, d.Load.Destination, d.Load.Bucket, d.Load.Key)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil, err
		}
		d.object, d.looked = stands, asked
	}
	return d.object, nil
}

// Looked is when the ledger was asked for what Object gives; zero when it was not
// yet.
func (d *LoadDelivery) Looked() time.Time { return d.looked }

// lookAhead looks up the objects of several loads by one request, so that each
// need not. A replica may answer that lags behind: what it says is a hint, as ever.
// Of what it does not say, each load asks by itself.
func (q *Queue) lookAhead(ctx context.Context, few []*LoadDelivery) {
	of := make(map[string]*LoadDelivery, len(few))
	subjects := make([]string, 0, len(few))
	for _, d := range few {
		if d.Load == nil || d.Load.Delete || d.Parked {
			continue
		}
		subject := messages.ObjectSubject(d.Load.Destination, d.Load.Bucket, d.Load.Key)
		if of[subject] == nil { // of two loads of an object the second comes too early
			of[subject] = d
			subjects = append(subjects, subject)
		}
	}
	if len(subjects) < 2 || time.Since(time.Unix(0, q.lookedInVain.Load())) < lookAgain {
		return
	}
	asked := time.Now()
	found, err := q.lastObjects(ctx, subjects)
	if err != nil {
		q.lookedInVain.Store(asked.UnixNano())
		q.log.Debug("objects are looked up one by one", zap.Error(err))
		return
	}
	for subject, d := range of {
		if o := found[subject]; o != nil && (o.Bucket != d.Load.Bucket || o.Key != d.Load.Key) {
			continue
		}
		d.object, d.looked = found[subject], asked
	}
}

// lookAgain is how long objects are not looked up together after that failed: the
// next loads would wait for the same answer.
const lookAgain = 30 * time.Second

// lastObjects is the records on some subjects, by subject.
func (q *Queue) lastObjects(ctx context.Context, subjects []string) (map[string]*Object, error) {
	ctx, cancel := context.WithTimeout(ctx, q.cfg.RequestTimeout)
	defer cancel()
	all, err := jetstreamext.GetLastMsgsFor(ctx, q.js, streamEvents, subjects)
	if err != nil {
		return nil, err
	}
	found := map[string]*Object{}
	for m, err := range all {
		if errors.Is(err, jetstreamext.ErrNoMessages) && len(found) == 0 {
			break // there is none
		}
		if err != nil {
			return nil, err
		}
		stands, err := messages.ParseObject(m.Data)
		if err != nil {
			return nil, err
		}
		found[m.Subject] = &Object{Object: *stands, Sequence: m.Sequence}
	}
	return found, ctx.Err() // an answer without its end ends with the time
}

// Gone is bytes that stood at a key: their hash and ETag, and the history of the
// key, which the object's metadata told and nobody else does. Zero: nothing stood.
type Gone struct{ SHA256, ETag, History string }

// Gone is what a record says of the bytes that stood, or stand, at its key.
func (o *Object) Gone() Gone { return Gone{o.SHA256, o.ETag, o.History} }

func (g Gone) write(o *messages.Object) { o.SHA256, o.ETag, o.History = g.SHA256, g.ETag, g.History }

// Bury records that the load is about to delete its object, unless the ledger
// knows of a newer generation: superseded is true then. It comes before the
// deletion, so that an older load that puts at the key finds this. gone is told
// which record stands, nil for none, and says what is deleted.
func (d *LoadDelivery) Bury(ctx context.Context, gone func(stood *Object) Gone) (superseded bool, err error) {
	_, err = d.record(ctx, messages.Outcome{Result: messages.Deleted}, func(next *messages.Object, stood *Object) bool {
		if superseded = stood != nil && next.Before(&stood.Object); superseded {
			return false
		}
		gone(stood).write(next)
		return true
	})
	return superseded, err
}

// Claim records that the load has put its object, of so many bytes, and gives the
// record that stood until then: nil when there was none. If that is of a deletion
// by a newer generation, it stays, and the object is to be taken back.
//
// Bury and Claim write, each on condition of what it read, and do not only look:
// a replica that lags behind may answer whoever looks, but the stream takes writes
// one after the other. So of a deletion and a put that do not know of each other,
// the one that is recorded last finds the other. For the same reason a record of
// a newer load, which a deletion may have replaced, is written anew.
func (d *LoadDelivery) Claim(ctx context.Context, result messages.Result, bytes int64, put Gone) (stood *Object, err error) {
	outcome := messages.Outcome{Result: result, Rows: d.Load.Rows, Bytes: bytes}
	var before *Object // what stood before a record of ours whose answer was lost
	stood, err = d.record(ctx, outcome, func(next *messages.Object, stood *Object) bool {
		put.write(next)
		switch {
		case stood == nil:
		case stood.Load == next.Load && stood.Time.Equal(next.Time):
		default:
			before = stood
			if stood.Load == next.Load && stood.ETag == next.ETag && stood.SHA256 == next.SHA256 {
				next.Result = stood.Result // the outcome of an earlier delivery may stand
			}
			if next.Before(&stood.Object) {
				if stood.Result == messages.Deleted {
					return false
				}
				*next = stood.Object
			}
		}
		return true
	})
	if err != nil || stood == nil {
		return nil, err
	}
	return before, nil
}

// TakeBack records that the load is about to delete what it put, beside the record
// of the deletion that stands in its way: the bytes are on record there. If another
// record stands by now, nothing is recorded.
func (d *LoadDelivery) TakeBack(ctx context.Context, gone func(stood *Object) Gone) error {
	_, err := d.record(ctx, messages.Outcome{Result: messages.Deleted}, func(next *messages.Object, stood *Object) bool {
		if stood == nil || stood.Result != messages.Deleted || !next.Before(&stood.Object) {
			return false
		}
		now := next.Time
		*next = stood.Object
		gone(stood).write(next)
		next.Time = now
		return true
	})
	return err
}

// record writes what the load does to its object over the record that stands, as
// judge makes of both, and gives the one that stood; judge says no to leave it.
func (d *LoadDelivery) record(ctx context.Context, o messages.Outcome, judge func(next *messages.Object, stood *Object) bool) (stood *Object, err error) {
	o.Ended = time.Now().UTC()
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		next := messages.NewObject(d.Load, &o)
		stood, err := d.q.Objects().Get(ctx, next.Destination, next.Bucket, next.Key)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil, err
		}
		if !judge(next, stood) {
			return stood, nil
		}
		var expect uint64
		if stood != nil {
			expect = stood.Sequence
		}
		body, err := messages.EncodeObject(next)
		if err != nil {
			return nil, err
		}
		ack, err := d.q.publish(ctx, &nats.Msg{Subject: messages.ObjectSubject(next.Destination, next.Bucket, next.Key), Data: body},
			jetstream.WithExpectLastSequencePerSubject(expect))
		if err == nil {
			d.object, d.looked, d.recorded = &Object{Object: *next, Sequence: ack.Sequence}, time.Now(), true
			return stood, nil
		}
		if !outrun(err) {
			return nil, fmt.Errorf("record object %q: %w", next.Key, err)
		}
		if err := d.q.pause(ctx, pause); err != nil {
			return nil, err
		}
	}
}
