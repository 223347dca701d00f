package destination

import (
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"
)

// What can be wrong with sealing; the errors of Keyring wrap them.
var (
	ErrNoKey      = errors.New("there is no seal key")
	ErrUnknownKey = errors.New("the secret is sealed with a key that is not in the keyring")
	ErrTampered   = errors.New("the sealed secret does not belong to this document or was changed")
)

// Keyring seals secrets at rest with XChaCha20-Poly1305: the first key seals,
// any opens. To rotate, put a new key first, apply every document of which
// [Keyring.NeedsReseal] is true again, then drop the old key. A Keyring does not
// change, may be used by many goroutines, and prints without its keys. The zero
// value and nil have no key and can store destinations without a secret only.
type Keyring struct {
	keys []sealKey
}

type sealKey struct {
	id   string // a short hash of the key, which stands in the sealed text
	aead cipher.AEAD
}

// NewSealKey makes a key, 32 random bytes in base64.
func NewSealKey() string {
	var key [chacha20poly1305.KeySize]byte
	_, _ = rand.Read(key[:]) // never fails: it crashes the process instead
	return base64.StdEncoding.EncodeToString(key[:])
}

// NewKeyring takes keys as [NewSealKey] writes them. Its error does not repeat them.
func NewKeyring(keys ...string) (*Keyring, error) {
	if len(keys) == 0 {
		return nil, ErrNoKey
	}
	ring := &Keyring{}
	for i, text := range keys {
		key, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(key) != chacha20poly1305.KeySize {
			return nil, fmt.Errorf("seal key %d is not %d bytes in base64", i+1, chacha20poly1305.KeySize)
		}
		aead, err := chacha20poly1305.NewX(key)
		if err != nil {
			return nil, fmt.Errorf("seal key %d: %w", i+1, err)
		}
		sum := sha256.Sum256(append([]byte("loadfleet seal key\x00"), key...))
		ring.keys = append(ring.keys, sealKey{id: hex.EncodeToString(sum[:4]), aead: aead})
	}
	return ring, nil
}

// ParseKeyring reads keys that stand one per line, or separated by spaces or
// commas as in an environment variable. What follows a '#' is a comment.
func ParseKeyring(text string) (*Keyring, error) {
	var keys []string
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		keys = append(keys, strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t\r\n,", r) })...)
	}
	return NewKeyring(keys...)
}

// Format answers every verb of fmt without the keys.
func (k *Keyring) Format(f fmt.State, verb rune) {
	n := 0
	if k != nil {
		n = len(k.keys)
	}
	_, _ = io.WriteString(f, fmt.Sprintf("keyring of %d keys", n))
}

// plain is Settings without its methods.
type plain Settings

// stored is a destination at rest. Its own fields take the place of those of
// Settings that may not be written as they are.
type stored struct {
	Version int `json:"version"`
	plain
	SecretAccessKey string `json:"secret_access_key,omitempty"` // v1.KEYID.BASE64
	Approved        bool   `json:"approved"`
	Paused          bool   `json:"paused"`
}

// storedVersion is the version of stored that this package writes and reads.
const storedVersion = 1

// Seal writes a destination as it is stored: JSON with the secret sealed. The
// secret is bound to the destination's id, connection option, access key id,
// endpoint and bucket, so that it opens in no other document.
func (k *Keyring) Seal(s *Settings) ([]byte, error) {
	out := stored{Version: storedVersion, plain: plain(*s), Approved: s.Approved, Paused: s.Paused}
	if !s.SecretAccessKey.IsZero() {
		if k == nil || len(k.keys) == 0 {
			return nil, fmt.Errorf("seal destination %s: %w", s.ID, ErrNoKey)
		}
		key := k.keys[0]
		nonce := make([]byte, chacha20poly1305.NonceSizeX)
		_, _ = rand.Read(nonce)
		sealed := key.aead.Seal(nonce, nonce, []byte(s.SecretAccessKey.Reveal()), binding(s))
		out.SecretAccessKey = "v1." + key.id + "." + base64.RawURLEncoding.EncodeToString(sealed)
	}
	doc, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("seal destination %s: %w", s.ID, err)
	}
	return doc, nil
}

