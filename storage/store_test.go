package storage_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/loadfleet/loadfleet/storage"
	"github.com/loadfleet/loadfleet/storage/embedded"
	"github.com/loadfleet/loadfleet/storage/storagetest"
)

const (
	rootKey    = "AKIAROOTROOTROOTROOT"
	rootSecret = "root-secret-access-key"
	bucketName = "acme-exports"
	accountID  = "111111111111"
	keyARN     = "arn:aws:kms:eu-central-1:111111111111:key/0f1e2d3c"
	sharedKey  = "arn:aws:kms:eu-central-1:111111111111:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	disabled   = "arn:aws:kms:eu-central-1:111111111111:key/disabled"
	foreign    = "arn:aws:kms:eu-central-1:999999999999:key/foreign"
)

// clock is the embedded server's: tests move it to make sessions expire.
type clock struct{ ahead atomic.Int64 }

func (c *clock) Now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) Advance(d time.Duration) { c.ahead.Add(int64(d)) }

// The gateway allows one server per process, so all tests share this one and
// keep to buckets of their own.
var (
	server  *embedded.Server
	now     clock
	buckets atomic.Int64
)

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "loadfleet-storage")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	names := make([]string, maxBuckets)
	for i := range names {
		names[i] = fmt.Sprintf("%s-%d", bucketName, i)
	}
	for name := range quirks() {
		names = append(names, name)
	}
	server, err = embedded.Start(context.Background(), embedded.Config{
		Dir: dir, AccessKey: rootKey, SecretKey: rootSecret, Region: "eu-central-1", AccountID: accountID,
		Buckets: names, Now: now.Now, Users: users(), Roles: roles(), Quirks: quirks(),
		Keys: []embedded.Key{{ARN: keyARN}, {ARN: sharedKey}, {ARN: disabled, State: embedded.KeyDisabled}, {ARN: foreign, State: embedded.KeyForeign}},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := server.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

const maxBuckets = 320

// newBucket is a bucket that no other test uses.
func newBucket(t *testing.T) string {
	t.Helper()
	n := buckets.Add(1) - 1
	if n >= maxBuckets {
		t.Fatalf("more than %d buckets used, raise maxBuckets", maxBuckets)
	}
	return fmt.Sprintf("%s-%d", bucketName, n)
}

func rootAccess() storage.Access {
	return storage.Access{
		Destination: "acme", ConnectionOption: "access_keys", AccessKeyID: rootKey, SecretAccessKey: rootSecret,
		Region: "eu-central-1", Endpoint: server.Endpoint(), PathStyle: true, Checksum: true, Encryption: "none",
	}
}

// quick is a configuration in which tests of failures do not wait.
func quick() storage.Config {
	return storage.Config{PartSize: 5 << 20, MultipartThreshold: 6 << 20, RetryBackoff: 5 * time.Millisecond}
}

func open(t *testing.T, a storage.Access, cfg storage.Config) *storage.Store {
	t.Helper()
	s, err := storage.Open(t.Context(), a, cfg)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestConformance(t *testing.T) {
	for _, variant := range []struct {
		name   string
		change func(*storage.Access)
	}{
		{"plain", func(*storage.Access) {}},
		{"customer key, owner and ACL", func(a *storage.Access) {
			a.Encryption, a.EncryptionKey, a.BucketKey = "sse-kms-customer", keyARN, true
			a.BucketOwner, a.ACL = accountID, "bucket-owner-full-control"
		}},
		{"without checksums", func(a *storage.Access) { a.Checksum = false }},
	} {
		t.Run(variant.name, func(t *testing.T) {
			storagetest.Run(t, func(t *testing.T) (*storage.Store, string) {
				a := rootAccess()
				variant.change(&a)
				return open(t, a, quick()), newBucket(t)
			})
		})
	}
}

func TestAccessPrintsNoSecret(t *testing.T) {
	a := rootAccess()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		if text := fmt.Sprintf(verb, a); strings.Contains(text, rootSecret) {
			t.Errorf("%s prints the secret: %s", verb, text)
		}
	}
}
