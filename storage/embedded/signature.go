package embedded

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// authorization is a parsed SigV4 Authorization header.
type authorization struct {
	accessKey, date, region, service string
	signed                           []string
	signature                        string
}

func parseAuthorization(header string) (authorization, error) {
	rest, ok := strings.CutPrefix(header, "AWS4-HMAC-SHA256 ")
	if !ok {
		return authorization{}, errors.New("request is not signed with AWS4-HMAC-SHA256")
	}
	var a authorization
	for field := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		switch name {
		case "Credential":
			parts := strings.Split(value, "/")
			if len(parts) != 5 {
				return authorization{}, errors.New("malformed credential scope")
			}
			a.accessKey, a.date, a.region, a.service = parts[0], parts[1], parts[2], parts[3]
		case "SignedHeaders":
			a.signed = strings.Split(value, ";")
		case "Signature":
			a.signature = value
		}
	}
	if a.accessKey == "" || a.signature == "" || len(a.signed) == 0 {
		return authorization{}, errors.New("malformed Authorization header")
	}
	return a, nil
}

// VerifySignature signs a received request again, with the headers that its
// Authorization header names, and compares. Body may be nil when the request
// carries X-Amz-Content-Sha256. It does not judge the age of the signature.
func VerifySignature(r *http.Request, body []byte, secretKey string) error {
	a, err := parseAuthorization(r.Header.Get("Authorization"))
	if err != nil {
		return err
	}
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil {
		return fmt.Errorf("parse X-Amz-Date: %w", err)
	}
	again := &http.Request{Method: r.Method, URL: r.URL, Host: r.Host, Header: http.Header{}}
	for _, name := range a.signed {
		switch name {
		case "host":
		case "content-length":
			again.ContentLength = r.ContentLength
			if again.ContentLength <= 0 {
				again.ContentLength, err = strconv.ParseInt(r.Header.Get("Content-Length"), 10, 64)
				if err != nil {
					return fmt.Errorf("parse Content-Length: %w", err)
				}
			}
		default:
			again.Header[http.CanonicalHeaderKey(name)] = r.Header.Values(name)
		}
	}
	hash := r.Header.Get("X-Amz-Content-Sha256")
	if hash == "" {
		sum := sha256.Sum256(body)
		hash = hex.EncodeToString(sum[:])
	}
	credentials := aws.Credentials{
		AccessKeyID: a.accessKey, SecretAccessKey: secretKey, SessionToken: again.Header.Get("X-Amz-Security-Token"),
	}
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = a.service == "s3" })
	if err := signer.SignHTTP(context.WithoutCancel(r.Context()), credentials, again, hash, a.service, a.region, at); err != nil {
		return fmt.Errorf("sign again: %w", err)
	}
	got, err := parseAuthorization(again.Header.Get("Authorization"))
	if err != nil {
		return err
	}
	if !hmac.Equal([]byte(got.signature), []byte(a.signature)) {
		return errors.New("signature does not match")
	}
	return nil
}
