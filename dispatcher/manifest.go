package dispatcher

import (
	"context"
	"fmt"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
)

// sendManifests dispatches the loads that list what the others made, behind
// them. They wait for the others on the queue, not here.
func (d *Dispatcher) sendManifests(ctx context.Context, out *queue.Dispatch, p *plan, e *extraction, ps *partitions, counts *messages.Plan) error {
	others := counts.Loads
	for _, form := range p.Manifests {
		key, err := ps.naming.ManifestKey(ps.names, e.Extraction, destination.ManifestForm(form))
		if err != nil {
			return fmt.Errorf("manifest: %w", err)
		}
		l := p.loadAt(e, key)
		l.Manifest = &messages.Manifest{Form: form, Loads: others}
		stands, err := out.Pass(ctx, l)
		if err == nil && !stands {
			err = out.Add(ctx, l, nil)
		}
		if err != nil {
			return fmt.Errorf("manifest %s: %w", key, err)
		}
		counts.Loads++
	}
	return nil
}
