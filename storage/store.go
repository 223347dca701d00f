package storage

import (
	"cmp"
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/logging"
)

// Access is what a destination says about reaching its buckets. Formatting it
// shows no secret.
type Access struct {
	Destination      string // id; names the session of an assumed role
	ConnectionOption string // access_keys, shared_account, canonical_id or role_chain
	AccessKeyID      string
	SecretAccessKey  string
	AssumeRoleARN    string // role_chain only
	ExternalID       string // role_chain only, optional
	Region           string // "us-east-1" when empty
	Endpoint         string // of an S3-compatible store; empty means AWS
	PathStyle        bool
	BucketOwner      string // account id, expected of every bucket; optional
	Encryption       string // sse-s3, sse-kms, sse-kms-customer or none
	EncryptionKey    string // sse-kms-customer only
	BucketKey        bool
	ACL              string  // canned ACL of every object; "" and "none" send none
	Checksum         bool    // false for stores that break on request checksums
	Unconditional    bool    // for stores without conditional writes: conditions are not sent, and whoever writes must hold a lease on the key
	MaxConcurrency   int     // requests at a time; 0 leaves it to Config
	RateLimit        float64 // requests a second; 0 is no limit
}

// String is the access without its secret.
func (a Access) String() string {
	return fmt.Sprintf("%s of %s in %s", a.ConnectionOption, a.Destination, a.Region)
}

// Format prints the same for every verb, so that %+v and %#v tell no secret.
func (a Access) Format(f fmt.State, _ rune) { fmt.Fprint(f, a.String()) }

// LogValue is String.
func (a Access) LogValue() slog.Value { return slog.StringValue(a.String()) }

// MarshalText is String, so that no encoder tells a secret either.
func (a Access) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// Config is what the process adds to every store. The zero value is usable.
type Config struct {
	PartSize           int64 // smallest part of a multipart upload; 8 MiB when 0
	MultipartThreshold int64 // larger objects go in parts; 16 MiB when 0
	PartConcurrency    int   // parts of one object at a time; 4 when 0
	Connections        int   // idle connections kept per store; 16 when 0

	ConnectTimeout time.Duration // 5 s when 0
	ReplyTimeout   time.Duration // from the request's last byte to the reply's first; 1 min when 0
	AbortTimeout   time.Duration // for cleaning up after a failed upload; 15 s when 0
	RetryBackoff   time.Duration // longest pause between the SDK's attempts; 3 s when 0

	// Observe hears of every request that was sent, repetitions too; nil: nobody.
	Observe func(Request)

	FleetRoleARN string         // assumed before a customer's role; optional
	STSEndpoint  string         // instead of AWS's own
	RootCAs      *x509.CertPool // instead of AWS_CA_BUNDLE and the system's
	Roots        *Roots         // AWS_CA_BUNDLE, for many stores; nil: this one reads it for itself
}

// The limits that S3 sets.
const (
	MinPartSize  = 5 << 20
	MaxParts     = 10_000
	MaxSinglePut = 5 << 30 // larger objects must go in parts, and cannot be copied
)

// appID is what the user agent of every request says, as app/loadfleet.
const appID = "loadfleet"

// sdkAttempts is how often the SDK sends one request. Longer patience is the
// queue's.
const sdkAttempts = 3

func (c Config) withDefaults(a Access) Config {
	c.PartSize = max(cmp.Or(c.PartSize, 8<<20), MinPartSize)
	c.MultipartThreshold = min(cmp.Or(c.MultipartThreshold, 16<<20), MaxSinglePut)
	c.PartConcurrency = cmp.Or(c.PartConcurrency, 4)
	c.Connections = max(cmp.Or(c.Connections, 16), a.MaxConcurrency)
	if a.MaxConcurrency > 0 {
		c.PartConcurrency = min(c.PartConcurrency, a.MaxConcurrency)
	}
	c.ConnectTimeout = cmp.Or(c.ConnectTimeout, 5*time.Second)
	c.ReplyTimeout = cmp.Or(c.ReplyTimeout, time.Minute)
	c.AbortTimeout = cmp.Or(c.AbortTimeout, 15*time.Second)
	c.RetryBackoff = cmp.Or(c.RetryBackoff, 3*time.Second)
	return c
}

// Store reads and writes the buckets of one destination. It is safe for
// concurrent use; Close it when the destination changes or goes.
type Store struct {
	client      *s3.Client
	sts         *sts.Client // signs with the destination's credentials
	credentials *credentialChain
	transport   *http.Transport
	observer    *observer
	cfg         Config
	access      Access
	encryption  Encryption // asked of every object
}

