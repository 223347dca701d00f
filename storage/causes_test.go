package storage

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	smithyhttp "github.com/aws/smithy-go/transport/http"
)

func noHost(name string) error {
	return &smithyhttp.RequestSendError{Err: &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}}}
}

func TestCauses(t *testing.T) {
	const role, own = "arn:aws:iam::111111111111:role/acme", "arn:aws:iam::333333333333:role/fleet"
	keys := Access{ConnectionOption: "access_keys", AccessKeyID: "AKIA1", Region: "eu-central-1", Encryption: "sse-s3"}
	chain := Access{ConnectionOption: "role_chain", AssumeRoleARN: role, ExternalID: "x", Region: "eu-central-1"}
	withoutID := chain
	withoutID.ExternalID = ""
	kms := keys
	kms.Encryption, kms.EncryptionKey = "sse-kms-customer", "arn:aws:kms:eu-central-1:111111111111:key/k"
	elsewhere := kms
	elsewhere.EncryptionKey = "arn:aws:kms:us-east-1:111111111111:key/k"
	shared := keys
	shared.ConnectionOption, shared.Encryption = "shared_account", "sse-kms"
	answer := func(op string, status int, code string) error {
		return failure(t.Context(), op, "acme", "k", reply(status, code))
	}
	network := func(err error) error {
		return failure(t.Context(), "list", "acme", "", &smithyhttp.RequestSendError{Err: err})
	}
	assume := func(arn string, status int, code string) error {
		return failure(t.Context(), "put", "acme", "k", &credentialError{"assume role " + arn, arn, false, reply(status, code)})
	}
	known := func(cause CauseID) error { return &found{cause: cause, err: answer("put", 403, "AccessDenied")} }
	covered := map[CauseID]bool{}
	for _, test := range []struct {
		name   string
		err    error
		access Access
		want   CauseID
	}{
		{"wrong key id", answer("list", 403, "InvalidAccessKeyId"), keys, CauseWrongKeyID},
		{"wrong key id, says STS", answer("get caller identity", 403, "InvalidClientTokenId"), keys, CauseWrongKeyID},
		{"wrong secret", answer("list", 403, "SignatureDoesNotMatch"), keys, CauseWrongSecret},
		{"expired token", answer("put", 400, "ExpiredToken"), chain, CauseExpiredToken},
		{"expired token, says STS", assume(role, 403, "ExpiredTokenException"), chain, CauseExpiredToken},
		{"clock skew", answer("put", 403, "RequestTimeTooSkewed"), keys, CauseClockSkew},
		{"wrong region, 301", answer("list", 301, "PermanentRedirect"), keys, CauseWrongRegion},
		{"wrong region, 301 without a body", answer("ping", 301, ""), keys, CauseWrongRegion},
		{"wrong region, 400", answer("put", 400, "AuthorizationHeaderMalformed"), keys, CauseWrongRegion},
		{"no bucket", answer("put", 404, "NoSuchBucket"), keys, CauseNoBucket},
		{"bucket of another account", known(CauseForeignBucket), keys, CauseForeignBucket},
		{"put denied", answer("put", 403, "AccessDenied"), keys, CauseDeniedPut},
		{"upload denied", answer("create upload", 403, "AccessDenied"), keys, CauseDeniedPut},
		{"get denied", answer("get", 403, "AccessDenied"), keys, CauseDeniedGet},
		{"head denied", answer("head", 403, "Forbidden"), keys, CauseDeniedGet},
		{"list denied", answer("list", 403, "AccessDenied"), keys, CauseDeniedList},
		{"delete denied", answer("delete", 403, "AccessDenied"), keys, CauseDeniedDelete},
		{"abort denied", answer("abort upload", 403, "AccessDenied"), keys, CauseDeniedAbort},
		{"copy denied", answer("restamp", 403, "AccessDenied"), keys, CauseDeniedCopy},
		{"ACL denied", known(CauseDeniedACL), keys, CauseDeniedACL},
		{"KMS denied, says the store", answer("put", 403, "KMS.AccessDeniedException"), kms, CauseKMSDenied},
		{"KMS denied, found out", known(CauseKMSDenied), kms, CauseKMSDenied},
		{"KMS decrypt", known(CauseKMSDecrypt), kms, CauseKMSDecrypt},
		{"KMS disabled", answer("put", 400, "KMS.DisabledException"), kms, CauseKMSDisabled},
		{"KMS key about to be deleted", answer("put", 400, "KMS.KMSInvalidStateException"), kms, CauseKMSDisabled},
		{"KMS not found", answer("put", 400, "KMS.NotFoundException"), kms, CauseKMSNotFound},
		{"KMS wrong region", answer("put", 400, "KMS.NotFoundException"), elsewhere, CauseKMSWrongRegion},
		{"KMS wrong region, denied", answer("put", 403, "KMS.AccessDeniedException"), elsewhere, CauseKMSWrongRegion},
		{"KMS wrong kind", answer("put", 400, "KMS.InvalidKeyUsageException"), kms, CauseKMSUnusable},
		{"KMS cannot be shared", answer("put", 403, "KMS.AccessDeniedException"), shared, CauseKMSNotShared},
		{"ACL disabled", answer("put", 400, "AccessControlListNotSupported"), keys, CauseACLDisabled},
		{"encryption header demanded", known(CauseEncryptionDemanded), keys, CauseEncryptionDemanded},
		{"not encrypted as asked", &Error{Op: "put", Err: fmt.Errorf("%w: none", ErrEncryption)}, kms, CauseNotEncrypted},
		{"fleet's role denied", assume(own, 403, "AccessDenied"), chain, CauseRoleDenied},
		{"customer's role denied", assume(role, 403, "AccessDenied"), chain, CauseExternalID},
		{"customer's role denied, no external id", assume(role, 403, "AccessDenied"), withoutID, CauseNoExternalID},
		{"external id not demanded", known(CauseExternalIDIgnored), chain, CauseExternalIDIgnored},
		{"no credentials", failure(t.Context(), "put", "acme", "k", &credentialError{"find own credentials", "", true, errors.New("none")}), chain, CauseOwnCredentials},
		{"endpoint down", network(&net.OpError{Op: "dial", Err: errors.New("refused")}), keys, CauseEndpointDown},
		{"endpoint silent", network(context.DeadlineExceeded), keys, CauseEndpointDown},
		{"DNS", failure(t.Context(), "list", "acme", "", noHost("acme.s3.local")), keys, CauseDNS},
		{"DNS, of STS", failure(t.Context(), opIdentify, "", "", noHost("sts.local")), chain, CauseDNS},
		{"TLS, unknown authority", network(x509.UnknownAuthorityError{}), keys, CauseTLS},
		{"TLS, another name", network(x509.HostnameError{Certificate: &x509.Certificate{}, Host: "s3"}), keys, CauseTLS},
		{"TLS, no TLS there", network(http.ErrSchemeMismatch), keys, CauseTLS},
		{"no conditional writes", known(CauseNoConditions), keys, CauseNoConditions},
		{"conditional writes refused", known(CauseConditionsRefused), keys, CauseConditionsRefused},
		{"guarded by lease", known(CauseGuardedByLease), keys, CauseGuardedByLease},
		{"lease needless", known(CauseLeaseNeedless), keys, CauseLeaseNeedless},
		{"checksums", known(CauseChecksum), keys, CauseChecksum},
		{"not supported", answer("restamp", 501, "NotImplemented"), keys, CauseNotSupported},
		{"throttled", answer("put", 503, "SlowDown"), keys, CauseThrottled},
		{"store's own error", answer("put", 500, "InternalError"), keys, CauseStoreError},
		{"raced", answer("put", 412, "PreconditionFailed"), keys, CauseRaced},
		{"nothing allowed", known(CauseNothingAllowed), keys, CauseNothingAllowed},
		{"left behind", known(CauseLeftBehind), keys, CauseLeftBehind},
		{"interrupted", &Error{Op: "put", Err: context.Canceled}, keys, CauseInterrupted},
		{"unknown", answer("put", 400, "SomethingNew"), keys, CauseUnknown},
		{"no error of a store", errors.New("x"), keys, CauseUnknown},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := CauseOf(fmt.Errorf("wrapped: %w", test.err), test.access)
			if got.ID != test.want {
				t.Errorf("got %s, want %s (%v)", got.ID, test.want, test.err)
			}
			if text := got.Sentence + got.Remedy; got.Sentence == "" || got.Remedy == "" || strings.ContainsAny(text, "{}") {
				t.Errorf("cause %+v", got)
			}
			covered[got.ID] = true
		})
	}
	for _, row := range causes {
		if !covered[row.id] {
			t.Errorf("no case for %s", row.id)
		}
	}
}

