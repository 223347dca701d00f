package storage

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Restamp gives an object other metadata without sending its bytes: the store
// copies it onto itself, if it is still the object of stored.ETag. What else
// belongs to an object (content type, encryption, ACL) is asked for again,
// since a copy keeps none of it.
//
// Stores commonly derive the ETag from the bytes, so a restamped object may
// keep its ETag: a writer that read the old metadata can still replace it
// under [IfMatch].
func (s *Store) Restamp(ctx context.Context, bucket, key string, stored Stored, m Meta) (Stored, error) {
	if stored.Size > MaxSinglePut {
		return Stored{}, &Error{Op: "restamp", Bucket: bucket, Key: key, Err: fmt.Errorf("%w: over 5 GiB, which cannot be copied in one request", ErrInvalid)}
	}
	source := bucket + "/" + escapeKey(key)
	algorithm, keyID, bucketKey := s.encryption.request()
	var tries attempts
	out, err := call(ctx, s, &s3.CopyObjectInput{
		Bucket: &bucket, Key: &key, CopySource: &source,
		ExpectedBucketOwner: s.owner(), ExpectedSourceBucketOwner: s.owner(),
		CopySourceIfMatch: &stored.ETag, IfMatch: &stored.ETag,
		MetadataDirective: types.MetadataDirectiveReplace, Metadata: m.entries(),
		ContentType: optional(stored.ContentType), ACL: s.acl(),
		ServerSideEncryption: algorithm, SSEKMSKeyId: keyID, BucketKeyEnabled: bucketKey,
	}, s.client.CopyObject, tries.watch, forLoad(m.Load))
	after := stored
	after.Key, after.Meta, after.HasMeta = key, m, m.Load != ""
	if err != nil {
		failed := vanished(IfMatch(stored.ETag), s.failure(ctx, "restamp", bucket, key, err))
		if errors.Is(failed, ErrPrecondition) && tries.lost.Load() {
			return s.recognise(ctx, bucket, Object{Key: key, Size: stored.Size, Meta: m}, failed)
		}
		return Stored{}, failed
	}
	if out.CopyObjectResult == nil || out.CopyObjectResult.ETag == nil {
		return s.recognise(ctx, bucket, Object{Key: key, Size: stored.Size, Meta: m}, &Error{
			Op: "restamp", Bucket: bucket, Key: key,
			Err: &verdict{ErrUnavailable, errors.New("the store said nothing, and the metadata is not there")},
		})
	}
	after.ETag, after.VersionID = *out.CopyObjectResult.ETag, deref(out.VersionId)
	after.Modified = deref(out.CopyObjectResult.LastModified)
	after.Encryption = reported(out.ServerSideEncryption, out.SSEKMSKeyId, out.BucketKeyEnabled)
	return after, s.checkEncryption("restamp", bucket, after)
}

// escapeKey escapes all but slashes and unreserved characters. A plus sign
// too: some stores read the header as a query, in which it is a space.
func escapeKey(key string) string {
	segments := strings.Split(key, "/")
	for i, segment := range segments {
		segments[i] = strings.ReplaceAll(url.QueryEscape(segment), "+", "%20")
	}
	return strings.Join(segments, "/")
}
