package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/storage/quiet"
)

// The peers and where `make setup` puts them, from the repository's root.
const (
	duckDBScript      = "testdata/foreign/duckdb-copy.mjs"
	polarsScript      = "testdata/foreign/polars-split.mjs"
	fingerprintScript = "testdata/foreign/fingerprint.mjs"
	peerModules       = "testdata/foreign/node_modules/@duckdb"
)

// peersOf are the engines that write the format: DuckDB writes Avro only with
// an extension that it would have to download.
func peersOf(f encoding.Format) []string {
	if f == encoding.Avro {
		return []string{sidePolars}
	}
	return []string{sideDuckDB, sidePolars}
}

func (b *bench) checkPeers() error {
	var errs []error
	if b.file != "" {
		errs = append(errs, errors.New("--peers: the peers read generated rows only; leave FILE out"))
	}
	for _, path := range []string{duckDBScript, polarsScript, fingerprintScript, peerModules} {
		if _, err := os.Stat(path); err != nil {
			errs = append(errs, fmt.Errorf("--peers: %w: run it in the repository's root, after make setup", err))
		}
	}
	if _, err := exec.LookPath("node"); err != nil {
		errs = append(errs, fmt.Errorf("--peers: %w: install Node.js", err))
	}
	return errors.Join(errs...)
}

// peerPlan is what the scripts read.
type peerPlan struct {
	Source  string           `json:"source,omitempty"`
	Schema  *encoding.Schema `json:"schema"`
	Date    string           `json:"date"`
	Account string           `json:"account"`
	Format  encoding.Format  `json:"format"`
	Threads int              `json:"threads"`
	Out     string           `json:"out,omitempty"`
}

// peerTook is what the scripts say.
type peerTook struct {
	Version string  `json:"version"`
	Wall    float64 `json:"wall"`
	CPU     float64 `json:"cpu"`
	PeakRSS int64   `json:"peak_rss"`
	Files   int64   `json:"files"`
	Bytes   int64   `json:"bytes"`
	Rows    int64   `json:"rows"`
}

// peerTrial lets an engine split the same rows, in a process of its own on as
// many cores, and checks that it wrote the rows that it was given.
func (b *bench) peerTrial(ctx context.Context, k kind, s *source, dir string) (list []measurement, err error) {
	plan := peerPlan{
		Source: s.Path, Schema: s.Schema, Date: s.DateColumn, Account: s.AccountColumn,
		Format: k.Format, Threads: k.Cores, Out: filepath.Join(dir, k.Side),
	}
	defer func() { err = errors.Join(err, os.RemoveAll(plan.Out)) }()
	script := duckDBScript
	if k.Side == sidePolars {
		script = polarsScript
		// Polars makes no directories.
		if err := os.MkdirAll(plan.Out, 0o700); err != nil {
			return nil, err
		}
	}
	var took peerTook
	if err := runScript(ctx, script, plan, k.Cores, dir, &took); err != nil {
		return nil, err
	}
	m := measurement{kind: k, Rows: took.Rows, Objects: took.Files, BytesOut: took.Bytes, Wall: took.Wall, CPU: took.CPU, PeakRSS: took.PeakRSS, Version: took.Version}
	if m.Rows != s.Rows {
		return nil, fmt.Errorf("%d rows given, %d in the files written", s.Rows, m.Rows)
	}
	if m.Same, err = b.fingerprint(ctx, k.Format, plan.Out, s); err != nil {
		return nil, err
	}
	return []measurement{m}, nil
}

// scan lets DuckDB read every value of the rows and keep none, with one thread: what
// the decode stage is measured against.
func (b *bench) scan(ctx context.Context, k kind, s *source, dir string) (stage, error) {
	var took peerTook
	plan := peerPlan{Source: s.Path, Schema: s.Schema, Format: k.Format, Threads: 1}
	if err := runScript(ctx, duckDBScript, plan, 1, dir, &took); err != nil {
		return stage{}, err
	}
	if took.Rows != s.Rows {
		return stage{}, fmt.Errorf("%d rows given, %d read by DuckDB", s.Rows, took.Rows)
	}
	return stage{Name: scanStage, Wall: took.Wall, CPU: took.CPU, Bytes: s.Bytes, PeakRSS: took.PeakRSS}, nil
}

