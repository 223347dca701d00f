package encoding

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"unicode/utf8"
)

var (
	errBareQuote  = errors.New(`holds a quote but does not begin with one: write "" for each quote and quote the field`)
	errAfterQuote = errors.New(`goes on behind its closing quote: write "" for a quote inside of a quoted field`)
	errOpenQuote  = errors.New("has an opening quote that is never closed")
	errNotUTF8    = errors.New("is not UTF-8: convert the file to UTF-8")
)

// csvRows scans RFC 4180 rows into a builder (or, for an [Inferrer], into what
// was seen of each column).
type csvRows struct {
	builder *builder
	lenient *columnBuilder
	fields  []csvField // as the batch's header has them
	missing []*columnBuilder
	scratch []byte
	values  valueScanner
	between byte   // the separator
	mask    uint64 // in each byte
	blanks  bool   // an empty line is a row: of a file of one column, which writes a null so
}

// newCSVRows reads fields that separator stands between; builder is nil when
// observing.
func newCSVRows(separator Separator, b *builder, lenient *columnBuilder) csvRows {
	between := separator.Byte()
	return csvRows{builder: b, lenient: lenient, between: between, mask: lowBits * uint64(between)}
}

// csvField is one field of the header; both nil: its values are skipped.
type csvField struct {
	name   string
	column *columnBuilder
	seen   *observed
}

// header takes the batch's first record and finds the columns that it names;
// find is called once for each name.
func (s *csvRows) header(w *window, maxRow int64, find func(name string) (csvField, error)) error {
	s.fields, s.missing = s.fields[:0], s.missing[:0]
	if err := w.skipMark(); err != nil {
		return err
	}
	b, n, err := s.record(w, maxRow)
	if errors.Is(err, errLongRow) {
		return fmt.Errorf("csv header %w", err)
	}
	if err != nil {
		return err
	}
	twice := make(map[string]bool)
	for p := 0; ; p++ {
		cell, end, _, err := s.cell(b, p, n)
		if err == nil && !utf8.Valid(cell) {
			err = errNotUTF8
		}
		if err != nil {
			return fmt.Errorf("csv header: field %d %w", len(s.fields)+1, err)
		}
		name := string(cell)
		if twice[name] {
			return fmt.Errorf("csv header: column %q stands twice", name)
		}
		twice[name] = true
		f, err := find(name)
		if err != nil {
			return fmt.Errorf("csv header: column %q %w", name, err)
		}
		s.fields = append(s.fields, f)
		if p = end; p == n {
			break
		}
	}
	if s.builder != nil {
		for i := range s.builder.columns {
			if c := &s.builder.columns[i]; !twice[c.column.Name] {
				s.missing = append(s.missing, c)
			}
		}
	}
	return nil
}

// record is the next line that is a row; b[n] ends it, a newline or the
// carriage return before it.
func (s *csvRows) record(w *window, maxRow int64) (b []byte, n int, err error) {
	for {
		if b, n, err = w.line(maxRow, true); err != nil {
			return nil, 0, err
		}
		if n > 0 && b[n-1] == '\r' {
			n--
			b[n] = '\n'
		}
		if n > 0 || s.blanks {
			return b, n, nil
		}
	}
}

// read takes every row behind the header; done is called behind each.
func (s *csvRows) read(w *window, batch int, maxRow int64, done func() error) (rows int64, err error) {
	for {
		b, n, err := s.record(w, maxRow)
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if errors.Is(err, errLongRow) {
			return rows, tooLong(batch, rows+1, maxRow)
		}
		if err != nil {
			return rows, err
		}
		if bad := s.row(b, n, w); bad != nil {
			bad.Batch, bad.Row = batch, rows+1
			return rows, bad
		}
		rows++
		if err := done(); err != nil {
			return rows, err
		}
	}
}

// row takes the record b[:n].
func (s *csvRows) row(b []byte, n int, w *window) *RowError {
	row := 0
	if s.builder != nil {
		row = s.builder.begin()
		for _, c := range s.missing {
			c.setNull(row)
			c.filled = row + 1
		}
	}
	p := 0
	for i := range s.fields {
		f := &s.fields[i]
		end := -1
		if f.column != nil {
			f.column.filled = row + 1
			end = s.short(f.column, row, b, p, n)
		}
		if end < 0 {
			var cell []byte
			var quoted bool
			var err error
			if cell, end, quoted, err = s.cell(b, p, n); err == nil {
				switch {
				case f.column != nil:
					err = s.set(f.column, row, cell, quoted)
				case f.seen != nil:
					f.seen.text(cell)
				}
			}
			if err != nil {
				return &RowError{Column: f.name, Value: shortened(cell), Err: err}
			}
		}
		p = end + 1
		if (end == n) != (i == len(s.fields)-1) {
			return s.ragged(b, n, w)
		}
	}
	if s.builder != nil {
		s.builder.end(len(s.builder.columns))
	}
	return nil
}

