package encoding

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// shapes are the rows that the properties of this package are tried on.
var shapes = []struct {
	name string
	n    int
	of   shape
}{
	{"no rows", 0, shape{distinct: 5}},
	{"one row", 1, shape{distinct: 5}},
	{"one null row", 1, shape{nulls: 1, distinct: 5}},
	{"a byte of rows", 8, shape{nulls: 0.3, distinct: 3}},
	{"no nulls", 203, shape{distinct: 20}},
	{"few nulls", 1001, shape{nulls: 0.05, distinct: 20}},
	{"many nulls", 517, shape{nulls: 0.6, distinct: 300}},
	{"only nulls", 65, shape{nulls: 1, distinct: 5}},
	{"plain text", 300, shape{nulls: 0.2, distinct: 10, plain: true}},
	{"values of their own", 300, shape{nulls: 0.1, distinct: 1 << 20}},
}

func newRand() *rand.Rand { return rand.New(rand.NewPCG(4, 2)) }

// checkRows proves the rows' invariants: those that check knows, and that a
// bitmap is there exactly when there are nulls.
func checkRows(t *testing.T, r *Rows) {
	t.Helper()
	for c := range r.vectors {
		v, of := &r.vectors[c], r.schema.Column(c)
		if err := v.check(of.Type, r.n); err != nil {
			t.Errorf("column %q: %v", of.Name, err)
		}
		if got := v.valid != nil; got != (v.nulls > 0) {
			t.Errorf("column %q: has a bitmap: %v, nulls: %d", of.Name, got, v.nulls)
		}
		if v.valid != nil && (len(v.valid) != bitmapBytes(r.n) || r.n-countBits(v.valid, r.n) != v.nulls) {
			t.Errorf("column %q: bitmap of %d bytes with %d bits for %d rows, %d nulls", of.Name, len(v.valid), countBits(v.valid, r.n), r.n, v.nulls)
		}
	}
}

// Gathering the parts in the order of their groups is a stable sort by group.
func TestSplitThenConcatIsAStableSort(t *testing.T) {
	for _, tc := range shapes {
		for _, groups := range []int{1, 2, 7, 400} {
			t.Run(fmt.Sprintf("%s in %d groups", tc.name, groups), func(t *testing.T) {
				rng := newRand()
				r := randomRows(rng, everyKind(), tc.n, tc.of)
				group := make([]int32, tc.n)
				for i := range group {
					group[i] = rng.Int32N(int32(groups))
				}
				parts := r.Split(group, groups)
				values := grid(r)
				var want [][]any
				for g, p := range parts {
					var rows [][]any
					for row, of := range group {
						if int(of) == g {
							rows = append(rows, values[row])
						}
					}
					if p == nil {
						if rows != nil {
							t.Fatalf("group %d: no part, want %d rows", g, len(rows))
						}
						continue
					}
					checkRows(t, p)
					checkDictionaries(t, p)
					if diff := diffGrids(rows, grid(p)); diff != "" {
						t.Fatalf("group %d (-want +got):\n%s", g, diff)
					}
					want = append(want, rows...)
				}
				all := Concat(parts...)
				if all == nil {
					if want != nil {
						t.Fatalf("Concat is nil, want %d rows", len(want))
					}
					return
				}
				checkRows(t, all)
				if diff := diffGrids(want, grid(all)); diff != "" {
					t.Fatalf("concat (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// checkDictionaries proves that each dictionary holds the values that its
// column uses, in order of first appearance, and no other.
func checkDictionaries(t *testing.T, r *Rows) {
	t.Helper()
	for c := range r.vectors {
		v := &r.vectors[c]
		if v.codes == nil {
			continue
		}
		next := int32(0)
		for row, code := range v.codes {
			if v.null(row) {
				continue
			}
			if code > next {
				t.Fatalf("column %d row %d: code %d, want at most %d", c, row, code, next)
			}
			if code == next {
				next++
			}
		}
		if int(next) != v.text.len() {
			t.Errorf("column %d: %d values in the dictionary, %d used", c, v.text.len(), next)
		}
	}
}

func BenchmarkSplit(b *testing.B) {
	const n, groups = 200_000, 4500
	rng := newRand()
	r := wideRows(rng, n)
	group := make([]int32, n)
	for i := range group {
		group[i] = rng.Int32N(groups)
	}
	b.SetBytes(r.Size())
	b.ReportAllocs()
	for b.Loop() {
		r.Split(group, groups)
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mrows/s")
}

// wideRows are rows like those of an advertising report: 21 columns, 9 of them
// text, some nulls.
func wideRows(rng *rand.Rand, n int) *Rows {
	text := Type{Kind: String}
	var columns []Column
	for i, t := range []Type{
		{Kind: Date}, text, text, text, text, text, text, text, text, text, {Kind: Timestamp},
		{Kind: Int64}, {Kind: Int64}, {Kind: Int64}, {Kind: Int64}, {Kind: Int64},
		{Kind: Float64}, {Kind: Float64}, {Kind: Decimal, Precision: 38, Scale: 6}, {Kind: Bool}, {Kind: Int64},
	} {
		columns = append(columns, Column{Name: fmt.Sprintf("column_%d", i), Type: t})
	}
	schema, err := NewSchema(columns)
	if err != nil {
		panic(err)
	}
	r := &Rows{schema: schema, n: n, vectors: make([]vector, len(columns))}
	for c := range r.vectors {
		of := shape{distinct: []int{50, 2000, 8000, 25000}[c%4]}
		if c%7 == 6 {
			of.nulls = 0.3
		}
		r.vectors[c] = randomVector(rng, columns[c].Type, n, of, columns[c].Type.Kind.IsText())
	}
	return r
}
