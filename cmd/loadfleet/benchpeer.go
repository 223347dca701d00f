package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/loadfleet/loadfleet/encoding"
)

// The peer and where `make setup` puts it, from the repository's root.
const (
	peerScript  = "testdata/foreign/duckdb-copy.mjs"
	peerModules = "testdata/foreign/node_modules/@duckdb"
)

// peerWrites reports whether DuckDB writes the format without an extension
// that it would have to download.
func peerWrites(f encoding.Format) bool { return f != encoding.Avro }

func (b *bench) checkPeers() error {
	var errs []error
	if b.file != "" {
		errs = append(errs, errors.New("--peers: the peer reads generated rows only; leave FILE out"))
	}
	for _, path := range []string{peerScript, peerModules} {
		if _, err := os.Stat(path); err != nil {
			errs = append(errs, fmt.Errorf("--peers: %w: run it in the repository's root, after make setup", err))
		}
	}
	if _, err := exec.LookPath("node"); err != nil {
		errs = append(errs, fmt.Errorf("--peers: %w: install Node.js", err))
	}
	return errors.Join(errs...)
}

// peerPlan is what the script reads.
type peerPlan struct {
	Source  string           `json:"source"`
	Schema  *encoding.Schema `json:"schema"`
	Date    string           `json:"date"`
	Account string           `json:"account"`
	Format  encoding.Format  `json:"format"`
	Threads int              `json:"threads"`
	Out     string           `json:"out"`
}

// peerTrial lets DuckDB split the same rows, in a process of its own on as many
// cores, and checks that it wrote all of them.
func (b *bench) peerTrial(ctx context.Context, format encoding.Format, cores, _ int, dir string) (m *measurement, err error) {
	out := filepath.Join(dir, "duckdb")
	defer func() { err = errors.Join(err, os.RemoveAll(out)) }()
	plan, err := json.Marshal(peerPlan{
		Source: b.source.Path, Schema: b.source.Schema, Date: b.source.DateColumn, Account: b.source.AccountColumn,
		Format: format, Threads: cores, Out: out,
	})
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "duckdb.json")
	if err := os.WriteFile(path, plan, 0o600); err != nil {
		return nil, err
	}
	var took struct {
		Version string  `json:"version"`
		Node    string  `json:"node"`
		Wall    float64 `json:"wall"`
		CPU     float64 `json:"cpu"`
		PeakRSS int64   `json:"peak_rss"`
		Files   int64   `json:"files"`
		Bytes   int64   `json:"bytes"`
		Rows    int64   `json:"rows"`
	}
	if err := runPinned(exec.CommandContext(ctx, "node", peerScript, path), cores, &took); err != nil {
		return nil, err
	}
	if took.Rows != int64(b.rows.Rows) {
		return nil, fmt.Errorf("%d rows given, %d in the files written", b.rows.Rows, took.Rows)
	}
	return &measurement{
		Rows: took.Rows, Objects: took.Files, BytesOut: took.Bytes, Wall: took.Wall, CPU: took.CPU, PeakRSS: took.PeakRSS,
		Version: "DuckDB " + took.Version + " in Node.js " + took.Node,
	}, nil
}
