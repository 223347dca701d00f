package messages

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// object is a JSON object read with the care that encoding/json does not take:
// names are compared exactly, a name that stands twice or is unknown is a
// mistake, and a value of a wrong type does not hide the mistakes after it.
type object struct {
	path   string // "" or "batches[3]."
	values map[string]json.RawMessage
	found  *mistakes
}

// readObject reads raw as an object of the known fields. It reports whether raw
// was an object at all; every other mistake only goes to found.
func readObject(raw []byte, path string, known []string, found *mistakes) (object, bool) {
	o := object{path: path, values: make(map[string]json.RawMessage, len(known)), found: found}
	field := strings.TrimSuffix(path, ".")
	if !utf8.Valid(raw) {
		found.add(field, "write JSON in UTF-8", "not UTF-8")
		return o, false
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	open, err := d.Token()
	if err != nil {
		found.add(field, "write one JSON object", "not JSON: %s", syntax(err, d.InputOffset()))
		return o, false
	}
	if open != json.Delim('{') {
		found.add(field, "write a JSON object: {...}", "%s where an object belongs", kindOf(raw))
		return o, false
	}
	for d.More() {
		name, err := d.Token()
		var value json.RawMessage
		if err == nil {
			err = d.Decode(&value)
		}
		if err != nil {
			found.add(field, "write one JSON object", "not JSON: %s", syntax(err, d.InputOffset()))
			return o, false
		}
		o.take(name.(string), value, known)
	}
	if _, err := d.Token(); err != nil {
		found.add(field, "write one JSON object", "not JSON: %s", syntax(err, d.InputOffset()))
		return o, false
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		found.add(field, "publish one JSON object per commit and nothing after it", "text after the object's end, at byte %d", d.InputOffset())
		return o, false
	}
	return o, true
}

// take keeps one field. A null is as good as an absent field: encoders of many
// languages write one for the other.
func (o *object) take(name string, value json.RawMessage, known []string) {
	field := o.path + name
	if _, twice := o.values[name]; twice {
		o.found.add(field, "write it once", "stands twice")
		return
	}
	for _, k := range known {
		if k == name {
			o.values[name] = value
			return
		}
	}
	remedy := "take it out; the fields of version " + strconv.Itoa(Version) + " are " + strings.Join(known, ", ")
	if near := nearest(name, known); near != "" {
		remedy = "did you mean " + near + "?"
	}
	o.found.add(field, remedy, "unknown field")
}

func (o *object) has(name string) bool {
	v, ok := o.values[name]
	return ok && string(v) != "null"
}

// need reports whether the field is there, and its absence as a mistake.
func (o *object) need(name, remedy string) bool {
	if o.has(name) {
		return true
	}
	o.found.add(o.path+name, remedy, "missing")
	return false
}

// text is a string field; absent gives "".
func (o *object) text(name string) string {
	var s string
	if o.has(name) && json.Unmarshal(o.values[name], &s) != nil {
		o.found.add(o.path+name, "write a string in double quotes", "%s where a string belongs", kindOf(o.values[name]))
	}
	return s
}

// integer is a field of a whole number. ok is false when the field is absent or
// is not one.
func (o *object) integer(name string) (n int64, ok bool) {
	if !o.has(name) {
		return 0, false
	}
	raw := string(o.values[name])
	n, err := strconv.ParseInt(raw, 10, 64)
	switch {
	case err == nil:
		return n, true
	case errors.Is(err, strconv.ErrRange):
		o.found.add(o.path+name, "write a number below 9223372036854775808", "%s does not fit 64 bits", clip(raw, 40))
	case kindOf([]byte(raw)) == "a number":
		o.found.add(o.path+name, "write a whole number, without point or exponent", "%s is not a whole number", clip(raw, 40))
	default:
		o.found.add(o.path+name, "write a whole number, without quotes", "%s where a number belongs", kindOf([]byte(raw)))
	}
	return 0, false
}

// list is a field of a JSON array, its elements unread. ok is false when the
// field is absent or is not an array.
func (o *object) list(name string) (elements []json.RawMessage, ok bool) {
	if !o.has(name) {
		return nil, false
	}
	if err := json.Unmarshal(o.values[name], &elements); err != nil {
		o.found.add(o.path+name, "write a list: [...]", "%s where a list belongs", kindOf(o.values[name]))
		return nil, false
	}
	return elements, true
}

func kindOf(raw []byte) string {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return "nothing"
	}
	switch raw[0] {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}

func syntax(err error, at int64) string {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Sprintf("it ends in the middle, at byte %d", at)
	}
	var s *json.SyntaxError
	if errors.As(err, &s) {
		return fmt.Sprintf("%s, at byte %d", s.Error(), s.Offset)
	}
	return err.Error()
}

// nearest is the known name that was most likely meant, or "".
func nearest(name string, known []string) string {
	fold := func(s string) string {
		return strings.ToLower(strings.NewReplacer("_", "", "-", "", " ", "").Replace(s))
	}
	if len(name) > 2*MaxID {
		return ""
	}
	best, least := "", len(name)
	for _, k := range known {
		a, b := fold(name), fold(k)
		d := distance(a, b)
		if len(a) >= 4 && strings.HasPrefix(b, a) {
			d = min(d, 1)
		}
		if d <= max(2, len(a)/4) && d < least {
			best, least = k, d
		}
	}
	return best
}

// distance counts the bytes to insert, delete or replace between a and b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// clip shortens s to at most n bytes, at a rune's boundary.
func clip(s string, n int) string {
	const mark = "..."
	if len(s) <= n {
		return s
	}
	cut := n - len(mark)
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + mark
}
