package dispatcher

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/loadfleet/loadfleet/messages"
)

// What became of extractions, and what waits on the queue, shows in the metrics.
func TestMetrics(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply()
	reg := prometheus.NewRegistry()
	w.extract(commitOf("good"), batch{body: `{"day":"2024-06-18","n":1}` + "\n" + `{"day":"2024-06-19","n":2}` + "\n", rows: 2})
	w.extract(commitOf("bad"), batch{body: `{"day":"never","n":1}` + "\n", rows: 1})
	stop := w.start(w.Connect(t), Config{Metrics: reg})
	w.await("good", messages.EventDispatched)
	w.await("bad", messages.EventFailed)
	stop()
	if err := testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP loadfleet_extractions_total Deliveries of commits, by what became of them and why: dispatched, retry, reject, hold or release.
# TYPE loadfleet_extractions_total counter
loadfleet_extractions_total{reason="",verdict="dispatched"} 1
loadfleet_extractions_total{reason="invalid-commit",verdict="reject"} 0
loadfleet_extractions_total{reason="workspace",verdict="reject"} 0
loadfleet_extractions_total{reason="unknown-destination",verdict="reject"} 0
loadfleet_extractions_total{reason="incomplete",verdict="reject"} 0
loadfleet_extractions_total{reason="count",verdict="reject"} 0
loadfleet_extractions_total{reason="undecodable",verdict="reject"} 0
loadfleet_extractions_total{reason="bad-row",verdict="reject"} 1
loadfleet_extractions_total{reason="drift",verdict="reject"} 0
loadfleet_extractions_total{reason="partial",verdict="reject"} 0
loadfleet_extractions_total{reason="key",verdict="reject"} 0
loadfleet_extractions_total{reason="destination",verdict="reject"} 0
loadfleet_extractions_total{reason="exhausted",verdict="reject"} 0
loadfleet_extractions_total{reason="poison",verdict="reject"} 0
# HELP loadfleet_dispatched_loads_total Loads of extractions that were dispatched.
# TYPE loadfleet_dispatched_loads_total counter
loadfleet_dispatched_loads_total 2
# HELP loadfleet_dispatched_rows_total Rows of extractions that were dispatched.
# TYPE loadfleet_dispatched_rows_total counter
loadfleet_dispatched_rows_total 2
# HELP loadfleet_queue_dead_letters Dead letters that wait for a replay or to be discarded.
# TYPE loadfleet_queue_dead_letters gauge
loadfleet_queue_dead_letters 1
# HELP loadfleet_queue_pending Messages that were not delivered yet: commits, loads of a lane, or parked loads.
# TYPE loadfleet_queue_pending gauge
loadfleet_queue_pending{lane="backfill"} 0
loadfleet_queue_pending{lane="commits"} 0
loadfleet_queue_pending{lane="fresh"} 2
loadfleet_queue_pending{lane="parked"} 0
loadfleet_queue_pending{lane="replay"} 0
`), "loadfleet_extractions_total", "loadfleet_dispatched_loads_total", "loadfleet_dispatched_rows_total", "loadfleet_queue_dead_letters",
		"loadfleet_queue_pending"); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("names: %v, %v", problems, err)
	}
	w.StopServer(t)
	if err := testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP loadfleet_queue_up 1 when the queue answered this scrape; else the other loadfleet_queue metrics are missing.
# TYPE loadfleet_queue_up gauge
loadfleet_queue_up 0
`), "loadfleet_queue_up", "loadfleet_queue_pending"); err != nil {
		t.Errorf("without a queue: %v", err)
	}
}
