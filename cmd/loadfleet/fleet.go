package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
)

func (p *program) fleet() *cobra.Command {
	c := &cobra.Command{
		Use:   "fleet",
		Short: "See the dispatchers and workers that run, and pause, resume or drain workers",
		Args:  cobra.NoArgs,
	}
	c.AddCommand(p.fleetList(), p.fleetAudit(),
		p.fleetInstruct(messages.InstructPause, "Let a worker take nothing more; it keeps what it has in work",
			`Pause also holds for workers of that name that start later, until it is resumed.`),
		p.fleetInstruct(messages.InstructResume, "Let a paused worker take loads again", `Resume ends a pause.`),
		p.fleetInstruct(messages.InstructDrain, "Let a worker finish what it has, give the rest back, and end",
			`Drain is what SIGTERM does: the worker finishes what is in work within its grace,
gives the rest back at no cost of an attempt, and exits with 0. It is for the
workers that run now, not for those that start later under the same name.`))
	return c
}

// roll is who is there, and what operators want of who is not.
type roll struct {
	Processes []messages.Presence `json:"processes"`
	// Paused is the workers that are paused, by name, there or not.
	Paused []messages.Control `json:"paused"`
}

// callTime is how long everybody who is there is heard within.
const callTime = messages.PresenceInterval + 500*time.Millisecond

// present listens to who is there.
func present(ctx context.Context, q *queue.Queue) ([]messages.Presence, error) {
	fleet, err := q.Presences(ctx)
	if err != nil {
		return nil, err
	}
	defer fleet.Close()
	return call(ctx, fleet)
}

// call listens until everybody who is there was heard.
func call(ctx context.Context, fleet *queue.Presences) ([]messages.Presence, error) {
	listen, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	all, err := fleet.Await(listen, func([]messages.Presence) bool { return false })
	if ctx.Err() != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(s messages.Presence) bool { return s.State == messages.ProcessStopped }), nil
}

func (p *program) fleetList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the dispatchers and workers that run, with what they have in work and have done",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.onQueue(cmd.Context(), "fleet", func(q *queue.Queue) error {
				all, err := present(cmd.Context(), q)
				if err != nil {
					return err
				}
				r := roll{Processes: all, Paused: []messages.Control{}}
				for c, err := range q.Controls(cmd.Context()) {
					if err != nil {
						return err
					}
					if c.Paused {
						r.Paused = append(r.Paused, c)
					}
				}
				if p.settings.json() {
					return printJSON(p.out, r)
				}
				return p.listFleet(&r)
			})
		},
	}
}

func (p *program) listFleet(r *roll) error {
	if err := p.processes(p.out, r.Processes); err != nil || len(r.Paused) == 0 {
		return err
	}
	fmt.Fprintln(p.out)
	var rows [][]string
	for _, c := range r.Paused {
		there := slices.ContainsFunc(r.Processes, func(s messages.Presence) bool { return s.Role == c.Role && s.Name == c.Name })
		rows = append(rows, []string{c.Name, map[bool]string{true: "yes", false: "no"}[there], c.By, when(c.Time)})
	}
	return table(p.out, []string{"PAUSED", "THERE", "BY", "SINCE"}, rows)
}

// processes is a table of who is there.
func (p *program) processes(w io.Writer, all []messages.Presence) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "no dispatcher or worker is heard")
		return err
	}
	var rows [][]string
	for _, s := range all {
		refuses := strings.Join(s.Refusing, " ")
		if more := s.Breakers - len(s.Refusing); more > 0 {
			refuses += fmt.Sprintf(" and %d more", more)
		}
		rows = append(rows, []string{
			string(s.Role), s.Name, string(s.State), fmt.Sprintf("%d of %d", s.InFlight, s.Slots), size(s.Reserved) + " of " + size(s.Memory),
			count(s.Loads), count(s.Rows), size(s.Bytes), refuses, s.Program, when(s.Started),
		})
	}
	return table(w, []string{"ROLE", "NAME", "STATE", "IN WORK", "MEMORY", "LOADS", "ROWS", "BYTES", "REFUSED BY", "VERSION", "SINCE"}, rows)
}

// instructed is what became of an instruction.
type instructed struct {
	messages.Control
	Confirmed []string `json:"confirmed"` // instances that said that they obey
	Silent    []string `json:"silent"`    // instances that are there and did not
}

