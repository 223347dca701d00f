package destination

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
)

// The identities of the tests. The fleet and the customer have an account each.
const (
	fleetAccount    = "999988887777"
	customerAccount = "123456789012"
	fleetUserARN    = "arn:aws:iam::" + fleetAccount + ":user/fleet/loader"
	fleetRoleARN    = "arn:aws:iam::" + fleetAccount + ":role/loadfleet"
	customerUserARN = "arn:aws:iam::" + customerAccount + ":user/for-loadfleet"
	customerRoleARN = "arn:aws:iam::" + customerAccount + ":role/loads"
	customerKeyARN  = "arn:aws:kms:eu-central-1:" + customerAccount + ":key/1234abcd-12ab-34cd-56ef-1234567890ab"
	managedKeyARN   = "arn:aws:kms:eu-central-1:" + customerAccount + ":key/aaaaaaaa-12ab-34cd-56ef-1234567890ab"
)

func testFleet() Fleet {
	return Fleet{
		AccountID: fleetAccount, UserARN: fleetUserARN, RoleARN: fleetRoleARN,
		CanonicalID: strings.Repeat("0123456789abcdef", 4),
	}
}

// operation is one request that loadfleet makes, with all that AWS asks for it.
type operation struct {
	name  string
	calls []call
}

// signer is the identity whose requests reach the bucket.
func signer(s *Settings) string {
	switch s.ConnectionOption {
	case AccessKeys:
		return customerUserARN
	case RoleChain:
		return s.AssumeRoleARN
	}
	return fleetUserARN
}

// operations are the requests of package storage on some keys of the
// destination, as its Put, Restamp, Head, Get, Delete and List send them.
func operations(s *Settings, prefix string) []operation {
	who, bucket := signer(s), "arn:aws:s3:::"+s.Bucket
	headers := map[string][]string{}
	if s.ACL != NoACL {
		headers["s3:x-amz-acl"] = []string{string(s.ACL)}
	}
	switch s.Encryption {
	case SSES3:
		headers["s3:x-amz-server-side-encryption"] = []string{"AES256"}
	case SSEKMS:
		headers["s3:x-amz-server-side-encryption"] = []string{"aws:kms"}
	case SSEKMSCustomer:
		headers["s3:x-amz-server-side-encryption"] = []string{"aws:kms"}
		headers["s3:x-amz-server-side-encryption-aws-kms-key-id"] = []string{s.EncryptionKey}
	}
	var out []operation
	add := func(name string, calls ...call) {
		for i := range calls {
			calls[i].who = who
		}
		out = append(out, operation{name, calls})
	}
	for _, key := range []string{prefix + "ws1/rows-2024-06-18.csv", prefix + "z", prefix + "/.loadfleet-check-1", prefix + "ü ws/~*?$.csv"} {
		object := bucket + "/" + key
		write := []call{{action: "s3:PutObject", resource: object, context: headers}}
		if s.ACL != NoACL {
			write = append(write, call{action: "s3:PutObjectAcl", resource: object, context: headers})
		}
		read := call{action: "s3:GetObject", resource: object}
		part := call{action: "s3:PutObject", resource: object}
		var generate, decrypt []call
		if s.Encryption.KMS() {
			for _, context := range []string{bucket, object} { // with a bucket key, and without
				generate = append(generate, keyCall(s, "kms:GenerateDataKey", context))
				decrypt = append(decrypt, keyCall(s, "kms:Decrypt", context))
			}
		}
		add("PutObject "+key, append(write, generate...)...)
		add("PutObject under If-Match "+key, append(append(write, read), generate...)...)
		add("CreateMultipartUpload "+key, append(write, generate...)...)
		add("UploadPart "+key, append([]call{part}, decrypt...)...)
		add("CompleteMultipartUpload "+key, append([]call{part}, decrypt...)...)
		add("AbortMultipartUpload "+key, call{action: "s3:AbortMultipartUpload", resource: object})
		add("CopyObject onto itself "+key, append(append(append(write, read), generate...), decrypt...)...)
		add("HeadObject "+key, append([]call{read}, decrypt...)...)
		add("HeadObject of a missing key "+key, read, call{action: "s3:ListBucket", resource: bucket, context: map[string][]string{"s3:prefix": {key}}})
		add("GetObject "+key, append([]call{read}, decrypt...)...)
		add("DeleteObject "+key, call{action: "s3:DeleteObject", resource: object})
	}
	for _, at := range []string{prefix, prefix + "ws1/"} {
		add("ListObjectsV2 "+at, call{action: "s3:ListBucket", resource: bucket, context: map[string][]string{"s3:prefix": {at}}})
	}
	return out
}

