package encoding

import (
	"testing"
)

func TestConcatOfSlicesIsTheWhole(t *testing.T) {
	for _, tc := range shapes {
		t.Run(tc.name, func(t *testing.T) {
			rng := newRand()
			r := randomRows(rng, everyKind(), tc.n, tc.of)
			want := grid(r)
			for range 20 {
				a := rng.IntN(tc.n + 1)
				b := a + rng.IntN(tc.n-a+1)
				parts := []*Rows{r.Slice(0, a), r.Slice(a, b), nil, r.Slice(b, tc.n)}
				for i, p := range parts {
					if p == nil {
						continue
					}
					checkRows(t, p)
					if from := []int{0, a, 0, b}[i]; diffGrids(want[from:from+p.n], grid(p)) != "" {
						t.Fatalf("slice %d of [0 %d %d %d]:\n%s", i, a, b, tc.n, diffGrids(want[from:from+p.n], grid(p)))
					}
				}
				whole := Concat(parts...)
				checkRows(t, whole)
				if diff := diffGrids(want, grid(whole)); diff != "" {
					t.Fatalf("cut at %d and %d (-want +got):\n%s", a, b, diff)
				}
			}
		})
	}
}

func TestConcatOfMixedLayouts(t *testing.T) {
	rng := newRand()
	schema := everyKind()
	coded := randomRows(rng, schema, 37, shape{nulls: 0.2, distinct: 4})
	plain := randomRows(rng, schema, 22, shape{nulls: 0.2, distinct: 4, plain: true})
	tests := []struct {
		name string
		rows []*Rows
	}{
		{"coded, plain", []*Rows{coded, plain}},
		{"plain, coded, coded", []*Rows{plain, coded, coded}},
		{"coded twice", []*Rows{coded, coded}},
		{"coded of two dictionaries", []*Rows{coded, randomRows(rng, schema, 40, shape{nulls: 0.1, distinct: 6})}},
		{"coded and only nulls", []*Rows{randomRows(rng, schema, 9, shape{nulls: 1}), coded}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			var want [][]any
			for _, r := range tc.rows {
				want = append(want, grid(r)...)
			}
			got := Concat(tc.rows...)
			checkRows(t, got)
			if diff := diffGrids(want, grid(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			for c := range got.vectors {
				checkDistinct(t, &got.vectors[c])
			}
		})
	}
	if got := Concat(nil, nil); got != nil {
		t.Errorf("Concat of nothing = %v, want nil", got)
	}
}

func checkDistinct(t *testing.T, v *vector) {
	t.Helper()
	seen := make(map[string]bool)
	if v.codes == nil {
		return
	}
	for i := range v.text.len() {
		value := string(v.text.value(i))
		if seen[value] {
			t.Errorf("the dictionary holds %q twice", value)
		}
		seen[value] = true
	}
}

func TestSliceKeepsOnlyWhatItUses(t *testing.T) {
	r := randomRows(newRand(), everyKind(), 20_000, shape{distinct: 5000})
	if small := r.Slice(100, 110); small.vectors[1].text.len() > 10 {
		t.Errorf("10 rows keep %d dictionary values", small.vectors[1].text.len())
	}
}
