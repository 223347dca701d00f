package encoding

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/apache/arrow/go/v17/arrow/decimal128"
)

// parquetPhysical is how Parquet stores a column's values, as it numbers them.
type parquetPhysical int32

const (
	parquetBoolean   parquetPhysical = 0
	parquetInt32     parquetPhysical = 1
	parquetInt64     parquetPhysical = 2
	parquetDouble    parquetPhysical = 5
	parquetByteArray parquetPhysical = 6
	parquetFixed     parquetPhysical = 7
)

// parquetColumn gathers one column's values of the open row group, nulls left
// out: numbers as 64-bit integers, truth values as bits, texts with a
// dictionary while that pays.
type parquetColumn struct {
	name     string
	typ      Type
	physical parquetPhysical
	width    int // bytes of a PLAIN number

	rows   int
	nulls  int
	valid  []byte  // bitmap of rows that are not null; meaningful when nulls > 0
	values []int64 // integers, days, microseconds, bits of floats, low halves of decimals
	high   []int64 // high halves of decimals in parquetFixed
	bools  []byte
	text   parquetText
}

// define makes the column one of the given name and type. Decimals take the
// smallest form that the format defines for their precision.
func (c *parquetColumn) define(column Column) {
	c.name, c.typ = column.Name, column.Type
	switch p := column.Type.Precision; column.Type.Kind {
	case String, JSONText:
		c.physical, c.width = parquetByteArray, 0
	case Bool:
		c.physical, c.width = parquetBoolean, 1
	case Date:
		c.physical, c.width = parquetInt32, 4
	case Float64:
		c.physical, c.width = parquetDouble, 8
	case Decimal:
		switch {
		case p <= 9:
			c.physical, c.width = parquetInt32, 4
		case p <= 18:
			c.physical, c.width = parquetInt64, 8
		default:
			// The bits of 10^p-1 and one for the sign.
			c.physical, c.width = parquetFixed, int(math.Ceil((float64(p)*math.Log2(10)+1)/8))
		}
	default:
		c.physical, c.width = parquetInt64, 8
	}
}

// cost is what a row costs of a group in this column, a text's bytes aside.
func (c *parquetColumn) cost() int {
	switch c.physical {
	case parquetBoolean:
		return 1
	case parquetByteArray:
		return 4
	case parquetFixed:
		return 16
	}
	return 8
}

// reset forgets the group's values.
func (c *parquetColumn) reset() {
	c.rows, c.nulls = 0, 0
	c.valid, c.values, c.high, c.bools = c.valid[:0], c.values[:0], c.high[:0], c.bools[:0]
	c.text.reset()
}

// present is how many of the group's rows are not null.
func (c *parquetColumn) present() int { return c.rows - c.nulls }

// append takes rows [from,to) of a vector.
func (c *parquetColumn) append(f *parquetFile, v *vector, from, to int) error {
	valid := v.valid
	if v.nulls == 0 {
		valid = nil
	}
	before := c.present()
	c.appendValid(valid, from, to)
	switch c.typ.Kind {
	case String, JSONText:
		c.text.append(&f.pages.remap, &f.limits, v, valid, from, to)
	case Bool:
		c.appendBools(v.bools, valid, before, from, to)
	case Date:
		for i := range c.room(to - from) {
			c.values = append(c.values, int64(v.days[from+i]))
		}
		c.compact(before, valid, from, to)
	case Float64:
		for i := range c.room(to - from) {
			c.values = append(c.values, int64(math.Float64bits(v.floats[from+i])))
		}
		c.compact(before, valid, from, to)
	case Decimal:
		return c.appendDecimals(v.decimals[from:to], valid, before, from, to)
	default:
		c.values = append(c.values, v.ints[from:to]...)
		c.compact(before, valid, from, to)
	}
	return nil
}

// room makes values hold n more and returns n.
func (c *parquetColumn) room(n int) int {
	c.values = slices.Grow(c.values, n)
	return n
}

// compact closes the gaps that null rows left in values from index `before` on.
func (c *parquetColumn) compact(before int, valid []byte, from, to int) {
	if valid != nil {
		c.values = compactParquetValues(c.values, before, valid, from, to)
	}
}

func compactParquetValues(values []int64, before int, valid []byte, from, to int) []int64 {
	tail := values[before:]
	k := 0
	for i := from; i < to; i++ {
		tail[k] = tail[i-from]
		k += int(valid[i>>3] >> (i & 7) & 1)
	}
	return values[:before+k]
}

