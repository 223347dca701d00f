package queue_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/queue/queuetest"
)

func BenchmarkDispatch10KB(b *testing.B) {
	f := queuetest.Start(b)
	payload := make([]byte, 10<<10)
	b.SetBytes(int64(len(payload)))
	ctx := b.Context()
	d := f.Dispatch(ctx, "ws", "e", "plan")
	n := 0
	for b.Loop() {
		load, _ := loadOf("ws", "e", n, messages.Fresh)
		if err := d.Add(ctx, load, payload); err != nil {
			b.Fatal(err)
		}
		n++
	}
	if err := d.Close(ctx); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "loads/s")
}

func BenchmarkPublishAndRead1MB(b *testing.B) {
	f := queuetest.Start(b)
	body := make([]byte, 1<<20)
	ctx := b.Context()
	b.Run("publish", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		e, err := f.Extract(ctx, commitOf("ws", fmt.Sprint("e", time.Now().UnixNano())))
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if err := e.Append(ctx, messages.Batch{Rows: 1, Format: encoding.CSVInput, Body: body}); err != nil {
				b.Fatal(err)
			}
		}
		if err := e.Commit(ctx); err != nil {
			b.Fatal(err)
		}
	})
	extraction := "read"
	e, err := f.Extract(ctx, commitOf("ws", extraction))
	if err != nil {
		b.Fatal(err)
	}
	const batches = 64
	for range batches {
		if err := e.Append(ctx, messages.Batch{Rows: 1, Format: encoding.CSVInput, Body: body}); err != nil {
			b.Fatal(err)
		}
	}
	if err := e.Commit(ctx); err != nil {
		b.Fatal(err)
	}
	b.Run("read", func(b *testing.B) {
		b.SetBytes(batches * int64(len(body)))
		for b.Loop() {
			for _, err := range f.Batches(ctx, "ws", extraction, nil) {
				if err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}

func BenchmarkPullAndSettle(b *testing.B) {
	for _, slots := range []int{1, 16} {
		for _, settle := range []string{"retry", "done"} {
			b.Run(fmt.Sprintf("slots=%d/%s", slots, settle), func(b *testing.B) {
				n := b.N
				f := queuetest.Start(b)
				ctx := b.Context()
				d := f.Dispatch(ctx, "ws", "e", "plan")
				for i := range n {
					load, payload := loadOf("ws", "e", i, messages.Fresh)
					if err := d.Add(ctx, load, payload); err != nil {
						b.Fatal(err)
					}
				}
				if err := d.Close(ctx); err != nil {
					b.Fatal(err)
				}
				loads, err := f.Loads(ctx, queue.LoadsConfig{})
				if err != nil {
					b.Fatal(err)
				}
				defer loads.Close()
				b.ResetTimer()
				var workers sync.WaitGroup
				var taken atomic.Int64
				for range slots {
					workers.Go(func() {
						for taken.Add(1) <= int64(n) {
							d, err := loads.Next(ctx)
							if err != nil {
								b.Error(err)
								return
							}
							if settle == "done" {
								err = d.Done(ctx, loadedOutcome(d))
							} else {
								err = d.Retry(ctx, time.Hour)
							}
							if err != nil {
								b.Error(err)
							}
						}
					})
				}
				workers.Wait()
				b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "loads/s")
			})
		}
	}
}
