package storage_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/loadfleet/loadfleet/storage"
	"github.com/loadfleet/loadfleet/storage/storagetest"
)

// TestRequests compares, over TLS, the headers of every request that an
// upload makes. The server behind the proxy checks their signatures.
func TestRequests(t *testing.T) {
	const (
		sse       = "X-Amz-Server-Side-Encryption"
		sseKey    = "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id"
		sseBucket = "X-Amz-Server-Side-Encryption-Bucket-Key-Enabled"
		acl       = "X-Amz-Acl"
		owner     = "X-Amz-Expected-Bucket-Owner"
		noneMatch = "If-None-Match"
		algorithm = "X-Amz-Sdk-Checksum-Algorithm"
		trailer   = "X-Amz-Trailer"
		create    = "X-Amz-Checksum-Algorithm"
		sumType   = "X-Amz-Checksum-Type"
	)
	interesting := []string{sse, sseKey, sseBucket, acl, owner, noneMatch, algorithm, trailer, create, sumType}
	type headers = map[string]string
	for _, test := range []struct {
		name   string
		change func(*storage.Access)
		whole  headers // of PutObject
		create headers // of CreateMultipartUpload
		part   headers // of each UploadPart
		last   headers // of CompleteMultipartUpload
	}{
		{
			name: "none", change: func(a *storage.Access) { a.ACL = "none" },
			whole:  headers{noneMatch: "*", trailer: "x-amz-checksum-crc32"},
			create: headers{create: "CRC64NVME", sumType: "FULL_OBJECT"},
			part:   headers{algorithm: "CRC64NVME", trailer: "x-amz-checksum-crc64nvme"},
			last:   headers{noneMatch: "*", sumType: "FULL_OBJECT"},
		},
		{
			name: "none, without checksums", change: func(a *storage.Access) { a.Checksum = false },
			whole: headers{noneMatch: "*"}, create: headers{}, part: headers{}, last: headers{noneMatch: "*"},
		},
		{
			name:   "sse-s3",
			change: func(a *storage.Access) { a.Checksum, a.Encryption = false, "sse-s3" },
			whole:  headers{noneMatch: "*", sse: "AES256"}, create: headers{sse: "AES256"},
			part: headers{}, last: headers{noneMatch: "*"},
		},
		{
			name:   "sse-kms without bucket key, said so",
			change: func(a *storage.Access) { a.Checksum, a.Encryption = false, "sse-kms" },
			whole:  headers{noneMatch: "*", sse: "aws:kms", sseBucket: "false"}, create: headers{sse: "aws:kms", sseBucket: "false"},
			part: headers{}, last: headers{noneMatch: "*"},
		},
		{
			name: "sse-kms-customer with bucket key, owner and ACL",
			change: func(a *storage.Access) {
				a.Checksum, a.Encryption, a.EncryptionKey, a.BucketKey = false, "sse-kms-customer", keyARN, true
				a.BucketOwner, a.ACL = accountID, "bucket-owner-full-control"
			},
			whole: headers{
				noneMatch: "*", sse: "aws:kms", sseKey: keyARN, sseBucket: "true",
				owner: accountID, acl: "bucket-owner-full-control",
			},
			create: headers{sse: "aws:kms", sseKey: keyARN, sseBucket: "true", owner: accountID, acl: "bucket-owner-full-control"},
			part:   headers{owner: accountID}, last: headers{noneMatch: "*", owner: accountID},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			proxy := storagetest.NewProxy(t, server.Endpoint(), true)
			a, cfg := rootAccess(), quick()
			a.Endpoint, cfg.RootCAs = proxy.Endpoint(), proxy.RootCAs()
			test.change(&a)
			s, bucket := open(t, a, cfg), newBucket(t)
			for _, size := range []int{small, large} {
				o := storagetest.NewObject(strings.Repeat("k", size%7+1), "request", size)
				storagetest.Put(t, s, bucket, o, storage.IfAbsent())
				storagetest.Expect(t, s, bucket, o)
			}
			for operation, want := range map[storagetest.Operation]headers{
				storagetest.PutObject: test.whole, storagetest.CreateUpload: test.create,
				storagetest.UploadPart: test.part, storagetest.CompleteUpload: test.last,
			} {
				requests := proxy.Requests(operation)
				if len(requests) == 0 {
					t.Errorf("no %s was sent", operation)
				}
				for _, r := range requests {
					if diff := cmp.Diff(want, pick(r.Header, interesting)); diff != "" {
						t.Errorf("headers of %s (-want +got):\n%s", operation, diff)
					}
				}
			}
			for _, r := range proxy.Requests(storagetest.AnyOperation) {
				if got := r.Header.Get(owner); got != a.BucketOwner {
					t.Errorf("%s expects bucket owner %q, want %q", r.Operation, got, a.BucketOwner)
				}
			}
		})
	}
}

