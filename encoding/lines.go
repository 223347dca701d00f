package encoding

import (
	"fmt"
	"io"
	"sync"
)

// dialect is what distinguishes csv from json lines.
type dialect struct {
	format Format
	head   []byte                       // once, at the start of the file
	leads  [][]byte                     // before each column's value
	tail   string                       // after a row's last value
	null   string                       // in place of a null value
	quote  string                       // around dates and timestamps
	escape []func(dst, v []byte) []byte // appends a text column's value, quoted as need be; nil for other columns
}

// lineWriter writes rows as lines of text. A row is assembled from cells: the
// column's lead (separator or key) and its value. What can be rendered once
// per Write (dictionary entries, booleans, nulls, the day of a date) is
// rendered with its lead, so that most cells are one copy.
type lineWriter struct {
	*lines
	w      io.Writer
	schema *Schema
	dialect
	err error // what every later call returns
}

// lines is the memory a lineWriter works in, kept for the next file.
type lines struct {
	buf   []byte // len == cap; the first n bytes are written but not flushed
	n     int
	cells []cell
	// the dialect's quote and tail, as splat takes them
	after, end []byte
}

// linePool spares a file its buffers: most files are a few dozen kilobytes.
// It holds memory only, nothing of what was in it is ever read.
var linePool = sync.Pool{New: func() any { return &lines{buf: make([]byte, 2*lineBlock)} }}

const (
	// lineBlock is the least that is flushed at a time, except at the end of
	// the file. Where a block ends depends on the rows only.
	lineBlock = 64 << 10
	// splatRoom is how much splat copies at once.
	splatRoom = 32
	// longestEntry bounds the dictionary entries that are rendered ahead.
	longestEntry = 1 << 10
	// largestDictionary bounds, in bytes, what is rendered ahead, and with it
	// the memory that a writer takes beside its rows.
	largestDictionary = 4 << 20
	// keptBuffer bounds what a pooled buffer may hold on to.
	keptBuffer = 1 << 20
)

// form is how a cell's value is written.
type form uint8

const (
	formTable form = iota // entry codes[row], or a null entry
	formBool
	formText
	formInt
	formFloat
	formDecimal
	formDate
	formTimestamp
)

// cell is one column prepared for a Write. Every byte slice in it has
// splatRoom bytes of capacity from its start at least.
type cell struct {
	form   form
	scale  int
	v      *vector
	lead   []byte
	absent []byte // lead and null
	escape func(dst, v []byte) []byte

	// formTable: entry i is entries[ends[i]:ends[i+1]]
	ends    []int32
	entries []byte
	bools   [2][]byte // formBool: lead and value

	// formDate, formTimestamp: days written lately, each at its number modulo theirs
	days [4]dayText
}

// dayText is a day with its lead and quotes; without a text there is none.
type dayText struct {
	day  int32
	text []byte
}

func newLineWriter(w io.Writer, schema *Schema, d dialect) *lineWriter {
	l := &lineWriter{lines: linePool.Get().(*lines), w: w, schema: schema, dialect: d}
	l.n = 0
	l.room(len(d.head))
	l.n = copy(l.buf, d.head)
	l.after = append(padded(l.after, len(d.quote)), d.quote...)
	l.end = append(padded(l.end, len(d.tail)), d.tail...)
	if cap(l.cells) < schema.Len() {
		l.cells = make([]cell, schema.Len())
	}
	l.cells = l.cells[:schema.Len()]
	for i := range l.cells {
		c := &l.cells[i]
		c.lead = append(padded(c.lead, len(d.leads[i])), d.leads[i]...)
		c.absent = append(append(padded(c.absent, len(d.leads[i])+len(d.null)), d.leads[i]...), d.null...)
		c.escape = d.escape[i]
		for k := range c.days {
			c.days[k].text = c.days[k].text[:0]
		}
		c.scale = int(schema.columns[i].Type.Scale)
	}
	return l
}

// padded empties b and sees to room for n bytes and a splat.
func padded(b []byte, n int) []byte {
	if cap(b) < n+splatRoom {
		return make([]byte, 0, n+splatRoom+16)
	}
	return b[:0]
}

// room makes at least n bytes of room in buf.
func (l *lines) room(n int) {
	if len(l.buf)-l.n < n {
		grown := make([]byte, max(2*len(l.buf), l.n+n))
		copy(grown, l.buf[:l.n])
		l.buf = grown
	}
}

// splat copies a short src in one go, past its end, and a long one exactly.
// b has room for splatRoom bytes more than src is long; so has src's capacity.
func splat(b []byte, n int, src []byte) int {
	if len(src) <= splatRoom {
		*(*[splatRoom]byte)(b[n:]) = *(*[splatRoom]byte)(src[:splatRoom])
		return n + len(src)
	}
	return n + copy(b[n:], src)
}

func (l *lineWriter) Write(rows *Rows) error {
	if l.err != nil {
		return l.err
	}
	if err := l.schema.takes(rows); err != nil {
		return l.fail(err)
	}
	need := l.prepare(rows)
	for i := range rows.n {
		l.room(need)
		l.row(i, need)
		if l.n >= lineBlock {
			if err := l.flush(); err != nil {
				return err
			}
		}
	}
	for i := range l.cells {
		l.cells[i].v = nil
	}
	return nil
}

