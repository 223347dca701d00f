package encoding

import (
	"encoding/binary"
	"errors"
)

var (
	errNotDate      = errors.New("is not a date: write YYYY-MM-DD")
	errNotTimestamp = errors.New("is not a timestamp: write RFC 3339 such as 2024-06-20T12:15:17Z, or YYYY-MM-DD HH:MM:SS in UTC")
	errTooFine      = errors.New("is finer than a microsecond: round it to 6 digits of a second")
	errNotBool      = errors.New("is not a bool: write true or false")
)

const (
	earliestDay = -719_162 // 0001-01-01
	firstMicro  = earliestDay * dayMicros
	lastMicro   = (lastDay+1)*dayMicros - 1
)

// parseDate reads YYYY-MM-DD or YYYYMMDD as days since 1970-01-01.
func parseDate(v []byte) (int32, bool) {
	switch len(v) {
	case 10:
		return isoDate(v)
	case 8:
		n, digits := leadingDigits(binary.LittleEndian.Uint64(v))
		if digits != 8 {
			return 0, false
		}
		return civilDay(int(n/10000), int(n/100%100), int(n%100))
	}
	return 0, false
}

// isoDate reads the YYYY-MM-DD that v begins with.
func isoDate(v []byte) (int32, bool) {
	w := binary.LittleEndian.Uint64(v)
	tail := binary.LittleEndian.Uint16(v[8:])
	if w&0xff0000ff00000000 != '-'<<32|'-'<<56 {
		return 0, false
	}
	// YYYYMMDD, most significant digit in the lowest byte.
	n, digits := leadingDigits(w&0xffffffff | w>>8&0xffff00000000 | uint64(tail)<<48)
	if digits != 8 {
		return 0, false
	}
	return civilDay(int(n/10000), int(n/100%100), int(n%100))
}

// civilDay counts the days from 1970-01-01 to a date of the Gregorian calendar.
func civilDay(year, month, day int) (int32, bool) {
	if year < 1 || month < 1 || month > 12 || day < 1 || day > daysIn(year, month) {
		return 0, false
	}
	// Years begin in March here, so that the leap day is the last.
	y, m := year, month-3
	if m < 0 {
		y, m = y-1, m+12
	}
	return int32(365*y + y/4 - y/100 + y/400 + (153*m+2)/5 + day - 1 - 719468), true
}

func daysIn(year, month int) int {
	if month == 2 {
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 30 + (month^month>>3)&1
}

// parseTimestamp reads a date, or a date and time of day behind a T or a blank,
// with an offset (Z, +02:00, +0200) or in UTC, as microseconds since 1970-01-01 UTC.
func parseTimestamp(v []byte) (int64, error) {
	if len(v) < 10 {
		return 0, errNotTimestamp
	}
	day, ok := isoDate(v)
	if !ok {
		return 0, errNotTimestamp
	}
	micros := int64(day) * dayMicros
	if len(v) == 10 {
		return micros, nil
	}
	if len(v) < 19 || v[10]|0x20 != 't' && v[10] != ' ' || v[13] != ':' || v[16] != ':' {
		return 0, errNotTimestamp
	}
	h, m, s := twoDigits(v[11:]), twoDigits(v[14:]), twoDigits(v[17:])
	if uint(h) > 23 || uint(m) > 59 || uint(s) > 59 {
		return 0, errNotTimestamp
	}
	micros += int64(h*3600+m*60+s) * 1_000_000
	v = v[19:]
	tooFine := false
	if len(v) > 0 && v[0] == '.' {
		digits, rest := cutDigits(v[1:])
		if len(digits) == 0 {
			return 0, errNotTimestamp
		}
		unit := int64(100_000)
		for _, c := range digits {
			micros += int64(c-'0') * unit
			tooFine = tooFine || unit == 0 && c != '0'
			unit /= 10
		}
		v = rest
	}
	if len(v) > 0 {
		offset, ok := parseOffset(v)
		if !ok {
			return 0, errNotTimestamp
		}
		micros -= offset
	}
	if tooFine {
		return 0, errTooFine
	}
	if micros < firstMicro || micros > lastMicro {
		return 0, errNotTimestamp
	}
	return micros, nil
}

// shortTimestamp reads a timestamp as most are written, "YYYY-MM-DDThh:mm:ssZ" with
// up to six digits of a second's fraction and in quotes, at b[p], in a line of a
// window. end is behind it; it is -1 for any other form, which says nothing about
// its validity.
func shortTimestamp(b []byte, p int) (micros int64, end int) {
	const form = `"YYYY-MM-DDThh:mm:ss`
	if b[p] != '"' || b[p+len(form)-9] != 'T' {
		return 0, -1
	}
	day, ok := isoDate(b[p+1 : p+11])
	seconds, fine := clock(binary.LittleEndian.Uint64(b[p+len(form)-8:]))
	if !ok || !fine {
		return 0, -1
	}
	micros = int64(day)*dayMicros + seconds*1_000_000
	if p += len(form); b[p] == '.' {
		v, n := leadingDigits(binary.LittleEndian.Uint64(b[p+1:]))
		if n == 0 || n > 6 {
			return 0, -1
		}
		micros += int64(v * tens[6-n])
		p += 1 + n
	}
	if b[p] != 'Z' || b[p+1] != '"' {
		return 0, -1
	}
	return micros, p + 2
}

// clock reads hh:mm:ss as seconds.
func clock(w uint64) (seconds int64, ok bool) {
	w ^= '0' | '0'<<8 | ':'<<16 | '0'<<24 | '0'<<32 | ':'<<40 | '0'<<48 | '0'<<56
	if (w+0x7676007676007676|w)&0x8080808080808080 != 0 || w&0xf0f0fff0f0fff0f0 != 0 {
		return 0, false
	}
	h, m, s := w&15*10+w>>8&15, w>>24&15*10+w>>32&15, w>>48&15*10+w>>56
	return int64(h*3600 + m*60 + s), h < 24 && m < 60 && s < 60
}

// parseOffset reads Z, +HH:MM or +HHMM in microseconds.
func parseOffset(v []byte) (int64, bool) {
	if len(v) == 1 && v[0]|0x20 == 'z' {
		return 0, true
	}
	if len(v) == 6 && v[3] == ':' {
		v = []byte{v[0], v[1], v[2], v[4], v[5]}
	}
	if len(v) != 5 || v[0] != '+' && v[0] != '-' {
		return 0, false
	}
	h, m := twoDigits(v[1:]), twoDigits(v[3:])
	if uint(h) > 23 || uint(m) > 59 {
		return 0, false
	}
	offset := int64(h*60+m) * 60_000_000
	if v[0] == '-' {
		offset = -offset
	}
	return offset, true
}

// twoDigits reads two digits; anything else is negative or above 99.
func twoDigits(v []byte) int {
	tens, ones := v[0]-'0', v[1]-'0'
	if tens > 9 || ones > 9 {
		return -1
	}
	return int(tens)*10 + int(ones)
}

// parseBool reads true or false in any case.
func parseBool(v []byte) (value, ok bool) {
	if len(v) == 4 && v[0]|0x20 == 't' && v[1]|0x20 == 'r' && v[2]|0x20 == 'u' && v[3]|0x20 == 'e' {
		return true, true
	}
	if len(v) == 5 && v[0]|0x20 == 'f' && v[1]|0x20 == 'a' && v[2]|0x20 == 'l' && v[3]|0x20 == 's' && v[4]|0x20 == 'e' {
		return false, true
	}
	return false, false
}
