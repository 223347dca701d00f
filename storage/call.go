package storage

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"sync/atomic"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// call runs one operation. When the session turns out to have expired it is
// renewed and the operation run once more: the SDK repeats neither.
func call[I, O any](ctx context.Context, s *Store, in *I, do func(context.Context, *I, ...func(*s3.Options)) (*O, error), options ...func(*s3.Options)) (*O, error) {
	out, err := do(ctx, in, options...)
	if err != nil && sessionExpired(err) && s.credentials.renew() && rewind(in) {
		out, err = do(ctx, in, options...)
	}
	return out, err
}

// forLoad names the load in the user agent of a request, as load/ID: the
// bucket's access logs and the account's audit trail show it.
func forLoad(load string) func(*s3.Options) {
	return func(o *s3.Options) {
		if load != "" {
			o.APIOptions = append(o.APIOptions, awsmiddleware.AddUserAgentKeyValue("load", load))
		}
	}
}

// hashed tells the signer the body's SHA-256, which was taken as the file was
// made: over plain HTTP the SDK would read the body once more for it. Over TLS it
// signs a trailing checksum instead, which stays as it is.
func hashed(sum [32]byte) func(*s3.Options) {
	return func(o *s3.Options) {
		o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
			return stack.Finalize.Insert(middleware.FinalizeMiddlewareFunc("loadfleetPayloadHash",
				func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
					if r, ok := in.Request.(*smithyhttp.Request); ok && !r.IsHTTPS() && v4.GetPayloadHash(ctx) == "" {
						ctx = v4.SetPayloadHash(ctx, hex.EncodeToString(sum[:]))
					}
					return next.HandleFinalize(ctx, in)
				}), "AWSChecksum:ComputeInputPayloadChecksum", middleware.Before)
		})
	}
}

// rewind makes a request's body ready to be sent again. The SDK rewinds
// between its own attempts, not between operations.
func rewind(in any) bool {
	var body io.Reader
	switch in := in.(type) {
	case *s3.PutObjectInput:
		body = in.Body
	case *s3.UploadPartInput:
		body = in.Body
	default:
		return true
	}
	seeker, ok := body.(io.Seeker)
	if !ok {
		return false
	}
	_, err := seeker.Seek(0, io.SeekStart)
	return err == nil
}

// sessionExpired tells whether new temporary credentials may help. A HEAD has
// no body to say why, so any 400 of one counts.
func sessionExpired(err error) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return false
	}
	switch api.ErrorCode() {
	case "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired":
		return true
	case "BadRequest":
		reply, ok := errors.AsType[*awshttp.ResponseError](err)
		return ok && reply.HTTPStatusCode() == http.StatusBadRequest
	}
	return false
}

// attempts watches the attempts of one operation, for whether one of them may
// have been applied although it failed: no reply arrived, or one that leaves
// it open.
type attempts struct{ lost atomic.Bool }

// Witness learns whether a request that writes may still be under way. Its zero
// value is usable, for one context.
type Witness struct{ lost atomic.Bool }

type witnessKey struct{}

// WithWitness is a context whose writes the witness sees.
func WithWitness(ctx context.Context, w *Witness) context.Context {
	return context.WithValue(ctx, witnessKey{}, w)
}

// Lost reports whether some request that writes was not answered: then the
// store may carry it out yet, until it refuses the signature's age.
func (w *Witness) Lost() bool { return w.lost.Load() }

// watch makes an operation report its attempts.
func (a *attempts) watch(o *s3.Options) {
	o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
		return stack.Finalize.Insert(middleware.FinalizeMiddlewareFunc("loadfleetAttempts",
			func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
				out, metadata, err := next.HandleFinalize(ctx, in)
				if err != nil && mayHaveBeenApplied(err) {
					a.lost.Store(true)
					if w, ok := ctx.Value(witnessKey{}).(*Witness); ok {
						w.lost.Store(true)
					}
				}
				return out, metadata, err
			}), "Retry", middleware.After)
	})
}

func mayHaveBeenApplied(err error) bool {
	if refusedCredentials(err) != nil {
		return false
	}
	reply, ok := errors.AsType[*awshttp.ResponseError](err)
	return !ok || reply.HTTPStatusCode() < 300 || reply.HTTPStatusCode() >= 500
}

// failure is the failure of an operation on an object.
func (s *Store) failure(ctx context.Context, op, bucket, key string, err error) error {
	if own, ok := errors.AsType[*Error](err); ok {
		return own
	}
	return failure(ctx, op, bucket, key, err)
}
