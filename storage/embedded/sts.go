package embedded

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v3"
	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/s3err"
)

// tokenService is STS: AssumeRole and GetCallerIdentity, as form posts to /.
type tokenService struct {
	people *identities
	region string
	now    func() time.Time
}

const (
	shortestSession = 15 * time.Minute
	chainedSession  = time.Hour // the longest session of a role assumed with a role's session
)

// stsError is a refusal in the form that STS clients read.
type stsError struct {
	status        int
	code, message string
}

func (e *stsError) Error() string { return e.code + ": " + e.message }

func (t *tokenService) handle(c fiber.Ctx) error {
	reply, err := t.answer(c)
	c.Set(fiber.HeaderContentType, "text/xml")
	if err != nil {
		refusal, ok := errors.AsType[*stsError](err)
		if !ok {
			refusal = &stsError{http.StatusInternalServerError, "InternalFailure", err.Error()}
		}
		c.Status(refusal.status)
		reply = stsRefusal{Type: "Sender", Code: refusal.code, Message: refusal.message, RequestID: "embedded"}
	}
	body, err := xml.Marshal(reply)
	if err != nil {
		return err
	}
	return c.Send(body)
}

type stsRefusal struct {
	XMLName   xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ ErrorResponse"`
	Type      string   `xml:"Error>Type"`
	Code      string   `xml:"Error>Code"`
	Message   string   `xml:"Error>Message"`
	RequestID string   `xml:"RequestId"`
}

func (t *tokenService) answer(c fiber.Ctx) (any, error) {
	body := bytes.Clone(c.Body())
	r, err := http.NewRequestWithContext(c.RequestCtx(), http.MethodPost, "http://"+string(c.Request().Host())+"/", nil)
	if err != nil {
		return nil, fmt.Errorf("read request: %w", err)
	}
	for name, value := range c.Request().Header.All() {
		r.Header.Add(string(name), string(value))
	}
	caller, err := t.caller(r, body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, &stsError{http.StatusBadRequest, "MalformedQueryString", "The request body is not a form"}
	}
	switch form.Get("Action") {
	case "AssumeRole":
		return t.assume(caller, form)
	case "GetCallerIdentity":
		return identityReply{ARN: caller.arn, UserID: caller.arn, Account: accountOf(caller.arn), RequestID: "embedded"}, nil
	}
	return nil, &stsError{http.StatusBadRequest, "InvalidAction", "Could not find operation " + form.Get("Action")}
}

type identityReply struct {
	XMLName   xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ GetCallerIdentityResponse"`
	ARN       string   `xml:"GetCallerIdentityResult>Arn"`
	UserID    string   `xml:"GetCallerIdentityResult>UserId"`
	Account   string   `xml:"GetCallerIdentityResult>Account"`
	RequestID string   `xml:"ResponseMetadata>RequestId"`
}

func (t *tokenService) caller(r *http.Request, body []byte) (principal, error) {
	scope, err := parseAuthorization(r.Header.Get("Authorization"))
	if err != nil {
		return principal{}, &stsError{http.StatusForbidden, "MissingAuthenticationToken", err.Error()}
	}
	p, err := t.people.find(scope.accessKey, r.Header.Get("X-Amz-Security-Token"))
	if expired, ok := errors.AsType[s3err.APIError](err); ok {
		return principal{}, &stsError{http.StatusForbidden, expired.Code, "The security token included in the request is expired"}
	}
	if errors.Is(err, auth.ErrNoSuchUser) || errors.Is(err, auth.ErrInvalidSessionToken) {
		return principal{}, &stsError{http.StatusForbidden, "InvalidClientTokenId", "The security token included in the request is invalid."}
	}
	if err != nil {
		return principal{}, err
	}
	if err := VerifySignature(r, body, p.secret); err != nil {
		return principal{}, &stsError{http.StatusForbidden, "SignatureDoesNotMatch",
			"The request signature we calculated does not match the signature you provided."}
	}
	return p, nil
}

type assumeReply struct {
	XMLName      xml.Name  `xml:"https://sts.amazonaws.com/doc/2011-06-15/ AssumeRoleResponse"`
	AccessKeyID  string    `xml:"AssumeRoleResult>Credentials>AccessKeyId"`
	SecretKey    string    `xml:"AssumeRoleResult>Credentials>SecretAccessKey"`
	SessionToken string    `xml:"AssumeRoleResult>Credentials>SessionToken"`
	Expiration   time.Time `xml:"AssumeRoleResult>Credentials>Expiration"`
	ARN          string    `xml:"AssumeRoleResult>AssumedRoleUser>Arn"`
	UserID       string    `xml:"AssumeRoleResult>AssumedRoleUser>AssumedRoleId"`
	RequestID    string    `xml:"ResponseMetadata>RequestId"`
}

func (t *tokenService) assume(caller principal, form url.Values) (any, error) {
	arn, name := form.Get("RoleArn"), form.Get("RoleSessionName")
	if name == "" {
		return nil, &stsError{http.StatusBadRequest, "ValidationError", "RoleSessionName is required"}
	}
	role, ok := t.people.role(arn)
	if !ok || !role.trusts(caller) || (role.ExternalID != "" && form.Get("ExternalId") != role.ExternalID) {
		return nil, &stsError{http.StatusForbidden, "AccessDenied",
			"User: " + caller.arn + " is not authorized to perform: sts:AssumeRole on resource: " + arn}
	}
	length, err := role.sessionLength(form.Get("DurationSeconds"), caller.session)
	if err != nil {
		return nil, err
	}
	_, roleName, _ := strings.Cut(role.ARN, ":role/")
	s := session{
		accessKey: "ASIA" + rand.Text()[:16], secretKey: rand.Text(), token: rand.Text() + rand.Text(),
		role: role, arn: fmt.Sprintf("arn:aws:sts::%s:assumed-role/%s/%s", accountOf(role.ARN), roleName, name),
		expires: t.now().Add(length),
	}
	t.people.open(s)
	return assumeReply{
		AccessKeyID: s.accessKey, SecretKey: s.secretKey, SessionToken: s.token, Expiration: s.expires.UTC(),
		ARN: s.arn, UserID: "AROAEMBEDDED:" + name, RequestID: "embedded",
	}, nil
}

func (r Role) trusts(caller principal) bool {
	return slices.ContainsFunc(r.Trust, func(arn string) bool {
		return arn == "*" || arn == caller.arn || (arn == caller.roleArn && arn != "")
	})
}

// sessionLength applies the limits of STS: at least 15 minutes, at most what
// the role allows, at most an hour in a chain.
func (r Role) sessionLength(asked string, chained bool) (time.Duration, error) {
	length, longest := time.Hour, cmp.Or(r.MaxSession, time.Hour)
	if asked != "" {
		seconds, err := strconv.Atoi(asked)
		if err != nil {
			return 0, &stsError{http.StatusBadRequest, "ValidationError", "DurationSeconds is not a number"}
		}
		length = time.Duration(seconds) * time.Second
	}
	switch {
	case chained && length > chainedSession:
		return 0, &stsError{http.StatusBadRequest, "ValidationError",
			"The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining"}
	case length < shortestSession || length > longest:
		return 0, &stsError{http.StatusBadRequest, "ValidationError",
			"The requested DurationSeconds is outside what is set for this role"}
	}
	return length, nil
}

// accountOf is the account in an ARN.
func accountOf(arn string) string {
	if parts := strings.Split(arn, ":"); len(parts) > 4 {
		return parts[4]
	}
	return ""
}
