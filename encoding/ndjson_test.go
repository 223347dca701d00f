package encoding

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzNDJSON compares one row with encoding/json, which decides what is a row at
// all; then each column with what its text says by other means.
func FuzzNDJSON(f *testing.F) {
	for _, s := range []string{
		`{"s":"a","i":1,"f":1.5,"d":12.34,"b":true,"j":{"a":[1,2]}}`, `{}`, ` { "s" : "\u00e9\ud83d\ude00\ud800" } `,
		`{"i":9007199254740993,"f":0.1}`, `{"i":"12","d":"1.10"}`, `{"i":1e3}`, `{"d":1e-2,"d":null}`, `{"s":"a","s":"b"}`,
		"{\"s\":\"\xff\"}", "{\"\xff\":1}", `{"s":1e5,"j":[ 1 , "x y\" " ]}`, `{"f":-0}`, `{"f":1e400}`, `{"i":01}`, `{"s":"\u12"}`, `[]`, `null`,
		`{"zz":[{}],"j":[]}`, `{"i":-9223372036854775808}`, `{"j":"\ud800"}`, `{"s":"tab	"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		if bytes.ContainsAny(line, "\n") || len(bytes.Trim(line, " \t\r")) == 0 || bytes.HasPrefix(line, []byte("\xef\xbb\xbf")) {
			return // several lines, none, or a mark: not encoding/json's business
		}
		s := schemaOf(t, "s string", "i int64", "f float64", "d decimal(10,2)", "b bool", "j json")
		opts := DecodeOptions{UnknownColumns: true}
		// The second time, the keys are where they were expected.
		chunks, err := decodeAll(t, s, opts, NDJSONInput, string(line)+"\n"+string(line))
		var want map[string]json.RawMessage
		wantErr := json.Unmarshal(line, &want)
		if wantErr == nil && want == nil {
			wantErr = errNotInRow // null
		}
		structural := errors.Is(err, errNotJSON) || errors.Is(err, errNotInRow) || errors.Is(err, errTooDeep)
		if wantErr != nil && err == nil || wantErr == nil && structural {
			t.Fatalf("%q: got %v, encoding/json says %v", line, err, wantErr)
		}
		if wantErr != nil {
			return
		}
		if err != nil {
			var row *RowError
			if !errors.As(err, &row) || row.Row != 1 {
				t.Fatalf("%q: got %v, want a RowError of row 1", line, err)
			}
			// One of the values, perhaps an earlier one of the same key, is refused.
			if raw, ok := want[row.Column]; ok && onlyOnce(line) && accepts(row.Column, raw) {
				t.Fatalf("%q: column %q refused: %v", line, row.Column, err)
			}
			return
		}
		for _, c := range chunks {
			checkVectors(t, c)
			for i := range c.n {
				for j := range c.vectors {
					name := s.Column(j).Name
					got := decodedValue(s.Column(j).Type, &c.vectors[j], i)
					if want := expected(t, name, want[name]); got != want {
						t.Errorf("%q: column %q is %q, want %q", line, name, got, want)
					}
				}
			}
		}
	})
}

func onlyOnce(line []byte) bool {
	for _, name := range []string{"s", "i", "f", "d", "b", "j"} {
		if bytes.Count(line, []byte(`"`+name+`"`)) > 1 {
			return false
		}
	}
	return !bytes.Contains(line, []byte(`\u`))
}

// accepts says whether a column takes a value, by other means than the decoder's.
func accepts(column string, raw json.RawMessage) bool {
	text := string(raw)
	if text == "null" {
		return true
	}
	quoted := raw[0] == '"'
	if quoted {
		if json.Unmarshal(raw, &text) != nil {
			return false
		}
	}
	number := !quoted && (raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9') || quoted && json.Valid([]byte(text)) && strings.Trim(text, "-0123456789.eE+") == "" && text != ""
	// Exponents for which exact arithmetic would take long are left out.
	if _, e, ok := strings.Cut(strings.ToLower(text), "e"); number && ok && len(e) > 4 {
		return false
	}
	switch column {
	case "s":
		return raw[0] != '{' && raw[0] != '['
	case "i":
		r, ok := new(big.Rat).SetString(text)
		return number && ok && r.IsInt() && r.Num().IsInt64()
	case "f":
		v, err := strconv.ParseFloat(text, 64)
		return number && err == nil && !math.IsInf(v, 0)
	case "d":
		r, ok := new(big.Rat).SetString(text)
		if !number || !ok {
			return false
		}
		r.Mul(r, big.NewRat(100, 1))
		return r.IsInt() && new(big.Int).Abs(r.Num()).Cmp(big.NewInt(1e10)) < 0
	case "b":
		return strings.EqualFold(text, "true") || strings.EqualFold(text, "false")
	}
	return true
}

// expected is what a column that takes a value makes of it.
func expected(t *testing.T, column string, raw json.RawMessage) string {
	if raw == nil || string(raw) == "null" {
		return "~"
	}
	text := string(raw)
	if raw[0] == '"' {
		if err := json.Unmarshal(raw, &text); err != nil {
			t.Fatal(err)
		}
	}
	switch column {
	case "i":
		if r, ok := new(big.Rat).SetString(text); ok {
			return r.RatString()
		}
	case "f":
		v, err := strconv.ParseFloat(text, 64)
		if err == nil {
			return strconv.FormatFloat(v, 'g', -1, 64)
		}
	case "d":
		if r, ok := new(big.Rat).SetString(text); ok {
			return r.FloatString(2)
		}
	case "b":
		return strings.ToLower(text)
	case "j":
		var b bytes.Buffer
		if err := json.Compact(&b, raw); err != nil {
			t.Fatal(err)
		}
		var valid strings.Builder
		for _, r := range b.String() {
			valid.WriteRune(r) // U+FFFD for each byte that is none
		}
		return valid.String()
	}
	if !utf8.ValidString(text) {
		t.Fatalf("encoding/json gave %q", text)
	}
	return text
}
