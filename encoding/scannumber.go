package encoding

import (
	"encoding/binary"
	"errors"
	"math"
	"math/bits"
	"strconv"

	"github.com/apache/arrow/go/v17/arrow/decimal128"
)

var (
	errNotInteger = errors.New("is not a whole number: write digits only, such as -12")
	errIntRange   = errors.New("does not fit into 64 bits: declare the column decimal(38,0) or string")
	errNotNumber  = errors.New("is not a number: write digits such as -12.5, without blanks or separators")
	errNotFinite  = errors.New("is beyond the range of a float64: declare the column decimal or string")
	errPrecision  = errors.New("has more digits than the decimal's precision: declare a wider decimal")
	errScale      = errors.New("has digits beyond the decimal's scale: round it or declare a larger scale")
)

// tens are the powers of ten that fit into 64 bits.
var tens = [20]uint64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19}

var floatTens = [23]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

func decimalLimit(precision int32) uint64 {
	if int(precision) < len(tens) {
		return tens[precision]
	}
	return math.MaxUint64
}

// leadingDigits reads the digits at the front of 8 bytes: their value and how
// many they are.
func leadingDigits(w uint64) (v uint64, n int) {
	x := w ^ 0x3030303030303030
	stop := ((x + 0x7676767676767676) | x) & 0x8080808080808080
	n = bits.TrailingZeros64(stop) >> 3
	x <<= uint(64 - 8*n)
	x = x*10 + x>>8
	return ((x&0x000000ff000000ff)*0x000f424000000064 + (x>>16&0x000000ff000000ff)*0x0000271000000001) >> 32, n
}

// shortNumber reads a plain number (no exponent, at most 18 digits before the
// point and 19 in all) at b[p], in a line of a window. v is its digits
// without the point, fraction how many of them stand behind it. ok is false
// when the number is of another form or none, which says nothing about its
// validity. Leading zeros are left to the slow way.
func shortNumber(b []byte, p int) (neg bool, v uint64, fraction, end int, ok bool) {
	if b[p] == '-' {
		neg = true
		p++
	}
	v, n := leadingDigits(binary.LittleEndian.Uint64(b[p:]))
	if n == 0 || b[p] == '0' && n > 1 {
		return neg, 0, 0, p, false
	}
	p += n
	if n == 8 {
		more, m := leadingDigits(binary.LittleEndian.Uint64(b[p:]))
		v = v*tens[m] + more
		p += m
		n += m
		if m == 8 {
			more, m = leadingDigits(binary.LittleEndian.Uint64(b[p:]))
			if m > 2 {
				return neg, 0, 0, p, false
			}
			v = v*tens[m] + more
			p += m
			n += m
		}
	}
	if b[p] == '.' {
		f, m := leadingDigits(binary.LittleEndian.Uint64(b[p+1:]))
		if m == 0 || n+m > 19 {
			return neg, 0, 0, p, false
		}
		v = v*tens[m] + f
		fraction = m
		p += 1 + m
		for m == 8 {
			f, m = leadingDigits(binary.LittleEndian.Uint64(b[p:]))
			if n+fraction+m > 19 {
				return neg, 0, 0, p, false
			}
			v = v*tens[m] + f
			fraction += m
			p += m
		}
	}
	c := b[p]
	return neg, v, fraction, p, c-'0' > 9 && c != '.' && c|0x20 != 'e'
}

// shortFloat is the float64 nearest to v / 10^fraction, for at most 19 digits in
// all: what strconv.ParseFloat makes of their text.
func shortFloat(v uint64, fraction int) float64 {
	if v < maxExact {
		return float64(v) / floatTens[fraction] // both exact, so the quotient is the nearest
	}
	// The quotient's first 63 or 64 bits; what is left over only tells a tie from
	// what is above it. No result is subnormal, so to scale it by a power of two
	// is exact.
	d := tens[fraction]
	up, down := bits.LeadingZeros64(d), bits.LeadingZeros64(v)
	v <<= down
	q, rest := bits.Div64(v>>1, v<<63, d<<up)
	if rest != 0 {
		q |= 1
	}
	return float64(q) * math.Float64frombits(uint64(1023+up-down-63)<<52)
}

// numberEnd is where the JSON number at b[p] ends, or -1 when there is none.
// Some byte that is not part of a number must follow.
func numberEnd(b []byte, p int) int {
	if b[p] == '-' {
		p++
	}
	if b[p] == '0' {
		p++
	} else if p = digitsEnd(b, p); p < 0 {
		return -1
	}
	if b[p] == '.' {
		if p = digitsEnd(b, p+1); p < 0 {
			return -1
		}
	}
	if b[p]|0x20 == 'e' {
		p++
		if b[p] == '+' || b[p] == '-' {
			p++
		}
		return digitsEnd(b, p)
	}
	return p
}

func digitsEnd(b []byte, p int) int {
	start := p
	for b[p]-'0' <= 9 {
		p++
	}
	if p == start {
		return -1
	}
	return p
}

// exact is a number without loss: digits (no zeros at either end) times
// 10^exponent. Zero has no digits.
type exact struct {
	neg      bool
	integral []byte // digits before the point
	fraction []byte // digits after it
	exponent int
}

