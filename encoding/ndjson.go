package encoding

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"unicode/utf8"
)

var (
	errUnknownColumn = errors.New("is not in the schema: add the column to it, or allow unknown columns")
	errColumnsAbsent = errors.New("has not every column of the schema")
	errNested        = errors.New("is an object or array: declare the column json")

	errUnclosed   = fmt.Errorf("%w: the line ends before the } of its object: write one object per line", errNotJSON)
	errUnfollowed = fmt.Errorf("%w: neither a comma nor a } follows the value", errNotJSON)
)

// ndjson scans rows straight into a builder (or, for an [Inferrer], into what
// was seen of each column). It expects each key where it stood in the rows
// before, bytes and all; a row that keeps to that costs one comparison per key,
// and a row that does not is only slower.
type ndjson struct {
	builder *builder // nil when observing
	unknown func(name string) (*field, error)
	fields  map[string]*field
	first   field // stands before a row's first key
	lenient *columnBuilder
	values  valueScanner
	name    []byte // a key's text
	scratch []byte
	spelled int  // bytes kept of how keys are spelled
	whole   bool // a row must have every column

	// What went wrong, where a value was the reason.
	fault struct {
		column string
		value  []byte
		err    error
	}
}

// field is one key that rows have.
type field struct {
	name   string
	kind   Kind // 0: its values are skipped; observed: they are only looked at
	column *columnBuilder
	seen   *observed
	next   *field // the field that followed last time
	former *field // the one that followed before that, when rows leave fields out
	key    []byte // how the key was written last, colon and blanks included
	// Its first and last 8 bytes; of a shorter one all of it, under the mask.
	head, tail, mask uint64
}

// spell keeps how the key is written.
func (f *field) spell(key []byte) {
	f.key = append(f.key[:0], key...)
	if n := len(key); n >= 8 {
		f.head, f.tail = binary.LittleEndian.Uint64(key), binary.LittleEndian.Uint64(key[n-8:])
		return
	}
	var w [8]byte
	copy(w[:], key)
	f.head, f.mask = binary.LittleEndian.Uint64(w[:]), 1<<(8*len(key))-1
}

// stands reports whether the rest of a key stands at b[p], in a line of a window.
// Of keys of 8 to 16 bytes, row compares two words without a call.
func (f *field) stands(b []byte, p int) bool {
	n := len(f.key)
	if n == 0 || len(b)-p <= n {
		return false
	}
	if n < 8 {
		return binary.LittleEndian.Uint64(b[p:])&f.mask == f.head
	}
	return string(b[p:p+n]) == string(f.key)
}

// observedKind is the kind of a field whose values an Inferrer looks at.
const observedKind Kind = 255

// Unknown keys are remembered up to here; further ones are looked at anew each time.
const (
	maxUnknown = 1024
	maxSpelled = 1 << 20
)

func newNDJSON(b *builder, opts DecodeOptions) *ndjson {
	s := &ndjson{builder: b, fields: make(map[string]*field, len(b.columns))}
	var before = &s.first
	for i := range b.columns {
		c := &b.columns[i]
		f := &field{name: c.column.Name, kind: c.kind, column: c}
		if opts.LenientColumn == f.name {
			s.lenient = c
		}
		s.fields[f.name] = f
		before.next, before = f, f
	}
	rest := &field{}
	s.unknown = func(name string) (*field, error) {
		if !opts.UnknownColumns {
			return nil, errUnknownColumn
		}
		if len(s.fields) >= len(b.columns)+maxUnknown {
			return rest, nil
		}
		f := &field{name: name}
		s.fields[name] = f
		return f, nil
	}
	return s
}

// read takes every row of the window; done is called behind each.
func (s *ndjson) read(w *window, batch int, maxRow int64, done func() error) (rows int64, err error) {
	if err := w.skipMark(); err != nil {
		return 0, err
	}
	for {
		b, err := w.whole(maxRow)
		switch {
		case errors.Is(err, io.EOF):
			return rows, nil
		case errors.Is(err, errLongRow):
			return rows, tooLong(batch, rows+1, maxRow)
		case err != nil:
			return rows, err
		}
		p := skipBlanks(b, 0)
		if b[p] == '\n' {
			w.take(p + 1)
			continue
		}
		end := s.row(b, p)
		fault := end < 0
		if fault {
			end = lineEnd(b, p)
		}
		switch {
		case int64(end) > maxRow:
			return rows, tooLong(batch, rows+1, maxRow)
		case fault:
			return rows, &RowError{Batch: batch, Row: rows + 1, Column: s.fault.column, Value: shortened(s.fault.value), Err: s.fault.err}
		}
		w.take(end + 1)
		rows++
		if err := done(); err != nil {
			return rows, err
		}
	}
}

