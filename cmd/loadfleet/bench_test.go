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

// A small job, once with every part in a process of its own and once with all
// of them in one: the figures are there, and both make the same objects.
func TestBench(t *testing.T) {
	t.Setenv(asProgram, "1")
	dir := t.TempDir()
	report := filepath.Join(dir, "report.md")
	digests := map[string]bool{}
	for _, tt := range []struct {
		name      string
		args      []string
		processes []string
		stages    []string
		endpoints []string
	}{
		{
			"apart", []string{"--endpoint", "quiet,store", "--stages", "--report", report, "--profile", filepath.Join(dir, "profile")},
			[]string{"extractor", "dispatcher", "worker"},
			[]string{"publish", "dispatch", "load", "decode", "split", "queue write", "queue read", "encode", "put"},
			[]string{endpointQuiet, endpointStore},
		},
		{"one process", []string{"--one-process"}, nil, []string{"publish", "dispatch", "load"}, []string{endpointQuiet}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out, said bytes.Buffer
			code := run(append([]string{
				"bench", "--shape", "2000x5x4", "--format", "parquet", "--cores", "1", "--data", dir, "--queue-data", dir, "-o", "json",
			}, tt.args...), nil, &out, &said)
			if code != exitOK {
				t.Fatalf("exit %d: %s", code, said.String())
			}
			var r benchResult
			if err := json.Unmarshal(out.Bytes(), &r); err != nil {
				t.Fatalf("output is not JSON: %v\n%s", err, out.String())
			}
			if len(r.Medians) != len(tt.endpoints) || len(r.Measurements) != len(tt.endpoints) {
				t.Fatalf("%d medians of %d measurements, want one for each of %v", len(r.Medians), len(r.Measurements), tt.endpoints)
			}
			for i := range r.Medians {
				m := &r.Medians[i]
				want := kind{sideLoadfleet, tt.endpoints[i], syncAlways, shape{2000, 5, 4}, encoding.Parquet, 1}
				if diff := cmp.Diff([]any{want, int64(2000), int64(20)}, []any{m.kind, m.Rows, m.Objects}, cmp.AllowUnexported(kind{})); diff != "" {
					t.Errorf("what was measured (-want +got):\n%s", diff)
				}
				checkFigures(t, &r, m, tt.processes, tt.stages)
				digests[m.Digest] = true
			}
		})
	}
	if len(digests) != 1 {
		t.Errorf("%d different sets of objects were made of the same rows", len(digests))
	}
	text, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| 2000x5x4 | parquet | 1 | loadfleet quiet |", "2,000 rows", "| encode |", "--shape 2000x5x4 --format parquet --endpoint quiet,store --sync always --cores 1"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, "loadfleet-bench-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func checkFigures(t *testing.T, r *benchResult, m *measurement, processes, stages []string) {
	t.Helper()
	if m.Wall <= 0 || m.CPU < 0 || m.BytesOut <= 0 || m.PeakRSS < 0 || r.bytesIn(m.Shape) <= 0 {
		t.Errorf("figures that cannot be: %+v, %d bytes in", m, r.bytesIn(m.Shape))
	}
	var names []string
	for _, p := range m.Processes {
		names = append(names, p.Name)
	}
	if diff := cmp.Diff(processes, names); diff != "" {
		t.Errorf("processes (-want +got):\n%s", diff)
	}
	names = nil
	wall := 0.0
	for _, s := range m.Stages {
		names = append(names, s.Name)
	}
	for _, s := range m.job() {
		wall += s.Wall
	}
	if diff := cmp.Diff(stages, names); diff != "" {
		t.Errorf("stages (-want +got):\n%s", diff)
	}
	if d := wall - m.Wall; d > 1e-6 || d < -1e-6 {
		t.Errorf("the job's stages take %v s together, the whole %v", wall, m.Wall)
	}
}

func TestBenchRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		want []string
	}{
		{"all mistakes at once", []string{"--format", "xls", "--cores", "0", "--runs", "0", "--shape", "1x2", "--endpoint", "aws", "--sync", "never"},
			[]string{"xls", "--cores 0", "--runs 0", "--shape", "--endpoint", "--sync"}},
		{"nothing to measure", []string{"--format=", "--endpoint=", "--sync=", "--shape=", "--report", "x.md"},
			[]string{"--format: give one", "--endpoint: give one", "--sync: give one", "--shape: give one"}},
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

// What is measured at a worker's pace has as many slots as a worker, of 64 a core and
// one for 2 MiB of its 256 MiB.
func TestBenchSlots(t *testing.T) {
	for cores, want := range map[int]int{1: 64, 2: 128, 8: 128} {
		if got := (kind{Cores: cores}).slots(); got != want {
			t.Errorf("on %d cores: %d slots, want %d", cores, got, want)
		}
	}
}

func TestMedians(t *testing.T) {
	of := func(side string, cores int, wall, publish float64) measurement {
		return measurement{kind: kind{Side: side, Format: encoding.CSV, Cores: cores}, Wall: wall, Stages: []stage{{Name: "publish", Wall: publish}}}
	}
	all := []measurement{
		of("a", 1, 3, 9), of("b", 1, 30, 1), of("a", 1, 1, 7), of("b", 1, 10, 2), of("a", 1, 2, 8), of("a", 2, 5, 5),
	}
	want := []measurement{of("a", 1, 2, 8), of("b", 1, 20, 1.5), of("a", 2, 5, 5)}
	if diff := cmp.Diff(want, medians(all), cmp.AllowUnexported(measurement{})); diff != "" {
		t.Errorf("medians (-want +got):\n%s", diff)
	}
	if all[0].Stages[0].Wall != 9 {
		t.Error("the measurements were changed")
	}
}

// The report sets the peer's reading of the rows beside our decode stage, and
// leaves it out where it was not measured.
func TestScanInReport(t *testing.T) {
	of := func(format encoding.Format, alone ...stage) measurement {
		return measurement{
			kind: kind{Side: sideLoadfleet, Endpoint: endpointQuiet, Sync: syncAlways, Shape: shape{2000, 5, 4}, Format: format, Cores: 1}, Wall: 1, Rows: 2000,
			Stages: append([]stage{{Name: "publish", Wall: 0.5}, {Name: "dispatch", Wall: 0.25}, {Name: "load", Wall: 0.25}}, alone...),
		}
	}
	decode, theirs := stage{Name: decodeStage, Wall: 2, CPU: 2}, stage{Name: scanStage, Wall: 5, CPU: 5}
	all := []measurement{of(encoding.CSV, decode, theirs), of(encoding.JSON, decode), of(encoding.Avro)}
	path := filepath.Join(t.TempDir(), "report.md")
	if err := (&benchResult{Medians: all, Measurements: all}).writeReport(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), "**NDJSON to columns**"); n != 1 || !strings.Contains(string(text), "takes 2.00 s of CPU. DuckDB takes 5.00 s") || !strings.Contains(string(text), "**2.50 times** as long") {
		t.Errorf("the report says it %d times, want once, of 5 s and 2 s:\n%s", n, text)
	}
}
