package dispatcher

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
)

// sendSidecars dispatches the loads that describe the table, behind all others.
// They hang on the table and the pinned plan alone: while neither changes they
// are the same bytes, and stay.
func (d *Dispatcher) sendSidecars(ctx context.Context, out *queue.Dispatch, p *plan, e *extraction, ps *partitions, counts *messages.Plan) error {
	if p.Table == nil {
		return nil
	}
	s := destination.Settings{Bucket: p.Bucket, FileFormat: p.File.Format, Separator: p.File.Separator}
	table, err := ps.naming.TableOf(ps.names, &s, p.Folder, p.Table, p.File.Without)
	if err != nil {
		return fmt.Errorf("sidecar: %w", err)
	}
	description, err := table.JSON()
	if err != nil {
		return fmt.Errorf("sidecar: %w", err)
	}
	if err := d.sendSidecar(ctx, out, p, e, ps, "schema", "application/json", description, counts); err != nil {
		return err
	}
	for _, dialect := range destination.Dialects() {
		text, err := table.DDL(dialect)
		if err != nil {
			return fmt.Errorf("sidecar: %w", err)
		}
		if err := d.sendSidecar(ctx, out, p, e, ps, string(dialect)+".sql", "text/plain; charset=utf-8", []byte(text), counts); err != nil {
			return err
		}
	}
	return nil
}

func (d *Dispatcher) sendSidecar(ctx context.Context, out *queue.Dispatch, p *plan, e *extraction, ps *partitions, file, mediaType string, body []byte, counts *messages.Plan) error {
	key, err := ps.naming.SidecarKey(ps.names, file)
	if err != nil {
		return fmt.Errorf("sidecar: %w", err)
	}
	l := p.loadAt(e, key)
	sum := sha256.Sum256(body)
	l.Sidecar, l.Inline = mediaType, &messages.RowsRef{Bytes: int64(len(body)), SHA256: hex.EncodeToString(sum[:])}
	stands, err := out.Pass(ctx, l)
	if err == nil && !stands {
		err = out.Add(ctx, l, body)
	}
	if err != nil {
		return fmt.Errorf("sidecar %s: %w", key, err)
	}
	counts.Loads++
	return nil
}
