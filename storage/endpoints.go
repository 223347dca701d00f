package storage

import (
	"context"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/auth"
	smithyendpoints "github.com/aws/smithy-go/endpoints"
)

// resolvedEndpoints remembers where requests go. The SDK works its rules out
// anew for every request, which costs as much as the signature, and of one
// store they come to a handful of endpoints: one for each bucket.
type resolvedEndpoints struct {
	rules s3.EndpointResolverV2

	mu    sync.RWMutex
	known map[endpointParameters]smithyendpoints.Endpoint
}

// maxEndpoints bounds what is remembered.
const maxEndpoints = 1000

func newResolvedEndpoints() *resolvedEndpoints {
	return &resolvedEndpoints{rules: s3.NewDefaultEndpointResolverV2(), known: map[endpointParameters]smithyendpoints.Endpoint{}}
}

// endpointParameters are what the rules look at: all parameters but the key, the
// prefix and the source of a copy, by their values. An absent one is what its
// default is.
type endpointParameters struct {
	bucket, region, endpoint                                     string
	hasBucket, hasRegion, hasEndpoint                            bool
	fips, dualStack, pathStyle, accelerate, global, objectLambda bool
	noAccessPoints, noMultiRegion, arnRegion, hasARNRegion       bool
	expressControl, noExpressSession                             bool
}

func parametersOf(p *s3.EndpointParameters) endpointParameters {
	return endpointParameters{
		bucket: deref(p.Bucket), region: deref(p.Region), endpoint: deref(p.Endpoint),
		hasBucket: p.Bucket != nil, hasRegion: p.Region != nil, hasEndpoint: p.Endpoint != nil,
		fips: truth(p.UseFIPS), dualStack: truth(p.UseDualStack), pathStyle: truth(p.ForcePathStyle), accelerate: truth(p.Accelerate),
		global: truth(p.UseGlobalEndpoint), objectLambda: truth(p.UseObjectLambdaEndpoint),
		noAccessPoints: truth(p.DisableAccessPoints), noMultiRegion: truth(p.DisableMultiRegionAccessPoints),
		arnRegion: truth(p.UseArnRegion), hasARNRegion: p.UseArnRegion != nil,
		expressControl: truth(p.UseS3ExpressControlEndpoint), noExpressSession: truth(p.DisableS3ExpressSessionAuth),
	}
}

func truth(p *bool) bool { return p != nil && *p }

// ResolveEndpoint implements s3.EndpointResolverV2.
func (r *resolvedEndpoints) ResolveEndpoint(ctx context.Context, p s3.EndpointParameters) (smithyendpoints.Endpoint, error) {
	of := parametersOf(&p)
	r.mu.RLock()
	known, ok := r.known[of]
	r.mu.RUnlock()
	if ok {
		return ownEndpoint(known), nil
	}
	found, err := r.rules.ResolveEndpoint(ctx, p)
	if err != nil {
		return found, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.known) >= maxEndpoints {
		clear(r.known)
	}
	r.known[of] = found
	return ownEndpoint(found), nil
}

// ownEndpoint is one that the SDK may write to, as it does for each request.
func ownEndpoint(e smithyendpoints.Endpoint) smithyendpoints.Endpoint {
	var own smithy.Properties
	own.SetAll(&e.Properties)
	if options, ok := auth.GetAuthOptions(&own); ok {
		copies := make([]*auth.Option, len(options))
		for i, o := range options {
			copies[i] = &auth.Option{SchemeID: o.SchemeID}
			copies[i].IdentityProperties.SetAll(&o.IdentityProperties)
			copies[i].SignerProperties.SetAll(&o.SignerProperties)
		}
		auth.SetAuthOptions(&own, copies)
	}
	return smithyendpoints.Endpoint{URI: e.URI, Headers: e.Headers.Clone(), Properties: own}
}
