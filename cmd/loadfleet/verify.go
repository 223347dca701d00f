package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/worker"
)

// verifying is the flags of verify.
type verifying struct {
	workspace, destination string
	all                    bool
	worker.VerifyConfig
}

func (p *program) verify() *cobra.Command {
	var v verifying
	c := &cobra.Command{
		Use:   "verify [EXTRACTION]",
		Short: "Prove an extraction's account against the bucket",
		Long: `Verify walks every load of an extraction and proves that each planned load has
one outcome and each outcome its object, its dead letter, or the audit's record of
who discarded it; that each object is there
with the ETag, size, SHA-256 and metadata on record; that read back as a file it
has the planned columns and the recorded rows; and that every row is in the object
that its own date and account name. Objects replaced by a newer generation since
are counted as such. It downloads everything and writes nothing.

The exit code is 0 when all is as it must be and 4 when anything is not. Loads
that wait as dead letters are as they must be; the first line says how many. An
extraction that failed as a whole has nothing in the bucket: to verify it ends
with 4, too. With --all, which asks about the fleet, it is only counted.`,
		Example: `  loadfleet verify ads-20240620T121517 --workspace ws1
  loadfleet verify --all --destination acme -o json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if v.all == (len(args) == 1) {
				return usage(errors.New("say which: an extraction, or --all"))
			}
			if v.destination != "" && !v.all {
				return usage(errors.New("--destination chooses among --all; an extraction has only one"))
			}
			if v.Keyring, err = p.settings.keyring(); err != nil {
				return err
			}
			return p.onQueue(cmd.Context(), "verify", func(q *queue.Queue) error {
				v.Queue = q
				if len(args) == 1 {
					return p.verifyOne(cmd.Context(), &v, args[0])
				}
				return p.verifyAll(cmd.Context(), &v)
			})
		},
	}
	f := c.Flags()
	f.StringVar(&v.workspace, "workspace", "", "the extraction's workspace, when several have one of this id; with --all only this one's")
	f.BoolVar(&v.all, "all", false, "every extraction of the last 30 days")
	f.StringVar(&v.destination, "destination", "", "with --all: only this destination's")
	f.IntVar(&v.Concurrency, "concurrency", 4, "objects read at a time")
	f.IntVar(&v.MaxFindings, "limit", 1000, "how many findings to list; all are counted")
	f.StringVar(&v.ScratchDir, "scratch", "", "directory for files larger than fit memory; default: the system's temporary one")
	bindStorage(f, &v.Storage)
	return c
}

func (p *program) verifyOne(ctx context.Context, v *verifying, id string) error {
	workspace, err := v.workspaceOf(ctx, id)
	if err != nil {
		return err
	}
	v.Workspace, v.Extraction = workspace, id
	report, err := worker.Verify(ctx, v.VerifyConfig)
	if errors.Is(err, queue.ErrNotFound) {
		return notFound(fmt.Errorf("workspace %s has committed no extraction %q in the last 30 days; see `loadfleet extraction list`", workspace, id))
	}
	if err != nil {
		return err
	}
	if p.settings.json() {
		err = printJSON(p.out, report)
	} else {
		err = showReport(p.out, &report)
	}
	bad := verdictOf([]worker.Report{report})
	if f := report.Failure; bad == nil && f != nil {
		bad = &codedError{exitBad, fmt.Errorf("extraction %s failed (%s): nothing of it is loaded", id, f.Reason)}
	}
	return errors.Join(bad, err)
}

// workspaceOf is the only workspace with an extraction of this id.
func (v *verifying) workspaceOf(ctx context.Context, id string) (string, error) {
	if v.workspace != "" {
		return v.workspace, nil
	}
	states, err := v.Queue.Extractions(ctx, "")
	if err != nil {
		return "", err
	}
	var found []string
	for _, s := range states {
		if s.Extraction == id {
			found = append(found, s.Workspace)
		}
	}
	switch len(found) {
	case 0:
		return "", unknownExtraction(ctx, v.Queue, "", id)
	case 1:
		return found[0], nil
	}
	return "", usage(fmt.Errorf("several workspaces have an extraction %q: give --workspace", id))
}

// verifyAll verifies one extraction after the other, the latest first. One
// that cannot be verified does not keep the others from it.
func (p *program) verifyAll(ctx context.Context, v *verifying) error {
	states, err := v.Queue.Extractions(ctx, v.workspace)
	if err != nil {
		return err
	}
	states = slices.DeleteFunc(states, func(s *queue.ExtractionState) bool {
		return v.destination != "" && s.Destination != v.destination
	})
	reports := []worker.Report{}
	var failed []error
	for _, s := range states {
		v.Workspace, v.Extraction = s.Workspace, s.Extraction
		report, err := worker.Verify(ctx, v.VerifyConfig)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, queue.ErrNotFound):
			continue // its commit has just expired
		case err != nil:
			failed = append(failed, err)
			continue
		}
		reports = append(reports, report)
		if !p.settings.json() {
			if err := showReport(p.out, &report); err != nil {
				return err
			}
		}
	}
	if p.settings.json() {
		if err := printJSON(p.out, reports); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(p.out, "%s verified", many(int64(len(reports)), "extraction"))
		var failed int64
		for _, r := range reports {
			if r.Failure != nil {
				failed++
			}
		}
		if failed > 0 {
			fmt.Fprintf(p.out, ", of which %s failed: nothing of it is loaded", count(failed))
		}
		fmt.Fprintln(p.out)
	}
	if len(failed) > 0 {
		return errors.Join(failed...)
	}
	return verdictOf(reports)
}

// verdictOf is the exit code that reports ask for.
func verdictOf(reports []worker.Report) error {
	var n int64
	for _, r := range reports {
		for _, of := range r.Found {
			n += of
		}
	}
	if n == 0 {
		return nil
	}
	return &codedError{exitBad, errors.New(many(n, "finding"))}
}

// conclusion is a report in a few words.
func conclusion(r *worker.Report) string {
	switch waiting := r.Waiting(); {
	case r.Failure != nil && r.OK():
		return "FAILED, nothing of it is loaded"
	case r.Failure != nil:
		return "NOT PROVED; it failed, nothing of it is loaded"
	case !r.OK():
		return "NOT PROVED"
	case waiting > 0:
		return "proved, but for " + many(waiting, "dead-lettered load") + " still to be replayed or discarded"
	}
	return "proved"
}

// showReport writes a report for people.
func showReport(w io.Writer, r *worker.Report) error {
	fmt.Fprintf(w, "extraction   %s (workspace %s, table %s): %s\n", r.Extraction, r.Workspace, printable(r.Table), conclusion(r))
	if f := r.Failure; f != nil {
		fmt.Fprintf(w, "reason       %s: %s\n", f.Reason, printable(f.Message))
		if f.Remedy != "" {
			fmt.Fprintf(w, "what to do   %s\n", printable(f.Remedy))
		}
	}
	fmt.Fprintf(w, "planned      %s, %s\n", many(r.Planned.Loads, "load"), many(r.Planned.Rows, "row"))
	fmt.Fprintf(w, "outcomes     %s, %s\n", many(r.Outcomes, "load"), many(r.Rows, "row"))
	for _, result := range messages.Results() {
		if n := r.Results[result]; n > 0 {
			fmt.Fprintf(w, "  %-14s %s\n", result, count(n))
		}
	}
	for _, d := range r.Discarded {
		fmt.Fprintf(w, "discarded    %s by %s, %s (loadfleet deadletter audit --operation %s)\n",
			many(d.DeadLetters, "dead letter"), printable(d.By), when(d.Time), d.Operation)
	}
	if r.SupersededLater > 0 {
		fmt.Fprintf(w, "since then   a newer generation replaced %s\n", many(r.SupersededLater, "object"))
	}
	fmt.Fprintf(w, "read back    %s, %s, %s\n", many(r.Objects, "object"), many(r.ObjectRows, "row"), size(r.ObjectBytes))
	if r.OK() {
		fmt.Fprintln(w)
		return nil
	}
	var rows [][]string
	for _, f := range r.Findings {
		where := "the extraction"
		if f.Key != "" {
			where = "s3://" + f.Bucket + "/" + f.Key
		}
		rows = append(rows, []string{string(f.Kind), where, f.Message})
	}
	fmt.Fprintln(w)
	if err := table(w, []string{"FINDING", "WHERE", "WHAT"}, rows); err != nil {
		return err
	}
	var all int64
	for _, n := range r.Found {
		all += n
	}
	if more := all - int64(len(r.Findings)); more > 0 {
		fmt.Fprintf(w, "... and %s more\n", count(more))
	}
	fmt.Fprintln(w, "\nWhat to do:")
	for _, kind := range worker.FindingKinds() {
		if n := r.Found[kind]; n > 0 {
			fmt.Fprintf(w, "  %-16s %s\n", kind, kind.Remedy())
		}
	}
	fmt.Fprintln(w)
	return nil
}
