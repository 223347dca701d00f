package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/user"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
)

// act is what a command does with each dead letter that it chose.
type act struct {
	verb messages.Verb
	done string // what was done with each, in a word

	choose   choice
	dry, all bool
	rate     float64
	by       string
}

// deadletterEach is a command that does something with every chosen dead letter.
func (p *program) deadletterEach(verb messages.Verb, short, done string) *cobra.Command {
	a, use := &act{verb: verb, done: done}, string(verb)
	c := &cobra.Command{
		Use:   use + " [SEQ ...]",
		Short: short,
		Long: short + `.

Who did it, when and by which choice is kept for 400 days: see
` + "`loadfleet deadletter audit`" + `. Interrupted, it may be repeated.`,
		Example: "  loadfleet deadletter " + use + " --destination acme --reason destination --dry-run",
		RunE: func(cmd *cobra.Command, args []string) error {
			wanted, err := a.resolve(args)
			if err != nil {
				return usage(err)
			}
			return p.onQueue(cmd.Context(), "deadletter", func(q *queue.Queue) error {
				picked, err := a.pick(cmd.Context(), q, wanted)
				if err != nil {
					return err
				}
				if a.dry {
					return p.wouldBe(picked, done)
				}
				op := queue.NewOperation(cmp.Or(a.by, whoami()), a.choose.said(args))
				sequences := make([]uint64, len(picked))
				for i, d := range picked {
					sequences[i] = d.Sequence
				}
				n, err := q.Decide(cmd.Context(), a.verb, sequences, op, a.rate)
				if err != nil {
					return fmt.Errorf("after %s %s: %w", many(int64(n), "dead letter"), done, err)
				}
				if p.settings.json() {
					return printJSON(p.out, map[string]any{done: n, "operation": op.ID})
				}
				fmt.Fprintf(p.out, "%s %s\n", many(int64(n), "dead letter"), done)
				if n > 0 {
					fmt.Fprintf(p.out, "what became of it: loadfleet deadletter audit --operation %s\n", op.ID)
				}
				return nil
			})
		},
	}
	a.choose.bind(c.Flags())
	c.Flags().BoolVar(&a.dry, "dry-run", false, "only list what would be "+done)
	c.Flags().BoolVar(&a.all, "all", false, "every dead letter")
	c.Flags().Float64Var(&a.rate, "rate", 0, "at most so many a second; 0 for no limit")
	c.Flags().StringVar(&a.by, "by", "", "who does it, for the audit; default: this user and host")
	return c
}

// resolve checks the command line; the numbers are those of single dead letters.
func (a *act) resolve(args []string) (wanted map[uint64]bool, err error) {
	errs := []error{a.choose.resolve(time.Now())}
	wanted = map[uint64]bool{}
	for _, arg := range args {
		seq, err := strconv.ParseUint(arg, 10, 64)
		if err != nil {
			errs = append(errs, fmt.Errorf("%q is no sequence number", arg))
		}
		wanted[seq] = true
	}
	if a.rate < 0 || a.rate > 10000 {
		errs = append(errs, fmt.Errorf("--rate %g: write how many a second, up to 10000, or 0 for no limit", a.rate))
	}
	if len(args) == 0 && a.choose.filter == (queue.DeadLetterFilter{}) && !a.all {
		errs = append(errs, errors.New("say which: sequence numbers, a filter, or --all"))
	}
	return wanted, errors.Join(errs...)
}

// pick is the dead letters that the filter chooses, and of these the wanted
// ones when numbers were given.
func (a *act) pick(ctx context.Context, q *queue.Queue, wanted map[uint64]bool) ([]queue.DeadLetter, error) {
	found, err := a.choose.chosen(ctx, q)
	if err != nil {
		return nil, err
	}
	missing := maps.Clone(wanted)
	picked := []queue.DeadLetter{}
	for _, d := range found {
		if len(wanted) == 0 || wanted[d.Sequence] {
			picked = append(picked, d)
			delete(missing, d.Sequence)
		}
	}
	for _, seq := range slices.Sorted(maps.Keys(missing)) {
		return nil, notFound(fmt.Errorf("there is no dead letter %d of those chosen; see `loadfleet deadletter list`", seq))
	}
	return picked, nil
}

func (p *program) wouldBe(picked []queue.DeadLetter, done string) error {
	if p.settings.json() {
		return printJSON(p.out, picked)
	}
	fmt.Fprintf(p.out, "%s would be %s:\n", many(int64(len(picked)), "dead letter"), done)
	return p.listDead(picked)
}

// whoami is this user and host.
func whoami() string {
	name, host := "unknown", "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if h, err := os.Hostname(); err == nil {
		host = h
	}
	return name + "@" + host
}
