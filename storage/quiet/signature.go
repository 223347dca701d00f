package quiet

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
)

const scheme = "AWS4-HMAC-SHA256"

// signatures checks SigV4 signatures of one user. The signing key of a day is
// derived once, as clients do.
type signatures struct {
	accessKey, secretKey string

	mu   sync.Mutex
	keys map[string][]byte // by scope
}

func newSignatures(accessKey, secretKey string) *signatures {
	return &signatures{accessKey: accessKey, secretKey: secretKey, keys: map[string][]byte{}}
}

// check compares the request's signature with ours of the same headers. It
// does not judge its age.
func (s *signatures) check(r *http.Request) error {
	rest, ok := strings.CutPrefix(r.Header.Get("Authorization"), scheme+" ")
	if !ok {
		return errors.New("not signed with " + scheme)
	}
	var credential, signed, signature string
	for field := range strings.SplitSeq(rest, ",") {
		name, v, _ := strings.Cut(strings.TrimSpace(field), "=")
		switch name {
		case "Credential":
			credential = v
		case "SignedHeaders":
			signed = v
		case "Signature":
			signature = v
		}
	}
	user, scope, _ := strings.Cut(credential, "/")
	if user != s.accessKey {
		return errors.New("unknown access key")
	}
	canonical, err := canonicalRequest(r, signed)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(canonical)
	date := r.Header.Get("X-Amz-Date")
	if !strings.HasPrefix(date, scope[:min(len(scope), 8)]) || len(scope) < 8 {
		return errors.New("the scope is of another day")
	}
	key, err := s.key(scope)
	if err != nil {
		return err
	}
	want := hex.EncodeToString(mac(key, scheme+"\n"+date+"\n"+scope+"\n"+hex.EncodeToString(sum[:])))
	if !hmac.Equal([]byte(want), []byte(signature)) {
		return errors.New("the signature is not that of the request")
	}
	return nil
}

func (s *signatures) key(scope string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if key := s.keys[scope]; key != nil {
		return key, nil
	}
	parts := strings.Split(scope, "/")
	if len(parts) != 4 || parts[2] != "s3" || parts[3] != "aws4_request" {
		return nil, fmt.Errorf("the scope %q is not that of S3", scope)
	}
	key := []byte("AWS4" + s.secretKey)
	for _, p := range parts {
		key = mac(key, p)
	}
	s.keys[scope] = key
	return key, nil
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// mustSign are headers that mean something here, and so must be signed.
var mustSign = []string{"Host", "If-Match", "If-None-Match", "X-Amz-Content-Sha256", "X-Amz-Date"}

func canonicalRequest(r *http.Request, signed string) ([]byte, error) {
	names := strings.Split(signed, ";")
	for name := range r.Header {
		if (slices.Contains(mustSign, name) || strings.HasPrefix(name, "X-Amz-")) && !slices.Contains(names, strings.ToLower(name)) {
			return nil, fmt.Errorf("the header %s is not signed", name)
		}
	}
	b := make([]byte, 0, 2048)
	b = append(append(append(b, r.Method...), '\n'), r.URL.EscapedPath()...)
	b = append(b, '\n')
	if r.URL.RawQuery != "" {
		query, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			return nil, err
		}
		b = append(b, strings.ReplaceAll(query.Encode(), "+", "%20")...)
	}
	b = append(b, '\n')
	for _, name := range names {
		b = append(append(b, name...), ':')
		switch name {
		case "host":
			b = append(b, r.Host...)
		case "content-length":
			b = fmt.Append(b, r.ContentLength)
		default:
			for i, v := range r.Header.Values(name) {
				if i > 0 {
					b = append(b, ',')
				}
				b = append(b, strings.Join(strings.Fields(v), " ")...)
			}
		}
		b = append(b, '\n')
	}
	b = append(append(append(b, '\n'), signed...), '\n')
	return append(b, r.Header.Get("X-Amz-Content-Sha256")...), nil
}

// checkBody compares a body with what the request says of it and returns the
// content, without the framing that some clients put around it.
func checkBody(r *http.Request, body []byte) (content []byte, sum [sha256.Size]byte, err error) {
	content = body
	said := r.Header.Get("X-Amz-Content-Sha256")
	sums := r.Header
	if strings.HasPrefix(said, "STREAMING-") {
		if content, sums, err = unframe(body); err != nil {
			return nil, sum, &refusal{http.StatusBadRequest, "IncompleteBody", err.Error()}
		}
	}
	sum = sha256.Sum256(content)
	switch {
	case strings.HasPrefix(said, "STREAMING-") || said == "UNSIGNED-PAYLOAD":
	case said != hex.EncodeToString(sum[:]):
		return nil, sum, &refusal{http.StatusBadRequest, "XAmzContentSHA256Mismatch", "the body has another SHA-256 than the request says"}
	}
	if want := sums.Get("X-Amz-Checksum-Crc32"); want != "" {
		crc := binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(content))
		if want != base64.StdEncoding.EncodeToString(crc) {
			return nil, sum, &refusal{http.StatusBadRequest, "BadDigest", "the body has another CRC32 than the request says"}
		}
	} else if r.Method == http.MethodPut && len(body) > 0 && said == "UNSIGNED-PAYLOAD" {
		return nil, sum, &refusal{http.StatusBadRequest, "InvalidRequest", "neither a payload hash nor a checksum"}
	}
	return content, sum, nil
}

// unframe takes an aws-chunked body apart. Signatures of chunks are not checked:
// loadfleet signs none.
func unframe(body []byte) (content []byte, trailer http.Header, err error) {
	trailer = http.Header{}
	for {
		line, _, ok := strings.Cut(string(body[:min(len(body), 128)]), "\r\n")
		if !ok {
			return nil, nil, errors.New("a chunk without a head")
		}
		body = body[len(line)+2:]
		var n int
		if _, err := fmt.Sscanf(line, "%x", &n); err != nil || n < 0 || n > len(body)-2 {
			return nil, nil, errors.New("a chunk of another size than its head says")
		}
		if n == 0 {
			break
		}
		content = append(content, body[:n]...)
		body = body[n+2:]
	}
	for line := range strings.SplitSeq(string(body), "\r\n") {
		if name, v, ok := strings.Cut(line, ":"); ok {
			trailer.Set(strings.TrimSpace(name), strings.TrimSpace(v))
		}
	}
	return content, trailer, nil
}
