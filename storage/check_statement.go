package storage

import (
	"cmp"
	"encoding/json"
	"strings"
)

// policyStatement is an IAM statement in the order people write it.
type policyStatement struct {
	Effect    string
	Principal map[string]string `json:",omitempty"`
	Action    []string
	Resource  []string                     `json:",omitempty"`
	Condition map[string]map[string]string `json:",omitempty"`
}

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
		return c.objects("WRITE_ACP", "s3:PutObjectAcl")
	case CauseDeniedList:
		return c.list()
	case CauseKMSDenied, CauseKMSDecrypt:
		return c.key("kms:GenerateDataKey", "kms:Decrypt")
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

func marshal(where string, v any) *Statement {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil // not for statements: they are strings
	}
	return &Statement{Where: where, Add: json.RawMessage(strings.TrimSpace(b.String()))}
}

func (c *checker) objects(grant string, actions ...string) *Statement {
	return c.onBucket(grant, policyStatement{
		Effect: "Allow", Action: actions, Resource: []string{c.bucketARN() + "/" + literally(c.cfg.Prefix) + "*"},
	})
}

func (c *checker) list() *Statement {
	s := policyStatement{Effect: "Allow", Action: []string{"s3:ListBucket"}, Resource: []string{c.bucketARN()}}
	if c.cfg.Prefix != "" {
		s.Condition = map[string]map[string]string{"StringLike": {"s3:prefix": literally(c.cfg.Prefix) + "*"}}
	}
	return c.onBucket("READ", s)
}

// onBucket puts a statement where the connection option has its permissions.
func (c *checker) onBucket(grant string, s policyStatement) *Statement {
	a := c.store.access
	switch a.ConnectionOption {
	case optionSharedAccount:
		s.Principal = map[string]string{"AWS": c.principal()}
		return marshal("the policy of the bucket "+c.cfg.Bucket, s)
	case optionCanonicalID:
		type grantee struct{ Type, ID string }
		return marshal("the Grants of the ACL of the bucket "+c.cfg.Bucket, struct {
			Grantee    grantee
			Permission string
		}{grantee{"CanonicalUser", cmp.Or(c.cfg.CanonicalID, unknownCanonical)}, grant})
	case optionRoleChain:
		return marshal("the permissions of the role "+a.AssumeRoleARN, s)
	}
	return marshal("the permissions of "+cmp.Or(c.report.Caller, "the user with the access key "+a.AccessKeyID), s)
}

func (c *checker) key(actions ...string) *Statement {
	key := cmp.Or(c.store.access.EncryptionKey, "aws/s3")
	return marshal("the policy of the KMS key "+key, policyStatement{
		Effect: "Allow", Principal: map[string]string{"AWS": c.principal()}, Action: actions, Resource: []string{"*"},
	})
}

func (c *checker) trust(role, who, externalID string) *Statement {
	s := policyStatement{Effect: "Allow", Principal: map[string]string{"AWS": cmp.Or(who, unknownPrincipal)}, Action: []string{"sts:AssumeRole"}}
	if externalID != "" {
		s.Condition = map[string]map[string]string{"StringEquals": {"sts:ExternalId": externalID}}
	}
	return marshal("the trust policy of the role "+role, s)
}

// principal is who signs the requests to the bucket.
func (c *checker) principal() string {
	return cmp.Or(c.cfg.Principal, c.store.access.AssumeRoleARN, c.report.Caller, unknownPrincipal)
}

func (c *checker) bucketARN() string {
	partition := "aws"
	switch {
	case strings.HasPrefix(c.store.access.Region, "cn-"):
		partition = "aws-cn"
	case strings.HasPrefix(c.store.access.Region, "us-gov-"):
		partition = "aws-us-gov"
	}
	return "arn:" + partition + ":s3:::" + c.cfg.Bucket
}

// literally writes text so that IAM takes each character for itself.
func literally(text string) string {
	return strings.NewReplacer("*", "${*}", "?", "${?}", "$", "${$}").Replace(text)
}
