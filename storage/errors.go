package storage

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// What can go wrong, for errors.Is. Every [Error] wraps exactly one of them,
// except one whose context was cancelled, which wraps the cause of that.
var (
	ErrDenied       = errors.New("access denied")
	ErrNoBucket     = errors.New("no such bucket")
	ErrNotFound     = errors.New("no such object")
	ErrThrottled    = errors.New("throttled by the store")
	ErrUnavailable  = errors.New("store unavailable")          // 5xx, no reply, a body damaged on its way
	ErrPrecondition = errors.New("condition not met")          // the key is not in the state the write asked for
	ErrConflict     = errors.New("conflicting operation")      // another write is under way: begin again
	ErrCredentials  = errors.New("credentials refused")        // keys, session or role
	ErrRegion       = errors.New("bucket in another region")   // or the endpoint is wrong
	ErrKMS          = errors.New("encryption key unusable")    // unknown, disabled, of the wrong kind
	ErrEncryption   = errors.New("not encrypted as asked")     // the object is stored, but otherwise
	ErrInvalid      = errors.New("request refused as invalid") // repeating it is of no use
)

// Error is a call to the store that failed. Its text holds no secret and no
// signature.
type Error struct {
	Op        string // "put", "complete upload", "assume role", ...
	Bucket    string
	Key       string
	Code      string // the store's error code; empty when there was no reply
	Status    int    // of the reply; 0 when there was none
	RequestID string
	Role      string // ARN of the role that was being assumed; empty for all else
	Own       bool   // the process's own credentials failed, not the customer's side
	Err       error  // wraps one of the sentinels above
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Bucket != "" {
		fmt.Fprintf(&b, " s3://%s", e.Bucket)
		if e.Key != "" {
			b.WriteString("/" + e.Key)
		}
	}
	fmt.Fprintf(&b, ": %v", e.Err)
	var notes []string
	if e.Code != "" {
		notes = append(notes, e.Code)
	}
	if e.Status != 0 {
		notes = append(notes, fmt.Sprintf("status %d", e.Status))
	}
	if e.RequestID != "" {
		notes = append(notes, "request "+e.RequestID)
	}
	if len(notes) > 0 {
		fmt.Fprintf(&b, " (%s)", strings.Join(notes, ", "))
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// LeftoverError is an upload that failed and could not be aborted either: its
// parts stay in the bucket, and cost, until UploadID is aborted by hand or by
// a lifecycle rule. It unwraps to the failure itself, not to the abort's.
type LeftoverError struct {
	UploadID string
	Err      error // why the upload failed
	Abort    error // why it could not be aborted
}

func (e *LeftoverError) Error() string {
	return fmt.Sprintf("%v; upload %s is left behind: %v", e.Err, e.UploadID, e.Abort)
}

func (e *LeftoverError) Unwrap() error { return e.Err }

// meanings gives the sentinel of each error code of S3, STS and KMS. Codes
// not listed are judged by their HTTP status.
var meanings = map[string]error{
	"AccessDenied":                  ErrDenied,
	"AccessDeniedException":         ErrDenied,
	"AllAccessDisabled":             ErrDenied,
	"AccountProblem":                ErrDenied,
	"Forbidden":                     ErrDenied,
	"MethodNotAllowed":              ErrDenied,
	"AccessControlListNotSupported": ErrDenied, // the bucket's ownership setting refuses the ACL

	"NoSuchBucket": ErrNoBucket,
	"NoSuchKey":    ErrNotFound,
	"NotFound":     ErrNotFound,

	"SlowDown":                 ErrThrottled,
	"SlowDownRead":             ErrThrottled,
	"SlowDownWrite":            ErrThrottled,
	"Throttling":               ErrThrottled,
	"ThrottlingException":      ErrThrottled,
	"RequestLimitExceeded":     ErrThrottled,
	"RequestThrottled":         ErrThrottled,
	"TooManyRequests":          ErrThrottled,
	"TooManyRequestsException": ErrThrottled,
	"BandwidthLimitExceeded":   ErrThrottled,
	"KMS.ThrottlingException":  ErrThrottled,

	"InternalError":                  ErrUnavailable,
	"ServiceUnavailable":             ErrUnavailable,
	"RequestTimeout":                 ErrUnavailable, // a 400: the body did not arrive in time
	"RequestTimeTooSkewed":           ErrUnavailable,
	"BadDigest":                      ErrUnavailable, // a 400: the body arrived damaged
	"IncompleteBody":                 ErrUnavailable,
	"XAmzContentSHA256Mismatch":      ErrUnavailable,
	"XAmzContentChecksumMismatch":    ErrUnavailable,
	"KMS.InternalException":          ErrUnavailable,
	"KMS.KMSInternalException":       ErrUnavailable,
	"KMS.DependencyTimeoutException": ErrUnavailable,
	"KMS.KeyUnavailableException":    ErrUnavailable,

	"PreconditionFailed":         ErrPrecondition,
	"ConditionalRequestConflict": ErrConflict,
	"OperationAborted":           ErrConflict,
	"NoSuchUpload":               ErrConflict, // the upload was aborted from elsewhere
	"InvalidPart":                ErrConflict,

	"InvalidAccessKeyId":          ErrCredentials,
	"SignatureDoesNotMatch":       ErrCredentials,
	"ExpiredToken":                ErrCredentials,
	"ExpiredTokenException":       ErrCredentials,
	"InvalidToken":                ErrCredentials,
	"TokenRefreshRequired":        ErrCredentials,
	"InvalidClientTokenId":        ErrCredentials,
	"UnrecognizedClientException": ErrCredentials,
	"MissingAuthenticationToken":  ErrCredentials,
	"InvalidSecurity":             ErrCredentials,
	"NotSignedUp":                 ErrCredentials,
	"RegionDisabledException":     ErrCredentials, // STS is off in the region

	"PermanentRedirect":                  ErrRegion,
	"MovedPermanently":                   ErrRegion,
	"Redirect":                           ErrRegion,
	"AuthorizationHeaderMalformed":       ErrRegion,
	"IllegalLocationConstraintException": ErrRegion,

	"KMS.NotFoundException":        ErrKMS,
	"KMS.DisabledException":        ErrKMS,
	"KMS.InvalidStateException":    ErrKMS,
	"KMS.KMSInvalidStateException": ErrKMS,
	"KMS.InvalidKeyUsageException": ErrKMS,
	"KMS.AccessDeniedException":    ErrDenied,
	"kms:KeyNotFound":              ErrKMS,
}

// meaning is the sentinel of a reply.
func meaning(code string, status int) error {
	if known, ok := meanings[code]; ok {
		return known
	}
	switch {
	case strings.HasPrefix(code, "KMS."):
		return ErrKMS
	case status == http.StatusTooManyRequests:
		return ErrThrottled
	case status >= 500 && status != http.StatusNotImplemented:
		return ErrUnavailable
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return ErrDenied
	case status == http.StatusNotFound:
		return ErrNotFound
	case status == http.StatusConflict:
		return ErrConflict
	case status == http.StatusPreconditionFailed:
		return ErrPrecondition
	case status >= 300 && status < 400:
		return ErrRegion
	case status >= 400:
		return ErrInvalid
	}
	return ErrUnavailable
}

// failure turns an error of the SDK into an [Error].
func failure(ctx context.Context, op, bucket, key string, err error) *Error {
	e := &Error{Op: op, Bucket: bucket, Key: key}
	means := e.read(&err)
	switch {
	case e.Code == "" && e.Status == 0 && errors.Is(ctx.Err(), context.Canceled):
		e.Err = context.Cause(ctx)
	default:
		e.Err = &verdict{means, err}
	}
	return e
}

// read fills in what a reply said, leaves in err what is worth telling, and
// gives the sentinel that fits.
func (e *Error) read(err *error) error {
	refused := refusedCredentials(*err)
	if refused != nil {
		e.Op, e.Role, e.Own, *err = e.Op+": "+refused.step, refused.role, refused.own, refused.err
	}
	if reply, ok := errors.AsType[*awshttp.ResponseError](*err); ok {
		e.Status, e.RequestID = reply.HTTPStatusCode(), reply.ServiceRequestID()
	}
	if api, ok := errors.AsType[smithy.APIError](*err); ok {
		e.Code = api.ErrorCode()
		*err = errors.New(api.ErrorMessage())
	} else {
		*err = innermost(*err)
	}
	means := ErrUnavailable // no reply
	if e.Code != "" || e.Status >= 300 {
		means = meaning(e.Code, e.Status)
	}
	if refused != nil && (refused.own || errors.Is(means, ErrDenied)) {
		return ErrCredentials
	}
	return means
}

// innermost is an error without the layers in which the SDK and net/http wrap
// it, whose texts repeat addresses and operations.
func innermost(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		switch err.(type) { //nolint:errorlint // one layer at a time: errors.As would look through them
		case *smithy.OperationError, *smithy.DeserializationError, *smithy.CanceledError, *aws.RequestCanceledError,
			*retry.MaxAttemptsError, *smithyhttp.RequestSendError, *url.Error, interface{ HTTPStatusCode() int }:
			err = inner
		default:
			return err
		}
	}
}

// verdict joins a sentinel with what the store or the network said.
type verdict struct{ meaning, cause error }

func (v *verdict) Error() string {
	if text := v.cause.Error(); text != "" {
		return v.meaning.Error() + ": " + text
	}
	return v.meaning.Error()
}

func (v *verdict) Unwrap() []error { return []error{v.meaning, v.cause} }
