package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/queue"
)

func (p *program) destination() *cobra.Command {
	c := &cobra.Command{
		Use:   "destination",
		Short: "Connect customers' buckets: apply, list, show, preview, approve, pause, delete",
		Args:  cobra.NoArgs,
	}
	c.AddCommand(p.destinationApply(), p.destinationList(), p.destinationShow(), p.destinationPreview(), p.destinationDelete(), p.destinationNewKey())
	for _, s := range []struct {
		use, short string
		set        func(*destination.Settings)
	}{
		{"approve", "Let loads flow to a destination that is not self-service", func(s *destination.Settings) { s.Approved = true }},
		{"pause", "Hold a destination's extractions and loads", func(s *destination.Settings) { s.Paused = true }},
		{"resume", "Let a paused destination's extractions and loads go on", func(s *destination.Settings) { s.Paused = false }},
	} {
		c.AddCommand(p.destinationSet(s.use, s.short, s.set))
	}
	return c
}

// desk is what a command on destinations works with.
type desk struct {
	queue   *queue.Queue
	store   *queue.Destinations
	keyring *destination.Keyring
}

// atDesk connects, runs and closes.
func (p *program) atDesk(ctx context.Context, do func(*desk) error) (err error) {
	keyring, err := p.settings.keyring()
	if err != nil {
		return err
	}
	q, err := p.settings.connect(ctx, "destination", p.logger(p.settings.level()))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close(context.WithoutCancel(ctx))) }()
	if err := q.Provision(ctx); err != nil {
		return err
	}
	return do(&desk{queue: q, store: q.Destinations(), keyring: keyring})
}

// get reads a destination and its revision; exitNotFound when there is none.
func (d *desk) get(ctx context.Context, id string) (*destination.Settings, uint64, error) {
	stored, err := d.store.Get(ctx, id)
	if errors.Is(err, queue.ErrNotFound) {
		return nil, 0, notFound(fmt.Errorf("there is no destination %q; see `loadfleet destination list`", id))
	}
	if err != nil {
		return nil, 0, err
	}
	s, err := d.keyring.Open(stored.Document)
	return s, stored.Revision, err
}

// put seals and stores a destination over the revision it was read at.
func (d *desk) put(ctx context.Context, s *destination.Settings, over uint64) (uint64, error) {
	sealed, err := d.keyring.Seal(s)
	if err != nil {
		return 0, err
	}
	revision, err := d.store.Put(ctx, s.ID, sealed, over)
	if errors.Is(err, queue.ErrRevision) {
		return 0, fmt.Errorf("destination %s was changed by somebody else meanwhile: look at it and try again", s.ID)
	}
	return revision, err
}

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
	c.Flags().BoolVar(&yes, "yes", false, "apply also what leaves objects behind")
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
	old, revision, err := d.get(ctx, s.ID)
	var coded *codedError
	if errors.As(err, &coded) && coded.code == exitNotFound {
		old, revision = nil, 0
	} else if err != nil {
		return err
	}
	result := struct {
		ID       string                `json:"id"`
		Revision uint64                `json:"revision"`
		Created  bool                  `json:"created"`
		Changes  []destination.Change  `json:"changes"`
		Warnings []destination.Problem `json:"warnings"`
		Approval bool                  `json:"needs_approval"`
	}{ID: s.ID, Revision: revision, Created: old == nil, Warnings: s.Warnings()}
	if old != nil {
		s.Inherit(old)
		result.Changes = destination.Changes(old, s)
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
	if result.Approval {
		fmt.Fprintf(p.out, "  its loads wait for an operator: loadfleet destination approve %s\n", s.ID)
	}
	return nil
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
	if objects == 0 {
		return nil
	}
	return usage(fmt.Errorf("a change of %s leaves %s objects in s3://%s that loads no longer replace: apply it with --yes, and remove them when nobody reads them",
		strings.Join(fields, ", "), count(int64(objects)), old.Bucket))
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

func (p *program) destinationList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the destinations",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.atDesk(cmd.Context(), func(d *desk) error {
				all, err := d.store.List(cmd.Context())
				if err != nil {
					return err
				}
				var rows [][]string
				var docs []map[string]any
				for _, stored := range all {
					s, err := d.keyring.Open(stored.Document)
					if err != nil {
						return fmt.Errorf("destination %s: %w", stored.ID, err)
					}
					rows = append(rows, []string{s.ID, s.Title, "s3://" + s.Bucket, string(s.FileFormat), string(s.ConnectionOption), flow(s), when(stored.Time)})
					docs = append(docs, map[string]any{"id": s.ID, "title": s.Title, "bucket": s.Bucket, "file_format": s.FileFormat,
						"connection_option": s.ConnectionOption, "state": flow(s), "revision": stored.Revision, "changed": stored.Time})
				}
				if p.settings.json() {
					return printJSON(p.out, docs)
				}
				return table(p.out, []string{"ID", "TITLE", "BUCKET", "FORMAT", "CONNECTION", "STATE", "CHANGED"}, rows)
			})
		},
	}
}

