package encoding

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"

	"github.com/apache/arrow/go/v17/arrow/decimal128"
)

// An avro block ends after avroBlockRows rows or avroBlockBytes bytes,
// whichever comes first: both count rows, not Write calls.
const (
	avroBlockRows  = 4096
	avroBlockBytes = 256 << 10
)

// avroRoom is more than any value takes that is not text, with its branch.
const avroRoom = 32

// avroWriter writes an Object Container File. Its header is in a fixed order
// and its sync marker is a hash of what the header says, so that nothing in
// the file is random.
type avroWriter struct {
	*avroMemory
	w      io.Writer
	schema *Schema
	codec  avroCodec
	sync   [16]byte
	err    error // what every later call returns
}

// avroMemory is what an avroWriter works in, kept for the next file.
type avroMemory struct {
	buf    []byte // the block so far is buf[:n]; len == cap
	n      int
	rows   int    // in the block so far
	packed []byte // the block, compressed
	out    []byte // header and finished blocks, not written yet
	cells  []avroCell
}

// avroPool spares a file its buffers. It holds memory only, nothing of what
// was in it is ever read.
var avroPool = sync.Pool{New: func() any { return &avroMemory{buf: make([]byte, 64<<10)} }}

// avroCell is one column prepared for a Write.
type avroCell struct {
	kind    Kind
	table   bool // entry i is entries[ends[i]:ends[i+1]], branch and length included
	v       *vector
	ends    []int32
	entries []byte // with splatRoom bytes of capacity past its end
}

func newAvroWriter(w io.Writer, schema *Schema, compression string) *avroWriter {
	codec := newAvroCodec(compression)
	a := &avroWriter{avroMemory: avroPool.Get().(*avroMemory), w: w, schema: schema, codec: codec}
	a.n, a.rows = 0, 0
	a.cells = slices.Grow(a.cells[:0], schema.Len())[:schema.Len()]
	for i := range a.cells {
		a.cells[i].kind = schema.columns[i].Type.Kind
	}

	document := avroSchema(schema)
	hash := sha256.New()
	hash.Write(document)
	hash.Write([]byte(codec.name()))
	copy(a.sync[:], hash.Sum(nil))

	a.out = append(a.out[:0], "Obj\x01"...)
	a.out = binary.AppendVarint(a.out, 2) // two properties follow
	a.out = appendAvroText(a.out, "avro.codec")
	a.out = appendAvroText(a.out, codec.name())
	a.out = appendAvroText(a.out, "avro.schema")
	a.out = appendAvroText(a.out, document)
	a.out = append(a.out, 0) // and no more
	a.out = append(a.out, a.sync[:]...)
	return a
}

func appendAvroText[T string | []byte](b []byte, s T) []byte {
	return append(binary.AppendVarint(b, int64(len(s))), s...)
}

func (a *avroWriter) Write(rows *Rows) error {
	if a.err != nil {
		return a.err
	}
	if err := a.schema.takes(rows); err != nil {
		return a.fail(err)
	}
	need := a.prepare(rows)
	for i := range rows.n {
		a.room(need)
		a.row(i, need)
		a.rows++
		if a.rows == avroBlockRows || a.n >= avroBlockBytes {
			if err := a.endBlock(); err != nil {
				return err
			}
		}
	}
	for i := range a.cells {
		a.cells[i].v = nil
	}
	return nil
}

// The branches of a nullable union, as its index is written.
const (
	avroNull  = 0
	avroValue = 2
)

// row appends one record; there is room for need bytes.
func (a *avroWriter) row(i, need int) {
	b, n := a.buf, a.n
	for k := range a.cells {
		c := &a.cells[k]
		v := c.v
		if v.nulls > 0 && !bit(v.valid, i) {
			b[n] = avroNull
			n++
			continue
		}
		if c.table {
			code := v.codes[i]
			n = splat(b, n, c.entries[c.ends[code]:c.ends[code+1]])
			continue
		}
		b[n] = avroValue
		n++
		switch c.kind {
		case Int64, Timestamp:
			n = putVarint(b, n, v.ints[i])
		case Date:
			n = putVarint(b, n, int64(v.days[i]))
		case Float64:
			binary.LittleEndian.PutUint64(b[n:], math.Float64bits(v.floats[i]))
			n += 8
		case Decimal:
			n = putAvroDecimal(b, n, v.decimals[i])
		case Bool:
			b[n] = v.bools[i>>3] >> (i & 7) & 1
			n++
		case String, JSONText:
			text := v.bytes(i)
			n = putVarint(b, n, int64(len(text)))
			a.n = n
			a.room(len(text) + need)
			b = a.buf
			n += copy(b[n:], text)
		}
	}
	a.n = n
}

