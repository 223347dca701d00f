package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/queue"
)

func (p *program) destinationApply() *cobra.Command {
	var file string
	var yes bool
	c := &cobra.Command{
		Use:   "apply -f FILE",
		Short: "Create or change a destination from its YAML or JSON document",
		Long: `Apply checks the document as a whole and reports every mistake with what to
write instead. It is safe to repeat. A change that would leave objects behind
under keys that loads no longer touch (folder, file name, format, bucket) is
refused without --yes.`,
		Example: "  loadfleet destination apply -f acme.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			doc, err := p.read(file)
			if err != nil {
				return usage(err)
			}
			s, err := destination.Parse(doc, destination.OSResolver())
			if err != nil {
				return usage(err)
			}
			return p.atDesk(cmd.Context(), func(d *desk) error { return p.apply(cmd.Context(), d, s, yes) })
		},
	}
	c.Flags().StringVarP(&file, "file", "f", "", "the document; - for standard input (required)")
	c.Flags().BoolVar(&yes, "yes", false, "apply also what leaves objects behind, or over a secret that does not open")
	if err := c.MarkFlagRequired("file"); err != nil {
		panic(err) // the flag is defined above
	}
	return c
}

func (p *program) read(file string) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(p.in)
	}
	return os.ReadFile(file)
}

// apply stores a destination and says what it changed.
func (p *program) apply(ctx context.Context, d *desk, s *destination.Settings, yes bool) error {
	old, revision, err := d.before(ctx, s.ID, yes)
	if err != nil {
		return err
	}
	result := struct {
		ID       string                `json:"id"`
		Revision uint64                `json:"revision"`
		Created  bool                  `json:"created"`
		Changes  []destination.Change  `json:"changes"`
		Warnings []destination.Problem `json:"warnings"`
		Approval bool                  `json:"needs_approval"`
	}{ID: s.ID, Revision: revision, Created: old == nil, Changes: []destination.Change{}, Warnings: []destination.Problem{}}
	result.Warnings = append(result.Warnings, s.Warnings()...)
	if old != nil {
		s.Inherit(old)
		result.Changes = append(result.Changes, destination.Changes(old, s)...)
		if err := d.refuseOrphans(ctx, old, result.Changes, yes); err != nil {
			return err
		}
	}
	if old == nil || len(result.Changes) > 0 {
		if result.Revision, err = d.put(ctx, s, revision); err != nil {
			return err
		}
	}
	result.Approval = s.NeedsApproval() && !s.Approved
	if p.settings.json() {
		return printJSON(p.out, result)
	}
	switch {
	case old == nil:
		fmt.Fprintf(p.out, "destination %s created (revision %d)\n", s.ID, result.Revision)
	case len(result.Changes) == 0:
		fmt.Fprintf(p.out, "destination %s unchanged (revision %d)\n", s.ID, result.Revision)
	default:
		fmt.Fprintf(p.out, "destination %s changed (revision %d)\n", s.ID, result.Revision)
	}
	for _, c := range result.Changes {
		fmt.Fprintf(p.out, "  %s: %q -> %q\n", c.Field, c.Old, c.New)
	}
	for _, w := range result.Warnings {
		fmt.Fprintln(p.out, "  warning:", w)
	}
	if old == nil || len(result.Changes) > 0 {
		fmt.Fprintf(p.out, "  try its connection: loadfleet destination check %s\n", s.ID)
	}
	if result.Approval {
		fmt.Fprintf(p.out, "  its loads wait for an operator: loadfleet destination approve %s\n", s.ID)
	}
	return nil
}

// before is the destination that an apply meets and its revision; nil when it
// is new. With yes a secret that does not open is no obstacle: the document
// brings another.
func (d *desk) before(ctx context.Context, id string, yes bool) (*destination.Settings, uint64, error) {
	old, revision, err := d.get(ctx, id)
	var coded *codedError
	switch {
	case errors.As(err, &coded) && coded.code == exitNotFound:
		return nil, 0, nil
	case yes && (errors.Is(err, destination.ErrUnknownKey) || errors.Is(err, destination.ErrTampered)):
		return d.describe(ctx, id)
	}
	return old, revision, err
}

// refuseOrphans refuses a change that leaves objects where no load touches
// them any more, saying how many are known.
func (d *desk) refuseOrphans(ctx context.Context, old *destination.Settings, changes []destination.Change, yes bool) error {
	var fields []string
	for _, c := range changes {
		if c.Orphans {
			fields = append(fields, c.Field)
		}
	}
	if len(fields) == 0 || yes {
		return nil
	}
	objects, err := d.objects(ctx, old.ID)
	if err != nil {
		return fmt.Errorf("count the objects that would be left behind: %w", err)
	}
	history, err := d.store.History(ctx, old.ID)
	if err != nil {
		return err
	}
	left := orphans(objects, len(history) > 0 && time.Since(history[0].Time) > queue.KeepEvents)
	if left == "" {
		return nil
	}
	return usage(fmt.Errorf("a change of %s leaves %s in s3://%s that loads no longer replace: apply it with --yes, and remove them when nobody reads them",
		strings.Join(fields, ", "), left, old.Bucket))
}

// orphans says how many objects are left behind; "" when none is. A destination
// older than the queue's memory may have more than are known.
func orphans(known int, forgotten bool) string {
	switch {
	case known == 0 && !forgotten:
		return ""
	case known == 0:
		return fmt.Sprintf("what was loaded more than %d days ago, which nobody has counted,", int(queue.KeepEvents.Hours())/24)
	case forgotten:
		return "at least " + count(int64(known)) + " objects"
	}
	return count(int64(known)) + " objects"
}

// objects counts the keys that the queue still knows to be loaded for a destination.
func (d *desk) objects(ctx context.Context, id string) (int, error) {
	states, err := d.queue.Extractions(ctx, "")
	if err != nil {
		return 0, err
	}
	keys := map[string]bool{}
	for _, s := range states {
		if s.Destination != id {
			continue
		}
		for o, err := range d.queue.Outcomes(ctx, s.Workspace, s.Extraction) {
			if err != nil {
				return 0, err
			}
			if o.ETag != "" {
				keys[o.Bucket+"/"+o.Key] = true
			}
		}
	}
	return len(keys), nil
}
