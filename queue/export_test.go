package queue

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/messages"
)

// Bury stores a load's dead letter without ending the load, as a worker does
// that is killed between the two.
func Bury(ctx context.Context, q *Queue, d *LoadDelivery, letter messages.DeadLetter) error {
	letter.Stage, letter.ID, letter.Workspace, letter.Extraction = messages.StageLoad, d.ID, d.Load.Workspace, d.Extraction
	letter.Time = d.At
	return q.bury(ctx, letter, original(d.msg.Headers()), d.Payload)
}

// ReplayWithoutRemoving replays a dead letter as one does who is killed before
// removing it.
func ReplayWithoutRemoving(ctx context.Context, q *Queue, sequence uint64) error {
	dead, err := q.DeadLetter(ctx, sequence)
	if err != nil {
		return err
	}
	m, err := dead.revived()
	if err != nil {
		return err
	}
	_, err = q.publish(ctx, m)
	return err
}

// RemoveDeadLetter removes a dead letter that was read before.
func RemoveDeadLetter(ctx context.Context, q *Queue, sequence uint64) error {
	return q.remove(ctx, sequence)
}

// ForgetStream leaves the bucket as an older version made it, which had no
// such stream.
func ForgetStream(ctx context.Context, q *Queue, name string) error {
	older := slices.DeleteFunc(q.cfg.provisioned(), func(s string) bool { return s == name })
	_, err := q.js.UpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: bucketDestinations, History: 64, Storage: jetstream.FileStorage,
		Metadata: map[string]string{metadataProvisioned: strings.Join(older, " ")},
	})
	return err
}

// RecordOnly leaves the audit of a replay that was not carried out.
func RecordOnly(ctx context.Context, q *Queue, sequence uint64, op Operation) error {
	dead, err := q.DeadLetter(ctx, sequence)
	if err != nil {
		return err
	}
	return q.record(ctx, op, messages.VerbReplay, dead)
}

// Steps are the lines of the settling of a load after which BreakAt is asked.
func Steps() []string {
	var all []string
	for _, s := range []step{stepCarried, stepBuried, stepStored, stepCounted, stepSettled} {
		all = append(all, string(s))
	}
	return all
}

// BreakAt asks f after each step; its error is what the step then failed with.
func BreakAt(q *Queue, f func(string) error) {
	q.broken = func(s step) error { return f(string(s)) }
}

// Kill ends a queue as the end of its process does: nothing more is said.
func Kill(q *Queue) {
	q.end(ErrClosed)
	q.nc.Close()
}

// LoseLease ends the heartbeats of a delivery, as when its process stands still.
func LoseLease(d *LoadDelivery) { d.stop() }

// LastSequence is that of the last event.
func LastSequence(ctx context.Context, t interface{ Fatal(...any) }, q *Queue) uint64 {
	s, err := q.js.Stream(ctx, streamEvents)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State.LastSeq
}

// NewPresences listens to nobody: Hear says what there is to hear.
func NewPresences() *Presences {
	return &Presences{q: &Queue{log: zap.NewNop()}, of: map[process]heard{}, more: make(chan struct{})}
}

// Hear lets p hear a process on its own subject.
func Hear(p *Presences, said *messages.Presence) {
	HearOn(p, messages.PresenceSubject(said.Role, said.Name), said)
}

// HearOn lets p hear it on any subject, now.
func HearOn(p *Presences, subject string, said *messages.Presence) {
	HearAt(p, subject, said, time.Now())
}

// HearAt lets p hear it at a time.
func HearAt(p *Presences, subject string, said *messages.Presence, at time.Time) {
	body, err := messages.EncodePresence(said)
	if err != nil {
		panic(err)
	}
	p.hear(subject, body, at)
}

// ThereAt is who is there at a time.
func ThereAt(p *Presences, at time.Time) []messages.Presence {
	all, _ := p.now(at)
	return all
}

// AcquireAgain gets a lease as one does whose first answer was lost.
func AcquireAgain(ctx context.Context, l *KeyLease) error {
	l.sequence = 0
	return l.acquire(ctx, time.Minute)
}
