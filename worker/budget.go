package worker

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/semaphore"

	"github.com/loadfleet/loadfleet/messages"
)

// budget is the memory that loads in work may have together: rows as columns,
// the file until it is spilled, and what a decoder and an encoder hold of it
// meanwhile. It is reserved before a load is pulled, and more of it before its
// rows are read.
type budget struct {
	bytes *semaphore.Weighted
	used  atomic.Int64
	all   int64
	spool int64
}

const (
	// pullReserve is what must be free before a load is pulled at all.
	pullReserve = 1 << 20
	// settleReserve is for a load that only waits for the queue to know how it
	// ended, beside its message: the stack of its goroutine, most of all.
	settleReserve = 96 << 10
	// sliceNeed is for one slice of a large load: as it came, as columns, and on
	// its way into the file. A dispatcher cuts slices of 2 MiB.
	sliceNeed = 12 << 20
	// inlineFactor is how much a load whose rows are inside needs for each byte
	// of them, unpacked: as they came, as columns, and as a file that may be larger.
	inlineFactor = 6
)

// newBudget divides what a process may use: half is for loads, the rest for the
// program, its connections, and what the garbage collector has not taken back.
func newBudget(process, spool int64) *budget {
	all := max(process/2, pullReserve)
	return &budget{bytes: semaphore.NewWeighted(all), all: all, spool: spool}
}

// need is what a load needs beyond pullReserve; more than there is becomes all.
func (b *budget) need(l *messages.Load, payload int) int64 {
	n := int64(inlineFactor * payload)
	if l != nil {
		switch {
		case l.Inline != nil:
			n = inlineFactor * max(l.Inline.Bytes, l.Inline.Unpacked)
		case len(l.Slices) > 0:
			n = sliceNeed + b.spool
		}
	}
	return min(max(n-pullReserve, 0), b.all-pullReserve)
}

// settling is what is held for a load that waits to be settled: for its message,
// also for one whose payload was fetched late, and for what waits.
func settling(l *messages.Load, payload int) int64 {
	n := int64(payload)
	if l != nil && l.Inline != nil {
		n = max(n, l.Inline.Bytes)
	}
	return min(settleReserve+n, pullReserve)
}

// pull reserves what a pull needs.
func (b *budget) pull(ctx context.Context) error {
	err := b.bytes.Acquire(ctx, pullReserve)
	if err == nil {
		b.used.Add(pullReserve)
	}
	return err
}

// grow reserves the rest for a load. Without patience it may fail at once:
// smaller loads are to go on meanwhile.
func (b *budget) grow(ctx context.Context, n int64, patient bool) bool {
	ok := b.bytes.TryAcquire(n)
	if !ok && patient {
		ok = b.bytes.Acquire(ctx, n) == nil
	}
	if ok {
		b.used.Add(n)
	}
	return ok
}

// release gives back of what a load has.
func (b *budget) release(n int64) {
	b.used.Add(-n)
	b.bytes.Release(n)
}
