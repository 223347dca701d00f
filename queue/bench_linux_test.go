package queue_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/queue/queuetest"
)

// spent is the processor time of this process, the server's included.
func spent(b *testing.B) time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkSettle is the settling alone: every load is in our hands before the
// clock starts.
func BenchmarkSettle(b *testing.B) {
	for _, slots := range []int{1, 8, 32, 128} {
		b.Run(fmt.Sprintf("slots=%d", slots), func(b *testing.B) {
			f := queuetest.Start(b)
			ctx := b.Context()
			d := f.Dispatch(ctx, "ws", "e", "plan")
			for i := range b.N {
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
			held := make([]*queue.LoadDelivery, b.N)
			for i := range held {
				if held[i], err = loads.Next(ctx); err != nil {
					b.Fatal(err)
				}
			}
			var workers sync.WaitGroup
			var taken atomic.Int64
			before := spent(b)
			b.ResetTimer()
			for range slots {
				workers.Go(func() {
					for n := taken.Add(1); n <= int64(b.N); n = taken.Add(1) {
						if err := held[n-1].Done(ctx, loadedOutcome(held[n-1])); err != nil {
							b.Error(err)
						}
					}
				})
			}
			workers.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "loads/s")
			b.ReportMetric(float64((spent(b)-before).Microseconds())/float64(b.N), "cpu-us/load")
		})
	}
}
