package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/pflag"
	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/queue"
)

// monitor serves what a process is watched by: its metrics, whether it is alive
// and whether it takes work. The zero value serves nothing.
type monitor struct {
	registry *prometheus.Registry
	queue    *queue.Queue
	draining func() bool

	server *http.Server
	done   sync.WaitGroup
}

func bindMetrics(f *pflag.FlagSet, addr *string) {
	f.StringVar(addr, "metrics", "", "address for /metrics (Prometheus), /healthz and /readyz, such as :9090; none when empty")
}

// newRegistry holds what every process tells: its version, Go's and the system's figures.
func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "loadfleet_build_info", Help: "1, with the program's version."}, []string{"version"})
	build.WithLabelValues(programVersion()).Set(1)
	r.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// serve listens at addr until close; for the empty address it does nothing.
func (m *monitor) serve(addr string, log *zap.Logger) error {
	if addr == "" {
		return nil
	}
	listener, err := net.Listen("tcp", addr) //nolint:noctx // it lives as long as the process
	if err != nil {
		return usage(fmt.Errorf("--metrics: %w", err))
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "alive") })
	mux.HandleFunc("GET /readyz", m.ready)
	m.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	m.done.Go(func() {
		if err := m.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Warn("metrics are served no more", zap.Error(err))
		}
	})
	log.Info("metrics", zap.String("address", listener.Addr().String()))
	return nil
}

// ready answers 200 while the process takes work: its queue is connected and
// provisioned, and it does not drain.
func (m *monitor) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	var why string
	switch {
	case m.draining():
		why = "draining"
	case !m.queue.Healthy():
		why = "the queue is not connected"
	default:
		if err := m.queue.Check(ctx); errors.Is(err, queue.ErrNotProvisioned) {
			why = "the queue is not provisioned for this version"
		} else if err != nil {
			why = "the queue does not answer"
		}
	}
	if why != "" {
		http.Error(w, why, http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ready")
}

// close ends the serving; what is being answered has a moment to end.
func (m *monitor) close() {
	if m.server == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if m.server.Shutdown(ctx) != nil {
		_ = m.server.Close()
	}
	m.done.Wait()
}
