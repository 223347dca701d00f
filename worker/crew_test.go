package worker

import (
	"sync/atomic"
	"testing"
)

// TestCrew gives a crew of two more jobs at a time than it keeps goroutines for,
// again and again: all are done, and at the end nobody is left.
func TestCrew(t *testing.T) {
	t.Parallel()
	c := newCrew(2)
	var done atomic.Int64
	for range 200 {
		begun, goOn := make(chan struct{}), make(chan struct{})
		for range 5 {
			c.do(func() {
				begun <- struct{}{}
				<-goOn
				done.Add(1)
			})
		}
		for range 5 {
			<-begun
		}
		close(goOn)
	}
	c.end()
	if got := done.Load(); got != 1000 {
		t.Errorf("%d jobs are done, want 1000", got)
	}
	if got := c.waiting.Load(); got > 2 {
		t.Errorf("%d goroutines waited, want at most 2", got)
	}
}
