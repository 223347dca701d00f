package storage

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Restamp gives an object other metadata without sending its bytes: the store
// copies it onto itself, if it is still the object of stored.ETag. What else
// belongs to an object (content type, encryption, ACL) is asked for again,
// since a copy keeps none of it.
//
// The copy is of another form than those in which the bytes stood at the key
// lately, so that its ETag is another too. Some stores keep the ETag of an object
// that is copied onto itself in one request; then so does Stored, and only
// sending the bytes helps.
func (s *Store) Restamp(ctx context.Context, bucket, key string, stored Stored, m Meta) (Stored, error) {
	if stored.Size > MaxSinglePut {
		return Stored{}, &Error{Op: "restamp", Bucket: bucket, Key: key, Err: fmt.Errorf("%w: over 5 GiB, which cannot be copied in one request", ErrInvalid)}
	}
	o := Object{Key: key, ContentType: stored.ContentType, Size: stored.Size, Meta: m, Holds: stored.Holds, Over: &stored, at: time.Now()}
	among := []form{whole, parts}
	if stored.Size > s.partSize(stored.Size, parts) {
		among = append(among, odd)
	}
	if f, _ := stored.after(o.at).choose(m.SHA256, among...); f != whole && stored.Size > 0 {
		return s.restampParts(ctx, bucket, o, f)
	}
	source := bucket + "/" + escapeKey(key)
	algorithm, keyID, bucketKey := s.encryption.request()
	_, match := s.conditions(IfMatch(stored.ETag))
	var tries attempts
	out, err := call(writing(ctx, stored.Looked), s, &s3.CopyObjectInput{
		Bucket: &bucket, Key: &key, CopySource: &source,
		ExpectedBucketOwner: s.owner(), ExpectedSourceBucketOwner: s.owner(),
		CopySourceIfMatch: match, IfMatch: match,
		MetadataDirective: types.MetadataDirectiveReplace, Metadata: o.entries(whole),
		ContentType: optional(stored.ContentType), ACL: s.acl(),
		ServerSideEncryption: algorithm, SSEKMSKeyId: keyID, BucketKeyEnabled: bucketKey,
	}, s.client.CopyObject, tries.watch, forLoad(m.Load))
	after := stored
	after.Key, after.Meta, after.HasMeta, after.History = key, m, m.Load != "", o.history(whole)
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

// restampParts copies an object onto itself in parts.
func (s *Store) restampParts(ctx context.Context, bucket string, o Object, f form) (Stored, error) {
	size := s.partSize(o.Size, f)
	u := &upload{
		store: s, bucket: bucket, object: o, form: f, partSize: size, copies: true,
		parts: make([]types.CompletedPart, (o.Size+size-1)/size),
	}
	if err := u.create(ctx); err != nil {
		return Stored{}, err
	}
	if err := u.send(ctx); err != nil {
		return Stored{}, u.abort(ctx, vanished(IfMatch(o.Over.ETag), err))
	}
	return u.finish(ctx, IfMatch(o.Over.ETag).Since(o.Over.Looked))
}

// copyPart makes a part of the object that is there.
func (u *upload) copyPart(ctx context.Context, number int32, from, length int64) error {
	source, bytes := u.bucket+"/"+escapeKey(u.object.Key), fmt.Sprintf("bytes=%d-%d", from, from+length-1)
	_, match := u.store.conditions(IfMatch(u.object.Over.ETag))
	out, err := call(writing(ctx, time.Time{}), u.store, &s3.UploadPartCopyInput{
		Bucket: &u.bucket, Key: &u.object.Key, UploadId: &u.id, PartNumber: &number,
		CopySource: &source, CopySourceRange: &bytes, CopySourceIfMatch: match,
		ExpectedBucketOwner: u.store.owner(), ExpectedSourceBucketOwner: u.store.owner(),
	}, u.store.client.UploadPartCopy, u.sent.watch, forLoad(u.object.Meta.Load))
	if err != nil {
		return u.store.failure(ctx, "copy part", u.bucket, u.object.Key, err)
	}
	if out.CopyPartResult == nil || out.CopyPartResult.ETag == nil {
		return &Error{Op: "copy part", Bucket: u.bucket, Key: u.object.Key, Err: &verdict{ErrUnavailable, errors.New("the store said nothing")}}
	}
	u.parts[number-1] = types.CompletedPart{PartNumber: &number, ETag: out.CopyPartResult.ETag, ChecksumCRC64NVME: out.CopyPartResult.ChecksumCRC64NVME}
	return nil
}
