package messages

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/loadfleet/loadfleet/encoding"
)

// Load tells a worker to make one object from one partition. All that decides
// where the object goes and what it is is pinned here by the dispatcher.
type Load struct {
	Version     int    `json:"version"`
	ID          string `json:"id"` // a hash of extraction, bucket and key
	Workspace   string `json:"workspace"`
	Destination string `json:"destination"`
	Extraction  string `json:"extraction"`
	Lane        Lane   `json:"lane"`
	Generation  int64  `json:"generation"`
	Table       string `json:"table,omitempty"` // the commit's filename

	Bucket string    `json:"bucket"`
	Key    string    `json:"key"`
	File   FileSpec  `json:"file"`
	Part   Partition `json:"partition"`

	// Delete says that the partition has no rows any more: the key's object, of
	// this generation or an older one, is to be removed.
	Delete bool `json:"delete,omitempty"`

	// Manifest makes the object a list of the extraction's other objects.
	Manifest *Manifest `json:"manifest,omitempty"`

	// Sidecar makes the object the payload as it is: a description of the table,
	// of this media type.
	Sidecar string `json:"sidecar,omitempty"`

	Rows   int64       `json:"rows"`
	Inline *RowsRef    `json:"inline,omitempty"` // the rows are this message's payload
	Slices []SliceRef  `json:"slices,omitempty"` // or stand in these runs of messages
	Time   time.Time   `json:"time"`             // when the load started: the commit's instant
	Replay *ReplayMark `json:"replay,omitempty"`
}

// FileSpec is what the object is: encoding.FileOptions as they travel.
type FileSpec struct {
	Format      encoding.Format    `json:"format"`
	Separator   encoding.Separator `json:"separator,omitempty"`
	Compression string             `json:"compression,omitempty"` // of Parquet pages or Avro blocks
	Without     []string           `json:"without,omitempty"`     // columns of the rows that the file leaves out: its key names their value
}

// Partition says which rows the load holds; a worker checks them against it.
type Partition struct {
	// From and To bound the rows' dates, both inclusive, YYYY-MM-DD; empty
	// when the rows are dated by the load.
	From    string `json:"from,omitempty"`
	To      string `json:"to,omitempty"`
	Account string `json:"account,omitempty"` // empty unless loaded by account

	DateColumn    string `json:"date_column,omitempty"`
	AccountColumn string `json:"account_column,omitempty"`

	// Of a file that several accounts share: those of its rows, and those that
	// the extraction is complete for (empty: those of its rows). The load may
	// not replace a file that holds others.
	Holds  AccountSet `json:"holds,omitempty"`
	Covers AccountSet `json:"covers,omitempty"`
}

// Lacks counts the accounts of a file that this partition's would drop without
// saying so.
func (p Partition) Lacks(held AccountSet) int {
	if p.Covers != "" {
		return p.Covers.Lacks(held)
	}
	if p.Holds == "" {
		return 0 // the rows' accounts are not known
	}
	return p.Holds.Lacks(held)
}

// RowsRef describes rows carried in a payload, as encoding.RowsUnpacker reads them.
type RowsRef struct {
	Bytes    int64  `json:"bytes"`
	Packed   string `json:"packed,omitempty"`   // how, by one of encoding's names; empty: not at all
	Unpacked int64  `json:"unpacked,omitempty"` // bytes of memory that packed rows are unpacked into
	SHA256   string `json:"sha256"`             // over the payload
}

// SliceRef is a run of slice messages on one subject, in stream order.
type SliceRef struct {
	Subject string `json:"subject"`
	Count   int    `json:"count"` // messages
	Rows    int64  `json:"rows"`
	Bytes   int64  `json:"bytes"`
	Packed  string `json:"packed,omitempty"` // each payload; as in RowsRef
	SHA256  string `json:"sha256"`           // over the payloads, concatenated
}

// ReplayMark says that the load came back from the dead letters.
type ReplayMark struct {
	Count int       `json:"count"`
	At    time.Time `json:"at"`
}

// LoadID names the one load of an extraction that makes the object: the first
// 16 bytes, in hex, of the SHA-256 of workspace, extraction, bucket and key,
// each ended by a zero byte but the last. Whoever dispatches the extraction again comes to
// the same id.
func LoadID(workspace, extraction, bucket, key string) string {
	sum := sha256.Sum256([]byte(workspace + "\x00" + extraction + "\x00" + bucket + "\x00" + key))
	return hex.EncodeToString(sum[:16])
}

// MaxLoadHeader bounds an encoded Load, in bytes: with a dead letter beside it
// the message must stay within the 64 KiB of headers that the broker takes.
const MaxLoadHeader = 32 << 10

// EncodeLoad writes l as ASCII JSON for HeaderLoad. It refuses, with a
// [*DecodeError], what ParseLoad would refuse, and a load too large for a header.
func EncodeLoad(l *Load) (string, error) {
	if err := l.check(); err != nil {
		return "", err
	}
	s, err := marshalASCII(l)
	if err == nil && len(s) > MaxLoadHeader {
		return "", fmt.Errorf("encode load %s: %d bytes: a header holds at most %d", l.ID, len(s), MaxLoadHeader)
	}
	return s, err
}

