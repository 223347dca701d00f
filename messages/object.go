package messages

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"
)

// Object is the last known state of one object that loadfleet wrote: what its
// last load left at the key. It is a record of what was done, not of what is
// there: whoever else writes to the bucket does not tell us.
type Object struct {
	Version     int    `json:"version"`
	Workspace   string `json:"workspace"`
	Destination string `json:"destination"`
	Extraction  string `json:"extraction"`
	Load        string `json:"load"`
	Table       string `json:"table,omitempty"`

	Bucket string `json:"bucket"`
	Key    string `json:"key"`
	Format string `json:"format"`

	// Which rows the object holds; From and To are inclusive, YYYY-MM-DD, and
	// empty when the rows are dated by their load.
	From    string `json:"from,omitempty"`
	To      string `json:"to,omitempty"`
	Account string `json:"account,omitempty"`
	// Holds is the accounts of a file that several share; empty when nobody knows.
	Holds AccountSet `json:"holds,omitempty"`

	Generation int64     `json:"generation"`
	Result     Result    `json:"result"` // loaded, unchanged or deleted
	Rows       int64     `json:"rows"`
	Bytes      int64     `json:"bytes"`
	SHA256     string    `json:"sha256,omitempty"`  // of the file; of a deleted object, as it was last
	ETag       string    `json:"etag,omitempty"`    // the same
	History    string    `json:"history,omitempty"` // where objects may be deleted: its form, and what stood at the key lately
	Time       time.Time `json:"time"`              // when its load ended, had put it or was about to delete it, or it was removed

	// RemovedBy is who had an orphan removed; Removing while it may still be there.
	RemovedBy string `json:"removed_by,omitempty"`
	Removing  bool   `json:"removing,omitempty"`
}

// Before reports whether o is older than p: of a lower generation or, at equal
// generations, of the lesser extraction id, as at the object itself.
func (o *Object) Before(p *Object) bool {
	if o.Generation != p.Generation {
		return o.Generation < p.Generation
	}
	return o.Extraction < p.Extraction
}

// NewObject is the record of what a load left at its key; nil when its outcome
// left nothing there.
func NewObject(l *Load, o *Outcome) *Object {
	if o.Result == Superseded || o.Result == DeadLettered {
		return nil
	}
	return &Object{
		Version: Version, Workspace: l.Workspace, Destination: l.Destination, Extraction: l.Extraction, Load: l.ID, Table: l.Table,
		Bucket: l.Bucket, Key: l.Key, Format: l.Format(), From: l.Part.From, To: l.Part.To, Account: l.Part.Account, Holds: l.Part.Holds,
		Generation: l.Generation, Result: o.Result, Rows: o.Rows, Bytes: o.Bytes, SHA256: o.SHA256, ETag: o.ETag, Time: o.Ended,
	}
}

// EncodeObject writes o as the JSON body of its message. It refuses, with a
// [*DecodeError], what ParseObject would refuse.
func EncodeObject(o *Object) ([]byte, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	return marshal(o)
}

// ParseObject reads the body of an object's record. It fails with a
// [*DecodeError]. Fields that it does not know are passed over.
func ParseObject(body []byte) (*Object, error) {
	o := new(Object)
	if err := unmarshal("object", body, o); err != nil {
		return nil, err
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	return o, nil
}

func (o *Object) check() error {
	found := &mistakes{reason: ReasonUndecodable}
	if o.Version != Version {
		found.add("version", "", "there is no version %d", o.Version)
	}
	for _, f := range [][2]string{{"workspace", o.Workspace}, {"destination", o.Destination}, {"extraction", o.Extraction}, {"load", o.Load}} {
		if !ValidID(f[1]) {
			found.add(f[0], "", "%q cannot be an id", clip(f[1], 2*MaxID))
		}
	}
	if o.Bucket == "" || o.Key == "" {
		found.add("key", "", "bucket or key missing")
	}
	if !slices.Contains([]Result{Loaded, Unchanged, Deleted}, o.Result) {
		found.add("result", "", "%q leaves no object", clip(string(o.Result), 80))
	}
	return decoded("object", found)
}

// ObjectSubject is the one place of an object's record: a hash, because a key
// may be longer than a subject.
func ObjectSubject(destination, bucket, key string) string {
	return keySubject(objectRoot, destination, bucket, key)
}

// LeaseSubject is the one place of the lease on an object's key.
func LeaseSubject(destination, bucket, key string) string {
	return keySubject(leaseRoot, destination, bucket, key)
}

func keySubject(root, destination, bucket, key string) string {
	sum := sha256.Sum256([]byte(bucket + "\x00" + key))
	return strings.Join([]string{root, Token(destination), hex.EncodeToString(sum[:16])}, ".")
}

// ObjectSubjects is the filter for the records of a destination's objects.
func ObjectSubjects(destination string) string {
	return objectRoot + "." + Token(destination) + ".*"
}
