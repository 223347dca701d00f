package destination

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
)

// shownFields are the fields that have an effect, with their values; the secret
// is redacted. Dotted names are still dotted.
func (s *Settings) shownFields() (names []string, values []any) {
	for _, f := range fields() {
		if f.applies != nil && !f.applies(s) {
			continue
		}
		switch v := f.get(s).(type) {
		case string:
			if v == "" {
				continue
			}
		case int:
			if v == 0 {
				continue
			}
		case float64:
			if v == 0 {
				continue
			}
		case []string:
			if len(v) == 0 {
				continue
			}
		}
		names, values = append(names, f.name), append(values, f.get(s))
	}
	return names, values
}

// ordered is the document with its fields in order.
func (s *Settings) ordered() yaml.MapSlice {
	var out yaml.MapSlice
	names, values := s.shownFields()
	for i, name := range names {
		if group, inner, nested := strings.Cut(name, "."); nested {
			out = append(out, yaml.MapItem{Key: group, Value: yaml.MapSlice{{Key: inner, Value: values[i]}}})
			continue
		}
		out = append(out, yaml.MapItem{Key: name, Value: values[i]})
	}
	return out
}

// YAML is the document with every default filled in and the secret redacted.
// With the secret put back, Parse takes it and gives the same settings.
func (s *Settings) YAML() ([]byte, error) {
	doc, err := yaml.Marshal(s.ordered())
	if err != nil {
		return nil, fmt.Errorf("show destination %s: %w", s.ID, err)
	}
	return doc, nil
}

// JSON is the same document as YAML gives, as JSON.
func (s *Settings) JSON() ([]byte, error) {
	var b bytes.Buffer
	if err := writeOrdered(&b, s.ordered()); err != nil {
		return nil, fmt.Errorf("show destination %s: %w", s.ID, err)
	}
	var out bytes.Buffer
	if err := json.Indent(&out, b.Bytes(), "", "  "); err != nil {
		return nil, fmt.Errorf("show destination %s: %w", s.ID, err)
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

func writeOrdered(b *bytes.Buffer, m yaml.MapSlice) error {
	b.WriteByte('{')
	for i, item := range m {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(b, "%q:", item.Key)
		if inner, ok := item.Value.(yaml.MapSlice); ok {
			if err := writeOrdered(b, inner); err != nil {
				return err
			}
			continue
		}
		e := json.NewEncoder(b)
		e.SetEscapeHTML(false)
		if err := e.Encode(item.Value); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	return nil
}
