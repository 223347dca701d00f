package encoding

import (
	"fmt"
	"testing"
)

// Arranged rows, taken piece by piece, are what Split and Concat make of them.
func TestArrangementIsAStableSort(t *testing.T) {
	for _, tc := range shapes {
		for _, groups := range []int{1, 7, 400} {
			t.Run(fmt.Sprintf("%s in %d groups", tc.name, groups), func(t *testing.T) {
				rng := newRand()
				r := randomRows(rng, everyKind(), tc.n, tc.of)
				group := make([]int32, tc.n)
				for i := range group {
					group[i] = rng.Int32N(int32(groups))
				}
				place := make([]int32, groups)
				byPlace := make([]int, groups)
				for g, p := range rng.Perm(groups) {
					place[g], byPlace[p] = int32(p), g
				}
				values := grid(r)
				var want [][]any
				var runs []GroupRun
				for _, g := range byPlace {
					n := 0
					for row, of := range group {
						if int(of) == g {
							want = append(want, values[row])
							n++
						}
					}
					if n > 0 {
						runs = append(runs, GroupRun{int32(g), n})
					}
				}
				a := r.Arrange(group, place)
				if fmt.Sprint(a.Runs) != fmt.Sprint(runs) {
					t.Fatalf("runs %v, want %v", a.Runs, runs)
				}
				var got [][]any
				for from := 0; from < a.Len(); {
					to := min(from+1+rng.IntN(50), a.Len())
					piece := a.Take(from, to)
					checkRows(t, piece)
					checkDictionaries(t, piece)
					got = append(got, grid(piece)...)
					from = to
				}
				if diff := diffGrids(want, got); diff != "" {
					t.Fatalf("(-want +got):\n%s", diff)
				}
			})
		}
	}
}

// Merged stretches are what Concat makes of slices, and the memory of one merge
// does not show in the next.
func TestMergerIsConcatOfSlices(t *testing.T) {
	rng := newRand()
	schema := everyKind()
	var sources []*Source
	for _, of := range []shape{
		{nulls: 0.2, distinct: 4}, {distinct: 40}, {nulls: 0.5, distinct: 9, plain: true}, {nulls: 1}, {nulls: 0.1, distinct: 300}, {distinct: 3},
	} {
		sources = append(sources, NewSource(randomRows(rng, schema, 1+rng.IntN(300), of)))
	}
	var m Merger
	for round := range 300 {
		m.Reset()
		if m.Merged() != nil || m.Len() != 0 || m.Size() != 0 {
			t.Fatal("a merger that was reset holds rows")
		}
		var parts []*Rows
		for range 1 + rng.IntN(5) {
			s := sources[rng.IntN(len(sources))]
			from := rng.IntN(s.Rows.Len())
			to := from + 1 + rng.IntN(s.Rows.Len()-from)
			size, want := m.Size()+rng.Int64N(4000)<<rng.IntN(8), 0
			for left, each := size-m.Size(), s.Rows.rowBytes()[from:to]; want < len(each) && left >= int64(each[want]); want++ {
				left -= int64(each[want])
			}
			if m.Len() == 0 {
				want = max(want, 1)
			}
			if fits := m.Fits(s, from, to, size); fits != want {
				t.Fatalf("%d of %d rows fit, want %d", fits, to-from, want)
			}
			m.Add(s, from, to)
			parts = append(parts, s.Rows.Slice(from, to))
		}
		got, want := m.Merged(), Concat(parts...)
		checkRows(t, got)
		if diff := diffGrids(grid(want), grid(got)); diff != "" {
			t.Fatalf("round %d (-want +got):\n%s", round, diff)
		}
		for c := range got.vectors {
			checkDistinct(t, &got.vectors[c])
			if coded := want.vectors[c].codes != nil; (got.vectors[c].codes != nil) != coded {
				t.Fatalf("column %d is coded: %v, want %v", c, !coded, coded)
			}
		}
		if size := got.Size(); m.Size() < size/2 || m.Size() > 2*size+1000 {
			t.Fatalf("size %d of rows that take %d", m.Size(), size)
		}
	}
}