func (p *program) fleetInstruct(what messages.Instruction, short, long string) *cobra.Command {
	var by string
	var patience time.Duration
	c := &cobra.Command{
		Use:   string(what) + " NAME",
		Short: short,
		Long: short + ".\n\n" + long + `

The answer says whether the worker has confirmed; exit code 4 means that it was
told and did not, or not yet. Who did it and when is kept for 400 days: see
` + "`loadfleet fleet audit`.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !messages.ValidProcessName(args[0]) {
				return usage(fmt.Errorf("%q cannot be the name of a worker", args[0]))
			}
			return p.onQueue(cmd.Context(), "fleet", func(q *queue.Queue) error {
				done, err := instruct(cmd.Context(), q, what, args[0], cmp.Or(by, whoami()), patience)
				if err != nil {
					return err
				}
				return p.instructed(done)
			})
		},
	}
	c.Flags().StringVar(&by, "by", "", "who does it, for the audit; default: this user and host")
	c.Flags().DurationVar(&patience, "wait", 10*time.Second, "how long to wait for the worker to confirm")
	return c
}

// instruct stores an instruction and waits until the workers of that name who
// are there confirm it.
func instruct(ctx context.Context, q *queue.Queue, what messages.Instruction, name, by string, patience time.Duration) (*instructed, error) {
	fleet, err := q.Presences(ctx)
	if err != nil {
		return nil, err
	}
	defer fleet.Close()
	named := func(s messages.Presence) bool { return s.Role == messages.RoleWorker && s.Name == name }
	all, err := call(ctx, fleet)
	if err != nil {
		return nil, err
	}
	silent := map[string]bool{}
	var drain []string
	for _, s := range all {
		if named(s) {
			silent[s.Instance] = true
			drain = append(drain, s.Instance)
		}
	}
	if what != messages.InstructDrain {
		drain = nil
	} else if len(drain) == 0 {
		return nil, notFound(fmt.Errorf("no worker of the name %q is heard; see `loadfleet fleet list`", name))
	}
	c, err := q.Instruct(ctx, messages.RoleWorker, name, what, drain, by)
	if err != nil {
		return nil, err
	}
	done := &instructed{Control: *c, Confirmed: []string{}, Silent: []string{}}
	confirm, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err = fleet.Await(confirm, func(all []messages.Presence) bool {
		for _, s := range all {
			if named(s) && s.Operation == c.Operation && silent[s.Instance] {
				delete(silent, s.Instance)
				done.Confirmed = append(done.Confirmed, s.Instance)
			}
		}
		return len(silent) == 0
	})
	if err != nil && ctx.Err() != nil {
		return nil, err
	}
	for instance := range silent {
		done.Silent = append(done.Silent, instance)
	}
	slices.Sort(done.Silent)
	return done, nil
}

// past is what a worker is after an instruction.
func past(what messages.Instruction) string {
	return map[messages.Instruction]string{
		messages.InstructPause: "paused", messages.InstructResume: "running", messages.InstructDrain: "draining",
	}[what]
}

func (p *program) instructed(done *instructed) error {
	var bad error
	switch {
	case len(done.Silent) > 0:
		bad = &codedError{exitBad, fmt.Errorf("worker %s was told to %s and has not confirmed: it obeys when it hears of it", printable(done.Name), done.Instruction)}
	case len(done.Confirmed) == 0:
		bad = &codedError{exitBad, fmt.Errorf("no worker of the name %s is heard: one that starts will be %s", printable(done.Name), past(done.Instruction))}
	}
	if p.settings.json() {
		return errors.Join(printJSON(p.out, done), bad)
	}
	if n := len(done.Confirmed); n == 1 {
		fmt.Fprintf(p.out, "worker %s: %s, it confirms\n", printable(done.Name), past(done.Instruction))
	} else if n > 1 {
		fmt.Fprintf(p.out, "worker %s: %s, %d of that name confirm\n", printable(done.Name), past(done.Instruction), n)
	}
	return bad
}

func (p *program) fleetAudit() *cobra.Command {
	return &cobra.Command{
		Use:   "audit [NAME]",
		Short: "See who paused, resumed and drained which workers in the last 400 days, the latest first",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.onQueue(cmd.Context(), "fleet", func(q *queue.Queue) error {
				all := []messages.Control{}
				for c, err := range q.ControlAudit(cmd.Context(), strings.Join(args, "")) {
					if err != nil {
						return err
					}
					all = append(all, c)
				}
				slices.Reverse(all)
				if p.settings.json() {
					return printJSON(p.out, all)
				}
				var rows [][]string
				for _, c := range all {
					rows = append(rows, []string{when(c.Time), c.By, string(c.Instruction), string(c.Role), c.Name, c.Operation})
				}
				return table(p.out, []string{"TIME", "BY", "DID", "ROLE", "NAME", "OPERATION"}, rows)
			})
		},
	}
}
