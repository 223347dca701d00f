package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
)

func (p *program) publish() *cobra.Command {
	pub := publication{check: true}
	var schema, stageURL string
	var covers messages.Covers
	var wait bool
	c := &cobra.Command{
		Use:   "publish FILE...",
		Short: "Publish files of rows as an extraction",
		Long: `Publish reads files of rows, publishes them in batches and commits them as one
extraction. A FILE is NDJSON, CSV with a header row, Arrow (stream or file) or
Parquet, plain or packed with gzip or zstd, told by its name or its content; a
pattern in quotes; a directory with all such files in it; or - for standard
input. Rows are looked at before they are committed: what is wrong is named by
file and line, and then nothing is loaded.

With --wait it stays until every load has ended, and ends with 4 when one of
them, or the extraction, failed. Stopped or killed before the commit it goes on
when it is started again with the same --extraction and files: what is on the
queue is recognised. With --stage the files are put into the fleet's stage, as
they lie, and the commit names them: for extractions of many gigabytes.

With --covers-from and --covers-to the extraction says that every row of these
days is in it, also where there is none: a partition that lost its last row is
then kept, deleted or emptied as the destination's empty_partition says.`,
		Example: `  loadfleet publish --destination acme --table ads --date-column date rows.ndjson
  loadfleet publish --destination acme --table ads --schema ads.schema.json --wait 'export/*.csv.gz'
  my-extractor | loadfleet publish --destination acme --table ads --format csv -`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if pub.files, err = findInputs(args); err != nil {
				return usage(err)
			}
			if schema != "" {
				if pub.commit.Schema, err = readSchema(schema); err != nil {
					return usage(err)
				}
			}
			if pub.stage && stageURL == "" {
				return usage(errors.New("--stage: give --stage-url too, or LOADFLEET_STAGE_URL: where the dispatchers read staged files"))
			}
			if covers.From != "" || covers.To != "" || covers.Accounts != nil {
				pub.commit.Covers = &covers
			}
			pub.name(time.Now().UTC())
			q, err := p.settings.connect(cmd.Context(), "publish", p.logger(p.settings.level()))
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, q.Close(context.WithoutCancel(cmd.Context()))) }()
			traces, stop, err := tracing(cmd.Context(), "loadfleet-publish", p.logger(p.settings.level()))
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, stop()) }()
			ctx, span := traces.Tracer("github.com/loadfleet/loadfleet/cmd/loadfleet").Start(cmd.Context(), "extraction")
			err = p.publishOn(ctx, q, &pub, stageURL)
			span.End()
			if err != nil {
				return err
			}
			return p.afterPublish(cmd.Context(), q, &pub, wait)
		},
	}
	f := c.Flags()
	m := &pub.commit
	f.BoolVar(&pub.check, "check", true, "look at every row before the commit; without, only dispatchers do")
	f.BoolVar(&pub.stage, "stage", false, "put the files into the fleet's stage instead of batches on the queue")
	f.StringVar(&stageURL, "stage-url", "", stageHelp)
	f.StringVar(&m.Destination, "destination", "", "destination to load into (required)")
	f.StringVar(&m.Filename, "table", "", "the destination table's name, {{filename}} in templates (required)")
	f.StringVar(&m.WorkspaceID, "workspace", "default", "workspace id")
	f.StringVar(&m.WorkspaceTitle, "workspace-title", "", "workspace title")
	f.StringVar(&m.DataSource, "data-source", "", "{{data_source}}")
	f.StringVar(&m.DataTableTitle, "data-table-title", "", "{{data_table_title}}")
	f.StringVar(&m.ReportType, "report-type", "", "{{report_type}}")
	f.StringVar(&m.DateColumn, "date-column", "", "column that dates a row; without it rows are dated by the load")
	f.StringVar(&m.AccountColumn, "account-column", "", "column of a row's account")
	f.StringVar(&m.Extraction, "extraction", "", "extraction id; default: made of table and time")
	f.Int64Var(&m.Generation, "generation", 0, "orders extractions of a table; default: now, in Unix milliseconds")
	f.StringVar((*string)(&m.Lane), "lane", string(messages.Fresh), "fresh or backfill")
	f.StringVar((*string)(&m.UnknownColumns), "unknown-columns", string(messages.RejectUnknown), "reject or ignore")
	f.StringVar(&covers.From, "covers-from", "", "first day, YYYY-MM-DD, that the rows are complete for; with --covers-to")
	f.StringVar(&covers.To, "covers-to", "", "last day that the rows are complete for")
	f.StringArrayVar(&covers.Accounts, "covers-account", nil, "an account that the rows are complete for, may be repeated; default: with days, all there are")
	f.StringVar(&schema, "schema", "", `file with the columns: [{"name":"date","type":"date"}, ...]; default: inferred`)
	f.StringVar(&pub.format, "format", "", "ndjson, csv, arrow or parquet, of every file; default: by name or content")
	f.BoolVar(&wait, "wait", false, "wait until every load has ended")
	for _, name := range []string{"destination", "table"} {
		if err := c.MarkFlagRequired(name); err != nil {
			panic(err) // the flag is defined above
		}
	}
	return c
}

