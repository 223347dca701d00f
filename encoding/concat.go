package encoding

import (
	"fmt"
	"math"

	"github.com/apache/arrow/go/v17/arrow/bitutil"
	"github.com/apache/arrow/go/v17/arrow/decimal128"
)

// Slice is the rows from (counted from 0) up to but not including to. It shares
// r's memory; a dictionary with more values than the slice has rows is reduced
// to the values that the slice uses, so that small slices are small.
func (r *Rows) Slice(from, to int) *Rows {
	if from < 0 || to < from || to > r.n {
		panic(fmt.Sprintf("slice rows [%d:%d] of %d", from, to, r.n))
	}
	if from == 0 && to == r.n {
		return r
	}
	out := &Rows{schema: r.schema, n: to - from, vectors: make([]vector, len(r.vectors))}
	for i := range r.vectors {
		out.vectors[i] = r.vectors[i].slice(from, to)
	}
	return out
}

func (v *vector) slice(from, to int) vector {
	out := vector{
		ints: cut(v.ints, from, to), days: cut(v.days, from, to), floats: cut(v.floats, from, to),
		decimals: cut(v.decimals, from, to), codes: cut(v.codes, from, to),
	}
	if v.bools != nil {
		out.bools = cutBits(v.bools, from, to)
	}
	if v.nulls > 0 {
		valid := cutBits(v.valid, from, to)
		if ones := countBits(valid, to-from); ones < to-from {
			out.valid, out.nulls = valid, to-from-ones
		}
	}
	switch {
	case v.codes != nil && v.text.len() > to-from:
		out.compact(v.text)
	case v.codes != nil:
		out.text = v.text
	case v.text.offsets != nil:
		out.text = v.text.slice(from, to)
	}
	return out
}

// compact gives a coded vector a dictionary of just the values of old that its
// codes use, in order of first appearance. The vector has fewer rows than old
// has values: a map over the rows is then cheaper than a table over old.
func (v *vector) compact(old texts) {
	codes := make([]int32, len(v.codes))
	seen := make(map[int32]int32)
	for i, from := range v.codes {
		if v.null(i) {
			continue
		}
		code, ok := seen[from]
		if !ok {
			code = int32(len(seen))
			seen[from] = code
			v.text.add(old.value(int(from)))
		}
		codes[i] = code
	}
	v.codes = codes
}

// slice is values from up to but not including to. The offsets of a list start
// at 0, so they are copied unless the slice does too.
func (t texts) slice(from, to int) texts {
	start, end := t.offsets[from], t.offsets[to]
	offsets := t.offsets[from : to+1 : to+1]
	if start != 0 {
		offsets = make([]int32, to-from+1)
		for i := range offsets {
			offsets[i] = t.offsets[from+i] - start
		}
	}
	return texts{offsets: offsets, data: t.data[start:end:end]}
}

func cut[T any](values []T, from, to int) []T {
	if values == nil {
		return nil
	}
	return values[from:to:to]
}

// cutBits is bits [from, to) moved to the start of a bitmap of their own, whose
// last byte is filled with zeros.
func cutBits(bits []byte, from, to int) []byte {
	out := make([]byte, bitmapBytes(to-from))
	bitutil.CopyBitmap(bits, from, to-from, out, 0)
	return out
}

// NoRows is zero rows of a schema.
func NoRows(schema *Schema) *Rows {
	b := newBuilder(schema)
	r := &Rows{schema: schema, vectors: make([]vector, len(b.columns))}
	for i := range b.columns {
		r.vectors[i] = b.columns[i].cut(0)
	}
	return r
}

// Concat is the rows of all, one after the other. nil entries have no rows, and
// Concat of nothing but those is nil. All have equal schemas; it panics when
// they have not, or when the text of one column would reach 2 GiB.
//
// A text column is dictionary-encoded when it is so in all of them (with each
// value once, in order of first appearance) and plain otherwise.
func Concat(rows ...*Rows) *Rows {
	var all []*Rows
	n := 0
	for _, r := range rows {
		if r == nil {
			continue
		}
		if len(all) > 0 && r.schema != all[0].schema && !r.schema.Equal(all[0].schema) {
			panic("concat rows of different schemas")
		}
		all = append(all, r)
		n += r.n
	}
	if len(all) == 0 {
		return nil
	}
	if len(all) == 1 {
		return all[0]
	}
	out := &Rows{schema: all[0].schema, n: n, vectors: make([]vector, len(all[0].vectors))}
	vectors := make([]*vector, len(all))
	lens := make([]int, len(all))
	for c := range out.vectors {
		for i, r := range all {
			vectors[i], lens[i] = &r.vectors[c], r.n
		}
		out.vectors[c] = concatVectors(out.schema.Column(c).Type.Kind, vectors, lens, n)
	}
	return out
}

