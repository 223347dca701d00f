package main

import (
	"bufio"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/storage"
	"github.com/loadfleet/loadfleet/testdata"
)

//go:embed demo/*.yaml
var demoDocuments embed.FS

const demoBucket = "demo"

func (p *program) demo() *cobra.Command {
	var keep string
	c := &cobra.Command{
		Use:   "demo",
		Short: "Load real rows into six kinds of files, on embedded parts",
		Long: `Demo runs the whole fleet in this process: NATS JetStream with its storage on
disk, an S3 server on loopback, a dispatcher and a worker. It applies six
destinations, one per file format, publishes the extraction of testdata/ to
each, waits for every load, and shows what is in the bucket. It leaves nothing
running and, without --keep, nothing behind.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			dir := keep
			if dir == "" {
				if dir, err = os.MkdirTemp("", "loadfleet-demo-"); err != nil {
					return err
				}
				defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
			}
			level := zapcore.ErrorLevel
			if p.settings.level() < zapcore.InfoLevel {
				level = p.settings.level()
			}
			show := &demonstration{program: p, dir: dir, kept: keep != "", log: p.logger(level)}
			return show.run(cmd.Context())
		},
	}
	c.Flags().StringVar(&keep, "keep", "", "keep queue and bucket in this directory")
	return c
}

// demonstration is one run of the demo.
type demonstration struct {
	*program
	dir   string
	kept  bool
	log   *zap.Logger
	node  *node
	shown []shown
}

// shown is what a destination's run took and brought.
type shown struct {
	settings                *destination.Settings
	extraction              string
	publish, dispatch, load time.Duration
	account                 *account
}

func (d *demonstration) run(ctx context.Context) (err error) {
	started := time.Now()
	if d.node, err = startNode(ctx, nodeConfig{dir: d.dir, buckets: []string{demoBucket}, lease: d.settings.lease}, d.log); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer func() { err = errors.Join(err, d.node.close()) }()
	fmt.Fprintf(d.out, "Started NATS JetStream, an S3 server, a dispatcher and a worker in %s.\n", round(time.Since(started)))
	documents, err := fs.Glob(demoDocuments, "demo/*.yaml")
	if err != nil {
		return err
	}
	for i, name := range documents {
		s, err := d.apply(ctx, name)
		if err != nil {
			return fmt.Errorf("demo: %s: %w", name, err)
		}
		fmt.Fprintf(d.out, "[%d/%d] %-9s %s", i+1, len(documents), s.FileFormat, s.Title)
		if err := d.publish(ctx, s); err != nil {
			fmt.Fprintln(d.out)
			return fmt.Errorf("demo: %s: %w", s.ID, err)
		}
		last := d.shown[len(d.shown)-1]
		fmt.Fprintf(d.out, ": %s rows -> %s objects in %s\n", count(last.account.Rows), count(int64(len(last.account.Outcomes))),
			round(last.publish+last.dispatch+last.load))
	}
	store, err := storage.OpenDestination(ctx, d.shown[0].settings, storage.Config{})
	if err != nil {
		return err
	}
	defer store.Close()
	if err := d.tree(ctx, store); err != nil {
		return err
	}
	if err := d.head(ctx, store); err != nil {
		return err
	}
	if err := d.totals(); err != nil {
		return err
	}
	return d.next()
}

// environment is the process's with what the node made.
type environment struct {
	destination.Resolver
	node *node
}

func (e environment) Env(name string) (string, bool) {
	switch name {
	case "DEMO_ENDPOINT":
		return e.node.s3.Endpoint(), true
	case "DEMO_ACCESS_KEY":
		return e.node.accessKey, true
	case "DEMO_SECRET_KEY":
		return e.node.secretKey, true
	}
	return e.Resolver.Env(name)
}

// apply stores a destination of the demo.
func (d *demonstration) apply(ctx context.Context, name string) (*destination.Settings, error) {
	doc, err := demoDocuments.ReadFile(name)
	if err != nil {
		return nil, err
	}
	s, err := destination.Parse([]byte(strings.ReplaceAll(string(doc), "$DEMO_ENDPOINT", d.node.s3.Endpoint())),
		environment{destination.OSResolver(), d.node})
	if err != nil {
		return nil, err
	}
	sealed, err := d.node.keyring.Seal(s)
	if err != nil {
		return nil, err
	}
	old, err := d.node.queue.Destinations().Get(ctx, s.ID)
	var revision uint64
	if err == nil {
		revision = old.Revision
	}
	_, err = d.node.queue.Destinations().Put(ctx, s.ID, sealed, revision)
	return s, err
}

// publish sends the extraction to a destination and waits for every load.
func (d *demonstration) publish(ctx context.Context, s *destination.Settings) error {
	var schema encoding.Schema
	if err := schema.UnmarshalJSON(testdata.Schema); err != nil {
		return err
	}
	started := time.Now()
	commit := messages.Commit{
		Extraction: s.ID + "-" + started.UTC().Format("20060102T150405"), Destination: s.ID,
		WorkspaceID: "ws1", WorkspaceTitle: "main_group", DataSource: "ad_platform", DataTableTitle: "Ads daily",
		ReportType: "ads", Filename: "ads", Schema: &schema, DateColumn: "date", AccountColumn: "account_id",
		Generation: testdata.Generation,
	}
	out, err := d.node.queue.OpenExtraction(ctx, commit)
	if err != nil {
		return err
	}
	bar := d.bar(0, "publish "+s.ID)
	rows := counted{testdata.Ads(), func(n int) { _ = bar.Add(n) }} // a bar that cannot be drawn stops nothing
	if err := errors.Join(out.AddNDJSON(ctx, rows), bar.Finish()); err != nil {
		return err
	}
	if err := out.Commit(ctx); err != nil {
		return err
	}
	published := time.Now()
	e, err := follow(ctx, d.node.queue, "ws1", commit.Extraction, d.progress())
	if err != nil {
		return err
	}
	if e.failure != nil {
		return &codedError{exitBad, fmt.Errorf("%s: %s", e.failure.Reason, e.failure.Message)}
	}
	a, err := accountFor(ctx, d.node.queue, "ws1", commit.Extraction)
	if err != nil {
		return err
	}
	if n := a.Results[messages.DeadLettered]; n > 0 {
		return &codedError{exitBad, fmt.Errorf("%d loads were dead-lettered", n)}
	}
	d.shown = append(d.shown, shown{
		settings: s, extraction: commit.Extraction, account: a,
		publish: published.Sub(started), dispatch: e.dispatched.Sub(published), load: e.ended.Sub(e.dispatched),
	})
	return nil
}

// progress draws the loads of the destination in work, on a terminal only.
func (d *demonstration) progress() func(done, of int64) {
	if !d.terminal() {
		return func(int64, int64) {}
	}
	bar := d.bar(0, "load")
	return func(done, of int64) {
		if of > 0 {
			bar.ChangeMax64(of)
		}
		_ = bar.Set64(done) // a bar that cannot be drawn stops nothing
	}
}

// treeKeys is how many keys the tree shows of each destination.
const treeKeys = 4

// tree lists the bucket as it is, with the rows of each object by its outcome.
func (d *demonstration) tree(ctx context.Context, store *storage.Store) error {
	rows := map[string]int64{}
	for _, s := range d.shown {
		for _, o := range s.account.Outcomes {
			rows[o.Key] = o.Rows
		}
	}
	fmt.Fprintf(d.out, "\ns3://%s\n", demoBucket)
	for i, s := range d.shown {
		naming, err := s.settings.Naming()
		if err != nil {
			return err
		}
		branch, stem := "├── ", "│   "
		if i == len(d.shown)-1 {
			branch, stem = "└── ", "    "
		}
		prefix := naming.Prefix()
		prefix = prefix[:strings.Index(prefix, "/")+1]
		fmt.Fprintf(d.out, "%s%s\n", branch, prefix)
		n, bytes := int64(0), int64(0)
		for o, err := range store.List(ctx, demoBucket, prefix) {
			if err != nil {
				return fmt.Errorf("list the bucket: %w", err)
			}
			if n++; n <= treeKeys {
				fmt.Fprintf(d.out, "%s├── %s  (%s, %s rows)\n", stem, printable(strings.TrimPrefix(o.Key, prefix)), size(o.Size), count(rows[o.Key]))
			}
			bytes += o.Size
		}
		fmt.Fprintf(d.out, "%s└── %s objects, %s in all\n", stem, count(n), size(bytes))
	}
	return nil
}

// head shows how the first CSV file begins.
func (d *demonstration) head(ctx context.Context, store *storage.Store) error {
	for _, s := range d.shown {
		if s.settings.FileFormat != encoding.CSV || len(s.account.Outcomes) == 0 {
			continue
		}
		key := s.account.Outcomes[0].Key
		body, _, err := store.Get(ctx, demoBucket, key)
		if err != nil {
			return err
		}
		fmt.Fprintf(d.out, "\nThe head of s3://%s/%s:\n", demoBucket, key)
		lines := bufio.NewScanner(body)
		for n := 0; n < 4 && lines.Scan(); n++ {
			fmt.Fprintf(d.out, "  %s\n", clipped(printable(lines.Text()), 150))
		}
		return errors.Join(lines.Err(), body.Close())
	}
	return nil
}

func clipped(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n-1]) + "…"
}

func round(d time.Duration) string { return d.Round(time.Millisecond).String() }

// totals shows what each destination took.
func (d *demonstration) totals() error {
	var rows [][]string
	var objects, n, bytes int64
	var all time.Duration
	for _, s := range d.shown {
		took := s.publish + s.dispatch + s.load
		rows = append(rows, []string{
			string(s.settings.FileFormat), count(int64(len(s.account.Outcomes))), count(s.account.Rows), size(s.account.Bytes),
			round(s.publish), round(s.dispatch), round(s.load), count(int64(float64(s.account.Rows) / took.Seconds())),
		})
		objects += int64(len(s.account.Outcomes))
		n += s.account.Rows
		bytes += s.account.Bytes
		all += took
	}
	rows = append(rows, []string{"total", count(objects), count(n), size(bytes), "", "", "", count(int64(float64(n) / all.Seconds()))})
	fmt.Fprintln(d.out)
	return table(d.out, []string{"FORMAT", "OBJECTS", "ROWS", "BYTES", "PUBLISH", "DISPATCH", "LOAD", "ROWS/S"}, rows)
}

// next says what to try now.
func (d *demonstration) next() error {
	if d.kept {
		dir, err := filepath.Abs(d.dir)
		if err != nil {
			return err
		}
		fmt.Fprintf(d.out, `
Everything is kept in %s. To go on with it, where its destinations find the store:
  %s up --data %s --s3-addr %s
`, dir, invocation(), d.dir, strings.TrimPrefix(d.node.s3.Endpoint(), "http://"))
		return nil
	}
	fmt.Fprintf(d.out, `
What to try next:
  %[1]s demo --keep ./demo-data    the same, kept, and how to go on with it
  %[1]s up                         the same parts, for your own rows
  %[1]s --help                     everything else
`, invocation())
	return nil
}
