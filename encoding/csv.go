package encoding

import (
	"encoding/binary"
	"unicode"
	"unicode/utf8"
)

// csvDialect writes RFC 4180 with a header row and \n line ends. A field is
// quoted when encoding/csv would: it has the separator, a quote, CR or LF,
// starts with a space, or is \. (which PostgreSQL takes for the end of input).
// The empty string is "" and a null is an empty field, so that the two differ;
// in a table of one column a null row is therefore an empty line.
func csvDialect(schema *Schema, separator byte) dialect {
	escape := func(dst, v []byte) []byte { return appendCSVField(dst, v, separator) }
	d := dialect{
		format: CSV,
		tail:   "\n",
		leads:  make([][]byte, schema.Len()),
		escape: make([]func(dst, v []byte) []byte, schema.Len()),
	}
	between := []byte{separator}
	for i, c := range schema.columns {
		if i > 0 {
			d.head = append(d.head, separator)
			d.leads[i] = between
		}
		d.head = appendCSVField(d.head, []byte(c.Name), separator)
		if c.Type.Kind.IsText() {
			d.escape[i] = escape
		}
	}
	d.head = append(d.head, '\n')
	return d
}

// appendCSVField appends v, quoted if it must be.
func appendCSVField(dst, v []byte, separator byte) []byte {
	if !csvNeedsQuotes(v, separator) {
		return append(dst, v...)
	}
	dst = append(dst, '"')
	from := 0
	for i, ch := range v {
		if ch == '"' {
			dst = append(dst, v[from:i+1]...)
			from = i // the quote again
		}
	}
	dst = append(dst, v[from:]...)
	return append(dst, '"')
}

func csvNeedsQuotes(v []byte, separator byte) bool {
	if len(v) == 0 || len(v) == 2 && v[0] == '\\' && v[1] == '.' {
		return true
	}
	first := rune(v[0])
	if first >= utf8.RuneSelf {
		first, _ = utf8.DecodeRune(v)
	}
	if unicode.IsSpace(first) {
		return true
	}
	i := 0
	separators := lowBits * uint64(separator)
	for ; i+8 <= len(v); i += 8 {
		x := binary.LittleEndian.Uint64(v[i:])
		if hasZero(x^separators)|hasZero(x^lowBits*'"')|hasZero(x^lowBits*'\n')|hasZero(x^lowBits*'\r') != 0 {
			return true
		}
	}
	for ; i < len(v); i++ {
		if ch := v[i]; ch == separator || ch == '"' || ch == '\n' || ch == '\r' {
			return true
		}
	}
	return false
}

const (
	lowBits  = 0x0101010101010101
	highBits = 0x8080808080808080
)

// hasZero is not zero exactly when one of x's eight bytes is.
func hasZero(x uint64) uint64 { return (x - lowBits) & ^x & highBits }
