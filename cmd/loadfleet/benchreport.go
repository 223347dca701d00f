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
	Sources      []sourceSize  `json:"sources"`
	Medians      []measurement `json:"medians"`
	Measurements []measurement `json:"measurements"`
}

// sourceSize is how much a job's rows are, and what their packing took.
type sourceSize struct {
	Shape       shape   `json:"shape"`
	Bytes       int64   `json:"bytes"`
	Rows        int64   `json:"rows"`
	PackSeconds float64 `json:"pack_seconds"`
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
// kind, in the order in which they came first.
func medians(all []measurement) []measurement {
	var out []measurement
	for i, m := range all {
		same := func(o measurement) bool { return o.kind == m.kind }
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
		whole := func(figure func(*measurement) int64) int64 {
			return int64(of(func(m *measurement) float64 { return float64(figure(m)) }))
		}
		m.Wall = of(func(m *measurement) float64 { return m.Wall })
		m.CPU = of(func(m *measurement) float64 { return m.CPU })
		m.ServerCPU = of(func(m *measurement) float64 { return m.ServerCPU })
		m.LoadAverage = of(func(m *measurement) float64 { return m.LoadAverage })
		m.PeakRSS = whole(func(m *measurement) int64 { return m.PeakRSS })
		m.BytesOut = whole(func(m *measurement) int64 { return m.BytesOut })
		m.Objects = whole(func(m *measurement) int64 { return m.Objects })
		m.Processes = slices.Clone(m.Processes)
		for p := range m.Processes {
			m.Processes[p].CPU = of(func(m *measurement) float64 { return m.Processes[p].CPU })
			m.Processes[p].PeakRSS = whole(func(m *measurement) int64 { return m.Processes[p].PeakRSS })
		}
		m.Stages = slices.Clone(m.Stages)
		for s := range m.Stages {
			m.Stages[s].Wall = of(func(m *measurement) float64 { return m.Stages[s].Wall })
			m.Stages[s].CPU = of(func(m *measurement) float64 { return m.Stages[s].CPU })
			m.Stages[s].PeakRSS = whole(func(m *measurement) int64 { return m.Stages[s].PeakRSS })
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

func seconds(s float64) string { return fmt.Sprintf("%.2f s", s) }

// jobStages is how many of a measurement's stages are parts of the job by the clock.
const jobStages = 3

// alone are a measurement's stages that were measured by themselves.
func (m *measurement) alone() []stage {
	if len(m.Stages) <= jobStages {
		return nil
	}
	return m.Stages[jobStages:]
}

// scan is our decode stage beside the peer's reading of the same rows.
type scan struct{ Ours, Theirs stage }

// scan is nil when the peer's was not measured.
func (m *measurement) scan() *scan {
	all := m.alone()
	named := func(name string) int {
		return slices.IndexFunc(all, func(s stage) bool { return s.Name == name })
	}
	ours, theirs := named(decodeStage), named(scanStage)
	if ours < 0 || theirs < 0 {
		return nil
	}
	return &scan{all[ours], all[theirs]}
}

func (r *benchResult) bytesIn(of shape) int64 {
	for _, s := range r.Sources {
		if s.Shape == of {
			return s.Bytes
		}
	}
	return 0
}

// table shows the medians.
func (r *benchResult) table(w io.Writer) error {
	var rows, stages [][]string
	for i := range r.Medians {
		m := &r.Medians[i]
		row := []string{
			m.Side, m.Endpoint, m.Sync, m.Shape.String(), string(m.Format), fmt.Sprint(m.Cores), count(m.Objects), size(m.BytesOut), count(m.rowsPerSecond()),
			fmt.Sprintf("%.1f", float64(r.bytesIn(m.Shape))/1e6/m.Wall), seconds(m.Wall), seconds(m.CPU), seconds(m.ServerCPU), size(m.PeakRSS),
		}
		for _, s := range m.Stages[:min(jobStages, len(m.Stages))] {
			row = append(row, seconds(s.Wall))
		}
		rows = append(rows, row)
		for _, s := range m.alone() {
			stages = append(stages, []string{
				m.Endpoint, m.Shape.String(), string(m.Format), s.Name, count(int64(float64(m.Rows) / s.Wall)), fmt.Sprintf("%.1f", float64(s.Bytes)/1e6/s.Wall),
				seconds(s.Wall), seconds(s.CPU), fmt.Sprintf("%.2f", float64(s.Allocs)/float64(m.Rows)), fmt.Sprintf("%.0f", float64(s.AllocBytes)/float64(m.Rows)), size(s.PeakRSS),
			})
		}
	}
	if err := table(w, []string{
		"SIDE", "ENDPOINT", "SYNC", "JOB", "FORMAT", "CORES", "OBJECTS", "BYTES", "ROWS/S", "MB/S", "WALL", "CPU", "SERVERS' CPU", "PEAK RSS", "PUBLISH", "DISPATCH", "LOAD",
	}, rows); err != nil {
		return err
	}
	if len(stages) > 0 {
		fmt.Fprintln(w)
		if err := table(w, []string{"ENDPOINT", "JOB", "FORMAT", "STAGE", "ROWS/S", "MB/S", "WALL", "CPU", "ALLOCS/ROW", "BYTES/ROW", "PEAK RSS"}, stages); err != nil {
			return err
		}
	}
	fmt.Fprintf(w, "\nBuckets on %s, JetStream on %s. Peak memory is that of loadfleet's largest process; MB/s are of rows as text.\n", r.Machine.BucketFS, r.Machine.QueueFS)
	if r.Machine.QueueFS == "tmpfs" {
		fmt.Fprintln(w, "On tmpfs a sync costs nothing: these figures are not those of a durable queue.")
	}
	return nil
}

//go:embed bench.md.tmpl
var benchTemplate string

// comparison is one job's figures side by side.
type comparison struct {
	Shape  shape
	Format encoding.Format
	Cores  int
	All    []measurement
}

// of finds a side's figures.
func (c *comparison) of(side, endpoint, sync string) *measurement {
	for i := range c.All {
		if m := &c.All[i]; m.Side == side && m.Endpoint == endpoint && m.Sync == sync {
			return m
		}
	}
	return nil
}

// Fastest is the faster of the engines; nil without any.
func (c *comparison) Fastest() *measurement {
	var best *measurement
	for _, side := range []string{sideDuckDB, sidePolars} {
		if m := c.of(side, "", ""); m != nil && (best == nil || m.Wall < best.Wall) {
			best = m
		}
	}
	return best
}

// Put is the bare SDK's.
func (c *comparison) Put() *measurement { return c.of(sidePut, endpointStore, "") }

// Ours are loadfleet's.
func (c *comparison) Ours() []measurement {
	var list []measurement
	for _, m := range c.All {
		if m.Side == sideLoadfleet {
			list = append(list, m)
		}
	}
	return list
}

func (r *benchResult) comparisons() []comparison {
	var list []comparison
	for _, m := range r.Medians {
		i := slices.IndexFunc(list, func(c comparison) bool {
			return c.Shape == m.Shape && c.Format == m.Format && c.Cores == m.Cores
		})
		if i < 0 {
			i = len(list)
			list = append(list, comparison{Shape: m.Shape, Format: m.Format, Cores: m.Cores})
		}
		list[i].All = append(list[i].All, m)
	}
	return list
}

// writeReport writes docs/benchmarks.md.
func (r *benchResult) writeReport(path string) error {
	t, err := template.New("bench.md").Funcs(template.FuncMap{
		"count": count, "size": size,
		"s":     func(f float64) string { return fmt.Sprintf("%.2f", f) },
		"mb":    func(n int64) string { return fmt.Sprintf("%.0f", float64(n)/1e6) },
		"ratio": func(a, b float64) string { return fmt.Sprintf("%.2f", a/b) },
		"f":     func(n int64) float64 { return float64(n) },
		"per":   func(n uint64, rows int64) string { return fmt.Sprintf("%.2f", float64(n)/float64(rows)) },
		"rate":  func(n int64, s float64) string { return count(int64(float64(n) / s)) },
		"speed": func(n int64, s float64) string { return fmt.Sprintf("%.0f", float64(n)/1e6/s) },
		"job":   (*measurement).job,
		"alone": (*measurement).alone,
		"scan":  (*measurement).scan,
	}).Parse(benchTemplate)
	if err != nil {
		return err
	}
	var loads []float64
	runs := map[kind]int{}
	most := 0
	peers := map[string]string{}
	for _, m := range r.Measurements {
		loads = append(loads, m.LoadAverage)
		runs[m.kind]++
		most = max(most, runs[m.kind])
		if m.Version != "" {
			peers[m.Side] = m.Version
		}
	}
	var versions []string
	for _, v := range peers {
		versions = append(versions, v)
	}
	slices.Sort(versions)
	var b bytes.Buffer
	if err := t.Execute(&b, map[string]any{
		"R": r, "Lines": r.comparisons(), "Peers": strings.Join(versions, "; "), "Runs": most,
		"LoadMin": slices.Min(loads), "LoadMedian": median(loads), "LoadMax": slices.Max(loads),
		"Date": r.Started.Format(time.DateOnly), "Modules": r.Machine.modules(),
	}); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// job are the stages by the clock.
func (m *measurement) job() []stage { return m.Stages[:min(jobStages, len(m.Stages))] }

// modules names the servers and the SDK with their versions.
func (m *benchMachine) modules() string {
	var list []string
	for path, version := range m.Modules {
		list = append(list, strings.TrimPrefix(path, "github.com/")+" "+version)
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}
