package storage

import (
	"testing"
	"time"

	"golang.org/x/time/rate"
)

// A store that throttles is asked more slowly, and never faster than rate_limit.
func TestThrottleSlows(t *testing.T) {
	for _, test := range []struct {
		name        string
		limit       float64 // requests a second; 0: none
		want, later rate.Limit
	}{
		{"far above the slowest", 10, 5, 5.5},
		{"down to the slowest", 1.5, 1, 1.1},
		{"at the slowest", 1, 1, 1},
		{"below the slowest", 0.2, 0.2, 0.2},
		{"no limit", 0, 1, 1.1},
	} {
		t.Run(test.name, func(t *testing.T) {
			th := newThrottle(nil, test.limit)
			now := time.Now()
			th.slow(now)
			if got := th.limiter.Limit(); got != test.want {
				t.Errorf("throttled: got %v a second, want %v", got, test.want)
			}
			th.count(now.Add(time.Second))
			if got := th.limiter.Limit(); got != test.later {
				t.Errorf("a second later: got %v a second, want %v", got, test.later)
			}
		})
	}
}