func keyCall(s *Settings, action, contextARN string) call {
	c := call{who: signer(s), action: action, resource: customerKeyARN, context: map[string][]string{
		"kms:ViaService":                   {"s3." + s.Region + ".amazonaws.com"},
		"kms:EncryptionContext:aws:s3:arn": {contextARN},
		"kms:ResourceAliases":              {"alias/loads"},
	}}
	if s.Encryption == SSEKMS {
		c.resource = managedKeyARN
		c.context["kms:ResourceAliases"] = []string{"alias/aws/s3"}
	}
	return c
}

// trespasses are calls that no document may allow, each near to one that it does.
func trespasses(s *Settings, prefix string) []operation {
	who, bucket := signer(s), "arn:aws:s3:::"+s.Bucket
	object := bucket + "/" + prefix + "rows.csv"
	var out []operation
	add := func(name string, c call) {
		if c.who == "" {
			c.who = who
		}
		out = append(out, operation{name, []call{c}})
	}
	for _, action := range []string{
		"s3:PutBucketPolicy", "s3:GetBucketPolicy", "s3:DeleteBucket", "s3:GetBucketAcl", "s3:PutBucketAcl", "s3:ListBucketVersions",
		"s3:ListBucketMultipartUploads", "s3:PutLifecycleConfiguration", "s3:PutBucketOwnershipControls", "s3:GetBucketLocation", "s3:GetObject",
	} {
		add(action+" on the bucket", call{action: action, resource: bucket})
	}
	for _, action := range []string{
		"s3:GetObjectAcl", "s3:GetObjectVersion", "s3:DeleteObjectVersion", "s3:PutObjectTagging", "s3:GetObjectTagging", "s3:RestoreObject",
		"s3:PutObjectRetention", "s3:BypassGovernanceRetention", "s3:ListMultipartUploadParts", "s3:ListBucket", "s3:ReplicateObject",
	} {
		add(action+" on an object", call{action: action, resource: object})
	}
	strange := []string{"arn:aws:s3:::" + s.Bucket + "2/" + prefix + "x", "arn:aws:s3:::x" + s.Bucket + "/" + prefix + "x", "arn:aws-cn:s3:::" + s.Bucket + "/" + prefix + "x"}
	listings := []map[string][]string{}
	if prefix != "" {
		neighbours := []string{"", "other/", strings.TrimSuffix(prefix, prefix[len(prefix)-1:]) + "\x00", "x" + prefix, strings.ToUpper(prefix) + "é", "../" + prefix}
		for _, wild := range []string{"*", "?", "$"} { // what a pattern would match
			if strings.Contains(prefix, wild) {
				neighbours = append(neighbours, strings.Replace(prefix, wild, "X", 1), strings.Replace(prefix, wild, "XX/YY", 1), strings.Replace(prefix, wild, "", 1))
			}
		}
		for _, n := range neighbours {
			strange = append(strange, bucket+"/"+n+"x")
			if !strings.HasPrefix(n, prefix) {
				listings = append(listings, map[string][]string{"s3:prefix": {n}})
			}
		}
		listings = append(listings, nil) // ListObjectsV2 without a prefix, HeadBucket
	}
	for _, action := range []string{"s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:PutObjectAcl"} {
		for _, resource := range strange {
			add(action+" on "+resource, call{action: action, resource: resource, context: map[string][]string{"s3:x-amz-acl": {string(s.ACL)}}})
		}
	}
	for _, context := range listings {
		add(fmt.Sprintf("s3:ListBucket with %v", context), call{action: "s3:ListBucket", resource: bucket, context: context})
	}
	add("s3:ListBucket of another bucket", call{action: "s3:ListBucket", resource: bucket + "2", context: map[string][]string{"s3:prefix": {prefix}}})
	for _, acl := range []string{"public-read", "public-read-write", "authenticated-read", ""} {
		context := map[string][]string{"s3:x-amz-acl": {acl}}
		if acl == "" {
			context = nil // as PutObjectAcl with grants in its body
		}
		add("s3:PutObjectAcl "+acl, call{action: "s3:PutObjectAcl", resource: object, context: context})
	}
	trespassKeys(s, prefix, add)
	return out
}

