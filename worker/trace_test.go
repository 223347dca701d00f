package worker_test

import (
	"testing"

	"github.com/loadfleet/loadfleet/worker"
)

// BenchmarkTracingOff is what the spans of one load cost when nothing is traced.
func BenchmarkTracingOff(b *testing.B) {
	b.ReportAllocs()
	load := worker.SpanOff()
	for b.Loop() {
		load(b.Context())
	}
}

// TestTracingOffIsFree bounds it: a load's spans cost less than its log line.
func TestTracingOffIsFree(t *testing.T) {
	load := worker.SpanOff()
	if n := testing.AllocsPerRun(1000, func() { load(t.Context()) }); n > 12 {
		t.Errorf("the spans of one load cost %g allocations when nothing is traced, want at most 12", n)
	}
}
