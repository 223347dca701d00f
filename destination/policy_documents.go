package destination

import "strings"

// The longest documents that AWS takes, white space not counted.
const (
	inlineUserLimit  = 2048
	managedLimit     = 6144
	inlineRoleLimit  = 10240
	trustLimit       = 2048
	bucketLimit      = 20 * 1024
	defaultKeyPolicy = "default" // the only name a key's policy has
)

// accessKeys: the customer's user may do what loads need.
func (w *policyWriter) accessKeys() {
	w.add(&w.policy.Documents, UserPolicy, managedLimit,
		"Policy of the IAM user whose access key the destination has",
		"IAM > Users > the user > Permissions > Add permissions > Create inline policy > JSON",
		policyDocument{policyVersion, w.scope.identity()}, w.userCommand)
}

func (w *policyWriter) userCommand(file string) string {
	user := "USER"
	if w.scope.aws {
		user = `"$(aws iam get-access-key-last-used --access-key-id ` + shell(w.s.AccessKeyID) + ` --query UserName --output text)"`
	}
	if _, size := documentJSON(policyDocument{policyVersion, w.scope.identity()}); size > inlineUserLimit {
		return "aws iam attach-user-policy --user-name " + user +
			` --policy-arn "$(aws iam create-policy --policy-name ` + shell(w.policyName()) + " --policy-document file://" + file + ` --query Policy.Arn --output text)"`
	}
	return "aws iam put-user-policy --user-name " + user + " --policy-name " + shell(w.policyName()) + " --policy-document file://" + file
}

// sharedAccount: the bucket, and the key if there is one, admit our user.
func (w *policyWriter) sharedAccount() {
	who := w.fleet.Principal(w.s)
	w.bucketPolicy(who)
	if w.s.Encryption == SSEKMSCustomer && w.scope.aws {
		w.keyPolicy(who)
	}
	w.fleetUser()
}

func (w *policyWriter) bucketPolicy(who string) {
	w.add(&w.policy.Documents, BucketPolicy, bucketLimit,
		"Policy of the bucket "+w.s.Bucket,
		"S3 > the bucket > Permissions > Bucket policy > Edit; if there is a policy already, add these statements to it",
		policyDocument{policyVersion, w.scope.admit(who)},
		func(file string) string {
			return "aws s3api put-bucket-policy --bucket " + shell(w.s.Bucket) + " --policy file://" + file + w.endpoint()
		})
}

// keyPolicy is a statement and not a policy: a key has exactly one policy, and
// one that held only this would lock its owner out.
func (w *policyWriter) keyPolicy(who string) {
	key := shell(w.s.EncryptionKey)
	region := " --region " + shell(w.s.Region)
	w.add(&w.policy.Documents, KeyPolicyStatement, 0,
		"Statement for the policy of the KMS key "+w.s.EncryptionKey,
		"KMS > the key > Key policy > Edit, as one more element of the list Statement",
		w.scope.admitToKey(who),
		func(file string) string {
			return "aws kms get-key-policy" + region + " --key-id " + key + " --policy-name " + defaultKeyPolicy + " --query Policy --output text |\n" +
				"  jq --slurpfile new " + file + ` '.Statement |= map(select(.Sid != $new[0].Sid)) + $new' > key-policy.json &&` + "\n" +
				"  aws kms put-key-policy" + region + " --key-id " + key + " --policy-name " + defaultKeyPolicy + " --policy file://key-policy.json"
		})
}

// fleetUser: our own user needs its account's leave too.
func (w *policyWriter) fleetUser() {
	user := "USER"
	if w.fleet.UserARN != "" {
		user = baseName(resourceOf(w.fleet.UserARN))
	}
	w.add(&w.policy.Fleet, UserPolicy, managedLimit,
		"Policy of the fleet's own IAM user, for this destination",
		"IAM > Users > the fleet's user > Permissions > Add permissions > Create inline policy > JSON; all inline policies of a user may have 2048 characters together, so with many destinations keep their statements in managed policies",
		policyDocument{policyVersion, w.scope.identity()},
		func(file string) string {
			return "aws iam put-user-policy --user-name " + shell(user) + " --policy-name " + shell(w.policyName()) + " --policy-document file://" + file
		})
}

// grant is one of an ACL's.
type grant struct {
	Grantee    grantee
	Permission string
}

type grantee struct{ ID, Type string }

// canonicalID: the bucket's ACL grants our canonical id READ (list) and WRITE
// (put); what we put we own, and therefore may read, replace and delete.
func (w *policyWriter) canonicalID() {
	type rule struct{ ObjectOwnership string }
	bucket := shell(w.s.Bucket)
	if w.scope.aws {
		w.add(&w.policy.Documents, BucketOwnership, 0,
			"Ownership of the bucket "+w.s.Bucket+", which turns ACLs on",
			"S3 > the bucket > Permissions > Object Ownership > Edit > ACLs enabled > Object writer",
			struct{ Rules []rule }{[]rule{{"ObjectWriter"}}},
			func(file string) string {
				return "aws s3api put-bucket-ownership-controls --bucket " + bucket + " --ownership-controls file://" + file
			})
	}
	us := grantee{w.fleet.CanonicalID, "CanonicalUser"}
	w.add(&w.policy.Documents, BucketACL, 0,
		"Grants for the ACL of the bucket "+w.s.Bucket,
		"S3 > the bucket > Permissions > Access control list > Edit > Access for other AWS accounts > Add grantee: this id, with Objects: List and Write",
		struct{ Grants []grant }{[]grant{{us, "READ"}, {us, "WRITE"}}},
		func(file string) string {
			// put-bucket-acl replaces the whole ACL, the owner's grant with it.
			return "aws s3api get-bucket-acl --bucket " + bucket + w.endpoint() + " |\n" +
				"  jq --slurpfile new " + file + ` '{Owner, Grants: ((.Grants - $new[0].Grants) + $new[0].Grants)}' > acl.json &&` + "\n" +
				"  aws s3api put-bucket-acl --bucket " + bucket + " --access-control-policy file://acl.json" + w.endpoint()
		})
	w.fleetUser()
}