func concatVectors(kind Kind, vectors []*vector, lens []int, n int) vector {
	var out vector
	for _, v := range vectors {
		out.nulls += v.nulls
	}
	if out.nulls > 0 {
		out.valid = make([]byte, bitmapBytes(n))
		at := 0
		for i, v := range vectors {
			if v.nulls == 0 {
				bitutil.SetBitsTo(out.valid, int64(at), int64(lens[i]), true)
			} else {
				bitutil.CopyBitmap(v.valid, 0, lens[i], out.valid, at)
			}
			at += lens[i]
		}
	}
	switch kind {
	case Int64, Timestamp:
		out.ints = join(vectors, n, func(v *vector) []int64 { return v.ints })
	case Float64:
		out.floats = join(vectors, n, func(v *vector) []float64 { return v.floats })
	case Decimal:
		out.decimals = join(vectors, n, func(v *vector) []decimal128.Num { return v.decimals })
	case Date:
		out.days = join(vectors, n, func(v *vector) []int32 { return v.days })
	case Bool:
		out.bools = make([]byte, bitmapBytes(n))
		at := 0
		for i, v := range vectors {
			bitutil.CopyBitmap(v.bools, 0, lens[i], out.bools, at)
			at += lens[i]
		}
	case String, JSONText:
		coded := true
		for _, v := range vectors {
			coded = coded && v.codes != nil
		}
		if coded {
			concatCoded(&out, vectors, n)
		} else {
			concatPlain(&out, vectors, lens, n)
		}
	}
	return out
}

func join[T any](vectors []*vector, n int, values func(*vector) []T) []T {
	out := make([]T, 0, n)
	for _, v := range vectors {
		out = append(out, values(v)...)
	}
	return out
}

// concatCoded joins dictionary vectors under one dictionary.
func concatCoded(out *vector, vectors []*vector, n int) {
	out.codes = make([]int32, 0, n)
	if sameDictionary(vectors) {
		out.text = vectors[0].text
		for _, v := range vectors {
			out.codes = append(out.codes, v.codes...)
		}
		return
	}
	seen := make(map[string]int32)
	out.text.offsets = append(out.text.offsets, 0)
	var remap []int32
	for _, v := range vectors {
		remap = remap[:0]
		for i := range v.text.len() {
			value := v.text.value(i)
			code, ok := seen[string(value)]
			if !ok {
				code = int32(len(seen))
				seen[string(value)] = code
				checkTextSize(len(out.text.data) + len(value))
				out.text.add(value)
			}
			remap = append(remap, code)
		}
		for i, code := range v.codes {
			if v.null(i) {
				out.codes = append(out.codes, 0)
			} else {
				out.codes = append(out.codes, remap[code])
			}
		}
	}
}

// sameDictionary reports whether all share one dictionary in memory.
func sameDictionary(vectors []*vector) bool {
	first := vectors[0].text
	for _, v := range vectors[1:] {
		if v.text.len() != first.len() || first.len() > 0 && &v.text.offsets[0] != &first.offsets[0] {
			return false
		}
	}
	return true
}

// concatPlain joins text vectors value by value.
func concatPlain(out *vector, vectors []*vector, lens []int, n int) {
	size := 0
	for i, v := range vectors {
		if v.codes == nil {
			size += len(v.text.data)
			continue
		}
		for row := range lens[i] {
			if !v.null(row) {
				size += len(v.bytes(row))
			}
		}
	}
	checkTextSize(size)
	out.text = texts{offsets: append(make([]int32, 0, n+1), 0), data: make([]byte, 0, size)}
	for i, v := range vectors {
		for row := range lens[i] {
			if v.null(row) {
				out.text.add(nil)
			} else {
				out.text.add(v.bytes(row))
			}
		}
	}
}

func checkTextSize(size int) {
	if size > math.MaxInt32 {
		panic("concat rows: the text of a column reaches 2 GiB")
	}
}
