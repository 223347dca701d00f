package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
)

func (p *program) extraction() *cobra.Command {
	c := &cobra.Command{
		Use:   "extraction",
		Short: "See what became of extractions: list, show, watch",
		Args:  cobra.NoArgs,
	}
	c.AddCommand(p.extractionList(), p.extractionShow(), p.extractionWatch())
	return c
}

// onQueue connects, runs and closes, for commands that need no secret.
func (p *program) onQueue(ctx context.Context, name string, do func(*queue.Queue) error) (err error) {
	q, err := p.settings.connect(ctx, name, p.logger(p.settings.level()))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close(context.WithoutCancel(ctx))) }()
	if err := q.Check(ctx); err != nil {
		return err
	}
	return do(q)
}

func (p *program) extractionList() *cobra.Command {
	var workspace, destination string
	var late time.Duration
	c := &cobra.Command{
		Use:   "list",
		Short: "List extractions, the latest first",
		Long: `List extractions, the latest first. With --late, only those that were accepted
more than 15 minutes ago (or --late=2h) and are not over; the exit code is 4 when
there is one.`,
		Example: "  loadfleet extraction list --destination acme\n  loadfleet extraction list --late",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.onQueue(cmd.Context(), "extraction", func(q *queue.Queue) error {
				states, err := q.Extractions(cmd.Context(), workspace)
				if err != nil {
					return err
				}
				now := time.Now()
				states = slices.DeleteFunc(states, func(s *queue.ExtractionState) bool {
					return destination != "" && s.Destination != destination || late > 0 && !s.Late(now, late)
				})
				var bad error
				if late > 0 && len(states) > 0 {
					bad = &codedError{exitBad, fmt.Errorf("late: %s; why: loadfleet status", many(int64(len(states)), "extraction"))}
				}
				if p.settings.json() {
					return errors.Join(printJSON(p.out, append([]*queue.ExtractionState{}, states...)), bad)
				}
				if late > 0 && len(states) == 0 {
					fmt.Fprintln(p.out, "nothing is late")
					return nil
				}
				var rows [][]string
				for _, s := range states {
					loads, ended, dead, n := "", "", "", ""
					if s.Plan != nil {
						loads, n = count(s.Plan.Loads), count(s.Plan.Rows)
						ended, dead = count(s.Counts.Total().Loads), count(s.Counts[messages.DeadLettered].Loads)
					}
					rows = append(rows, []string{s.Workspace, s.Extraction, s.Destination, s.Table, string(s.State), loads, ended, dead, n, when(s.Updated())})
				}
				return errors.Join(table(p.out, []string{"WORKSPACE", "EXTRACTION", "DESTINATION", "TABLE", "STATE", "LOADS", "ENDED", "DEAD", "ROWS", "UPDATED"}, rows), bad)
			})
		},
	}
	c.Flags().StringVar(&workspace, "workspace", "", "only this workspace's")
	c.Flags().StringVar(&destination, "destination", "", "only this destination's")
	c.Flags().DurationVar(&late, "late", 0, "only those that take longer than this and are not over")
	c.Flags().Lookup("late").NoOptDefVal = queue.LateAfter.String()
	return c
}

// account is what became of an extraction, load by load.
type account struct {
	*queue.ExtractionState
	Outcomes []messages.Outcome        `json:"outcomes"`
	Results  map[messages.Result]int64 `json:"results"`
	Rows     int64                     `json:"rows_loaded"`
	Bytes    int64                     `json:"bytes"`
}

// accountFor reads an extraction's account; exitNotFound when it is unknown.
func accountFor(ctx context.Context, q *queue.Queue, workspace, id string) (*account, error) {
	states, err := q.Extractions(ctx, workspace)
	if err != nil {
		return nil, err
	}
	var found []*queue.ExtractionState
	for _, s := range states {
		if s.Extraction == id {
			found = append(found, s)
		}
	}
	switch len(found) {
	case 0:
		return nil, unknownExtraction(ctx, q, workspace, id)
	case 1:
	default:
		return nil, usage(fmt.Errorf("several workspaces have an extraction %q: give --workspace", id))
	}
	a := &account{ExtractionState: found[0], Outcomes: []messages.Outcome{}, Results: map[messages.Result]int64{}}
	for o, err := range q.Outcomes(ctx, a.Workspace, id) {
		if err != nil {
			return nil, err
		}
		a.Outcomes = append(a.Outcomes, o)
	}
	for result, n := range a.Counts {
		a.Results[result] = n.Loads
	}
	stored := a.Counts.Stored()
	a.Rows, a.Bytes = stored.Rows, stored.Bytes
	slices.SortFunc(a.Outcomes, func(x, y messages.Outcome) int { return strings.Compare(x.Key, y.Key) })
	return a, nil
}

// commitLook bounds the look for a commit, which is there for a better message.
const commitLook = 5 * time.Second

