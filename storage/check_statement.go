package storage

import (
	"cmp"
	"encoding/json"

	"github.com/loadfleet/loadfleet/destination"
)

// statement is what to add against a cause; nil when no statement helps.
func (c *checker) statement(cause CauseID) *Statement {
	switch cause {
	case CauseDeniedPut:
		return c.objects("WRITE", "s3:PutObject")
	case CauseDeniedGet:
		return c.objects("READ", "s3:GetObject")
	case CauseDeniedDelete:
		return c.objects("WRITE", "s3:DeleteObject")
	case CauseDeniedAbort:
		return c.objects("WRITE", "s3:AbortMultipartUpload")
	case CauseDeniedCopy:
		return c.objects("READ", "s3:GetObject", "s3:PutObject")
	case CauseDeniedACL:
		return c.onBucket("WRITE_ACP", c.target().AllowACL(c.admitted()))
	case CauseDeniedList:
		return c.onBucket("READ", c.target().AllowList(c.admitted()))
	case CauseKMSDenied, CauseKMSDecrypt:
		key := cmp.Or(c.store.access.EncryptionKey, "aws/s3")
		return &Statement{Where: "the policy of the KMS key " + key, Add: c.target().AllowKey(c.principal())}
	case CauseRoleDenied:
		return c.trust(c.store.cfg.FleetRoleARN, c.identity, "")
	case CauseNoExternalID, CauseExternalID, CauseExternalIDIgnored:
		return c.trust(c.store.access.AssumeRoleARN, c.trusted(), c.store.access.ExternalID)
	}
	return nil
}

// trusted is who the customer's role must admit.
func (c *checker) trusted() string {
	if role := c.store.cfg.FleetRoleARN; role != "" {
		return role
	}
	return c.identity
}

// The words that stand for what nobody told us.
const (
	unknownPrincipal = "ARN-OF-THE-FLEET"
	unknownCanonical = "CANONICAL-ID-OF-THE-FLEET"
)

// target is what the statements are about.
func (c *checker) target() destination.Target {
	a := c.store.access
	return destination.Target{Region: a.Region, Endpoint: a.Endpoint, Bucket: c.cfg.Bucket, Prefix: c.cfg.Prefix, ACL: destination.ACL(c.store.acl())}
}

func (c *checker) objects(grant string, actions ...string) *Statement {
	return c.onBucket(grant, c.target().AllowObjects(c.admitted(), actions...))
}

// onBucket puts a statement where the connection option has its permissions.
func (c *checker) onBucket(grant string, statement json.RawMessage) *Statement {
	a := c.store.access
	switch a.ConnectionOption {
	case optionSharedAccount:
		return &Statement{Where: "the policy of the bucket " + c.cfg.Bucket, Add: statement}
	case optionCanonicalID:
		return &Statement{Where: "the Grants of the ACL of the bucket " + c.cfg.Bucket, Add: destination.GrantACL(cmp.Or(c.cfg.CanonicalID, unknownCanonical), grant)}
	case optionRoleChain:
		return &Statement{Where: "the permissions of the role " + a.AssumeRoleARN, Add: statement}
	}
	return &Statement{Where: "the permissions of " + cmp.Or(c.report.Caller, "the user with the access key "+a.AccessKeyID), Add: statement}
}

// admitted is whom a bucket's policy names; policies of our own name nobody.
func (c *checker) admitted() string {
	if c.store.access.ConnectionOption == optionSharedAccount {
		return c.principal()
	}
	return ""
}

func (c *checker) trust(role, who, externalID string) *Statement {
	return &Statement{Where: "the trust policy of the role " + role, Add: destination.AllowAssume(cmp.Or(who, unknownPrincipal), externalID)}
}

// principal is who signs the requests to the bucket.
func (c *checker) principal() string {
	return cmp.Or(c.cfg.Principal, c.store.access.AssumeRoleARN, c.report.Caller, unknownPrincipal)
}
