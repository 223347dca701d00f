package encoding

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

var (
	errNotJSON  = errors.New("is not valid JSON")
	errTooDeep  = errors.New("nests deeper than 10000 levels: flatten it")
	errNotInRow = errors.New("is not a JSON object: write one object per line")
)

// maxDepth is how deep encoding/json lets values nest; the row itself is level 1.
const maxDepth = 10000

// skipBlanks passes over JSON's white space except the newline, which ends a line.
func skipBlanks(b []byte, p int) int {
	for b[p] == ' ' || b[p] == '\t' || b[p] == '\r' {
		p++
	}
	return p
}

// stringStops marks, in the high bit of its byte, the first byte of w that ends
// a plain run of a string: a quote, a backslash or a control character. Marks
// above the first one mean nothing.
func stringStops(w uint64) uint64 {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	q := w ^ ones*'"'
	e := w ^ ones*'\\'
	return ((q-ones)&^q | (e-ones)&^e | (w-ones*0x20)&^w) & highs
}

// plainRun is where the plain run of a string at b[p] stops, and whether there
// may be bytes beyond ASCII in it. A newline ends every line, so it ends there.
func plainRun(b []byte, p int) (end int, high bool) {
	var seen uint64
	for {
		w := binary.LittleEndian.Uint64(b[p:])
		seen |= w
		if m := stringStops(w); m != 0 {
			return p + bits.TrailingZeros64(m)>>3, seen&0x8080808080808080 != 0
		}
		p += 8
	}
}

// stringEnd validates the string whose opening quote is before b[p] and returns
// the index behind its closing one, or -1.
func stringEnd(b []byte, p int) (end int, high bool) {
	for {
		q, h := plainRun(b, p)
		high = high || h
		switch b[q] {
		case '"':
			return q + 1, high
		case '\\':
			switch b[q+1] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
				p = q + 2
			case 'u':
				if hex4(b[q+2:]) < 0 {
					return -1, high
				}
				p = q + 6
			default:
				return -1, high
			}
		default:
			return -1, high
		}
	}
}

// unquote appends the text of the string whose opening quote is before b[p], as
// encoding/json reads it: lone surrogates and bytes that are not UTF-8 become
// U+FFFD. end is behind the closing quote, -1 when the string is not valid.
func unquote(dst, b []byte, p int) (text []byte, end int) {
	for {
		q, high := plainRun(b, p)
		if run := b[p:q]; high && !utf8.Valid(run) {
			dst = appendValidUTF8(dst, run)
		} else {
			dst = append(dst, run...)
		}
		if b[q] == '"' {
			return dst, q + 1
		}
		if b[q] != '\\' {
			return dst, -1
		}
		p = q + 2
		switch c := b[q+1]; c {
		case '"', '\\', '/':
			dst = append(dst, c)
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r := hex4(b[p:])
			if r < 0 {
				return dst, -1
			}
			p += 4
			if utf16.IsSurrogate(r) {
				pair := rune(-1)
				if b[p] == '\\' && b[p+1] == 'u' {
					pair = hex4(b[p+2:])
				}
				if r = utf16.DecodeRune(r, pair); r != utf8.RuneError {
					p += 6
				}
			}
			dst = utf8.AppendRune(dst, r)
		default:
			return dst, -1
		}
	}
}

func hex4(b []byte) rune {
	var r rune
	for _, c := range b[:4] {
		switch {
		case c-'0' <= 9:
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}

// literalEnd is the index behind true, false or null at b[p], or -1.
func literalEnd(b []byte, p int) int {
	switch string(b[p : p+4]) {
	case "true", "null":
		return p + 4
	case "fals":
		if b[p+4] == 'e' {
			return p + 5
		}
	}
	return -1
}

// jsonValue is what a valueScanner found: b[p:end], valid JSON that may hold
// white space between its tokens and bytes that are not ASCII.
type jsonValue struct {
	end           int
	blanks, high  bool
	object, array bool
}

// valueScanner validates JSON values of any depth without recursion.
type valueScanner struct {
	objects []uint64 // bit per open level: an object, not an array
}

// scan validates the value at b[p], outer levels deep, as encoding/json would.
func (s *valueScanner) scan(b []byte, p, outer int) (v jsonValue, err error) {
	v.object, v.array = b[p] == '{', b[p] == '['
	depth := 0
	inObject := func() bool { return s.objects[(depth-1)>>6]&(1<<((depth-1)&63)) != 0 }
	blanks := func() {
		if q := skipBlanks(b, p); q != p {
			v.blanks = true
			p = q
		}
	}
	name := func() bool {
		blanks()
		if b[p] != '"' {
			return false
		}
		end, high := stringEnd(b, p+1)
		if end < 0 {
			return false
		}
		v.high = v.high || high
		p = end
		blanks()
		if b[p] != ':' {
			return false
		}
		p++
		blanks()
		return true
	}
	for {
		// A value begins at b[p].
		switch c := b[p]; {
		case c == '{' || c == '[':
			if depth+outer >= maxDepth {
				return v, errTooDeep
			}
			if depth>>6 == len(s.objects) {
				s.objects = append(s.objects, 0)
			}
			s.objects[depth>>6] &^= 1 << (depth & 63)
			if c == '{' {
				s.objects[depth>>6] |= 1 << (depth & 63)
			}
			depth++
			p++
			blanks()
			if b[p] == c+2 { // } and ] stand two behind their opening
				break
			}
			if c == '{' && !name() {
				return v, errNotJSON
			}
			continue
		case c == '"':
			end, high := stringEnd(b, p+1)
			if end < 0 {
				return v, errNotJSON
			}
			v.high = v.high || high
			p = end
		case c == '-' || c-'0' <= 9:
			if p = numberEnd(b, p); p < 0 {
				return v, errNotJSON
			}
		default:
			if p = literalEnd(b, p); p < 0 {
				return v, errNotJSON
			}
		}
		// A value has ended, or an empty object or array is about to.
		for {
			if depth == 0 {
				v.end = p
				return v, nil
			}
			blanks()
			if b[p] == ',' {
				break
			}
			if inObject() && b[p] != '}' || !inObject() && b[p] != ']' {
				return v, errNotJSON
			}
			p++
			depth--
		}
		p++
		if inObject() {
			if !name() {
				return v, errNotJSON
			}
		} else {
			blanks()
		}
	}
}

// compact is the value's text without white space between its tokens and in
// valid UTF-8; it may share memory with b or scratch.
func (v jsonValue) compact(scratch, b []byte) []byte {
	if v.high && !utf8.Valid(b) {
		b = appendValidUTF8(scratch[:0], b)
		scratch = b[len(b):]
	}
	if !v.blanks {
		return b
	}
	out := scratch[:0]
	quoted := false
	for i := 0; i < len(b); i++ {
		c := b[i]
		if !quoted && (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
			continue
		}
		out = append(out, c)
		switch {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted:
			i++
			out = append(out, b[i])
		}
	}
	return out
}