func trespassKeys(s *Settings, prefix string, add func(string, call)) {
	bucket := "arn:aws:s3:::" + s.Bucket
	good := keyCall(s, "kms:Decrypt", bucket+"/"+prefix+"x")
	change := func(name string, edit func(*call)) {
		c := good
		c.context = maps.Clone(good.context)
		edit(&c)
		add("kms: "+name, c)
	}
	for _, action := range []string{"kms:Encrypt", "kms:ReEncryptFrom", "kms:DescribeKey", "kms:CreateGrant", "kms:PutKeyPolicy", "kms:GenerateDataKeyWithoutPlaintext", "kms:ScheduleKeyDeletion"} {
		change(action, func(c *call) { c.action = action })
	}
	change("not through a service", func(c *call) { delete(c.context, "kms:ViaService") })
	change("through another service", func(c *call) { c.context["kms:ViaService"] = []string{"ec2.eu-central-1.amazonaws.com"} })
	change("through S3 of another region", func(c *call) { c.context["kms:ViaService"] = []string{"s3.us-east-1.amazonaws.com"} })
	change("without context", func(c *call) { delete(c.context, "kms:EncryptionContext:aws:s3:arn") })
	change("for another bucket", func(c *call) { c.context["kms:EncryptionContext:aws:s3:arn"] = []string{bucket + "2"} })
	if prefix != "" {
		change("for a neighbour's object", func(c *call) { c.context["kms:EncryptionContext:aws:s3:arn"] = []string{bucket + "/other/x"} })
	}
	if s.ConnectionOption != SharedAccount { // a key policy is about its key only
		change("with another key", func(c *call) {
			c.resource = "arn:aws:kms:eu-central-1:" + customerAccount + ":key/ffffffff-12ab-34cd-56ef-1234567890ab"
			c.context["kms:ResourceAliases"] = []string{"alias/other"}
		})
	}
}

// side is one account's say: any of its policies may allow.
type side struct {
	name     string
	policies []sidePolicy
	acl      json.RawMessage // grants of a bucket's ACL
}

type sidePolicy struct {
	body     []byte
	identity bool
	services string // the services whose calls it is asked about
}

// sides are who must agree to a call of the signer.
func sides(t *testing.T, p Policy) []side {
	t.Helper()
	customer, fleet := side{name: "customer"}, side{name: "fleet"}
	add := func(to *side, d Document) {
		switch d.Kind {
		case UserPolicy, RolePolicy:
			to.policies = append(to.policies, sidePolicy{d.Body, true, "s3 kms sts"})
		case BucketPolicy:
			to.policies = append(to.policies, sidePolicy{d.Body, false, "s3"})
		case KeyPolicyStatement:
			body := fmt.Appendf(nil, `{"Version":"2012-10-17","Statement":[%s]}`, d.Body)
			to.policies = append(to.policies, sidePolicy{body, false, "kms"})
		case TrustPolicy:
			to.policies = append(to.policies, sidePolicy{d.Body, false, "sts"})
		case BucketACL:
			to.acl = d.Body
		}
	}
	for _, d := range p.Documents {
		add(&customer, d)
	}
	for _, d := range p.Fleet {
		add(&fleet, d)
	}
	if p.Option == AccessKeys || p.Option == RoleChain {
		return []side{customer} // the signer is the customer's own
	}
	return []side{customer, fleet}
}

// allows reports whether the side allows the call.
func (s side) allows(t *testing.T, c call) bool {
	t.Helper()
	service, _, _ := strings.Cut(c.action, ":")
	out := s.acl != nil && aclAllows(t, s.acl, c)
	for _, p := range s.policies {
		if !strings.Contains(p.services, service) {
			continue
		}
		switch evaluate(t, p.body, p.identity, c) {
		case denied:
			return false
		case allowed:
			out = true
		}
	}
	return out
}

// aclAllows is what S3's documentation maps the grants of a bucket's ACL to, on
// a bucket whose objects belong to their writers: READ lists, WRITE puts, and
// what one has put one owns, with all rights on the object.
func aclAllows(t *testing.T, acl json.RawMessage, c call) bool {
	t.Helper()
	var doc struct {
		Grants []struct {
			Grantee    struct{ ID, Type string }
			Permission string
		}
	}
	if err := json.Unmarshal(acl, &doc); err != nil {
		t.Fatal(err)
	}
	for _, g := range doc.Grants {
		if g.Grantee.ID != testFleet().CanonicalID || g.Grantee.Type != "CanonicalUser" || !strings.HasPrefix(c.who, "arn:aws:iam::"+fleetAccount+":") {
			continue
		}
		switch {
		case g.Permission == "READ" && c.action == "s3:ListBucket",
			g.Permission == "WRITE" && strings.Contains("s3:PutObject s3:GetObject s3:DeleteObject s3:AbortMultipartUpload s3:PutObjectAcl", c.action):
			return true
		}
	}
	return false
}
