package storage

import (
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// throttle sends requests at the pace that the store takes: no faster than the
// destination's rate_limit, and slower once the store says that it is too much.
// Then the rate is halved, and grows back by a tenth every second without such
// an answer (S3 scales a prefix within minutes, not at once).
type throttle struct {
	next    http.RoundTripper
	most    rate.Limit // rate.Inf when there is no limit
	limiter *rate.Limiter

	mu     sync.Mutex
	window time.Time // since when requests are counted
	sent   int
	slowed time.Time // when the rate was last changed
}

func newThrottle(next http.RoundTripper, perSecond float64) *throttle {
	most := rate.Inf
	if perSecond > 0 {
		most = rate.Limit(perSecond)
	}
	return &throttle{next: next, most: most, limiter: rate.NewLimiter(most, 1+int(perSecond/10))}
}

const (
	slowest    = 1 // a second, or rate_limit where that is less
	slowAgain  = 500 * time.Millisecond
	growth     = 1.1
	unhindered = 10_000 // a second: from here on there is no limit
)

// RoundTrip waits for the request's turn.
func (t *throttle) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := t.limiter.Wait(r.Context()); err != nil {
		return nil, err
	}
	t.count(time.Now())
	reply, err := t.next.RoundTrip(r)
	if err == nil && (reply.StatusCode == http.StatusServiceUnavailable || reply.StatusCode == http.StatusTooManyRequests) {
		t.slow(time.Now())
	}
	return reply, err
}

func (t *throttle) count(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Sub(t.window) > 2*time.Second {
		t.window, t.sent = now, 0
	}
	t.sent++
	if at := t.limiter.Limit(); at < t.most && now.Sub(t.slowed) >= time.Second {
		t.slowed = now
		if at *= growth; at > t.most || at > unhindered {
			at = t.most
		}
		t.limiter.SetLimitAt(now, at)
	}
}

// slow halves the rate, once for all answers that come at a time.
func (t *throttle) slow(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := t.limiter.Limit()
	if at < t.most && now.Sub(t.slowed) < slowAgain {
		return
	}
	if at == rate.Inf {
		// What was sent lately was too much.
		at = rate.Limit(float64(t.sent) / max(now.Sub(t.window).Seconds(), 0.1))
	}
	t.slowed = now
	t.limiter.SetLimitAt(now, max(at/2, min(slowest, t.most)))
}
