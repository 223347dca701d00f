package worker

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/storage"
)

// maxDestinations is how many destinations have a label of their own in the
// metrics of one worker's requests; the others are "other" together.
const (
	maxDestinations  = 200
	otherDestination = "other"
)

// meters is what a worker counts for Prometheus. No label holds a key, an
// extraction, or anything else without bound.
type meters struct {
	loads                *prometheus.CounterVec // result, format
	verdicts             *prometheus.CounterVec // verdict, reason
	rows, bytes          *prometheus.CounterVec // format
	decode, encode, put  *prometheus.HistogramVec
	requests, sent, back *prometheus.CounterVec // destination, operation (and status)

	mu           sync.Mutex
	destinations map[string]bool // that have a label
}

// durations is from a millisecond to two minutes.
var durations = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120}

func newMeters(w *Worker, r prometheus.Registerer) *meters {
	if r == nil {
		r = prometheus.NewRegistry() // counted for nobody
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		r.MustRegister(c)
		return c
	}
	histogram := func(name, help string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: durations}, []string{"format"})
		r.MustRegister(h)
		return h
	}
	gauge := func(name, help string, now func() float64) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, now))
	}
	gauge("loadfleet_worker_slots", "Loads that may be in work at a time.", func() float64 { return float64(w.cfg.Slots) })
	gauge("loadfleet_worker_loads_in_flight", "Loads in work.", func() float64 { return float64(w.done.inFlight.Load()) })
	gauge("loadfleet_worker_memory_budget_bytes", "What the process may have resident.", func() float64 { return float64(w.cfg.MemoryBytes) })
	gauge("loadfleet_worker_memory_reserved_bytes", "Of the budget, what is reserved for loads in work; half of the budget is for them.",
		func() float64 { return float64(w.budget.used.Load()) })
	gauge("loadfleet_worker_breakers_open", "Destinations that refuse loads of this worker.", func() float64 { return float64(len(w.breakers.refusing())) })
	is := func(state messages.ProcessState) func() float64 {
		return func() float64 {
			if now, _ := w.gate.state(); now == state {
				return 1
			}
			return 0
		}
	}
	gauge("loadfleet_worker_paused", "1 while an operator has paused the worker.", is(messages.ProcessPaused))
	gauge("loadfleet_worker_draining", "1 while the worker finishes what it has, before it ends.", is(messages.ProcessDraining))
	m := &meters{
		loads:    counter("loadfleet_loads_total", "Loads that ended, by result and file format.", "result", "format"),
		verdicts: counter("loadfleet_load_verdicts_total", "Deliveries of loads that did not end well, by what became of them and why.", "verdict", "reason"),
		rows:     counter("loadfleet_rows_total", "Rows of loads that ended well.", "format"),
		bytes:    counter("loadfleet_bytes_total", "Bytes of the files of loads that ended well.", "format"),
		decode:   histogram("loadfleet_load_decode_seconds", "Time to read and decode a load's rows."),
		encode:   histogram("loadfleet_load_encode_seconds", "Time to encode a load's rows as its file."),
		put:      histogram("loadfleet_load_put_seconds", "Time to put a load's file, with looks and repetitions."),
		requests: counter("loadfleet_s3_requests_total", "Requests to stores, repetitions included, by what was answered: 2xx, 3xx, 4xx, 5xx or none.",
			"destination", "operation", "answer"),
		sent:         counter("loadfleet_s3_sent_bytes_total", "Bytes of bodies sent to stores.", "destination", "operation"),
		back:         counter("loadfleet_s3_received_bytes_total", "Bytes of bodies that stores announced.", "destination", "operation"),
		destinations: map[string]bool{},
	}
	// From 0 on, or the first of a kind would be no increase.
	for _, result := range messages.Results() {
		for _, format := range encoding.Formats() {
			m.loads.WithLabelValues(string(result), string(format))
		}
	}
	m.loads.WithLabelValues(string(messages.DeadLettered), noFormat)
	return m
}

// noFormat is the format of a load that cannot be read.
const noFormat = "none"

// ended counts a load that ended.
func (m *meters) ended(l *messages.Load, result messages.Result, made carried) {
	format := noFormat
	if l != nil {
		format = l.Format()
	}
	m.loads.WithLabelValues(string(result), format).Inc()
	if l == nil || result == messages.DeadLettered {
		return
	}
	m.rows.WithLabelValues(format).Add(float64(l.Rows))
	m.bytes.WithLabelValues(format).Add(float64(made.bytes))
	for h, took := range map[*prometheus.HistogramVec]time.Duration{m.decode: made.decode, m.encode: made.encode, m.put: made.put} {
		h.WithLabelValues(format).Observe(took.Seconds())
	}
}

// failed counts a delivery that did not end well.
func (m *meters) failed(what decision, reason messages.Reason) {
	m.verdicts.WithLabelValues(what.String(), string(reason)).Inc()
}

// requested counts a request to a store.
func (m *meters) requested(r storage.Request) {
	destination := m.label(r.Destination)
	m.requests.WithLabelValues(destination, r.Operation, answer(r.Status)).Inc()
	if r.Sent > 0 {
		m.sent.WithLabelValues(destination, r.Operation).Add(float64(r.Sent))
	}
	if r.Received > 0 {
		m.back.WithLabelValues(destination, r.Operation).Add(float64(r.Received))
	}
}

func answer(status int) string {
	if status < 100 || status > 599 {
		return "none"
	}
	return string(rune('0'+status/100)) + "xx"
}

// label is a destination's label: its id, while there are not too many.
func (m *meters) label(destination string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.destinations[destination] {
		if len(m.destinations) >= maxDestinations {
			return otherDestination
		}
		m.destinations[destination] = true
	}
	return destination
}
