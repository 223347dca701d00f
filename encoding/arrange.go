package encoding

import "math"

// Arrangement is rows in another order, which are gathered piece by piece: rows
// sorted by group without a second copy of all of them. It is for one goroutine.
type Arrangement struct {
	rows     *Rows
	order    []int32 // row numbers
	Runs     []GroupRun
	gatherer gatherer
}

// GroupRun is consecutive rows of an arrangement that are of one group.
type GroupRun struct {
	Group int32
	Rows  int
}

// Arrange sorts the rows by the place of their group, rows of one group in the
// order that they have. group has one element per row; place one per group, all
// different and below len(place).
func (r *Rows) Arrange(group, place []int32) *Arrangement {
	next := make([]int32, len(place))
	for _, g := range group[:r.n] {
		next[place[g]]++
	}
	a := &Arrangement{rows: r, order: make([]int32, r.n)}
	at := int32(0)
	for p, n := range next {
		next[p] = at
		at += n
	}
	for row, g := range group[:r.n] {
		p := place[g]
		a.order[next[p]] = int32(row)
		next[p]++
	}
	for i := 0; i < len(a.order); {
		g := group[a.order[i]]
		end := int(next[place[g]]) // behind the group's last
		a.Runs = append(a.Runs, GroupRun{g, end - i})
		i = end
	}
	return a
}

// Len is the number of rows.
func (a *Arrangement) Len() int { return len(a.order) }

// RowBytes is about what one row takes.
func (a *Arrangement) RowBytes() int64 { return a.rows.RowBytes() }

// Take gathers the rows from up to but not including to. They are valid until
// the next Take: their memory is used again.
func (a *Arrangement) Take(from, to int) *Rows {
	return a.gatherer.take(a.rows, a.order[from:to])
}

// gatherer gathers rows in memory that it uses again.
type gatherer struct {
	out   Rows
	valid [][]byte // per column, for those without nulls too
	marks []marks  // per column

	// Per column, where a codebook numbers it: by code, and the texts; else nil.
	numbers [][]int32
	book    []vector
}

// marks remember, per value of a dictionary, in which round it was used last
// (high 32 bits) and its code then: a new round needs no clearing.
type marks struct {
	slots []uint64
	round uint64
}

// begin starts a round over a dictionary of n values.
func (m *marks) begin(n int) (slots []uint64, stamp uint64) {
	if len(m.slots) < n || m.round == math.MaxUint32 {
		m.slots, m.round = make([]uint64, n), 0
	}
	m.round++
	return m.slots, m.round << 32
}

// widen makes room for a dictionary that has grown to n values.
func (m *marks) widen(n int) {
	if len(m.slots) < n {
		m.slots = append(m.slots, make([]uint64, n-len(m.slots)+n/8)...)
	}
}

func (g *gatherer) take(r *Rows, order []int32) *Rows {
	if g.marks == nil {
		g.valid, g.marks, g.out.vectors = make([][]byte, len(r.vectors)), make([]marks, len(r.vectors)), make([]vector, len(r.vectors))
	}
	g.out.schema, g.out.n = r.schema, len(order)
	for c := range r.vectors {
		v, out := &r.vectors[c], &g.out.vectors[c]
		out.valid, out.nulls = nil, 0
		if v.nulls > 0 {
			g.valid[c] = sized(g.valid[c], bitmapBytes(len(order)))
			if out.nulls = len(order) - gatherBits(g.valid[c], v.valid, order); out.nulls > 0 {
				out.valid = g.valid[c]
			}
		}
		if g.book != nil && g.book[c].book != nil {
			out.book, out.text, out.longest = g.book[c].book, g.book[c].text, g.book[c].longest
			out.codes = numbered(out.codes, v, g.numbers[c], order)
			continue
		}
		g.column(v, out, &g.marks[c], order)
	}
	return &g.out
}

func (g *gatherer) column(v, out *vector, m *marks, order []int32) {
	switch {
	case v.codes != nil:
		g.coded(v, out, m, order)
	case v.text.offsets != nil:
		out.codes = nil
		out.text.clear()
		for _, row := range order {
			out.text.add(v.text.value(int(row)))
		}
	case v.bools != nil:
		out.bools = sized(out.bools, bitmapBytes(len(order)))
		gatherBits(out.bools, v.bools, order)
	case v.ints != nil:
		out.ints = gatherInto(out.ints, v.ints, order)
	case v.days != nil:
		out.days = gatherInto(out.days, v.days, order)
	case v.floats != nil:
		out.floats = gatherInto(out.floats, v.floats, order)
	case v.decimals != nil:
		out.decimals = gatherInto(out.decimals, v.decimals, order)
	}
}

// numbered gathers codes as numbers of a codebook.
func numbered(dst []int32, v *vector, numbers, order []int32) []int32 {
	dst = sized(dst, len(order))
	for i, row := range order {
		if v.nulls > 0 && !bit(v.valid, int(row)) {
			dst[i] = 0
			continue
		}
		dst[i] = numbers[v.codes[row]]
	}
	return dst
}

// coded gathers a dictionary column with a dictionary of just the values used,
// in order of first appearance.
func (g *gatherer) coded(v, out *vector, m *marks, order []int32) {
	slots, stamp := m.begin(v.text.len())
	out.codes = sized(out.codes, len(order))
	out.text.clear()
	for i, row := range order {
		if v.nulls > 0 && !bit(v.valid, int(row)) {
			out.codes[i] = 0
			continue
		}
		code := v.codes[row]
		slot := slots[code]
		if slot&^math.MaxUint32 != stamp {
			slot = stamp | uint64(out.text.len())
			slots[code] = slot
			out.text.add(v.text.value(int(code)))
		}
		out.codes[i] = int32(uint32(slot))
	}
}

// clear empties the list and keeps its memory.
func (t *texts) clear() { t.offsets, t.data = append(t.offsets[:0], 0), t.data[:0] }

// sized is s, or a longer slice, at n elements; what is in them does not count.
func sized[T any](s []T, n int) []T {
	if cap(s) < n || s == nil {
		return make([]T, n, n+n/4+8)
	}
	return s[:n]
}

func gatherInto[T any](dst, values []T, order []int32) []T {
	dst = sized(dst, len(order))
	for i, row := range order {
		dst[i] = values[row]
	}
	return dst
}
