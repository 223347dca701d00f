package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Head tells of an object without its body. [ErrNotFound] covers a missing
// bucket too: a HEAD does not say which.
func (s *Store) Head(ctx context.Context, bucket, key string) (Stored, error) {
	looked := time.Now()
	out, err := call(ctx, s, &s3.HeadObjectInput{Bucket: &bucket, Key: &key, ExpectedBucketOwner: s.owner()}, s.client.HeadObject)
	if err != nil {
		return Stored{}, s.failure(ctx, "head", bucket, key, err)
	}
	stored := Stored{
		Key: key, ETag: deref(out.ETag), VersionID: deref(out.VersionId), Size: deref(out.ContentLength), Looked: looked,
		ContentType: deref(out.ContentType), Modified: deref(out.LastModified),
		Encryption: reported(out.ServerSideEncryption, out.SSEKMSKeyId, out.BucketKeyEnabled),
	}
	stored.told(out.Metadata)
	return stored, nil
}

// Get opens an object. The caller closes the body; a body that was cut off
// ends in an error, never in a short success.
func (s *Store) Get(ctx context.Context, bucket, key string) (io.ReadCloser, Stored, error) {
	looked := time.Now()
	out, err := call(ctx, s, &s3.GetObjectInput{Bucket: &bucket, Key: &key, ExpectedBucketOwner: s.owner()}, s.client.GetObject)
	if err != nil {
		return nil, Stored{}, s.failure(ctx, "get", bucket, key, err)
	}
	stored := Stored{
		Key: key, ETag: deref(out.ETag), VersionID: deref(out.VersionId), Size: deref(out.ContentLength), Looked: looked,
		ContentType: deref(out.ContentType), Modified: deref(out.LastModified),
		Encryption: reported(out.ServerSideEncryption, out.SSEKMSKeyId, out.BucketKeyEnabled),
	}
	stored.told(out.Metadata)
	return out.Body, stored, nil
}

// Delete removes an object under [Always] or [IfMatch]. Under Always a key
// that has no object is a success, as it is to the store.
func (s *Store) Delete(ctx context.Context, bucket, key string, c Condition) error {
	if c.kind == absent {
		return &Error{Op: "delete", Bucket: bucket, Key: key, Err: fmt.Errorf("%w: delete needs Always or IfMatch", ErrInvalid)}
	}
	in := &s3.DeleteObjectInput{Bucket: &bucket, Key: &key, ExpectedBucketOwner: s.owner()}
	_, in.IfMatch = s.conditions(c)
	var tries attempts
	_, err := call(writing(ctx, c.decided), s, in, s.client.DeleteObject, tries.watch)
	if err == nil {
		return nil
	}
	failed := vanished(c, s.failure(ctx, "delete", bucket, key, err))
	if errors.Is(failed, ErrPrecondition) && tries.lost.Load() {
		// An earlier attempt may have deleted it.
		if _, err := s.Head(ctx, bucket, key); errors.Is(err, ErrNotFound) {
			return nil
		}
	}
	return failed
}

// List gives the objects whose key begins with prefix, in key order, without
// encryption and metadata. It ends with the first error.
func (s *Store) List(ctx context.Context, bucket, prefix string) iter.Seq2[Stored, error] {
	return func(yield func(Stored, error) bool) {
		in := &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: optional(prefix), ExpectedBucketOwner: s.owner()}
		for {
			out, err := call(ctx, s, in, s.client.ListObjectsV2)
			if err != nil {
				yield(Stored{}, s.failure(ctx, "list", bucket, prefix, err))
				return
			}
			for _, o := range out.Contents {
				stored := Stored{Key: deref(o.Key), ETag: deref(o.ETag), Size: deref(o.Size), Modified: deref(o.LastModified)}
				if !yield(stored, nil) {
					return
				}
			}
			if !deref(out.IsTruncated) || out.NextContinuationToken == nil {
				return
			}
			in.ContinuationToken = out.NextContinuationToken
		}
	}
}

// Ping asks whether the bucket is there and these credentials may list it.
func (s *Store) Ping(ctx context.Context, bucket string) error {
	_, err := call(ctx, s, &s3.HeadBucketInput{Bucket: &bucket, ExpectedBucketOwner: s.owner()}, s.client.HeadBucket)
	if err == nil {
		return nil
	}
	failed := failure(ctx, "ping", bucket, "", err)
	if errors.Is(failed, ErrNotFound) {
		failed.Err = ErrNoBucket
	}
	return failed
}
