package worker_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/storage/storagetest"
	"github.com/loadfleet/loadfleet/worker"
)

// What happens to loads shows in the metrics, by what it was, and no label tells
// a key or an extraction.
func TestMetrics(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	reg := prometheus.NewRegistry()
	r.proxy.Inject(storagetest.PutObject, storagetest.SlowDown, 3) // the SDK sends it thrice
	stop := r.start(func(c *worker.Config) { c.Metrics, c.Slots = reg, 1 })
	good := r.publish(spec{name: "good"})
	bytes := r.outcome(good).Bytes
	bad := r.publish(spec{name: "bad", change: func(l *messages.Load) { l.Rows++ }})
	r.outcome(bad)
	stop()
	if err := testutil.GatherAndCompare(reg, strings.NewReader(fmt.Sprintf(`
# HELP loadfleet_loads_total Loads that ended, by result and file format.
# TYPE loadfleet_loads_total counter
loadfleet_loads_total{format="avro",result="dead-lettered"} 0
loadfleet_loads_total{format="avro",result="deleted"} 0
loadfleet_loads_total{format="avro",result="loaded"} 0
loadfleet_loads_total{format="avro",result="superseded"} 0
loadfleet_loads_total{format="avro",result="unchanged"} 0
loadfleet_loads_total{format="csv",result="dead-lettered"} 1
loadfleet_loads_total{format="csv",result="deleted"} 0
loadfleet_loads_total{format="csv",result="loaded"} 1
loadfleet_loads_total{format="csv",result="superseded"} 0
loadfleet_loads_total{format="csv",result="unchanged"} 0
loadfleet_loads_total{format="csv+gzip",result="dead-lettered"} 0
loadfleet_loads_total{format="csv+gzip",result="deleted"} 0
loadfleet_loads_total{format="csv+gzip",result="loaded"} 0
loadfleet_loads_total{format="csv+gzip",result="superseded"} 0
loadfleet_loads_total{format="csv+gzip",result="unchanged"} 0
loadfleet_loads_total{format="json",result="dead-lettered"} 0
loadfleet_loads_total{format="json",result="deleted"} 0
loadfleet_loads_total{format="json",result="loaded"} 0
loadfleet_loads_total{format="json",result="superseded"} 0
loadfleet_loads_total{format="json",result="unchanged"} 0
loadfleet_loads_total{format="json+gzip",result="dead-lettered"} 0
loadfleet_loads_total{format="json+gzip",result="deleted"} 0
loadfleet_loads_total{format="json+gzip",result="loaded"} 0
loadfleet_loads_total{format="json+gzip",result="superseded"} 0
loadfleet_loads_total{format="json+gzip",result="unchanged"} 0
loadfleet_loads_total{format="none",result="dead-lettered"} 0
loadfleet_loads_total{format="parquet",result="dead-lettered"} 0
loadfleet_loads_total{format="parquet",result="deleted"} 0
loadfleet_loads_total{format="parquet",result="loaded"} 0
loadfleet_loads_total{format="parquet",result="superseded"} 0
loadfleet_loads_total{format="parquet",result="unchanged"} 0
# HELP loadfleet_load_verdicts_total Deliveries of loads that did not end well, by what became of them and why.
# TYPE loadfleet_load_verdicts_total counter
loadfleet_load_verdicts_total{reason="exhausted",verdict="retry"} 1
loadfleet_load_verdicts_total{reason="undecodable",verdict="reject"} 1
# HELP loadfleet_rows_total Rows of loads that ended well.
# TYPE loadfleet_rows_total counter
loadfleet_rows_total{format="csv"} 20
# HELP loadfleet_bytes_total Bytes of the files of loads that ended well.
# TYPE loadfleet_bytes_total counter
loadfleet_bytes_total{format="csv"} %d
# HELP loadfleet_s3_requests_total Requests to stores, repetitions included, by what was answered: 2xx, 3xx, 4xx, 5xx or none.
# TYPE loadfleet_s3_requests_total counter
loadfleet_s3_requests_total{answer="2xx",destination="acme",operation="PutObject"} 1
loadfleet_s3_requests_total{answer="5xx",destination="acme",operation="PutObject"} 3
# HELP loadfleet_worker_loads_in_flight Loads in work.
# TYPE loadfleet_worker_loads_in_flight gauge
loadfleet_worker_loads_in_flight 0
# HELP loadfleet_worker_memory_reserved_bytes Of the budget, what is reserved for loads in work; half of the budget is for them.
# TYPE loadfleet_worker_memory_reserved_bytes gauge
loadfleet_worker_memory_reserved_bytes 0
# HELP loadfleet_worker_draining 1 while the worker finishes what it has, before it ends.
# TYPE loadfleet_worker_draining gauge
loadfleet_worker_draining 1
`, bytes)), "loadfleet_loads_total", "loadfleet_load_verdicts_total", "loadfleet_rows_total", "loadfleet_bytes_total", "loadfleet_s3_requests_total",
		"loadfleet_worker_loads_in_flight", "loadfleet_worker_memory_reserved_bytes", "loadfleet_worker_draining"); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("names: %v, %v", problems, err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				for _, text := range []string{good.Extraction, good.Key, good.ID, r.bucket, workspace} {
					if l.GetValue() == text {
						t.Errorf("%s has the label %s=%q", f.GetName(), l.GetName(), text)
					}
				}
			}
		}
	}
}

// However many destinations a worker serves, its metrics name some of them only.
func TestMetricsNameFewDestinations(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	requested := worker.Requested(reg)
	for n := range 3 * worker.MaxDestinations {
		requested(fmt.Sprintf("destination-%d", n%(2*worker.MaxDestinations)))
	}
	if n, err := testutil.GatherAndCount(reg, "loadfleet_s3_requests_total"); err != nil || n != worker.MaxDestinations+1 {
		t.Errorf("there are %d series, %v, want %d and one for the others", n, err, worker.MaxDestinations)
	}
}

// A destination's breaker shows while it is open.
func TestMetricsOfBreakers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.apply(func(s *destination.Settings) { s.Bucket = "no-such-bucket" })
	reg := prometheus.NewRegistry()
	fleet := r.crew()
	r.start(func(c *worker.Config) { c.Metrics = reg })
	r.publish(spec{change: func(l *messages.Load) { l.Bucket = "no-such-bucket" }})
	p := fleet.until("refused", func(p messages.Presence) bool { return p.Breakers == 1 })
	if len(p.Refusing) != 1 || p.Refusing[0] != "acme" {
		t.Errorf("it says that %v refuse, want acme", p.Refusing)
	}
	if err := testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP loadfleet_worker_breakers_open Destinations that refuse loads of this worker.
# TYPE loadfleet_worker_breakers_open gauge
loadfleet_worker_breakers_open 1
`), "loadfleet_worker_breakers_open"); err != nil {
		t.Error(err)
	}
}