// lineEnd is where the newline of the line at b[p] stands.
func lineEnd(b []byte, p int) int { return p + bytes.IndexByte(b[p:], '\n') }

// row takes the object at b[p], and gives where its line's newline stands; -1 when
// there is a fault in it. Nothing that is read goes on behind a newline, since no
// value and no blank has one.
func (s *ndjson) row(b []byte, p int) (end int) {
	if b[p] != '{' {
		return s.fail("", b[p:lineEnd(b, p)], errNotInRow)
	}
	row := 0
	if s.builder != nil {
		row = s.builder.begin()
	}
	set, object := 0, p
	f := &s.first
	if q := skipBlanks(b, p+1); b[q] == '}' {
		p = q
	} else {
		for {
			p++
			if g := f.next; g != nil && (len(b)-p > 16 && uint(len(g.key)-8) <= 8 &&
				binary.LittleEndian.Uint64(b[p:]) == g.head && binary.LittleEndian.Uint64(b[p+len(g.key)-8:]) == g.tail || g.stands(b, p)) {
				f = g
				p += len(g.key)
				if b[p] <= ' ' {
					p = skipBlanks(b, p)
				}
			} else if f, p = s.key(f, b, p); p < 0 {
				return -1
			}
			if c := f.column; c != nil {
				if c.filled > row {
					c.unset(row)
				} else {
					c.filled = row + 1
					set++
				}
			}
			start := p
			switch f.kind {
			case String:
				p = s.text(f.column, row, b, p)
			case Int64, Float64, Decimal:
				p = s.number(f.column, row, b, p)
			case Date:
				p = s.date(f.column, row, b, p)
			case Timestamp:
				p = s.timestamp(f.column, row, b, p)
			case Bool:
				p = s.truth(f.column, row, b, p)
			case observedKind:
				p = s.observe(f, b, p)
			case 0:
				p = s.skip(b, p)
			default:
				p = s.other(f.column, row, b, p)
			}
			if p < 0 {
				s.fault.column = f.name
				if s.fault.value == nil {
					s.fault.value = b[start:lineEnd(b, start)]
				}
				return -1
			}
			if b[p] == ',' {
				continue
			}
			if b[p] <= ' ' {
				p = skipBlanks(b, p)
			}
			if b[p] == ',' {
				continue
			}
			if b[p] == '}' {
				break
			}
			return s.unfollowed(f.name, b, start, p)
		}
	}
	p++
	if b[p] != '\n' {
		if p = skipBlanks(b, p); b[p] != '\n' {
			return s.fail("", b[p:lineEnd(b, p)], errNotJSON)
		}
	}
	if s.builder != nil {
		if s.whole && set != len(s.builder.columns) {
			return s.fail("", b[object:p], errColumnsAbsent)
		}
		s.builder.end(set)
	}
	return p
}

// unfollowed is fail for a value at b[start] behind which, at b[p], the object neither
// goes on nor ends.
func (s *ndjson) unfollowed(column string, b []byte, start, p int) int {
	if b[p] == '\n' {
		return s.fail(column, b[start:p], errUnclosed)
	}
	return s.fail(column, b[start:lineEnd(b, start)], errUnfollowed)
}