// Open prepares a store. It makes no request: wrong credentials show with the
// first call.
func Open(ctx context.Context, a Access, cfg Config) (*Store, error) {
	cfg = cfg.withDefaults(a)
	own := a.ConnectionOption == optionOwn
	if !own {
		a.Region = cmp.Or(a.Region, "us-east-1")
	}
	asked, err := askedEncryption(a)
	if err != nil {
		return nil, &Error{Op: "open", Err: err}
	}
	base, transport, err := loadProcess(ctx, a, cfg)
	if err != nil {
		return nil, &Error{Op: "open", Err: fmt.Errorf("%w: %w", ErrCredentials, err)}
	}
	if own {
		a.Region = cmp.Or(a.Region, base.Region, "us-east-1")
		if base.BaseEndpoint != nil && a.Endpoint == "" {
			a.Endpoint, a.PathStyle = *base.BaseEndpoint, true
		}
	}
	observer := &observer{next: newThrottle(transport, a.RateLimit), destination: a.Destination, tell: cfg.Observe}
	client := &http.Client{Transport: observer, CheckRedirect: followSameMethod}
	credentials, err := newCredentialChain(a, cfg, base, client)
	if err != nil {
		return nil, &Error{Op: "open", Err: err}
	}
	options := s3.Options{
		Region: a.Region, Credentials: credentials, HTTPClient: client, UsePathStyle: a.PathStyle,
		Retryer: newRetryer(cfg), Logger: logging.Nop{}, AppID: appID, HTTPSignerV4: newSigner(), EndpointResolverV2: newResolvedEndpoints(),
		// Not the default of a client built by hand: without it an upload
		// over TLS carries neither a checksum nor a payload hash.
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenSupported,
	}
	if !a.Checksum {
		withoutChecksums(&options)
	}
	if a.Endpoint != "" {
		options.BaseEndpoint = &a.Endpoint
	}
	return &Store{
		client: s3.New(options), sts: newSTS(a, cfg, client, credentials), credentials: credentials, transport: transport, observer: observer,
		cfg: cfg, access: a, encryption: asked,
	}, nil
}

func withoutChecksums(o *s3.Options) {
	o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
	o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
}

// plain reports whether requests go over plain HTTP.
func (s *Store) plain() bool { return strings.HasPrefix(s.access.Endpoint, "http://") }

// Close releases idle connections. Calls under way are not disturbed.
func (s *Store) Close() { s.transport.CloseIdleConnections() }

func newRetryer(cfg Config) aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = sdkAttempts
		o.MaxBackoff = cfg.RetryBackoff
	})
}

// loadProcess reads what the process's environment contributes: the CA bundle
// always, the SDK's configuration only where the process's own credentials are
// used. A destination with its own keys must not be bent by a profile or endpoint
// that happens to be configured on the host.
func loadProcess(ctx context.Context, a Access, cfg Config) (aws.Config, *http.Transport, error) {
	roots := cfg.RootCAs
	if roots == nil {
		var err error
		if roots, err = cmp.Or(cfg.Roots, &Roots{}).get(); err != nil {
			return aws.Config{}, nil, err
		}
	}
	builder := awshttp.NewBuildableClient().
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = cfg.ConnectTimeout }).
		WithTransportOptions(func(t *http.Transport) {
			t.MaxIdleConns = 0
			t.MaxIdleConnsPerHost = cfg.Connections
			t.TLSHandshakeTimeout = cfg.ConnectTimeout
			t.ResponseHeaderTimeout = cfg.ReplyTimeout
		})
	var base aws.Config
	if a.ConnectionOption == optionRoleChain || a.ConnectionOption == optionOwn {
		options := []func(*config.LoadOptions) error{config.WithHTTPClient(builder)}
		if a.Region != "" {
			options = append(options, config.WithRegion(a.Region))
		}
		var err error
		if base, err = config.LoadDefaultConfig(ctx, options...); err != nil {
			return aws.Config{}, nil, fmt.Errorf("load process configuration: %w", err)
		}
		if built, ok := base.HTTPClient.(*awshttp.BuildableClient); ok {
			builder = built
		}
	}
	// A transport of our own, because the builder's cannot be closed.
	transport := builder.GetTransport()
	transport.DialContext = pooled(transport.DialContext)
	if roots != nil {
		transport.TLSClientConfig.RootCAs = roots
	}
	return base, transport, nil
}

// followSameMethod follows only the redirects that keep method and body.
func followSameMethod(r *http.Request, _ []*http.Request) error {
	if r.Response != nil && (r.Response.StatusCode == http.StatusTemporaryRedirect || r.Response.StatusCode == http.StatusPermanentRedirect) {
		return nil
	}
	return http.ErrUseLastResponse
}

// acl is the canned ACL of an upload; the zero value sends no header.
func (s *Store) acl() types.ObjectCannedACL {
	if s.access.ACL == "none" {
		return ""
	}
	return types.ObjectCannedACL(s.access.ACL)
}

// owner is the expected bucket owner of every call; nil when not set.
func (s *Store) owner() *string {
	if s.access.BucketOwner == "" {
		return nil
	}
	return &s.access.BucketOwner
}
