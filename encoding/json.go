package encoding

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// jsonDialect writes one object per line, its keys in schema order: null for a
// null, integers and decimals as exact numbers, dates and timestamps as
// strings, json columns as the values they are.
func jsonDialect(schema *Schema) dialect {
	d := dialect{
		format: JSON,
		tail:   "}\n",
		null:   "null",
		quote:  `"`,
		leads:  make([][]byte, schema.Len()),
		escape: make([]func(dst, v []byte) []byte, schema.Len()),
	}
	var keys []byte
	for i, c := range schema.columns {
		from := len(keys)
		if i == 0 {
			keys = append(keys, '{')
		} else {
			keys = append(keys, ',')
		}
		keys = append(appendJSONString(keys, []byte(c.Name)), ':')
		d.leads[i] = keys[from:]
		switch c.Type.Kind {
		case String:
			d.escape[i] = appendJSONString
		case JSONText:
			d.escape[i] = func(dst, v []byte) []byte { return append(dst, v...) }
		}
	}
	return d
}

const hexDigits = "0123456789abcdef"

// appendJSONString appends v as encoding/json writes it with SetEscapeHTML
// off: short escapes where JSON has them, \u00xx for other controls, U+2028
// and U+2029 escaped for the sake of JavaScript, invalid UTF-8 replaced.
func appendJSONString(dst, v []byte) []byte {
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(v); {
		i += plainJSON(v[i:])
		if i == len(v) {
			break
		}
		ch := v[i]
		if ch >= utf8.RuneSelf {
			r, size := utf8.DecodeRune(v[i:])
			switch {
			case r == utf8.RuneError && size == 1:
				dst = append(append(dst, v[from:i]...), `\ufffd`...)
			case r == '\u2028' || r == '\u2029':
				dst = append(append(dst, v[from:i]...), `\u202`...)
				dst = append(dst, hexDigits[r&0xf])
			default:
				i += size
				continue
			}
			i += size
			from = i
			continue
		}
		dst = append(dst, v[from:i]...)
		switch ch {
		case '"', '\\':
			dst = append(dst, '\\', ch)
		case '\b':
			dst = append(dst, `\b`...)
		case '\f':
			dst = append(dst, `\f`...)
		case '\n':
			dst = append(dst, `\n`...)
		case '\r':
			dst = append(dst, `\r`...)
		case '\t':
			dst = append(dst, `\t`...)
		default:
			dst = append(dst, `\u00`...)
			dst = append(dst, hexDigits[ch>>4], hexDigits[ch&0xf])
		}
		i++
		from = i
	}
	dst = append(dst, v[from:]...)
	return append(dst, '"')
}

// plainJSON is how many leading bytes of v are ASCII that needs no escape.
func plainJSON(v []byte) int {
	i := 0
	for ; i+8 <= len(v); i += 8 {
		x := binary.LittleEndian.Uint64(v[i:])
		// Borrows can only mark bytes above a true mark: the lowest is right.
		special := (x-lowBits*0x20)&^x&highBits | hasZero(x^lowBits*'"') | hasZero(x^lowBits*'\\') | x&highBits
		if special != 0 {
			return i + bits.TrailingZeros64(special)>>3
		}
	}
	for ; i < len(v); i++ {
		if ch := v[i]; ch < 0x20 || ch == '"' || ch == '\\' || ch >= utf8.RuneSelf {
			break
		}
	}
	return i
}
