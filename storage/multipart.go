package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"
)

// upload is one multipart upload. The same checksum algorithm is named when
// it is created, with each part and when it is completed: a strict store
// refuses parts whose checksums the upload was not created for.
type upload struct {
	store    *Store
	bucket   string
	object   Object
	form     form
	id       string
	partSize int64
	parts    []types.CompletedPart
	copies   bool // parts come from the object that is there

	refused atomic.Pointer[error] // why no more parts are sent
	sent    attempts              // whether a part may arrive at the store later than its failure here
}

// partSize is the smallest multiple of a MiB, not under least, in which size
// makes at most MaxParts parts.
func partSize(size, least int64) int64 {
	const mib = 1 << 20
	needed := (size + MaxParts - 1) / MaxParts
	return max(least, (needed+mib-1)/mib*mib)
}

func (s *Store) putParts(ctx context.Context, bucket string, o Object, f form, c Condition) (Stored, error) {
	size := s.partSize(o.Size, f)
	u := &upload{
		store: s, bucket: bucket, object: o, form: f, partSize: size,
		parts: make([]types.CompletedPart, (o.Size+size-1)/size),
	}
	if err := u.create(ctx); err != nil {
		return Stored{}, err
	}
	if err := u.send(ctx); err != nil {
		return Stored{}, u.abort(ctx, err)
	}
	return u.finish(ctx, c)
}

// finish completes the upload, or aborts it. An object that was found when the
// answer was lost may be that of an earlier attempt, which the store carried out
// late: the upload is aborted then, too, which does nothing to one that is
// complete.
func (u *upload) finish(ctx context.Context, c Condition) (Stored, error) {
	stored, found, err := u.complete(ctx, c)
	if err != nil && !errors.Is(err, ErrEncryption) {
		return Stored{}, u.abort(ctx, err)
	}
	if found {
		if left := u.abort(ctx, nil); left != nil {
			return Stored{}, left
		}
	}
	return stored, err
}

func (u *upload) checksum() (types.ChecksumAlgorithm, types.ChecksumType) {
	if !u.store.access.Checksum {
		return "", ""
	}
	return types.ChecksumAlgorithmCrc64nvme, types.ChecksumTypeFullObject
}

// create begins the upload. When its reply is lost the SDK begins another:
// the first is nobody's then and falls to the bucket's lifecycle rule.
func (u *upload) create(ctx context.Context) error {
	s, o := u.store, &u.object
	algorithm, keyID, bucketKey := s.encryption.request()
	in := &s3.CreateMultipartUploadInput{
		Bucket: &u.bucket, Key: &o.Key, ExpectedBucketOwner: s.owner(),
		ContentType: optional(o.ContentType), Metadata: o.entries(u.form),
		ACL:                  s.acl(),
		ServerSideEncryption: algorithm, SSEKMSKeyId: keyID, BucketKeyEnabled: bucketKey,
	}
	in.ChecksumAlgorithm, in.ChecksumType = u.checksum()
	out, err := call(writing(ctx, time.Time{}), s, in, s.client.CreateMultipartUpload, forLoad(o.Meta.Load))
	if err != nil {
		return s.failure(ctx, "create upload", u.bucket, o.Key, err)
	}
	u.id = deref(out.UploadId)
	return nil
}

// send uploads the parts, some at a time, and returns when none is under way.
// A part that fails keeps the others from being begun or repeated, and those
// that are under way are waited for: one that the store is still receiving
// while the upload is aborted may outlive it. Only the caller cuts them short.
func (u *upload) send(ctx context.Context) error {
	permit, _ := ctx.Value(permitKey{}).(Permit)
	sending := WithPermit(ctx, func() error {
		if refused := u.refused.Load(); refused != nil {
			return *refused
		}
		if permit == nil {
			return nil
		}
		return permit()
	})
	var group errgroup.Group
	group.SetLimit(u.store.cfg.PartConcurrency)
	for i := range u.parts {
		group.Go(func() error {
			if refused := u.refused.Load(); refused != nil {
				return *refused
			}
			err := u.sendPart(sending, i)
			if err != nil {
				u.refused.CompareAndSwap(nil, &err)
			}
			return err
		})
	}
	_ = group.Wait() // the first to fail need not be the first that the group heard of
	if refused := u.refused.Load(); refused != nil {
		return *refused
	}
	return nil
}

func (u *upload) sendPart(ctx context.Context, i int) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	number := int32(i + 1)
	from := int64(i) * u.partSize
	length := min(u.partSize, u.object.Size-from)
	if u.copies {
		return u.copyPart(ctx, number, from, length)
	}
	in := &s3.UploadPartInput{
		Bucket: &u.bucket, Key: &u.object.Key, UploadId: &u.id, PartNumber: &number, ExpectedBucketOwner: u.store.owner(),
		Body: io.NewSectionReader(u.object.Body, from, length), ContentLength: &length,
	}
	in.ChecksumAlgorithm, _ = u.checksum()
	out, err := call(writing(ctx, time.Time{}), u.store, in, u.store.client.UploadPart, u.sent.watch, forLoad(u.object.Meta.Load))
	if err != nil {
		return u.store.failure(ctx, "upload part", u.bucket, u.object.Key, err)
	}
	u.parts[i] = types.CompletedPart{PartNumber: &number, ETag: out.ETag, ChecksumCRC64NVME: out.ChecksumCRC64NVME}
	return nil
}

