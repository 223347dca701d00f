package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

func sentinels() []error {
	return []error{
		ErrDenied, ErrNoBucket, ErrNotFound, ErrThrottled, ErrUnavailable, ErrPrecondition, ErrConflict,
		ErrCredentials, ErrRegion, ErrKMS, ErrEncryption, ErrInvalid,
	}
}

// reply is an error as the SDK makes it of a reply.
func reply(status int, code string) error {
	var inner error = &smithy.GenericAPIError{Code: code, Message: "says the store"}
	if code == "" {
		inner = errors.New("unreadable reply")
	}
	return &smithy.OperationError{ServiceID: "S3", OperationName: "PutObject", Err: &awshttp.ResponseError{
		RequestID:     "REQ1",
		ResponseError: &smithyhttp.ResponseError{Response: &smithyhttp.Response{Response: &http.Response{StatusCode: status}}, Err: inner},
	}}
}

func TestMeanings(t *testing.T) {
	for _, test := range []struct {
		status int
		code   string
		want   error
	}{
		{403, "AccessDenied", ErrDenied},
		{403, "Forbidden", ErrDenied},
		{403, "SomethingNew", ErrDenied},
		{400, "AccessControlListNotSupported", ErrDenied},
		{404, "NoSuchBucket", ErrNoBucket},
		{404, "NoSuchKey", ErrNotFound},
		{404, "NotFound", ErrNotFound},
		{404, "NoSuchUpload", ErrConflict},
		{503, "SlowDown", ErrThrottled},
		{429, "SomethingNew", ErrThrottled},
		{400, "ThrottlingException", ErrThrottled},
		{400, "KMS.ThrottlingException", ErrThrottled},
		{500, "InternalError", ErrUnavailable},
		{502, "", ErrUnavailable},
		{503, "ServiceUnavailable", ErrUnavailable},
		{400, "RequestTimeout", ErrUnavailable},
		{400, "BadDigest", ErrUnavailable},
		{200, "InternalError", ErrUnavailable}, // inside the 200 of a Complete
		{412, "PreconditionFailed", ErrPrecondition},
		{412, "", ErrPrecondition},
		{409, "ConditionalRequestConflict", ErrConflict},
		{409, "SomethingNew", ErrConflict},
		{403, "InvalidAccessKeyId", ErrCredentials},
		{403, "SignatureDoesNotMatch", ErrCredentials},
		{400, "ExpiredToken", ErrCredentials},
		{400, "InvalidToken", ErrCredentials},
		{301, "PermanentRedirect", ErrRegion},
		{301, "", ErrRegion},
		{400, "AuthorizationHeaderMalformed", ErrRegion},
		{400, "IllegalLocationConstraintException", ErrRegion},
		{400, "KMS.NotFoundException", ErrKMS},
		{400, "KMS.DisabledException", ErrKMS},
		{400, "KMS.SomethingNew", ErrKMS},
		{404, "kms:KeyNotFound", ErrKMS},
		{403, "KMS.AccessDeniedException", ErrDenied},
		{400, "KeyTooLongError", ErrInvalid},
		{400, "SomethingNew", ErrInvalid},
		{501, "NotImplemented", ErrInvalid},
	} {
		err := failure(t.Context(), "put", "bucket", "key", reply(test.status, test.code))
		for _, sentinel := range sentinels() {
			if got := errors.Is(err, sentinel); got != (sentinel == test.want) {
				t.Errorf("%d %s: is %q %v, want %v", test.status, test.code, sentinel, got, sentinel == test.want)
			}
		}
		if err.Status != test.status || err.Code != test.code || err.RequestID != "REQ1" {
			t.Errorf("%d %s: got status %d, code %q, request %q", test.status, test.code, err.Status, err.Code, err.RequestID)
		}
	}
}

// TestEveryMeaningIsASentinel keeps the table within what callers match on.
func TestEveryMeaningIsASentinel(t *testing.T) {
	for code, means := range meanings {
		known := false
		for _, sentinel := range sentinels() {
			known = known || means == sentinel
		}
		if !known {
			t.Errorf("%s means %v, which is no sentinel", code, means)
		}
	}
}