// appendValid notes which of rows [from,to) are null.
func (c *parquetColumn) appendValid(valid []byte, from, to int) {
	n := to - from
	switch {
	case valid != nil:
		if c.nulls == 0 {
			c.valid = appendParquetOnes(c.valid[:0], 0, c.rows)
		}
		c.valid = appendParquetBits(c.valid, c.rows, valid, from, n)
		c.nulls += n - countParquetBits(c.valid, c.rows, n)
	case c.nulls > 0:
		c.valid = appendParquetOnes(c.valid, c.rows, n)
	}
	c.rows += n
}

func (c *parquetColumn) appendBools(src, valid []byte, before, from, to int) {
	if valid == nil {
		c.bools = appendParquetBits(c.bools, before, src, from, to-from)
		return
	}
	for i := from; i < to; i++ {
		if !bit(valid, i) {
			continue
		}
		if before&7 == 0 {
			c.bools = append(c.bools, 0)
		}
		if bit(src, i) {
			setBit(c.bools, before)
		}
		before++
	}
}

var errParquetDecimal = errors.New("a decimal has more digits than its type")

// appendDecimals takes decimals and refuses those that the column's physical
// type cannot hold: a file with a wrapped value would be worse than none.
func (c *parquetColumn) appendDecimals(src []decimal128.Num, valid []byte, before, from, to int) error {
	var excess uint64
	spare := uint(128 - 8*c.width) // the bits above the stored ones
	wide := c.physical == parquetFixed
	c.room(to - from)
	for _, d := range src {
		hi, lo := d.HighBits(), int64(d.LowBits())
		c.values = append(c.values, lo)
		if wide {
			c.high = append(c.high, hi)
			excess |= uint64(hi<<spare>>spare ^ hi)
		} else {
			excess |= uint64(lo>>63^hi) | uint64(lo<<(spare-64)>>(spare-64)^lo)
		}
	}
	if excess != 0 {
		return fmt.Errorf("column %q: %w", c.name, errParquetDecimal)
	}
	if valid != nil && wide {
		c.high = compactParquetValues(c.high, before, valid, from, to)
	}
	c.compact(before, valid, from, to)
	return nil
}

// retained is the memory that the column holds.
func (c *parquetColumn) retained() int {
	return cap(c.valid) + 8*cap(c.values) + 8*cap(c.high) + cap(c.bools) + c.text.retained()
}

// appendParquetBits appends n bits of src, from bit `from` on, to the size bits
// that dst holds. Bits of dst's last byte beyond its size stay zero.
func appendParquetBits(dst []byte, size int, src []byte, from, n int) []byte {
	dst = growParquetBits(dst, size+n)
	for ; n > 0 && size&7 != 0; n-- {
		dst[size>>3] |= src[from>>3] >> (from & 7) & 1 << (size & 7)
		size++
		from++
	}
	if shift := from & 7; shift == 0 {
		copied := copy(dst[size>>3:(size+n)>>3], src[from>>3:])
		size, from, n = size+8*copied, from+8*copied, n-8*copied
	} else {
		for ; n >= 8; n -= 8 {
			dst[size>>3] = src[from>>3]>>shift | src[from>>3+1]<<(8-shift)
			size += 8
			from += 8
		}
	}
	for ; n > 0; n-- {
		dst[size>>3] |= src[from>>3] >> (from & 7) & 1 << (size & 7)
		size++
		from++
	}
	return dst
}

// appendParquetOnes appends n set bits to the size bits that dst holds.
func appendParquetOnes(dst []byte, size, n int) []byte {
	dst = growParquetBits(dst, size+n)
	for ; n > 0 && size&7 != 0; n-- {
		setBit(dst, size)
		size++
	}
	for ; n >= 8; n -= 8 {
		dst[size>>3] = 0xff
		size += 8
	}
	for ; n > 0; n-- {
		setBit(dst, size)
		size++
	}
	return dst
}

// growParquetBits lengthens dst by zero bytes until it holds size bits.
func growParquetBits(dst []byte, size int) []byte {
	old := len(dst)
	dst = slices.Grow(dst, bitmapBytes(size)-old)[:bitmapBytes(size)]
	clear(dst[old:])
	return dst
}

// countParquetBits counts the set bits among n, from bit `from` on.
func countParquetBits(b []byte, from, n int) int {
	ones := 0
	for ; n > 0 && from&7 != 0; n-- {
		ones += int(b[from>>3] >> (from & 7) & 1)
		from++
	}
	b = b[from>>3:]
	for ; n >= 8; n -= 8 {
		ones += bits.OnesCount8(b[0])
		b = b[1:]
	}
	if n > 0 {
		ones += bits.OnesCount8(b[0] & (1<<n - 1))
	}
	return ones
}
