package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// The exit codes, for scripts.
const (
	exitOK       = 0
	exitFailed   = 1 // the command could not do what it was asked
	exitUsage    = 2 // the command line or a document given to it is wrong
	exitNotFound = 3 // what was asked for is not there
	exitBad      = 4 // it was done, and the answer is bad: loads dead-lettered, verify with findings or of what failed
)

// codedError carries the exit code that its error asks for.
type codedError struct {
	code int
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

func usage(err error) error    { return &codedError{exitUsage, err} }
func notFound(err error) error { return &codedError{exitNotFound, err} }

// program is what every command has: where to read and write, and the flags
// that all share.
type program struct {
	in       io.Reader
	out, err io.Writer
	settings settings
	began    bool // a command is at work: the command line was right
}

// run is the program, as a function of its command line.
func run(args []string, in io.Reader, out, errw io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	p := &program{in: in, out: out, err: errw}
	root := p.root()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errw)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(errw, "loadfleet:", err)
	var coded *codedError
	if errors.As(err, &coded) {
		return coded.code
	}
	if !p.began {
		return exitUsage
	}
	return exitFailed
}

func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "loadfleet",
		Short: "Load extraction results into customers' S3 buckets",
		Long: `loadfleet is an S3 destination as a fleet: extractors publish rows to NATS
JetStream, a dispatcher splits each extraction into one durable load per object,
and workers encode each load and put it into the customer's bucket under an
idempotent key.

See it work:            loadfleet demo
Run all of it here:     loadfleet up
Load a file:            loadfleet publish --destination acme --table ads rows.ndjson

Every flag can be set by environment: --nats-url is LOADFLEET_NATS_URL, and so on.
Exit codes: 0 done; 1 it could not be done; 2 the command line or a document is
wrong; 3 not found; 4 done, and the answer is bad: loads were dead-lettered, or
verify found something.`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(err) })
	p.settings.bind(root.PersistentFlags())
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		return p.settings.resolve(cmd.Flags(), os.LookupEnv)
	}
	root.AddGroup(
		&cobra.Group{ID: "try", Title: "See it work:"},
		&cobra.Group{ID: "fleet", Title: "The fleet:"},
		&cobra.Group{ID: "use", Title: "Use it:"},
	)
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("try", p.demo(), p.up())
	add("fleet", p.provision(), p.dispatcher(), p.worker(), p.console(), p.status(), p.fleet(), p.health(), p.natsKey())
	add("use", p.publish(), p.destination(), p.extraction(), p.load(), p.verify(), p.deadletter())
	root.AddCommand(p.bench(), p.benchServers(), p.benchExtractor(), p.benchTogether(), p.benchStages(), p.benchPut(), p.version())
	p.watch(root)
	p.complete(root)
	return root
}

// watch notes when a command of c begins, which tells a wrong command line from
// a failure. A group of commands shows its help, and refuses a command that it
// has not.
func (p *program) watch(c *cobra.Command) {
	if c.HasParent() && c.HasSubCommands() && !c.Runnable() {
		c.DisableFlagsInUseLine = true
		c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	}
	if work := c.RunE; work != nil {
		c.RunE = func(c *cobra.Command, args []string) error {
			p.began = true
			return work(c, args)
		}
	}
	for _, sub := range c.Commands() {
		p.watch(sub)
	}
}

// logger writes one JSON line per event, to standard error.
func (p *program) logger(level zapcore.Level) *zap.Logger {
	encoder := zap.NewProductionEncoderConfig()
	encoder.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	core := zapcore.NewCore(zapcore.NewJSONEncoder(encoder), zapcore.AddSync(p.err), level)
	return zap.New(core)
}