func runScript(ctx context.Context, script string, plan any, cores int, dir string, into any) error {
	text, err := json.Marshal(plan)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "plan.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return err
	}
	return runPinned(exec.CommandContext(ctx, "node", "--max-old-space-size=8192", script, path), cores, into)
}

// fingerprint reads files back with DuckDB and compares their rows with the
// source's: their number, and the sum of a hash over the columns that every
// engine writes alike. Avro it cannot read.
func (b *bench) fingerprint(ctx context.Context, format encoding.Format, files string, s *source) (string, error) {
	if format == encoding.Avro {
		return "", nil
	}
	dir := filepath.Dir(s.Path)
	of := func(format, where string) (string, error) {
		var got struct{ Rows, Hash string }
		plan := map[string]any{"schema": s.Schema, "format": format, "out": where}
		if err := runScript(ctx, fingerprintScript, plan, 1, dir, &got); err != nil {
			return "", err
		}
		return got.Rows + "/" + got.Hash, nil
	}
	if b.fingerprints == nil {
		b.fingerprints = map[string]string{}
	}
	if b.fingerprints[s.Path] == "" {
		want, err := of("source", s.Path)
		if err != nil {
			return "", err
		}
		b.fingerprints[s.Path] = want
	}
	got, err := of(string(format), files)
	if err == nil && got != b.fingerprints[s.Path] {
		err = fmt.Errorf("the files hold other rows (%s) than the source (%s)", got, b.fingerprints[s.Path])
	}
	return got, err
}

// putPlan is what the bare SDK's process reads.
type putPlan struct {
	Endpoint  string `json:"endpoint"`
	AccessKey string `json:"access_key"`
	SecretKey string `json:"secret_key"`
	Bucket    string `json:"bucket"`
	Files     string `json:"files"`
	Writers   int    `json:"writers"`
}

const benchPutCommand = "bench-put"

// putAgain puts the files that loadfleet has made, to the same store, with
// the bare SDK and as many requests at a time as a worker has slots.
func (t *servedTrial) putAgain(ctx context.Context, k kind, files string) (*measurement, error) {
	p, err := startPart(ctx, t.cores, nil, "put", benchPutCommand)
	if err != nil {
		return nil, err
	}
	m := &measurement{}
	err = p.tell(putPlan{t.node.s3.Endpoint(), t.node.accessKey, t.node.secretKey, benchBucket + "-again", files, k.slots()})
	if err == nil {
		err = p.answer(m)
	}
	if err != nil {
		return nil, err
	}
	k.Side, k.Sync = sidePut, ""
	m.kind = k
	return m, p.stop()
}

func (p *program) benchPut() *cobra.Command {
	return &cobra.Command{
		Use:    benchPutCommand,
		Short:  "The bare SDK's puts of finished files: the plan on standard input",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var plan putPlan
			line, err := bufio.NewReader(p.in).ReadBytes('\n')
			if err == nil {
				err = json.Unmarshal(line, &plan)
			}
			if err != nil {
				return usage(err)
			}
			m, err := plan.run(cmd.Context())
			if err != nil {
				return err
			}
			return json.NewEncoder(p.out).Encode(m)
		},
	}
}

func (plan *putPlan) run(ctx context.Context) (*measurement, error) {
	type file struct {
		key  string
		body []byte
	}
	var files []file
	m := &measurement{}
	err := filepath.WalkDir(plan.Files, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		key, err := filepath.Rel(plan.Files, path)
		files = append(files, file{filepath.ToSlash(key), body})
		m.BytesOut += int64(len(body))
		return err
	})
	if err != nil {
		return nil, err
	}
	client := quiet.NewClient(plan.Endpoint, plan.AccessKey, plan.SecretKey, plan.Writers)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	began, cpu := time.Now(), cpuSeconds()
	queue := make(chan file)
	var wg sync.WaitGroup
	for range plan.Writers {
		wg.Go(func() {
			for f := range queue {
				if err := client.Put(ctx, plan.Bucket, f.key, f.body); err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, f := range files {
		queue <- f
	}
	close(queue)
	wg.Wait()
	m.Objects, m.Wall, m.CPU = int64(len(files)), time.Since(began).Seconds(), cpuSeconds()-cpu
	if m.PeakRSS, err = peakRSS(); err != nil {
		return nil, err
	}
	return m, context.Cause(ctx)
}
