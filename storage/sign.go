package storage

import (
	"context"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// Permit is asked right before each request of a write is signed, repetitions
// too. Its error ends the write: a worker whose load is no longer its own must
// not begin another request.
type Permit func() error

type (
	permitKey  struct{}
	decidedKey struct{}
)

// WithPermit is a context in which every request that writes asks first.
func WithPermit(ctx context.Context, p Permit) context.Context {
	return context.WithValue(ctx, permitKey{}, p)
}

// SignatureHolds is how long a store takes a signed request
// (https://docs.aws.amazon.com/AmazonS3/latest/API/RESTAuthentication.html).
const SignatureHolds = 15 * time.Minute

// writing is the context of a request that writes. It is signed as of the
// moment of the decision that it is based on, so that the store itself refuses
// it 15 minutes later: a process may have been stopped between its look and its
// write, and a request may wait in a network. A zero time is now.
func writing(ctx context.Context, decided time.Time) context.Context {
	return context.WithValue(ctx, decidedKey{}, decided)
}

// signer signs requests that write as of their decision, when they are permitted.
type signer struct{ next *v4.Signer }

func newSigner() *signer {
	// As the SDK's own for S3: keys are escaped once.
	return &signer{v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })}
}

// SignHTTP keeps what the SDK found out about the store's clock, which is in the
// time that it gives.
func (s *signer) SignHTTP(ctx context.Context, c aws.Credentials, r *http.Request, payloadHash, service, region string, at time.Time, options ...func(*v4.SignerOptions)) error {
	if decided, writes := ctx.Value(decidedKey{}).(time.Time); writes {
		if p, ok := ctx.Value(permitKey{}).(Permit); ok {
			if err := p(); err != nil {
				return err
			}
		}
		if !decided.IsZero() {
			at = at.Add(-elapsed(decided))
		}
	}
	return s.next.SignHTTP(ctx, c, r, payloadHash, service, region, at, options...)
}

// elapsed is how long ago t was, by the clock that says more: a machine that
// was suspended did not count the time, one whose clock was set back did.
func elapsed(t time.Time) time.Duration {
	now := time.Now()
	return max(now.Sub(t), now.Round(0).Sub(t.Round(0)), 0)
}