// unknownExtraction says of an extraction without events whether its commit
// waits for a dispatcher, and what to look at.
func unknownExtraction(ctx context.Context, q *queue.Queue, workspace, id string) error {
	look, cancel := context.WithTimeout(ctx, commitLook)
	defer cancel()
	var committed bool
	var err error
	if workspace == "" {
		committed, err = q.Committed(look, id)
	} else {
		var flawed *messages.CommitError
		_, err = q.Commit(look, workspace, id)
		committed = err == nil || errors.As(err, &flawed)
	}
	switch {
	case committed:
		return notFound(fmt.Errorf("extraction %q is committed, and no dispatcher has taken it yet: loadfleet status says who works and what waits", id))
	case err == nil || errors.Is(err, queue.ErrNotFound):
		return notFound(fmt.Errorf("nothing was committed under the id %q in the last 30 days; see `loadfleet extraction list`, or `loadfleet status` for what waits", id))
	}
	return notFound(fmt.Errorf("nothing was committed under the id %q, or no dispatcher has taken it yet; see `loadfleet extraction list` and `loadfleet status`", id))
}

func (p *program) extractionShow() *cobra.Command {
	var workspace string
	var limit int
	c := &cobra.Command{
		Use:   "show ID",
		Short: "Show an extraction and the outcome of each of its loads",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.onQueue(cmd.Context(), "extraction", func(q *queue.Queue) error {
				a, err := accountFor(cmd.Context(), q, workspace, args[0])
				if err != nil {
					return err
				}
				if p.settings.json() {
					return printJSON(p.out, a)
				}
				return p.showAccount(a, limit)
			})
		},
	}
	c.Flags().StringVar(&workspace, "workspace", "", "the extraction's workspace, when several have one of this id")
	c.Flags().IntVar(&limit, "limit", 50, "how many loads to list; 0 for all")
	return c
}

func (p *program) showAccount(a *account, limit int) error {
	fmt.Fprintf(p.out, "extraction   %s (workspace %s, table %s)\ndestination  %s\nstate        %s\n", a.Extraction, a.Workspace, printable(a.Table), a.Destination, a.State)
	if a.Plan != nil {
		fmt.Fprintf(p.out, "planned      %s, %s\n", many(a.Plan.Loads, "load"), many(a.Plan.Rows, "row"))
	}
	if f := a.Failure; f != nil {
		fmt.Fprintf(p.out, "reason       %s: %s\nwhat to do   %s\n", f.Reason, printable(f.Message), printable(f.Remedy))
	}
	for _, r := range messages.Results() {
		if n := a.Results[r]; n > 0 {
			fmt.Fprintf(p.out, "%-12s %s\n", r, many(n, "load"))
		}
	}
	fmt.Fprintf(p.out, "in bucket    %s, %s\n\n", many(a.Rows, "row"), size(a.Bytes))
	if left := a.Left(); left > 0 {
		fmt.Fprintf(p.out, "%s still to do; if it stays so: loadfleet destination check %s\n\n", many(left, "load"), a.Destination)
	}
	if len(a.Outcomes) == 0 {
		return nil
	}
	shown := a.Outcomes
	if limit > 0 && len(shown) > limit {
		shown = shown[:limit]
	}
	var rows [][]string
	for _, o := range shown {
		why := ""
		if o.Failure != nil {
			why = string(o.Failure.Reason) + ": " + o.Failure.Message
		}
		rows = append(rows, []string{string(o.Result), "s3://" + o.Bucket + "/" + o.Key, count(o.Rows), size(o.Bytes), o.ETag, shortSum(o.SHA256), fmt.Sprint(o.Attempts), why})
	}
	if err := table(p.out, []string{"OUTCOME", "OBJECT", "ROWS", "BYTES", "ETAG", "SHA256", "ATTEMPTS", "WHY"}, rows); err != nil {
		return err
	}
	if more := len(a.Outcomes) - len(shown); more > 0 {
		fmt.Fprintf(p.out, "... and %s more: --limit 0 lists them all\n", count(int64(more)))
	}
	return nil
}

// shortSum is enough of a checksum to tell files apart; -o json has all of it.
func shortSum(sha256 string) string { return sha256[:min(len(sha256), 12)] }

func (p *program) extractionWatch() *cobra.Command {
	var workspace string
	c := &cobra.Command{
		Use:   "watch ID",
		Short: "Follow an extraction until every load of it has ended",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.onQueue(cmd.Context(), "extraction", func(q *queue.Queue) error {
				return p.await(cmd.Context(), q, workspace, args[0])
			})
		},
	}
	c.Flags().StringVar(&workspace, "workspace", "default", "the extraction's workspace")
	return c
}

// ending is how an extraction went, as its events told.
type ending struct {
	plan       messages.Plan
	failure    *messages.Failure
	results    map[messages.Result]int64
	dispatched time.Time
	ended      time.Time
}

