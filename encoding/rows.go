package encoding

import (
	"math/bits"

	"github.com/apache/arrow/go/v17/arrow/decimal128"
)

// Rows is an immutable run of rows of one table, held as columns in Arrow's
// memory layout. Text columns are dictionary-encoded while that pays (codes
// into distinct values) and plain otherwise; which of the two is invisible
// outside: the same rows give the same files either way. Rows are safe for
// concurrent reading and need no release.
type Rows struct {
	schema  *Schema
	n       int
	vectors []vector // one per column, in schema order
}

// vector is one column's values as raw slices. Exactly the slices of the
// column's kind are set, each with one element per row (a bitmap: one bit per
// row, least significant first, as in Arrow). A null row holds the zero value
// (code 0 in a dictionary column, even when the dictionary is empty).
type vector struct {
	nulls    int    // how many rows are null
	valid    []byte // bitmap of rows that are not null; nil when nulls == 0
	ints     []int64
	days     []int32
	floats   []float64
	decimals []decimal128.Num
	bools    []byte // bitmap
	codes    []int32
	text     texts // the dictionary when codes != nil, else one value per row

	// book is where codes are numbers of a codebook, whose texts so far text is:
	// more than these rows use, and not theirs. longest is the longest one's bytes.
	book    *bookColumn
	longest int
}

// texts is a list of strings in Arrow's utf8 layout: value i is
// data[offsets[i]:offsets[i+1]]. The zero texts is an empty list.
type texts struct {
	offsets []int32 // len = values + 1, offsets[0] == 0
	data    []byte
}

func (t texts) len() int           { return max(len(t.offsets)-1, 0) }
func (t texts) value(i int) []byte { return t.data[t.offsets[i]:t.offsets[i+1]] }
func (t *texts) add(v []byte) {
	if len(t.offsets) == 0 {
		t.offsets = append(t.offsets, 0)
	}
	t.data = append(t.data, v...)
	t.offsets = append(t.offsets, int32(len(t.data)))
}

func (v *vector) null(i int) bool { return v.nulls > 0 && !bit(v.valid, i) }

// bytes is row i's text; the column is of a text kind and row i is not null.
func (v *vector) bytes(i int) []byte {
	if v.codes != nil {
		i = int(v.codes[i])
	}
	return v.text.value(i)
}

// Len is the number of rows.
func (r *Rows) Len() int { return r.n }

// Schema is the rows' table.
func (r *Rows) Schema() *Schema { return r.schema }

// Size is the bytes that the rows hold in memory, their dictionaries included.
func (r *Rows) Size() int64 {
	var n int64
	for i := range r.vectors {
		v := &r.vectors[i]
		n += int64(len(v.valid) + 8*len(v.ints) + 4*len(v.days) + 8*len(v.floats) + 16*len(v.decimals) +
			len(v.bools) + 4*len(v.codes))
		if v.book == nil {
			n += int64(4*len(v.text.offsets) + len(v.text.data))
		}
	}
	return n
}

// RowBytes is about what one row takes.
func (r *Rows) RowBytes() int64 { return r.Size()/int64(max(r.n, 1)) + 1 }

// Without is the rows without the named columns. They share memory.
func (r *Rows) Without(names []string) (*Rows, error) {
	schema, err := r.schema.Without(names)
	if err != nil || schema == r.schema {
		return r, err
	}
	left := &Rows{schema: schema, n: r.n, vectors: make([]vector, 0, schema.Len())}
	for i, c := range r.schema.columns {
		if _, ok := schema.Index(c.Name); ok {
			left.vectors = append(left.vectors, r.vectors[i])
		}
	}
	return left, nil
}

func bit(b []byte, i int) bool { return b[i>>3]&(1<<(i&7)) != 0 }
func setBit(b []byte, i int)   { b[i>>3] |= 1 << (i & 7) }
func bitmapBytes(n int) int    { return (n + 7) / 8 }
func countBits(b []byte, n int) int {
	ones := 0
	for i := range n / 8 {
		ones += bits.OnesCount8(b[i])
	}
	for i := n &^ 7; i < n; i++ {
		if bit(b, i) {
			ones++
		}
	}
	return ones
}
