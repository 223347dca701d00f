package messages

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"slices"
)

// AccountSet is which accounts stand in one file, small enough for an object's
// metadata: of each the first four bytes of its name's SHA-256, in ascending
// order, in base64 (URL alphabet, no padding). It tells that an account is
// missing, never which one. The zero value is the empty set.
type AccountSet string

// AllAccounts is the set of every account, and of more than [MaxAccountSet]:
// nothing can be told of it.
const AllAccounts AccountSet = "*"

// MaxAccountSet is how many accounts a set can tell apart: with the rest of
// what loadfleet writes there they fill the 2 KB of metadata that S3 takes.
const MaxAccountSet = 200

// Accounts gathers an [AccountSet]. The zero value is empty.
type Accounts struct {
	prints []uint32 // ascending; one more than MaxAccountSet when there are more
}

// Add adds an account.
func (a *Accounts) Add(name string) {
	if len(a.prints) > MaxAccountSet {
		return
	}
	sum := sha256.Sum256([]byte(name))
	print := binary.BigEndian.Uint32(sum[:])
	if at, found := slices.BinarySearch(a.prints, print); !found {
		a.prints = slices.Insert(a.prints, at, print)
	}
}

// Set is what was added.
func (a *Accounts) Set() AccountSet {
	if len(a.prints) > MaxAccountSet {
		return AllAccounts
	}
	packed := make([]byte, 0, 4*len(a.prints))
	for _, p := range a.prints {
		packed = binary.BigEndian.AppendUint32(packed, p)
	}
	return AccountSet(base64.RawURLEncoding.EncodeToString(packed))
}

// Valid reports whether s is a set as [Accounts.Set] writes it.
func (s AccountSet) Valid() bool {
	_, ok := s.prints()
	return ok
}

// Lacks counts the accounts of other that s lacks; 0 when either cannot tell.
func (s AccountSet) Lacks(other AccountSet) int {
	if s == AllAccounts || other == AllAccounts {
		return 0
	}
	mine, ok := s.prints()
	if !ok {
		return 0
	}
	others, _ := other.prints()
	n := 0
	for _, p := range others {
		if _, found := slices.BinarySearch(mine, p); !found {
			n++
		}
	}
	return n
}

func (s AccountSet) prints() ([]uint32, bool) {
	if s == AllAccounts {
		return nil, true
	}
	packed, err := base64.RawURLEncoding.Strict().DecodeString(string(s))
	if err != nil || len(packed)%4 != 0 || len(packed) > 4*MaxAccountSet {
		return nil, false
	}
	prints := make([]uint32, 0, len(packed)/4)
	for ; len(packed) > 0; packed = packed[4:] {
		p := binary.BigEndian.Uint32(packed)
		if n := len(prints); n > 0 && prints[n-1] >= p {
			return nil, false
		}
		prints = append(prints, p)
	}
	return prints, true
}