// putVarint writes v zigzag, seven bits a byte, lowest first.
func putVarint(b []byte, n int, v int64) int {
	u := uint64(v<<1) ^ uint64(v>>63)
	for u >= 0x80 {
		b[n] = byte(u) | 0x80
		u >>= 7
		n++
	}
	b[n] = byte(u)
	return n + 1
}

// putAvroDecimal writes the length and the fewest bytes of the unscaled value
// in big-endian two's complement, as goavro does.
func putAvroDecimal(b []byte, n int, d decimal128.Num) int {
	var wide [16]byte
	binary.BigEndian.PutUint64(wide[:], uint64(d.HighBits()))
	binary.BigEndian.PutUint64(wide[8:], d.LowBits())
	sign := byte(d.HighBits() >> 63)
	from := 0
	for from < 15 && wide[from] == sign && (wide[from+1]^sign)&0x80 == 0 {
		from++
	}
	b[n] = byte(16-from) << 1
	return n + 1 + copy(b[n+1:], wide[from:])
}

// prepare points the cells at rows and returns the room that a row needs, its
// untabled text aside.
func (a *avroWriter) prepare(rows *Rows) int {
	need := splatRoom
	for i := range a.cells {
		c, v := &a.cells[i], &rows.vectors[i]
		c.v, c.table = v, false
		need += avroRoom
		if c.kind.IsText() && v.tabled(rows.n) {
			if n := c.render(v.text); n <= longestEntry {
				c.table = true
				need += n
			}
		}
	}
	return need
}

// render writes every entry of a dictionary once. It returns the longest
// entry's length, and gives up at one over longestEntry.
func (c *avroCell) render(dictionary texts) int {
	longest := 0
	entries, ends := c.entries[:0], append(c.ends[:0], 0)
	for i := range dictionary.len() {
		entries = appendAvroText(append(entries, avroValue), dictionary.value(i))
		n := len(entries) - int(ends[i])
		if longest = max(longest, n); n > longestEntry {
			break
		}
		ends = append(ends, int32(len(entries)))
	}
	c.entries, c.ends = slices.Grow(entries, splatRoom), ends
	return longest
}

// room makes at least n bytes of room in buf.
func (a *avroMemory) room(n int) {
	if len(a.buf)-a.n < n {
		grown := make([]byte, max(2*len(a.buf), a.n+n))
		copy(grown, a.buf[:a.n])
		a.buf = grown
	}
}

// endBlock packs the block and writes it.
func (a *avroWriter) endBlock() error {
	var err error
	if a.packed, err = a.codec.pack(a.packed[:0], a.buf[:a.n]); err != nil {
		return a.fail(err)
	}
	a.out = binary.AppendVarint(a.out, int64(a.rows))
	a.out = appendAvroText(a.out, a.packed)
	a.out = append(a.out, a.sync[:]...)
	a.n, a.rows = 0, 0
	return a.flush()
}

func (a *avroWriter) flush() error {
	_, err := a.w.Write(a.out)
	a.out = a.out[:0]
	if err != nil {
		return a.fail(err)
	}
	return nil
}

// fail makes err, with the operation, what this and every later call returns.
func (a *avroWriter) fail(err error) error {
	a.err = fmt.Errorf("write avro: %w", err)
	return a.err
}

func (a *avroWriter) Close() error {
	if a.err != nil {
		return a.err
	}
	if a.rows > 0 {
		if err := a.endBlock(); err != nil {
			return err
		}
	} else if len(a.out) > 0 { // the header, when there were no rows at all
		if err := a.flush(); err != nil {
			return err
		}
	}
	a.err = errWriterClosed
	a.recycle()
	return nil
}

// recycle gives the memory back. After an error it is left to the collector:
// an abandoned writer costs nothing else.
func (a *avroWriter) recycle() {
	kept := a.avroMemory
	a.avroMemory = nil
	size := cap(kept.buf) + cap(kept.packed) + cap(kept.out)
	for i := range kept.cells {
		size += cap(kept.cells[i].entries) + 4*cap(kept.cells[i].ends)
	}
	if size <= keptBuffer {
		avroPool.Put(kept)
	}
}
