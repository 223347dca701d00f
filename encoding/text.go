package encoding

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"time"

	"github.com/apache/arrow/go/v17/arrow/decimal128"
)

// This file writes values as text: what a csv field holds, what a json line
// holds bare or between quotes, what {{account}} renders.
//
// The put functions write at b[n:] and return the new n. They may touch up to
// cellRoom bytes from n on, also past what they return: whoever calls them has
// made that room. That is what lets eight digits be one store.

// cellRoom is more than the longest number, date or timestamp, plus the eight
// bytes by which a put function may overshoot.
const cellRoom = 64

// Text appends the text form of one value, unquoted and unescaped, and appends
// nothing for a null: integers in decimal, floats as encoding/json writes them,
// decimals with exactly their scale's digits, true and false, dates as
// YYYY-MM-DD, timestamps as RFC 3339 in UTC with a fraction only when there is
// one, json as it is held (compact).
func (r *Rows) Text(dst []byte, column, row int) []byte {
	v := &r.vectors[column]
	if v.null(row) {
		return dst
	}
	t := r.schema.columns[column].Type
	if t.Kind.IsText() {
		return append(dst, v.bytes(row)...)
	}
	n := len(dst)
	dst = slices.Grow(dst, cellRoom)
	b := dst[:n+cellRoom]
	switch t.Kind {
	case Int64:
		n = putInt(b, n, v.ints[row])
	case Timestamp:
		n = putTimestamp(b, n, v.ints[row])
	case Float64:
		n = putFloat(b, n, v.floats[row])
	case Decimal:
		n = putDecimal(b, n, v.decimals[row], int(t.Scale))
	case Bool:
		n += copy(b[n:], boolText(bit(v.bools, row)))
	case Date:
		n = putDate(b, n, v.days[row])
	}
	return b[:n]
}

func boolText(v bool) string {
	if v {
		return "true"
	}
	return "false"
}

// asciiZeros turns eight digits into eight characters when added.
const asciiZeros = 0x3030303030303030

// digits8 spreads v < 1e8 over eight bytes, the most significant digit lowest,
// that is first in memory: 4 + 4 digits, then 2 + 2, then 1 + 1 in each lane.
func digits8(v uint32) uint64 {
	hi := v / 10000
	x := uint64(hi) | uint64(v-10000*hi)<<32
	q := x * 10486 >> 20 & 0x0000007f0000007f // each lane / 100
	x = q | (x-100*q)<<16
	q = x * 103 >> 10 & 0x000f000f000f000f // each lane / 10
	return q | (x-10*q)<<8
}

func putInt(b []byte, n int, v int64) int {
	u := uint64(v)
	if v < 0 {
		b[n] = '-'
		n++
		u = -u
	}
	return putUint(b, n, u)
}

func putUint(b []byte, n int, u uint64) int {
	switch {
	case u < 1e8:
		return putShort(b, n, uint32(u))
	case u < 1e16:
		hi := u / 1e8
		return put8(b, putShort(b, n, uint32(hi)), uint32(u-hi*1e8))
	default:
		hi := u / 1e16
		n = putShort(b, n, uint32(hi))
		u -= hi * 1e16
		mid := u / 1e8
		return put8(b, put8(b, n, uint32(mid)), uint32(u-mid*1e8))
	}
}

// putShort writes v < 1e8 without leading zeros.
func putShort(b []byte, n int, v uint32) int {
	x := digits8(v)
	skip := bits.TrailingZeros64(x|1<<56) &^ 7 // a zero keeps its last digit
	binary.LittleEndian.PutUint64(b[n:], (x+asciiZeros)>>skip)
	return n + 8 - skip>>3
}

// put8 writes v < 1e8 as exactly eight digits.
func put8(b []byte, n int, v uint32) int {
	binary.LittleEndian.PutUint64(b[n:], digits8(v)+asciiZeros)
	return n + 8
}

// putFloat writes the shortest decimal that reads back as f, in the form
// ECMAScript and encoding/json use: plain from 1e-6 up to 1e21, else with an
// exponent. f is finite.
//
// The fast path is exact: m < 1e15 and 1e8 are both exact doubles, so m/1e8
// is the double nearest to the decimal m*10^-8; and no two decimals of at most
// 15 digits share a nearest double, so no shorter one can.
func putFloat(b []byte, n int, f float64) int {
	a := math.Abs(f)
	if a >= 1e-6 && a < 1e7 {
		if m := int64(a*1e8 + 0.5); float64(m)/1e8 == a {
			if f < 0 {
				b[n] = '-'
				n++
			}
			whole := uint64(m) / 1e8
			n = putShort(b, n, uint32(whole))
			if fraction := uint32(uint64(m) - whole*1e8); fraction != 0 {
				n = putFraction(b, n, fraction)
			}
			return n
		}
	} else if a < 1e15 && a == math.Trunc(a) && !(a == 0 && math.Signbit(f)) {
		return putInt(b, n, int64(f))
	}
	if a != 0 && (a < 1e-6 || a >= 1e21) {
		text := strconv.AppendFloat(b[:n], f, 'e', -1, 64)
		// e-09 is written e-9
		if k := len(text); k >= 4 && text[k-4] == 'e' && text[k-3] == '-' && text[k-2] == '0' {
			text[k-2] = text[k-1]
			text = text[:k-1]
		}
		return len(text)
	}
	return len(strconv.AppendFloat(b[:n], f, 'f', -1, 64))
}

