package embedded

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/gofiber/fiber/v3"
	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"
)

// gate stands between the gateway and its directory and adds what the gateway
// accepts and ignores: encryption headers, object ACL headers, and the
// If-Match of a copy. It also makes each key change as a whole: the directory
// keeps bytes and metadata apart and replaces one after the other, so without
// the locks a reader could see the bytes of one object with the metadata of
// another.
//
// It has two halves. The middleware (headers) sees the request before its
// signature is checked and only takes notes; the methods of backend.Backend
// run after authorization and decide. Encryption is stored as one metadata
// entry of the object, so it lives and dies with the object and survives a
// restart.
type gate struct {
	backend.Backend
	keys            []Key
	quirks          map[string]Quirk
	account, region string
	locks           keyLocks
}

type noteKey struct{}

// note is what the gateway drops from a request and the gate needs.
type note struct {
	asked   encryption
	acl     string
	ifMatch string
	result  encryption // what was stored; set by the backend half
}

func noteOf(ctx context.Context) *note {
	if n, ok := ctx.Value(noteKey{}).(*note); ok {
		return n
	}
	return &note{}
}

// headers notes the request's headers and shows the encryption in the reply.
func (g *gate) headers(c fiber.Ctx) error {
	// Header strings alias a buffer that the server reuses for the next
	// request, hence the clones.
	n := &note{
		asked: encryption{
			Algorithm: strings.Clone(c.Get(headerSSE)),
			KeyID:     strings.Clone(c.Get(headerSSEKey)),
			BucketKey: c.Get(headerSSEBucketKey) == "true",
		},
		acl:     strings.Clone(c.Get("X-Amz-Acl")),
		ifMatch: strings.Clone(c.Get("If-Match")),
	}
	c.RequestCtx().SetUserValue(noteKey{}, n)
	if err := c.Next(); err != nil {
		return err
	}
	h := &c.Response().Header
	shown := n.result
	h.DisableNormalizing() // the gateway writes metadata names in lower case
	if stored := h.Peek(headerStored); len(stored) > 0 {
		shown = parseEncryption(string(stored))
		h.Del(headerStored)
	}
	h.EnableNormalizing()
	shown.each(func(name, value string) { h.Set(name, value) })
	return nil
}

func (g *gate) PutObject(ctx context.Context, in s3response.PutObjectInput) (s3response.PutObjectOutput, error) {
	enc, err := g.admit(ctx, in.Bucket)
	if err != nil {
		return s3response.PutObjectOutput{}, err
	}
	if g.quirk(in.Bucket).IgnoreConditions {
		in.IfMatch, in.IfNoneMatch = nil, nil
	}
	in.Metadata = enc.in(in.Metadata)
	publish := publishing{Reader: in.Body, lock: func() func() { return g.locks.alone(*in.Bucket, *in.Key) }}
	if in.ContentLength != nil {
		publish.left = *in.ContentLength
	}
	if publish.left == 0 {
		publish.begin()
	}
	defer publish.end()
	if in.Body != nil {
		in.Body = &publish
	}
	out, err := g.Backend.PutObject(ctx, in)
	if err == nil {
		noteOf(ctx).result = enc
	}
	return out, err
}

func (g *gate) CreateMultipartUpload(ctx context.Context, in s3response.CreateMultipartUploadInput) (s3response.InitiateMultipartUploadResult, error) {
	enc, err := g.admit(ctx, in.Bucket)
	if err != nil {
		return s3response.InitiateMultipartUploadResult{}, err
	}
	in.Metadata = enc.in(in.Metadata)
	out, err := g.Backend.CreateMultipartUpload(ctx, in)
	if err == nil {
		noteOf(ctx).result = enc
	}
	return out, err
}

func (g *gate) CompleteMultipartUpload(ctx context.Context, in *s3.CompleteMultipartUploadInput) (s3response.CompleteMultipartUploadResult, string, error) {
	if g.quirk(in.Bucket).IgnoreConditions {
		in.IfMatch, in.IfNoneMatch = nil, nil
	}
	defer g.locks.alone(*in.Bucket, *in.Key)()
	return g.Backend.CompleteMultipartUpload(ctx, in)
}

