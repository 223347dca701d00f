package encoding

import (
	"unicode/utf8"

	"github.com/apache/arrow/go/v17/arrow/decimal128"
)

// builder gathers rows as columns and cuts them into [Rows]. Values are written
// by row number: begin makes room for a row, each column is set at most once,
// end completes it.
type builder struct {
	schema  *Schema
	columns []columnBuilder
	rows    int   // complete rows
	room    int   // rows for which the columns have memory
	used    int   // the room of the run before, if this one has not begun
	hint    int   // room to begin the next run with
	width   int64 // bytes of a row without its texts
	text    int64 // bytes of texts
	recycle bool  // rows handed out are void once the next run begins
}

// columnBuilder holds one column of the run being built. The slices of its kind
// are as long as the builder's room; a row that was not set holds the zero value.
type columnBuilder struct {
	builder  *builder
	kind     Kind
	column   Column
	limit    uint64 // 10^precision of a decimal, or the largest uint64
	filled   int    // rows set so far; one more than the row being built once it is set
	absent   []byte // bitmap of null rows; nil until there is one
	ints     []int64
	days     []int32
	floats   []float64
	decimals []decimal128.Num
	bools    []byte
	codes    []int32 // into dict, while plain is false
	dict     dictionary
	newest   int  // the row that brought the dictionary's latest text
	review   int  // dictionary size at which its use is questioned next
	plain    bool // texts are held one per row
	offsets  []int32
	data     []byte
}

// A dictionary is questioned first when it has this many texts. Below, even a
// column of 25,000 evenly spread values still looks distinct.
const dictionaryReview = 32 << 10

// maxPlainText is where a dictionary is kept whatever its ratio, because the
// column's offsets are 32 bits wide.
const maxPlainText = 1 << 30

func newBuilder(schema *Schema) *builder {
	b := &builder{schema: schema, columns: make([]columnBuilder, schema.Len()), hint: 64}
	flags := int64(schema.Len()) // one validity bit per column
	for i := range b.columns {
		c := &b.columns[i]
		*c = columnBuilder{builder: b, column: schema.Column(i), kind: schema.Column(i).Type.Kind, newest: -1, review: dictionaryReview}
		switch c.kind {
		case Int64, Timestamp, Float64:
			b.width += 8
		case Date:
			b.width += 4
		case Decimal:
			b.width += 16
			c.limit = decimalLimit(c.column.Type.Precision)
		case Bool:
			flags++
		case String, JSONText:
			b.width += 4
			c.dict = newDictionary()
		}
	}
	b.width += (flags + 7) / 8
	return b
}

// size is the bytes the rows so far take.
func (b *builder) size() int64 { return int64(b.rows)*b.width + b.text }

// begin returns the number of the row to set.
func (b *builder) begin() int {
	if b.rows == b.room {
		b.grow()
	}
	return b.rows
}

// end completes the row of which set columns were set; the others become null.
func (b *builder) end(set int) {
	if set != len(b.columns) {
		for i := range b.columns {
			if c := &b.columns[i]; c.filled == b.rows {
				c.setNull(b.rows)
				c.filled++
			}
		}
	}
	b.rows++
}

func (b *builder) grow() {
	if b.used > 0 {
		if !b.recycle {
			b.used = 0
		}
		for i := range b.columns {
			b.columns[i].restart(b.recycle, b.used)
		}
		b.room, b.used = b.used, 0
		if b.room > 0 {
			return
		}
	}
	room := b.hint
	if b.room > 0 {
		room = 2 * b.room
	}
	for i := range b.columns {
		c := &b.columns[i]
		switch c.kind {
		case Int64, Timestamp:
			c.ints = extend(c.ints, room)
		case Date:
			c.days = extend(c.days, room)
		case Float64:
			c.floats = extend(c.floats, room)
		case Decimal:
			c.decimals = extend(c.decimals, room)
		case Bool:
			c.bools = extend(c.bools, bitmapBytes(room))
		case String, JSONText:
			if c.plain {
				c.offsets = extend(c.offsets, room+1)
			} else {
				c.codes = extend(c.codes, room)
			}
		}
		if c.absent != nil {
			c.absent = extend(c.absent, bitmapBytes(room))
		}
	}
	b.room = room
}

