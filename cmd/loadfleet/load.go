package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
)

func (p *program) load() *cobra.Command {
	c := &cobra.Command{
		Use:   "load",
		Short: "See how loads ended, over all extractions: list",
		Args:  cobra.NoArgs,
	}
	c.AddCommand(p.loadList())
	return c
}

func (p *program) loadList() *cobra.Command {
	var filter queue.OutcomeFilter
	var since, until string
	var limit int
	c := &cobra.Command{
		Use:   "list",
		Short: "List the loads that ended lately, the latest first, with why they failed",
		Long: `List the last outcome of each load that ended since then, over all extractions.
A load that died and was replayed is listed as it ended at last.`,
		Example: "  loadfleet load list --destination acme --result dead-lettered --since 48h",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if filter.Result != "" && !slices.Contains(messages.Results(), filter.Result) {
				return usage(fmt.Errorf("--result %q: write one of %v", filter.Result, messages.Results()))
			}
			now := time.Now()
			if filter.Since, err = moment(since, now); err != nil {
				return usage(fmt.Errorf("--since: %w", err))
			}
			if until != "" {
				if filter.Until, err = moment(until, now); err != nil {
					return usage(fmt.Errorf("--until: %w", err))
				}
			}
			return p.onQueue(cmd.Context(), "load", func(q *queue.Queue) error {
				latest, more, err := q.LatestOutcomes(cmd.Context(), filter, limit)
				if err != nil {
					return err
				}
				if p.settings.json() {
					return printJSON(p.out, latest)
				}
				if len(latest) == 0 {
					fmt.Fprintln(p.out, "no such load ended in that time")
					return nil
				}
				var rows [][]string
				for _, o := range latest {
					why := ""
					if o.Failure != nil {
						why = string(o.Failure.Reason) + ": " + o.Failure.Message
					}
					rows = append(rows, []string{when(o.Ended), string(o.Result), o.Destination, o.Workspace, o.Extraction, "s3://" + o.Bucket + "/" + o.Key, count(o.Rows), why})
				}
				if err := table(p.out, []string{"ENDED", "OUTCOME", "DESTINATION", "WORKSPACE", "EXTRACTION", "OBJECT", "ROWS", "WHY"}, rows); err != nil {
					return err
				}
				if more > 0 {
					fmt.Fprintf(p.out, "... and %s more: --limit 0 lists them all\n", count(int64(more)))
				}
				return nil
			})
		},
	}
	f := c.Flags()
	f.StringVar(&filter.Destination, "destination", "", "of this destination")
	f.StringVar(&filter.Workspace, "workspace", "", "of this workspace")
	f.StringVar((*string)(&filter.Result), "result", "", "that ended so: loaded, unchanged, superseded, deleted or dead-lettered")
	f.StringVar(&since, "since", "24h", "since then: a time (RFC 3339), a day, or an age such as 24h")
	f.StringVar(&until, "until", "", "before then")
	f.IntVar(&limit, "limit", 100, "how many to list; 0 for all")
	return c
}
