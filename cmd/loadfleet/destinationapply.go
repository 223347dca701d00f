package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
)

func (p *program) destinationApply() *cobra.Command {
	var file, by string
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
			return p.atDesk(cmd.Context(), func(d *desk) error { return p.apply(cmd.Context(), d, s, yes, cmp.Or(by, whoami())) })
		},
	}
	c.Flags().StringVarP(&file, "file", "f", "", "the document; - for standard input (required)")
	c.Flags().BoolVar(&yes, "yes", false, "apply also what leaves objects behind, or over a secret that does not open")
	bindBy(c, &by)
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
func (p *program) apply(ctx context.Context, d *desk, s *destination.Settings, yes bool, by string) error {
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
		if result.Revision, err = d.put(ctx, s, revision, queue.Edit{Action: messages.DestinationApply, By: by, From: old}); err != nil {
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
	if yes {
		return nil
	}
	left, err := d.store.LeftBehind(ctx, old, changes)
	if err != nil || left == "" {
		return err
	}
	return usage(fmt.Errorf("%s: apply it with --yes, then see `loadfleet destination orphans %s`", left, old.ID))
}