func extend[T any](s []T, n int) []T {
	longer := make([]T, n)
	copy(longer, s)
	return longer
}

// cut hands out the complete rows and begins a new run; nil when there are none.
func (b *builder) cut() *Rows {
	if b.rows == 0 {
		return nil
	}
	r := &Rows{schema: b.schema, n: b.rows, vectors: make([]vector, len(b.columns))}
	for i := range b.columns {
		r.vectors[i] = b.columns[i].cut(b.rows)
	}
	b.hint = b.rows + b.rows/16 + 1
	b.used, b.room = b.room, 0
	b.rows, b.text = 0, 0
	return r
}

func (c *columnBuilder) cut(n int) vector {
	var v vector
	if c.absent != nil {
		if v.nulls = countBits(c.absent, n); v.nulls > 0 {
			v.valid = c.absent[:bitmapBytes(n)]
			for i := range v.valid {
				v.valid[i] = ^v.valid[i]
			}
			if n%8 != 0 {
				v.valid[len(v.valid)-1] &= 1<<(n%8) - 1
			}
		}
	}
	switch c.kind {
	case Int64, Timestamp:
		v.ints = c.ints[:n:n]
	case Date:
		v.days = c.days[:n:n]
	case Float64:
		v.floats = c.floats[:n:n]
	case Decimal:
		v.decimals = c.decimals[:n:n]
	case Bool:
		v.bools = c.bools[:bitmapBytes(n):bitmapBytes(n)]
	case String, JSONText:
		if c.plain {
			v.text = texts{offsets: c.offsets[: n+1 : n+1], data: c.data[:len(c.data):len(c.data)]}
		} else {
			v.codes, v.text = c.codes[:n:n], c.dict.text
		}
	}
	return v
}

// restart prepares the column for the next run, in the same memory if it may.
func (c *columnBuilder) restart(recycle bool, room int) {
	c.filled, c.newest, c.review, c.plain = 0, -1, dictionaryReview, false
	if !recycle {
		c.absent, c.ints, c.days, c.floats, c.decimals, c.bools = nil, nil, nil, nil, nil, nil
		c.codes, c.offsets, c.data = nil, nil, nil
	}
	clear(c.absent)
	clear(c.bools)
	c.data = c.data[:0]
	if c.kind.IsText() {
		c.dict.reset(recycle)
		if len(c.codes) < room {
			c.codes = make([]int32, room)
		}
	}
}

// setNull makes the row null. A row is null only once it is told so.
func (c *columnBuilder) setNull(row int) {
	if c.absent == nil {
		c.absent = make([]byte, bitmapBytes(c.builder.room))
	}
	setBit(c.absent, row)
	switch c.kind {
	case Int64, Timestamp:
		c.ints[row] = 0
	case Date:
		c.days[row] = 0
	case Float64:
		c.floats[row] = 0
	case Decimal:
		c.decimals[row] = decimal128.Num{}
	case String, JSONText:
		if c.plain {
			c.offsets[row+1] = int32(len(c.data))
		} else {
			c.codes[row] = 0
		}
	}
}

// setBool sets a row that is false until then.
func (c *columnBuilder) setBool(row int, v bool) {
	if v {
		setBit(c.bools, row)
	}
}

