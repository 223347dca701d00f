package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/loadfleet/loadfleet/messages"
)

// Past is what the deliveries of a load before this one left behind. The
// server counts deliveries only: a load that waited for its destination was
// delivered often and may not have failed once.
type Past struct {
	Attempts  []messages.Attempt `json:"attempts,omitempty"` // that failed and count
	Parked    time.Time          `json:"parked,omitzero"`    // since when the destination refuses; zero when it did not last time
	Why       string             `json:"why,omitempty"`      // what it answered last
	Started   int                `json:"started,omitempty"`  // how often the load was begun since Delivered, once that is counted
	Delivered int                `json:"delivered"`          // how often the load had been delivered when this was written
}

// shortened is the past as it is stored.
func (p Past) shortened() Past {
	clip := func(text string) string {
		if len(text) > maxPastText {
			return strings.ToValidUTF8(text[:maxPastText], "")
		}
		return text
	}
	p.Why = clip(p.Why)
	attempts := make([]messages.Attempt, len(p.Attempts))
	for i, a := range p.Attempts {
		a.Error = clip(a.Error)
		attempts[i] = a
	}
	p.Attempts = attempts
	return p
}

// maxPastText is what is kept of an attempt's error, in bytes.
const maxPastText = 512

// Past fetches what the deliveries before this one left; the first delivery
// has none and asks nobody.
func (d *LoadDelivery) Past(ctx context.Context) (Past, error) {
	past := d.parkedPast()
	if d.Attempt <= 1 {
		return past, nil
	}
	m, err := d.q.lastOn(ctx, streamPast, d.pastSubject())
	if errors.Is(err, ErrNotFound) {
		return past, nil
	}
	if err != nil {
		return past, fmt.Errorf("past of load %s: %w", d.ID, err)
	}
	past = Past{}
	if err := json.Unmarshal(m.Data, &past); err != nil {
		return Past{}, nil // written by a program we are not: the load begins anew
	}
	return past, nil
}

// Postpone gives the load back, to be delivered again after delay, to anyone,
// and stores its past first. The past goes when the load ends; a replay begins
// without one.
func (d *LoadDelivery) Postpone(ctx context.Context, delay time.Duration, past Past) error {
	return d.settle(ctx, "postpone", nak(max(delay, releaseDelay)), func(ctx context.Context) error {
		past.Delivered, past.Started = d.Attempt, 0
		return d.remember(ctx, past)
	})
}

// Begin stores that the load is begun once more, before the work: for one that
// may be what kills its workers.
func (d *LoadDelivery) Begin(ctx context.Context, past Past) error {
	return d.remember(ctx, past)
}

func (d *LoadDelivery) remember(ctx context.Context, past Past) error {
	body, err := json.Marshal(past.shortened())
	if err != nil {
		return err
	}
	_, err = d.q.publish(ctx, &nats.Msg{Subject: d.pastSubject(), Data: body})
	return err
}

// forget removes the past of a load that has ended. What is left behind when
// that fails expires.
func (d *LoadDelivery) forget(ctx context.Context) {
	if d.Attempt > 1 {
		ctx, cancel := context.WithTimeout(ctx, d.q.cfg.RequestTimeout)
		defer cancel()
		_ = d.q.purge(ctx, streamPast, d.pastSubject())
	}
}

// pastSubject names this message and no other: sequences begin anew when a
// stream is made anew.
func (d *LoadDelivery) pastSubject() string {
	return fmt.Sprintf("past.%d-%d", d.sequence, d.At.UnixNano())
}
