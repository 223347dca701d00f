package worker_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue/queuetest"
	"github.com/loadfleet/loadfleet/worker"
)

// What the fairness benchmark does: loads of some destinations arrive one by
// one at a constant rate, each put takes a while as over a network, and beside
// them one destination refuses its loads and one is fifty times slower.
const (
	fairHealthy = 4
	fairLoads   = 400
	fairEvery   = 15 * time.Millisecond
	fairPut     = 10 * time.Millisecond
	fairSlow    = 50 * fairPut

	fairBacklog = 500 // loads that the refusing and the slow destination have waiting at the start, each
)

// BenchmarkFairness measures the time from dispatch to outcome of healthy
// destinations' loads, without and with neighbours in trouble, in turns. The
// ratio of the 99th percentiles is what P6 promises to keep within 1.5.
func BenchmarkFairness(b *testing.B) {
	alone, beside := []time.Duration(nil), []time.Duration(nil)
	for round := 0; b.Loop(); round++ {
		alone = append(alone, fairness(b, false)...)
		beside = append(beside, fairness(b, true)...)
	}
	slices.Sort(alone)
	slices.Sort(beside)
	at := func(all []time.Duration, percent int) float64 { return all[len(all)*percent/100].Seconds() * 1000 }
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(at(alone, 50), "p50-alone-ms")
	b.ReportMetric(at(beside, 50), "p50-beside-ms")
	b.ReportMetric(at(alone, 99), "p99-alone-ms")
	b.ReportMetric(at(beside, 99), "p99-beside-ms")
	b.ReportMetric(at(beside, 99)/at(alone, 99), "p99-ratio")
}

// delayed is an endpoint whose every put takes a while longer.
func delayed(b *testing.B, delay time.Duration) string {
	b.Helper()
	target, err := url.Parse(server.Endpoint())
	if err != nil {
		b.Fatal(err)
	}
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // as it was signed
		},
		Transport: &http.Transport{MaxIdleConnsPerHost: 100},
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			select {
			case <-time.After(delay):
			case <-r.Context().Done():
				return
			}
		}
		forward.ServeHTTP(w, r)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of requests that a stopped worker has given up
	forward.ErrorLog = s.Config.ErrorLog
	s.Start()
	b.Cleanup(s.Close)
	return s.URL
}

func fairness(b *testing.B, neighbours bool) []time.Duration {
	b.Helper()
	b.StopTimer()
	r := &rig{Fixture: queuetest.Start(b), t: b, bucket: bucketName(int(buckets.Add(1)-1) % maxBucket), log: newLogbook()}
	var err error
	if r.keyring, err = destination.NewKeyring(destination.NewSealKey()); err != nil {
		b.Fatal(err)
	}
	r.endpoint = delayed(b, fairPut)
	for i := range fairHealthy {
		r.apply(func(s *destination.Settings) { s.ID = fmt.Sprint("healthy", i) })
	}
	if neighbours {
		r.apply(func(s *destination.Settings) { s.ID, s.Bucket = "denied", "acme-missing" })
		slow := delayed(b, fairSlow)
		r.apply(func(s *destination.Settings) { s.ID, s.Endpoint = "slow", slow })
		for i := range fairBacklog {
			r.to("denied", "denied", fmt.Sprintf("denied/%d", i))
			r.to("slow", "slow", fmt.Sprintf("slow/%d", i))
		}
	}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	w := worker.New(r.Connect(b), r.keyring, worker.Config{Slots: 16, Grace: time.Millisecond, Storage: quick()}, zap.New(r.log))
	go func() { ended <- w.Run(ctx) }()
	// What the worker has to find out once, it may find out before the clock starts.
	warm := time.NewTimer(2 * time.Second)
	<-warm.C
	b.StartTimer()
	sent := map[string]time.Time{}
	next := time.NewTicker(fairEvery)
	defer next.Stop()
	for i := range fairLoads {
		<-next.C
		extraction := fmt.Sprint("healthy", i%fairHealthy)
		began := time.Now()
		sent[r.to(extraction, extraction, fmt.Sprintf("%s/%d", extraction, i)).ID] = began
	}
	took := make([]time.Duration, 0, fairLoads)
	for limit := time.Now().Add(time.Minute); len(took) < fairLoads; {
		if time.Now().After(limit) {
			b.Fatalf("%d of %d loads ended", len(took), fairLoads)
		}
		took = took[:0]
		for i := range fairHealthy {
			for _, o := range r.ended(fmt.Sprint("healthy", i)) {
				if o.Result != messages.Loaded || o.Attempts != 1 {
					b.Fatalf("a healthy destination's load: %+v", o)
				}
				took = append(took, o.Ended.Sub(sent[o.Load]))
			}
		}
	}
	b.StopTimer()
	cancel()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
	b.StartTimer()
	return took
}

// BenchmarkBehindBackfill measures the time from dispatch to outcome of a single
// fresh load while another destination's backfill of 10,000 loads is worked on by
// the same worker, and while nothing else is there.
func BenchmarkBehindBackfill(b *testing.B) {
	const backfill, singles = 10_000, 20
	took := map[bool][]time.Duration{}
	for b.Loop() {
		for _, busy := range []bool{false, true} {
			r := &rig{Fixture: queuetest.Start(b), t: b, bucket: bucketName(int(buckets.Add(1)-1) % maxBucket), log: newLogbook()}
			var err error
			if r.keyring, err = destination.NewKeyring(destination.NewSealKey()); err != nil {
				b.Fatal(err)
			}
			r.endpoint = delayed(b, fairPut)
			for _, id := range []string{"acme", "backfill"} {
				r.apply(func(s *destination.Settings) { s.ID = id })
			}
			if busy {
				out := r.Dispatch(b.Context(), workspace, "history", "plan")
				content := rows(b, "history", 3)
				for i := range backfill {
					l, payload := r.load(spec{extraction: "history", rows: content, change: func(l *messages.Load) {
						l.Destination, l.Lane, l.Key = "backfill", messages.Backfill, fmt.Sprintf("history/%d", i)
						rename(l)
					}})
					if err := out.Add(b.Context(), l, payload); err != nil {
						b.Fatal(err)
					}
				}
				if err := out.Close(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			ctx, cancel := context.WithCancel(b.Context())
			ended := make(chan error, 1)
			w := worker.New(r.Connect(b), r.keyring, worker.Config{Slots: 16, Grace: time.Millisecond, Storage: quick()}, zap.New(r.log))
			go func() { ended <- w.Run(ctx) }()
			for i := range singles {
				began := time.Now()
				o := r.outcome(r.to("acme", fmt.Sprintf("single%d", i), fmt.Sprintf("single/%d", i)))
				took[busy] = append(took[busy], o.Ended.Sub(began))
			}
			if done := len(r.ended("history")); busy && done == backfill {
				b.Fatalf("the backfill was over before the single loads were")
			}
			cancel()
			if err := <-ended; err != nil {
				b.Fatal(err)
			}
		}
	}
	median := func(all []time.Duration) float64 {
		slices.Sort(all)
		return all[len(all)/2].Seconds() * 1000
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(took[false]), "alone-ms")
	b.ReportMetric(median(took[true]), "behind-ms")
}
