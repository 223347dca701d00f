package storage

import (
	"net/http"
	"sync/atomic"
	"time"
)

// observer keeps what the last replies said beside the point: the server's
// time, and the region of the bucket. Both are on errors too, of which the
// SDK keeps neither.
type observer struct {
	next   http.RoundTripper
	clock  atomic.Pointer[clockReading]
	region atomic.Pointer[string]
}

type clockReading struct {
	said string // the Date header
	at   time.Time
}

func (o *observer) RoundTrip(r *http.Request) (*http.Response, error) {
	reply, err := o.next.RoundTrip(r)
	if err != nil {
		return reply, err
	}
	if said := reply.Header.Get("Date"); said != "" {
		o.clock.Store(&clockReading{said, time.Now()})
	}
	if region := reply.Header.Get("X-Amz-Bucket-Region"); region != "" {
		o.region.Store(&region)
	}
	return reply, nil
}

// skew is how far our clock is ahead of the server's, to the second; false
// when no reply told.
func (o *observer) skew() (time.Duration, bool) {
	reading := o.clock.Load()
	if reading == nil {
		return 0, false
	}
	said, err := http.ParseTime(reading.said)
	if err != nil {
		return 0, false
	}
	return reading.at.Sub(said).Truncate(time.Second), true
}

// bucketRegion is the region that the last reply to tell one told.
func (o *observer) bucketRegion() string { return deref(o.region.Load()) }
