package embedded

// Quirk is what a bucket demands of its writers, or gets wrong as stores other
// than S3 do. The zero value is S3 itself.
type Quirk struct {
	// DemandEncryption is the algorithm (AES256 or aws:kms) without whose
	// header writes are denied, as by a bucket policy with the condition
	// s3:x-amz-server-side-encryption.
	DemandEncryption string

	// IgnoreEncryption takes encryption headers for granted: nothing is
	// checked, and replies tell of none.
	IgnoreEncryption bool

	// IgnoreConditions carries writes and deletes out whatever If-Match and
	// If-None-Match say.
	IgnoreConditions bool
}

func (g *gate) quirk(bucket *string) Quirk {
	if bucket == nil {
		return Quirk{}
	}
	return g.quirks[*bucket]
}
