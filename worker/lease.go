package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/storage"
)

// errLeaseOld says that too much of a key's lease is over to look at the object
// once more.
var errLeaseOld = errors.New("the lease on the object's key is too old to decide anew")

// guarded places the load's object. Where the store does not judge conditions,
// it does so under a lease on the key, which is given back unless a write may
// still be under way: then nobody writes there until the store would refuse it.
func (w *Worker) guarded(ctx context.Context, d *queue.LoadDelivery, p *place, do func(context.Context) error) error {
	if !p.store.Unconditional() {
		return do(ctx)
	}
	lease, err := w.queue.LeaseKey(ctx, d.Load, w.cfg.KeyLease)
	if err != nil {
		return err
	}
	p.leased = lease.Since
	var seen storage.Witness
	err = do(storage.WithWitness(ctx, &seen))
	if seen.Lost() {
		return err
	}
	releasing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if failed := lease.Release(releasing); failed != nil {
		w.log.Warn("the lease on a key runs out by itself", zap.String("key", d.Load.Key), zap.Error(failed))
	}
	return err
}

// fresh is an error when a decision must not be based on another look.
func (p *place) fresh() error {
	if !p.leased.IsZero() && time.Since(p.leased) > queue.KeyLeaseLook {
		return fmt.Errorf("%w (since %s)", errLeaseOld, p.leased.UTC().Format(time.RFC3339))
	}
	return nil
}
