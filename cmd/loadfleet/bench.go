package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/testdata/adrows"
)

// bench measures the whole job: each measurement is a trial in a process of
// its own, so that neither memory nor warm caches pass from one to the next.
type bench struct {
	*program
	rows      adrows.Options
	file      string // instead of generated rows
	schema    string // of file
	formats   []string
	cores     []int
	runs      int
	data      string // directory of the buckets and the rows
	queueData string // directory of JetStream
	peers     bool
	report    string
	profile   string

	source source
}

// source is the rows that every trial of a bench reads.
type source struct {
	Path          string               `json:"path"`
	Format        encoding.InputFormat `json:"format"`
	Packed        encoding.Compression `json:"packed"`
	Schema        *encoding.Schema     `json:"schema,omitempty"` // nil: inferred by the dispatcher
	DateColumn    string               `json:"date_column"`
	AccountColumn string               `json:"account_column"`
	Bytes         int64                `json:"bytes"` // unpacked
}

func (p *program) bench() *cobra.Command {
	b := &bench{program: p, source: source{DateColumn: adrows.DateColumn, AccountColumn: adrows.AccountColumn}}
	c := &cobra.Command{
		Use:   "bench [FILE]",
		Short: "Measure the whole job on this machine, on embedded parts",
		Long: `Bench makes rows, or takes a file of them, and loads them into one file per day
and account: from the first publish to the last object, once for each format.
It checks that every load ended as loaded and that the rows add up.

Each measurement is a process of its own that runs everything: the extractor,
NATS JetStream with every write synced, the dispatcher, the worker and an S3
server. CPU and memory are those of the whole process, so the embedded servers'
share is in them.

With --data on a memory file system the S3 server's disk is left out of the
figures. JetStream's storage stays in the system's temporary directory unless
--queue-data says otherwise.`,
		Example: `  loadfleet bench --rows 1000000 --accounts 50 --data /dev/shm
  loadfleet bench --format parquet --cores 1 --runs 5 -o json rows.ndjson.zst`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				b.file = args[0]
			}
			if err := b.check(); err != nil {
				return usage(err)
			}
			if err := b.run(cmd.Context()); err != nil {
				return fmt.Errorf("bench: %w", err)
			}
			return nil
		},
	}
	var all []string
	for _, f := range encoding.Formats() {
		all = append(all, string(f))
	}
	f := c.Flags()
	f.IntVar(&b.rows.Rows, "rows", 200_000, "rows to make")
	f.IntVar(&b.rows.Days, "days", 90, "days that they are of")
	f.IntVar(&b.rows.Accounts, "accounts", 20, "accounts that they are of, sizes by Zipf's law")
	f.StringVar(&b.schema, "schema", "", "file with FILE's columns; default: inferred")
	f.StringVar(&b.source.DateColumn, "date-column", b.source.DateColumn, "FILE's column that dates a row")
	f.StringVar(&b.source.AccountColumn, "account-column", b.source.AccountColumn, "FILE's column of a row's account")
	f.StringSliceVar(&b.formats, "format", all, "formats to write")
	f.IntSliceVar(&b.cores, "cores", []int{runtime.NumCPU()}, "cores to run on; several are measured in turn")
	f.IntVar(&b.runs, "runs", 1, "measurements of each kind, interleaved; medians are shown")
	f.StringVar(&b.data, "data", os.TempDir(), "directory for the buckets and the rows; tmpfs leaves the disk out")
	f.StringVar(&b.queueData, "queue-data", os.TempDir(), "directory for JetStream's storage; a real disk keeps its syncs real")
	f.BoolVar(&b.peers, "peers", false, "measure DuckDB's partitioned COPY of the same rows beside it (in the repository, after make setup)")
	f.StringVar(&b.report, "report", "", "write the result to this file as Markdown, too")
	f.StringVar(&b.profile, "profile", "", "write a CPU profile of each of loadfleet's trials into this directory")
	return c
}

// check reports every mistake of the command line at once.
func (b *bench) check() error {
	var errs []error
	for _, f := range b.formats {
		if _, err := encoding.ParseFormat(f); err != nil {
			errs = append(errs, fmt.Errorf("--format: %w", err))
		}
	}
	for _, n := range b.cores {
		if n < 1 || n > runtime.NumCPU() {
			errs = append(errs, fmt.Errorf("--cores %d: this machine gives 1 to %d", n, runtime.NumCPU()))
		}
	}
	if b.rows.Rows < 1 || b.rows.Days < 1 || b.rows.Accounts < 1 {
		errs = append(errs, errors.New("--rows, --days, --accounts: use 1 or more"))
	}
	if b.runs < 1 {
		errs = append(errs, fmt.Errorf("--runs %d: use 1 or more", b.runs))
	}
	if b.peers {
		errs = append(errs, b.checkPeers())
	}
	for _, dir := range []*string{&b.data, &b.queueData, &b.profile} {
		if *dir == "" {
			continue
		}
		// A trial changes its working directory.
		abs, err := filepath.Abs(*dir)
		if err == nil {
			err = os.MkdirAll(abs, 0o700)
		}
		errs = append(errs, err)
		*dir = abs
	}
	return errors.Join(errs...)
}

