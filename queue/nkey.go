package queue

import (
	"fmt"

	"github.com/nats-io/nkeys"
)

// NewNKey makes the identity of a client: the seed is its secret, for the file
// that Config.NKey names; the public key is what the server's configuration
// knows it by.
func NewNKey() (seed, public string, err error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return "", "", fmt.Errorf("new nkey: %w", err)
	}
	defer pair.Wipe()
	secret, err := pair.Seed()
	if err != nil {
		return "", "", fmt.Errorf("new nkey: %w", err)
	}
	public, err = pair.PublicKey()
	if err != nil {
		return "", "", fmt.Errorf("new nkey: %w", err)
	}
	return string(secret), public, nil
}
