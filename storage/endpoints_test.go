package storage

import (
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/auth"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// TestEndpointsAreTheSDKs asks for the endpoints of many kinds of bucket, twice,
// from many goroutines that write to what they get: it is always what the SDK's
// rules say, whatever the key.
func TestEndpointsAreTheSDKs(t *testing.T) {
	t.Parallel()
	r := newResolvedEndpoints()
	no, yes := false, true
	text := func(s string) *string { return &s }
	var all []s3.EndpointParameters
	for _, bucket := range []*string{nil, text("acme"), text("acme.data"), text("acme--usw2-az1--x-s3"), text("arn:aws:s3:eu-west-1:111111111111:accesspoint/a"), text("UPPER_case")} {
		for _, region := range []*string{nil, text("eu-central-1"), text("us-east-1"), text("cn-north-1")} {
			for _, endpoint := range []*string{nil, text("http://127.0.0.1:9000"), text("https://s3.example.com/base")} {
				for _, flag := range []*bool{nil, &no, &yes} {
					for _, set := range []func(*s3.EndpointParameters){
						func(p *s3.EndpointParameters) { p.ForcePathStyle = flag },
						func(p *s3.EndpointParameters) { p.UseFIPS = flag },
						func(p *s3.EndpointParameters) { p.UseDualStack = flag },
						func(p *s3.EndpointParameters) { p.Accelerate = flag },
						func(p *s3.EndpointParameters) { p.UseGlobalEndpoint = flag },
						func(p *s3.EndpointParameters) { p.UseObjectLambdaEndpoint = flag },
						func(p *s3.EndpointParameters) { p.DisableAccessPoints = flag },
						func(p *s3.EndpointParameters) { p.DisableMultiRegionAccessPoints = flag },
						func(p *s3.EndpointParameters) { p.UseArnRegion = flag },
						func(p *s3.EndpointParameters) { p.UseS3ExpressControlEndpoint = flag },
						func(p *s3.EndpointParameters) { p.DisableS3ExpressSessionAuth = flag },
					} {
						p := s3.EndpointParameters{Bucket: bucket, Region: region, Endpoint: endpoint}
						set(&p)
						all = append(all, p.WithDefaults())
					}
				}
			}
		}
	}
	rules := s3.NewDefaultEndpointResolverV2()
	check := func(key string) {
		for _, p := range all {
			p.Key, p.Prefix, p.CopySource = &key, &key, text("bucket/"+key)
			want, wantErr := rules.ResolveEndpoint(t.Context(), p)
			got, err := r.ResolveEndpoint(t.Context(), p)
			if (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
				t.Errorf("%+v: got error %v, want %v", parametersOf(&p), err, wantErr)
				continue
			}
			if err != nil {
				continue
			}
			if got.URI != want.URI {
				t.Errorf("%+v: got %s, want %s", parametersOf(&p), &got.URI, &want.URI)
			}
			if diff := cmp.Diff(want.Headers, got.Headers, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%+v: headers (-want +got):\n%s", parametersOf(&p), diff)
			}
			wantOptions, _ := auth.GetAuthOptions(&want.Properties)
			options, _ := auth.GetAuthOptions(&got.Properties)
			if len(options) != len(wantOptions) || len(got.Properties.Values()) != len(want.Properties.Values()) {
				t.Errorf("%+v: got properties %v, want %v", parametersOf(&p), got.Properties.Values(), want.Properties.Values())
				continue
			}
			for i, o := range options {
				if diff := cmp.Diff(wantOptions[i].SignerProperties.Values(), o.SignerProperties.Values()); o.SchemeID != wantOptions[i].SchemeID || diff != "" {
					t.Errorf("%+v: %s, want %s (-want +got):\n%s", parametersOf(&p), o.SchemeID, wantOptions[i].SchemeID, diff)
				}
				smithyhttp.SetSigV4SigningName(&o.SignerProperties, "spoiled")
			}
			got.Properties.Set("spoiled", true)
		}
	}
	check("first")
	var group sync.WaitGroup
	for _, key := range []string{"a/b", "arn:aws:s3:::x", "\u00fcml/\u00e4ut.csv", ""} {
		group.Go(func() { check(key) })
	}
	group.Wait()
}
