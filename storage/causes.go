package storage

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
)

// CauseID names why a call failed, for programs.
type CauseID string

// The causes. [CauseOf] judges them by type and error code, never by text;
// those marked (asked) need a second question, which only a check asks.
const (
	CauseWrongKeyID         CauseID = "wrong_key_id"
	CauseWrongSecret        CauseID = "wrong_secret"
	CauseExpiredToken       CauseID = "expired_token"
	CauseClockSkew          CauseID = "clock_skew"
	CauseWrongRegion        CauseID = "wrong_region"
	CauseNoBucket           CauseID = "no_bucket"
	CauseForeignBucket      CauseID = "foreign_bucket" // (asked)
	CauseNothingAllowed     CauseID = "nothing_allowed"
	CauseDeniedPut          CauseID = "denied_put"
	CauseDeniedGet          CauseID = "denied_get"
	CauseDeniedList         CauseID = "denied_list"
	CauseDeniedDelete       CauseID = "denied_delete"
	CauseDeniedAbort        CauseID = "denied_abort"
	CauseDeniedCopy         CauseID = "denied_copy"
	CauseDeniedACL          CauseID = "denied_acl"        // (asked)
	CauseKMSDenied          CauseID = "kms_denied"        // (asked) unless the store says so
	CauseKMSDecrypt         CauseID = "kms_decrypt"       // (asked)
	CauseKMSNotFound        CauseID = "kms_not_found"     //
	CauseKMSDisabled        CauseID = "kms_disabled"      //
	CauseKMSUnusable        CauseID = "kms_unusable"      //
	CauseKMSWrongRegion     CauseID = "kms_wrong_region"  //
	CauseKMSNotShared       CauseID = "kms_not_shared"    // an AWS-managed key, or one of another account, where it must be shared
	CauseACLDisabled        CauseID = "acl_disabled"      //
	CauseEncryptionDemanded CauseID = "encryption_header" // (asked)
	CauseNotEncrypted       CauseID = "not_encrypted_as_asked"
	CauseOwnCredentials     CauseID = "own_credentials"
	CauseRoleDenied         CauseID = "role_denied"
	CauseNoExternalID       CauseID = "role_denied_without_external_id"
	CauseExternalID         CauseID = "role_denied_with_external_id"
	CauseExternalIDIgnored  CauseID = "external_id_not_demanded" // (asked)
	CauseEndpointDown       CauseID = "endpoint_down"
	CauseDNS                CauseID = "dns"
	CauseTLS                CauseID = "tls"
	CauseNoConditions       CauseID = "no_conditional_writes"      // (asked)
	CauseConditionsRefused  CauseID = "conditional_writes_refused" // (asked)
	CauseGuardedByLease     CauseID = "guarded_by_lease"           // (asked)
	CauseLeaseNeedless      CauseID = "lease_needless"             // (asked)
	CauseChecksum           CauseID = "checksum_refused"           // (asked)
	CauseNotSupported       CauseID = "not_supported"
	CauseThrottled          CauseID = "throttled"
	CauseStoreError         CauseID = "store_error"
	CauseRaced              CauseID = "raced"
	CauseLeftBehind         CauseID = "left_behind"
	CauseInterrupted        CauseID = "interrupted"
	CauseUnknown            CauseID = "unknown"
)

// Cause says in a customer's words why a call failed and what to do.
type Cause struct {
	ID       CauseID `json:"id"`
	Sentence string  `json:"sentence"`
	Remedy   string  `json:"remedy"`
}

// CauseOf is the cause of an error that a store of this access gave. It is
// never empty.
func CauseOf(err error, a Access) Cause {
	f := failed{err: err, reply: &Error{}, access: a}
	if reply, ok := errors.AsType[*Error](err); ok {
		f.reply = reply
	}
	if known, ok := errors.AsType[*found](err); ok {
		f.found = known
	}
	for _, row := range causes {
		if row.matches(f) {
			return row.cause(f)
		}
	}
	return Cause{ID: CauseUnknown} // not reached: the last row matches everything
}

// found is a cause that took a second question to find out.
type found struct {
	cause CauseID
	there string // what is there instead, where the sentence says so
	err   error
}

func (f *found) Error() string {
	if f.err == nil {
		return string(f.cause)
	}
	return string(f.cause) + ": " + f.err.Error()
}
func (f *found) Unwrap() error { return f.err }

