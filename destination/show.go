package destination

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// shownField is a field that has an effect, with its value; the secret is redacted.
type shownField struct {
	group string // of a nested field, else ""
	name  string
	value any // string, bool, int, float64 or []string
}

func (s *Settings) shownFields() []shownField {
	var out []shownField
	for _, f := range fields() {
		value := f.get(s)
		if f.applies != nil && !f.applies(s) || unset(value) {
			continue
		}
		shown := shownField{name: f.name, value: value}
		if group, name, nested := strings.Cut(f.name, "."); nested {
			shown.group, shown.name = group, name
		}
		out = append(out, shown)
	}
	return out
}

// unset reports whether a field was left out. A flag never is: false says something.
func unset(value any) bool {
	switch v := value.(type) {
	case string:
		return v == ""
	case int:
		return v == 0
	case float64:
		return v == 0
	case []string:
		return len(v) == 0
	}
	return false
}

// YAML is the document with every default filled in and the secret redacted.
// With the secret put back, Parse takes it and gives the same settings.
func (s *Settings) YAML() ([]byte, error) {
	var b bytes.Buffer
	for _, f := range s.shownFields() {
		if f.group != "" { // each group has one field
			fmt.Fprintf(&b, "%s:\n  ", f.group)
		}
		b.WriteString(f.name + ": ")
		if err := writeYAML(&b, f.value); err != nil {
			return nil, fmt.Errorf("show destination %s: %w", s.ID, err)
		}
		b.WriteByte('\n')
	}
	return b.Bytes(), nil
}

// plainText is what every YAML reader takes for text without quotes, but for
// the words of yamlWord.
var plainText = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_+-]*$`)

var yamlWord = regexp.MustCompile(`(?i)^(true|false|yes|no|on|off|y|n|null)$`)

// writeYAML writes a value as JSON, which YAML contains, but leaves the quotes
// of plain words out. Readers differ in what else needs none (an account id
// with a leading zero is a number to some).
func writeYAML(b *bytes.Buffer, value any) error {
	if word, ok := value.(string); ok && plainText.MatchString(word) && !yamlWord.MatchString(word) {
		b.WriteString(word)
		return nil
	}
	return writeJSON(b, value)
}

func writeJSON(b *bytes.Buffer, value any) error {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return err
	}
	b.Truncate(b.Len() - 1) // the line break
	return nil
}

// JSON is the same document as YAML gives, as JSON.
func (s *Settings) JSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("{")
	for i, f := range s.shownFields() {
		if i > 0 {
			b.WriteByte(',')
		}
		if f.group != "" {
			fmt.Fprintf(&b, "\n  %q: {%q: ", f.group, f.name)
		} else {
			fmt.Fprintf(&b, "\n  %q: ", f.name)
		}
		if err := writeJSON(&b, f.value); err != nil {
			return nil, fmt.Errorf("show destination %s: %w", s.ID, err)
		}
		if f.group != "" {
			b.WriteByte('}')
		}
	}
	b.WriteString("\n}\n")
	return b.Bytes(), nil
}