func (g *gate) DeleteObject(ctx context.Context, in *s3.DeleteObjectInput) (*s3.DeleteObjectOutput, error) {
	if g.quirk(in.Bucket).IgnoreConditions {
		in.IfMatch = nil
	}
	defer g.locks.alone(*in.Bucket, *in.Key)()
	return g.Backend.DeleteObject(ctx, in)
}

func (g *gate) HeadObject(ctx context.Context, in *s3.HeadObjectInput) (*s3.HeadObjectOutput, error) {
	defer g.locks.shared(*in.Bucket, *in.Key)()
	return g.Backend.HeadObject(ctx, in)
}

// GetObject holds the lock until the file is open: the body that the client
// then reads is that file's, even when another has taken its place.
func (g *gate) GetObject(ctx context.Context, in *s3.GetObjectInput) (*s3.GetObjectOutput, error) {
	defer g.locks.shared(*in.Bucket, *in.Key)()
	return g.Backend.GetObject(ctx, in)
}

// CopyObject checks the ETag that the gateway ignores. The gateway rewrites
// the metadata of an object that is copied onto itself in place, after it has
// compared the source's ETag: without the lock the new metadata could land on
// a body that another writer stored in between.
func (g *gate) CopyObject(ctx context.Context, in s3response.CopyObjectInput) (s3response.CopyObjectOutput, error) {
	enc, err := g.admit(ctx, in.Bucket)
	if err != nil {
		return s3response.CopyObjectOutput{}, err
	}
	in.Metadata = enc.in(in.Metadata)
	defer g.locks.alone(*in.Bucket, *in.Key)()
	if want := noteOf(ctx).ifMatch; want != "" {
		head, err := g.Backend.HeadObject(ctx, &s3.HeadObjectInput{Bucket: in.Bucket, Key: in.Key})
		if err != nil {
			return s3response.CopyObjectOutput{}, err
		}
		if head.ETag == nil || strings.Trim(*head.ETag, `"`) != strings.Trim(want, `"`) {
			return s3response.CopyObjectOutput{}, s3err.APIError{
				Code:           "PreconditionFailed",
				Description:    "At least one of the pre-conditions you specified did not hold",
				HTTPStatusCode: http.StatusPreconditionFailed,
			}
		}
	}
	out, err := g.Backend.CopyObject(ctx, in)
	if err == nil {
		noteOf(ctx).result = enc
	}
	return out, err
}

// admit checks the ACL and the encryption that a write asks for.
func (g *gate) admit(ctx context.Context, bucket *string) (encryption, error) {
	n, quirk := noteOf(ctx), g.quirk(bucket)
	if want := quirk.DemandEncryption; want != "" && n.asked.Algorithm != want {
		return encryption{}, s3err.APIError{
			Code:           "AccessDenied",
			Description:    "Access Denied",
			HTTPStatusCode: http.StatusForbidden,
		}
	}
	if quirk.IgnoreEncryption {
		return encryption{}, nil
	}
	if n.acl != "" && n.acl != "bucket-owner-full-control" {
		return encryption{}, s3err.APIError{
			Code:           "AccessControlListNotSupported",
			Description:    "The bucket does not allow ACLs",
			HTTPStatusCode: http.StatusBadRequest,
		}
	}
	return g.decide(n.asked)
}

// bucketOwner is a context in which the gateway finds the account that a new
// bucket belongs to, under the string key it looks up.
type bucketOwner struct {
	context.Context
	account auth.Account
}

func (c bucketOwner) Value(key any) any {
	if key == "bucket-owner" {
		return c.account
	}
	return c.Context.Value(key)
}

func ownerACL(owner string) ([]byte, error) {
	return json.Marshal(auth.ACL{Owner: owner, Grantees: []auth.Grantee{}})
}
