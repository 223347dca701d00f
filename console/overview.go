package console

import (
	"slices"
	"time"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
)

// overview answers the first questions: is everything loaded, what is stuck,
// why, and where to press.
type overview struct {
	Status      *queue.Status
	Open        []*queue.ExtractionState // not ended, the oldest first
	Failed      []*queue.ExtractionState // lately
	Dead        int
	Parked      int64
	Waiting     uint64
	Late        int
	Rows, Loads Curve
	Bytes       Curve
	Decode      Curve
	Encode, Put Curve
	Processes   []messages.Presence
	Nearly      []queue.StreamStatus // full
}

func (c *Console) overview(r *request) (any, error) {
	r.name = "overview"
	status, err := c.cfg.Queue.Status(r.Context())
	if err != nil {
		return nil, err
	}
	o := overview{Status: status}
	for _, s := range c.index.All() {
		switch {
		case !ended(s):
			o.Open = append(o.Open, s)
			if late(s) {
				o.Late++
			}
		case s.State == messages.EventFailed && time.Since(s.Ended) < 24*time.Hour:
			o.Failed = append(o.Failed, s)
		}
	}
	slices.Reverse(o.Open)
	o.Open, o.Failed = o.Open[:min(len(o.Open), 20)], o.Failed[:min(len(o.Failed), 10)]
	for _, d := range status.DeadLetters {
		o.Dead += d.Count
	}
	for _, p := range status.Parked {
		o.Parked += p.Loads
	}
	for _, l := range status.Lanes {
		o.Waiting += l.Pending
	}
	for _, s := range status.Streams {
		if s.Full() >= queue.NearlyFull {
			o.Nearly = append(o.Nearly, s)
		}
	}
	o.Rows = c.pace.curve(func(s sample) float64 { return s.rows })
	o.Loads = c.pace.curve(func(s sample) float64 { return s.loads })
	o.Bytes = c.pace.curve(func(s sample) float64 { return s.size })
	o.Decode = c.pace.curve(func(s sample) float64 { return s.decode })
	o.Encode = c.pace.curve(func(s sample) float64 { return s.encode })
	o.Put = c.pace.curve(func(s sample) float64 { return s.put })
	o.Processes = c.processes()
	return o, nil
}

// ended reports whether nothing more is to be expected of an extraction.
func ended(s *queue.ExtractionState) bool { return s.Over() }

func late(s *queue.ExtractionState) bool { return s.Late(time.Now(), queue.LateAfter) }
