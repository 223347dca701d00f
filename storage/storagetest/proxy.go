package storagetest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// Operation is the S3 operation of a request.
type Operation string

// The operations that a store uses.
const (
	PutObject      Operation = "PutObject"
	CopyObject     Operation = "CopyObject"
	CreateUpload   Operation = "CreateMultipartUpload"
	UploadPart     Operation = "UploadPart"
	CopyPart       Operation = "UploadPartCopy"
	CompleteUpload Operation = "CompleteMultipartUpload"
	AbortUpload    Operation = "AbortMultipartUpload"
	HeadObject     Operation = "HeadObject"
	GetObject      Operation = "GetObject"
	DeleteObject   Operation = "DeleteObject"
	ListObjects    Operation = "ListObjectsV2"
	ListUploads    Operation = "ListMultipartUploads"
	HeadBucket     Operation = "HeadBucket" // by path only
	TokenCall      Operation = "STS"        // any call to STS: the names are in the bodies
	AnyOperation   Operation = ""           // in Inject and Requests: every operation
)

func operationOf(r *http.Request) Operation {
	query := r.URL.Query()
	switch r.Method {
	case http.MethodPut:
		switch {
		case r.Header.Get("X-Amz-Copy-Source") != "" && query.Has("partNumber"):
			return CopyPart
		case r.Header.Get("X-Amz-Copy-Source") != "":
			return CopyObject
		case query.Has("partNumber"):
			return UploadPart
		}
		return PutObject
	case http.MethodPost:
		switch {
		case r.URL.Path == "/":
			return TokenCall
		case query.Has("uploads"):
			return CreateUpload
		case query.Has("uploadId"):
			return CompleteUpload
		}
	case http.MethodDelete:
		if query.Has("uploadId") {
			return AbortUpload
		}
		return DeleteObject
	case http.MethodHead:
		if !strings.Contains(strings.Trim(r.URL.Path, "/"), "/") {
			return HeadBucket
		}
		return HeadObject
	case http.MethodGet:
		switch {
		case query.Has("list-type"):
			return ListObjects
		case query.Has("uploads"):
			return ListUploads
		}
		return GetObject
	}
	return Operation(r.Method + " " + r.URL.Path)
}

// Request is a request that passed through a [Proxy].
type Request struct {
	Operation Operation
	Path      string
	Header    http.Header
}

// Proxy stands in front of a store, records every request and makes some of
// them fail. The Host header stays as the client signed it, so the store
// behind checks the client's own signature.
type Proxy struct {
	server   *httptest.Server
	upstream *url.URL
	client   *http.Transport
	closing  chan struct{}
	held     chan struct{} // one for each reply that is held back

	mu       sync.Mutex
	planned  []*plan
	requests []Request
	arrival  chan struct{} // closed and replaced at every request
	clock    func() time.Time
	judge    Judge
	greet    func()
	working  int           // requests under way
	idle     chan struct{} // closed and replaced when none is
}

// Judge chooses the fault of a request; false when it is to pass. It is called
// from many goroutines at once.
type Judge func(Operation, *http.Request) (Fault, bool)

type plan struct {
	operation Operation
	fault     Fault
	left      int // uses left; negative means without end
}

// NewProxy starts a proxy in front of an endpoint, over TLS when secure. It
// ends with the test.
func NewProxy(t *testing.T, endpoint string, secure bool) *Proxy {
	t.Helper()
	upstream, err := url.Parse(endpoint)
	if err != nil {
		t.Fatalf("parse endpoint: %v", err)
	}
	p := &Proxy{upstream: upstream, client: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64}, closing: make(chan struct{}), arrival: make(chan struct{}), held: make(chan struct{}, 64), idle: make(chan struct{})}
	p.server = httptest.NewUnstartedServer(p)
	if secure {
		p.server.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			p.mu.Lock()
			greet := p.greet
			p.mu.Unlock()
			if greet != nil {
				greet()
			}
			return nil, nil
		}}
		p.server.StartTLS()
	} else {
		p.server.Start()
	}
	t.Cleanup(func() {
		close(p.closing)
		p.server.CloseClientConnections()
		p.server.Close()
		p.client.CloseIdleConnections()
	})
	return p
}

// Endpoint is the address of the proxy.
func (p *Proxy) Endpoint() string { return p.server.URL }

// Certificate is what a proxy that speaks TLS shows; nil otherwise.
func (p *Proxy) Certificate() *x509.Certificate { return p.server.Certificate() }

// OnHandshake has each connection over TLS wait for greet: a client that has
// signed its first request and cannot send it yet.
func (p *Proxy) OnHandshake(greet func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.greet = greet
}

// RootCAs trusts the proxy's certificate; nil when it speaks plain HTTP.
func (p *Proxy) RootCAs() *x509.CertPool {
	if p.server.Certificate() == nil {
		return nil
	}
	pool := x509.NewCertPool()
	pool.AddCert(p.server.Certificate())
	return pool
}

// Always as the times of Inject never ends.
const Always = -1

// Inject makes the next requests of an operation fail, times of them. Faults
// of one operation follow each other in the order of their injection.
func (p *Proxy) Inject(o Operation, f Fault, times int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.planned = append(p.planned, &plan{o, f, times})
}

// SetJudge lets judge choose the fault of every request from now on, beside
// what is injected. Requests are not recorded any more: there may be millions.
func (p *Proxy) SetJudge(judge Judge) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.judge = judge
}

// Heal takes back every fault that is left, and the judge.
func (p *Proxy) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.planned, p.judge = nil, nil
}

