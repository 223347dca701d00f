package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/storage"
)

// bindStorage binds what the fleet adds to every destination's access.
func bindStorage(f *pflag.FlagSet, c *storage.Config) {
	f.StringVar(&c.FleetRoleARN, "fleet-role-arn", "", "the fleet's IAM role, assumed before a customer's role (role_chain); default: the process's credentials are the fleet's")
	bindSTS(f, &c.STSEndpoint)
}

func bindSTS(f *pflag.FlagSet, endpoint *string) {
	f.StringVar(endpoint, "sts-endpoint", "", "address of STS; default: AWS's own in the destination's region")
}

func (p *program) destinationCheck() *cobra.Command {
	var file, stsEndpoint string
	var fleet destination.Fleet
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "check [ID]",
		Short: "Try, step by step, all that loads do to the bucket, and name what fails",
		Long: `Check tries each step of a load by itself: credentials or the chain of roles,
clock, region, bucket, list, put with the real encryption headers, read back,
conditional put, renewal of metadata, upload in parts, delete. Of a step that
fails it says why, what to do, and the statement to add.

It writes one small object, .loadfleet-check-..., under the constant part of the
destination's keys, and removes it, also when steps fail or it is interrupted.
A role chain is tried with this process's AWS credentials: run it where the
workers run, or with the credentials they have.

Exit code 4 when a step failed.`,
		Example: `  loadfleet destination check acme
  loadfleet destination check -f acme.yaml -o json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.onDestination(cmd.Context(), file, args, func(s *destination.Settings) error {
				ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
				defer cancel()
				return p.check(ctx, s, fleet, stsEndpoint)
			})
		},
	}
	c.Flags().StringVarP(&file, "file", "f", "", "a document that need not be applied; - for standard input")
	c.Flags().DurationVar(&timeout, "timeout", 2*time.Minute, "for all steps together; cleaning up has its own")
	bindFleet(c.Flags(), &fleet)
	bindSTS(c.Flags(), &stsEndpoint)
	return c
}

// check tries a destination's connection and prints what it found.
func (p *program) check(ctx context.Context, s *destination.Settings, fleet destination.Fleet, stsEndpoint string) error {
	prefix, err := s.Prefix()
	if err != nil {
		return err
	}
	store, err := storage.OpenDestination(ctx, s, storage.Config{FleetRoleARN: fleet.RoleARN, STSEndpoint: stsEndpoint})
	if err != nil {
		return err
	}
	defer store.Close()
	report := store.Check(ctx, storage.CheckConfig{
		Bucket: s.Bucket, Prefix: prefix, CanonicalID: fleet.CanonicalID, Principal: principal(s, fleet),
	})
	if p.settings.json() {
		err = printJSON(p.out, struct {
			Destination string `json:"destination"`
			Passed      bool   `json:"passed"`
			*storage.Report
		}{s.ID, report.Passed(), report})
	} else {
		err = p.printReport(s, report)
	}
	if err != nil {
		return err
	}
	if n := count(int64(failures(report))); n != "0" {
		return &codedError{exitBad, fmt.Errorf("destination %s: %s of %d steps failed", s.ID, n, len(report.Probes))}
	}
	if report.Interrupted {
		return fmt.Errorf("the check of %s ended before all was tried: %w", s.ID, context.Cause(ctx))
	}
	return nil
}

// principal is who a bucket or key policy admits, when the store does not tell.
func principal(s *destination.Settings, fleet destination.Fleet) string {
	if s.ConnectionOption != destination.SharedAccount && s.ConnectionOption != destination.CanonicalID {
		return ""
	}
	return fleet.Principal(s)
}

func failures(r *storage.Report) int {
	n := 0
	for _, probe := range r.Probes {
		if probe.Result == storage.Failed {
			n++
		}
	}
	return n
}

// printReport shows the probes in a table, and below it what to do.
func (p *program) printReport(s *destination.Settings, r *storage.Report) error {
	marks := map[storage.Result]string{storage.OK: "✓", storage.Warning: "!", storage.Failed: "✗", storage.Skipped: "-"}
	var rows [][]string
	for _, probe := range r.Probes {
		said := probe.Note
		if probe.Cause != nil {
			said = string(probe.Cause.ID)
		}
		rows = append(rows, []string{marks[probe.Result], string(probe.Name), string(probe.Result), fmt.Sprintf("%d ms", probe.Milliseconds), said})
	}
	fmt.Fprintf(p.out, "destination %s: %s, %s, s3://%s/%s\n\n", s.ID, s.ConnectionOption, s.Encryption, r.Bucket, printable(r.Prefix))
	if err := table(p.out, []string{"", "STEP", "RESULT", "TOOK", ""}, rows); err != nil {
		return err
	}
	for _, probe := range r.Probes {
		if probe.Cause == nil {
			continue
		}
		fmt.Fprintf(p.out, "\n%s %s: %s\n  %s\n", marks[probe.Result], probe.Name, printable(probe.Cause.Sentence), printable(probe.Cause.Remedy))
		if probe.Error != "" {
			fmt.Fprintf(p.out, "  The store said: %s\n", printable(probe.Error))
		}
		if probe.Statement != nil {
			fmt.Fprintf(p.out, "  Add to %s:\n%s\n", printable(probe.Statement.Where), indented(probe.Statement.Add))
		}
	}
	if r.Passed() {
		switch {
		case s.Paused:
			fmt.Fprintf(p.out, "\nLoads will work when it is resumed: loadfleet destination resume %s\n", s.ID)
		case s.NeedsApproval() && !s.Approved:
			fmt.Fprintf(p.out, "\nLoads will work when it is approved: loadfleet destination approve %s\n", s.ID)
		default:
			fmt.Fprintln(p.out, "\nLoads will work.")
		}
	}
	return nil
}

func indented(doc json.RawMessage) string {
	var b bytes.Buffer
	if json.Indent(&b, doc, "    ", "  ") != nil {
		return strings.TrimSpace(string(doc))
	}
	return "    " + b.String()
}
