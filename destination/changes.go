package destination

import (
	"fmt"
	"reflect"
	"strings"
)

// Change is a field in which two versions of a destination differ.
type Change struct {
	Field string `json:"field"`
	Old   string `json:"old"` // of the secret: "" or "[redacted]"
	New   string `json:"new"` // of the secret: "" or "changed"
	// Orphans: objects written so far stay under keys, or in a bucket, that
	// loads no longer touch.
	Orphans bool `json:"orphans"`
}

// Changes lists the fields that differ, in the order of the fields.
func Changes(old, new *Settings) []Change {
	var out []Change
	for _, f := range fields() {
		before, after := f.get(old), f.get(new)
		if f.secret {
			if !old.SecretAccessKey.Equal(new.SecretAccessKey) {
				change := Change{Field: f.name, Old: fmt.Sprint(before)}
				if !new.SecretAccessKey.IsZero() {
					change.New = "changed"
				}
				out = append(out, change)
			}
			continue
		}
		if reflect.DeepEqual(before, after) {
			continue
		}
		out = append(out, Change{Field: f.name, Old: showValue(before), New: showValue(after), Orphans: orphans(f.name, old, new)})
	}
	return out
}

// orphans reports whether this field's change moves keys or leaves the bucket.
// Separators, codecs and encryption change what a file is, not where.
func orphans(field string, old, new *Settings) bool {
	switch field {
	case "bucket", "endpoint", "file_format":
		return true
	case "folder":
		return !rendersSame(Folder, old.Folder, new.Folder)
	case "file_name":
		return !rendersSame(FileName, old.FileName, new.FileName)
	}
	return false
}

// rendersSame reports whether two templates render the same names: "/a/" and "a" do.
func rendersSame(place Place, old, new string) bool {
	a, errA := ParseTemplate(place, old)
	b, errB := ParseTemplate(place, new)
	return errA == nil && errB == nil && a.String() == b.String()
}

func showValue(v any) string {
	if texts, ok := v.([]string); ok {
		return strings.Join(texts, ", ")
	}
	return fmt.Sprint(v)
}

// Inherit takes the fleet's state from the version stored before: a pause stays,
// and so does an approval unless what was approved (who signs, and which bucket
// of whom) changed.
func (s *Settings) Inherit(old *Settings) {
	s.Paused = old.Paused
	s.Approved = old.Approved && s.ConnectionOption == old.ConnectionOption && s.AccessKeyID == old.AccessKeyID &&
		s.AssumeRoleARN == old.AssumeRoleARN && s.Bucket == old.Bucket && s.Endpoint == old.Endpoint && s.BucketOwner == old.BucketOwner
}

// LeftBehind says what changes leave in the bucket that loads no longer replace;
// "" when they leave nothing. known is how many of the destination's objects are
// on record, and all whether no others can be.
func LeftBehind(changes []Change, bucket string, known int, all bool) string {
	var fields []string
	for _, c := range changes {
		if c.Orphans {
			fields = append(fields, c.Field)
		}
	}
	if len(fields) == 0 || known == 0 && all {
		return ""
	}
	objects := fmt.Sprintf("%d objects", known)
	switch {
	case known == 0:
		objects = "what was loaded too long ago to be on record"
	case !all:
		objects = "at least " + objects
	}
	return fmt.Sprintf("a change of %s leaves %s in s3://%s that loads no longer replace", strings.Join(fields, ", "), objects, bucket)
}