func (s *csvRows) ragged(b []byte, n int, w *window) *RowError {
	fields := 1
	for p := 0; ; p++ {
		_, end, _, err := s.cell(b, p, n)
		if p = end; err != nil || p == n {
			break
		}
		fields++
	}
	line := w.lines - int64(bytes.Count(b[:n], newline))
	return &RowError{Value: shortened(b[:n]), Err: fmt.Errorf("line %d has %d fields where the header has %d: leave fields empty, but keep their separators", line, fields, len(s.fields))}
}

var newline = []byte{'\n'}

// cell is the field at b[p]; end is the separator or the record's end behind it.
func (s *csvRows) cell(b []byte, p, n int) (cell []byte, end int, quoted bool, err error) {
	if b[p] != '"' {
		q := p
		for {
			stops := cellStops(binary.LittleEndian.Uint64(b[q:]), s.mask)
			if stops == 0 {
				q += 8
				continue
			}
			q += bits.TrailingZeros64(stops) >> 3
			switch {
			case q == n || b[q] == s.between:
				return b[p:q], q, false, nil
			case b[q] == '"':
				return b[p:n], n, false, errBareQuote
			}
			q++ // only an open quote elsewhere lets a newline stand in a record
		}
	}
	p++
	end = p + bytes.IndexByte(b[p:n], '"')
	if end < p {
		return b[p:n], n, true, errOpenQuote
	}
	cell = b[p:end]
	if b[end+1] == '"' {
		s.scratch = s.scratch[:0]
		for b[end+1] == '"' {
			s.scratch = append(s.scratch, b[p:end+1]...)
			p = end + 2
			if end = p + bytes.IndexByte(b[p:n], '"'); end < p {
				return s.scratch, n, true, errOpenQuote
			}
		}
		s.scratch = append(s.scratch, b[p:end]...)
		cell = s.scratch
	}
	end++
	if end != n && b[end] != s.between {
		return cell, n, true, errAfterQuote
	}
	return cell, end, true, nil
}

// cellStops marks, in the high bit of its byte, the first separator, quote or
// newline of w. Marks above the first one mean nothing.
func cellStops(w, separators uint64) uint64 {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	c := w ^ separators
	q := w ^ ones*'"'
	l := w ^ ones*'\n'
	return ((c-ones)&^c | (q-ones)&^q | (l-ones)&^l) & highs
}

// short takes a plain number or date at b[p] without looking for the field's end
// first; it returns that end, or -1 if the field is anything else.
func (s *csvRows) short(c *columnBuilder, row int, b []byte, p, n int) int {
	end := -1
	switch c.kind {
	case Int64, Float64, Decimal:
		end = c.setShort(row, b, p)
	case Date:
		if day, ok := isoDate(b[p : p+10]); ok {
			c.days[row] = day
			end = p + 10
		}
	}
	if end == n || end >= 0 && b[end] == s.between {
		return end
	}
	return -1
}

// set takes a field. Empty is null, but a quoted empty text is a text.
func (s *csvRows) set(c *columnBuilder, row int, cell []byte, quoted bool) error {
	if len(cell) == 0 && (!quoted || c.kind != String) {
		c.setNull(row)
		return nil
	}
	var err error
	switch c.kind {
	case String:
		if !c.setStrict(row, cell) {
			return errNotUTF8
		}
	case JSONText:
		// The scanner wants a byte behind the value that is no part of it.
		s.scratch = append(append(s.scratch[:0], cell...), jsonSlack...)
		return s.json(c, row, len(cell))
	default:
		err = c.parse(row, cell)
	}
	if err != nil && c == s.lenient {
		c.setNull(row)
		return nil
	}
	return err
}

var jsonSlack = append([]byte{'\n'}, make([]byte, windowSlack)...)

// json takes the field that stands at the front of scratch. In JSON, blanks
// around a value and newlines between its tokens mean nothing.
func (s *csvRows) json(c *columnBuilder, row, n int) error {
	b := s.scratch
	quoted := false
	for i := 0; i < n; i++ {
		switch b[i] {
		case '\n':
			if !quoted {
				b[i] = ' '
			}
		case '"':
			quoted = !quoted
		case '\\':
			i++
		}
	}
	if !utf8.Valid(b[:n]) {
		return errNotUTF8
	}
	p := skipBlanks(b, 0)
	if isNull(b, p) && skipBlanks(b, p+4) == n {
		c.setNull(row)
		return nil
	}
	v, err := s.values.scan(b, p, 0)
	if err == nil && skipBlanks(b, v.end) != n {
		err = errNotJSON
	}
	if err != nil {
		return err
	}
	c.setBytes(row, v.compact(nil, b[p:v.end]))
	return nil
}
