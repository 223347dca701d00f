package encoding

import "github.com/apache/arrow/go/v17/arrow/decimal128"

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
	remap  []uint64
	epoch  uint64
}

// part is the run order[from:to] of one group.
type part struct{ group, from, to int }

func newSplit(group []int32, groups int) *split {
	next := make([]int, groups)
	for _, g := range group {
		next[g]++
	}
	s := &split{order: make([]int32, len(group))}
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
	var used []int32 // old codes, part after part
	size := 0
	ends := make([]int, len(s.parts)) // where each part's run of used ends
	for i, p := range s.parts {
		s.epoch++
		first := len(used)
		for at := p.from; at < p.to; at++ {
			row := int(s.order[at])
			if v.null(row) {
				continue
			}
			old := v.codes[row]
			slot := s.remap[old]
			if slot>>32 != s.epoch {
				slot = s.epoch<<32 | uint64(len(used)-first)
				s.remap[old] = slot
				used = append(used, old)
				size += int(v.text.offsets[old+1] - v.text.offsets[old])
			}
			codes[at] = int32(uint32(slot))
		}
		ends[i] = len(used)
	}
	offsets := make([]int32, 0, len(used)+len(s.parts))
	data := make([]byte, 0, size)
	first := 0
	for i, p := range s.parts {
		out := to(i)
		out.codes = codes[p.from:p.to:p.to]
		out.text, offsets, data = takeTexts(v.text, used[first:ends[i]], offsets, data)
		first = ends[i]
	}
}

func (s *split) plain(v *vector, to func(int) *vector) {
	offsets := make([]int32, 0, len(s.order)+len(s.parts))
	data := make([]byte, 0, len(v.text.data))
	for i, p := range s.parts {
		to(i).text, offsets, data = takeTexts(v.text, s.order[p.from:p.to], offsets, data)
	}
}

// takeTexts appends the chosen values to offsets and data, which have the room
// for them, and returns the list they make there and what is left to append to.
func takeTexts(from texts, chosen []int32, offsets []int32, data []byte) (texts, []int32, []byte) {
	o, d := len(offsets), len(data)
	offsets = append(offsets, 0)
	for _, i := range chosen {
		data = append(data, from.data[from.offsets[i]:from.offsets[i+1]]...)
		offsets = append(offsets, int32(len(data)-d))
	}
	return texts{offsets: offsets[o:len(offsets):len(offsets)], data: data[d:len(data):len(data)]}, offsets, data
}