// putFraction writes the point and eight decimals less their trailing zeros;
// 0 < v < 1e8.
func putFraction(b []byte, n int, v uint32) int {
	x := digits8(v)
	b[n] = '.'
	binary.LittleEndian.PutUint64(b[n+1:], x+asciiZeros)
	return n + 9 - bits.LeadingZeros64(x)>>3
}

// putDecimal writes d*10^-scale with exactly scale decimals.
func putDecimal(b []byte, n int, d decimal128.Num, scale int) int {
	hi, lo := uint64(d.HighBits()), d.LowBits()
	if d.HighBits() < 0 {
		b[n] = '-'
		n++
		var borrow uint64
		lo, borrow = bits.Sub64(0, lo, 0)
		hi, _ = bits.Sub64(0, hi, borrow)
	}
	start := n
	if hi == 0 {
		n = putUint(b, n, lo)
	} else {
		top, rest := bits.Div64(hi, lo, 1e19) // hi < 1e19: 2^63 at most
		n = putUint(b, n, top)
		first := rest / 1e16
		b[n] = '0' + byte(first/100)
		b[n+1] = '0' + byte(first/10%10)
		b[n+2] = '0' + byte(first%10)
		rest -= first * 1e16
		mid := rest / 1e8
		n = put8(b, put8(b, n+3, uint32(mid)), uint32(rest-mid*1e8))
	}
	if scale == 0 {
		return n
	}
	if missing := scale + 1 - (n - start); missing > 0 { // at least one digit before the point
		copy(b[start+missing:n+missing], b[start:n])
		for i := start; i < start+missing; i++ {
			b[i] = '0'
		}
		n += missing
	}
	copy(b[n-scale+1:n+1], b[n-scale:n])
	b[n-scale] = '.'
	return n + 1
}

// The days whose year has four digits: 0000-01-01 to 9999-12-31.
const (
	firstPlainDay = -719528
	lastPlainDay  = 2932896
)

func plainDay(day int32) bool { return day >= firstPlainDay && day <= lastPlainDay }

// putDate writes YYYY-MM-DD. Years outside 0000-9999 are written as
// time.Time.Format writes them.
func putDate(b []byte, n int, day int32) int {
	if !plainDay(day) {
		return len(time.Unix(int64(day)*86400, 0).UTC().AppendFormat(b[:n], time.DateOnly))
	}
	year, month, dom := civil(day)
	binary.LittleEndian.PutUint64(b[n:], digits8(year*10000+month*100+dom)+asciiZeros)
	b[n+9], b[n+8] = b[n+7], b[n+6]
	b[n+6], b[n+5] = b[n+5], b[n+4]
	b[n+4], b[n+7] = '-', '-'
	return n + 10
}

// civil is the calendar day of a plain day, by counting years from March of
// year 0 (so that the leap day is a year's last) in cycles of 400 years.
func civil(day int32) (year, month, dom uint32) {
	z := uint32(day + 719468 + 146097) // days since -0400-03-01
	era := z / 146097
	doe := z - era*146097
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	dom = doy - (153*mp+2)/5 + 1
	year = yoe + era*400
	if mp < 10 {
		month = mp + 3
	} else {
		month = mp - 9
		year++
	}
	return year - 400, month, dom
}

const microsPerDay = 86400 * 1e6

// dayOf cuts an instant into its UTC day and the microseconds into that day.
func dayOf(micros int64) (day, rest int64) {
	day = micros / microsPerDay
	rest = micros - day*microsPerDay
	if rest < 0 {
		day--
		rest += microsPerDay
	}
	return day, rest
}

func putTimestamp(b []byte, n int, micros int64) int {
	day, rest := dayOf(micros)
	n = putDate(b, n, int32(day)) // |day| < 2^63/microsPerDay < 2^27
	return putClock(b, n, rest)
}

// putClock writes Thh:mm:ssZ, with the fraction when there is one.
func putClock(b []byte, n int, micros int64) int {
	seconds := uint32(uint64(micros) / 1e6)
	fraction := uint32(uint64(micros) - uint64(seconds)*1e6)
	h := seconds / 3600
	m := (seconds - h*3600) / 60
	s := seconds - h*3600 - m*60
	// 00hhmmss in one go, then moved apart
	x := digits8(h*10000+m*100+s) + asciiZeros
	b[n] = 'T'
	binary.LittleEndian.PutUint16(b[n+1:], uint16(x>>16))
	b[n+3] = ':'
	binary.LittleEndian.PutUint16(b[n+4:], uint16(x>>32))
	b[n+6] = ':'
	binary.LittleEndian.PutUint16(b[n+7:], uint16(x>>48))
	n += 9
	if fraction != 0 {
		n = putFraction(b, n, fraction*100)
	}
	b[n] = 'Z'
	return n + 1
}
