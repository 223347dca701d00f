package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
)

// fleetStatus is what stands on the queue and who works on it.
type fleetStatus struct {
	*queue.Status
	Processes []messages.Presence `json:"processes"`
}

func (p *program) status() *cobra.Command {
	var watch bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show on one screen who works, what waits, what is in work and what is dead",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if watch && p.settings.json() {
				return usage(errors.New("--watch draws a screen: leave it out with -o json, and ask again as often as you like"))
			}
			return p.onQueue(cmd.Context(), "status", func(q *queue.Queue) error {
				if watch {
					return p.watchStatus(cmd.Context(), q)
				}
				var s fleetStatus
				asking, ctx := errgroup.WithContext(cmd.Context())
				asking.Go(func() (err error) {
					s.Processes, err = present(ctx, q)
					return err
				})
				asking.Go(func() (err error) {
					s.Status, err = q.Status(ctx)
					return err
				})
				if err := asking.Wait(); err != nil {
					return err
				}
				if p.settings.json() {
					return printJSON(p.out, s)
				}
				return p.showStatus(p.out, &s)
			})
		},
	}
	c.Flags().BoolVar(&watch, "watch", false, "draw it anew every two seconds, until Ctrl-C")
	return c
}

// screen is what is drawn next.
type screen struct {
	bytes.Buffer
	of io.Writer
}

// watchStatus draws the status until ctx ends.
func (p *program) watchStatus(ctx context.Context, q *queue.Queue) error {
	fleet, err := q.Presences(ctx)
	if err != nil {
		return err
	}
	defer fleet.Close()
	tick := time.NewTicker(messages.PresenceInterval)
	defer tick.Stop()
	for {
		s := fleetStatus{Processes: slices.DeleteFunc(fleet.All(), func(s messages.Presence) bool { return s.State == messages.ProcessStopped })}
		if s.Status, err = q.Status(ctx); err != nil && ctx.Err() == nil {
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
		screen := screen{of: p.out} // drawn at once: nothing flickers
		fmt.Fprintf(&screen, "\x1b[H\x1b[2J%s\n\n", when(time.Now()))
		if err := p.showStatus(&screen, &s); err != nil {
			return err
		}
		if _, err := p.out.Write(screen.Bytes()); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (p *program) showStatus(w io.Writer, s *fleetStatus) error {
	if err := p.processes(w, s.Processes); err != nil {
		return err
	}
	fmt.Fprintln(w)
	rows := [][]string{{"commits", count(int64(s.Commits.Pending)), count(int64(s.Commits.InFlight)), count(int64(s.Commits.Again)), count(int64(s.Commits.Waiting))}}
	for _, l := range s.Lanes {
		rows = append(rows, []string{"loads " + string(l.Lane), count(int64(l.Pending)), count(int64(l.InFlight)), count(int64(l.Again)), count(int64(l.Waiting))})
	}
	if err := table(w, []string{"LANE", "WAITING", "IN WORK OR HELD", "TRIED BEFORE", "OPEN PULLS"}, rows); err != nil {
		return err
	}
	if len(s.Parked) > 0 {
		fmt.Fprintln(w)
		rows = nil
		for _, d := range s.Parked {
			rows = append(rows, []string{d.Destination, count(d.Loads), when(d.Since), d.Why})
		}
		if err := table(w, []string{"REFUSED BY", "PARKED LOADS", "SINCE", "WHY"}, rows); err != nil {
			return err
		}
	}
	for _, st := range s.Streams {
		if full := st.Full(); full >= queue.NearlyFull {
			fmt.Fprintf(w, "\n%s is %.0f %% full, of %s: %s\n", st.Name, 100*full, size(st.MaxBytes), whenFull(st.Name))
		}
	}
	if s.Stuck > 0 {
		fmt.Fprintf(w, "\n%s loads are stuck: no consumer will deliver them\n", count(s.Stuck))
	}
	fmt.Fprintln(w)
	rows = nil
	for _, d := range s.DeadLetters {
		rows = append(rows, []string{d.Destination, string(d.Reason), count(int64(d.Count))})
	}
	if len(rows) == 0 {
		fmt.Fprintln(w, "no dead letters")
	} else if err := table(w, []string{"DEAD LETTERS OF", "REASON", "COUNT"}, rows); err != nil {
		return err
	}
	fmt.Fprintln(w)
	rows = nil
	for _, st := range s.Streams {
		rows = append(rows, []string{st.Name, count(int64(st.Messages)), size(int64(st.Bytes)), when(st.Last)})
	}
	return table(w, []string{"STREAM", "MESSAGES", "BYTES", "LAST"}, rows)
}

// whenFull says what happens when a stream is full, and what to do before.
func whenFull(stream string) string {
	if stream == "DEAD" {
		return "then loads that die stay on the queue and are tried again. Replay or discard dead letters, or provision with a larger --dead-letters-limit"
	}
	return "then publishers wait. Start more workers or dispatchers, or give it more room"
}