// failed is what the table is asked about.
type failed struct {
	err    error
	reply  *Error
	found  *found
	access Access
}

// causeRow matches on what was found out, else on error codes, else on a
// condition. Braces in its texts are filled in.
type causeRow struct {
	id       CauseID
	codes    []string
	when     func(failed) bool
	sentence string
	remedy   string
}

func (r causeRow) matches(f failed) bool {
	switch {
	case f.found != nil:
		return f.found.cause == r.id
	case slices.Contains(r.codes, f.reply.Code) && f.reply.Code != "":
		return true
	}
	return r.when != nil && r.when(f)
}

func (r causeRow) cause(f failed) Cause {
	there := ""
	if f.found != nil {
		there = f.found.there
	}
	endpoint := f.access.Endpoint
	if endpoint == "" {
		endpoint = "AWS"
	}
	fill := strings.NewReplacer(
		"{bucket}", f.reply.Bucket, "{region}", f.access.Region, "{key id}", f.access.AccessKeyID,
		"{kms key}", f.access.EncryptionKey, "{role}", f.reply.Role, "{owner}", f.access.BucketOwner,
		"{endpoint}", endpoint, "{host}", f.unresolved(), "{acl}", f.access.ACL, "{encryption}", f.access.Encryption, "{there}", there)
	return Cause{ID: r.id, Sentence: fill.Replace(r.sentence), Remedy: fill.Replace(r.remedy)}
}

func is(targets ...error) func(failed) bool {
	return func(f failed) bool {
		return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(f.err, target) })
	}
}

func denied(ops ...string) func(failed) bool {
	return func(f failed) bool { return errors.Is(f.err, ErrDenied) && slices.Contains(ops, f.reply.Op) }
}

// ofRole matches the refusal of a role that was to be assumed.
func ofRole(more func(failed) bool) func(failed) bool {
	return func(f failed) bool { return f.reply.Role != "" && errors.Is(f.err, ErrCredentials) && more(f) }
}

func (f failed) customersRole() bool { return f.reply.Role == f.access.AssumeRoleARN }

// unresolved is the host whose name could not be resolved, or empty.
func (f failed) unresolved() string {
	if lookup, ok := errors.AsType[*net.DNSError](f.err); ok {
		return lookup.Name
	}
	return ""
}

// ofSTS tells whether it was STS that was asked, not the store.
func (f failed) ofSTS() bool { return f.reply.Role != "" || f.reply.Op == opIdentify }

// silent tells whether there was no reply at all.
func (f failed) silent() bool {
	return f.reply.Status == 0 && f.reply.Code == "" && errors.Is(f.err, ErrUnavailable)
}

func (f failed) tls() bool {
	var (
		authority   x509.UnknownAuthorityError
		name        x509.HostnameError
		invalid     x509.CertificateInvalidError
		constraint  x509.ConstraintViolationError
		roots       x509.SystemRootsError
		record      tls.RecordHeaderError
		alert       tls.AlertError
		certificate *tls.CertificateVerificationError
	)
	for _, target := range []any{&authority, &name, &invalid, &constraint, &roots, &record, &alert, &certificate} {
		if errors.As(f.err, target) {
			return true
		}
	}
	return errors.Is(f.err, http.ErrSchemeMismatch)
}

// kms tells whether the store's code speaks of the key.
func (f failed) kms() bool {
	return errors.Is(f.err, ErrKMS) || strings.HasPrefix(f.reply.Code, "KMS.")
}

// keyElsewhere tells whether the key's ARN names another region than the
// bucket's: KMS keys work in their own region only.
func (f failed) keyElsewhere() bool {
	region := arnPart(f.access.EncryptionKey, 3)
	return region != "" && region != f.access.Region
}

// keyUnshared tells whether the encryption asks for a key that a writer of
// another account cannot be let in to.
func (f failed) keyUnshared() bool {
	return f.access.Encryption == "sse-kms" && f.access.ConnectionOption != optionAccessKeys
}

func arnPart(arn string, n int) string {
	if parts := strings.SplitN(arn, ":", 6); len(parts) == 6 && parts[0] == "arn" {
		return parts[n]
	}
	return ""
}

