package dispatcher

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
)

// plan is the extraction's pinned plan and its hash.
type plan struct {
	messages.PinnedPlan
	hash string // of the plan as it is pinned
}

// pinPlan makes the plan, or gets back the one that an earlier try pinned.
func (d *Dispatcher) pinPlan(ctx context.Context, e *extraction) (*plan, error) {
	pinned, err := d.queue.Plan(ctx, e.Workspace, e.Extraction)
	if errors.Is(err, queue.ErrNoPlan) {
		var made *messages.PinnedPlan
		if made, err = d.makePlan(ctx, e); err != nil {
			return nil, err
		}
		body, merr := messages.EncodePlan(made)
		if merr != nil {
			return nil, fmt.Errorf("encode plan: %w", merr)
		}
		pinned, err = d.queue.PinPlan(ctx, e.Workspace, e.Extraction, body)
	}
	if err != nil {
		return nil, fmt.Errorf("pin plan: %w", err)
	}
	read, err := messages.ParsePlan(pinned)
	if err != nil {
		return nil, fmt.Errorf("pinned plan: %w", err)
	}
	sum := sha256.Sum256(pinned)
	return &plan{PinnedPlan: *read, hash: hex.EncodeToString(sum[:16])}, nil
}

func (d *Dispatcher) makePlan(ctx context.Context, e *extraction) (*messages.PinnedPlan, error) {
	s, err := d.settings(ctx, e)
	if err != nil {
		return nil, err
	}
	schema := e.commit.Schema
	if schema == nil {
		if schema, err = d.infer(ctx, e); err != nil {
			return nil, err
		}
	}
	columns, err := d.drift(ctx, e, s, schema)
	if err != nil {
		return nil, err
	}
	schema = columns.files
	if schema != nil {
		if err := checkColumns(e.commit, schema, s.LoadByAccount); err != nil {
			return nil, err
		}
	}
	format, separator, compression := s.File()
	if schema != nil {
		if err := encoding.CheckSchema(format, schema); err != nil {
			return nil, &rejection{messages.Failure{
				Reason: messages.ReasonInvalidCommit, Message: err.Error(), Remedy: "declare columns that the format can hold",
			}}
		}
	}
	accounts, err := d.knownAccounts(ctx, e, s)
	if err != nil {
		return nil, err
	}
	var manifests []messages.ManifestForm
	for _, form := range s.ManifestForms {
		manifests = append(manifests, messages.ManifestForm(form))
	}
	var table *encoding.Schema
	if s.SchemaSidecar {
		table = columns.table
	}
	without, err := leftOut(s, schema, e.commit)
	if err != nil {
		return nil, err
	}
	at, err := d.clock(ctx, e, s)
	if err != nil {
		return nil, err
	}
	return &messages.PinnedPlan{
		Version: messages.Version, Bucket: s.Bucket, Folder: s.Folder, FileName: s.FileName,
		File: messages.FileSpec{Format: format, Separator: separator, Compression: compression, Without: without},
		By:   string(s.PartitionBy), Account: s.LoadByAccount, Undated: string(s.UndatedRows),
		Empty: string(s.EmptyPartition), PartialMonth: string(s.PartialMonth), Accounts: accounts, Manifests: manifests,
		Table: table, Ignored: columns.ignored, Loose: columns.loose,
		Schema: schema, Time: at,
	}, nil
}

// clock is "today" and the time of the load: when the queue stored the commit. Where
// keys tell loads apart by the second, each extraction has one of its own, or the
// files of one would replace those of another that was committed within the same.
func (d *Dispatcher) clock(ctx context.Context, e *extraction, s *destination.Settings) (time.Time, error) {
	at := e.at.UTC()
	n, err := s.Naming()
	if err != nil || !n.BySecond() {
		return at, err
	}
	names := namesOf(e.commit)
	names.Load = at
	_, glob, err := n.TableFolder(names)
	if err != nil {
		return at, nil //nolint:nilerr // no row will have a key either, and that error has the row
	}
	return d.queue.TakeSecond(ctx, s.Bucket, glob, e.Workspace, e.Extraction, at)
}

// settings finds the destination, refuses it to a workspace that may not use it,
// and holds the extraction while no loads may flow there.
func (d *Dispatcher) settings(ctx context.Context, e *extraction) (*destination.Settings, error) {
	id := e.commit.Destination
	stored, err := d.queue.Destinations().Get(ctx, id)
	if errors.Is(err, queue.ErrNotFound) {
		return nil, unknownDestination(id)
	}
	if err != nil {
		return nil, fmt.Errorf("destination %s: %w", id, err)
	}
	s, err := destination.Describe(stored.Document)
	if err != nil {
		return nil, fmt.Errorf("destination %s: %w", id, err)
	}
	if !s.Admits(e.Workspace) {
		return nil, unknownDestination(id)
	}
	switch {
	case s.Paused:
		return nil, &heldError{destination: id, why: "is paused"}
	case s.NeedsApproval() && !s.Approved:
		return nil, &heldError{destination: id, why: "waits for an operator's approval"}
	}
	return s, nil
}