func (b *bench) run(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp(b.data, "loadfleet-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := b.prepare(dir); err != nil {
		return err
	}
	result := benchResult{Machine: machine(b.data, b.queueData), Options: b.options(), Started: time.Now().UTC(), BytesIn: b.source.Bytes}
	for run := range b.runs {
		list, err := b.once(ctx, run, dir)
		if err != nil && (ctx.Err() == nil || run == 0) {
			return err
		}
		if err != nil {
			fmt.Fprintf(b.err, "interrupted: these are the medians of %d runs\n", run)
			break
		}
		result.Measurements = append(result.Measurements, list...)
	}
	result.Medians = medians(result.Measurements)
	if b.report != "" {
		if err := result.writeReport(b.report); err != nil {
			return err
		}
	}
	if b.settings.json() {
		return printJSON(b.out, result)
	}
	return result.table(b.out)
}

// once measures every kind of trial one time.
func (b *bench) once(ctx context.Context, run int, dir string) ([]measurement, error) {
	var list []measurement
	for _, cores := range b.cores {
		for _, format := range b.formats {
			for _, s := range b.sides(run, encoding.Format(format)) {
				m, err := b.measure(ctx, s, encoding.Format(format), cores, run, dir)
				if err != nil {
					return nil, fmt.Errorf("%s, %s on %d cores: %w", s, format, cores, err)
				}
				list = append(list, *m)
			}
		}
	}
	return list, nil
}

// The sides that are measured.
const (
	sideLoadfleet = "loadfleet"
	sideDuckDB    = "duckdb"
)

// sides are those that write the format, in an order that changes from run to
// run: what one leaves behind in caches and write-back must not always hit the
// same other.
func (b *bench) sides(run int, format encoding.Format) []string {
	switch {
	case !b.peers || !peerWrites(format):
		return []string{sideLoadfleet}
	case run%2 == 0:
		return []string{sideLoadfleet, sideDuckDB}
	}
	return []string{sideDuckDB, sideLoadfleet}
}

// measure runs one trial of one side and says so on a terminal.
func (b *bench) measure(ctx context.Context, side string, format encoding.Format, cores, run int, dir string) (*measurement, error) {
	load := loadAverage()
	measure := b.trial
	if side == sideDuckDB {
		measure = b.peerTrial
	}
	m, err := measure(ctx, format, cores, run, dir)
	if err != nil {
		return nil, err
	}
	m.Side, m.Format, m.Cores, m.LoadAverage = side, format, cores, load
	if b.terminal() {
		fmt.Fprintf(b.err, "run %d of %d: %s %s on %d cores: %.2f s\n", run+1, b.runs, side, format, cores, m.Wall)
	}
	return m, nil
}

// prepare makes the rows, or looks at the file given.
func (b *bench) prepare(dir string) error {
	if b.file == "" {
		return b.generate(filepath.Join(dir, "rows.ndjson"))
	}
	var pub publication
	closeFile, err := pub.open(b.file, "", nil)
	if err != nil {
		return err
	}
	path, err := filepath.Abs(b.file)
	if err != nil {
		return errors.Join(err, closeFile())
	}
	b.source.Path, b.source.Format, b.source.Packed = path, pub.format, pub.packed
	if b.schema != "" {
		if b.source.Schema, err = readSchema(b.schema); err != nil {
			return errors.Join(err, closeFile())
		}
	}
	text, err := encoding.Unpack(pub.read, pub.packed)
	if err != nil {
		return errors.Join(err, closeFile())
	}
	b.source.Bytes, err = io.Copy(io.Discard, text)
	return errors.Join(err, text.Close(), closeFile())
}

func (b *bench) generate(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := adrows.Write(f, b.rows); err != nil {
		return errors.Join(err, f.Close())
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	b.source.Path, b.source.Format, b.source.Packed = path, encoding.NDJSONInput, encoding.Plain
	b.source.Schema, b.source.Bytes = adrows.Schema(), info.Size()
	return f.Close()
}

// options is what was asked for, as flags, for whoever repeats it.
func (b *bench) options() string {
	rows := fmt.Sprintf("--rows %d --days %d --accounts %d", b.rows.Rows, b.rows.Days, b.rows.Accounts)
	if b.file != "" {
		rows = filepath.Base(b.file)
	}
	cores := strings.ReplaceAll(strings.Trim(fmt.Sprint(b.cores), "[]"), " ", ",")
	text := fmt.Sprintf("%s --format %s --cores %s --runs %d", rows, strings.Join(b.formats, ","), cores, b.runs)
	if b.peers {
		text += " --peers"
	}
	return text
}
