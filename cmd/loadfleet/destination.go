package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
)

func (p *program) destination() *cobra.Command {
	c := &cobra.Command{
		Use:   "destination",
		Short: "Connect customers' buckets: apply, check, list, show, preview, policy, approve, pause, resume, audit, orphans, delete",
		Args:  cobra.NoArgs,
	}
	c.AddCommand(p.destinationApply(), p.destinationList(), p.destinationShow(), p.destinationPreview(), p.destinationPolicy(), p.destinationCheck(), p.destinationDelete(), p.destinationAudit(), p.destinationOrphans(), p.destinationNewKey(), p.destinationReseal())
	for _, s := range []struct {
		action messages.DestinationAction
		short  string
		set    func(*destination.Settings)
	}{
		{messages.DestinationApprove, "Let loads flow to a destination that is not self-service", func(s *destination.Settings) { s.Approved = true }},
		{messages.DestinationPause, "Hold a destination's extractions and loads", func(s *destination.Settings) { s.Paused = true }},
		{messages.DestinationResume, "Let a paused destination's extractions and loads go on, within a minute or so", func(s *destination.Settings) { s.Paused = false }},
	} {
		c.AddCommand(p.destinationSet(s.action, s.short, s.set))
	}
	return c
}

// desk is what a command on destinations works with.
type desk struct {
	queue   *queue.Queue
	store   *queue.Destinations
	keyring *destination.Keyring
}

// atDesk connects, runs and closes.
func (p *program) atDesk(ctx context.Context, do func(*desk) error) (err error) {
	keyring, err := p.settings.keyring()
	if err != nil {
		return err
	}
	q, err := p.settings.connect(ctx, "destination", p.logger(p.settings.level()))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close(context.WithoutCancel(ctx))) }()
	if err := q.Check(ctx); err != nil {
		return err
	}
	return do(&desk{queue: q, store: q.Destinations(), keyring: keyring})
}

// get reads a destination and its revision; exitNotFound when there is none.
func (d *desk) get(ctx context.Context, id string) (*destination.Settings, uint64, error) {
	s, revision, err := d.store.Open(ctx, d.keyring, id)
	return s, revision, explained(id, err)
}

// describe is get without the secret, which no key is needed for.
func (d *desk) describe(ctx context.Context, id string) (*destination.Settings, uint64, error) {
	s, revision, err := d.store.Describe(ctx, id)
	return s, revision, explained(id, err)
}

// explained is an error about a destination, with what to do.
func explained(id string, err error) error {
	if errors.Is(err, queue.ErrNotFound) {
		return notFound(fmt.Errorf("there is no destination %q; see `loadfleet destination list`", id))
	}
	return sealed(err)
}

// sealed says what to do about a secret that does not open.
func sealed(err error) error {
	switch {
	case errors.Is(err, destination.ErrUnknownKey):
		return fmt.Errorf("%w: give that key too with --seal-key, one a line after the newest; if it is lost, apply the destination again with --yes", err)
	case errors.Is(err, destination.ErrTampered):
		return fmt.Errorf("%w: apply the destination again with --yes", err)
	}
	return err
}

// put seals and stores a destination over the revision it was read at.
func (d *desk) put(ctx context.Context, s *destination.Settings, over uint64, edit queue.Edit) (uint64, error) {
	revision, err := d.store.Save(ctx, d.keyring, s, over, edit)
	if errors.Is(err, queue.ErrRevision) {
		return 0, fmt.Errorf("destination %s was changed by somebody else meanwhile: look at it and try again", s.ID)
	}
	return revision, err
}

// bindBy is the flag of a command that changes destinations.
func bindBy(c *cobra.Command, by *string) {
	c.Flags().StringVar(by, "by", "", "who does it, for the audit; default: this user and host")
}

func (p *program) destinationDelete() *cobra.Command {
	var yes bool
	var by string
	c := &cobra.Command{
		Use:   "delete ID --yes",
		Short: "Delete a destination; its objects stay in the bucket",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.atDesk(cmd.Context(), func(d *desk) error {
				s, _, err := d.describe(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				if !yes {
					return usage(fmt.Errorf("deleting destination %s (%s) stops its loads; repeat with --yes", s.ID, s.Title))
				}
				if err := d.store.Delete(cmd.Context(), s.ID, cmp.Or(by, whoami())); err != nil {
					return err
				}
				if p.settings.json() {
					return printJSON(p.out, map[string]string{"id": s.ID, "state": "deleted"})
				}
				fmt.Fprintf(p.out, "destination %s deleted\n", s.ID)
				return nil
			})
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "really delete it")
	bindBy(c, &by)
	return c
}

func (p *program) destinationSet(action messages.DestinationAction, short string, set func(*destination.Settings)) *cobra.Command {
	var by string
	c := &cobra.Command{
		Use:   string(action) + " ID",
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.atDesk(cmd.Context(), func(d *desk) error {
				s, revision, err := d.get(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				was := *s
				if set(s); s.Approved != was.Approved || s.Paused != was.Paused {
					if _, err := d.put(cmd.Context(), s, revision, queue.Edit{Action: action, By: cmp.Or(by, whoami()), From: &was}); err != nil {
						return err
					}
				}
				if p.settings.json() {
					return printJSON(p.out, map[string]string{"id": s.ID, "state": s.Flow()})
				}
				fmt.Fprintf(p.out, "destination %s: %s\n", s.ID, s.Flow())
				return nil
			})
		},
	}
	bindBy(c, &by)
	return c
}

func (p *program) destinationNewKey() *cobra.Command {
	return &cobra.Command{
		Use:   "new-key",
		Short: "Make a key that seals destinations' secrets",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(p.out, destination.NewSealKey())
			return err
		},
	}
}

func (p *program) destinationReseal() *cobra.Command {
	var by string
	c := &cobra.Command{
		Use:   "reseal",
		Short: "Seal every destination's secret with the newest key",
		Long: `Reseal completes the rotation of the seal key: give the new key before the old
one (--seal-key, one a line) to every process, reseal, then take the old one away.
Earlier revisions of a destination stay sealed with the key of their time.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.atDesk(cmd.Context(), func(d *desk) error {
				all, err := d.store.List(cmd.Context())
				if err != nil {
					return err
				}
				resealed := 0
				for _, stored := range all {
					needs, err := d.keyring.NeedsReseal(stored.Document)
					if err != nil {
						return sealed(err)
					}
					if !needs {
						continue
					}
					s, err := d.keyring.Open(stored.Document)
					if err != nil {
						return sealed(err)
					}
					if _, err := d.put(cmd.Context(), s, stored.Revision, queue.Edit{Action: messages.DestinationReseal, By: cmp.Or(by, whoami()), From: s}); err != nil {
						return err
					}
					resealed++
				}
				if p.settings.json() {
					return printJSON(p.out, map[string]int{"destinations": len(all), "resealed": resealed})
				}
				fmt.Fprintf(p.out, "%d of %d destinations resealed\n", resealed, len(all))
				return nil
			})
		},
	}
	bindBy(c, &by)
	return c
}