// knownAccounts is the accounts of the table's objects on record, when the
// extraction covers all accounts and says not which: theirs may have become
// empty. They are pinned, since a later look could find others.
func (d *Dispatcher) knownAccounts(ctx context.Context, e *extraction, s *destination.Settings) ([]string, error) {
	covers := e.commit.Covers
	if covers == nil || covers.Accounts != nil || !s.LoadByAccount || s.EmptyPartition == destination.KeepEmpty {
		return nil, nil
	}
	known := map[string]bool{}
	for o, err := range d.queue.Objects().All(ctx, s.ID) {
		if err != nil {
			return nil, fmt.Errorf("accounts of destination %s: %w", s.ID, err)
		}
		if o.Workspace == e.Workspace && o.Table == e.commit.Filename && o.Bucket == s.Bucket && o.Account != "" && o.Result != messages.Deleted {
			known[o.Account] = true
		}
	}
	if len(known) > messages.MaxCoveredAccounts {
		return nil, &rejection{messages.Failure{
			Reason:  messages.ReasonInvalidCommit,
			Message: fmt.Sprintf("covers names no accounts, and the table has objects of %d: at most %d can be looked at for rows that are gone", len(known), messages.MaxCoveredAccounts),
			Remedy:  "name the accounts in covers, with several extractions",
		}}
	}
	return slices.Sorted(maps.Keys(known)), nil
}

// leftOut lists the columns that the files leave out to readers of their folders.
// The date column stays where the load dates rows: its values are not the key's.
func leftOut(s *destination.Settings, schema *encoding.Schema, c *messages.Commit) ([]string, error) {
	if s.PartitionColumns != destination.DropColumns || schema == nil {
		return nil, nil
	}
	date, account := c.DateColumn, ""
	if s.UndatedRows == destination.DateByLoad {
		date = ""
	}
	if s.LoadByAccount {
		account = c.AccountColumn
	}
	columns, err := destination.PartitionColumnsIn(s.Folder, schema, date, account)
	if err != nil {
		return nil, fmt.Errorf("partition columns: %w", err)
	}
	return columns, nil
}

// naming compiles the plan's templates.
func (p *plan) naming() (*destination.Naming, error) {
	s := destination.Settings{
		Folder: p.Folder, FileName: p.FileName, FileFormat: p.File.Format,
		PartitionBy: destination.PartitionBy(p.By), LoadByAccount: p.Account,
	}
	return s.Naming()
}

// checkColumns refuses a commit whose schema has not what its partitions need.
func checkColumns(c *messages.Commit, s *encoding.Schema, byAccount bool) error {
	if byAccount && c.AccountColumn == "" {
		return &rejection{messages.Failure{
			Reason:  messages.ReasonInvalidCommit,
			Message: fmt.Sprintf("destination %s loads by account, and the commit names no account_column", c.Destination),
			Remedy:  "name the column that holds the account in account_column",
		}}
	}
	for _, need := range []struct{ field, column string }{{"date_column", c.DateColumn}, {"account_column", c.AccountColumn}} {
		if need.column == "" {
			continue
		}
		i, ok := s.Index(need.column)
		if !ok {
			return &rejection{messages.Failure{
				Reason: messages.ReasonInvalidCommit, Column: need.column,
				Message: fmt.Sprintf("%s is %q, and the schema has no such column", need.field, need.column),
				Remedy:  "name a column of the schema",
			}}
		}
		kind := s.Column(i).Type.Kind
		switch {
		case need.field == "date_column" && kind != encoding.Date && kind != encoding.Timestamp:
			return &rejection{messages.Failure{
				Reason: messages.ReasonInvalidCommit, Column: need.column,
				Message: fmt.Sprintf("date_column %q is of type %s", need.column, kind),
				Remedy:  "declare it as date or timestamp in the schema: a value that is none is then named",
			}}
		case need.field == "account_column" && kind != encoding.String && kind != encoding.Int64:
			return &rejection{messages.Failure{
				Reason: messages.ReasonInvalidCommit, Column: need.column,
				Message: fmt.Sprintf("account_column %q is of type %s", need.column, kind),
				Remedy:  "declare it as string or int64 in the schema",
			}}
		}
	}
	return nil
}
