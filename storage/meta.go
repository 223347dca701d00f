package storage

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Meta is what an object's metadata says of the load that made it, under
// x-amz-meta-loadfleet-*. It is what orders generations and recognises a
// load's own object, so its names never change.
type Meta struct {
	Load       string
	Extraction string
	Generation int64
	Rows       int64
	SHA256     string // of the file, lower-case hex
}

const (
	metaLoad       = "loadfleet-load"
	metaExtraction = "loadfleet-extraction"
	metaGeneration = "loadfleet-generation"
	metaRows       = "loadfleet-rows"
	metaSHA256     = "loadfleet-sha256"
)

func (m Meta) entries() map[string]string {
	return map[string]string{
		metaLoad:       m.Load,
		metaExtraction: m.Extraction,
		metaGeneration: strconv.FormatInt(m.Generation, 10),
		metaRows:       strconv.FormatInt(m.Rows, 10),
		metaSHA256:     m.SHA256,
	}
}

// told fills in what an object's metadata says.
func (s *Stored) told(entries map[string]string) {
	s.Meta, s.HasMeta = parseMeta(entries)
	if s.HasMeta {
		s.Holds, s.History = entries[metaHolds], entries[metaHistory]
	}
}

// parseMeta reads an object's metadata; false when it was not made by a load
// or its entries are damaged.
func parseMeta(entries map[string]string) (Meta, bool) {
	m := Meta{Load: entries[metaLoad], Extraction: entries[metaExtraction], SHA256: entries[metaSHA256]}
	var err error
	if m.Generation, err = strconv.ParseInt(entries[metaGeneration], 10, 64); err != nil {
		return Meta{}, false
	}
	if m.Rows, err = strconv.ParseInt(entries[metaRows], 10, 64); err != nil {
		return Meta{}, false
	}
	return m, m.Load != ""
}

// madeBy tells whether an object with this metadata is the one that want
// describes: same load, same bytes.
func (m Meta) madeBy(want Meta) bool {
	return m.Load == want.Load && m.SHA256 == want.SHA256 && m.Generation == want.Generation
}

// Stored is an object in a bucket, as far as the store told.
type Stored struct {
	Key         string
	ETag        string // as the store writes it, with quotes
	VersionID   string // empty without versioning
	Size        int64
	ContentType string
	Modified    time.Time
	Encryption  Encryption
	Meta        Meta
	HasMeta     bool   // false: not made by a load
	Holds       string // Object.Holds, as it was put

	// Looked is when the request that told of the object was sent; a decision
	// that is based on it is as old.
	Looked time.Time

	// History is how the object is put together and what stood at its key
	// lately, as its metadata says it; see [form].
	History string
}

// Encryption is how an object is encrypted on the server's side.
type Encryption struct {
	Algorithm string // AES256 or aws:kms; empty when the store says nothing
	KeyID     string // as asked or as reported; the store reports ARNs
	BucketKey bool
}

// askedEncryption is the encryption that a destination's setting stands for.
func askedEncryption(a Access) (Encryption, error) {
	switch a.Encryption {
	case "", "none":
		return Encryption{}, nil
	case "sse-s3":
		return Encryption{Algorithm: string(types.ServerSideEncryptionAes256)}, nil
	case "sse-kms":
		return Encryption{Algorithm: string(types.ServerSideEncryptionAwsKms), BucketKey: a.BucketKey}, nil
	case "sse-kms-customer":
		if a.EncryptionKey == "" {
			return Encryption{}, fmt.Errorf("%w: encryption sse-kms-customer without a key", ErrInvalid)
		}
		return Encryption{Algorithm: string(types.ServerSideEncryptionAwsKms), KeyID: a.EncryptionKey, BucketKey: a.BucketKey}, nil
	}
	return Encryption{}, fmt.Errorf("%w: unknown encryption %q", ErrInvalid, a.Encryption)
}

// request gives the three header values of an upload; zero values send none.
// With KMS the bucket key is said either way, because a bucket's default of on
// holds for uploads that say nothing.
func (e Encryption) request() (algorithm types.ServerSideEncryption, key *string, bucketKey *bool) {
	algorithm = types.ServerSideEncryption(e.Algorithm)
	if e.KeyID != "" {
		key = &e.KeyID
	}
	if algorithm == types.ServerSideEncryptionAwsKms {
		bucketKey = &e.BucketKey
	}
	return algorithm, key, bucketKey
}

// check compares what the store reports with what was asked. Silence is
// accepted for AES256, which S3 applies to every object and many compatible
// stores never mention; for KMS it is a mismatch, because stores without KMS
// ignore the header and keep the object in the clear. A key given by alias
// is not compared: the store reports the key behind it.
func (e Encryption) check(reported Encryption) error {
	switch {
	case e.Algorithm == "" || e == reported:
		return nil
	case reported.Algorithm == "" && e.Algorithm == string(types.ServerSideEncryptionAes256):
		return nil
	case reported.Algorithm == "":
		return fmt.Errorf("%w: asked for %s, the store reports none", ErrEncryption, e.Algorithm)
	case reported.Algorithm != e.Algorithm:
		return fmt.Errorf("%w: asked for %s, the store reports %s", ErrEncryption, e.Algorithm, reported.Algorithm)
	case e.KeyID != "" && !strings.Contains(e.KeyID, "alias/") && !sameKey(e.KeyID, reported.KeyID):
		return fmt.Errorf("%w: asked for key %s, the store reports %q", ErrEncryption, e.KeyID, reported.KeyID)
	}
	return nil
}

// sameKey compares KMS keys, each a full ARN or the bare id at its end.
func sameKey(a, b string) bool {
	id := func(key string) string { return key[strings.LastIndexAny(key, "/:")+1:] }
	if strings.HasPrefix(a, "arn:") && strings.HasPrefix(b, "arn:") {
		return a == b
	}
	return id(a) == id(b)
}