// flow is whether loads flow to a destination.
func flow(s *destination.Settings) string {
	switch {
	case s.Paused:
		return "paused"
	case s.NeedsApproval() && !s.Approved:
		return "waits for approval"
	}
	return "open"
}

func (p *program) destinationShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show ID",
		Short: "Show a destination, its secret redacted, and its history",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.atDesk(cmd.Context(), func(d *desk) error {
				s, revision, err := d.get(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				if p.settings.json() {
					b, err := s.JSON()
					if err != nil {
						return err
					}
					_, err = fmt.Fprintln(p.out, strings.TrimSpace(string(b)))
					return err
				}
				b, err := s.YAML()
				if err != nil {
					return err
				}
				history, err := d.store.History(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				fmt.Fprintf(p.out, "# revision %d, %s\n%s", revision, flow(s), b)
				for _, h := range history {
					what := "applied"
					if h.Deleted {
						what = "deleted"
					}
					fmt.Fprintf(p.out, "# revision %d %s %s\n", h.Revision, what, when(h.Time))
				}
				return nil
			})
		},
	}
}

func (p *program) destinationPreview() *cobra.Command {
	var file string
	var names destination.Names
	var accounts []string
	c := &cobra.Command{
		Use:   "preview [ID]",
		Short: "Show the keys that loads would get, of a stored destination or a document",
		Example: `  loadfleet destination preview acme
  loadfleet destination preview -f acme.yaml --account 123 --account 'Müller / EU'`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			show := func(s *destination.Settings) error {
				naming, err := s.Naming()
				if err != nil {
					return err
				}
				sample, err := naming.Sample(names, accounts...)
				if err != nil {
					return usage(err)
				}
				if p.settings.json() {
					return printJSON(p.out, sample)
				}
				var rows [][]string
				for _, k := range sample {
					rows = append(rows, []string{strings.Join(k.Days, ", "), k.Account, "s3://" + s.Bucket + "/" + k.Key})
				}
				return table(p.out, []string{"DAYS", "ACCOUNT", "OBJECT"}, rows)
			}
			if file != "" {
				doc, err := p.read(file)
				if err != nil {
					return usage(err)
				}
				s, err := destination.Parse(doc, destination.OSResolver())
				if err != nil {
					return usage(err)
				}
				return show(s)
			}
			if len(args) == 0 {
				return usage(errors.New("give the id of a destination, or a document with -f"))
			}
			return p.atDesk(cmd.Context(), func(d *desk) error {
				s, _, err := d.get(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return show(s)
			})
		},
	}
	f := c.Flags()
	f.StringVarP(&file, "file", "f", "", "a document that need not be applied; - for standard input")
	f.StringVar(&names.WorkspaceID, "workspace", "", "workspace id")
	f.StringVar(&names.WorkspaceTitle, "workspace-title", "", "workspace title")
	f.StringVar(&names.DataSource, "data-source", "", "{{data_source}}")
	f.StringVar(&names.DataTableTitle, "data-table-title", "", "{{data_table_title}}")
	f.StringVar(&names.ReportType, "report-type", "", "{{report_type}}")
	f.StringVar(&names.Filename, "table", "", "{{filename}}")
	f.StringArrayVar(&accounts, "account", nil, "an account; may be repeated")
	return c
}

func (p *program) destinationDelete() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use:   "delete ID --yes",
		Short: "Delete a destination; its objects stay in the bucket",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.atDesk(cmd.Context(), func(d *desk) error {
				s, _, err := d.get(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				if !yes {
					return usage(fmt.Errorf("deleting destination %s (%s) stops its loads; repeat with --yes", s.ID, s.Title))
				}
				if err := d.store.Delete(cmd.Context(), s.ID); err != nil {
					return err
				}
				fmt.Fprintf(p.out, "destination %s deleted\n", s.ID)
				return nil
			})
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "really delete it")
	return c
}

func (p *program) destinationSet(use, short string, set func(*destination.Settings)) *cobra.Command {
	return &cobra.Command{
		Use:   use + " ID",
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.atDesk(cmd.Context(), func(d *desk) error {
				s, revision, err := d.get(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				approved, paused := s.Approved, s.Paused
				if set(s); s.Approved != approved || s.Paused != paused {
					if _, err := d.put(cmd.Context(), s, revision); err != nil {
						return err
					}
				}
				fmt.Fprintf(p.out, "destination %s: %s\n", s.ID, flow(s))
				return nil
			})
		},
	}
}

func (p *program) destinationNewKey() *cobra.Command {
	return &cobra.Command{
		Use:   "new-key",
		Short: "Make a key that seals destinations' secrets",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(p.out, destination.NewSealKey())
			return err
		},
	}
}
