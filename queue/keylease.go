package queue

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/loadfleet/loadfleet/messages"
)

// KeyLeaseTime is how long a lease on a key lasts that nobody gives back. Who
// holds one looks at the object within [KeyLeaseLook] of having got it; writes
// are signed as of the look, and the store refuses them 15 minutes later, which
// leaves five for clocks that differ.
const (
	KeyLeaseTime = 30 * time.Minute
	KeyLeaseLook = 10 * time.Minute
)

// KeyLease is the right to write one object, in stores that cannot compare and
// set. At most one load has it at a time.
type KeyLease struct {
	Since time.Time // when it was asked for: it lasts from then on

	q        *Queue
	subject  string
	sequence uint64
	record   leaseRecord
}

// leaseRecord is the body of a lease: who has it, for people, by which it is told
// from others, and whether it was given back.
type leaseRecord struct {
	Load     string    `json:"load"`
	Since    time.Time `json:"since"`
	Holder   string    `json:"holder"`
	Released bool      `json:"released,omitempty"`
}

// LeaseKey gets the lease on the key of a load's object; [ErrKeyLeased] when
// another load has it, or a worker of this one that did not give it back.
func (q *Queue) LeaseKey(ctx context.Context, l *messages.Load, lasting time.Duration) (*KeyLease, error) {
	now := time.Now()
	lease := &KeyLease{
		q: q, subject: messages.LeaseSubject(l.Destination, l.Bucket, l.Key), Since: now,
		record: leaseRecord{Load: l.ID, Since: now.UTC(), Holder: rand.Text()},
	}
	if err := lease.acquire(ctx, lasting); err != nil {
		return nil, fmt.Errorf("lease of key %q: %w", l.Key, err)
	}
	return lease, nil
}

func (l *KeyLease) acquire(ctx context.Context, lasting time.Duration) error {
	for range 2 {
		err := l.write(ctx, l.record, lasting)
		if err == nil || !outrun(err) {
			return err
		}
		stands, err := l.q.lastOn(ctx, streamEvents, l.subject)
		if errors.Is(err, ErrNotFound) { // it has just run out
			l.sequence = 0
			continue
		}
		if err != nil {
			return err
		}
		var other leaseRecord
		if err := json.Unmarshal(stands.Data, &other); err != nil {
			return fmt.Errorf("%w: a newer program's", ErrKeyLeased)
		}
		l.sequence = stands.Sequence
		if other.Holder == l.record.Holder { // the answer to our own write was lost
			return nil
		}
		if !other.Released {
			return fmt.Errorf("%w: load %s, since %s", ErrKeyLeased, other.Load, other.Since.Format(time.RFC3339))
		}
	}
	return fmt.Errorf("%w, which was faster", ErrKeyLeased)
}

// Release gives the lease back. It must not be called while a write may still be
// under way: then the lease is left to run out.
func (l *KeyLease) Release(ctx context.Context) error {
	given := l.record
	given.Released = true
	if err := l.write(ctx, given, time.Second); err != nil {
		return fmt.Errorf("release the lease of a key: %w", err)
	}
	return nil
}

// write stores the record over what was read.
func (l *KeyLease) write(ctx context.Context, record leaseRecord, lasting time.Duration) error {
	body, err := json.Marshal(record)
	if err != nil {
		return err
	}
	m := &nats.Msg{Subject: l.subject, Data: body, Header: nats.Header{jetstream.MsgTTLHeader: {lasting.String()}}}
	ack, err := l.q.publish(ctx, m, jetstream.WithExpectLastSequencePerSubject(l.sequence))
	if err != nil {
		return err
	}
	l.sequence = ack.Sequence
	return nil
}
