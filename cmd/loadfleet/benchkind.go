package main

import (
	"fmt"
	"strings"

	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/testdata/adrows"
	"github.com/loadfleet/loadfleet/worker"
)

// shape is a job: so many rows of so many days and accounts.
type shape struct{ Rows, Days, Accounts int }

// parseShape reads ROWSxDAYSxACCOUNTS.
func parseShape(text string) (s shape, err error) {
	var rest string
	if n, _ := fmt.Sscanf(text, "%dx%dx%d%s", &s.Rows, &s.Days, &s.Accounts, &rest); n != 3 || s.Rows < 1 || s.Days < 1 || s.Accounts < 1 {
		return s, fmt.Errorf("%q: write ROWSxDAYSxACCOUNTS, such as 1000000x90x50", text)
	}
	return s, nil
}

// String is what parseShape reads; "file" for the zero shape, that of a file.
func (s shape) String() string {
	if s == (shape{}) {
		return "file"
	}
	return fmt.Sprintf("%dx%dx%d", s.Rows, s.Days, s.Accounts)
}

// MarshalText is String.
func (s shape) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is the way back.
func (s *shape) UnmarshalText(b []byte) (err error) {
	if string(b) != (shape{}).String() {
		*s, err = parseShape(string(b))
	}
	return err
}

func (s shape) options() adrows.Options {
	return adrows.Options{Rows: s.Rows, Days: s.Days, Accounts: s.Accounts}
}

// kind is what one measurement is of. Measurements of one kind are repetitions.
type kind struct {
	Side     string          `json:"side"`
	Endpoint string          `json:"endpoint,omitempty"` // quiet or store; "" for who needs none
	Sync     string          `json:"sync,omitempty"`     // always or default
	Shape    shape           `json:"shape"`
	Format   encoding.Format `json:"format"`
	Cores    int             `json:"cores"`
}

func (k kind) String() string {
	parts := []string{k.Side}
	for _, p := range []string{k.Endpoint, k.Sync} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return fmt.Sprintf("%s, %s as %s on %d cores", strings.Join(parts, " "), k.Shape, k.Format, k.Cores)
}

// slots is how many loads are on their way at a time: as in a worker on these cores,
// of which nothing else was asked.
func (k kind) slots() int { return worker.DefaultSlots(k.Cores, defaultMemory) }

// The sides that are measured.
const (
	sideLoadfleet = "loadfleet"
	sideDuckDB    = "duckdb"
	sidePolars    = "polars"
	sidePut       = "put" // the bare SDK, with loadfleet's finished files
)

// The S3 endpoints that loadfleet puts to.
const (
	endpointQuiet = "quiet"
	endpointStore = "store"
)

// When JetStream syncs what it acknowledges.
const (
	syncAlways  = "always"
	syncDefault = "default"
)

// measurement is what one trial took.
type measurement struct {
	kind
	Rows        int64        `json:"rows"`
	Objects     int64        `json:"objects"`
	BytesOut    int64        `json:"bytes_out"`
	Wall        float64      `json:"wall_seconds"` // first publish to last object
	CPU         float64      `json:"cpu_seconds"`  // of the side's own processes in that time
	ServerCPU   float64      `json:"server_cpu_seconds,omitempty"`
	PeakRSS     int64        `json:"peak_rss"` // of the side's largest process, since its start
	LoadAverage float64      `json:"load_average"`
	Processes   []processUse `json:"processes,omitempty"`
	Stages      []stage      `json:"stages,omitempty"`
	Digest      string       `json:"digest,omitempty"` // of the objects' keys and contents
	Same        string       `json:"same,omitempty"`   // of the rows in the files: their count and a sum of hashes
	Version     string       `json:"version,omitempty"`
}

// processUse is what one of a side's processes took.
type processUse struct {
	Name    string  `json:"name"`
	CPU     float64 `json:"cpu_seconds"`
	PeakRSS int64   `json:"peak_rss"`
}

// stage is a part of a trial by the clock. Stages of a job do not overlap; what
// is done in them may: workers start while an extraction is still being
// dispatched. Stages of their own (see benchstages.go) run one after another.
type stage struct {
	Name       string  `json:"name"`
	Wall       float64 `json:"wall_seconds"`
	CPU        float64 `json:"cpu_seconds"` // of loadfleet's processes meanwhile
	Bytes      int64   `json:"bytes,omitempty"`
	Allocs     uint64  `json:"allocations,omitempty"`
	AllocBytes uint64  `json:"allocated_bytes,omitempty"`
	PeakRSS    int64   `json:"peak_rss,omitempty"`
}
