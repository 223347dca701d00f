package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/loadfleet/loadfleet/queue"
)

func (p *program) provision() *cobra.Command {
	var dead byteSize
	c := &cobra.Command{
		Use:   "provision",
		Short: "Make the streams on NATS, or bring them up to date",
		Long: `Provision makes every stream, consumer and bucket that the fleet uses, and
changes those that are there to what this version needs. Run it before the
first start and before each new version, with a provisioner's credentials;
repeating it does no harm. No other command changes them ("up" and "demo"
provision the servers that they start).

Dead letters stay until somebody replays or discards them. Their stream has a
limit, which NATS sets aside on its disk; status and the logs warn from four
fifths of it on. When it is full nothing is lost: what dies stays on the queue.`,
		Example: `  loadfleet provision --replicas 3 --nats-url tls://nats:4222 --nats-nkey provisioner.seed`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			ctx := cmd.Context()
			p.settings.deadBytes = int64(dead)
			q, err := p.settings.connect(ctx, "provision", p.logger(p.settings.level()))
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, q.Close(context.WithoutCancel(ctx))) }()
			if err := q.Provision(ctx); err != nil {
				return err
			}
			if p.settings.json() {
				return printJSON(p.out, map[string]any{"provisioned": true, "replicas": p.settings.replicas})
			}
			fmt.Fprintf(p.out, "provisioned: every stream with %s\n", copies(p.settings.replicas))
			return nil
		},
	}
	dead = queue.DefaultDeadBytes
	c.Flags().Var(&dead, "dead-letters-limit", "how much room dead letters may take")
	return c
}

func copies(n int) string {
	if n == 1 {
		return "1 copy"
	}
	return fmt.Sprintf("%d copies", n)
}

func (p *program) natsKey() *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:   "nats-key",
		Short: "Make an identity for NATS: a secret seed and its public key",
		Long: `Nats-key writes a new seed into a file that only its owner may read, for
--nats-nkey, and prints the public key, for the server's configuration. See
deploy/nats.`,
		Example: `  loadfleet nats-key --out worker.seed`,
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			seed, public, err := queue.NewNKey()
			if err != nil {
				return err
			}
			// An identity in use is not overwritten.
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if err != nil {
				return fmt.Errorf("--out: %w", err)
			}
			_, err = f.WriteString(seed + "\n")
			if err := errors.Join(err, f.Close()); err != nil {
				return fmt.Errorf("--out %s: %w", path, err)
			}
			if p.settings.json() {
				return printJSON(p.out, map[string]string{"public": public, "seed_file": path})
			}
			fmt.Fprintln(p.out, public)
			return nil
		},
	}
	c.Flags().StringVar(&path, "out", "", "file to write the seed to; must not be there yet (required)")
	if err := c.MarkFlagRequired("out"); err != nil {
		panic(err) // the flag is defined above
	}
	return c
}
