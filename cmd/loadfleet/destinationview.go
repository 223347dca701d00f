package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/queue"
)

func (p *program) destinationList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the destinations",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.onQueue(cmd.Context(), "destination", func(q *queue.Queue) error {
				all, err := q.Destinations().List(cmd.Context())
				if err != nil {
					return err
				}
				var rows [][]string
				docs := []map[string]any{}
				for _, stored := range all {
					s, err := destination.Describe(stored.Document)
					if err != nil {
						return fmt.Errorf("destination %s: %w", stored.ID, err)
					}
					rows = append(rows, []string{s.ID, s.Title, "s3://" + s.Bucket, string(s.FileFormat), string(s.ConnectionOption), s.Flow(), when(stored.Time)})
					docs = append(docs, map[string]any{"id": s.ID, "title": s.Title, "bucket": s.Bucket, "file_format": s.FileFormat,
						"connection_option": s.ConnectionOption, "state": s.Flow(), "revision": stored.Revision, "changed": stored.Time})
				}
				if p.settings.json() {
					return printJSON(p.out, docs)
				}
				return table(p.out, []string{"ID", "TITLE", "BUCKET", "FORMAT", "CONNECTION", "STATE", "CHANGED"}, rows)
			})
		},
	}
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
				fmt.Fprintf(p.out, "# revision %d, %s\n%s", revision, s.Flow(), b)
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
				sample, err := s.Sample(names, accounts...)
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
			return p.onDestination(cmd.Context(), file, args, show)
		},
	}
	f := c.Flags()
	f.StringVarP(&file, "file", "f", "", "a document that need not be applied; - for standard input")
	f.StringVar(&names.WorkspaceID, "workspace", "", "workspace id; default: the first that the destination admits")
	f.StringVar(&names.WorkspaceTitle, "workspace-title", "", "workspace title")
	f.StringVar(&names.DataSource, "data-source", "", "{{data_source}}")
	f.StringVar(&names.DataTableTitle, "data-table-title", "", "{{data_table_title}}")
	f.StringVar(&names.ReportType, "report-type", "", "{{report_type}}")
	f.StringVar(&names.Filename, "table", "", "{{filename}}")
	f.StringArrayVar(&accounts, "account", nil, "an account; may be repeated")
	return c
}

// onDestination runs on the settings of a document, or of a stored destination.
func (p *program) onDestination(ctx context.Context, file string, args []string, do func(*destination.Settings) error) error {
	if file != "" {
		doc, err := p.read(file)
		if err != nil {
			return usage(err)
		}
		s, err := destination.Parse(doc, destination.OSResolver())
		if err != nil {
			return usage(err)
		}
		return do(s)
	}
	if len(args) == 0 {
		return usage(errors.New("give the id of a destination, or a document with -f"))
	}
	return p.atDesk(ctx, func(d *desk) error {
		s, _, err := d.get(ctx, args[0])
		if err != nil {
			return err
		}
		return do(s)
	})
}
