package worker

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/queue"
)

// How long completion waits between two counts of an extraction: at first, and
// at most. A count costs three small requests, whatever the extraction's size;
// it is repeated because a replica may answer that lags behind.
const (
	firstRecount = 250 * time.Millisecond
	lastRecount  = 16 * time.Second
)

// completionSweep is how often a worker looks for extractions that others left
// uncompleted. What moved is read, so that a quiet fleet reads nothing.
const completionSweep = time.Minute

// completion says, beside the loads, which extractions are completed.
type completion struct {
	queue *queue.Queue
	log   *zap.Logger

	mu    sync.Mutex
	open  map[queue.ExtractionName]*recount
	ended chan struct{} // holds a value when a load has ended
}

// recount is when an extraction is counted again, and how long after that.
type recount struct {
	due   time.Time
	pause time.Duration
}

func newCompletion(q *queue.Queue, log *zap.Logger) *completion {
	return &completion{queue: q, log: log, open: map[queue.ExtractionName]*recount{}, ended: make(chan struct{}, 1)}
}

// loadEnded notes that a load of the extraction has ended.
func (c *completion) loadEnded(workspace, extraction string) {
	c.note(queue.ExtractionName{Workspace: workspace, Extraction: extraction})
	select {
	case c.ended <- struct{}{}:
	default:
	}
}

func (c *completion) note(e queue.ExtractionName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.open[e]; r != nil {
		r.pause = firstRecount
		if soon := time.Now().Add(firstRecount); r.due.After(soon) {
			r.due = soon
		}
		return
	}
	c.open[e] = &recount{due: time.Now(), pause: firstRecount}
}

// run counts until ctx ends, and once more then. It begins with what a worker
// that was killed may have left uncounted, and looks for more from time to
// time.
func (c *completion) run(ctx context.Context) {
	seen := c.sweep(ctx, 0)
	sweep := time.NewTimer(completionSweep)
	defer sweep.Stop()
	for {
		next := time.NewTimer(c.count(ctx, time.Now()))
		select {
		case <-ctx.Done():
			next.Stop()
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
			defer cancel()
			c.count(last, time.Now().Add(lastRecount))
			return
		case <-sweep.C:
			seen = c.sweep(ctx, seen)
			// Not all workers at once: mostly the first one completes them all.
			sweep.Reset(completionSweep/2 + rand.N(completionSweep))
		case <-c.ended:
			_ = wait(ctx, firstRecount/10)
		case <-next.C:
		}
		next.Stop()
	}
}

// sweep notes every extraction that moved after a sequence of the events and
// is not completed. It gives the sequence from which to look next time.
func (c *completion) sweep(ctx context.Context, after uint64) uint64 {
	open, next, err := c.queue.Uncompleted(ctx, after)
	if err != nil {
		if ctx.Err() == nil {
			c.log.Warn("completion", zap.Error(err))
		}
		return after
	}
	for _, e := range open {
		c.note(e)
	}
	return next
}

// count counts what is due and gives the time until more is. One that stays
// uncompleted for long is left to whoever ends its next load, or sweeps.
func (c *completion) count(ctx context.Context, now time.Time) time.Duration {
	c.mu.Lock()
	var due []queue.ExtractionName
	for e, r := range c.open {
		if !r.due.After(now) {
			due = append(due, e)
			r.due, r.pause = time.Now().Add(r.pause), 2*r.pause
		}
	}
	c.mu.Unlock()
	for _, e := range due {
		done, err := c.queue.Complete(ctx, e.Workspace, e.Extraction)
		if err != nil {
			if ctx.Err() == nil {
				c.log.Warn("completion", zap.String("extraction", e.Extraction), zap.Error(err))
			}
			continue
		}
		c.mu.Lock()
		if r := c.open[e]; r != nil && (done || r.pause > 2*lastRecount) {
			delete(c.open, e)
		}
		c.mu.Unlock()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	next := time.Hour
	for _, r := range c.open {
		next = min(next, max(time.Until(r.due), firstRecount/10))
	}
	return next
}
