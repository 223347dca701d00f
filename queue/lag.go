package queue

import (
	"context"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/loadfleet/loadfleet/messages"
)

// Lag is what waits on the queue, in the few requests that a monitor may make
// every few seconds. [Status] is the whole picture.
type Lag struct {
	Commits LaneStatus
	Lanes   []LaneStatus
	Parked  LaneStatus
	Streams []StreamStatus
	Dead    uint64 // dead letters
}

// Lag looks at every durable consumer and every stream.
func (q *Queue) Lag(ctx context.Context) (*Lag, error) {
	lag := &Lag{}
	var err error
	if lag.Commits, err = q.laneStatus(ctx, streamCommits, consumerDispatcher, ""); err != nil {
		return nil, err
	}
	for _, lane := range messages.Lanes() {
		s, err := q.laneStatus(ctx, streamLoads, laneConsumer(lane), lane)
		if err != nil {
			return nil, err
		}
		lag.Lanes = append(lag.Lanes, s)
	}
	if lag.Parked, err = q.laneStatus(ctx, streamLoads, laneConsumer(messages.Parked), messages.Parked); err != nil {
		return nil, err
	}
	if lag.Streams, err = q.streamStatus(ctx); err != nil {
		return nil, err
	}
	for _, s := range lag.Streams {
		if s.Name == streamDead {
			lag.Dead = s.Messages
		}
	}
	return lag, nil
}

// streamStatus is every stream.
func (q *Queue) streamStatus(ctx context.Context) (all []StreamStatus, err error) {
	for _, c := range q.cfg.streamConfigs() {
		var info *jetstream.StreamInfo
		if err := q.retry(ctx, "status of stream "+c.Name, func(ctx context.Context) error {
			s, err := q.stream(ctx, c.Name)
			if err != nil {
				return err
			}
			info, err = s.Info(ctx)
			return err
		}); err != nil {
			return nil, err
		}
		s := StreamStatus{Name: c.Name, Messages: info.State.Msgs, Bytes: info.State.Bytes, MaxBytes: info.Config.MaxBytes}
		if s.Messages > 0 {
			s.First, s.Last = info.State.FirstTime.UTC(), info.State.LastTime.UTC()
		}
		all = append(all, s)
	}
	return all, nil
}
