package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/loadfleet/loadfleet/messages"
)

// headerPast carries the past of a parked load along with it.
const headerPast = "Loadfleet-Past"

// Park takes the load out of its lane: it is stored as a parked load, with its
// past and all that a worker needs, and the delivery is acknowledged. Parked
// loads are delivered on a lane of their own, headers only, so that thousands of
// them cost the others nothing. Killed in between, the load stands on both
// lanes, and is carried out twice.
func (d *LoadDelivery) Park(ctx context.Context, past Past) error {
	if d.Parked {
		return errors.New("park: it is parked already")
	}
	err := d.settle(ctx, "park", answerDone, func(ctx context.Context) error {
		past.Delivered = 0
		body, err := json.Marshal(past.shortened())
		if err != nil {
			return err
		}
		header := original(d.msg.Headers())
		header.Set(headerPast, string(body))
		subject := messages.LoadSubject(&messages.Load{Lane: messages.Parked, Destination: d.Destination, Extraction: d.Extraction, ID: d.ID})
		_, err = d.q.publish(ctx, &nats.Msg{Subject: subject, Header: nats.Header(header), Data: d.Payload})
		return err
	})
	if err == nil {
		d.forget(ctx)
	}
	return err
}

// Fetch fetches the payload of a parked load, which was delivered without it.
// For others it does nothing.
func (d *LoadDelivery) Fetch(ctx context.Context) error {
	if !d.Parked || d.fetched {
		return nil
	}
	m, err := d.q.message(ctx, streamLoads, d.sequence)
	if err != nil {
		return fmt.Errorf("rows of parked load %s: %w", d.ID, err)
	}
	d.Payload, d.fetched = m.Data, true
	return nil
}

// ParkedSince is since when a parked load's destination refuses it; zero for
// one that is held by an operator, and for others.
func (d *LoadDelivery) ParkedSince() time.Time { return d.parkedPast().Parked }

// parkedPast is the past that a parked load brought along.
func (d *LoadDelivery) parkedPast() (past Past) {
	if d.Parked {
		// What a newer program wrote begins anew.
		if json.Unmarshal([]byte(d.msg.Headers().Get(headerPast)), &past) != nil {
			return Past{}
		}
	}
	return past
}

// Parked is the parked loads of a destination.
type Parked struct {
	Destination string    `json:"destination"`
	Loads       int64     `json:"loads"`
	Since       time.Time `json:"since,omitzero"` // since when the last one of them waits
	Why         string    `json:"why"`            // what the destination last answered it
}

// Parked lists the destinations that have parked loads, most loads first.
func (q *Queue) Parked(ctx context.Context) ([]Parked, error) {
	counts := map[string]int64{}
	if err := q.retry(ctx, "count parked loads", func(ctx context.Context) error {
		s, err := q.stream(ctx, streamLoads)
		if err != nil {
			return err
		}
		info, err := s.Info(ctx, jetstream.WithSubjectFilter(messages.LaneSubjects(messages.Parked)))
		if err != nil {
			return err
		}
		clear(counts)
		for subject, n := range info.State.Subjects {
			_, destination, _, _ := loadOrigin(subject)
			counts[destination] += int64(n)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	all := make([]Parked, 0, len(counts))
	for _, destination := range slices.Sorted(maps.Keys(counts)) {
		p := Parked{Destination: destination, Loads: counts[destination]}
		filter := strings.TrimSuffix(messages.LaneSubjects(messages.Parked), ">") + messages.Token(destination) + ".>"
		m, err := q.lastOn(ctx, streamLoads, filter)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil, err
		}
		if m != nil {
			var past Past
			if json.Unmarshal([]byte(m.Header.Get(headerPast)), &past) == nil {
				p.Since, p.Why = past.Parked, past.Why
			}
		}
		all = append(all, p)
	}
	slices.SortStableFunc(all, func(a, b Parked) int { return int(b.Loads - a.Loads) })
	return all, nil
}