// causes is read from the top: the first row that matches wins.
var causes = []causeRow{
	{
		id: CauseInterrupted, when: is(context.Canceled),
		sentence: "The check was interrupted before this could be tried.",
		remedy:   "Run it again.",
	},
	{
		id: CauseClockSkew, codes: []string{"RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"},
		sentence: "The clock of this machine is too far from the store's: requests more than 15 minutes apart are refused.{there}",
		remedy:   "Set the clock of the machine, by NTP for example.",
	},
	{
		id: CauseOwnCredentials, when: func(f failed) bool { return f.reply.Own },
		sentence: "The fleet itself has no AWS credentials that could assume a role.",
		remedy:   "The fleet's operator gives the workers credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a web identity or an instance role.",
	},
	{
		id: CauseWrongKeyID, codes: []string{"InvalidAccessKeyId", "InvalidClientTokenId", "UnrecognizedClientException"},
		sentence: "Nobody knows the access key id {key id}: it is mistyped, deleted or deactivated, or it belongs to another store.",
		remedy:   "Copy the id again from the user's security credentials, or make a new access key.",
	},
	{
		id: CauseWrongSecret, codes: []string{"SignatureDoesNotMatch"},
		sentence: "The secret access key does not belong to the access key id {key id}.",
		remedy:   "Enter the secret again, without spaces or line breaks around it. It is shown once only: if it is lost, make a new access key.",
	},
	{
		id: CauseExpiredToken, codes: []string{"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken"},
		sentence: "The session with which the request was signed has expired.",
		remedy:   "Sessions of a role are renewed by themselves: if this stays, look at the clock of the machine. Temporary keys (ASIA...) do not fit in a destination: give keys of a user (AKIA...).",
	},
	{
		id: CauseRoleDenied, when: ofRole(func(f failed) bool { return !f.customersRole() }),
		sentence: "The fleet may not assume its own role {role}.",
		remedy:   "The fleet's operator lets the role's trust policy admit the worker's identity, and the worker's policy allow sts:AssumeRole on it.",
	},
	{
		id: CauseNoExternalID, when: ofRole(func(f failed) bool { return f.access.ExternalID == "" }),
		sentence: "The role {role} does not admit us: it does not exist, its trust policy does not name the fleet's role, or it demands an external id and the destination has none. AWS does not say which.",
		remedy:   "Put the statement into the role's trust policy; if that demands an external id, write it as external_id.",
	},
	{
		id: CauseExternalID, when: ofRole(func(failed) bool { return true }),
		sentence: "The role {role} does not admit us: it does not exist, its trust policy does not name the fleet's role, or it demands another external id than the destination's. AWS does not say which.",
		remedy:   "Put the statement into the role's trust policy: it names the fleet's role and the destination's external id.",
	},
	{
		id:       CauseExternalIDIgnored,
		sentence: "The role {role} can be assumed without the external id: whoever learns its ARN may have it assumed for him by us.",
		remedy:   "Put the statement, with its condition, in place of the one in the role's trust policy.",
	},
	{
		id: CauseWrongRegion, when: is(ErrRegion),
		sentence: "The bucket {bucket} is not in the region {region}.{there}",
		remedy:   "Write the bucket's region as region; for a store with an endpoint, the region it was set up with.",
	},
	{
		id: CauseNoBucket, when: is(ErrNoBucket),
		sentence: "There is no bucket {bucket} at {endpoint}.",
		remedy:   "Look for a typing mistake, or create the bucket.",
	},
	{
		id:       CauseForeignBucket,
		sentence: "The bucket {bucket} belongs to another account than {owner}, which the destination names as bucket_owner.",
		remedy:   "If the bucket is yours, write its account's id as bucket_owner; if not, somebody else has taken the name: load into another bucket.",
	},
	{
		id:       CauseNothingAllowed,
		sentence: "The bucket {bucket} is there, but nothing in it is allowed: no policy is attached to us, or the bucket belongs to somebody else.",
		remedy:   "Make sure that the bucket is yours, then attach the documents of `loadfleet destination policy`.",
	},
	{
		id: CauseKMSWrongRegion, when: func(f failed) bool { return f.kms() && f.keyElsewhere() },
		sentence: "The key {kms key} is in another region than the bucket: S3 uses keys of the bucket's own region ({region}) only.",
		remedy:   "Write the ARN of a key in {region}.",
	},
	{
		id: CauseKMSNotShared, when: func(f failed) bool { return f.reply.Code == "KMS.AccessDeniedException" && f.keyUnshared() },
		sentence: "The objects are encrypted with a key that cannot be shared with another account{there}: readers of the bucket's account could not decrypt them, or we may not use it.",
		remedy:   "Write encryption: sse-s3, or sse-kms-customer with the full ARN of a customer-managed key whose policy admits the writer.",
	},
	{
		id: CauseKMSDenied, codes: []string{"KMS.AccessDeniedException"},
		sentence: "The bucket takes objects, but not encrypted with the key that is asked for: the key {kms key} does not let us make data keys.",
		remedy:   "Add the statement to the key's policy and, when the writer is of another account, to the writer's policy too.",
	},
	{
		id:       CauseKMSDecrypt,
		sentence: "Objects can be written, but not read back with the key {kms key}: kms:Decrypt is missing, which reading, copying and uploads in parts need.",
		remedy:   "Add the statement to the key's policy and, when the reader is of another account, to its policy too.",
	},
	{
		id: CauseKMSDisabled, codes: []string{"KMS.DisabledException", "KMS.InvalidStateException", "KMS.KMSInvalidStateException"},
		sentence: "The key {kms key} is disabled, or waits to be deleted.",
		remedy:   "Enable it in KMS, or write another key.",
	},
	{
		id: CauseKMSNotFound, codes: []string{"KMS.NotFoundException", "kms:KeyNotFound"},
		sentence: "There is no key {kms key} in {region}. A bare id or an alias is looked up in the writer's account, not in the bucket's.",
		remedy:   "Write the key's full ARN.",
	},
	{
		id: CauseKMSUnusable, when: failed.kms,
		sentence: "The key {kms key} cannot encrypt objects: S3 needs a symmetric key for encrypting and decrypting.",
		remedy:   "Write the ARN of a symmetric key.",
	},
	{
		id: CauseACLDisabled, codes: []string{"AccessControlListNotSupported"},
		sentence: "The bucket {bucket} takes no ACLs (its object ownership is BucketOwnerEnforced), and the destination sends {acl}.",
		remedy:   "Write acl: none or acl: bucket-owner-full-control. Grants to a canonical id work only when the bucket's owner turns ACLs on: prefer shared_account or role_chain.",
	},
	{
		id:       CauseEncryptionDemanded,
		sentence: "The bucket {bucket} takes objects, but refuses ours with encryption: {encryption}. It takes them with {there}: a bucket policy demands that header.",
		remedy:   "Write encryption: {there}, or change the bucket policy.",
	},
	{
		id:       CauseDeniedACL,
		sentence: "The bucket {bucket} takes objects, but not with the ACL {acl}: s3:PutObjectAcl is missing.",
		remedy:   "Add the statement, or write acl: none when the bucket's object ownership is BucketOwnerEnforced.",
	},
	{
		id: CauseNotEncrypted, when: is(ErrEncryption),
		sentence: "The object was stored, but not encrypted as asked ({encryption}): the store ignores the encryption header, or the bucket overrides it.",
		remedy:   "Write the encryption that the bucket applies, or encryption: none when the store encrypts by itself or not at all.",
	},
	{
		id: CauseDeniedPut, when: denied("put", "create upload", "upload part", "complete upload"),
		sentence: "We may not write objects under the prefix: s3:PutObject is denied.",
		remedy:   "Add the statement. If it is there already, look for a Deny in the bucket policy or in an organisation's policy.",
	},
	{
		id: CauseDeniedGet, when: denied("get", "head"),
		sentence: "We may not read objects under the prefix: s3:GetObject is denied. Without it we cannot see which of two extractions is newer.",
		remedy:   "Add the statement. If it is there already, look for a Deny.",
	},
	{
		id: CauseDeniedList, when: denied("list", "ping"),
		sentence: "We may not list the bucket under the prefix: s3:ListBucket is denied. Without it a missing object cannot be told from a forbidden one.",
		remedy:   "Add the statement; its resource is the bucket itself, without /*.",
	},
	{
		id: CauseDeniedDelete, when: denied("delete"),
		sentence: "We may not delete objects under the prefix: s3:DeleteObject is denied.",
		remedy:   "Add the statement. If it is there already, look for a Deny.",
	},
	{
		id: CauseDeniedAbort, when: denied("abort upload"),
		sentence: "We may not abort uploads: s3:AbortMultipartUpload is denied. Parts of failed uploads would stay, and cost.",
		remedy:   "Add the statement.",
	},
	{
		id: CauseDeniedCopy, when: denied("restamp"),
		sentence: "We may not copy an object onto itself, which is how its metadata is renewed without sending it again: it takes s3:GetObject and s3:PutObject on it.",
		remedy:   "Add the statement. If both are there, look for a Deny on s3:x-amz-copy-source or s3:x-amz-metadata-directive.",
	},
	{
		id: CauseNoConditions,
		sentence: "The store does not do conditional writes{there}. Loads work, but when two extractions of one table overlap, " +
			"an older file may replace a newer one, and a repeated load may overwrite what somebody else put under its key.",
		remedy: "Write write_guard: lease: then the fleet gives each key to one worker at a time. Or use a store, or a newer release of it, with If-None-Match and If-Match.",
	},
	{
		id:       CauseConditionsRefused,
		sentence: "The store refuses conditional writes (If-None-Match, If-Match), without which an older file could replace a newer one.",
		remedy:   "Write write_guard: lease: then the fleet gives each key to one worker at a time. Or use a store, or a newer release of it, with conditional writes.",
	},
	{
		id: CauseGuardedByLease,
		sentence: "The store does not do conditional writes. A lease per key keeps older files from replacing newer ones among the workers of this fleet (write_guard: lease); " +
			"nobody else who writes these keys is kept out, and after a worker's death its keys wait for up to half an hour.",
		remedy: "Nothing need be done. A store, or a newer release of it, with If-None-Match and If-Match guards its objects itself.",
	},
	{
		id:       CauseLeaseNeedless,
		sentence: "The store does conditional writes, and the destination says that it does not (write_guard: lease): each load asks the queue for its key, and waits when a worker died.",
		remedy:   "Write write_guard: conditional_writes.",
	},
	{
		id:       CauseChecksum,
		sentence: "The store breaks on the checksums that protect uploads.",
		remedy:   "Write checksum: off, or use a newer release of the store.",
	},
	{
		id: CauseThrottled, when: is(ErrThrottled),
		sentence: "The store is throttling us at the moment.",
		remedy:   "Run the check again in some minutes; if it stays, set rate_limit or max_concurrency.",
	},
	{
		id: CauseDNS, when: func(f failed) bool { return f.unresolved() != "" && f.ofSTS() },
		sentence: "The name of AWS STS, {host}, cannot be resolved: it tells who we are and lets roles be assumed. The store was not asked yet.",
		remedy:   "Look for a typing mistake in region; else the fleet's operator lets the workers resolve and reach {host}, or starts them with --sts-endpoint.",
	},
	{
		id: CauseDNS, when: func(f failed) bool { return f.unresolved() != "" },
		sentence: "The name of the store ({endpoint}), {host}, cannot be resolved.",
		remedy:   "Look for a typing mistake in endpoint or region; a store that knows its buckets by path only needs path_style: true.",
	},
	{
		id: CauseTLS, when: failed.tls,
		sentence: "No secure connection to {endpoint}: its certificate is not trusted, does not fit the name, or it does not speak TLS.",
		remedy:   "Trust the certificate's authority (AWS_CA_BUNDLE of the workers), write path_style: true for a bucket with dots in its name, or http:// for a store without TLS on a trusted network.",
	},
	{
		id: CauseEndpointDown, when: failed.silent,
		sentence: "Nobody answers at {endpoint}.",
		remedy:   "Look whether the store is up, endpoint and port are right and a firewall lets the workers through.",
	},
	{
		id: CauseStoreError, when: is(ErrUnavailable),
		sentence: "The store answers, but with an error of its own.",
		remedy:   "Run the check again in some minutes; if it stays, give the request id to the store's operator.",
	},
	{
		id: CauseRaced, when: is(ErrConflict, ErrPrecondition),
		sentence: "Somebody else changed the check's own object meanwhile, or the store takes a condition for failed that holds.",
		remedy:   "Run the check again; if it stays, the store's conditional writes are broken.",
	},
	{
		id: CauseNotSupported, codes: []string{"NotImplemented", "InvalidAction", "MethodNotAllowed"},
		sentence: "The store does not know this request.",
		remedy:   "Loads need it: use a store, or a newer release of it, that does.",
	},
	{
		id:       CauseLeftBehind,
		sentence: "The check could not remove all it put into the bucket: {there}.",
		remedy:   "Remove it by hand.",
	},
	{
		id: CauseUnknown, when: func(failed) bool { return true },
		sentence: "The store refuses for a reason that loadfleet does not know.",
		remedy:   "Look the code up in the store's documentation, or give the request id to its operator.",
	},
}
