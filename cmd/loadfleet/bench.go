package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/testdata/adrows"
)

// bench measures the whole job: each measurement is a trial in processes of
// its own, so that neither memory nor warm caches pass from one to the next.
type bench struct {
	*program
	shapes         []shape
	shapeFlags     []string
	file           string // instead of generated rows
	schema         string // of file
	date, account  string // file's columns
	formats        []string
	endpoints      []string
	syncs          []string
	cores          []int
	workers        int
	dispatcherArgs []string
	workerArgs     []string
	runs           int
	oneProcess     bool
	perStage       bool
	data           string // directory of the buckets and the rows
	queueData      string // directory of JetStream
	peers          bool
	report         string
	profile        string

	sources      map[shape]*source
	fingerprints map[string]string // of sources' rows, by path
}

func (p *program) bench() *cobra.Command {
	b := &bench{program: p, sources: map[shape]*source{}}
	c := &cobra.Command{
		Use:   "bench [FILE]",
		Short: "Measure the whole job on this machine, on embedded servers",
		Long: `Bench makes rows, or takes a file of them, and loads them into one file per day
and account: from the first publish to the last object, once for each format. It
checks that every load ended as loaded, that the rows add up, and, with --peers,
that the files hold the rows that were given.

Each measurement runs the servers (NATS JetStream with every write synced, and an
S3 endpoint), the extractor, the dispatcher and each worker in processes of their
own, all on the same cores: loadfleet's CPU and memory are told from the servers'.
The extractor's zstd batches are made beforehand. With --one-process all of it
is in one process, as in loadfleet up, and so in its figures.

The endpoint is quiet (it checks signatures, checksums and conditions, and keeps
nothing) or store (the embedded S3 server, which writes files). With --data on a
memory file system the store's disk is left out of the figures. JetStream's
storage stays in the system's temporary directory unless --queue-data says
otherwise.`,
		Example: `  loadfleet bench --shape 1000000x90x50 --data /dev/shm
  loadfleet bench --format parquet --endpoint quiet,store --stages -o json
  loadfleet bench --format parquet --cores 1 --runs 5 rows.ndjson.zst`,
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
	f.StringSliceVar(&b.shapeFlags, "shape", []string{"200000x90x20"}, "ROWSxDAYSxACCOUNTS to make, account sizes by Zipf's law; several are measured in turn")
	f.StringVar(&b.schema, "schema", "", "file with FILE's columns; default: inferred")
	f.StringVar(&b.date, "date-column", adrows.DateColumn, "FILE's column that dates a row")
	f.StringVar(&b.account, "account-column", adrows.AccountColumn, "FILE's column of a row's account")
	f.StringSliceVar(&b.formats, "format", all, "formats to write")
	f.StringSliceVar(&b.endpoints, "endpoint", []string{endpointQuiet}, "S3 endpoints to put to: quiet, store")
	f.StringSliceVar(&b.syncs, "sync", []string{syncAlways}, "JetStream's syncs: always, default (which loses acknowledged messages with the power)")
	f.IntSliceVar(&b.cores, "cores", []int{runtime.NumCPU()}, "cores to run on; several are measured in turn")
	f.IntVar(&b.workers, "workers", 1, "worker processes")
	f.StringSliceVar(&b.dispatcherArgs, "dispatcher-args", nil, "further flags of the dispatcher")
	f.StringSliceVar(&b.workerArgs, "worker-args", nil, "further flags of each worker")
	f.IntVar(&b.runs, "runs", 1, "measurements of each kind, interleaved; medians are shown")
	f.BoolVar(&b.oneProcess, "one-process", false, "run everything in one process")
	f.BoolVar(&b.perStage, "stages", false, "measure each stage by itself, too")
	f.StringVar(&b.data, "data", os.TempDir(), "directory for the buckets and the rows; tmpfs leaves the disk out")
	f.StringVar(&b.queueData, "queue-data", os.TempDir(), "directory for JetStream's storage; a real disk keeps its syncs real")
	f.BoolVar(&b.peers, "peers", false, "measure DuckDB, Polars and the bare SDK's puts of the same rows beside it (in the repository, after make setup)")
	f.StringVar(&b.report, "report", "", "write the result to this file as Markdown, too")
	f.StringVar(&b.profile, "profile", "", "write CPU profiles of the last trial's processes into this directory")
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
	for _, text := range b.shapeFlags {
		s, err := parseShape(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("--shape %w", err))
		}
		b.shapes = append(b.shapes, s)
	}
	if b.file != "" {
		b.shapes = []shape{{}}
	}
	for _, list := range []struct {
		flag string
		n    int
	}{{"format", len(b.formats)}, {"endpoint", len(b.endpoints)}, {"sync", len(b.syncs)}, {"shape", len(b.shapes)}} {
		if list.n == 0 {
			errs = append(errs, fmt.Errorf("--%s: give one or more", list.flag))
		}
	}
	for _, choice := range []struct {
		flag  string
		given []string
		from  []string
	}{{"endpoint", b.endpoints, []string{endpointQuiet, endpointStore}}, {"sync", b.syncs, []string{syncAlways, syncDefault}}} {
		for _, v := range choice.given {
			if !slices.Contains(choice.from, v) {
				errs = append(errs, fmt.Errorf("--%s %q: use %s", choice.flag, v, strings.Join(choice.from, " or ")))
			}
		}
	}
	if b.runs < 1 || b.workers < 1 {
		errs = append(errs, fmt.Errorf("--runs %d, --workers %d: use 1 or more", b.runs, b.workers))
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
	result := benchResult{Machine: machine(b.data, b.queueData), Options: b.options(), Started: time.Now().UTC()}
	for _, s := range b.shapes {
		if err := b.prepare(s, filepath.Join(dir, "rows-"+s.String())); err != nil {
			return err
		}
		result.Sources = append(result.Sources, sourceSize{s, b.sources[s].Bytes, b.sources[s].Rows, b.sources[s].PackSeconds})
	}
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

// once measures every kind of trial one time, in an order that changes from
// run to run: what one side leaves behind in caches and write-back must not
// always hit the same other.
func (b *bench) once(ctx context.Context, run int, dir string) ([]measurement, error) {
	var list []measurement
	digests := map[string]string{}
	for _, s := range b.shapes {
		for _, cores := range b.cores {
			for _, format := range b.formats {
				kinds := b.kinds(s, encoding.Format(format), cores)
				if run%2 == 1 {
					slices.Reverse(kinds)
				}
				for _, k := range kinds {
					measured, err := b.measure(ctx, k, run, dir)
					if err != nil {
						return nil, fmt.Errorf("%s: %w", k, err)
					}
					for i := range measured {
						if err := checkSame(digests, &measured[i]); err != nil {
							return nil, err
						}
					}
					list = append(list, measured...)
				}
			}
		}
	}
	return list, nil
}

// checkSame checks that a job makes the same bytes whatever it ran on: the
// files of the quiet endpoint, which keeps none, are those that the store's
// rows were checked in.
func checkSame(digests map[string]string, m *measurement) error {
	if m.Digest == "" {
		return nil
	}
	job := m.Shape.String() + string(m.Format)
	if was, ok := digests[job]; ok && was != m.Digest {
		return fmt.Errorf("%s: other objects than the same job made before", m.kind)
	}
	digests[job] = m.Digest
	return nil
}

// kinds are the trials of one job.
func (b *bench) kinds(s shape, format encoding.Format, cores int) []kind {
	var list []kind
	for _, endpoint := range b.endpoints {
		for _, sync := range b.syncs {
			list = append(list, kind{sideLoadfleet, endpoint, sync, s, format, cores})
		}
	}
	if b.peers {
		for _, side := range peersOf(format) {
			list = append(list, kind{Side: side, Shape: s, Format: format, Cores: cores})
		}
	}
	return list
}

// measure runs one trial of one side and says so on a terminal.
func (b *bench) measure(ctx context.Context, k kind, run int, dir string) (list []measurement, err error) {
	load := loadAverage()
	s := b.sources[k.Shape]
	switch {
	case k.Side != sideLoadfleet:
		list, err = b.peerTrial(ctx, k, s, dir)
	case b.oneProcess:
		list, err = b.together(ctx, k, s, dir)
	default:
		list, err = b.trial(ctx, k, s, dir)
		if err == nil && b.perStage {
			var alone []stage
			alone, err = b.stages(ctx, k, s, dir)
			list[0].Stages = append(list[0].Stages, alone...)
		}
		if err == nil && b.perStage && b.peers && string(k.Format) == b.formats[0] && k.Endpoint == b.endpoints[0] {
			var scan stage
			scan, err = b.scan(ctx, k, s, dir)
			list[0].Stages = append(list[0].Stages, scan)
		}
	}
	if err != nil {
		return nil, err
	}
	for i := range list {
		list[i].LoadAverage = load
		if b.terminal() {
			fmt.Fprintf(b.err, "run %d of %d: %s: %.2f s\n", run+1, b.runs, list[i].kind, list[i].Wall)
		}
	}
	return list, nil
}

// prepare makes the rows of a shape, or packs the file given.
func (b *bench) prepare(of shape, path string) error {
	s := &source{DateColumn: b.date, AccountColumn: b.account}
	b.sources[of] = s
	if b.file == "" {
		s.DateColumn, s.AccountColumn = adrows.DateColumn, adrows.AccountColumn
		return s.generate(of, path)
	}
	in, err := openInput(b.file, "", nil, nil)
	if err != nil {
		return err
	}
	if in.random {
		return errors.Join(fmt.Errorf("%s: give ndjson, csv or an Arrow stream", b.file), in.end())
	}
	s.Path, s.Format = path, in.format()
	if b.schema != "" {
		if s.Schema, err = readSchema(b.schema); err != nil {
			return errors.Join(err, in.end())
		}
	}
	return errors.Join(s.pack(in.text, path+".packed"), in.end())
}

// options is what was asked for, as flags, for whoever repeats it.
func (b *bench) options() string {
	rows := "--shape " + strings.Join(b.shapeFlags, ",")
	if b.file != "" {
		rows = filepath.Base(b.file)
	}
	cores := strings.ReplaceAll(strings.Trim(fmt.Sprint(b.cores), "[]"), " ", ",")
	text := fmt.Sprintf("%s --format %s --endpoint %s --sync %s --cores %s --workers %d --runs %d", rows,
		strings.Join(b.formats, ","), strings.Join(b.endpoints, ","), strings.Join(b.syncs, ","), cores, b.workers, b.runs)
	for _, set := range []struct {
		flag string
		on   bool
	}{{"one-process", b.oneProcess}, {"stages", b.perStage}, {"peers", b.peers}} {
		if set.on {
			text += " --" + set.flag
		}
	}
	return text
}