// ParseLoad reads the value of HeaderLoad. It fails with a [*DecodeError].
// Fields that it does not know are passed over: what changes the meaning of a
// load raises its version.
func ParseLoad(s string) (*Load, error) {
	l := new(Load)
	if err := unmarshal("load", []byte(s), l); err != nil {
		return nil, err
	}
	if err := l.check(); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *Load) check() error {
	found := &mistakes{reason: ReasonUndecodable}
	flaw := func(field, format string, args ...any) { found.add(field, "", format, args...) }
	if l.Version != Version {
		flaw("version", "there is no version %d", l.Version)
	}
	for _, f := range [][2]string{{"id", l.ID}, {"workspace", l.Workspace}, {"destination", l.Destination}, {"extraction", l.Extraction}} {
		if !ValidID(f[1]) {
			flaw(f[0], "%q cannot be an id", clip(f[1], 2*MaxID))
		}
	}
	if !slices.Contains(Lanes(), l.Lane) {
		flaw("lane", "unknown lane %q", clip(string(l.Lane), 80))
	}
	if l.Generation <= 0 {
		flaw("generation", "%d is not above zero", l.Generation)
	}
	// JSON would replace bytes that are not UTF-8, and the object would land
	// under another key than the one that was dispatched.
	for _, f := range [][2]string{{"bucket", l.Bucket}, {"key", l.Key}, {"partition.account", l.Part.Account}, {"partition.date_column", l.Part.DateColumn}, {"partition.account_column", l.Part.AccountColumn}} {
		if !utf8.ValidString(f[1]) {
			flaw(f[0], "%q is not UTF-8", clip(f[1], 80))
		}
	}
	if l.Bucket == "" {
		flaw("bucket", "missing")
	}
	if l.Key == "" {
		flaw("key", "missing")
	}
	if _, err := encoding.ParseFormat(string(l.File.Format)); err != nil {
		flaw("file.format", "%s", err)
	}
	if l.File.Separator != "" {
		if _, err := encoding.ParseSeparator(string(l.File.Separator)); err != nil {
			flaw("file.separator", "%s", err)
		}
	}
	for _, f := range [][2]string{{"partition.from", l.Part.From}, {"partition.to", l.Part.To}} {
		if f[1] == "" {
			continue
		}
		if _, err := time.Parse(time.DateOnly, f[1]); err != nil {
			flaw(f[0], "%q is not a date", clip(f[1], 40))
		}
	}
	if l.Part.From > l.Part.To || l.Part.From == "" && l.Part.To != "" {
		flaw("partition.from", "%q to %q is no span of days", clip(l.Part.From, 40), clip(l.Part.To, 40))
	}
	for _, f := range []struct {
		field string
		set   AccountSet
	}{{"partition.holds", l.Part.Holds}, {"partition.covers", l.Part.Covers}} {
		if !f.set.Valid() {
			flaw(f.field, "%q is no set of accounts", clip(string(f.set), 80))
		}
	}
	if l.Time.IsZero() {
		flaw("time", "missing")
	}
	if l.Manifest != nil {
		l.Manifest.check(flaw)
	}
	l.checkRows(flaw)
	return decoded("load", found)
}

func (l *Load) checkRows(flaw func(field, format string, args ...any)) {
	if l.Rows < 0 {
		flaw("rows", "%d is below zero", l.Rows)
	}
	switch {
	case l.Delete && l.Manifest != nil:
		flaw("delete", "a manifest is not deleted")
	case l.Sidecar != "" && (l.Delete || l.Manifest != nil || l.Rows > 0 || l.Inline == nil):
		flaw("sidecar", "the load is to describe the table by its payload, and is something else besides")
	case l.Manifest != nil && (l.Rows > 0 || l.Inline != nil || len(l.Slices) > 0):
		flaw("manifest", "the load is to list the extraction's objects, and carries rows")
	case l.Delete && (l.Rows > 0 || l.Inline != nil || len(l.Slices) > 0):
		flaw("delete", "the load is to remove its object, and carries rows")
	case l.Inline != nil && len(l.Slices) > 0:
		flaw("inline", "the rows are both in the payload and in slices")
	case l.Inline == nil && len(l.Slices) == 0 && l.Rows > 0:
		flaw("inline", "%d rows, but neither a payload nor slices hold them", l.Rows)
	}
	if r := l.Inline; r != nil && (r.Bytes < 0 || !validSHA256(r.SHA256) || !validPacking(r.Packed) || r.Unpacked < 0) {
		flaw("inline", "%d bytes of SHA-256 %q, packed %q, of %d bytes unpacked, cannot be", r.Bytes, clip(r.SHA256, 80), clip(r.Packed, 80), r.Unpacked)
	}
	for i, r := range l.Slices {
		if r.Subject == "" || r.Count < 1 || r.Rows < 0 || r.Bytes < 0 || !validSHA256(r.SHA256) || !validPacking(r.Packed) {
			flaw("slices["+strconv.Itoa(i)+"]", "%d messages of %d rows, %d bytes, packed %q, SHA-256 %q on subject %q cannot be",
				r.Count, r.Rows, r.Bytes, clip(r.Packed, 80), clip(r.SHA256, 80), clip(r.Subject, 80))
		}
	}
}

func validPacking(name string) bool {
	return name == "" || name == encoding.PackedColumns || name == encoding.PackedS2
}

// Days is the span From to To as days since 1970-01-01, both inclusive; the
// whole calendar when the partition is not bound to days.
func (p Partition) Days() (from, to int32, err error) {
	if p.From == "" && p.To == "" {
		return math.MinInt32, math.MaxInt32, nil
	}
	first, err := time.Parse(time.DateOnly, p.From)
	if err != nil {
		return 0, 0, fmt.Errorf("partition: from: %w", err)
	}
	last, err := time.Parse(time.DateOnly, p.To)
	if err != nil {
		return 0, 0, fmt.Errorf("partition: to: %w", err)
	}
	return int32(first.Unix() / 86400), int32(last.Unix() / 86400), nil
}
