package queue

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/loadfleet/loadfleet/messages"
)

// Commits hands out the commits of extractions to dispatchers. It is safe for
// concurrent use.
type Commits struct{ puller *puller }

// Commits opens the commits; they are there after Provision.
func (q *Queue) Commits(ctx context.Context) (*Commits, error) {
	p, err := q.puller(ctx, streamCommits, consumerDispatcher)
	if err != nil {
		return nil, fmt.Errorf("open commits: %w", err)
	}
	return &Commits{puller: p}, nil
}

// Next waits for a commit. When ctx ends it returns its cause, after Close
// [ErrClosed]; any other trouble is waited out.
func (c *Commits) Next(ctx context.Context) (*CommitDelivery, error) {
	found, err := c.puller.next(ctx)
	if err != nil {
		return nil, err
	}
	d, err := c.puller.q.hold(ctx, found)
	if err != nil {
		return nil, err
	}
	commit := &CommitDelivery{delivery: d, Body: found.msg.Data()}
	commit.Workspace, commit.Extraction, _ = messages.Origin(d.Subject)
	header := messages.Header(found.msg.Headers())
	commit.replays = replays(header)
	if strings.HasPrefix(d.Subject, "recommit.") {
		// Only operators may publish there: a commit's own publisher cannot
		// date it.
		if at, err := time.Parse(time.RFC3339Nano, header.Get(messages.HeaderCommittedAt)); err == nil {
			commit.At = at.UTC()
		}
	}
	return commit, nil
}

// Close ends every waiting Next with [ErrClosed]. Deliveries stay as they are.
func (c *Commits) Close() { c.puller.close() }

// CommitDelivery is a commit to be dispatched. It is settled with one of Done,
// Retry, DeadLetter and Release; until then it is kept alive.
//
// Workspace and Extraction come from the subject, which the server let only
// that workspace's publisher use. At is when the extraction was first
// committed, also when this is a replay.
type CommitDelivery struct {
	*delivery
	Body       []byte
	Workspace  string
	Extraction string

	replays int
}

// Replays says how often the commit came back from the dead letters.
func (d *CommitDelivery) Replays() int { return d.replays }

// Done settles the commit as dispatched.
func (d *CommitDelivery) Done(ctx context.Context) error {
	return d.settle(ctx, "finish commit", answerDone, nil)
}

// DeadLetter stores the dead letter and the event that the extraction failed,
// then ends the commit. What the letter does not say and the delivery knows
// (id, workspace, subject, time...) is filled in.
func (d *CommitDelivery) DeadLetter(ctx context.Context, letter messages.DeadLetter) error {
	letter.Stage = messages.StageDispatch
	letter.Workspace, letter.Extraction = d.Workspace, d.Extraction
	letter.ID = d.Extraction
	letter.Subject = d.Subject
	letter.Replays = d.replays
	if letter.Time.IsZero() {
		letter.Time = time.Now().UTC()
	}
	return d.terminate(ctx, string(letter.Failure.Reason), func(ctx context.Context) error {
		header := messages.Header{}
		header.Set(messages.HeaderCommittedAt, d.At.Format(time.RFC3339Nano))
		mark(d.ctx, header) // a replay goes on in the same trace
		if err := d.q.bury(ctx, letter, header, d.Body); err != nil {
			return err
		}
		return d.q.tell(ctx, messages.Event{
			Kind:        messages.EventFailed,
			Time:        letter.Time,
			Workspace:   letter.Workspace,
			Extraction:  letter.Extraction,
			Destination: letter.Destination,
			Failure:     &letter.Failure,
		})
	})
}
