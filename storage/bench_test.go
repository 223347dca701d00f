package storage_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/loadfleet/loadfleet/storage"
	"github.com/loadfleet/loadfleet/storage/storagetest"
)

// BenchmarkPut puts objects of 64 KiB on new keys of the embedded store, by
// one writer and by sixteen.
func BenchmarkPut(b *testing.B) {
	const size = 64 << 10
	s, err := storage.Open(b.Context(), rootAccess(), storage.Config{})
	if err != nil {
		b.Fatalf("open: %v", err)
	}
	b.Cleanup(s.Close)
	var keys atomic.Int64
	for _, writers := range []int{1, 16} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			b.SetBytes(size)
			b.ReportAllocs()
			left := make(chan struct{})
			var group sync.WaitGroup
			for range writers {
				group.Go(func() {
					for range left {
						key := fmt.Sprintf("bench/%d.csv", keys.Add(1))
						o := storagetest.NewObject(key, "bench", size)
						if _, err := s.Put(b.Context(), bucketName+"-0", o, storage.IfAbsent()); err != nil {
							b.Errorf("put: %v", err)
						}
					}
				})
			}
			for b.Loop() {
				left <- struct{}{}
			}
			close(left)
			group.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "obj/s")
		})
	}
}
