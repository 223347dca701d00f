// Package quiet is an S3 endpoint that judges every request and keeps nothing
// of the objects, so that a benchmark sees what the client costs and not the
// store.
//
// It promises what a put depends on: the SigV4 signature is checked, the body's
// SHA-256 and checksum are compared with what the request says, If-None-Match
// and If-Match hold against the ETag and metadata that it remembers of each key,
// and multipart uploads are completed or aborted. It does not keep or return
// bodies, list, copy between keys, encrypt, or know any bucket from another's
// absence: every bucket is there.
package quiet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Config says who may use the endpoint. Both keys are required.
type Config struct {
	Addr      string // "127.0.0.1:0" when empty
	AccessKey string
	SecretKey string
}

// Counts is what the endpoint has seen since it started.
type Counts struct {
	Requests int64  `json:"requests"`
	Objects  int64  `json:"objects"`
	Bytes    int64  `json:"bytes"`   // of bodies accepted
	Refused  int64  `json:"refused"` // by signature, checksum or condition
	Digest   string `json:"digest"`  // of all objects' keys and contents, whatever their order
}

// Endpoint is a running endpoint. Close ends it.
type Endpoint struct {
	signatures *signatures
	listener   net.Listener
	server     *http.Server
	served     chan struct{}
	err        error

	requests, bytes, refused atomic.Int64

	mu      sync.Mutex
	objects map[string]*object // by bucket/key
	uploads map[string]*upload
	next    int64
}

// object is what is remembered of a key.
type object struct {
	etag  string
	sum   [sha256.Size]byte
	size  int64
	meta  http.Header
	began time.Time
}

// upload is a multipart upload under way.
type upload struct {
	key   string
	meta  http.Header
	parts map[string]part
}

type part struct {
	etag string
	sum  [sha256.Size]byte
	size int64
}

// Start listens and serves.
func Start(ctx context.Context, cfg Config) (*Endpoint, error) {
	if cfg.AccessKey == "" || cfg.SecretKey == "" {
		return nil, errors.New("start quiet endpoint: AccessKey and SecretKey are required")
	}
	if cfg.Addr == "" {
		cfg.Addr = "127.0.0.1:0"
	}
	var listen net.ListenConfig
	l, err := listen.Listen(ctx, "tcp", cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("start quiet endpoint: %w", err)
	}
	e := &Endpoint{
		signatures: newSignatures(cfg.AccessKey, cfg.SecretKey), listener: l, served: make(chan struct{}),
		objects: map[string]*object{}, uploads: map[string]*upload{},
	}
	e.server = &http.Server{Handler: http.HandlerFunc(e.serve), ReadHeaderTimeout: time.Minute}
	go func() {
		defer close(e.served)
		if err := e.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			e.err = err
		}
	}()
	return e, nil
}

// Endpoint is its address, "http://127.0.0.1:1234". Buckets are addressed by path.
func (e *Endpoint) Endpoint() string { return "http://" + e.listener.Addr().String() }

// Close ends the endpoint and every request.
func (e *Endpoint) Close() error {
	err := e.server.Close()
	<-e.served
	return errors.Join(err, e.err)
}

// Counts is what was seen so far.
func (e *Endpoint) Counts() Counts {
	e.mu.Lock()
	defer e.mu.Unlock()
	d := Digest{}
	for key, o := range e.objects {
		_, name, _ := strings.Cut(key, "/")
		d.Add(name, o.sum)
	}
	return Counts{
		Requests: e.requests.Load(), Objects: int64(len(e.objects)), Bytes: e.bytes.Load(), Refused: e.refused.Load(), Digest: d.String(),
	}
}

// Digest names a set of objects by their keys and contents, whatever the order
// in which they are added. The zero value is the empty set's.
type Digest struct{ sum [sha256.Size]byte }

// Add adds an object by its key and its content's SHA-256.
func (d *Digest) Add(key string, content [sha256.Size]byte) {
	h := sha256.New()
	h.Write([]byte(key))
	h.Write([]byte{0})
	h.Write(content[:])
	var one [sha256.Size]byte
	for i, b := range h.Sum(one[:0]) {
		d.sum[i] ^= b
	}
}

func (d *Digest) String() string { return hex.EncodeToString(d.sum[:]) }

// refusal is an error as S3 says it.
type refusal struct {
	status  int
	code    string
	message string
}

func (r *refusal) Error() string { return r.code + ": " + r.message }

func (e *Endpoint) serve(w http.ResponseWriter, r *http.Request) {
	e.requests.Add(1)
	body := bodies.Get().(*bytes.Buffer)
	defer bodies.Put(body)
	body.Reset()
	if err := e.handle(w, r, body); err != nil {
		e.refused.Add(1)
		said := &refusal{http.StatusInternalServerError, "InternalError", err.Error()}
		errors.As(err, &said)
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(said.status)
		if r.Method != http.MethodHead {
			_ = xml.NewEncoder(w).Encode(struct { // the client is gone if it fails
				XMLName xml.Name `xml:"Error"`
				Code    string
				Message string
			}{Code: said.code, Message: said.message})
		}
	}
}

