package storage

import "time"

// Condition says in which state of the key a write may happen. The store
// judges it, atomically with the write. The zero value is [IfAbsent]: a
// condition that was forgotten overwrites nothing.
type Condition struct {
	kind    conditionKind
	etag    string
	decided time.Time
}

type conditionKind int

const (
	absent conditionKind = iota
	matching
	always
)

// IfAbsent allows the write when no object has the key.
func IfAbsent() Condition { return Condition{} }

// IfMatch allows the write when the key's object has this ETag, as Head or
// Put gave it. An object that has vanished does not match.
func IfMatch(etag string) Condition { return Condition{kind: matching, etag: etag} }

// Always allows the write whatever is there.
func Always() Condition { return Condition{kind: always} }

// Since is the condition of a decision made at that moment, as of which the
// write is then signed: the store refuses it 15 minutes later, whatever became
// of the process in between.
func (c Condition) Since(decided time.Time) Condition {
	c.decided = decided
	return c
}

// String describes the condition.
func (c Condition) String() string {
	switch c.kind {
	case matching:
		return "if match " + c.etag
	case always:
		return "always"
	}
	return "if absent"
}

// headers are the values of If-None-Match and If-Match; nil sends none.
func (c Condition) headers() (noneMatch, match *string) {
	switch c.kind {
	case absent:
		any := "*"
		return &any, nil
	case matching:
		return nil, &c.etag
	}
	return nil, nil
}

// conditions is what of a condition is sent to this store.
func (s *Store) conditions(c Condition) (noneMatch, match *string) {
	if s.access.Unconditional {
		return nil, nil
	}
	return c.headers()
}

// Unconditional reports whether this store is not asked to judge conditions:
// whoever writes must hold a lease on the key, and look after he got it.
func (s *Store) Unconditional() bool { return s.access.Unconditional }
