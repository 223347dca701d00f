package encoding

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
)

// numberedRun is one chunk as a run on disk: blocks of rows in numbers.
func numberedRun(t *testing.T, k *Codebook, a *Arrangement, rng *rand.Rand) (blocks []*Source) {
	t.Helper()
	for from := 0; from < a.Len(); {
		to := min(from+1+rng.IntN(60), a.Len())
		rows := a.Take(from, to)
		want := grid(rows)
		b, err := k.Marshal(rows)
		if err != nil {
			t.Fatal(err)
		}
		back, err := k.Unmarshal(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := diffGrids(want, grid(back)); diff != "" {
			t.Fatalf("rows %d to %d (-want +got):\n%s", from, to, diff)
		}
		for _, r := range []*Rows{rows, back} {
			if most, longest := r.mostBytes(), slices.Max(r.rowBytes()); most < int64(longest) {
				t.Fatalf("a row takes %d bytes, and at most %d", longest, most)
			}
		}
		blocks = append(blocks, NewSource(back))
		from = to
	}
	return blocks
}

// Rows that were spilled in numbers are, joined again, what Concat makes of the
// rows themselves: with room for all texts, for some and for none.
func TestCodebook(t *testing.T) {
	for _, of := range []shape{{distinct: 3}, {nulls: 0.3, distinct: 40}, {nulls: 0.02, distinct: 4000}, {nulls: 1, distinct: 5}} {
		for _, room := range []int64{0, 3000, 1 << 30} {
			t.Run(fmt.Sprintf("%+v, room for %d bytes", of, room), func(t *testing.T) {
				rng := newRand()
				schema := everyKind()
				k := NewCodebook(schema, room)
				var chunks, joined []*Rows
				var m Merger
				for range 6 {
					rows := randomRows(rng, schema, 1+rng.IntN(300), of)
					a := rows.Arrange(make([]int32, rows.Len()), []int32{0})
					k.Number(a)
					chunks = append(chunks, rows)
					for _, block := range numberedRun(t, k, a, rng) {
						half := rng.IntN(block.Rows.Len() + 1)
						m.Add(block, 0, half)
						m.Add(block, half, block.Rows.Len())
					}
					if rng.IntN(3) == 0 {
						joined = append(joined, bytesOf(t, m.Merged()))
						m.Reset()
					}
				}
				if m.Len() > 0 {
					joined = append(joined, bytesOf(t, m.Merged()))
				}
				for _, part := range joined {
					checkRows(t, part)
					checkDictionaries(t, part)
				}
				if diff := diffGrids(grid(Concat(chunks...)), grid(Concat(joined...))); diff != "" {
					t.Fatalf("(-want +got):\n%s", diff)
				}
			})
		}
	}
}

// bytesOf is rows in memory of their own.
func bytesOf(t *testing.T, rows *Rows) *Rows {
	t.Helper()
	b, err := MarshalRows(rows)
	if err != nil {
		t.Fatal(err)
	}
	own, err := UnmarshalRows(bytes.Clone(b))
	if err != nil {
		t.Fatal(err)
	}
	return own
}

// Readers number their chunks while runs are read.
func TestCodebookAtATime(t *testing.T) {
	schema := everyKind()
	k := NewCodebook(schema, 1<<20)
	var readers sync.WaitGroup
	for seed := range uint64(4) {
		readers.Go(func() {
			rng := rand.New(rand.NewPCG(seed, 1))
			for range 5 {
				rows := randomRows(rng, schema, 200, shape{nulls: 0.1, distinct: 300})
				a := rows.Arrange(make([]int32, rows.Len()), []int32{0})
				k.Number(a)
				numberedRun(t, k, a, rng)
			}
		})
	}
	readers.Wait()
}

func TestCodebookDamaged(t *testing.T) {
	schema := schemaOf(t, "a string", "n int64")
	rows := randomRows(newRand(), schema, 50, shape{distinct: 10})
	a := rows.Arrange(make([]int32, rows.Len()), []int32{0})
	k := NewCodebook(schema, 1<<20)
	k.Number(a)
	b, err := k.Marshal(a.Take(0, 50))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewCodebook(schema, 1<<20).Unmarshal(b); !errors.Is(err, errNoSuchText) {
		t.Errorf("numbers of another codebook: got %v, want %v", err, errNoSuchText)
	}
	if _, err := NewCodebook(schemaOf(t, "a string"), 1<<20).Unmarshal(b); err == nil {
		t.Error("rows of fewer columns: got no error")
	}
	if _, err := NewCodebook(schemaOf(t, "a int64", "n int64"), 1<<20).Unmarshal(b); err == nil {
		t.Error("numbers in a column that is no text: got no error")
	}
	if _, err := k.Unmarshal(b[:len(b)/2]); err == nil {
		t.Error("half of it: got no error")
	}
}