// bodies holds memory only.
var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func (e *Endpoint) handle(w http.ResponseWriter, r *http.Request, body *bytes.Buffer) error {
	if err := e.signatures.check(r); err != nil {
		return &refusal{http.StatusForbidden, "SignatureDoesNotMatch", err.Error()}
	}
	if r.ContentLength > 0 {
		body.Grow(int(r.ContentLength))
	}
	if _, err := body.ReadFrom(r.Body); err != nil {
		return &refusal{http.StatusBadRequest, "IncompleteBody", err.Error()}
	}
	content, sum, err := checkBody(r, body.Bytes())
	if err != nil {
		return err
	}
	e.bytes.Add(int64(len(content)))
	key := strings.TrimPrefix(r.URL.Path, "/")
	query := r.URL.RawQuery
	switch {
	case query == "" || strings.HasPrefix(query, "x-id="):
		return e.single(w, r, key, content, sum)
	default:
		return e.multipart(w, r, key, content, sum)
	}
}

// single serves a whole object.
func (e *Endpoint) single(w http.ResponseWriter, r *http.Request, key string, content []byte, sum [sha256.Size]byte) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	there := e.objects[key]
	switch r.Method {
	case http.MethodPut:
		if err := condition(r.Header, there); err != nil {
			return err
		}
		if r.Header.Get("X-Amz-Copy-Source") != "" {
			return e.restamp(w, r, key, there)
		}
		etag := `"` + hex.EncodeToString(sum[:16]) + `"`
		e.objects[key] = &object{etag: etag, sum: sum, size: int64(len(content)), meta: kept(r.Header), began: time.Now()}
		w.Header().Set("ETag", etag)
		encryption(w.Header(), r.Header)
		return nil
	case http.MethodHead, http.MethodGet:
		if there == nil {
			return &refusal{http.StatusNotFound, "NoSuchKey", key}
		}
		if r.Method == http.MethodGet {
			return &refusal{http.StatusNotImplemented, "NotImplemented", "the endpoint keeps no bodies"}
		}
		h := w.Header()
		for name, v := range there.meta {
			h[name] = v
		}
		h.Set("ETag", there.etag)
		h.Set("Content-Length", fmt.Sprint(there.size))
		h.Set("Last-Modified", there.began.UTC().Format(http.TimeFormat))
		return nil
	case http.MethodDelete:
		if err := condition(r.Header, there); err != nil {
			return err
		}
		delete(e.objects, key)
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return &refusal{http.StatusMethodNotAllowed, "MethodNotAllowed", r.Method}
}

// restamp copies an object onto itself with other metadata.
func (e *Endpoint) restamp(w http.ResponseWriter, r *http.Request, key string, there *object) error {
	if there == nil {
		return &refusal{http.StatusNotFound, "NoSuchKey", key}
	}
	if match := r.Header.Get("X-Amz-Copy-Source-If-Match"); match != "" && match != there.etag {
		return &refusal{http.StatusPreconditionFailed, "PreconditionFailed", "x-amz-copy-source-if-match"}
	}
	there.meta, there.began = kept(r.Header), time.Now()
	encryption(w.Header(), r.Header)
	return xml.NewEncoder(w).Encode(struct {
		XMLName      xml.Name `xml:"CopyObjectResult"`
		ETag         string
		LastModified string
	}{ETag: there.etag, LastModified: there.began.UTC().Format(time.RFC3339)})
}

// condition judges If-None-Match and If-Match.
func condition(h http.Header, there *object) error {
	if h.Get("If-None-Match") == "*" && there != nil {
		return &refusal{http.StatusPreconditionFailed, "PreconditionFailed", "If-None-Match"}
	}
	match := h.Get("If-Match")
	switch {
	case match == "":
		return nil
	case there == nil:
		return &refusal{http.StatusNotFound, "NoSuchKey", "If-Match"}
	case match != "*" && match != there.etag:
		return &refusal{http.StatusPreconditionFailed, "PreconditionFailed", "If-Match"}
	}
	return nil
}

// kept is what HEAD gives back of a put's headers.
func kept(h http.Header) http.Header {
	meta := http.Header{}
	for name, v := range h {
		if strings.HasPrefix(name, "X-Amz-Meta-") || name == "Content-Type" {
			meta[name] = v
		}
	}
	encryption(meta, h)
	return meta
}

// encryption confirms the encryption that was asked for.
func encryption(to, from http.Header) {
	for _, name := range []string{"X-Amz-Server-Side-Encryption", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id", "X-Amz-Server-Side-Encryption-Bucket-Key-Enabled"} {
		if v := from.Get(name); v != "" {
			to.Set(name, v)
		}
	}
}
