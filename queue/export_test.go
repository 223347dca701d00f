package queue

import (
	"context"

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