func idRune(r rune) rune {
	if messages.ValidID(string(r)) {
		return r
	}
	return '-'
}

func readSchema(path string) (*encoding.Schema, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--schema: %w", err)
	}
	var s encoding.Schema
	if err := s.UnmarshalJSON(b); err != nil {
		return nil, fmt.Errorf("--schema %s: %w", path, err)
	}
	return &s, nil
}

// name fills in what was not given: an id made of table and time, and a
// generation. The id does not begin as a flag does: it is an argument of commands.
func (pub *publication) name(now time.Time) {
	if pub.commit.Extraction == "" {
		table := strings.TrimLeft(strings.Map(idRune, pub.commit.Filename), "-")
		id := cmp.Or(table, "table") + "-" + strings.Map(idRune, now.Format("20060102T150405.000000"))
		pub.commit.Extraction = strings.TrimLeft(id[max(0, len(id)-messages.MaxID):], "-")
	}
	if pub.commit.Generation == 0 {
		pub.commit.Generation = now.UnixMilli()
	}
}

// publishOn publishes the files unless their extraction is committed already.
func (p *program) publishOn(ctx context.Context, q *queue.Queue, pub *publication, stageURL string) (err error) {
	id := pub.commit.Extraction
	if accepted := (messages.Event{Kind: messages.EventAccepted, Workspace: pub.commit.WorkspaceID, Extraction: id}); messages.ValidID(id) && messages.ValidID(accepted.Workspace) {
		before, err := q.StoredEvent(ctx, accepted)
		if err == nil {
			pub.again = true
			return pub.sameAs(before)
		}
		if !errors.Is(err, queue.ErrNotFound) {
			return fmt.Errorf("publish: %w", err)
		}
	}
	if pub.stage {
		to, failed := openStage(ctx, stageURL, q)
		if failed != nil {
			return failed
		}
		defer func() { err = errors.Join(err, to.close()) }()
		return p.unpublished(pub, p.putStaged(ctx, q, to, pub))
	}
	return p.unpublished(pub, p.send(ctx, q, pub))
}

// sameAs refuses an id under which something else was committed.
func (pub *publication) sameAs(before *messages.Event) error {
	c := &pub.commit
	if before.Destination == c.Destination && before.Table == c.Filename {
		return nil
	}
	return usage(fmt.Errorf("publish: the extraction %s was committed before, for table %s and destination %s: nothing of table %s is published; leave --extraction out, or give it another id",
		c.Extraction, before.Table, before.Destination, c.Filename))
}

// unpublished says how to go on after an error.
func (p *program) unpublished(pub *publication, err error) error {
	if err == nil {
		return nil
	}
	var wrong *messages.CommitError
	var rows *badRows
	if errors.As(err, &wrong) || errors.As(err, &rows) {
		return usage(fmt.Errorf("publish: %w", err))
	}
	return fmt.Errorf("publish: %w (nothing is committed; go on with --extraction %s --generation %d and the same files)",
		err, pub.commit.Extraction, pub.commit.Generation)
}

// afterPublish tells what was published and, when asked to, what became of it.
func (p *program) afterPublish(ctx context.Context, q *queue.Queue, pub *publication, wait bool) error {
	c := &pub.commit
	if !p.settings.json() {
		said := many(pub.rows, "row") + " committed"
		switch {
		case pub.again:
			said = "was committed before; nothing is published twice, and the files are not compared"
		case pub.stood > 0:
			said += fmt.Sprintf("; %s stood on the queue already", many(int64(pub.stood), "batch"))
		}
		fmt.Fprintf(p.out, "extraction %s: %s\n", c.Extraction, said)
	}
	if wait {
		return p.awaitEvents(ctx, q.Follow, c.WorkspaceID, c.Extraction)
	}
	if p.settings.json() {
		return printJSON(p.out, map[string]any{"extraction": c.Extraction, "rows": pub.rows, "committed_before": pub.again})
	}
	fmt.Fprintf(p.out, "Follow it:  loadfleet extraction show %s --workspace %s\n", c.Extraction, c.WorkspaceID)
	return nil
}

// bar is a progress bar of bytes, silent when standard error is no terminal.
func (p *program) bar(size int64, what string) *progressbar.ProgressBar {
	if size == 0 {
		size = -1
	}
	return progressbar.NewOptions64(size,
		progressbar.OptionSetDescription(what), progressbar.OptionSetWriter(p.err),
		progressbar.OptionSetVisibility(p.terminal()), progressbar.OptionShowBytes(true),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
}

// terminal reports whether standard error is one.
func (p *program) terminal() bool {
	f, ok := p.err.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
