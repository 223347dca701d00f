package storage

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

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
}

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
	if o.Size > s.cfg.MultipartThreshold {
		return s.putParts(ctx, bucket, o, c)
	}
	return s.putWhole(ctx, bucket, o, c)
}

func (s *Store) putWhole(ctx context.Context, bucket string, o Object, c Condition) (Stored, error) {
	algorithm, keyID, bucketKey := s.encryption.request()
	in := &s3.PutObjectInput{
		Bucket: &bucket, Key: &o.Key, ExpectedBucketOwner: s.owner(),
		Body: io.NewSectionReader(o.Body, 0, o.Size), ContentLength: &o.Size,
		ContentType: optional(o.ContentType), Metadata: o.Meta.entries(),
		ACL:                  s.acl(),
		ServerSideEncryption: algorithm, SSEKMSKeyId: keyID, BucketKeyEnabled: bucketKey,
	}
	in.IfNoneMatch, in.IfMatch = c.headers()
	var tries attempts
	out, err := call(ctx, s, in, s.client.PutObject, tries.watch, forLoad(o.Meta.Load))
	if err != nil {
		failed := s.failure(ctx, "put", bucket, o.Key, err)
		if errors.Is(failed, ErrPrecondition) && tries.lost.Load() {
			return s.recognise(ctx, bucket, o, failed)
		}
		return Stored{}, vanished(c, failed)
	}
	stored := o.stored(deref(out.ETag), deref(out.VersionId))
	stored.Encryption = reported(out.ServerSideEncryption, out.SSEKMSKeyId, out.BucketKeyEnabled)
	return stored, s.checkEncryption("put", bucket, stored)
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

// stored is what is known of an object that was stored without a HEAD.
func (o Object) stored(etag, version string) Stored {
	return Stored{
		Key: o.Key, ETag: etag, VersionID: version, Size: o.Size, ContentType: o.ContentType,
		Meta: o.Meta, HasMeta: o.Meta.Load != "",
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