func TestErrorText(t *testing.T) {
	stop := errors.New("the worker stops")
	stopped, cancel := context.WithCancelCause(t.Context())
	cancel(stop)
	late, cancelLate := context.WithTimeout(t.Context(), 0)
	defer cancelLate()
	for _, test := range []struct {
		name string
		ctx  context.Context
		err  error
		is   error
		want string
	}{
		{
			"reply", t.Context(), reply(403, "AccessDenied"), ErrDenied,
			"put s3://acme/a/b.csv: access denied: says the store (AccessDenied, status 403, request REQ1)",
		},
		{
			"no reply", t.Context(), &smithy.OperationError{Err: &smithyhttp.RequestSendError{Err: io.ErrUnexpectedEOF}}, io.ErrUnexpectedEOF,
			"put s3://acme/a/b.csv: store unavailable: unexpected EOF",
		},
		{
			"own stop", stopped, &smithy.OperationError{Err: &smithyhttp.RequestSendError{Err: context.Canceled}}, stop,
			"put s3://acme/a/b.csv: the worker stops",
		},
		{
			"deadline", late, &smithy.OperationError{Err: &smithyhttp.RequestSendError{Err: context.DeadlineExceeded}}, ErrUnavailable,
			"put s3://acme/a/b.csv: store unavailable: context deadline exceeded",
		},
		{
			"role denied", t.Context(), &credentialError{"assume role r", "r", false, reply(403, "AccessDenied")}, ErrCredentials,
			"put: assume role r s3://acme/a/b.csv: credentials refused: says the store (AccessDenied, status 403, request REQ1)",
		},
		{
			"second of two roles, first is denied", t.Context(),
			&credentialError{"assume role second", "second", false, fmt.Errorf("sts: %w", &credentialError{"assume role first", "first", false, reply(403, "AccessDenied")})},
			ErrCredentials,
			"put: assume role first s3://acme/a/b.csv: credentials refused: says the store (AccessDenied, status 403, request REQ1)",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := failure(test.ctx, "put", "acme", "a/b.csv", test.err)
			if err.Error() != test.want || !errors.Is(err, test.is) {
				t.Errorf("got  %s\nwant %s (is %v: %v)", err, test.want, test.is, errors.Is(err, test.is))
			}
		})
	}
}

func TestPartSize(t *testing.T) {
	const mib = 1 << 20
	for _, test := range []struct{ size, least, want int64 }{
		{17 * mib, 8 * mib, 8 * mib},
		{MaxParts * 8 * mib, 8 * mib, 8 * mib},
		{MaxParts*8*mib + 1, 8 * mib, 9 * mib},
		{5 << 40, 8 * mib, 525 * mib},
	} {
		got := partSize(test.size, test.least)
		if parts := (test.size + got - 1) / got; got != test.want || parts > MaxParts {
			t.Errorf("part size of %d: %d (%d parts), want %d", test.size, got, parts, test.want)
		}
	}
}

func TestEncryptionCheck(t *testing.T) {
	const arn, other = "arn:aws:kms:eu-central-1:111111111111:key/k1", "arn:aws:kms:eu-central-1:111111111111:key/k2"
	for _, test := range []struct {
		name            string
		asked, reported Encryption
		ok              bool
	}{
		{"nothing asked", Encryption{}, Encryption{Algorithm: "aws:kms", KeyID: arn}, true},
		{"AES256, silent store", Encryption{Algorithm: "AES256"}, Encryption{}, true},
		{"AES256, bucket overrides", Encryption{Algorithm: "AES256"}, Encryption{Algorithm: "aws:kms", KeyID: arn}, false},
		{"KMS, silent store", Encryption{Algorithm: "aws:kms"}, Encryption{}, false},
		{"KMS, plain store", Encryption{Algorithm: "aws:kms"}, Encryption{Algorithm: "AES256"}, false},
		{"KMS, any key", Encryption{Algorithm: "aws:kms"}, Encryption{Algorithm: "aws:kms", KeyID: arn}, true},
		{"KMS by ARN", Encryption{Algorithm: "aws:kms", KeyID: arn}, Encryption{Algorithm: "aws:kms", KeyID: arn, BucketKey: true}, true},
		{"KMS by id", Encryption{Algorithm: "aws:kms", KeyID: "k1"}, Encryption{Algorithm: "aws:kms", KeyID: arn}, true},
		{"KMS by alias", Encryption{Algorithm: "aws:kms", KeyID: "alias/exports"}, Encryption{Algorithm: "aws:kms", KeyID: arn}, true},
		{"KMS with another key", Encryption{Algorithm: "aws:kms", KeyID: arn}, Encryption{Algorithm: "aws:kms", KeyID: other}, false},
		{"KMS key not told", Encryption{Algorithm: "aws:kms", KeyID: arn}, Encryption{Algorithm: "aws:kms"}, false},
	} {
		err := test.asked.check(test.reported)
		if (err == nil) != test.ok || (err != nil && !errors.Is(err, ErrEncryption)) {
			t.Errorf("%s: %v, want ok %v", test.name, err, test.ok)
		}
	}
}

func TestSessionName(t *testing.T) {
	if got, want := sessionName("acme ü/1"), "loadfleet-acme---1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := sessionName(strings.Repeat("x", 100)); len(got) != 64 {
		t.Errorf("%q has %d characters, want 64", got, len(got))
	}
}
