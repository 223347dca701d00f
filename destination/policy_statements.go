package destination

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
)

// policyVersion is the language in which ${*} and the like are read as
// characters; in the older one they would be text.
const policyVersion = "2012-10-17"

// policyDocument is an IAM, bucket or trust policy.
type policyDocument struct {
	Version   string
	Statement []statement
}

// statement is one of a policy's. Only Allow is ever written: what is not
// allowed is denied, and a Deny in a customer's bucket would hit the customer.
type statement struct {
	Sid       string `json:",omitempty"`
	Effect    string
	Principal *principal `json:",omitempty"` // of bucket, key and trust policies
	Action    values
	Resource  values     `json:",omitempty"` // of all but trust policies
	Condition conditions `json:",omitempty"`
}

type principal struct{ AWS string }

// conditions are operator, key, values; all must hold, and any of the values.
type conditions map[string]map[string]values

// values are written as AWS writes them: one alone, several as a list.
type values []string

// MarshalJSON implements [json.Marshaler].
func (v values) MarshalJSON() ([]byte, error) {
	if len(v) == 1 {
		return json.Marshal(v[0])
	}
	return json.Marshal([]string(v))
}

func allow(sid string, actions ...string) statement {
	return statement{Sid: sid, Effect: "Allow", Action: actions}
}

func (s statement) on(resources ...string) statement { s.Resource = resources; return s }

func (s statement) to(who string) statement { s.Principal = &principal{AWS: who}; return s }

func (s statement) when(operator, key string, wanted ...string) statement {
	added := conditions{}
	for o, keys := range s.Condition {
		added[o] = map[string]values{}
		for k, v := range keys {
			added[o][k] = v
		}
	}
	if added[operator] == nil {
		added[operator] = map[string]values{}
	}
	added[operator][key] = wanted
	s.Condition = added
	return s
}

// scope is what the statements of a destination are about.
type scope struct {
	aws       bool // false: a store that speaks S3 but has no KMS, ViaService and the like
	id        string
	partition string
	region    string
	bucket    string // ARN
	prefix    string // of every key, as text
	objects   string // ARN pattern of the objects under it
	acl       ACL    // "" when no header is sent
	sse       Encryption
	key       string // encryption_key
	keyHome   string // the account that a key without ARN is looked up in, "*" when not known

	bucketName, roleName, rolePath string // as Terraform and CloudFormation ask for them
}

func newScope(s *Settings, f Fleet, prefix string) scope {
	p := scope{
		aws: s.Endpoint == "", id: s.ID, partition: f.partition(s), region: s.Region, prefix: prefix,
		acl: s.ACL, sse: s.Encryption, key: s.EncryptionKey, keyHome: "*",
	}
	if p.acl == NoACL {
		p.acl = ""
	}
	if s.ConnectionOption == RoleChain {
		p.keyHome = accountOf(s.AssumeRoleARN)
		p.roleName, p.rolePath = baseName(resourceOf(s.AssumeRoleARN)), rolePath(s.AssumeRoleARN)
	}
	p.bucketName = s.Bucket
	p.bucket = "arn:" + p.partition + ":s3:::" + s.Bucket
	p.objects = p.bucket + "/" + literally(prefix) + "*"
	return p
}

// literally writes text so that IAM takes each character of it for itself: * and
// ? are patterns in resources and conditions, and ${ begins a variable.
func literally(text string) string {
	return strings.NewReplacer("*", "${*}", "?", "${?}", "$", "${$}").Replace(text)
}

// identity are the statements of a policy that hangs on the user or role that signs.
//
// The actions and the calls that need them:
//
//	s3:PutObject             PutObject, CreateMultipartUpload, UploadPart,
//	                         CompleteMultipartUpload, CopyObject (onto itself, when
//	                         only the metadata changes)
//	s3:GetObject             HeadObject, GetObject, CopyObject's source, and writes
//	                         under If-Match
//	s3:DeleteObject          DeleteObject (empty partitions, the check's probe)
//	s3:AbortMultipartUpload  AbortMultipartUpload after a failure: nothing partial stays
//	s3:ListBucket            ListObjectsV2 under the prefix; and, since S3 tests it with
//	                         the key as s3:prefix, that HeadObject of a missing key
//	                         answers 404 and not 403
//	s3:PutObjectAcl          any of the writes that sends x-amz-acl
//
// Not among them: s3:ListBucketMultipartUploads and s3:ListMultipartUploadParts
// (no load lists uploads, and the first cannot be confined to a prefix),
// s3:PutObjectTagging, and anything about versions or the bucket's settings.
func (p scope) identity() []statement {
	out := []statement{
		allow("Objects", "s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload").on(p.objects),
		p.list("List"),
	}
	if p.acl != "" {
		out = append(out, p.grant("ObjectAcl"))
	}
	if p.sse.KMS() && p.aws {
		out = append(out, p.kms())
	}
	return out
}

