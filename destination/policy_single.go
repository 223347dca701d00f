package destination

import "encoding/json"

// Target is where a destination's objects are, for the single statements that
// repair a policy which lacks something. They say what the statements of
// [Settings.Policy] say, without a Sid: in one policy no two may be the same.
type Target struct {
	Region   string
	Endpoint string // "" on AWS
	Bucket   string
	Prefix   string // of every key
	ACL      ACL    // that objects are given
}

func (p Target) scope() scope {
	return newScope(&Settings{Region: p.Region, Endpoint: p.Endpoint, Bucket: p.Bucket, ACL: p.ACL}, Fleet{}, p.Prefix)
}

// AllowObjects is the statement for actions on the objects. Without a principal
// it is one of the signer's own policy; so are the others.
func (p Target) AllowObjects(principal string, actions ...string) json.RawMessage {
	return allow("", actions...).on(p.scope().objects).json(principal)
}

// AllowACL is the statement for giving objects the ACL.
func (p Target) AllowACL(principal string) json.RawMessage {
	return p.scope().grant("").json(principal)
}

// AllowList is the statement for listing the objects.
func (p Target) AllowList(principal string) json.RawMessage {
	return p.scope().list("").json(principal)
}

// AllowKey is the statement of a KMS key's policy for encrypting the objects.
func (p Target) AllowKey(principal string) json.RawMessage {
	s := allow("", "kms:GenerateDataKey", "kms:Decrypt").on("*")
	if scope := p.scope(); scope.aws {
		s = scope.throughS3(s)
	}
	return s.json(principal)
}

// AllowAssume is the statement of a role's trust policy.
func AllowAssume(principal, externalID string) json.RawMessage {
	s := trust(principal, externalID)
	s.Sid = ""
	return s.json("")
}

// GrantACL is a grant to add to a bucket's ACL.
func GrantACL(canonicalID, permission string) json.RawMessage {
	return compactJSON(grant{grantee{canonicalID, "CanonicalUser"}, permission})
}

func (s statement) json(principal string) json.RawMessage {
	if principal != "" {
		s = s.to(principal)
	}
	return compactJSON(s)
}
