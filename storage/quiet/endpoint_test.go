package quiet_test

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/loadfleet/loadfleet/storage"
	"github.com/loadfleet/loadfleet/storage/embedded"
	"github.com/loadfleet/loadfleet/storage/quiet"
	"github.com/loadfleet/loadfleet/storage/storagetest"
)

const (
	accessKey = "AKIAQUIET"
	secretKey = "quiet-secret"
	bucket    = "bench"
)

func start(t *testing.T) *quiet.Endpoint {
	t.Helper()
	e, err := quiet.Start(t.Context(), quiet.Config{AccessKey: accessKey, SecretKey: secretKey})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return e
}

func open(t *testing.T, e *quiet.Endpoint, secret string) *storage.Store {
	t.Helper()
	s, err := storage.Open(t.Context(), storage.Access{
		Destination: "bench", ConnectionOption: "access_keys", AccessKeyID: accessKey, SecretAccessKey: secret,
		Region: "us-east-1", Endpoint: e.Endpoint(), PathStyle: true, Checksum: true, Encryption: "sse-s3",
	}, storage.Config{PartSize: 5 << 20, MultipartThreshold: 6 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// The endpoint keeps nothing, and yet a put means what it means anywhere.
func TestPuts(t *testing.T) {
	e := start(t)
	s := open(t, e, secretKey)
	o := storagetest.NewObject("a b/ü+%.csv", "one", 1000)
	first, err := s.Put(t.Context(), bucket, o, storage.IfAbsent())
	if err != nil {
		t.Fatalf("put if absent: %v", err)
	}
	if _, err := s.Put(t.Context(), bucket, o, storage.IfAbsent()); !errors.Is(err, storage.ErrPrecondition) {
		t.Errorf("put if absent of a key that is taken: %v, want ErrPrecondition", err)
	}
	head, err := s.Head(t.Context(), bucket, o.Key)
	if err != nil || head.ETag != first.ETag || head.Size != o.Size || head.Meta.Load != o.Meta.Load || !s.Encrypted(head) {
		t.Errorf("head = %+v, %v; want what was put", head, err)
	}
	other := storagetest.NewObject(o.Key, "two", 2000)
	second, err := s.Put(t.Context(), bucket, other, storage.IfMatch(first.ETag))
	if err != nil {
		t.Fatalf("put if match: %v", err)
	}
	if _, err := s.Put(t.Context(), bucket, o, storage.IfMatch(first.ETag)); !errors.Is(err, storage.ErrPrecondition) {
		t.Errorf("put over a changed object: %v, want ErrPrecondition", err)
	}
	if _, err := s.Restamp(t.Context(), bucket, o.Key, second, o.Meta); err != nil {
		t.Errorf("restamp: %v", err)
	}
	large := storagetest.NewObject("large", "parts", 12<<20)
	if _, err := s.Put(t.Context(), bucket, large, storage.IfAbsent()); err != nil {
		t.Errorf("put in parts: %v", err)
	}
	if head, err := s.Head(t.Context(), bucket, "large"); err != nil || head.Size != large.Size {
		t.Errorf("head of what was put in parts: %+v, %v", head, err)
	}
	if err := quiet.NewClient(e.Endpoint(), accessKey, secretKey, 1).Put(t.Context(), bucket, "bare", []byte("bare")); err != nil {
		t.Errorf("the bare client: %v", err)
	}
	if c := e.Counts(); c.Objects != 3 || c.Refused != 2 {
		t.Errorf("counts %+v, want 3 objects and 2 refusals", c)
	}
}

// The hash that a put signs is the object's, said beforehand: bytes that are
// others by the time they are sent are refused.
func TestBytesThatChangedAreRefused(t *testing.T) {
	s := open(t, start(t), secretKey)
	o := storagetest.NewObject("k", "x", 1000)
	o.Body = bytes.NewReader(bytes.Repeat([]byte("y"), 1000))
	if _, err := s.Put(t.Context(), bucket, o, storage.IfAbsent()); err == nil {
		t.Error("other bytes than the hash was taken of were stored")
	}
}

func TestWrongSecretIsRefused(t *testing.T) {
	s := open(t, start(t), "another")
	_, err := s.Put(t.Context(), bucket, storagetest.NewObject("k", "x", 10), storage.IfAbsent())
	if !errors.Is(err, storage.ErrDenied) && !errors.Is(err, storage.ErrCredentials) {
		t.Errorf("put with a wrong secret: %v", err)
	}
}

// tamper changes a signed request on its way.
type tamper func(*http.Request)

func (f tamper) RoundTrip(r *http.Request) (*http.Response, error) {
	f(r)
	return http.DefaultTransport.RoundTrip(r)
}

// What the signature or the checksum covers cannot be changed on the way. The
// request is recorded from a true client, changed, and sent.
func TestTamperedRequestsAreRefused(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*http.Request)
		status int
	}{
		{"nothing", func(*http.Request) {}, http.StatusOK},
		{"body", func(r *http.Request) { r.Body = http.NoBody; r.ContentLength = 0 }, http.StatusForbidden},
		{"same length, other bytes", func(r *http.Request) { r.Body = body("BODY") }, http.StatusBadRequest},
		{"key", func(r *http.Request) { r.URL.Path, r.URL.RawPath = "/bench/other", "" }, http.StatusForbidden},
		{"checksum", func(r *http.Request) { r.Header.Set("X-Amz-Checksum-Crc32", "AAAAAA==") }, http.StatusForbidden},
		{"an unsigned header that matters", func(r *http.Request) { r.Header.Set("If-Match", "*") }, http.StatusForbidden},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := start(t)
			status := 0
			c := quiet.NewClientWith(e.Endpoint(), accessKey, secretKey, tamper(tt.change), func(got int) { status = got })
			_ = c.Put(t.Context(), bucket, "k", []byte("body")) // its status says it all
			if status != tt.status {
				t.Errorf("status %d, want %d", status, tt.status)
			}
		})
	}
}

func body(s string) *readCloser { return &readCloser{strings.NewReader(s)} }

type readCloser struct{ *strings.Reader }

func (*readCloser) Close() error { return nil }

// The signatures that are checked here are those that the embedded store's
// checker, which signs anew with the SDK, takes too.
func TestSignatureAgreesWithTheSDK(t *testing.T) {
	e := start(t)
	var failed error
	c := quiet.NewClientWith(e.Endpoint(), accessKey, secretKey, tamper(func(r *http.Request) {
		copied := r.Clone(r.Context())
		copied.Body = http.NoBody
		failed = embedded.VerifySignature(copied, nil, secretKey)
	}), func(int) {})
	if err := c.Put(t.Context(), bucket, "with space/+ü", bytes.Repeat([]byte("x"), 100)); err != nil || failed != nil {
		t.Errorf("put %v; the SDK's checker: %v", err, failed)
	}
}

func TestDigest(t *testing.T) {
	var a, b quiet.Digest
	a.Add("k1", [32]byte{1})
	a.Add("k2", [32]byte{2})
	b.Add("k2", [32]byte{2})
	b.Add("k1", [32]byte{1})
	if a.String() != b.String() {
		t.Error("the order counts")
	}
	b.Add("k3", [32]byte{})
	if a.String() == b.String() {
		t.Error("another object does not count")
	}
}
