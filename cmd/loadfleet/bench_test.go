package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/loadfleet/loadfleet/encoding"
)

func TestBench(t *testing.T) {
	t.Setenv(asProgram, "1")
	dir := t.TempDir()
	report := filepath.Join(dir, "report.md")
	var out, said bytes.Buffer
	code := run([]string{
		"bench", "--rows", "2000", "--days", "5", "--accounts", "4", "--format", "parquet", "--cores", "1",
		"--data", dir, "--queue-data", dir, "--report", report, "--profile", filepath.Join(dir, "profile"), "-o", "json",
	}, nil, &out, &said)
	if code != exitOK {
		t.Fatalf("exit %d: %s", code, said.String())
	}
	var r benchResult
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("output is not JSON: %v\n%s", err, out.String())
	}
	if len(r.Medians) != 1 || len(r.Measurements) != 1 {
		t.Fatalf("%d medians of %d measurements, want 1 of 1", len(r.Medians), len(r.Measurements))
	}
	m := r.Medians[0]
	got := []any{m.Side, m.Format, m.Cores, m.Rows, m.Objects}
	if diff := cmp.Diff([]any{sideLoadfleet, encoding.Parquet, 1, int64(2000), int64(20)}, got); diff != "" {
		t.Errorf("what was measured (-want +got):\n%s", diff)
	}
	if m.Wall <= 0 || m.CPU <= 0 || m.BytesOut <= 0 || m.PeakRSS < 0 || r.BytesIn <= 0 {
		t.Errorf("figures that cannot be: %+v, %d bytes in", m, r.BytesIn)
	}
	var names []string
	wall := 0.0
	for _, s := range m.Stages {
		names = append(names, s.Name)
		wall += s.Wall
	}
	if diff := cmp.Diff([]string{"publish", "dispatch", "load"}, names); diff != "" {
		t.Errorf("stages (-want +got):\n%s", diff)
	}
	if d := wall - m.Wall; d > 1e-6 || d < -1e-6 {
		t.Errorf("stages take %v s together, the whole %v", wall, m.Wall)
	}
	text, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| parquet | 1 |", "2,000 rows", "--rows 2000 --days 5 --accounts 4 --format parquet --cores 1 --runs 1"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, "loadfleet-bench-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestBenchRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		want []string
	}{
		{"all mistakes at once", []string{"--format", "xls", "--cores", "0", "--runs", "0", "--rows", "0"}, []string{"xls", "--cores 0", "--runs 0", "--rows"}},
		{"peers of a file", []string{"--peers", "rows.ndjson"}, []string{"leave FILE out"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var said bytes.Buffer
			if code := run(append([]string{"bench", "--data", t.TempDir()}, tt.args...), nil, &bytes.Buffer{}, &said); code != exitUsage {
				t.Errorf("exit %d, want %d", code, exitUsage)
			}
			for _, want := range tt.want {
				if !strings.Contains(said.String(), want) {
					t.Errorf("said %q, want %q in it", said.String(), want)
				}
			}
		})
	}
}

func TestMedians(t *testing.T) {
	of := func(side string, cores int, wall, publish float64) measurement {
		return measurement{Side: side, Format: encoding.CSV, Cores: cores, Wall: wall, Stages: []stage{{Name: "publish", Wall: publish}}}
	}
	all := []measurement{
		of("a", 1, 3, 9), of("b", 1, 30, 1), of("a", 1, 1, 7), of("b", 1, 10, 2), of("a", 1, 2, 8), of("a", 2, 5, 5),
	}
	want := []measurement{of("a", 1, 2, 8), of("b", 1, 20, 1.5), of("a", 2, 5, 5)}
	if diff := cmp.Diff(want, medians(all)); diff != "" {
		t.Errorf("medians (-want +got):\n%s", diff)
	}
	if all[0].Stages[0].Wall != 9 {
		t.Error("the measurements were changed")
	}
}
