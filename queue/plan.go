package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/loadfleet/loadfleet/messages"
)

// ErrNoPlan says that no plan of an extraction is pinned yet.
var ErrNoPlan = errors.New("no plan is pinned")

// Plan is the plan that an earlier try of the extraction's dispatch pinned;
// [ErrNoPlan] when there is none.
func (q *Queue) Plan(ctx context.Context, workspace, extraction string) ([]byte, error) {
	m, err := q.lastOn(ctx, streamLoads, messages.PlanSubject(workspace, extraction))
	if missing(err) {
		return nil, ErrNoPlan
	}
	if err != nil {
		return nil, fmt.Errorf("plan of %s: %w", extraction, err)
	}
	return m.Data, nil
}

// PinPlan stores the plan of an extraction's dispatch unless one is pinned,
// and returns the one that is: of several dispatchers the first one's. It lives
// as long as the markers of the loads made by it.
func (q *Queue) PinPlan(ctx context.Context, workspace, extraction string, plan []byte) ([]byte, error) {
	subject := messages.PlanSubject(workspace, extraction)
	m := &nats.Msg{Subject: subject, Header: nats.Header{}, Data: plan}
	m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, "0")
	m.Header.Set(jetstream.MsgTTLHeader, keepMarkers.String())
	_, err := q.publish(ctx, m)
	if err == nil || outrun(err) {
		return q.Plan(ctx, workspace, extraction)
	}
	return nil, fmt.Errorf("pin plan of %s: %w", extraction, err)
}

// TakeSecond gives an extraction the first second from at on that no other has of the
// keys of a bucket's pattern, and the same one whenever it asks: at itself, if its
// second is free. It is taken for as long as plans are kept.
func (q *Queue) TakeSecond(ctx context.Context, bucket, glob, workspace, extraction string, at time.Time) (time.Time, error) {
	own := []byte(messages.Token(workspace) + "." + messages.Token(extraction))
	for s := at.Unix(); ; s++ {
		m := &nats.Msg{Subject: messages.SecondSubject(bucket, glob, s), Header: nats.Header{}, Data: own}
		m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, "0")
		m.Header.Set(jetstream.MsgTTLHeader, keepMarkers.String())
		_, err := q.publish(ctx, m)
		if outrun(err) {
			var stands *jetstream.RawStreamMsg
			if stands, err = q.lastOn(ctx, streamLoads, m.Subject); err == nil && !bytes.Equal(stands.Data, own) {
				continue
			}
		}
		switch {
		case err != nil:
			return time.Time{}, fmt.Errorf("take a second for %s: %w", extraction, err)
		case s == at.Unix():
			return at, nil
		}
		return time.Unix(s, 0).UTC(), nil
	}
}

// Dispatched is what an extraction was dispatched as, nil when it is not, or
// not yet as a whole.
func (q *Queue) Dispatched(ctx context.Context, workspace, extraction string) (*messages.Plan, error) {
	event := messages.Event{Kind: messages.EventDispatched, Workspace: workspace, Extraction: extraction}
	m, err := q.lastOn(ctx, streamEvents, messages.EventSubject(&event))
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("dispatch of %s: %w", extraction, err)
	}
	found, err := messages.ParseEvent(m.Data)
	if err != nil {
		return nil, fmt.Errorf("dispatch of %s: %w", extraction, err)
	}
	return found.Plan, nil
}
