package storage

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// CheckConfig says where a check looks.
type CheckConfig struct {
	Bucket string

	// Prefix is the constant leading part of the destination's keys: the
	// check writes under it and nowhere else.
	Prefix string

	// Principal is the ARN that statements name as ours when the store does
	// not tell it; optional.
	Principal string

	// CanonicalID is ours in S3's ACLs; optional.
	CanonicalID string
}

// checkName begins the last segment of every key a check writes. Hive, Spark,
// Athena and their kin ignore files whose name begins with a dot.
const checkName = ".loadfleet-check-"

// toleratedSkew is how far clocks may differ before it is worth a word; S3
// refuses at 15 minutes.
const toleratedSkew = 5 * time.Minute

// Check tries, step by step, all that loads do to the bucket, under the real
// prefix and with the real headers, and says of each step that fails why and
// what to add where. It takes some twenty small requests.
//
// It removes what it put, also when steps fail or ctx ends in the middle: for
// that it takes up to twice Config.AbortTimeout of its own. What it could not
// remove is in Report.Left. It writes one key at a time, which no reader takes
// for a load's file.
func (s *Store) Check(ctx context.Context, cfg CheckConfig) *Report {
	c := newChecker(s, cfg)
	if s.access.ConnectionOption == optionRoleChain {
		c.assumeRoles(ctx)
	}
	c.look(ctx)
	c.write(ctx)
	c.report.Interrupted = ctx.Err() != nil
	c.clean(ctx)
	return c.report
}

// checker is one run of a check.
type checker struct {
	store    *Store
	cfg      CheckConfig
	report   *Report
	object   Object
	identity string // ARN that the process's own credentials have, of a role chain
	blocked  string // why no further probe makes sense

	first  error           // of the first request to the bucket
	result map[string]bool // "list", "put", "get", "delete": true when allowed

	stored   Stored // the object, when there is one
	present  presence
	versions []string // that a bucket which keeps versions made of it
	uploads  []string // begun and not known to be gone
}

// presence is whether our object is in the bucket.
type presence int

const (
	isAbsent presence = iota
	mayBePresent
	isPresent
)

func newChecker(s *Store, cfg CheckConfig) *checker {
	id := strings.ToLower(rand.Text())[:16]
	// The key's last segment must begin with the dot, and the key with the
	// prefix, because permissions may end there.
	prefix := cfg.Prefix
	if prefix != "" && !strings.HasSuffix(prefix, "/") {
		prefix += "/"
	}
	body := []byte("This object is loadfleet's check of the connection " + id + ". It may be deleted.\n")
	sum := sha256.Sum256(body)
	return &checker{
		store: s, cfg: cfg, report: &Report{Bucket: cfg.Bucket, Prefix: cfg.Prefix}, result: map[string]bool{},
		object: Object{
			Key: prefix + checkName + id, ContentType: "text/plain", Body: strings.NewReader(string(body)), Size: int64(len(body)), SHA256: sum,
			Meta: Meta{Load: "check-" + id, Extraction: "check", SHA256: fmt.Sprintf("%x", sum)},
		},
	}
}

// look asks for the first keys under the prefix: the reply tells of the
// endpoint, the credentials, the region, the bucket and the permission to list.
func (c *checker) look(ctx context.Context) {
	c.probe(ctx, ProbeEndpoint, c.endpoint)
	if c.store.access.ConnectionOption != optionRoleChain {
		c.probe(ctx, ProbeCredentials, c.credentials)
	}
	blocked := c.blocked
	if c.first != nil {
		c.blocked = "" // a wrong clock explains much of what blocks
	}
	c.probe(ctx, ProbeClock, c.clock)
	c.blocked = blocked
	c.probe(ctx, ProbeRegion, c.region)
	c.probe(ctx, ProbeBucket, c.bucket)
	c.probe(ctx, ProbeList, func(_ context.Context, p *Probe) error {
		c.result["list"] = c.first == nil
		if c.first == nil {
			p.Note = "under " + c.place()
		}
		return c.first
	})
}

func (c *checker) place() string { return "s3://" + c.cfg.Bucket + "/" + c.cfg.Prefix }

