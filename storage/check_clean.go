package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// clean removes what the probes left, whatever became of ctx, and looks
// whether that worked.
func (c *checker) clean(ctx context.Context) {
	if c.present == isAbsent && len(c.uploads) == 0 && len(c.versions) == 0 && !c.result["put"] {
		return // nothing was put
	}
	c.blocked = ""
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*c.store.cfg.AbortTimeout)
	defer cancel()
	c.probe(ctx, ProbeNothingLeft, func(ctx context.Context, p *Probe) error {
		c.cleanUploads(ctx)
		c.cleanObject(ctx, p)
		if len(c.report.Left) > 0 {
			return &warning{&found{cause: CauseLeftBehind, there: strings.Join(c.report.Left, ", ")}}
		}
		return nil
	})
}

func (c *checker) left(what string) { c.report.Left = append(c.report.Left, what) }

// cleanUploads aborts the uploads of our key: those known, and those whose
// creation we never heard the reply to. Loads may not list uploads; without
// that permission the known ones must do.
func (c *checker) cleanUploads(ctx context.Context) {
	for upload, err := range c.store.Uploads(ctx, c.cfg.Bucket, c.object.Key) {
		if err != nil {
			break
		}
		if upload.Key == c.object.Key && !slices.Contains(c.uploads, upload.ID) {
			c.uploads = append(c.uploads, upload.ID)
		}
	}
	for _, id := range c.uploads {
		if err := c.abort(ctx, id); err != nil {
			c.left(fmt.Sprintf("upload %s of s3://%s/%s", id, c.cfg.Bucket, c.object.Key))
		}
	}
}

// cleanObject removes the object, and its versions where the bucket keeps
// them, and looks whether it is gone.
func (c *checker) cleanObject(ctx context.Context, p *Probe) {
	name := "s3://" + c.cfg.Bucket + "/" + c.object.Key
	if c.present != isAbsent {
		if err := c.remove(ctx, nil); err != nil && c.present == isPresent {
			c.left(name)
			return
		}
	}
	kept := 0
	for _, version := range c.versions {
		if c.remove(ctx, &version) != nil {
			kept++
		}
	}
	if kept > 0 {
		c.left(fmt.Sprintf("%d old versions of %s (the bucket keeps versions, which we may not delete; its lifecycle rule will)", kept, name))
	}
	switch there, err := c.isThere(ctx); {
	case err != nil:
		p.Result, p.Note = Skipped, "everything was removed, but without permission to list that cannot be verified"
	case there:
		c.left(name)
	}
}

// isThere looks for the object, by listing where that is allowed.
func (c *checker) isThere(ctx context.Context) (bool, error) {
	if c.result["list"] {
		for _, err := range c.store.List(ctx, c.cfg.Bucket, c.object.Key) {
			return err == nil, err
		}
		return false, nil
	}
	_, err := c.store.Head(ctx, c.cfg.Bucket, c.object.Key)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// remove deletes the object, or one version of it. In a bucket that keeps
// versions the first leaves a delete marker, which is a version too.
func (c *checker) remove(ctx context.Context, version *string) error {
	out, err := call(ctx, c.store, &s3.DeleteObjectInput{
		Bucket: &c.cfg.Bucket, Key: &c.object.Key, VersionId: version, ExpectedBucketOwner: c.store.owner(),
	}, c.store.client.DeleteObject)
	if err != nil {
		return failure(ctx, "delete", c.cfg.Bucket, c.object.Key, err)
	}
	if version == nil && deref(out.DeleteMarker) && deref(out.VersionId) != "" {
		c.versions = append(c.versions, *out.VersionId)
	}
	return nil
}