// key reads the key at b[p] and what leads to its value, when it is not the one
// that was expected behind the field before.
func (s *ndjson) key(before *field, b []byte, p int) (*field, int) {
	if g := before.former; g != nil && g.stands(b, p) {
		return g, skipBlanks(b, p+len(g.key))
	}
	start := p
	p = skipBlanks(b, p)
	switch b[p] {
	case '"':
	case '\n':
		s.fail("", b[start:p], errUnclosed)
		return nil, -1
	default:
		s.fail("", b[start:lineEnd(b, start)], errNotJSON)
		return nil, -1
	}
	q, high := plainRun(b, p+1)
	name, end := b[p+1:q], q+1
	if b[q] != '"' || high && !utf8.Valid(name) {
		if s.name, end = unquote(s.name[:0], b, p+1); end < 0 {
			s.fail("", b[start:lineEnd(b, start)], errNotJSON)
			return nil, -1
		}
		name = s.name
	}
	p = skipBlanks(b, end)
	if b[p] != ':' {
		s.fail("", b[start:lineEnd(b, start)], errNotJSON)
		return nil, -1
	}
	p = skipBlanks(b, p+1)
	f := s.fields[string(name)]
	if f == nil {
		var err error
		if f, err = s.unknown(string(name)); err != nil {
			s.fail(string(name), nil, err)
			return nil, -1
		}
	}
	if spelling := b[start:p]; string(f.key) != string(spelling) && s.spelled < maxSpelled && f.name != "" {
		s.spelled += max(len(spelling)-cap(f.key), 0)
		f.spell(spelling)
	}
	before.next, before.former = f, before.next
	return f, p
}

func (s *ndjson) fail(column string, value []byte, err error) int {
	s.fault.column, s.fault.value, s.fault.err = column, value, err
	return -1
}

// stop is fail for a value scanner, which does not know its column.
func (s *ndjson) stop(value []byte, err error) int { return s.fail("", value, err) }

// string reads the string whose opening quote is at b[p].
func (s *ndjson) string(b []byte, p int) (v []byte, end int) {
	q, high := plainRun(b, p+1)
	if b[q] == '"' && !high {
		return b[p+1 : q], q + 1
	}
	if s.scratch, end = unquote(s.scratch[:0], b, p+1); end < 0 {
		return nil, s.stop(nil, errNotJSON)
	}
	return s.scratch, end
}

func isNull(b []byte, p int) bool {
	return binary.LittleEndian.Uint32(b[p:]) == 'n'|'u'<<8|'l'<<16|'l'<<24
}

func (s *ndjson) text(c *columnBuilder, row int, b []byte, p int) int {
	if b[p] == '"' {
		q, high := plainRun(b, p+1)
		if b[q] == '"' {
			c.setLoose(row, b[p+1:q], high)
			return q + 1
		}
		if s.scratch, q = unquote(s.scratch[:0], b, p+1); q < 0 {
			return s.stop(nil, errNotJSON)
		}
		c.setBytes(row, s.scratch)
		return q
	}
	if isNull(b, p) {
		c.setNull(row)
		return p + 4
	}
	v, err := s.values.scan(b, p, 1)
	switch {
	case err != nil:
		return s.stop(nil, err)
	case v.object || v.array:
		return s.stop(b[p:v.end], errNested)
	}
	c.setBytes(row, b[p:v.end])
	return v.end
}

func (s *ndjson) number(c *columnBuilder, row int, b []byte, p int) int {
	if b[p] == '"' {
		if end := c.setShort(row, b, p+1); end >= 0 && b[end] == '"' {
			return end + 1
		}
	} else if end := c.setShort(row, b, p); end >= 0 {
		return end
	}
	return s.other(c, row, b, p)
}

func (s *ndjson) date(c *columnBuilder, row int, b []byte, p int) int {
	if b[p] == '"' && b[p+11] == '"' {
		if day, ok := isoDate(b[p+1 : p+11]); ok {
			c.days[row] = day
			return p + 12
		}
	}
	return s.other(c, row, b, p)
}

func (s *ndjson) timestamp(c *columnBuilder, row int, b []byte, p int) int {
	if micros, end := shortTimestamp(b, p); end >= 0 {
		c.ints[row] = micros
		return end
	}
	return s.other(c, row, b, p)
}

func (s *ndjson) truth(c *columnBuilder, row int, b []byte, p int) int {
	switch w := binary.LittleEndian.Uint32(b[p:]); {
	case w == 't'|'r'<<8|'u'<<16|'e'<<24:
		c.setBool(row, true)
		return p + 4
	case w == 'f'|'a'<<8|'l'<<16|'s'<<24 && b[p+4] == 'e':
		return p + 5
	}
	return s.other(c, row, b, p)
}