// Cut resets every connection that stands, as a store does that goes away.
// Requests that the store has received it carries out.
func (p *Proxy) Cut() { p.server.CloseClientConnections() }

// AwaitIdle waits until no request is under way, not even one whose client has
// gone: what a client gave up may still be applied ([Fault.Stubborn]).
func (p *Proxy) AwaitIdle(ctx context.Context) error {
	for {
		p.mu.Lock()
		working, idle := p.working, p.idle
		p.mu.Unlock()
		if working == 0 {
			return nil
		}
		select {
		case <-idle:
		case <-ctx.Done():
			return fmt.Errorf("%d requests are under way: %w", working, context.Cause(ctx))
		}
	}
}

// work counts a request until it has ended.
func (p *Proxy) work() (done func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.working++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.working--; p.working == 0 {
			close(p.idle)
			p.idle = make(chan struct{})
		}
	}
}

// Requests gives what passed so far of an operation, in order of arrival.
func (p *Proxy) Requests(o Operation) []Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.of(o)
}

func (p *Proxy) of(o Operation) []Request {
	var found []Request
	for _, r := range p.requests {
		if o == AnyOperation || r.Operation == o {
			found = append(found, r)
		}
	}
	return found
}

// Await waits until n requests of an operation have arrived.
func (p *Proxy) Await(ctx context.Context, t *testing.T, o Operation, n int) {
	t.Helper()
	for {
		p.mu.Lock()
		found, arrival := len(p.of(o)), p.arrival
		p.mu.Unlock()
		if found >= n {
			return
		}
		select {
		case <-arrival:
		case <-ctx.Done():
			t.Fatalf("%d requests %s, want %d: %v", found, o, n, context.Cause(ctx))
		}
	}
}

// AwaitHeld returns when the reply to a request is held back, its work done
// ([Fault.Held]).
func (p *Proxy) AwaitHeld(t *testing.T) {
	t.Helper()
	select {
	case <-p.held:
	case <-t.Context().Done():
		t.Fatal("no reply was held back")
	}
}

// SetClock makes replies tell this time.
func (p *Proxy) SetClock(now func() time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clock = now
}

// take records a request and uses up a fault meant for it.
func (p *Proxy) take(r *http.Request) (Fault, bool) {
	operation := operationOf(r)
	p.mu.Lock()
	if judge := p.judge; judge != nil {
		p.mu.Unlock()
		return judge(operation, r)
	}
	defer p.mu.Unlock()
	p.requests = append(p.requests, Request{operation, r.URL.EscapedPath(), r.Header.Clone()})
	close(p.arrival)
	p.arrival = make(chan struct{})
	for _, planned := range p.planned {
		if planned.left == 0 || (planned.operation != AnyOperation && planned.operation != operation) || !planned.fault.meets(r) {
			continue
		}
		planned.left--
		return planned.fault, true
	}
	return Fault{}, false
}

// ServeHTTP forwards a request, or makes it fail as planned.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer p.work()()
	fault, planned := p.take(r)
	if planned && fault.Delay > 0 && !fault.Held {
		p.hold(r, fault)
	}
	var reply *http.Response
	if !planned || fault.Applied {
		var err error
		if reply, err = p.forward(r); err != nil {
			panic(http.ErrAbortHandler) // closes the connection without a reply
		}
		defer func() { _ = reply.Body.Close() }()
	}
	if planned && fault.Held {
		select {
		case p.held <- struct{}{}:
		default: // nobody counts that many
		}
		p.hold(r, fault)
	}
	switch {
	case !planned, fault.Passed:
		p.pass(w, reply)
	case fault.Status == 0:
		_, _ = io.CopyN(io.Discard, r.Body, fault.Cut)
		if reply != nil {
			_, _ = io.Copy(io.Discard, reply.Body)
		}
		panic(http.ErrAbortHandler)
	default:
		// All of the request first: a client that is still sending may see
		// a broken connection instead of the reply.
		_, _ = io.Copy(io.Discard, r.Body)
		if reply != nil {
			_, _ = io.Copy(io.Discard, reply.Body)
		}
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(fault.Status)
		if r.Method != http.MethodHead {
			_, _ = io.WriteString(w, fault.body())
		}
	}
}

// hold waits until the delay is over, the client has gone or the test ends.
// The body is read first: the server notices that a client has gone only when
// it waits for that client's next request.
// A stubborn fault waits all the same.
func (p *Proxy) hold(r *http.Request, fault Fault) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	gone := r.Context().Done()
	if fault.Stubborn {
		gone = nil
	}
	timer := time.NewTimer(fault.Delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-gone:
	case <-p.closing:
	}
}

func (p *Proxy) forward(r *http.Request) (*http.Response, error) {
	// A client that has given up does not undo what it sent.
	out := r.Clone(context.WithoutCancel(r.Context()))
	out.RequestURI = ""
	out.URL.Scheme, out.URL.Host = p.upstream.Scheme, p.upstream.Host
	out.Host = r.Host
	out.Header.Del("Expect") // answered on this side
	if r.ContentLength == 0 {
		out.Body = nil
	}
	return p.client.RoundTrip(out)
}

func (p *Proxy) pass(w http.ResponseWriter, reply *http.Response) {
	for name, values := range reply.Header {
		w.Header()[name] = values
	}
	p.mu.Lock()
	if p.clock != nil {
		w.Header().Set("Date", p.clock().UTC().Format(http.TimeFormat))
	}
	p.mu.Unlock()
	w.WriteHeader(reply.StatusCode)
	if _, err := io.Copy(w, reply.Body); err != nil && !errors.Is(err, http.ErrBodyNotAllowed) {
		panic(http.ErrAbortHandler)
	}
}
