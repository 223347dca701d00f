package encoding

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
)

// The scanner's short ways give what the plain parsers give of the same text,
// quoted or not, and leave to them what they refuse.
func TestShortWaysAgreeWithThePlainParsers(t *testing.T) {
	schema := mustSchema(t, column("i", "int64"), column("f", "float64"), column("d", "decimal(20,12)"), column("w", "decimal(38,0)"), column("b", "bool"), column("t", "timestamp"))
	rng := rand.New(rand.NewPCG(1, 2))
	digits := func(n int) string {
		var b strings.Builder
		b.WriteByte(byte('1' + rng.IntN(9)))
		for range n - 1 {
			b.WriteByte(byte('0' + rng.IntN(10)))
		}
		return b.String()
	}
	texts := []string{
		"0", "-0", "0.0", "-0.0", "00", "01", "1.", ".1", "-", "1e5", "1E-5", "9223372036854775807", "-9223372036854775808", "9223372036854775808",
		"18446744073709551615", "99999999999999999999", "0.1234567890123456789", "0.12345678901234567890", "9007199254740993", "0.30000000000000004",
		"2024-02-29T23:59:58Z", "2024-02-29T23:59:58.1Z", "2024-02-29T23:59:58.123456Z", "2024-02-29T23:59:58.1234567Z", "2024-02-29T23:59:58.12345670Z",
		"2024-02-29T23:59:58.Z", "2024-02-29T23:59:58", "2024-02-29T24:00:00Z", "2024-02-29T23:60:00Z", "2024-02-29T23:59:60Z", "2024-02-29t23:59:58z",
		"2024-02-29T23:59:58+01:00", "2023-02-29T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "2024-02-29T2a:59:58Z", "2024-02-29T23-59-58Z",
		"true", "false", "tru", "True", "falsy", "truee", "null", "1 ", "1x", "nan", "Infinity", "0x10", "1_0",
	}
	for range 3000 {
		text := digits(1 + rng.IntN(21))
		if rng.IntN(3) > 0 {
			text += "." + digits(1+rng.IntN(21))
		} else if rng.IntN(2) == 0 {
			text = "0." + strings.Repeat("0", rng.IntN(10)) + digits(1+rng.IntN(20))
		}
		if rng.IntN(3) == 0 {
			text = "-" + text
		}
		texts = append(texts, text)
	}
	for _, text := range texts {
		for _, written := range []string{text, strconv.Quote(text)} {
			for c := range schema.Len() {
				name := schema.Column(c).Name
				var got any
				var rows *Rows
				d := NewDecoder(schema, DecodeOptions{}, func(r *Rows) error { rows = r; return nil })
				_, err := d.Decode(1, NDJSONInput, Plain, bytes.NewReader(fmt.Appendf(nil, "{%q:%s}\n", name, written)))
				if err == nil {
					err = d.Flush()
				}
				if err == nil {
					got = grid(rows)[0][c]
				}
				want, plain := plainly(schema.Column(c).Type, text, written)
				if (err == nil) != plain || plain && fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("%s %s: got %v, %v; want %v (accepted: %v)", name, written, got, err, want, plain)
				}
			}
		}
	}
}

// plainly is what the parsers of whole texts make of a value.
func plainly(of Type, text, written string) (value any, ok bool) {
	quoted := written != text
	if !quoted && text == "null" {
		return nil, true
	}
	if !quoted {
		line := []byte(text + "\n" + strings.Repeat(" ", windowSlack))
		var s valueScanner
		if v, err := s.scan(line, 0, 1); err != nil || strings.TrimLeft(text[v.end:], " ") != "" {
			return nil, false
		}
		text = strings.TrimRight(text, " ")
		if truth := text == "true" || text == "false"; truth != (of.Kind == Bool) {
			return nil, false
		}
	}
	switch of.Kind {
	case Int64:
		n, err := parseInt([]byte(text))
		return n, err == nil
	case Float64:
		f, err := parseFloat([]byte(text))
		return f, err == nil
	case Decimal:
		d, err := parseDecimal([]byte(text), of.Precision, of.Scale)
		return d.BigInt().String(), err == nil
	case Timestamp:
		n, err := parseTimestamp([]byte(text))
		return n, err == nil && quoted
	}
	return parseBool([]byte(text))
}

// A quotient of whole numbers is rounded as strconv rounds its text, also where it
// lies half way between two floats or next to that.
func TestShortFloat(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	check := func(v uint64, fraction int) {
		want, err := strconv.ParseFloat(fmt.Sprintf("%de-%d", v, fraction), 64)
		if err != nil {
			t.Fatal(err)
		}
		if got := shortFloat(v, fraction); got != want {
			t.Errorf("%d / 1e%d: got %b, want %b", v, fraction, got, want)
		}
	}
	for range 200_000 {
		check(rng.Uint64()>>rng.IntN(64)%tens[19], rng.IntN(20))
		// An odd number of 54 bits lies half way between two floats: as it is, with
		// some twos, and over a power of ten, whose fives it gets; and next to that.
		half, fraction, beside := 1<<53|rng.Uint64()>>11|1, rng.IntN(4), uint64(rng.IntN(3))-1
		check(half<<rng.IntN(4)+beside, 0)
		check(half*(tens[fraction]>>fraction)+beside, fraction)
	}
}

// What is in the place of any one byte of a timestamp is read as the plain parser
// reads it, or left to it.
func TestShortTimestamp(t *testing.T) {
	const text = `"2024-02-29T23:59:58.123456Z"`
	for at := range text {
		for c := range 256 {
			b := append([]byte(text), make([]byte, windowSlack)...)
			b[at] = byte(c)
			got, end := shortTimestamp(b, 0)
			if end < 0 {
				if string(b[:len(text)]) == text {
					t.Fatalf("%s is not read the short way", text)
				}
				continue
			}
			if want, err := parseTimestamp(b[1 : end-1]); err != nil || got != want || end > len(text) {
				t.Errorf("%q: got %d up to %d, the plain parser says %d, %v", b, got, end, want, err)
			}
		}
	}
}
