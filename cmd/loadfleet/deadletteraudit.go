package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
)

// audited is a decision about a dead letter and what became of it.
type audited struct {
	messages.Audit
	Fate queue.Fate `json:"fate"`
}

func (p *program) deadletterAudit() *cobra.Command {
	var filter queue.AuditFilter
	var since, until string
	var limit int
	c := &cobra.Command{
		Use:   "audit",
		Short: "See who replayed or discarded what, and what became of it",
		Long: `Audit lists the replays and discards of the last 400 days, the latest first,
each with who did it, by which choice, and how the load has ended since.`,
		Example: `  loadfleet deadletter audit --destination acme --since 24h
  loadfleet deadletter audit --operation KZ2ZGQ2RUUI4ESTQ5QJ3S6O3GZ -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			span := choice{since: since, until: until}
			if err := span.resolve(time.Now()); err != nil {
				return usage(err)
			}
			filter.Since, filter.Until = span.filter.Since, span.filter.Until
			return p.onQueue(cmd.Context(), "deadletter", func(q *queue.Queue) error {
				all, more, err := audit(cmd.Context(), q, filter, limit)
				if err != nil {
					return err
				}
				if p.settings.json() {
					return printJSON(p.out, all)
				}
				if err := p.listAudit(all); err != nil {
					return err
				}
				if more > 0 {
					fmt.Fprintf(p.out, "... and %s older: --limit 0 lists them all\n", count(int64(more)))
				}
				return nil
			})
		},
	}
	f := c.Flags()
	f.StringVar(&filter.Operation, "operation", "", "of this operation: one run of replay or discard")
	f.StringVar((*string)(&filter.Verb), "verb", "", "replay or discard")
	f.StringVar(&filter.By, "by", "", "by this user@host")
	f.StringVar(&filter.ID, "id", "", "of this load or extraction")
	f.StringVar(&filter.Destination, "destination", "", "of this destination")
	f.StringVar(&filter.Workspace, "workspace", "", "of this workspace")
	f.StringVar(&filter.Extraction, "extraction", "", "of this extraction")
	f.StringVar(&since, "since", "", "since then: a time (RFC 3339), a day, or an age such as 24h")
	f.StringVar(&until, "until", "", "before then")
	f.IntVar(&limit, "limit", 200, "how many to list, the latest; 0 for all")
	return c
}

// audit is the latest records that the filter chooses, the latest first, and
// how many more there are.
func audit(ctx context.Context, q *queue.Queue, filter queue.AuditFilter, limit int) (latest []audited, more int, err error) {
	var found []messages.Audit
	for a, err := range q.Audit(ctx, filter) {
		if err != nil {
			return nil, 0, err
		}
		if found = append(found, a); limit > 0 && len(found) > limit {
			found, more = found[1:], more+1
		}
	}
	latest = make([]audited, 0, len(found))
	for i := range found {
		a := &found[len(found)-1-i]
		fate, err := q.Fate(ctx, a)
		if err != nil {
			return nil, 0, err
		}
		latest = append(latest, audited{Audit: *a, Fate: fate})
	}
	return latest, more, nil
}

func (p *program) listAudit(all []audited) error {
	var rows [][]string
	for _, a := range all {
		fate := string(a.Fate.State)
		if o := a.Fate.Outcome; o != nil {
			fate = string(o.Result)
			if o.Failure != nil {
				fate += ": " + string(o.Failure.Reason)
			}
		}
		rows = append(rows, []string{
			when(a.Time), printable(a.By), string(a.Verb), fmt.Sprint(a.Sequence), a.Destination, a.Extraction, a.ID, string(a.Reason), fate, printable(a.Filter),
		})
	}
	return table(p.out, []string{"TIME", "BY", "DID", "SEQ", "DESTINATION", "EXTRACTION", "ID", "REASON", "SINCE THEN", "CHOSEN BY"}, rows)
}
