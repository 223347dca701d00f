package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
)

// pieceBytes is how much text becomes one batch: about 1 MB packed, the size
// at which JetStream's synchronous storage costs least a byte.
const pieceBytes = 4 << 20

// publication is one file to be published as one extraction.
type publication struct {
	commit messages.Commit
	format encoding.InputFormat
	packed encoding.Compression // of the file
	read   io.Reader
	size   int64 // of the file as it lies, 0 when unknown
}

func (p *program) publish() *cobra.Command {
	var pub publication
	var schema, format string
	var wait bool
	c := &cobra.Command{
		Use:   "publish FILE",
		Short: "Publish a file as an extraction",
		Long: `Publish reads a file of rows (NDJSON, CSV with a header row, or an Arrow IPC
stream; plain, gzip or zstd; - for standard input), publishes it in batches and
commits it as one extraction. With --wait it stays until every load has ended.`,
		Example: `  loadfleet publish --destination acme --table ads --date-column date rows.ndjson
  loadfleet publish --destination acme --table ads --schema ads.schema.json --wait rows.csv.gz`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			closeFile, err := pub.open(args[0], format, p.in)
			if err != nil {
				return usage(err)
			}
			defer func() { err = errors.Join(err, closeFile()) }()
			if schema != "" {
				if pub.commit.Schema, err = readSchema(schema); err != nil {
					return usage(err)
				}
			}
			now := time.Now().UTC()
			if pub.commit.Extraction == "" {
				pub.commit.Extraction = pub.commit.Filename + "-" + now.Format("20060102T150405.000000")
				pub.commit.Extraction = strings.Map(idRune, pub.commit.Extraction)
			}
			if pub.commit.Generation == 0 {
				pub.commit.Generation = now.UnixMilli()
			}
			q, err := p.settings.connect(cmd.Context(), "publish", p.logger(p.settings.level()))
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, q.Close(context.WithoutCancel(cmd.Context()))) }()
			rows, err := p.send(cmd.Context(), q, &pub)
			if err != nil {
				err = fmt.Errorf("publish: %w", err)
				if wrong := (*messages.CommitError)(nil); errors.As(err, &wrong) {
					return usage(err)
				}
				return err
			}
			if !p.settings.json() {
				fmt.Fprintf(p.out, "extraction %s: %s committed\n", pub.commit.Extraction, many(rows, "row"))
			}
			if !wait {
				if p.settings.json() {
					return printJSON(p.out, map[string]any{"extraction": pub.commit.Extraction, "rows": rows})
				}
				fmt.Fprintf(p.out, "Follow it:  loadfleet extraction show %s --workspace %s\n", pub.commit.Extraction, pub.commit.WorkspaceID)
				return nil
			}
			return p.await(cmd.Context(), q, pub.commit.WorkspaceID, pub.commit.Extraction)
		},
	}
	f := c.Flags()
	m := &pub.commit
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
	f.StringVar(&schema, "schema", "", `file with the columns: [{"name":"date","type":"date"}, ...]; default: inferred`)
	f.StringVar(&format, "format", "", "ndjson, csv or arrow; default: by the file's name")
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

// open opens the file and tells its format and packing by its name.
func (pub *publication) open(path, format string, stdin io.Reader) (func() error, error) {
	name := strings.ToLower(filepath.Base(path))
	switch {
	case strings.HasSuffix(name, ".gz"):
		pub.packed, name = encoding.Gzip, strings.TrimSuffix(name, ".gz")
	case strings.HasSuffix(name, ".zst"):
		pub.packed, name = encoding.Zstd, strings.TrimSuffix(name, ".zst")
	}
	if format == "" {
		switch filepath.Ext(name) {
		case ".ndjson", ".jsonl", ".json":
			format = string(encoding.NDJSONInput)
		case ".csv":
			format = string(encoding.CSVInput)
		case ".arrow", ".arrows":
			format = string(encoding.ArrowInput)
		default:
			return nil, fmt.Errorf("%s: cannot tell the format by the name: give --format ndjson, csv or arrow", path)
		}
	}
	pub.format = encoding.InputFormat(format)
	if path == "-" {
		pub.read = stdin
		return func() error { return nil }, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err == nil {
		pub.size = info.Size()
	}
	pub.read = f
	return f.Close, nil
}

// send publishes the file in batches and commits it.
func (p *program) send(ctx context.Context, q *queue.Queue, pub *publication) (rows int64, err error) {
	e, err := q.Extract(ctx, pub.commit)
	if err != nil {
		return 0, err
	}
	bar := p.bar(pub.size, "publish "+pub.commit.Destination)
	read := progressbar.NewReader(pub.read, bar)
	text, err := encoding.Unpack(&read, pub.packed)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, text.Close()) }()
	var packer encoding.Packer
	for piece, err := range encoding.Cut(text, pub.format, pieceBytes) {
		if err != nil {
			return rows, err
		}
		body, err := packer.Pack(encoding.Zstd, piece.Body)
		if err != nil {
			return rows, err
		}
		// The packer uses its buffer again, and a batch may have to be repeated.
		b := messages.Batch{Rows: piece.Rows, Format: pub.format, Compression: encoding.Zstd, Body: bytes.Clone(body)}
		if err := e.Append(ctx, b); err != nil {
			return rows, err
		}
		rows += piece.Rows
	}
	if err := bar.Finish(); err != nil {
		return rows, err
	}
	return rows, e.Commit(ctx)
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
