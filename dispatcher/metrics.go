package dispatcher

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
)

// meters is what a dispatcher counts for Prometheus.
type meters struct {
	extractions *prometheus.CounterVec // verdict, reason
	loads, rows prometheus.Counter
	took        prometheus.Histogram
}

func newMeters(d *Dispatcher, r prometheus.Registerer) *meters {
	if r == nil {
		r = prometheus.NewRegistry() // counted for nobody
	}
	m := &meters{
		extractions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "loadfleet_extractions_total", Help: "Deliveries of commits, by what became of them and why: dispatched, retry, reject, hold or release.",
		}, []string{"verdict", "reason"}),
		loads: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "loadfleet_dispatched_loads_total", Help: "Loads of extractions that were dispatched.",
		}),
		rows: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "loadfleet_dispatched_rows_total", Help: "Rows of extractions that were dispatched.",
		}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "loadfleet_dispatch_seconds", Help: "Time to dispatch an extraction.",
			Buckets: []float64{.01, .05, .1, .5, 1, 5, 10, 30, 60, 300, 900, 3600},
		}),
	}
	r.MustRegister(m.extractions, m.loads, m.rows, m.took, newLagCollector(d.queue, d.log))
	// From 0 on, or the first of a kind would be no increase.
	for _, reason := range messages.Reasons() {
		m.extractions.WithLabelValues("reject", string(reason))
	}
	for name, now := range map[string]func() float64{
		"loadfleet_dispatcher_extractions_in_flight": func() float64 { return float64(d.done.inFlight.Load()) },
		"loadfleet_dispatcher_memory_budget_bytes":   func() float64 { return float64(d.cfg.MemoryBytes) },
	} {
		help := map[string]string{
			"loadfleet_dispatcher_extractions_in_flight": "Extractions in work.",
			"loadfleet_dispatcher_memory_budget_bytes":   "What the process may have resident.",
		}[name]
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, now))
	}
	return m
}

func (m *meters) ended(verdict string, reason messages.Reason, plan messages.Plan, took time.Duration) {
	m.extractions.WithLabelValues(verdict, string(reason)).Inc()
	if verdict == dispatchedVerdict {
		m.loads.Add(float64(plan.Loads))
		m.rows.Add(float64(plan.Rows))
		m.took.Observe(took.Seconds())
	}
}

// lagCollector looks at the queue when it is asked. Every dispatcher tells the
// same: take the maximum of them.
type lagCollector struct {
	queue                                               *queue.Queue
	log                                                 *zap.Logger
	up, pending, inFlight, dead, messages, bytes, limit *prometheus.Desc
}

// lagTimeout is below the ten seconds that Prometheus waits for a scrape.
const lagTimeout = 5 * time.Second

func newLagCollector(q *queue.Queue, log *zap.Logger) *lagCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &lagCollector{
		queue: q, log: log,
		up:       desc("loadfleet_queue_up", "1 when the queue answered this scrape; else the other loadfleet_queue metrics are missing."),
		pending:  desc("loadfleet_queue_pending", "Messages that were not delivered yet: commits, loads of a lane, or parked loads.", "lane"),
		inFlight: desc("loadfleet_queue_in_flight", "Messages that were delivered, or postponed, and not settled.", "lane"),
		dead:     desc("loadfleet_queue_dead_letters", "Dead letters that wait for a replay or to be discarded."),
		messages: desc("loadfleet_queue_stream_messages", "Messages on a stream.", "stream"),
		bytes:    desc("loadfleet_queue_stream_bytes", "Bytes on a stream.", "stream"),
		limit:    desc("loadfleet_queue_stream_full_ratio", "Share of its limit that a stream fills; 0 when it has none.", "stream"),
	}
}

// Describe implements [prometheus.Collector].
func (c *lagCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.up, c.pending, c.inFlight, c.dead, c.messages, c.bytes, c.limit} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *lagCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), lagTimeout)
	defer cancel()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	lag, err := c.queue.Lag(ctx)
	if err != nil {
		c.log.Debug("metrics of the queue", zap.Error(err))
		gauge(c.up, 0)
		return
	}
	gauge(c.up, 1)
	lane := func(name string, s queue.LaneStatus) {
		gauge(c.pending, float64(s.Pending), name)
		gauge(c.inFlight, float64(s.InFlight), name)
	}
	lane("commits", lag.Commits)
	for _, s := range lag.Lanes {
		lane(string(s.Lane), s)
	}
	lane(string(messages.Parked), lag.Parked)
	gauge(c.dead, float64(lag.Dead))
	for _, s := range lag.Streams {
		gauge(c.messages, float64(s.Messages), s.Name)
		gauge(c.bytes, float64(s.Bytes), s.Name)
		gauge(c.limit, s.Full(), s.Name)
	}
}
