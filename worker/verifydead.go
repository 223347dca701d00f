package worker

import (
	"context"
	"time"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
)

// Discarded is the dead letters of an extraction that somebody gave up for good
// in one operation, as the audit says.
type Discarded struct {
	Operation   string    `json:"operation"`
	By          string    `json:"by"`
	Time        time.Time `json:"time"` // of the last of them
	DeadLetters int64     `json:"dead_letters"`
}

// undispatched looks at an extraction without loads: it is in work, or it
// failed and must have its dead letter.
func (v *verification) undispatched(ctx context.Context, state *queue.ExtractionState) error {
	if state.State != messages.EventFailed {
		v.found(FindingUnfinished, nil, "it is %s and not dispatched yet", state.State)
		return nil
	}
	v.report.Failure = state.Failure
	for _, err := range v.cfg.Queue.DeadLetters(ctx, queue.DeadLetterFilter{
		Stage: messages.StageDispatch, Workspace: v.cfg.Workspace, Extraction: v.cfg.Extraction,
	}) {
		return err // there it is
	}
	decided, err := v.decisions(ctx, messages.StageDispatch, "", state.Ended, func(id string) bool { return id == v.cfg.Extraction })
	if err != nil {
		return err
	}
	if a, ok := decided[v.cfg.Extraction]; ok && a.Verb == messages.VerbDiscard {
		v.discarded(&a)
		return nil
	}
	v.found(FindingDeadLetter, nil, "it failed (%s), and its dead letter is gone", state.Failure.Reason)
	return nil
}

// deadLetters finds loads that were given up without a dead letter. One that
// waits on the queue again has been replayed; one that somebody discarded is
// accounted for.
func (v *verification) deadLetters(ctx context.Context, waiting map[string]bool) error {
	if len(v.dead) == 0 {
		return nil
	}
	for letter, err := range v.cfg.Queue.DeadLetters(ctx, queue.DeadLetterFilter{
		Stage: messages.StageLoad, Workspace: v.cfg.Workspace, Destination: v.commit.Destination, Extraction: v.cfg.Extraction,
	}) {
		if err != nil {
			return err
		}
		delete(v.dead, letter.ID)
	}
	if len(v.dead) == 0 {
		return nil
	}
	// After the dead letters: a decision is on record before its letter is gone.
	decided, err := v.decisions(ctx, messages.StageLoad, v.commit.Destination, v.plan.Time, func(id string) bool {
		_, gone := v.dead[id]
		return gone
	})
	if err != nil {
		return err
	}
	for load, o := range v.dead {
		switch a, ok := decided[load]; {
		case waiting[load]:
			v.found(FindingUnfinished, &o, "it was dead-lettered, and waits on the queue again")
		case ok && a.Verb == messages.VerbDiscard && a.Replays == o.Replays:
			v.discarded(&a)
		default:
			v.found(FindingDeadLetter, &o, "it was dead-lettered (%s), and its dead letter is gone", o.Failure.Reason)
		}
	}
	return nil
}

// clockRoom is how far the clocks of those who decide may be behind. An id of
// an extraction is free again only after 30 days.
const clockRoom = 24 * time.Hour

// decisions is the last decision about each dead letter of a stage, by the id
// of its load or extraction, of those that are wanted. The audit is kept longer
// than ids are: what was decided before since is about another extraction.
func (v *verification) decisions(ctx context.Context, stage messages.Stage, destination string, since time.Time, wanted func(id string) bool) (map[string]messages.Audit, error) {
	last := map[string]messages.Audit{}
	for a, err := range v.cfg.Queue.Audit(ctx, queue.AuditFilter{
		Workspace: v.cfg.Workspace, Destination: destination, Extraction: v.cfg.Extraction, Since: since.Add(-clockRoom),
	}) {
		if err != nil {
			return nil, err
		}
		if a.Stage == stage && wanted(a.ID) {
			last[a.ID] = a
		}
	}
	return last, nil
}

// discarded counts a dead letter that is gone with who discarded it.
func (v *verification) discarded(a *messages.Audit) {
	v.count(func(r *Report) {
		for i := range r.Discarded {
			if d := &r.Discarded[i]; d.Operation == a.Operation && d.By == a.By {
				d.DeadLetters++
				if a.Time.After(d.Time) {
					d.Time = a.Time
				}
				return
			}
		}
		r.Discarded = append(r.Discarded, Discarded{Operation: a.Operation, By: a.By, Time: a.Time, DeadLetters: 1})
	})
}
