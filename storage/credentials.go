package storage

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/logging"
)

// The connection options (SPEC 3) as destinations spell them.
const (
	optionAccessKeys    = "access_keys"
	optionSharedAccount = "shared_account"
	optionCanonicalID   = "canonical_id"
	optionRoleChain     = "role_chain"

	// optionOwn signs with what the process itself has: for the fleet's own
	// stage, never for a customer's bucket.
	optionOwn = "own"
)

const (
	// chainedSession is the longest session STS gives to a role that was
	// assumed with another role's session.
	chainedSession = time.Hour

	// expiryWindow is how long before its end a session is replaced, so that
	// a long upload does not run out of it.
	expiryWindow = 5 * time.Minute
)

// credentialChain provides a destination's credentials: its keys, or the
// sessions of one or two roles, each from the one before it.
type credentialChain struct {
	last   aws.CredentialsProvider
	caches []*aws.CredentialsCache // every session on the way, first hop first
	own    aws.CredentialsProvider // the process's, of a role chain only
	hops   []hop                   // the roles, in order
}

// hop is one role of the chain.
type hop struct {
	role        string
	externalID  string
	from        *sts.Client             // signs with what the hop starts from
	credentials aws.CredentialsProvider // what it gives
}

// credentialError is a link of the chain that gave nothing.
type credentialError struct {
	step string
	role string // ARN, when a role was to be assumed
	own  bool   // the process's own credentials, not the customer's side
	err  error
}

func (e *credentialError) Error() string { return e.step + ": " + e.err.Error() }
func (e *credentialError) Unwrap() error { return e.err }

// refusedCredentials is the first link that failed: errors of later links
// wrap it. Nil when credentials are not what went wrong.
func refusedCredentials(err error) *credentialError {
	var first *credentialError
	for {
		e, ok := errors.AsType[*credentialError](err)
		if !ok {
			return first
		}
		first, err = e, e.err
	}
}

// link names the errors of one provider.
type link struct {
	aws.CredentialsProvider
	step string
	role string
	own  bool
}

func (l link) Retrieve(ctx context.Context) (aws.Credentials, error) {
	c, err := l.CredentialsProvider.Retrieve(ctx)
	if err != nil {
		return c, &credentialError{l.step, l.role, l.own, err}
	}
	return c, nil
}

func newCredentialChain(a Access, cfg Config, base aws.Config, client *http.Client) (*credentialChain, error) {
	switch a.ConnectionOption {
	case optionAccessKeys, optionSharedAccount, optionCanonicalID:
		if a.AccessKeyID == "" || a.SecretAccessKey == "" {
			return nil, fmt.Errorf("%w: %s needs an access key id and a secret access key", ErrCredentials, a.ConnectionOption)
		}
		return &credentialChain{last: credentials.NewStaticCredentialsProvider(a.AccessKeyID, a.SecretAccessKey, "")}, nil
	case optionOwn:
		chain := &credentialChain{last: link{base.Credentials, "find own credentials", "", true}}
		if cache, ok := base.Credentials.(*aws.CredentialsCache); ok {
			chain.caches = append(chain.caches, cache)
		}
		return chain, nil
	case optionRoleChain:
		if a.AssumeRoleARN == "" {
			return nil, fmt.Errorf("%w: %s needs the ARN of a role", ErrCredentials, a.ConnectionOption)
		}
	default:
		return nil, fmt.Errorf("%w: unknown connection option %q", ErrInvalid, a.ConnectionOption)
	}
	chain := &credentialChain{last: link{base.Credentials, "find own credentials", "", true}}
	chain.own = chain.last
	if cache, ok := base.Credentials.(*aws.CredentialsCache); ok {
		chain.caches = append(chain.caches, cache)
	}
	if cfg.FleetRoleARN != "" {
		chain.assume(a, cfg, client, cfg.FleetRoleARN, "")
	}
	// The external id belongs to the customer's role only.
	chain.assume(a, cfg, client, a.AssumeRoleARN, a.ExternalID)
	return chain, nil
}

// assume adds a role to the end of the chain.
func (c *credentialChain) assume(a Access, cfg Config, client *http.Client, role, externalID string) {
	from := newSTS(a, cfg, client, c.last)
	provider := stscreds.NewAssumeRoleProvider(from, role, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = sessionName(a.Destination)
		o.Duration = chainedSession
		if externalID != "" {
			o.ExternalID = &externalID
		}
	})
	cache := aws.NewCredentialsCache(link{provider, "assume role " + role, role, false}, func(o *aws.CredentialsCacheOptions) {
		o.ExpiryWindow = expiryWindow
	})
	c.caches = append(c.caches, cache)
	c.hops = append(c.hops, hop{role, externalID, from, cache})
	c.last = cache
}

func newSTS(a Access, cfg Config, client *http.Client, credentials aws.CredentialsProvider) *sts.Client {
	options := sts.Options{
		Region: a.Region, Credentials: credentials, HTTPClient: client, Retryer: newRetryer(cfg), Logger: logging.Nop{},
		AppID: appID,
	}
	if cfg.STSEndpoint != "" {
		options.BaseEndpoint = &cfg.STSEndpoint
	}
	return sts.New(options)
}

// Retrieve gives the credentials at the end of the chain.
func (c *credentialChain) Retrieve(ctx context.Context) (aws.Credentials, error) {
	return c.last.Retrieve(ctx)
}

// renew drops every session of the chain; false when there is none, so that
// asking again would give the same credentials.
func (c *credentialChain) renew() bool {
	for _, cache := range c.caches {
		cache.Invalidate()
	}
	return len(c.caches) > 0
}

// sessionName makes a role session name, which customers see in their audit
// trail, of a destination's id. It names no load: a session outlives many, and
// one each would be a call to STS each. The load is in the user agent of its
// requests ([forLoad]), which the same trail shows.
func sessionName(destination string) string {
	name := strings.Map(func(r rune) rune {
		if r < 0x80 && (r == '-' || r == '_' || r == '.' || r == '=' || r == '@' || r == ',' || r == '+' ||
			('0' <= r && r <= '9') || ('a' <= r && r <= 'z') || ('A' <= r && r <= 'Z')) {
			return r
		}
		return '-'
	}, "loadfleet-"+destination)
	return name[:min(len(name), 64)]
}
