package console

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
)

// beat is how often a live page is told of changes, at most.
const beat = time.Second

// live tells a page that something has changed, by server-sent events. The page
// then asks for itself anew: what it shows, and who may see it, is decided in one
// place.
func (c *Console) live(w http.ResponseWriter, r *http.Request) {
	if _, ok := c.who(r); !ok {
		http.Error(w, "log in first", http.StatusUnauthorized)
		return
	}
	out := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	if _, err := fmt.Fprint(w, "retry: 2000\n\n"); err != nil || out.Flush() != nil {
		return
	}
	tick := time.NewTicker(beat)
	defer tick.Stop()
	alive := time.NewTicker(15 * time.Second)
	defer alive.Stop()
	changed := c.index.Changed()
	for {
		select {
		case <-changed:
			changed = c.index.Changed() // before the wait: what changes meanwhile is told after it
		case <-alive.C:
		case <-r.Context().Done():
			return
		}
		if _, err := fmt.Fprint(w, "event: changed\ndata: \n\n"); err != nil || out.Flush() != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

// pace is how fast loads ended over the last minutes.
type pace struct {
	index     *queue.ExtractionIndex
	processes func() []messages.Presence

	mu      sync.Mutex
	samples []sample // the latest last
}

type sample struct {
	at                time.Time
	loads, rows, size float64
	// Seconds that processes have spent in each stage; those of processes that
	// went are missing, and a curve never goes below zero.
	decode, encode, put float64
}

const (
	paceEvery = 2 * time.Second
	paceKeep  = 150 // five minutes
)

func newPace(x *queue.ExtractionIndex, processes func() []messages.Presence) *pace {
	return &pace{index: x, processes: processes}
}

func (p *pace) run(ctx context.Context) {
	tick := time.NewTicker(paceEvery)
	defer tick.Stop()
	for {
		n := p.index.Counts().Total()
		now := sample{at: time.Now(), loads: float64(n.Loads), rows: float64(n.Rows), size: float64(n.Bytes)}
		for _, one := range p.processes() {
			now.decode += one.DecodeSeconds
			now.encode += one.EncodeSeconds
			now.put += one.PutSeconds
		}
		p.mu.Lock()
		p.samples = append(p.samples, now)
		p.samples = p.samples[max(0, len(p.samples)-paceKeep):]
		p.mu.Unlock()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Curve is a rate over time, ready to be drawn.
type Curve struct {
	Now, Peak float64
	Points    string // of an SVG polyline, 300 by 60
}

// curve draws the rate of what a sample says.
func (p *pace) curve(of func(sample) float64) Curve {
	p.mu.Lock()
	defer p.mu.Unlock()
	var rates []float64
	var c Curve
	for i := 1; i < len(p.samples); i++ {
		a, b := p.samples[i-1], p.samples[i]
		rate := max((of(b)-of(a))/b.at.Sub(a.at).Seconds(), 0)
		rates = append(rates, rate)
		c.Peak = max(c.Peak, rate)
	}
	if len(rates) == 0 {
		return c
	}
	// The last few together: one sample alone jumps.
	last := rates[max(0, len(rates)-5):]
	for _, r := range last {
		c.Now += r / float64(len(last))
	}
	var b strings.Builder
	for i, r := range rates {
		x := 300 * float64(paceKeep-len(rates)+i) / (paceKeep - 1)
		y := 58 - 56*r/max(c.Peak, 1e-9)
		fmt.Fprintf(&b, "%.1f,%.1f ", x, y)
	}
	c.Points = b.String()
	return c
}
