package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/loadfleet/loadfleet/encoding"
)

// benchResult is everything a bench found out.
type benchResult struct {
	Machine      benchMachine  `json:"machine"`
	Options      string        `json:"options"`
	Started      time.Time     `json:"started"`
	BytesIn      int64         `json:"bytes_in"` // of the rows as text
	Medians      []measurement `json:"medians"`
	Measurements []measurement `json:"measurements"`
}

// benchMachine is what it ran on, without names.
type benchMachine struct {
	Cores    int               `json:"cores"`
	Memory   int64             `json:"memory"`
	Platform string            `json:"platform"`
	Go       string            `json:"go"`
	BucketFS string            `json:"bucket_fs"`
	QueueFS  string            `json:"queue_fs"`
	Modules  map[string]string `json:"modules"`
}

func machine(data, queueData string) benchMachine {
	m := benchMachine{
		Cores: runtime.NumCPU(), Memory: memory(), Platform: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(),
		BucketFS: fileSystem(data), QueueFS: fileSystem(queueData), Modules: map[string]string{},
	}
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return m
	}
	for _, d := range build.Deps {
		switch d.Path {
		case "github.com/nats-io/nats-server/v2", "github.com/versity/versitygw", "github.com/aws/aws-sdk-go-v2/service/s3":
			m.Modules[d.Path] = d.Version
		}
	}
	return m
}

// medians takes the median of each figure by itself over the runs of each
// side, format and number of cores, in the order in which they came first.
func medians(all []measurement) []measurement {
	var out []measurement
	for i, m := range all {
		same := func(o measurement) bool { return o.Side == m.Side && o.Format == m.Format && o.Cores == m.Cores }
		if slices.ContainsFunc(all[:i], same) {
			continue
		}
		of := func(figure func(*measurement) float64) float64 {
			var list []float64
			for i := range all {
				if same(all[i]) {
					list = append(list, figure(&all[i]))
				}
			}
			return median(list)
		}
		m.Wall = of(func(m *measurement) float64 { return m.Wall })
		m.CPU = of(func(m *measurement) float64 { return m.CPU })
		m.LoadAverage = of(func(m *measurement) float64 { return m.LoadAverage })
		m.PeakRSS = int64(of(func(m *measurement) float64 { return float64(m.PeakRSS) }))
		m.BytesOut = int64(of(func(m *measurement) float64 { return float64(m.BytesOut) }))
		m.Objects = int64(of(func(m *measurement) float64 { return float64(m.Objects) }))
		m.Stages = slices.Clone(m.Stages)
		for s := range m.Stages {
			m.Stages[s].Wall = of(func(m *measurement) float64 { return m.Stages[s].Wall })
			m.Stages[s].CPU = of(func(m *measurement) float64 { return m.Stages[s].CPU })
		}
		out = append(out, m)
	}
	return out
}

func median(list []float64) float64 {
	slices.Sort(list)
	n := len(list)
	if n%2 == 1 {
		return list[n/2]
	}
	return (list[n/2-1] + list[n/2]) / 2
}

func (m *measurement) rowsPerSecond() int64 { return int64(float64(m.Rows) / m.Wall) }

func (r *benchResult) megabytesPerSecond(m *measurement) string {
	return fmt.Sprintf("%.1f", float64(r.BytesIn)/1e6/m.Wall)
}

func seconds(s float64) string { return fmt.Sprintf("%.2f s", s) }

// table shows the medians.
func (r *benchResult) table(w io.Writer) error {
	var rows [][]string
	for i := range r.Medians {
		m := &r.Medians[i]
		row := []string{
			m.Side, string(m.Format), fmt.Sprint(m.Cores), count(m.Objects), size(m.BytesOut), count(m.rowsPerSecond()), r.megabytesPerSecond(m),
			seconds(m.Wall), seconds(m.CPU), size(m.PeakRSS),
		}
		for _, s := range m.Stages {
			row = append(row, seconds(s.Wall))
		}
		rows = append(rows, row)
	}
	if err := table(w, []string{"SIDE", "FORMAT", "CORES", "OBJECTS", "BYTES", "ROWS/S", "MB/S", "WALL", "CPU", "PEAK RSS", "PUBLISH", "DISPATCH", "LOAD"}, rows); err != nil {
		return err
	}
	fmt.Fprintf(w, "\n%s of rows in. Buckets on %s, JetStream (every write synced) on %s. CPU and peak memory are\nthe whole process's, the embedded servers' share included.\n",
		size(r.BytesIn), r.Machine.BucketFS, r.Machine.QueueFS)
	if r.Machine.QueueFS == "tmpfs" {
		fmt.Fprintln(w, "On tmpfs a sync costs nothing: these figures are not those of a durable queue.")
	}
	return nil
}

