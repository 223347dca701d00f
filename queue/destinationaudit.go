package queue

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/messages"
)

// Edit says who changes a destination, and what it was before, for the audit.
type Edit struct {
	Action messages.DestinationAction
	By     string                // user@host, or what a sign-on says
	From   *destination.Settings // as it was read; nil when it is new
}

// audited runs a change of a destination between its two records. The first is
// stored before: somebody killed in between leaves a record of something that may
// not have been done, never the reverse. The second takes its place and says how
// it ended.
func (d *Destinations) audited(ctx context.Context, id string, edit Edit, changes []messages.FieldChange, change func() (uint64, error)) (uint64, error) {
	a := &messages.DestinationAudit{
		Version: messages.Version, Operation: rand.Text(), Action: edit.Action, Destination: id, By: cmp.Or(edit.By, "unknown"),
		NATSUser: cmp.Or(d.q.nc.Opts.Nkey, d.q.nc.Opts.User), Time: time.Now().UTC(),
		Created: edit.Action == messages.DestinationApply && edit.From == nil, Changes: changes,
	}
	if err := d.note(ctx, a); err != nil {
		return 0, fmt.Errorf("%s destination %s: audit: %w", edit.Action, id, err)
	}
	revision, err := change()
	switch {
	case err == nil:
		a.End, a.Revision = messages.DestinationDone, revision
	case errors.Is(err, ErrRevision):
		a.End = messages.DestinationRefused
	default:
		return 0, err // nobody knows whether it was done
	}
	if noted := d.note(ctx, a); noted != nil {
		d.q.log.Warn("the end of a destination's change is not on record", zap.String("destination", id), zap.String("operation", a.Operation), zap.Error(noted))
	}
	return revision, err
}

func (d *Destinations) note(ctx context.Context, a *messages.DestinationAudit) error {
	body, err := messages.EncodeDestinationAudit(a)
	if err != nil {
		return err
	}
	_, err = d.q.publish(ctx, &nats.Msg{Subject: messages.DestinationAuditSubject(a), Data: body})
	return err
}

// fieldChanges is what a save changes, the fleet's own settings among it. A new
// destination changes from nothing.
func fieldChanges(from, to *destination.Settings) []messages.FieldChange {
	if from == nil {
		from = &destination.Settings{}
	}
	all := []messages.FieldChange{}
	for _, c := range destination.Changes(from, to) {
		all = append(all, messages.FieldChange{Field: c.Field, Old: c.Old, New: c.New})
	}
	for _, f := range []struct {
		name     string
		old, new bool
	}{{"approved", from.Approved, to.Approved}, {"paused", from.Paused, to.Paused}} {
		if f.old != f.new {
			all = append(all, messages.FieldChange{Field: f.name, Old: fmt.Sprint(f.old), New: fmt.Sprint(f.new)})
		}
	}
	return all
}

// Audit yields who changed a destination in the last 400 days, the oldest first;
// the empty id stands for all. An error is the last thing it yields.
func (d *Destinations) Audit(ctx context.Context, id string) iter.Seq2[messages.DestinationAudit, error] {
	return func(yield func(messages.DestinationAudit, error) bool) {
		for msg, err := range d.q.read(ctx, reading{stream: streamEvents, subjects: []string{messages.DestinationAuditSubjects(id)}}) {
			if err != nil {
				yield(messages.DestinationAudit{}, err)
				return
			}
			a, err := messages.ParseDestinationAudit(msg.Data())
			if err != nil {
				d.q.log.Warn("audit record cannot be read", zap.String("subject", msg.Subject()), zap.Error(err))
				continue
			}
			if !yield(*a, nil) {
				return
			}
		}
	}
}
