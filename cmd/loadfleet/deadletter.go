package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
)

func (p *program) deadletter() *cobra.Command {
	c := &cobra.Command{
		Use:   "deadletter",
		Short: "See what could not be carried out, and replay it: list, show, replay, discard, audit",
		Args:  cobra.NoArgs,
	}
	c.AddCommand(p.deadletterList(), p.deadletterShow(),
		p.deadletterEach(messages.VerbReplay, "Put dead letters back on the queue", "replayed"),
		p.deadletterEach(messages.VerbDiscard, "Give dead letters up for good", "discarded"),
		p.deadletterAudit())
	return c
}

// choice is the flags that choose dead letters.
type choice struct {
	filter       queue.DeadLetterFilter
	since, until string
}

func (c *choice) bind(f *pflag.FlagSet) {
	f.StringVar(&c.filter.ID, "id", "", "of this load or extraction")
	f.StringVar(&c.filter.Destination, "destination", "", "of this destination")
	f.StringVar(&c.filter.Workspace, "workspace", "", "of this workspace")
	f.StringVar(&c.filter.Extraction, "extraction", "", "of this extraction")
	f.StringVar((*string)(&c.filter.Reason), "reason", "", "with this reason")
	f.StringVar((*string)(&c.filter.Stage), "stage", "", "dispatch or load")
	f.StringVar(&c.since, "since", "", "since then: a time (RFC 3339), a day, or an age such as 24h")
	f.StringVar(&c.until, "until", "", "before then")
}

func (c *choice) resolve(now time.Time) error {
	var errs []error
	for _, t := range []struct {
		flag, text string
		to         *time.Time
	}{{"--since", c.since, &c.filter.Since}, {"--until", c.until, &c.filter.Until}} {
		if t.text == "" {
			continue
		}
		at, err := moment(t.text, now)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", t.flag, err))
		}
		*t.to = at
	}
	return errors.Join(errs...)
}

// said is the choice as flags, for the audit.
func (c *choice) said(sequences []string) string {
	f := &c.filter
	words := slices.Clone(sequences)
	for _, flag := range [][2]string{
		{"id", f.ID}, {"destination", f.Destination}, {"workspace", f.Workspace}, {"extraction", f.Extraction},
		{"reason", string(f.Reason)}, {"stage", string(f.Stage)}, {"since", c.since}, {"until", c.until},
	} {
		if flag[1] != "" {
			words = append(words, "--"+flag[0], flag[1])
		}
	}
	if len(words) == 0 {
		return "--all"
	}
	return strings.Join(words, " ")
}

func moment(s string, now time.Time) (time.Time, error) {
	if age, err := time.ParseDuration(s); err == nil {
		return now.Add(-age), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time: write 2024-06-20T12:00:00Z, 2024-06-20 or 24h", s)
}

// chosen reads the dead letters that the flags choose.
func (c *choice) chosen(ctx context.Context, q *queue.Queue) ([]queue.DeadLetter, error) {
	all := []queue.DeadLetter{}
	for d, err := range q.DeadLetters(ctx, c.filter) {
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, nil
}

func (p *program) deadletterList() *cobra.Command {
	var choose choice
	c := &cobra.Command{
		Use:     "list",
		Short:   "List dead letters, the oldest first",
		Example: "  loadfleet deadletter list --destination acme --since 24h",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := choose.resolve(time.Now()); err != nil {
				return usage(err)
			}
			return p.onQueue(cmd.Context(), "deadletter", func(q *queue.Queue) error {
				all, err := choose.chosen(cmd.Context(), q)
				if err != nil {
					return err
				}
				if p.settings.json() {
					return printJSON(p.out, all)
				}
				return p.listDead(all)
			})
		},
	}
	choose.bind(c.Flags())
	return c
}

func (p *program) listDead(all []queue.DeadLetter) error {
	var rows [][]string
	for _, d := range all {
		rows = append(rows, []string{fmt.Sprint(d.Sequence), string(d.Stage), d.Destination, d.Extraction, d.ID, string(d.Failure.Reason), when(d.Time), d.Failure.Message})
	}
	return table(p.out, []string{"SEQ", "STAGE", "DESTINATION", "EXTRACTION", "ID", "REASON", "TIME", "MESSAGE"}, rows)
}

func (p *program) deadletterShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show SEQ",
		Short: "Show a dead letter with its attempts and what it is about",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			seq, err := strconv.ParseUint(args[0], 10, 64)
			if err != nil {
				return usage(fmt.Errorf("%q is no sequence number; see `loadfleet deadletter list`", args[0]))
			}
			return p.onQueue(cmd.Context(), "deadletter", func(q *queue.Queue) error {
				d, err := q.DeadLetter(cmd.Context(), seq)
				if errors.Is(err, queue.ErrNotFound) {
					return notFound(fmt.Errorf("there is no dead letter %d; see `loadfleet deadletter list`", seq))
				}
				if err != nil {
					return err
				}
				shown := struct {
					queue.DeadLetter
					Load   *messages.Load `json:"load,omitempty"`
					Commit any            `json:"commit,omitempty"` // as JSON, or the text that is none
				}{DeadLetter: d.DeadLetter}
				if h := d.Header.Get(messages.HeaderLoad); h != "" {
					if l, err := messages.ParseLoad(h); err == nil {
						shown.Load = l
					}
				}
				if d.Stage == messages.StageDispatch {
					shown.Commit = string(d.Payload)
					if json.Valid(d.Payload) {
						shown.Commit = json.RawMessage(d.Payload)
					}
				}
				return printJSON(p.out, shown)
			})
		},
	}
}
