package queue

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/loadfleet/loadfleet/messages"
)

// TableSchema is the last known columns of a destination's table and their
// revision, for [Queue.PutTableSchema]; nil and 0 when none are known.
func (q *Queue) TableSchema(ctx context.Context, destination, workspace, table string) (*messages.TableSchema, uint64, error) {
	m, err := q.lastOn(ctx, streamSchemas, messages.TableSchemaSubject(destination, workspace, table))
	if errors.Is(err, ErrNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("columns of table %q: %w", table, err)
	}
	known, err := messages.ParseTableSchema(m.Data)
	if err != nil {
		return nil, 0, fmt.Errorf("columns of table %q: %w", table, err)
	}
	return known, m.Sequence, nil
}

// PutTableSchema stores a table's columns over the revision last read; 0 says
// that none were known. It fails with [ErrRevision] when someone else was faster.
func (q *Queue) PutTableSchema(ctx context.Context, destination, workspace, table string, known *messages.TableSchema, last uint64) error {
	body, err := messages.EncodeTableSchema(known)
	if err != nil {
		return fmt.Errorf("columns of table %q: %w", table, err)
	}
	m := &nats.Msg{Subject: messages.TableSchemaSubject(destination, workspace, table), Header: nats.Header{}, Data: body}
	m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, fmt.Sprint(last))
	if _, err = q.publish(ctx, m); outrun(err) {
		return fmt.Errorf("columns of table %q: %w", table, ErrRevision)
	}
	return err
}