// roleChain: the customer's role trusts ours and may do what loads need.
func (w *policyWriter) roleChain() {
	role := shell(baseName(resourceOf(w.s.AssumeRoleARN)))
	path := rolePath(w.s.AssumeRoleARN)
	w.add(&w.policy.Documents, TrustPolicy, trustLimit,
		"Trust policy of the role "+w.s.AssumeRoleARN,
		"IAM > Roles > the role > Trust relationships > Edit trust policy",
		policyDocument{policyVersion, []statement{trust(w.fleet.RoleARN, w.s.ExternalID)}},
		func(file string) string {
			return "aws iam create-role --role-name " + role + " --path " + shell(path) + " --assume-role-policy-document file://" + file + " ||\n" +
				"  aws iam update-assume-role-policy --role-name " + role + " --policy-document file://" + file
		})
	w.add(&w.policy.Documents, RolePolicy, inlineRoleLimit,
		"Policy of the role "+w.s.AssumeRoleARN,
		"IAM > Roles > the role > Permissions > Add permissions > Create inline policy > JSON",
		policyDocument{policyVersion, w.scope.identity()},
		func(file string) string {
			return "aws iam put-role-policy --role-name " + role + " --policy-name " + shell(w.policyName()) + " --policy-document file://" + file
		})
	home := accountOf(w.s.AssumeRoleARN)
	if w.scope.aws && w.s.BucketOwner != "" && w.s.BucketOwner != home {
		w.bucketPolicy(w.s.AssumeRoleARN)
	}
	if owner := accountOf(w.s.EncryptionKey); w.scope.aws && w.s.Encryption == SSEKMSCustomer && owner != "" && owner != home {
		w.keyPolicy(w.s.AssumeRoleARN)
	}
	w.add(&w.policy.Fleet, RolePolicy, inlineRoleLimit,
		"Policy of the fleet's own role, for this destination",
		"IAM > Roles > "+baseName(resourceOf(w.fleet.RoleARN))+" > Permissions > Add permissions > Create inline policy > JSON",
		policyDocument{policyVersion, []statement{allow("AssumeCustomerRole", "sts:AssumeRole").on(w.s.AssumeRoleARN)}},
		func(file string) string {
			return "aws iam put-role-policy --role-name " + shell(baseName(resourceOf(w.fleet.RoleARN))) + " --policy-name " + shell(w.policyName()) + " --policy-document file://" + file
		})
}

// notes say what no document can.
func (w *policyWriter) notes() {
	note := func(text string) { w.policy.Notes = append(w.policy.Notes, text) }
	switch {
	case w.scope.prefix == "":
		note("The folder begins with a variable or is the root, so the documents cover the whole bucket. A folder that begins with a fixed name narrows them.")
	case !strings.HasSuffix(w.scope.prefix, "/"):
		note("The constant part of the keys, " + w.scope.prefix + ", does not end with a slash: the documents cover every key that begins with it, in neighbouring folders too.")
	}
	if w.s.ConnectionOption == CanonicalID {
		note("ACL grants hold for the whole bucket: they let our account list all of it and add objects anywhere. What confines us to the prefix is the policy of our own user. Prefer shared_account or role_chain.")
		note("Buckets made since April 2023 have ACLs off (BucketOwnerEnforced): put-bucket-acl then fails with AccessControlListNotSupported, and no grant admits us until the ownership is ObjectWriter. BucketOwnerPreferred is not enough: our objects would become yours at once, and we could not read them back.")
	}
	if w.s.ConnectionOption == SharedAccount {
		note("put-bucket-policy replaces the bucket's policy. If there is one, add the statements to it.")
	}
	if w.s.ConnectionOption == RoleChain && w.s.ExternalID == "" {
		note("The destination has no external_id, so the trust policy asks for none: whoever can make the fleet assume the role uses it. Set one and paste the trust policy anew.")
	}
	if w.s.Encryption.KMS() && !w.scope.aws {
		note("The store is not AWS: its keys are opened by its own means, and the documents say nothing about them.")
	}
	if w.s.Encryption == SSEKMSCustomer && w.scope.aws && w.s.ConnectionOption != SharedAccount {
		note("The policy of the KMS key must leave the decision to IAM policies of its account, as the default key policy does, or admit the identity itself.")
	}
	if w.scope.aws && w.s.Encryption == SSEKMSCustomer && strings.Contains(w.s.EncryptionKey, "alias/") {
		note("The key is named by an alias: whoever may move the alias decides which key is used. The key's ARN says it for good.")
	}
	if strings.ContainsFunc(w.scope.prefix, func(r rune) bool { return r > 0xFF }) {
		note("The folder holds characters above U+00FF, which IAM takes only as the escapes that stand in the JSON documents; tools that rewrite them may be refused.")
	}
}

// endpoint is the flag that sends a command to a store other than AWS.
func (w *policyWriter) endpoint() string {
	if w.scope.aws {
		return ""
	}
	return " --endpoint-url " + shell(w.s.Endpoint)
}

// baseName is the name at the end of user/path/name or role/path/name.
func baseName(resource string) string { return resource[strings.LastIndexByte(resource, '/')+1:] }

// rolePath is the path between, with its slashes.
func rolePath(arn string) string {
	resource := strings.TrimPrefix(resourceOf(arn), "role")
	return resource[:strings.LastIndexByte(resource, '/')+1]
}
