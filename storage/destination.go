package storage

import (
	"context"

	"github.com/loadfleet/loadfleet/destination"
)

// OpenDestination opens a destination's store. The settings must be unsealed.
func OpenDestination(ctx context.Context, s *destination.Settings, cfg Config) (*Store, error) {
	return Open(ctx, AccessOf(s), cfg)
}

// AccessOf is the part of a destination's settings that a store needs. It
// reveals the secret to the store's client, and nothing prints it.
func AccessOf(s *destination.Settings) Access {
	return Access{
		Destination:      s.ID,
		ConnectionOption: string(s.ConnectionOption),
		AccessKeyID:      s.AccessKeyID,
		SecretAccessKey:  s.SecretAccessKey.Reveal(),
		AssumeRoleARN:    s.AssumeRoleARN,
		ExternalID:       s.ExternalID,
		Region:           s.Region,
		Endpoint:         s.Endpoint,
		PathStyle:        s.PathStyle,
		BucketOwner:      s.BucketOwner,
		Encryption:       string(s.Encryption),
		EncryptionKey:    s.EncryptionKey,
		BucketKey:        s.BucketKey,
		ACL:              string(s.ACL),
		Checksum:         s.Checksum,
		Unconditional:    s.WriteGuard == destination.ByLease,
		MaxConcurrency:   s.MaxConcurrency,
		RateLimit:        s.RateLimit,
	}
}
