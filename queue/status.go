package queue

import (
	"cmp"
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/loadfleet/loadfleet/messages"
)

// Status is what stands on the queue. Its parts are asked for one after the
// other: under load they may differ by what moved meanwhile.
type Status struct {
	Streams []StreamStatus `json:"streams"`
	Commits LaneStatus     `json:"commits"` // that wait for a dispatcher
	Lanes   []LaneStatus   `json:"lanes"`
	// Loads whose destinations refuse them: altogether, and by destination.
	ParkedLane LaneStatus `json:"parked_lane"`
	Parked     []Parked   `json:"parked"`
	// Stuck is how many loads stand on the queue that no consumer knows of, as
	// several looks in a row found it: 0, or something is wrong. One look alone
	// would count what a server of a cluster has acknowledged and not yet taken
	// off its stream.
	Stuck       int64             `json:"stuck"`
	DeadLetters []DeadLetterCount `json:"dead_letters"`
}

// StreamStatus is one stream.
type StreamStatus struct {
	Name     string    `json:"name"`
	Messages uint64    `json:"messages"`
	Bytes    uint64    `json:"bytes"`
	MaxBytes int64     `json:"max_bytes"`      // -1 when unlimited
	First    time.Time `json:"first,omitzero"` // when the oldest message was stored; zero when empty
	Last     time.Time `json:"last,omitzero"`
}

// Full is the share of its limit that the stream fills, 0 when it has none.
func (s StreamStatus) Full() float64 {
	if s.MaxBytes <= 0 {
		return 0
	}
	return float64(s.Bytes) / float64(s.MaxBytes)
}

// LaneStatus is one durable consumer.
type LaneStatus struct {
	Lane     messages.Lane `json:"lane,omitempty"` // empty for commits
	Pending  uint64        `json:"pending"`        // not delivered yet
	InFlight int           `json:"in_flight"`      // delivered, or delayed, and not settled
	Again    int           `json:"again"`          // of these, delivered more than once
	Waiting  int           `json:"open_pulls"`     // open pulls of idle processes
}

// DeadLetterCount counts dead letters that have a destination and a reason in
// common.
type DeadLetterCount struct {
	Destination string          `json:"destination"`
	Reason      messages.Reason `json:"reason"`
	Count       int             `json:"count"`
}

func (c DeadLetterCount) compare(o DeadLetterCount) int {
	return cmp.Or(cmp.Compare(o.Count, c.Count), cmp.Compare(c.Destination, o.Destination), cmp.Compare(c.Reason, o.Reason))
}

// Status looks at every stream and consumer.
func (q *Queue) Status(ctx context.Context) (*Status, error) {
	status := &Status{}
	var err error
	if status.Streams, err = q.streamStatus(ctx); err != nil {
		return nil, err
	}
	if status.Commits, err = q.laneStatus(ctx, streamCommits, consumerDispatcher, ""); err != nil {
		return nil, err
	}
	for look := 0; ; look++ {
		if err := q.lanes(ctx, status); err != nil {
			return nil, err
		}
		if status.Stuck == 0 || look == stuckLooks {
			break
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(stuckPause << look):
		}
	}
	if status.Parked, err = q.Parked(ctx); err != nil {
		return nil, err
	}
	if status.DeadLetters, err = q.DeadLetterCounts(ctx); err != nil {
		return nil, err
	}
	return status, nil
}

// How often more, and after which first pause, loads are looked at that seem to
// be stuck: for 1.5 seconds.
const (
	stuckLooks = 4
	stuckPause = 100 * time.Millisecond
)

// lanes looks at what is on the lanes, and compares it with the stream.
func (q *Queue) lanes(ctx context.Context, status *Status) error {
	before, err := q.loadsStanding(ctx)
	if err != nil {
		return err
	}
	var known int64
	status.Lanes = nil
	for _, lane := range messages.Lanes() {
		s, err := q.laneStatus(ctx, streamLoads, laneConsumer(lane), lane)
		if err != nil {
			return err
		}
		known += int64(s.Pending) + int64(s.InFlight)
		status.Lanes = append(status.Lanes, s)
	}
	if status.ParkedLane, err = q.laneStatus(ctx, streamLoads, laneConsumer(messages.Parked), messages.Parked); err != nil {
		return err
	}
	known += int64(status.ParkedLane.Pending) + int64(status.ParkedLane.InFlight)
	after, err := q.loadsStanding(ctx)
	if err != nil {
		return err
	}
	// Loads that ended meanwhile are missing after, new ones were before.
	status.Stuck = max(min(before, after)-known, 0)
	return nil
}

// loadsStanding is how many loads, markers excluded, are on their stream.
func (q *Queue) loadsStanding(ctx context.Context) (n int64, err error) {
	err = q.retry(ctx, "count loads", func(ctx context.Context) error {
		s, err := q.stream(ctx, streamLoads)
		if err != nil {
			return err
		}
		info, err := s.Info(ctx, jetstream.WithSubjectFilter("dispatched.>"))
		if err != nil {
			return err
		}
		n = int64(info.State.Msgs)
		for _, markers := range info.State.Subjects {
			n -= int64(markers)
		}
		return nil
	})
	return n, err
}

func (q *Queue) laneStatus(ctx context.Context, stream, consumer string, lane messages.Lane) (LaneStatus, error) {
	s := LaneStatus{Lane: lane}
	err := q.retry(ctx, "status of consumer "+consumer, func(ctx context.Context) error {
		c, err := q.js.Consumer(ctx, stream, consumer)
		if err != nil {
			return err
		}
		info := c.CachedInfo() // just fetched
		s.Pending, s.InFlight, s.Again, s.Waiting = info.NumPending, info.NumAckPending, info.NumRedelivered, info.NumWaiting
		return nil
	})
	return s, err
}