func (c *checker) listOnce(ctx context.Context, owner *string) error {
	one := int32(1)
	_, err := call(ctx, c.store, &s3.ListObjectsV2Input{
		Bucket: &c.cfg.Bucket, Prefix: optional(c.cfg.Prefix), MaxKeys: &one, ExpectedBucketOwner: owner,
	}, c.store.client.ListObjectsV2)
	if err != nil {
		return c.store.failure(ctx, "list", c.cfg.Bucket, c.cfg.Prefix, err)
	}
	return nil
}

func (c *checker) endpoint(ctx context.Context, p *Probe) error {
	c.first = c.listOnce(ctx, c.store.owner())
	var reply *Error
	if errors.As(c.first, &reply) && reply.Status == 0 {
		c.blocked = "the store does not answer"
		return c.first
	}
	if p.Note = c.store.access.Endpoint; p.Note == "" {
		p.Note = "AWS"
	}
	return nil
}

func (c *checker) credentials(ctx context.Context, p *Probe) error {
	if errors.Is(c.first, ErrCredentials) {
		c.blocked = "the credentials are refused"
		return c.first
	}
	// STS tells who we are; a store of its own endpoint rarely has one.
	a := c.store.access
	if a.Endpoint == "" || a.Endpoint == c.store.cfg.STSEndpoint {
		if arn, err := identify(ctx, c.store.sts); err == nil {
			c.report.Caller, p.Note = arn, arn
			return nil
		}
	}
	p.Note = "the store knows the key " + a.AccessKeyID
	return nil
}

func (c *checker) clock(_ context.Context, p *Probe) error {
	skew, ok := c.store.observer.skew()
	switch {
	case !ok:
		return p.skip("the store does not tell its time")
	case skew.Abs() > toleratedSkew && errors.Is(c.first, ErrCredentials), errors.Is(c.first, ErrUnavailable) && skew.Abs() > toleratedSkew:
		return c.skewed(skew, c.first)
	case skew.Abs() > toleratedSkew:
		return &warning{c.skewed(skew, nil)}
	}
	p.Note = fmt.Sprintf("%s from the store's", skew.Abs())
	return nil
}

func (c *checker) skewed(skew time.Duration, err error) error {
	side := "ahead"
	if skew < 0 {
		side = "behind"
	}
	return &found{cause: CauseClockSkew, there: fmt.Sprintf(" It is %s %s.", skew.Abs(), side), err: err}
}

func (c *checker) region(ctx context.Context, p *Probe) error {
	ping := c.store.Ping(ctx, c.cfg.Bucket)
	there := c.store.observer.bucketRegion()
	refused := errors.Is(c.first, ErrRegion) || errors.Is(ping, ErrRegion)
	if refused || (there != "" && there != c.store.access.Region) {
		c.blocked = "the region is wrong"
		err := c.first
		if !errors.Is(err, ErrRegion) {
			err = ping
		}
		known := &found{cause: CauseWrongRegion, err: err}
		if there != "" {
			known.there = " It is in " + there + "."
		}
		if err == nil {
			known.err = &Error{Op: "ping", Bucket: c.cfg.Bucket, Err: ErrRegion}
		}
		return known
	}
	p.Note = c.store.access.Region
	return nil
}

func (c *checker) bucket(ctx context.Context, p *Probe) error {
	p.Note = c.cfg.Bucket
	switch owner := c.store.owner(); {
	case errors.Is(c.first, ErrNoBucket):
		c.blocked = "there is no such bucket"
		return c.first
	case errors.Is(c.first, ErrDenied) && owner != nil && c.listOnce(ctx, nil) == nil:
		c.blocked = "the bucket is somebody else's"
		return &found{cause: CauseForeignBucket, err: c.first}
	case errors.Is(c.first, ErrDenied):
		p.Note += " is there"
	case c.first == nil && owner != nil:
		p.Note += " of " + *owner
	}
	return nil
}

// notSupported tells a store that does not know a request from one that
// refuses it.
func notSupported(err error) bool {
	reply, ok := errors.AsType[*Error](err)
	return ok && (reply.Status == http.StatusNotImplemented || reply.Code == "NotImplemented")
}
