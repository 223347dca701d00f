package embedded

import (
	"fmt"
	"maps"
	"net/http"
	"strings"

	"github.com/versity/versitygw/s3err"
)

// KeyState is what a KMS key answers to a caller.
type KeyState int

// The states of a key.
const (
	KeyEnabled  KeyState = iota
	KeyDisabled          // exists, but refuses work
	KeyForeign           // of another account, whose policy does not admit the caller
)

// Key is a KMS key that the server knows. A key it does not know is "not
// found".
type Key struct {
	ARN   string // arn:aws:kms:REGION:ACCOUNT:key/ID; the bare id is found too
	State KeyState
}

const (
	headerSSE          = "X-Amz-Server-Side-Encryption"
	headerSSEKey       = "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id"
	headerSSEBucketKey = "X-Amz-Server-Side-Encryption-Bucket-Key-Enabled"

	storedEntry  = "loadfleet-embedded-encryption"
	headerStored = "x-amz-meta-" + storedEntry
)

// encryption is how an object is encrypted, or how a request wants it.
type encryption struct {
	Algorithm string // AES256 or aws:kms
	KeyID     string
	BucketKey bool
}

// decide resolves what a request asks for to what is stored, as S3 does: no
// header means AES256, aws:kms without a key means the account's AWS-managed
// key.
func (g *gate) decide(asked encryption) (encryption, error) {
	switch {
	case asked.Algorithm == "" && asked.KeyID == "":
		return encryption{Algorithm: "AES256"}, nil
	case asked.Algorithm == "AES256" && asked.KeyID == "":
		return asked, nil
	case asked.Algorithm == "aws:kms" && asked.KeyID == "":
		asked.KeyID = fmt.Sprintf("arn:aws:kms:%s:%s:key/aws-s3", g.region, g.account)
		return asked, nil
	case asked.Algorithm == "aws:kms":
		return g.useKey(asked)
	}
	return encryption{}, s3err.APIError{
		Code:           "InvalidArgument",
		Description:    "The encryption method specified is not supported, or does not go with a KMS key",
		HTTPStatusCode: http.StatusBadRequest,
	}
}

func (g *gate) useKey(asked encryption) (encryption, error) {
	for _, key := range g.keys {
		if key.ARN != asked.KeyID && !strings.HasSuffix(key.ARN, ":key/"+asked.KeyID) {
			continue
		}
		switch key.State {
		case KeyDisabled:
			return encryption{}, s3err.APIError{
				Code:           "KMS.DisabledException",
				Description:    key.ARN + " is disabled.",
				HTTPStatusCode: http.StatusBadRequest,
			}
		case KeyForeign:
			return encryption{}, s3err.APIError{
				Code: "AccessDenied",
				Description: "User is not authorized to perform: kms:GenerateDataKey on resource: " + key.ARN +
					" because no resource-based policy allows the kms:GenerateDataKey action",
				HTTPStatusCode: http.StatusForbidden,
			}
		}
		asked.KeyID = key.ARN
		return asked, nil
	}
	return encryption{}, s3err.APIError{
		Code:           "KMS.NotFoundException",
		Description:    "Key '" + asked.KeyID + "' does not exist",
		HTTPStatusCode: http.StatusBadRequest,
	}
}

// in is metadata with the encryption added.
func (e encryption) in(metadata map[string]string) map[string]string {
	out := maps.Clone(metadata)
	if out == nil {
		out = map[string]string{}
	}
	out[storedEntry] = fmt.Sprintf("%s,%t,%s", e.Algorithm, e.BucketKey, e.KeyID)
	return out
}

func parseEncryption(stored string) encryption {
	algorithm, rest, _ := strings.Cut(stored, ",")
	bucketKey, key, _ := strings.Cut(rest, ",")
	return encryption{Algorithm: algorithm, BucketKey: bucketKey == "true", KeyID: key}
}

// each calls set for each header of a reply that tells of e.
func (e encryption) each(set func(name, value string)) {
	if e.Algorithm == "" {
		return
	}
	set(headerSSE, e.Algorithm)
	if e.KeyID != "" {
		set(headerSSEKey, e.KeyID)
	}
	if e.BucketKey {
		set(headerSSEBucketKey, "true")
	}
}
