package worker_test

import (
	"context"
	"fmt"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue/queuetest"
	"github.com/loadfleet/loadfleet/worker"
)

// BenchmarkLoads carries out loads of 200 rows, inside their messages, as
// Parquet files: one worker, a queue that syncs every write, and a store, all
// in this process.
func BenchmarkLoads(b *testing.B) {
	r := &rig{
		Fixture: queuetest.Start(b), t: b, bucket: bucketName(int(buckets.Add(1) - 1)), log: newLogbook(),
	}
	var err error
	if r.keyring, err = destination.NewKeyring(destination.NewSealKey()); err != nil {
		b.Fatal(err)
	}
	r.endpoint = server.Endpoint()
	r.apply(nil)
	const loads = 500
	content := rows(b, "bench", 200)
	finished := make(chan struct{}, loads)
	w := worker.New(r.Connect(b), r.keyring, worker.Config{Storage: quick()}, zap.New(zapcore.RegisterHooks(r.log, func(e zapcore.Entry) error {
		if e.Message == "load" {
			finished <- struct{}{}
		}
		return nil
	})))
	for round := 0; b.Loop(); round++ {
		b.StopTimer()
		extraction := fmt.Sprint("e", round)
		d := r.Dispatch(b.Context(), workspace, extraction, "plan")
		for i := range loads {
			l, payload := r.load(spec{extraction: extraction, format: encoding.Parquet, rows: content, change: func(l *messages.Load) {
				l.Key = fmt.Sprintf("%s/%d.parquet", extraction, i)
				l.ID = messages.LoadID(l.Workspace, l.Extraction, l.Bucket, l.Key)
			}})
			if err := d.Add(b.Context(), l, payload); err != nil {
				b.Fatal(err)
			}
		}
		if err := d.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(b.Context())
		ended := make(chan error, 1)
		b.StartTimer()
		go func() { ended <- w.Run(ctx) }()
		for range loads {
			<-finished
		}
		b.StopTimer()
		cancel()
		if err := <-ended; err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(loads)*float64(b.N)/b.Elapsed().Seconds(), "loads/s")
}
