package storage

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
)

// opIdentify is the operation that [identify] is in its errors.
const opIdentify = "get caller identity"

// identify asks STS who the client's credentials belong to.
func identify(ctx context.Context, client *sts.Client) (string, error) {
	out, err := client.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", failure(ctx, opIdentify, "", "", err)
	}
	return deref(out.Arn), nil
}

// assumeRoles goes through the chain hop by hop.
func (c *checker) assumeRoles(ctx context.Context) {
	chain := c.store.credentials
	c.probe(ctx, ProbeOwnCredentials, func(ctx context.Context, p *Probe) error {
		if _, err := chain.own.Retrieve(ctx); err != nil {
			c.blocked = "the fleet has no credentials"
			return failure(ctx, "check", "", "", err)
		}
		arn, err := identify(ctx, chain.hops[0].from)
		if errors.Is(err, ErrCredentials) || errors.Is(err, ErrUnavailable) {
			c.blocked = "the fleet's own credentials do not work"
			return err
		}
		c.identity, p.Note = arn, arn
		return nil
	})
	for i, h := range chain.hops {
		name := ProbeFleetRole
		if i == len(chain.hops)-1 {
			name = ProbeCustomerRole
		}
		c.probe(ctx, name, func(ctx context.Context, p *Probe) error {
			if _, err := h.credentials.Retrieve(ctx); err != nil {
				c.blocked = "no role, no access"
				return failure(ctx, "check", "", "", err)
			}
			p.Note = h.role
			return nil
		})
	}
	last := chain.hops[len(chain.hops)-1]
	c.probe(ctx, ProbeExternalID, func(ctx context.Context, p *Probe) error { return c.withoutExternalID(ctx, p, last) })
	if c.blocked == "" && ctx.Err() == nil {
		c.report.Caller, _ = identify(ctx, c.store.sts) // for the report only
	}
}

// withoutExternalID tries to assume the role as somebody would who knows its
// ARN only.
func (c *checker) withoutExternalID(ctx context.Context, p *Probe, h hop) error {
	if h.externalID == "" {
		return p.skip("the destination has none")
	}
	name, shortest := sessionName(c.store.access.Destination), int32(900)
	_, err := h.from.AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: &h.role, RoleSessionName: &name, DurationSeconds: &shortest})
	switch api, _ := errors.AsType[smithy.APIError](err); {
	case err == nil:
		return &warning{&found{cause: CauseExternalIDIgnored, err: &Error{Op: "assume role without external id", Role: h.role, Err: ErrDenied}}}
	case api != nil && errors.Is(meaning(api.ErrorCode(), 0), ErrDenied):
		p.Note = "refused without it, as it should be"
		return nil
	default:
		return p.skip("could not be tried: " + failure(ctx, "assume role without external id", "", "", err).Error())
	}
}