// complete makes the parts an object, if the condition holds. A reply that is
// lost or empty is settled by looking at the bucket: found says that the load's
// object was there.
func (u *upload) complete(ctx context.Context, c Condition) (stored Stored, found bool, err error) {
	s := u.store
	in := &s3.CompleteMultipartUploadInput{
		Bucket: &u.bucket, Key: &u.object.Key, UploadId: &u.id, ExpectedBucketOwner: s.owner(),
		MultipartUpload: &types.CompletedMultipartUpload{Parts: u.parts}, MpuObjectSize: &u.object.Size,
	}
	_, in.ChecksumType = u.checksum()
	in.IfNoneMatch, in.IfMatch = s.conditions(c)
	var tries attempts
	out, err := call(writing(ctx, c.decided), s, in, s.client.CompleteMultipartUpload, tries.watch, forLoad(u.object.Meta.Load))
	switch {
	case err != nil:
		failed := vanished(c, s.failure(ctx, "complete upload", u.bucket, u.object.Key, err))
		if !tries.lost.Load() {
			return Stored{}, false, failed
		}
		// Also when the caller has given up: whether the upload may be
		// aborted depends on it.
		look, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.AbortTimeout)
		defer cancel()
		stored, err = s.recognise(look, u.bucket, u.object, failed)
		return stored, true, err
	case out.ETag == nil: // an empty 200 says nothing
		stored, err = s.recognise(ctx, u.bucket, u.object, &Error{
			Op: "complete upload", Bucket: u.bucket, Key: u.object.Key,
			Err: &verdict{ErrUnavailable, errors.New("the store said nothing, and the object is not there")},
		})
		return stored, true, err
	}
	stored = u.object.stored(u.form, deref(out.ETag), deref(out.VersionId))
	stored.Encryption = reported(out.ServerSideEncryption, out.SSEKMSKeyId, out.BucketKeyEnabled)
	if s.encryption.Algorithm != "" && stored.Encryption.Algorithm == "" {
		stored, err = u.inspect(ctx, stored)
		return stored, false, err
	}
	return stored, false, s.checkEncryption("complete upload", u.bucket, stored)
}

// inspect checks the encryption with a HEAD: many stores leave it out of the
// reply to Complete. An object that has been replaced or deleted since has no
// encryption left to check.
func (u *upload) inspect(ctx context.Context, stored Stored) (Stored, error) {
	head, err := u.store.Head(ctx, u.bucket, u.object.Key)
	switch {
	case errors.Is(err, ErrNotFound):
		return stored, nil
	case err != nil:
		return stored, fmt.Errorf("check encryption: %w", err)
	case !head.Meta.madeBy(u.object.Meta):
		return stored, nil
	}
	stored.Encryption = head.Encryption
	return stored, u.store.checkEncryption("complete upload", u.bucket, stored)
}

// abortPauses are the pauses before an abort is repeated.
var abortPauses = []time.Duration{200 * time.Millisecond, time.Second}

// abort removes the parts after a failure, and gives it back: nil when there was
// none. It has its own time, because the
// failure is often that the caller's is up. S3 lets a part that it is receiving
// outlive an abort: after one whose answer was lost, the upload is aborted again
// until the store knows nothing of it, a few times.
func (u *upload) abort(ctx context.Context, failed error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), u.store.cfg.AbortTimeout)
	defer cancel()
	for _, pause := range append([]time.Duration{0}, abortPauses...) {
		if pause > 0 && !u.sent.lost.Load() {
			return failed
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		_, err := call(ctx, u.store, &s3.AbortMultipartUploadInput{
			Bucket: &u.bucket, Key: &u.object.Key, UploadId: &u.id, ExpectedBucketOwner: u.store.owner(),
		}, u.store.client.AbortMultipartUpload, forLoad(u.object.Meta.Load))
		if err == nil {
			continue
		}
		aborting := failure(ctx, "abort upload", u.bucket, u.object.Key, err)
		if aborting.Code == "NoSuchUpload" {
			return failed
		}
		if failed == nil {
			failed = &Error{Op: "complete upload", Bucket: u.bucket, Key: u.object.Key,
				Err: &verdict{ErrUnavailable, errors.New("the object is there, and whether by this upload is not known")}}
		}
		return &LeftoverError{UploadID: u.id, Err: failed, Abort: aborting}
	}
	return failed
}