// parseExact reads [+-]digits[.digits][e[+-]digits]; leading zeros are fine.
func parseExact(v []byte) (x exact, ok bool) {
	if len(v) > 0 && (v[0] == '-' || v[0] == '+') {
		x.neg = v[0] == '-'
		v = v[1:]
	}
	x.integral, v = cutDigits(v)
	if len(x.integral) == 0 {
		return x, false
	}
	if len(v) > 0 && v[0] == '.' {
		x.fraction, v = cutDigits(v[1:])
		if len(x.fraction) == 0 {
			return x, false
		}
	}
	if len(v) > 0 && v[0]|0x20 == 'e' {
		v = v[1:]
		sign := 1
		if len(v) > 0 && (v[0] == '-' || v[0] == '+') {
			if v[0] == '-' {
				sign = -1
			}
			v = v[1:]
		}
		var power []byte
		if power, v = cutDigits(v); len(power) == 0 {
			return x, false
		}
		for _, c := range power {
			// Beyond this no number of a row's length comes back into range.
			if x.exponent < 1<<40 {
				x.exponent = x.exponent*10 + int(c-'0')
			}
		}
		x.exponent *= sign
	}
	for len(x.integral) > 0 && x.integral[0] == '0' {
		x.integral = x.integral[1:]
	}
	for len(x.fraction) > 0 && x.fraction[len(x.fraction)-1] == '0' {
		x.fraction = x.fraction[:len(x.fraction)-1]
	}
	return x, len(v) == 0
}

func cutDigits(v []byte) (digits, rest []byte) {
	n := 0
	for n < len(v) && v[n]-'0' <= 9 {
		n++
	}
	return v[:n], v[n:]
}

// span is where the number's digits stand: how many before the point (below zero,
// how many zeros the fraction begins with) and of which power of ten the last is.
// Both are zero of zero.
func (x exact) span() (first, last int) {
	if len(x.integral)+len(x.fraction) == 0 {
		return 0, 0
	}
	first = len(x.integral)
	if first == 0 {
		for x.fraction[-first] == '0' {
			first--
		}
	}
	last = -len(x.fraction)
	if last == 0 {
		for x.integral[len(x.integral)-1-last] == '0' {
			last++
		}
	}
	return first + x.exponent, last + x.exponent
}

// scaled is the number times 10^scale, if that is whole and has at most
// precision digits.
func (x exact) scaled(precision, scale int32) (decimal128.Num, error) {
	var digits [MaxPrecision + 1]byte
	n, zeros := 0, 0 // digits kept; zeros met since the last other digit
	overflow := false
	for _, part := range [2][]byte{x.integral, x.fraction} {
		for _, c := range part {
			if c == '0' {
				if n > 0 {
					zeros++
				}
				continue
			}
			if n+zeros >= MaxPrecision {
				overflow = true
				n, zeros = MaxPrecision, 0
				continue
			}
			for ; zeros > 0; zeros-- {
				digits[n] = '0'
				n++
			}
			digits[n] = c
			n++
		}
	}
	if n == 0 {
		return decimal128.Num{}, nil
	}
	// The last digit kept stands for 10^(exponent - len(fraction) + zeros).
	shift := x.exponent - len(x.fraction) + zeros + int(scale)
	if shift < 0 {
		return decimal128.Num{}, errScale
	}
	if overflow || n+shift > int(precision) {
		return decimal128.Num{}, errPrecision
	}
	var hi, lo uint64
	for i := range n + shift {
		c := uint64(0)
		if i < n {
			c = uint64(digits[i] - '0')
		}
		carry, low := bits.Mul64(lo, 10)
		var add uint64
		lo, add = bits.Add64(low, c, 0)
		hi = hi*10 + carry + add
	}
	v := decimal128.New(int64(hi), lo)
	if x.neg {
		v = v.Negate()
	}
	return v, nil
}

// parseInt reads a whole number in any exact form: 12, 12.0, 1.2e1.
func parseInt(v []byte) (int64, error) {
	x, ok := parseExact(v)
	if !ok {
		return 0, errNotInteger
	}
	n, err := x.scaled(19, 0)
	switch {
	case errors.Is(err, errScale):
		return 0, errNotInteger
	case err != nil:
		return 0, errIntRange
	}
	if n.HighBits() != int64(n.LowBits())>>63 {
		return 0, errIntRange
	}
	return int64(n.LowBits()), nil
}

func parseDecimal(v []byte, precision, scale int32) (decimal128.Num, error) {
	x, ok := parseExact(v)
	if !ok {
		return decimal128.Num{}, errNotNumber
	}
	return x.scaled(precision, scale)
}

// parseFloat reads a finite number, rounded to the nearest float64.
func parseFloat(v []byte) (float64, error) {
	if _, ok := parseExact(v); !ok {
		return 0, errNotNumber
	}
	f, err := strconv.ParseFloat(string(v), 64)
	if err != nil || math.IsInf(f, 0) {
		return 0, errNotFinite
	}
	return f, nil
}

// shortDecimal scales what shortNumber read; ok is false when the slow way must judge.
func shortDecimal(neg bool, v uint64, fraction int, limit uint64, scale int32) (decimal128.Num, bool) {
	missing := int(scale) - fraction
	if missing < 0 || missing >= len(tens) {
		return decimal128.Num{}, false
	}
	hi, lo := bits.Mul64(v, tens[missing])
	if hi != 0 || lo >= limit {
		return decimal128.Num{}, false
	}
	if neg && lo != 0 {
		return decimal128.New(-1, -lo), true
	}
	return decimal128.New(0, lo), true
}