// unset takes back what the row under construction was set to, so that a later
// value of the same key can take its place.
func (c *columnBuilder) unset(row int) {
	if c.absent != nil {
		c.absent[row>>3] &^= 1 << (row & 7)
	}
	switch {
	case c.kind == Bool:
		c.bools[row>>3] &^= 1 << (row & 7)
	case c.plain:
		c.builder.text -= int64(len(c.data)) - int64(c.offsets[row])
		c.data = c.data[:c.offsets[row]]
	case c.newest == row:
		c.newest = -1
		c.builder.text -= int64(len(c.dict.text.value(c.dict.text.len()-1))) + 4
		c.dict.pop()
	}
}

// setBytes sets a text that is valid UTF-8.
func (c *columnBuilder) setBytes(row int, v []byte) {
	if !c.plain {
		if code := c.dict.find(v); code >= 0 {
			c.codes[row] = code
			return
		}
		c.learn(row, v)
		return
	}
	c.data = append(c.data, v...)
	c.offsets[row+1] = int32(len(c.data))
	c.builder.text += int64(len(v))
}

// setLoose sets a text that may hold bytes that are not UTF-8, if high is true;
// each such byte becomes U+FFFD, as in encoding/json. Only texts that are new to
// the dictionary need the check: all that it holds is valid.
func (c *columnBuilder) setLoose(row int, v []byte, high bool) {
	if !c.plain {
		if code := c.dict.find(v); code >= 0 {
			c.codes[row] = code
			return
		}
		if !high || utf8.Valid(v) {
			c.learn(row, v)
			return
		}
	} else if !high || utf8.Valid(v) {
		c.setBytes(row, v)
		return
	}
	c.setBytes(row, appendValidUTF8(nil, v))
}

// setStrict is setLoose that refuses bytes that are not UTF-8.
func (c *columnBuilder) setStrict(row int, v []byte) bool {
	if !c.plain {
		if code := c.dict.find(v); code >= 0 {
			c.codes[row] = code
			return true
		}
		if !utf8.Valid(v) {
			return false
		}
		c.learn(row, v)
		return true
	}
	if !utf8.Valid(v) {
		return false
	}
	c.setBytes(row, v)
	return true
}

func (c *columnBuilder) learn(row int, v []byte) {
	c.codes[row] = c.dict.add(v)
	c.newest = row
	c.builder.text += int64(len(v)) + 4
	if c.dict.text.len() >= c.review {
		c.question(row)
	}
}

// question turns a column whose texts mostly appear once into a plain one: a
// dictionary that outgrows the caches costs more than it saves.
func (c *columnBuilder) question(row int) {
	n := row + 1
	distinct, present := c.dict.text.len(), n
	if c.absent != nil {
		present -= countBits(c.absent, n)
	}
	c.review = 2 * distinct
	if 2*distinct < present {
		return
	}
	var size int64
	for i, code := range c.codes[:n] {
		if c.absent == nil || !bit(c.absent, i) {
			size += int64(c.dict.text.offsets[code+1] - c.dict.text.offsets[code])
		}
	}
	held := int64(len(c.dict.text.data)) + 4*int64(distinct)
	if size > 2*held || size > maxPlainText {
		return // a few long texts fill many rows
	}
	if len(c.offsets) <= c.builder.room {
		c.offsets = make([]int32, c.builder.room+1)
	}
	if int64(cap(c.data)) < size {
		c.data = make([]byte, 0, int64(float64(size)*float64(c.builder.room)/float64(n)*1.05))
	}
	for i, code := range c.codes[:n] {
		if c.absent == nil || !bit(c.absent, i) {
			c.data = append(c.data, c.dict.text.value(int(code))...)
		}
		c.offsets[i+1] = int32(len(c.data))
	}
	c.builder.text += size - held
	c.plain, c.newest = true, -1
}

// appendValidUTF8 appends v with each byte that is not UTF-8 as U+FFFD.
func appendValidUTF8(dst, v []byte) []byte {
	for len(v) > 0 {
		r, size := utf8.DecodeRune(v)
		dst = utf8.AppendRune(dst, r)
		v = v[size:]
	}
	return dst
}