// other takes a value of any form for a column of any kind but String.
func (s *ndjson) other(c *columnBuilder, row int, b []byte, p int) int {
	if isNull(b, p) {
		c.setNull(row)
		return p + 4
	}
	if c.kind == JSONText {
		v, err := s.values.scan(b, p, 1)
		if err != nil {
			return s.stop(nil, err)
		}
		text := v.compact(s.scratch, b[p:v.end])
		if len(text) != v.end-p {
			s.scratch = text
		}
		c.setBytes(row, text)
		return v.end
	}
	var text []byte
	var end int
	var err error
	if b[p] == '"' {
		if text, end = s.string(b, p); end < 0 {
			return -1
		}
		err = c.parse(row, text)
	} else {
		v, bad := s.values.scan(b, p, 1)
		if bad != nil {
			return s.stop(nil, bad)
		}
		text, end = b[p:v.end], v.end
		err = c.literal(row, text)
	}
	if err != nil {
		if c != s.lenient {
			return s.stop(text, err)
		}
		c.setNull(row)
	}
	return end
}

func (s *ndjson) skip(b []byte, p int) int {
	v, err := s.values.scan(b, p, 1)
	if err != nil {
		return s.stop(nil, err)
	}
	return v.end
}

// literal sets what stands in JSON without quotes: a number, true, false, an
// object or an array.
func (c *columnBuilder) literal(row int, v []byte) error {
	number := v[0] == '-' || v[0]-'0' <= 9
	truth := v[0] == 't' || v[0] == 'f'
	if v[0] == '{' || v[0] == '[' {
		return errNested
	}
	switch c.kind {
	case Float64:
		if number { // and proved to be one
			return c.setFloat(row, v)
		}
		return errNotNumber
	case Int64, Decimal:
		if number {
			return c.parse(row, v)
		}
		if c.kind == Int64 {
			return errNotInteger
		}
		return errNotNumber
	case Bool:
		if truth {
			return c.parse(row, v)
		}
		return errNotBool
	case Date:
		return errNotDate
	}
	return errNotTimestamp
}

// setShort sets a column of numbers to the number at b[p], in a line of a window,
// if it is short and plain; it returns the index behind it, or -1.
func (c *columnBuilder) setShort(row int, b []byte, p int) int {
	neg, v, fraction, end, ok := shortNumber(b, p)
	if !ok {
		return -1
	}
	switch c.kind {
	case Int64:
		if fraction > 0 {
			return -1
		}
		n := int64(v)
		if neg {
			n = -n
		}
		c.ints[row] = n
		return end
	case Float64:
		n := shortFloat(v, fraction)
		if neg {
			n = -n
		}
		c.floats[row] = n
		return end
	}
	n, ok := shortDecimal(neg, v, fraction, c.limit, c.column.Type.Scale)
	if !ok {
		return -1
	}
	c.decimals[row] = n
	return end
}

// setFloat sets the row to a number that is proved to be one in JSON's form.
func (c *columnBuilder) setFloat(row int, v []byte) error {
	f, err := strconv.ParseFloat(string(v), 64)
	if err != nil || math.IsInf(f, 0) {
		return errNotFinite
	}
	c.floats[row] = f
	return nil
}

// parse sets the row to what v says, in a column that is not text.
func (c *columnBuilder) parse(row int, v []byte) (err error) {
	switch c.kind {
	case Int64:
		c.ints[row], err = parseInt(v)
	case Float64:
		c.floats[row], err = parseFloat(v)
	case Decimal:
		c.decimals[row], err = parseDecimal(v, c.column.Type.Precision, c.column.Type.Scale)
	case Bool:
		truth, ok := parseBool(v)
		if !ok {
			return errNotBool
		}
		c.setBool(row, truth)
	case Date:
		day, ok := parseDate(v)
		if !ok {
			return errNotDate
		}
		c.days[row] = day
	case Timestamp:
		c.ints[row], err = parseTimestamp(v)
	}
	return err
}

// shortened is at most MaxErrorValue bytes of v, in valid UTF-8.
func shortened(v []byte) string {
	if len(v) <= MaxErrorValue {
		return string(appendValidUTF8(nil, v))
	}
	cut := v[:MaxErrorValue-len("…")]
	for i := 0; i < utf8.UTFMax && !utf8.Valid(cut); i++ {
		cut = cut[:len(cut)-1]
	}
	out := appendValidUTF8(nil, cut)
	for len(out) > MaxErrorValue-len("…") {
		_, size := utf8.DecodeLastRune(out)
		out = out[:len(out)-size]
	}
	return string(out) + "…"
}