// listening is a way to hear an extraction's events: as an operator, with those that
// are stored, or as an extractor.
type listening func(ctx context.Context, workspace, id string) iter.Seq2[messages.Event, error]

// asOperator hears the stored events and those to come, but not that an
// extraction failed which was replayed and accepted since.
func asOperator(q *queue.Queue) listening {
	return func(ctx context.Context, workspace, id string) iter.Seq2[messages.Event, error] {
		return func(yield func(messages.Event, error) bool) {
			for event, err := range q.Events(ctx, workspace, id, true) {
				if err == nil && event.Kind == messages.EventFailed {
					accepted, lookErr := q.StoredEvent(ctx, messages.Event{Kind: messages.EventAccepted, Workspace: workspace, Extraction: id})
					if lookErr == nil && accepted.Time.After(event.Time) {
						continue
					}
				}
				if !yield(event, err) {
					return
				}
			}
		}
	}
}

// follow hears an extraction's events until it is completed or has failed. That
// every outcome was heard is not the end: they are stored before they are counted,
// and whoever waited asks for the counts next.
func follow(ctx context.Context, q *queue.Queue, workspace, id string, progress func(done, of int64)) (*ending, error) {
	return followEvents(ctx, asOperator(q), workspace, id, progress)
}

func followEvents(ctx context.Context, hear listening, workspace, id string, progress func(done, of int64)) (*ending, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	e := &ending{results: map[messages.Result]int64{}}
	last := map[string]messages.Result{}
	over := false
	var counts messages.Counts
	for event, err := range hear(ctx, workspace, id) {
		if err != nil {
			return nil, err
		}
		switch event.Kind {
		case messages.EventFailed:
			e.failure, e.ended = event.Failure, event.Time
			return e, nil
		case messages.EventDispatched:
			e.plan, e.dispatched = *event.Plan, event.Time
		case messages.EventCompleted:
			over, counts = true, event.Counts
		case messages.EventOutcome:
			last[event.Outcome.Load] = event.Outcome.Result
			if event.Outcome.Ended.After(e.ended) {
				e.ended = event.Outcome.Ended
			}
		}
		progress(int64(len(last)), e.plan.Loads)
		if over {
			break
		}
	}
	if !over {
		return nil, context.Cause(ctx)
	}
	// Where outcomes are missing that came before we listened. Where none is, they
	// know more: of loads that were replayed since.
	if len(counts) > 0 && int64(len(last)) < e.plan.Loads {
		for r, n := range counts {
			e.results[r] = n.Loads
		}
		return e, nil
	}
	for _, r := range last {
		e.results[r]++
	}
	return e, nil
}

// await follows an extraction with a progress bar and ends with what became of it.
func (p *program) await(ctx context.Context, q *queue.Queue, workspace, id string) error {
	return p.awaitEvents(ctx, asOperator(q), workspace, id)
}

func (p *program) awaitEvents(ctx context.Context, hear listening, workspace, id string) error {
	bar := progressbar.NewOptions64(-1,
		progressbar.OptionSetDescription("load "+id), progressbar.OptionSetWriter(p.err),
		progressbar.OptionSetVisibility(p.terminal()), progressbar.OptionShowCount(),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
	e, err := followEvents(ctx, hear, workspace, id, func(done, of int64) {
		if of > 0 {
			bar.ChangeMax64(of)
		}
		_ = bar.Set64(done) // a bar that cannot be drawn is no reason to stop waiting
	})
	if err != nil {
		return fmt.Errorf("wait for %s: %w", id, err)
	}
	if err := bar.Finish(); err != nil {
		return err
	}
	if p.settings.json() {
		if err := printJSON(p.out, map[string]any{"extraction": id, "plan": e.plan, "results": e.results, "failure": e.failure}); err != nil {
			return err
		}
	} else if e.failure == nil {
		var said []string
		for _, r := range messages.Results() {
			if n := e.results[r]; n > 0 {
				said = append(said, count(n)+" "+string(r))
			}
		}
		fmt.Fprintf(p.out, "extraction %s: %s in %s", id, many(e.plan.Rows, "row"), many(e.plan.Loads, "load"))
		if len(said) > 0 {
			fmt.Fprintf(p.out, ": %s", strings.Join(said, ", "))
		}
		fmt.Fprintln(p.out)
	}
	switch {
	case e.failure != nil:
		return &codedError{exitBad, fmt.Errorf("extraction %s failed: %s: %s (%s)", id, e.failure.Reason, e.failure.Message, e.failure.Remedy)}
	case e.results[messages.DeadLettered] > 0:
		return &codedError{exitBad, fmt.Errorf("dead-lettered: %s; see `loadfleet deadletter list --extraction %s`", many(e.results[messages.DeadLettered], "load"), id)}
	}
	return nil
}
