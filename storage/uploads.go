package storage

import (
	"context"
	"iter"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Upload is a multipart upload that was begun and neither completed nor
// aborted.
type Upload struct {
	ID, Key string
	Begun   time.Time
}

// Uploads gives the unfinished uploads of keys that begin with prefix,
// including those of other writers. It ends with the first error.
func (s *Store) Uploads(ctx context.Context, bucket, prefix string) iter.Seq2[Upload, error] {
	return func(yield func(Upload, error) bool) {
		in := &s3.ListMultipartUploadsInput{Bucket: &bucket, Prefix: optional(prefix), ExpectedBucketOwner: s.owner()}
		for {
			out, err := call(ctx, s, in, s.client.ListMultipartUploads)
			if err != nil {
				yield(Upload{}, s.failure(ctx, "list uploads", bucket, prefix, err))
				return
			}
			for _, u := range out.Uploads {
				if !yield(Upload{ID: deref(u.UploadId), Key: deref(u.Key), Begun: deref(u.Initiated)}, nil) {
					return
				}
			}
			if !deref(out.IsTruncated) {
				return
			}
			in.KeyMarker, in.UploadIdMarker = out.NextKeyMarker, out.NextUploadIdMarker
		}
	}
}
