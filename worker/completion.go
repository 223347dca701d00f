package worker

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
)

// completionPause is the least time between two counts of an extraction's
// outcomes: a count costs as much as the extraction has loads, so that one
// after each load would cost the square of that.
const completionPause = 250 * time.Millisecond

// completion says, beside the loads, which extractions are completed.
type completion struct {
	queue *queue.Queue
	log   *zap.Logger

	mu    sync.Mutex
	open  map[extractionName]bool
	ended chan struct{} // holds a value while open is not empty
}

type extractionName struct{ workspace, extraction string }

func newCompletion(q *queue.Queue, log *zap.Logger) *completion {
	return &completion{queue: q, log: log, open: map[extractionName]bool{}, ended: make(chan struct{}, 1)}
}

// loadEnded notes that a load of the extraction has ended.
func (c *completion) loadEnded(workspace, extraction string) {
	c.mu.Lock()
	c.open[extractionName{workspace, extraction}] = true
	c.mu.Unlock()
	select {
	case c.ended <- struct{}{}:
	default:
	}
}

// run counts until ctx ends, and once more then. It begins with what a worker
// that was killed may have left uncounted.
func (c *completion) run(ctx context.Context) {
	if err := c.resume(ctx); err != nil && ctx.Err() == nil {
		c.log.Warn("completion", zap.Error(err))
	}
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
			defer cancel()
			c.count(last)
			return
		case <-c.ended:
			c.count(ctx)
		}
		_ = wait(ctx, completionPause)
	}
}

// resume notes every extraction that was dispatched and is not completed.
func (c *completion) resume(ctx context.Context) error {
	states, err := c.queue.Extractions(ctx, "")
	if err != nil {
		return fmt.Errorf("look for uncounted extractions: %w", err)
	}
	for _, s := range states {
		if s.State == messages.EventDispatched {
			c.loadEnded(s.Workspace, s.Extraction)
		}
	}
	return nil
}

// count looks at every extraction of which a load has ended since the last count.
func (c *completion) count(ctx context.Context) {
	c.mu.Lock()
	open := c.open
	c.open = map[extractionName]bool{}
	c.mu.Unlock()
	for e := range open {
		_, err := c.queue.Complete(ctx, e.workspace, e.extraction)
		if err == nil {
			continue
		}
		if ctx.Err() == nil {
			c.log.Warn("completion", zap.String("extraction", e.extraction), zap.Error(err))
		}
		c.loadEnded(e.workspace, e.extraction) // for the next count
	}
}
