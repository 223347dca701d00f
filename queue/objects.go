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

// Bury records that the load is about to delete its object, unless the ledger
// knows of a newer generation: superseded is true then. It comes before the
// deletion, so that an older load that finds the key free finds this, too. Hash,
// ETag and history are those of what is deleted, empty when nothing is there.
func (d *LoadDelivery) Bury(ctx context.Context, sha256, etag, history string) (superseded bool, err error) {
	_, recorded, err := d.record(ctx, messages.Outcome{Result: messages.Deleted, SHA256: sha256, ETag: etag}, history)
	return err == nil && !recorded, err
}

// Claim records that the load has put its object, of so many bytes, and gives the
// record that stood until then: nil when there was none. If that is of a deletion
// by a newer generation, it stays, and the object is to be taken back.
//
// Bury and Claim write, each on condition of what it read, and do not only look:
// a replica that lags behind may answer whoever looks, but the stream takes writes
// one after the other. So of a deletion and a put that do not know of each other,
// the one that is recorded last finds the other.
func (d *LoadDelivery) Claim(ctx context.Context, result messages.Result, bytes int64, sha256, etag string) (stood *Object, err error) {
	stood, _, err = d.record(ctx, messages.Outcome{Result: result, Rows: d.Load.Rows, Bytes: bytes, SHA256: sha256, ETag: etag}, "")
	return stood, err
}

// record writes what the load does to its object over the record that stands, and
// gives that one. Of a newer generation it stays: a deletion as it is, for nothing
// older follows it; of another, which an unseen deletion may follow, by writing it anew.
func (d *LoadDelivery) record(ctx context.Context, o messages.Outcome, history string) (stood *Object, recorded bool, err error) {
	o.Ended = time.Now().UTC()
	record := messages.NewObject(d.Load, &o)
	record.History = history
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		stood, err := d.q.Objects().Get(ctx, record.Destination, record.Bucket, record.Key)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil, false, err
		}
		next, expect, recorded := *record, uint64(0), true
		if stood != nil {
			expect = stood.Sequence
			recorded = !record.Before(&stood.Object)
			switch gone := stood.Result == messages.Deleted; {
			case !recorded && (gone || record.Result == messages.Deleted):
				return stood, false, nil
			case !recorded:
				next = stood.Object
			case gone && record.Result == messages.Deleted && record.ETag == "":
				next.SHA256, next.ETag, next.History = stood.SHA256, stood.ETag, stood.History
			}
		}
		body, err := messages.EncodeObject(&next)
		if err != nil {
			return nil, false, err
		}
		ack, err := d.q.publish(ctx, &nats.Msg{Subject: messages.ObjectSubject(record.Destination, record.Bucket, record.Key), Data: body},
			jetstream.WithExpectLastSequencePerSubject(expect))
		if err == nil {
			d.object, d.looked, d.recorded = &Object{Object: next, Sequence: ack.Sequence}, time.Now(), record.Result
			return stood, recorded, nil
		}
		if !outrun(err) {
			return nil, false, fmt.Errorf("record object %q: %w", record.Key, err)
		}
		if err := d.q.pause(ctx, pause); err != nil {
			return nil, false, err
		}
	}
}
