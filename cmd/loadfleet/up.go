package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/loadfleet/loadfleet/dispatcher"
	"github.com/loadfleet/loadfleet/worker"
)

func (p *program) up() *cobra.Command {
	cfg := nodeConfig{}
	c := &cobra.Command{
		Use:   "up",
		Short: "Run the whole fleet in this process, on embedded NATS and S3",
		Long: `Up runs NATS JetStream, an S3 server, a dispatcher, a worker and the console in one
process, on loopback, with all data in one directory, until it is interrupted. The file
env in that directory sets the environment for the other commands and for the
AWS command line. With --servers-only it runs NATS and S3, and dispatchers and
workers are processes of their own.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			cfg.lease = p.settings.lease
			n, err := startNode(cmd.Context(), cfg, p.logger(p.settings.level()))
			if err != nil {
				return fmt.Errorf("up: %w", err)
			}
			defer func() { err = errors.Join(err, n.close()) }()
			env, err := n.writeEnv()
			if err != nil {
				return fmt.Errorf("up: %w", err)
			}
			fmt.Fprintf(p.out, `loadfleet is up: NATS JetStream on %s, S3 on %s, data in %s.

In another terminal:
  . %s
  %[5]s destination apply -f testdata/destinations/acme.yaml
  %[5]s publish --destination acme --table ads --date-column date --wait rows.ndjson
  aws s3 ls --recursive s3://acme
%[6]s
Stop it with Ctrl-C: what is in work is finished or given back.
`, n.nats.URL(), n.s3.Endpoint(), cfg.dir, env, invocation(), n.consoleLine())
			select {
			case <-cmd.Context().Done():
				return nil
			case err := <-n.errs:
				return err
			}
		},
	}
	f := c.Flags()
	f.StringVar(&cfg.dir, "data", "./loadfleet-data", "directory of everything that is kept")
	f.IntVar(&cfg.natsPort, "nats-port", 4222, "port of NATS on loopback; 0 for any")
	f.StringVar(&cfg.s3Addr, "s3-addr", "127.0.0.1:9000", "address of the S3 server")
	f.StringSliceVar(&cfg.buckets, "bucket", []string{"acme"}, "buckets to make")
	f.StringVar(&cfg.stageURL, "stage-url", "", "where staged extractions' files are, as for the dispatcher; default: the folder stage of --data")
	f.StringVar(&cfg.consoleAddr, "console-addr", "127.0.0.1:8080", "address of the console; empty for none")
	f.BoolVar(&cfg.serversOnly, "servers-only", false, "run NATS and S3 only, no dispatcher, worker and console")
	cfg.dispatcher.Program, cfg.worker.Program = programVersion(), programVersion()
	bindDispatcher(f, &cfg.dispatcher)
	cfg.dispatcher.MemoryBytes = defaultMemory
	f.Var((*byteSize)(&cfg.dispatcher.MemoryBytes), "dispatch-memory", "what the dispatcher may have resident; beyond it extractions are spilled to disk")
	bindWorker(f, &cfg.worker)
	return c
}

func (p *program) dispatcher() *cobra.Command {
	var cfg dispatcher.Config
	var stageURL, metrics string
	c := &cobra.Command{
		Use:   "dispatcher",
		Short: "Split committed extractions into loads",
		Long: `Dispatcher takes committed extractions from the queue and puts one load per
object on it. Run as many as you like: they share the work, and each extraction
is dispatched exactly once. It needs no seal key.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.actor(cmd.Context(), "dispatcher", func(ctx context.Context, a *actor) (err error) {
				if stageURL != "" {
					opened, failed := openStage(ctx, stageURL, a.queue)
					if failed != nil {
						return a.stopped(failed)
					}
					defer func() { err = errors.Join(err, opened.close()) }()
					cfg.Stage = opened
				}
				tuneRuntime(cfg.MemoryBytes)
				m := &monitor{registry: newRegistry(), queue: a.queue, draining: func() bool { return ctx.Err() != nil }}
				cfg.Metrics = m.registry
				traces, stop, err := tracing(ctx, "loadfleet-dispatcher", a.log)
				if err != nil {
					return err
				}
				defer func() { err = errors.Join(err, stop()) }()
				cfg.Tracer = traces
				d := dispatcher.New(a.queue, cfg, a.log)
				if err := m.serve(metrics, a.log); err != nil {
					return err
				}
				defer m.close()
				return d.Run(ctx)
			})
		},
	}
	cfg.Program = programVersion()
	bindDispatcher(c.Flags(), &cfg)
	bindName(c.Flags(), &cfg.Name)
	bindMetrics(c.Flags(), &metrics)
	c.Flags().StringVar(&stageURL, "stage-url", "", stageHelp)
	bindMemory(c.Flags(), &cfg.MemoryBytes)
	return c
}

func (p *program) worker() *cobra.Command {
	var cfg worker.Config
	var metrics string
	c := &cobra.Command{
		Use:   "worker",
		Short: "Carry out loads: encode files and put them into buckets",
		Long: `Worker takes loads from the queue, encodes each into its file and puts it into
the customer's bucket. Run as many as you like. On SIGTERM it pulls no more,
finishes what is in work within the grace and gives the rest back. Operators
pause, resume and drain it by its name: see loadfleet fleet.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			keyring, err := p.settings.keyring()
			if err != nil {
				return err
			}
			return p.actor(cmd.Context(), "worker", func(ctx context.Context, a *actor) (err error) {
				tuneRuntime(cfg.MemoryBytes)
				m := &monitor{registry: newRegistry(), queue: a.queue}
				cfg.Metrics = m.registry
				traces, stop, err := tracing(ctx, "loadfleet-worker", a.log)
				if err != nil {
					return err
				}
				defer func() { err = errors.Join(err, stop()) }()
				cfg.Tracer = traces
				w := worker.New(a.queue, keyring, cfg, a.log)
				m.draining = w.Draining
				if err := m.serve(metrics, a.log); err != nil {
					return err
				}
				defer m.close()
				return w.Run(ctx)
			}, func(ctx context.Context, a *actor) error {
				return worker.CheckKeyring(ctx, a.queue, keyring, a.log)
			})
		},
	}
	cfg.Program = programVersion()
	bindWorker(c.Flags(), &cfg)
	bindName(c.Flags(), &cfg.Name)
	bindMetrics(c.Flags(), &metrics)
	bindMemory(c.Flags(), &cfg.MemoryBytes)
	return c
}
