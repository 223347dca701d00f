package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
)

// drifted is the columns of an extraction's files after they were compared with
// the table's.
type drifted struct {
	files   *encoding.Schema // the files'; nil when there are neither rows nor columns
	table   *encoding.Schema // all that the table has had, with this extraction's
	ignored []string         // columns of the extraction that no file has
	loose   bool             // columns beyond the schema are passed over
}

// drift does as the destination's schema_drift says. What is added to a table
// is remembered once the plan is pinned; see remember.
func (d *Dispatcher) drift(ctx context.Context, e *extraction, s *destination.Settings, schema *encoding.Schema) (drifted, error) {
	got := drifted{files: schema, table: schema}
	if schema == nil {
		return got, nil
	}
	policy := s.SchemaDrift
	if policy != destination.FreezeSchema && policy != destination.RejectDrift && !s.SchemaSidecar {
		return got, nil // the table's columns decide nothing
	}
	known, _, err := d.queue.TableSchema(ctx, e.commit.Destination, e.Workspace, e.commit.Filename)
	if err != nil || known == nil {
		return got, err
	}
	differs, merged, err := known.Schema.Compare(schema)
	if err != nil {
		return got, err
	}
	switch policy {
	case destination.FreezeSchema:
		got = drifted{files: known.Schema, table: known.Schema, loose: true}
		for _, c := range differs.Added {
			got.ignored = append(got.ignored, c.Name)
		}
	case destination.RejectDrift:
		if len(differs.Added)+len(differs.Changed) > 0 {
			return got, refusedDrift(e.commit, known.Schema, differs)
		}
		got = drifted{files: known.Schema, table: known.Schema}
	default:
		got.table = merged
	}
	return got, nil
}

func refusedDrift(c *messages.Commit, table *encoding.Schema, d encoding.Drift) error {
	f := messages.Failure{Reason: messages.ReasonDrift, Remedy: messages.ReasonDrift.Remedy()}
	var said []string
	for _, column := range d.Added {
		said = append(said, fmt.Sprintf("column %q (%s) is new", column.Name, column.Type))
		f.Column = column.Name
	}
	for _, column := range d.Changed {
		i, _ := table.Index(column.Name)
		said = append(said, fmt.Sprintf("column %q is %s, and the table's is %s", column.Name, column.Type, table.Column(i).Type))
		f.Column = column.Name
	}
	if len(said) > 1 {
		f.Column = ""
	}
	f.Message = fmt.Sprintf("table %q of destination %s takes no other columns: %s", c.Filename, c.Destination, strings.Join(said, "; "))
	return &rejection{f}
}

// remembers is how often a table's columns are compared anew because another
// extraction changed them meanwhile.
const remembers = 20

// remember adds the columns of a pinned plan to the table's, if they are not
// there and the table has room. Doing it again changes nothing.
func (d *Dispatcher) remember(ctx context.Context, e *extraction, p *plan) error {
	if p.Schema == nil {
		return nil
	}
	for range remembers {
		known, revision, err := d.queue.TableSchema(ctx, e.commit.Destination, e.Workspace, e.commit.Filename)
		if err != nil {
			return err
		}
		merged := p.Schema
		if known != nil {
			var differs encoding.Drift
			if differs, merged, err = known.Schema.Compare(p.Schema); err != nil {
				return err
			}
			if lost := known.Schema.Len() + len(differs.Added) - merged.Len(); lost > 0 {
				d.log.Warn("the table has had as many columns as are remembered: the others load, and its sidecars lack them",
					zap.String("extraction", e.Extraction), zap.String("destination", e.commit.Destination),
					zap.String("table", e.commit.Filename), zap.Int("columns", merged.Len()), zap.Int("others", lost))
			}
			if merged.Equal(known.Schema) {
				return nil
			}
		}
		err = d.queue.PutTableSchema(ctx, e.commit.Destination, e.Workspace, e.commit.Filename,
			&messages.TableSchema{Schema: merged, Extraction: e.Extraction}, revision)
		if !errors.Is(err, queue.ErrRevision) {
			return err
		}
	}
	return fmt.Errorf("remember the columns of table %q: %w", e.commit.Filename, queue.ErrRevision)
}

// notes tell the extractor what the plan does otherwise than it might expect.
func (p *plan) notes() []string {
	if len(p.Ignored) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("left out, since the destination freezes the table's columns (schema_drift: freeze): %s", strings.Join(p.Ignored, ", "))}
}