// A name that cannot be resolved is named, and whose it is.
func TestCauseNamesTheHost(t *testing.T) {
	const role, host = "arn:aws:iam::111111111111:role/acme", "sts.us-east-1.amazonaws.com"
	chain := Access{ConnectionOption: "role_chain", AssumeRoleARN: role, Region: "us-east-1", Endpoint: "http://127.0.0.1:19000"}
	named := chain
	named.Endpoint = "https://s3.acme.example"
	for _, test := range []struct {
		name     string
		err      error
		access   Access
		sentence string
		remedy   string
	}{
		{"the store", failure(t.Context(), "put", "acme", "k", noHost("acme.s3.acme.example")), named,
			"The name of the store (https://s3.acme.example), acme.s3.acme.example, cannot be resolved.", "endpoint or region"},
		{"STS, asked who we are", failure(t.Context(), opIdentify, "", "", noHost(host)), chain, "The name of AWS STS, " + host + ", cannot be resolved", "--sts-endpoint"},
		{"STS, asked for a role", failure(t.Context(), "put", "acme", "k", &credentialError{"assume role " + role, role, false, noHost(host)}), chain,
			"The name of AWS STS, " + host + ", cannot be resolved", "--sts-endpoint"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := CauseOf(test.err, test.access)
			if got.ID != CauseDNS || !strings.HasPrefix(got.Sentence, test.sentence) || !strings.Contains(got.Remedy, test.remedy) {
				t.Errorf("got %+v, want %s: %q with remedy %q", got, CauseDNS, test.sentence, test.remedy)
			}
		})
	}
}