func pick(h http.Header, names []string) map[string]string {
	picked := map[string]string{}
	for _, name := range names {
		if v := h.Get(name); v != "" {
			picked[name] = v
		}
	}
	return picked
}

func TestEncryption(t *testing.T) {
	for _, test := range []struct {
		name, encryption, key string
		want                  storage.Encryption
		err                   error
	}{
		{name: "none is still encrypted by the store", encryption: "none", want: storage.Encryption{Algorithm: "AES256"}},
		{name: "sse-s3", encryption: "sse-s3", want: storage.Encryption{Algorithm: "AES256"}},
		{name: "sse-kms", encryption: "sse-kms", want: storage.Encryption{Algorithm: "aws:kms", KeyID: "arn:aws:kms:eu-central-1:111111111111:key/aws-s3"}},
		{name: "key by ARN", encryption: "sse-kms-customer", key: keyARN, want: storage.Encryption{Algorithm: "aws:kms", KeyID: keyARN}},
		{name: "key by id", encryption: "sse-kms-customer", key: "0f1e2d3c", want: storage.Encryption{Algorithm: "aws:kms", KeyID: keyARN}},
		{name: "unknown key", encryption: "sse-kms-customer", key: "arn:aws:kms:eu-central-1:111111111111:key/unknown", err: storage.ErrKMS},
		{name: "disabled key", encryption: "sse-kms-customer", key: disabled, err: storage.ErrKMS},
		{name: "key of another account", encryption: "sse-kms-customer", key: foreign, err: storage.ErrDenied},
	} {
		for _, size := range []int{small, large} {
			a := rootAccess()
			a.Encryption, a.EncryptionKey = test.encryption, test.key
			s, bucket := open(t, a, quick()), newBucket(t)
			stored, err := s.Put(t.Context(), bucket, storagetest.NewObject("k", "k", size), storage.IfAbsent())
			if test.err != nil {
				storagetest.ExpectError(t, test.name, err, test.err)
				storagetest.ExpectAbsent(t, s, bucket, "k")
				continue
			}
			if err != nil {
				t.Errorf("%s, %d bytes: %v", test.name, size, err)
				continue
			}
			head, err := s.Head(t.Context(), bucket, "k")
			if err != nil || head.Encryption != test.want {
				t.Errorf("%s, %d bytes: head %+v, %v, want %+v", test.name, size, head.Encryption, err, test.want)
			}
			if !s.Encrypted(head) {
				t.Errorf("%s, %d bytes: %+v does not count as encrypted as asked", test.name, size, head.Encryption)
			}
			if size == small && stored.Encryption != test.want {
				t.Errorf("%s, %d bytes: put %+v, want %+v", test.name, size, stored.Encryption, test.want)
			}
		}
	}
}

// TestEncryptAnew restamps an object that is not encrypted as asked.
func TestEncryptAnew(t *testing.T) {
	bucket, o := newBucket(t), storagetest.NewObject("k", "k", small)
	storagetest.Put(t, open(t, rootAccess(), quick()), bucket, o, storage.IfAbsent())
	a := rootAccess()
	a.Encryption, a.EncryptionKey = "sse-kms-customer", keyARN
	s := open(t, a, quick())
	for _, encrypted := range []bool{false, true} {
		head := storagetest.Expect(t, s, bucket, o)
		if got := s.Encrypted(head); got != encrypted {
			t.Fatalf("encrypted: got %t, want %t of %+v", got, encrypted, head.Encryption)
		}
		if _, err := s.Restamp(t.Context(), bucket, o.Key, head, head.Meta); err != nil {
			t.Fatal(err)
		}
	}
}

func TestForeignOwnerAndACL(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*storage.Access)
	}{
		{"bucket of somebody else", func(a *storage.Access) { a.BucketOwner = "222222222222" }},
		{"ACL that the bucket does not take", func(a *storage.Access) { a.ACL = "public-read" }},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := rootAccess()
			test.change(&a)
			s, bucket := open(t, a, quick()), newBucket(t)
			for _, size := range []int{small, large} {
				_, err := s.Put(t.Context(), bucket, storagetest.NewObject("k", "k", size), storage.IfAbsent())
				storagetest.ExpectError(t, "put", err, storage.ErrDenied)
			}
			storagetest.ExpectAbsent(t, open(t, rootAccess(), quick()), bucket, "k")
		})
	}
}
