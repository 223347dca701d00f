package messages

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// marshal writes v as compact JSON without HTML's escapes and without a final
// line break.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// marshalASCII is marshal with every character outside printable ASCII escaped,
// for headers: many clients read and write those as Latin-1.
func marshalASCII(v any) (string, error) {
	b, err := marshal(v)
	if err != nil {
		return "", err
	}
	var s strings.Builder
	s.Grow(len(b))
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case r < 0x7f:
			s.WriteByte(b[0])
		case r < 0x10000:
			fmt.Fprintf(&s, `\u%04x`, r)
		default:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&s, `\u%04x\u%04x`, high, low)
		}
		b = b[n:]
	}
	return s.String(), nil
}

// unmarshal reads a message that loadfleet itself wrote. Its version is looked
// at first: what a newer version says in other fields is not for this program.
func unmarshal(kind string, b []byte, v any) error {
	found := &mistakes{reason: ReasonUndecodable}
	var head struct {
		Version int64 `json:"version"`
	}
	if json.Unmarshal(b, &head) == nil && head.Version > Version {
		checkVersion(head.Version, "version", found)
		return &DecodeError{Kind: kind, Mistakes: found.list, newer: true}
	}
	if err := json.Unmarshal(b, v); err != nil {
		var field string
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			field = wrong.Field
		}
		found.add(field, "", "not JSON of this kind: %s", err)
	}
	return decoded(kind, found)
}

func decoded(kind string, found *mistakes) error {
	if len(found.list) == 0 {
		return nil
	}
	return &DecodeError{Kind: kind, Mistakes: found.list}
}