// list confines listings to the prefix. For a destination at the root of the
// bucket there is nothing to confine, and s3:prefix is not in every request.
func (p scope) list(sid string) statement {
	s := allow(sid, "s3:ListBucket").on(p.bucket)
	if p.prefix == "" {
		return s
	}
	return s.when("StringLike", "s3:prefix", literally(p.prefix)+"*")
}

// grant lets objects be given the one ACL that is sent, and no other.
func (p scope) grant(sid string) statement {
	return allow(sid, "s3:PutObjectAcl").on(p.objects).when("StringEquals", "s3:x-amz-acl", string(p.acl))
}

// admit are the statements of a bucket policy that admits an identity of
// another account.
//
// What is put must carry the ACL that gives it to the bucket's owner and the
// encryption that was agreed. The conditions end in IfExists because UploadPart
// and CompleteMultipartUpload are s3:PutObject too and carry neither header: a
// plain StringEquals refuses every object that goes in parts.
func (p scope) admit(who string) []statement {
	sid := "Loadfleet" + alphanumeric(p.id)
	put := allow(sid+"Put", "s3:PutObject").to(who).on(p.objects)
	if p.aws {
		if p.acl != "" {
			put = put.when("StringEqualsIfExists", "s3:x-amz-acl", string(p.acl))
		}
		switch p.sse {
		case SSES3:
			put = put.when("StringEqualsIfExists", "s3:x-amz-server-side-encryption", "AES256")
		case SSEKMS, SSEKMSCustomer:
			put = put.when("StringEqualsIfExists", "s3:x-amz-server-side-encryption", "aws:kms")
		}
		if p.sse == SSEKMSCustomer && accountOf(p.key) != "" {
			put = put.when("StringEqualsIfExists", "s3:x-amz-server-side-encryption-aws-kms-key-id", p.key)
		}
	}
	out := []statement{
		allow(sid+"Objects", "s3:GetObject", "s3:DeleteObject", "s3:AbortMultipartUpload").to(who).on(p.objects),
		put,
		p.list(sid + "List").to(who),
	}
	if p.acl != "" {
		out = append(out, p.grant(sid+"Acl").to(who))
	}
	return out
}

// kms is what an identity may do with the key that objects are encrypted with.
// GenerateDataKey is for writing; Decrypt for reading, for copying and for parts.
//
// A key that is named by id or alias is known to AWS by its ARN only: the id
// stands in an ARN whose account is left open where it is not known, and an
// alias becomes a condition. So does the AWS-managed key, which has no name a
// document could know; its own policy admits the account already, and the
// statement says no more than that policy.
func (p scope) kms() statement {
	s := p.throughS3(allow("Key", "kms:GenerateDataKey", "kms:Decrypt"))
	key := func(account, resource string) string {
		return "arn:" + p.partition + ":kms:" + p.region + ":" + account + ":" + resource
	}
	name, home := p.key, p.keyHome
	if accountOf(p.key) != "" {
		name, home = resourceOf(p.key), accountOf(p.key)
	}
	switch {
	case p.sse == SSEKMS:
		return s.on(key(p.keyHome, "key/*")).when("ForAnyValue:StringEquals", "kms:ResourceAliases", "alias/aws/s3")
	case strings.HasPrefix(name, "alias/"):
		return s.on(key(home, "key/*")).when("ForAnyValue:StringEquals", "kms:ResourceAliases", name)
	case accountOf(p.key) != "":
		return s.on(p.key)
	}
	return s.on(key(home, "key/"+name))
}

// admitToKey is the statement of a key policy for an identity of another account.
func (p scope) admitToKey(who string) statement {
	return p.throughS3(allow("Loadfleet"+alphanumeric(p.id)+"Key", "kms:GenerateDataKey", "kms:Decrypt").to(who).on("*"))
}

// throughS3 confines the use of a key to what S3 does with it for objects under
// the prefix. The encryption context is the object's ARN, or the bucket's when a
// bucket key is used. Both are always admitted: the bucket's default decides
// where no header is sent, and what was written under one setting must be read
// under the other.
func (p scope) throughS3(s statement) statement {
	services := []string{"s3." + p.region + ".amazonaws.com"}
	if p.partition == "aws-cn" {
		services = append(services, "s3."+p.region+".amazonaws.com.cn")
	}
	return s.when("StringEquals", "kms:ViaService", services...).
		when("StringLike", "kms:EncryptionContext:aws:s3:arn", p.bucket, p.objects)
}

// trust lets the fleet's role assume the customer's.
func trust(role, externalID string) statement {
	s := allow("LoadfleetAssume", "sts:AssumeRole").to(role)
	if externalID == "" {
		return s
	}
	return s.when("StringEquals", "sts:ExternalId", literally(externalID))
}

// alphanumeric makes an id part of a Sid. Ids that differ stay different, so
// that a bucket or key policy may hold the statements of several destinations.
func alphanumeric(id string) string {
	plain := strings.Map(func(r rune) rune {
		if r < 0x80 && ('0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z') {
			return r
		}
		return -1
	}, id)
	if plain == id {
		return plain
	}
	return fmt.Sprintf("%sX%x", plain, sha256.Sum256([]byte(id)))[:len(plain)+9]
}
