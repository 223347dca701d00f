package storage

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Object is what is to be stored.
type Object struct {
	Key         string
	ContentType string
	Body        io.ReaderAt // read more than once when a request is repeated, and at several places at once
	Size        int64
	SHA256      [32]byte // of the body
	Meta        Meta     // an empty Meta.SHA256 is filled in from SHA256
	Holds       string   // kept beside Meta, for whoever is about to replace the object; ASCII, at most 1.2 KB

	// Over is the object that this one replaces, as far as it is known. The new
	// one is put together so that its ETag is none that stood at the key within
	// the last 20 minutes, if there is a way: see [form].
	Over *Stored

	at time.Time // when the write began: until then Over stood at the key
}

// entries are the metadata of the object in a form.
func (o *Object) entries(f form) map[string]string {
	entries := o.Meta.entries()
	entries[metaHistory] = o.history(f)
	if o.Holds != "" {
		entries[metaHolds] = o.Holds
	}
	return entries
}

func (o *Object) history(f form) string { return history(f, o.Over.after(o.at)) }

// Put stores an object, whole or not at all, if the condition holds. Objects
// over Config.MultipartThreshold go in parts, and the parts are removed when
// the upload fails ([LeftoverError] when that fails too).
//
// A write whose reply was lost is recognised by its metadata and reported as
// the success it was. An error that wraps [ErrUnavailable] leaves open whether
// the object was stored. An error that wraps [ErrEncryption] means that it was
// stored, but not encrypted as asked; the Stored that comes with it is valid.
func (s *Store) Put(ctx context.Context, bucket string, o Object, c Condition) (Stored, error) {
	o.Meta.SHA256 = cmp.Or(o.Meta.SHA256, hex.EncodeToString(o.SHA256[:]))
	o.at = time.Now()
	switch f := s.formFor(&o); f {
	case whole:
		return s.putWhole(ctx, bucket, o, c)
	default:
		return s.putParts(ctx, bucket, o, f, c)
	}
}

// formFor is the form in which the object is put.
func (s *Store) formFor(o *Object) form {
	among := []form{whole, parts}
	switch {
	case o.Size > s.cfg.MultipartThreshold && o.Size <= s.partSize(o.Size, parts):
		among = []form{parts, whole}
	case o.Size > s.cfg.MultipartThreshold:
		among = []form{parts, odd}
	case o.Size == 0:
		return whole // nothing has no parts
	}
	f, _ := o.Over.after(o.at).choose(o.Meta.SHA256, among...)
	return f
}

// partSize is the size of an object's parts in a form.
func (s *Store) partSize(size int64, f form) int64 {
	usual := partSize(size, s.cfg.PartSize)
	if f == odd {
		return usual + 1<<20
	}
	return usual
}

func (s *Store) putWhole(ctx context.Context, bucket string, o Object, c Condition) (Stored, error) {
	algorithm, keyID, bucketKey := s.encryption.request()
	in := &s3.PutObjectInput{
		Bucket: &bucket, Key: &o.Key, ExpectedBucketOwner: s.owner(),
		Body: io.NewSectionReader(o.Body, 0, o.Size), ContentLength: &o.Size,
		ContentType: optional(o.ContentType), Metadata: o.entries(whole),
		ACL:                  s.acl(),
		ServerSideEncryption: algorithm, SSEKMSKeyId: keyID, BucketKeyEnabled: bucketKey,
	}
	in.IfNoneMatch, in.IfMatch = s.conditions(c)
	if s.access.Checksum && s.plain() {
		sum, err := checksum(o.Body, o.Size)
		if err != nil {
			return Stored{}, &Error{Op: "put", Bucket: bucket, Key: o.Key, Err: fmt.Errorf("read the body: %w", err)}
		}
		in.ChecksumCRC32 = &sum
	}
	var tries attempts
	out, err := call(writing(ctx, c.decided), s, in, s.client.PutObject, tries.watch, forLoad(o.Meta.Load), hashed(o.SHA256))
	if err != nil {
		failed := s.failure(ctx, "put", bucket, o.Key, err)
		if errors.Is(failed, ErrPrecondition) && tries.lost.Load() {
			return s.recognise(ctx, bucket, o, failed)
		}
		return Stored{}, vanished(c, failed)
	}
	stored := o.stored(whole, deref(out.ETag), deref(out.VersionId))
	stored.Encryption = reported(out.ServerSideEncryption, out.SSEKMSKeyId, out.BucketKeyEnabled)
	return stored, s.checkEncryption("put", bucket, stored)
}

// checksum is a body's CRC-32 as the header of a request gives it over plain HTTP:
// the SDK would take it, too, with a fresh buffer for each body. Over TLS the SDK
// sends it behind the body, and takes it meanwhile.
func checksum(body io.ReaderAt, size int64) (string, error) {
	buf := copyBuffers.Get().(*copyBuffer)
	defer copyBuffers.Put(buf)
	sum := uint32(0)
	for at := int64(0); at < size; {
		n, err := body.ReadAt(buf[:min(size-at, int64(len(buf)))], at)
		if n == 0 {
			return "", cmp.Or(err, io.ErrUnexpectedEOF)
		}
		sum = crc32.Update(sum, crc32.IEEETable, buf[:n])
		at += int64(n)
	}
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum)), nil
}

// recognise looks for the object of a write whose reply was lost. It returns
// the failure when the object in the bucket is not this one.
func (s *Store) recognise(ctx context.Context, bucket string, o Object, failed error) (Stored, error) {
	stored, err := s.Head(ctx, bucket, o.Key)
	if err != nil {
		if errors.Is(err, ErrNotFound) {
			return Stored{}, failed
		}
		return Stored{}, fmt.Errorf("look for the object of a lost reply: %w", err)
	}
	if !stored.HasMeta || !stored.Meta.madeBy(o.Meta) || stored.Size != o.Size {
		return Stored{}, failed
	}
	return stored, s.checkEncryption("put", bucket, stored)
}

// vanished turns the "no such object" of an If-Match on a key that is gone
// into the failed condition that it is.
func vanished(c Condition, err error) error {
	e, ok := errors.AsType[*Error](err)
	if !ok || c.kind != matching || !errors.Is(e, ErrNotFound) {
		return err
	}
	turned := *e
	turned.Err = fmt.Errorf("%w: the object is gone", ErrPrecondition)
	return &turned
}

func (s *Store) checkEncryption(op, bucket string, stored Stored) error {
	if err := s.encryption.check(stored.Encryption); err != nil {
		return &Error{Op: op, Bucket: bucket, Key: stored.Key, Err: err}
	}
	return nil
}

// Encrypted reports whether an object is encrypted as this store was opened to
// ask for. One that is not can be encrypted anew by Restamp.
func (s *Store) Encrypted(stored Stored) bool { return s.encryption.check(stored.Encryption) == nil }

// stored is what is known of an object that was stored without a HEAD.
func (o Object) stored(f form, etag, version string) Stored {
	return Stored{
		Key: o.Key, ETag: etag, VersionID: version, Size: o.Size, ContentType: o.ContentType,
		Meta: o.Meta, HasMeta: o.Meta.Load != "", Holds: o.Holds, History: o.history(f),
	}
}

func reported(algorithm types.ServerSideEncryption, keyID *string, bucketKey *bool) Encryption {
	return Encryption{Algorithm: string(algorithm), KeyID: deref(keyID), BucketKey: deref(bucketKey)}
}

func deref[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// optional is nil for the zero value, which sends no header.
func optional[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}
