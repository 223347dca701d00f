package destination

// refusal says why a connection option cannot carry an encryption (SPEC 3), and
// what to write instead; "" means it can.
func refusal(o ConnectionOption, e Encryption) (reason, remedy string) {
	switch {
	case o == SharedAccount && e == SSEKMS:
		return "an AWS-managed KMS key cannot be shared across accounts: its key policy cannot be edited, and objects of shared_account are put by our account and read by yours",
			"write sse-s3, or sse-kms-customer with a key whose policy admits our account"
	case o == CanonicalID && e == SSEKMS:
		return "an AWS-managed KMS key cannot be shared across accounts: its key policy cannot be edited, and objects of canonical_id are put by our account and read by yours",
			"write sse-s3, or use role_chain"
	case o == CanonicalID && e == SSEKMSCustomer:
		return "a bucket ACL that admits our canonical id carries no right on a KMS key, and a key policy names accounts, users and roles but no canonical id",
			"write sse-s3, or use shared_account or role_chain"
	}
	return "", ""
}

// Allowed reports whether the connection option can carry the encryption.
func Allowed(o ConnectionOption, e Encryption) bool {
	reason, _ := refusal(o, e)
	return reason == ""
}
