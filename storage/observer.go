package storage

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/aws/smithy-go/middleware"
)

// Request is one request to a store or to its token service, as it was sent.
type Request struct {
	Destination    string
	Operation      string // PutObject, HeadObject, AssumeRole, ...
	Status         int    // 0 without an answer
	Sent, Received int64  // bytes of the bodies, as their headers say
}

// observer keeps what the last replies said beside the point: the server's
// time, and the region of the bucket. Both are on errors too, of which the
// SDK keeps neither.
type observer struct {
	next        http.RoundTripper
	destination string
	tell        func(Request) // nil: nobody

	clock  atomic.Pointer[clockReading]
	region atomic.Pointer[string]
}

type clockReading struct {
	said string // the Date header
	at   time.Time
}

func (o *observer) RoundTrip(r *http.Request) (*http.Response, error) {
	reply, err := o.next.RoundTrip(r)
	if o.tell != nil {
		told := Request{Destination: o.destination, Operation: middleware.GetOperationName(r.Context()), Sent: max(r.ContentLength, 0)}
		if err == nil {
			told.Status = reply.StatusCode
			if r.Method != http.MethodHead { // which announces what it does not bring
				told.Received = max(reply.ContentLength, 0)
			}
		}
		o.tell(told)
	}
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
