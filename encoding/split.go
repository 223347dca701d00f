package encoding

import (
	"math"

	"github.com/apache/arrow/go/v17/arrow/decimal128"
)

// Split parts the rows by group: part g holds, in their order in r, the rows
// whose group is g, and is nil when there are none. group has one element per
// row, each at least 0 and below groups. A part's dictionaries hold just the
// values that the part uses, in order of first appearance.
//
// The parts of one Split share their memory: as long as one of them is in use,
// all are held. The cost is that of the rows, the groups and the values used;
// it does not grow with groups times dictionary.
func (r *Rows) Split(group []int32, groups int) []*Rows {
	s := newSplit(group[:r.n], groups)
	columns := len(r.vectors)
	vectors := make([]vector, columns*len(s.parts))
	rows := make([]Rows, len(s.parts))
	for c := range r.vectors {
		s.column(&r.vectors[c], func(part int) *vector { return &vectors[part*columns+c] })
	}
	out := make([]*Rows, groups)
	for i, p := range s.parts {
		rows[i] = Rows{schema: r.schema, n: p.to - p.from, vectors: vectors[i*columns : (i+1)*columns : (i+1)*columns]}
		out[p.group] = &rows[i]
	}
	return out
}

// split is the order in which rows are gathered, and where its parts lie in it.
type split struct {
	order  []int32 // row numbers, group after group
	parts  []part  // the groups that have rows
	bitmap int     // bytes that one bitmap per part takes
	// Of the dictionary columns, one after the other:
	remap []uint64
	epoch uint64
	used  []int32 // old codes, part after part
	ends  []int   // where each part's run of used ends
}

// part is the run order[from:to] of one group.
type part struct{ group, from, to int }

func newSplit(group []int32, groups int) *split {
	next := make([]int, groups)
	for _, g := range group {
		next[g]++
	}
	s := &split{order: make([]int32, len(group)), used: make([]int32, 0, len(group))}
	at := 0
	for g, n := range next {
		next[g] = at
		if n > 0 {
			s.parts = append(s.parts, part{group: g, from: at, to: at + n})
			s.bitmap += bitmapBytes(n)
		}
		at += n
	}
	for row, g := range group {
		s.order[next[g]] = int32(row)
		next[g]++
	}
	return s
}

// column gathers one column; to(i) is where the i-th part's vector goes.
func (s *split) column(v *vector, to func(part int) *vector) {
	s.validity(v, to)
	switch {
	case v.codes != nil:
		s.coded(v, to)
	case v.text.offsets != nil:
		s.plain(v, to)
	case v.bools != nil:
		s.bools(v, to)
	case v.ints != nil:
		spread(s, v.ints, to, func(v *vector, values []int64) { v.ints = values })
	case v.days != nil:
		spread(s, v.days, to, func(v *vector, values []int32) { v.days = values })
	case v.floats != nil:
		spread(s, v.floats, to, func(v *vector, values []float64) { v.floats = values })
	case v.decimals != nil:
		spread(s, v.decimals, to, func(v *vector, values []decimal128.Num) { v.decimals = values })
	}
}

// gather is the values of the rows in the given order.
func gather[T any](values []T, order []int32) []T {
	out := make([]T, len(order))
	for i, row := range order {
		out[i] = values[row]
	}
	return out
}

func spread[T any](s *split, values []T, to func(int) *vector, set func(*vector, []T)) {
	gathered := gather(values, s.order)
	for i, p := range s.parts {
		set(to(i), gathered[p.from:p.to:p.to])
	}
}

// gatherBits writes the rows' bits to the start of dst and counts those that
// are set; dst is exactly as long as they need.
func gatherBits(dst, src []byte, order []int32) (ones int) {
	for i := range dst {
		run := order[i*8 : min(i*8+8, len(order))]
		b := byte(0)
		for j, row := range run {
			b |= (src[row>>3] >> (row & 7) & 1) << j
		}
		dst[i] = b
	}
	return countBits(dst, len(order))
}