// row appends one line; there is room for need bytes.
func (l *lineWriter) row(i, need int) {
	b, n := l.buf, l.n
	for k := range l.cells {
		c := &l.cells[k]
		v := c.v
		if v.nulls > 0 && !bit(v.valid, i) {
			n = splat(b, n, c.absent)
			continue
		}
		switch c.form {
		case formTable:
			code := v.codes[i]
			n = splat(b, n, c.entries[c.ends[code]:c.ends[code+1]])
		case formBool:
			n = splat(b, n, c.bools[v.bools[i>>3]>>(i&7)&1])
		case formInt:
			n = putInt(b, splat(b, n, c.lead), v.ints[i])
		case formFloat:
			n = putFloat(b, splat(b, n, c.lead), v.floats[i])
		case formDecimal:
			n = putDecimal(b, splat(b, n, c.lead), v.decimals[i], c.scale)
		case formDate:
			day := v.days[i]
			at := &c.days[uint32(day)%uint32(len(c.days))]
			if day != at.day || len(at.text) == 0 {
				at.set(day, c.lead, l.quote, l.quote)
			}
			n = splat(b, n, at.text)
		case formTimestamp:
			day, rest := dayOf(v.ints[i])
			at := &c.days[uint32(day)%uint32(len(c.days))]
			if int32(day) != at.day || len(at.text) == 0 {
				at.set(int32(day), c.lead, l.quote, "")
			}
			n = putClock(b, splat(b, n, at.text), rest)
			n = splat(b, n, l.after)
		case formText:
			text := c.escape(b[:splat(b, n, c.lead)], v.bytes(i))
			l.buf, l.n = text[:cap(text)], len(text)
			l.room(need)
			b, n = l.buf, l.n
		}
	}
	l.n = splat(b, n, l.end)
}

// set renders a day between its lead and what follows.
func (d *dayText) set(day int32, lead []byte, before, after string) {
	d.day = day
	if at := len(lead) + len(before); len(d.text) == at+len("2006-01-02")+len(after) && plainDay(day) {
		putDate(d.text, at, day) // over the day that was there: it is as long
		return
	}
	b := append(append(padded(d.text, len(lead)+cellRoom), lead...), before...)
	n := putDate(b[:cap(b)], len(b), day)
	d.text = append(b[:n], after...)
}

// prepare points the cells at rows and returns the room that a row needs, its
// formText values aside.
func (l *lineWriter) prepare(rows *Rows) int {
	need := len(l.tail) + cellRoom
	for i := range l.cells {
		c, v := &l.cells[i], &rows.vectors[i]
		c.v = v
		longest := len(c.absent)
		switch l.schema.columns[i].Type.Kind {
		case String, JSONText:
			c.form = formText
			if v.tabled(rows.n) {
				if n := c.render(v.text); n <= longestEntry {
					c.form = formTable
					longest = max(longest, n)
				}
			}
		case Bool:
			c.form = formBool
			for k := range c.bools {
				c.bools[k] = append(append(padded(c.bools[k], len(c.lead)+5), c.lead...), boolText(k == 1)...)
			}
		case Int64:
			c.form = formInt
		case Float64:
			c.form = formFloat
		case Decimal:
			c.form = formDecimal
		case Date:
			c.form = formDate
		case Timestamp:
			c.form = formTimestamp
		}
		need += longest + splatRoom + cellRoom
	}
	return need
}

// tabled reports whether a text column's dictionary is worth rendering ahead
// for so many rows: an entry used once is cheaper written straight away.
func (v *vector) tabled(rows int) bool {
	return v.codes != nil && v.text.len() <= rows/2 && len(v.text.data) <= largestDictionary
}

// render writes every entry of a dictionary once, with lead and escapes. It
// returns the longest entry's length, and gives up at one over longestEntry.
func (c *cell) render(dictionary texts) int {
	longest := 0
	entries, ends := c.entries[:0], append(c.ends[:0], 0)
	for i := range dictionary.len() {
		entries = c.escape(append(entries, c.lead...), dictionary.value(i))
		n := len(entries) - int(ends[i])
		if longest = max(longest, n); n > longestEntry {
			break
		}
		ends = append(ends, int32(len(entries)))
	}
	if cap(entries)-len(entries) < splatRoom {
		entries = append(entries, make([]byte, splatRoom)...)
	}
	c.entries, c.ends = entries, ends
	return longest
}

func (l *lineWriter) flush() error {
	if l.n == 0 {
		return nil
	}
	n := l.n
	l.n = 0
	if _, err := l.w.Write(l.buf[:n]); err != nil {
		return l.fail(err)
	}
	return nil
}

// fail makes err, with the operation, what this and every later call returns.
func (l *lineWriter) fail(err error) error {
	l.err = fmt.Errorf("write %s: %w", l.format, err)
	return l.err
}

func (l *lineWriter) Close() error {
	if l.err != nil {
		return l.err
	}
	if err := l.flush(); err != nil {
		return err
	}
	l.err = errWriterClosed
	l.recycle()
	return nil
}

// recycle gives the memory back. After an error it is left to the collector:
// an abandoned writer costs nothing else.
func (l *lineWriter) recycle() {
	kept := l.lines
	l.lines = nil
	size := len(kept.buf)
	for i := range kept.cells {
		size += cap(kept.cells[i].entries) + 4*cap(kept.cells[i].ends)
		kept.cells[i].escape = nil
	}
	if size <= keptBuffer {
		linePool.Put(kept)
	}
}