// Open reads what Seal wrote. It does not judge the settings again: a rule that
// came later must not stop a destination that works. Its errors wrap
// [ErrUnknownKey] or [ErrTampered] where the secret is at fault.
func (k *Keyring) Open(doc []byte) (*Settings, error) {
	in, err := readStored(doc)
	if err != nil {
		return nil, err
	}
	s := Settings(in.plain)
	s.Approved, s.Paused = in.Approved, in.Paused
	if in.SecretAccessKey == "" {
		return &s, nil
	}
	id, sealed, err := cutSealed(in.SecretAccessKey)
	if err != nil {
		return nil, fmt.Errorf("open destination %s: %w", s.ID, err)
	}
	if k != nil {
		for _, key := range k.keys {
			if key.id != id {
				continue
			}
			nonce, box := sealed[:chacha20poly1305.NonceSizeX], sealed[chacha20poly1305.NonceSizeX:]
			secret, err := key.aead.Open(nil, nonce, box, binding(&s))
			if err != nil {
				return nil, fmt.Errorf("open destination %s: %w", s.ID, ErrTampered)
			}
			s.SecretAccessKey = NewSecret(string(secret))
			return &s, nil
		}
	}
	return nil, fmt.Errorf("open destination %s: %w (key id %s)", s.ID, ErrUnknownKey, id)
}

// Describe reads what Seal wrote without its secret, for those that need none
// and shall hold no key.
func Describe(doc []byte) (*Settings, error) {
	in, err := readStored(doc)
	if err != nil {
		return nil, err
	}
	s := Settings(in.plain)
	s.Approved, s.Paused = in.Approved, in.Paused
	return &s, nil
}

// NeedsReseal reports whether a stored document's secret is sealed with another
// key than the first.
func (k *Keyring) NeedsReseal(doc []byte) (bool, error) {
	id, err := SealedWith(doc)
	if err != nil || id == "" {
		return false, err
	}
	return k == nil || len(k.keys) == 0 || k.keys[0].id != id, nil
}

// SealedWith is the id of the key that sealed a stored document's secret; it is
// empty when there is no secret.
func SealedWith(doc []byte) (keyID string, err error) {
	in, err := readStored(doc)
	if err != nil || in.SecretAccessKey == "" {
		return "", err
	}
	keyID, _, err = cutSealed(in.SecretAccessKey)
	if err != nil {
		return "", fmt.Errorf("open destination %s: %w", in.ID, err)
	}
	return keyID, nil
}

func readStored(doc []byte) (stored, error) {
	in := stored{plain: plain(*defaults())}
	if err := json.Unmarshal(doc, &in); err != nil {
		return stored{}, errors.New("open destination: the stored document is not valid JSON of one") // the cause may repeat a part of it
	}
	if in.Version != storedVersion {
		return stored{}, fmt.Errorf("open destination %s: stored by version %d, and this program reads version %d", in.ID, in.Version, storedVersion)
	}
	return in, nil
}

// cutSealed takes a sealed text apart: nonce and box together.
func cutSealed(sealed string) (keyID string, box []byte, err error) {
	parts := strings.Split(sealed, ".")
	if len(parts) != 3 || parts[0] != "v1" {
		return "", nil, ErrTampered
	}
	box, err = base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || len(box) < chacha20poly1305.NonceSizeX+chacha20poly1305.Overhead {
		return "", nil, ErrTampered
	}
	return parts[1], box, nil
}

// binding is what the secret is sealed to. Each part carries its length, so that
// no two destinations have one binding.
func binding(s *Settings) []byte {
	var out []byte
	for _, part := range []string{"loadfleet destination v1", s.ID, "secret_access_key", string(s.ConnectionOption), s.AccessKeyID, s.Endpoint, s.Bucket} {
		out = binary.AppendUvarint(out, uint64(len(part)))
		out = append(out, part...)
	}
	return out
}