func (s *split) validity(v *vector, to func(int) *vector) {
	if v.nulls == 0 {
		return
	}
	space := make([]byte, s.bitmap)
	for i, p := range s.parts {
		n := p.to - p.from
		size := bitmapBytes(n)
		valid := space[:size:size]
		ones := gatherBits(valid, v.valid, s.order[p.from:p.to])
		if ones == n {
			continue // the next part takes this space
		}
		space = space[size:]
		out := to(i)
		out.valid, out.nulls = valid, n-ones
	}
}

func (s *split) bools(v *vector, to func(int) *vector) {
	space := make([]byte, s.bitmap)
	for i, p := range s.parts {
		size := bitmapBytes(p.to - p.from)
		bits := space[:size:size]
		space = space[size:]
		gatherBits(bits, v.bools, s.order[p.from:p.to])
		to(i).bools = bits
	}
}

// coded gathers a dictionary column and gives every part a dictionary of its
// own. remap holds, per value of the old dictionary, the part that used it last
// (its epoch, high 32 bits) and its code in that part: a new part needs no
// clearing.
func (s *split) coded(v *vector, to func(int) *vector) {
	if need := v.text.len(); len(s.remap) < need {
		s.remap, s.epoch = make([]uint64, need), 0
	}
	codes := make([]int32, len(s.order))
	used, ends := s.used[:0], s.ends[:0]
	remap, old, order := s.remap, v.codes, s.order
	size := 0
	for _, p := range s.parts {
		s.epoch++
		stamp, first := s.epoch<<32, len(used)
		for at := p.from; at < p.to; at++ {
			row := int(order[at])
			if v.nulls > 0 && !bit(v.valid, row) {
				continue
			}
			code := old[row]
			slot := remap[code]
			if slot&^math.MaxUint32 != stamp {
				slot = stamp | uint64(len(used)-first)
				remap[code] = slot
				used = append(used, code)
				size += int(v.text.offsets[code+1] - v.text.offsets[code])
			}
			codes[at] = int32(uint32(slot))
		}
		ends = append(ends, len(used))
	}
	s.used, s.ends = used, ends
	space := newTextSpace(len(used)+len(s.parts), size)
	first := 0
	for i, p := range s.parts {
		out := to(i)
		out.codes = codes[p.from:p.to:p.to]
		out.text = space.take(v.text, used[first:ends[i]])
		first = ends[i]
	}
}

func (s *split) plain(v *vector, to func(int) *vector) {
	space := newTextSpace(len(s.order)+len(s.parts), len(v.text.data))
	for i, p := range s.parts {
		to(i).text = space.take(v.text, s.order[p.from:p.to])
	}
}

// textSpace is what the texts of all parts of a column are laid into, one
// after the other.
type textSpace struct {
	offsets []int32
	data    []byte
	at      int // where the next text goes
}

// shortText is the length up to which texts are copied as one block of that
// length, of which the next text covers what is too much: most are short, and a
// call of copy takes longer than they do.
const shortText = 32

func newTextSpace(offsets, bytes int) *textSpace {
	return &textSpace{offsets: make([]int32, 0, offsets), data: make([]byte, bytes+shortText)}
}

// take lays the chosen values of a list into the space, as a list of their own.
func (s *textSpace) take(from texts, chosen []int32) texts {
	o := len(s.offsets)
	offsets := s.offsets[o : o+len(chosen)+1 : o+len(chosen)+1]
	s.offsets = s.offsets[:o+len(chosen)+1]
	start, at := s.at, s.at
	for i, c := range chosen {
		begin, end := int(from.offsets[c]), int(from.offsets[c+1])
		if end-begin <= shortText && begin+shortText <= len(from.data) {
			*(*[shortText]byte)(s.data[at:]) = [shortText]byte(from.data[begin:])
		} else {
			copy(s.data[at:], from.data[begin:end])
		}
		at += end - begin
		offsets[i+1] = int32(at - start)
	}
	s.at = at
	return texts{offsets: offsets, data: s.data[start:at:at]}
}