//go:embed bench.md.tmpl
var benchTemplate string

// comparison is one line of the report: loadfleet, and the peer if it writes the format.
type comparison struct {
	Format encoding.Format
	Cores  int
	Ours   measurement
	Peer   *measurement
}

// comparisons pairs the medians.
func (r *benchResult) comparisons() []comparison {
	var list []comparison
	for _, m := range r.Medians {
		if m.Side != sideLoadfleet {
			continue
		}
		c := comparison{Format: m.Format, Cores: m.Cores, Ours: m}
		for i := range r.Medians {
			if p := &r.Medians[i]; p.Side != sideLoadfleet && p.Format == m.Format && p.Cores == m.Cores {
				c.Peer = p
			}
		}
		list = append(list, c)
	}
	return list
}

// summary says for each number of cores how the peer compares over all formats.
func (r *benchResult) summary() []string {
	spans := map[int]*[3][]float64{}
	var cores []int
	for _, c := range r.comparisons() {
		if c.Peer == nil {
			continue
		}
		span := spans[c.Cores]
		if span == nil {
			span = &[3][]float64{}
			spans[c.Cores], cores = span, append(cores, c.Cores)
		}
		span[0] = append(span[0], c.Ours.Wall/c.Peer.Wall)
		span[1] = append(span[1], c.Ours.CPU/c.Peer.CPU)
		span[2] = append(span[2], float64(c.Ours.PeakRSS)/float64(c.Peer.PeakRSS))
	}
	var list []string
	for _, n := range cores {
		var of []any
		for _, span := range spans[n] {
			of = append(of, slices.Min(span), slices.Max(span))
		}
		list = append(list, fmt.Sprintf("cores %d: ", n)+
			fmt.Sprintf("%.2f to %.2f times DuckDB's wall time, %.2f to %.2f times its CPU time, %.2f to %.2f times its memory", of...))
	}
	return list
}

// writeReport writes docs/benchmarks.md.
func (r *benchResult) writeReport(path string) error {
	t, err := template.New("bench.md").Funcs(template.FuncMap{
		"count": count, "size": size,
		"s":    func(f float64) string { return fmt.Sprintf("%.2f", f) },
		"mb":   func(n int64) string { return fmt.Sprintf("%.0f", float64(n)/1e6) },
		"over": func(a, b float64) string { return fmt.Sprintf("%.2f", a/b) },
		"f":    func(n int64) float64 { return float64(n) },
		"rate": func(m measurement) string { return count(m.rowsPerSecond()) },
		"mbs":  func(m measurement) string { return r.megabytesPerSecond(&m) },
	}).Parse(benchTemplate)
	if err != nil {
		return err
	}
	loads := make([]float64, 0, len(r.Measurements))
	runs := map[string]int{}
	peer := ""
	for _, m := range r.Measurements {
		loads = append(loads, m.LoadAverage)
		runs[fmt.Sprint(m.Side, m.Format, m.Cores)]++
		if m.Version != "" {
			peer = m.Version
		}
	}
	most := 0
	for _, n := range runs {
		most = max(most, n)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, map[string]any{
		"R": r, "Lines": r.comparisons(), "Summary": r.summary(), "Peer": peer, "Runs": most, "Rows": r.Medians[0].Rows, "Objects": r.Medians[0].Objects,
		"LoadMin": slices.Min(loads), "LoadMedian": median(loads), "LoadMax": slices.Max(loads),
		"Date": r.Started.Format(time.DateOnly), "Modules": r.Machine.modules(),
	}); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// modules names the servers and the SDK with their versions.
func (m *benchMachine) modules() string {
	var list []string
	for path, version := range m.Modules {
		list = append(list, strings.TrimPrefix(path, "github.com/")+" "+version)
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}
