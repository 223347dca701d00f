package encoding

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
)

func marshal(t testing.TB, r *Rows) []byte {
	t.Helper()
	b, err := MarshalRows(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestWireRoundTrip(t *testing.T) {
	for _, tc := range shapes {
		t.Run(tc.name, func(t *testing.T) {
			r := randomRows(newRand(), everyKind(), tc.n, tc.of)
			b := marshal(t, r)
			if again := marshal(t, r); !bytes.Equal(b, again) {
				t.Error("the same rows gave other bytes")
			}
			got, err := UnmarshalRows(b)
			if err != nil {
				t.Fatal(err)
			}
			checkSame(t, r, got)
			if again := marshal(t, got); !bytes.Equal(b, again) {
				t.Error("what was read gives other bytes")
			}
			// A payload may lie anywhere in memory.
			if got, err = UnmarshalRows(append([]byte{0}, b...)[1:]); err != nil {
				t.Fatal(err)
			}
			checkSame(t, r, got)
		})
	}
}

// The library reads what we write, and we read what the library writes.
func TestWireIsArrow(t *testing.T) {
	for _, tc := range shapes {
		t.Run(tc.name, func(t *testing.T) {
			r := randomRows(newRand(), everyKind(), tc.n, tc.of)
			want := r.Arrow()
			reader, err := ipc.NewReader(bytes.NewReader(marshal(t, r)))
			if err != nil {
				t.Fatal(err)
			}
			if !reader.Schema().Equal(want.Schema()) {
				t.Errorf("the library reads schema %v, want %v", reader.Schema(), want.Schema())
			}
			if !reader.Next() {
				t.Fatalf("the library finds no record: %v", reader.Err())
			}
			if got := reader.Record(); !array.RecordEqual(got, want) {
				t.Errorf("the library reads\n%v\nwant\n%v", got, want)
			}
			if reader.Next() || reader.Err() != nil {
				t.Errorf("the library finds more than one record, or %v", reader.Err())
			}

			var b bytes.Buffer
			writer := ipc.NewWriter(&b, ipc.WithSchema(want.Schema()))
			if err := writer.Write(want); err != nil {
				t.Fatal(err)
			}
			if err := writer.Close(); err != nil {
				t.Fatal(err)
			}
			got, err := UnmarshalRows(b.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			checkSame(t, r, got)
		})
	}
}

// Every prefix of a stream is refused, and so is whatever follows one.
func TestUnmarshalTruncated(t *testing.T) {
	b := marshal(t, randomRows(newRand(), everyKind(), 20, shape{nulls: 0.2, distinct: 4}))
	for n := range b {
		if _, err := UnmarshalRows(b[:n:n]); err == nil {
			t.Fatalf("the first %d of %d bytes were taken", n, len(b))
		}
	}
	if _, err := UnmarshalRows(append(slices.Clip(b), 0)); err == nil {
		t.Error("a byte too many was taken")
	}
}

// Whichever single byte is damaged, the stream is refused or gives rows that
// keep their invariants.
func TestUnmarshalDamaged(t *testing.T) {
	b := marshal(t, randomRows(newRand(), everyKind(), 9, shape{nulls: 0.3, distinct: 4}))
	for i := range b {
		for _, flip := range []byte{0x01, 0x80, 0xff} {
			damaged := slices.Clone(b)
			damaged[i] ^= flip
			if r, err := UnmarshalRows(damaged); err == nil {
				checkRows(t, r)
				grid(r)
			}
		}
		if len(b)-i >= 4 {
			for _, v := range []uint32{0, 0x7fffffff, 0xffffffff, 0x80000000, uint32(len(b))} {
				damaged := slices.Clone(b)
				binary.LittleEndian.PutUint32(damaged[i:], v)
				if r, err := UnmarshalRows(damaged); err == nil {
					checkRows(t, r)
					grid(r)
				}
			}
		}
	}
}

func TestUnmarshalRefuses(t *testing.T) {
	schema, err := NewSchema([]Column{{Name: "s", Type: Type{Kind: String}}, {Name: "f", Type: Type{Kind: Float64}}, {Name: "b", Type: Type{Kind: Bool}}})
	if err != nil {
		t.Fatal(err)
	}
	rows := func(damage func(s, f, b *vector)) *Rows {
		r := &Rows{schema: schema, n: 2, vectors: []vector{
			{nulls: 1, valid: []byte{1}, codes: []int32{1, 0}, text: texts{offsets: []int32{0, 1, 3}, data: []byte("aä")}},
			{nulls: 1, valid: []byte{1}, floats: []float64{1, 0}},
			{bools: []byte{3}},
		}}
		damage(&r.vectors[0], &r.vectors[1], &r.vectors[2])
		return r
	}
	nan := 0.0
	nan /= nan
	tests := []struct {
		name   string
		damage func(s, f, b *vector)
		want   string
	}{
		{"nothing", func(_, _, _ *vector) {}, ""},
		{"code too large", func(s, _, _ *vector) { s.codes[0] = 2 }, `column "s": code 2 leaves its dictionary of 2 values`},
		{"code below 0", func(s, _, _ *vector) { s.codes[0] = -1 }, `column "s": code -1 leaves its dictionary of 2 values`},
		{"code of a null", func(s, _, _ *vector) { s.codes[1] = 1 }, `column "s": a null row holds a value`},
		{"offsets descend", func(s, _, _ *vector) { s.text.offsets[1] = 5 }, "dictionary 0: its text offsets do not ascend"},
		{"offsets leave the text", func(s, _, _ *vector) { s.text.offsets[2] = 9 }, "dictionary 0: its text offsets leave the text"},
		{"offsets start late", func(s, _, _ *vector) { s.text.offsets[0] = 1 }, "dictionary 0: its text offsets do not start at 0"},
		{"no UTF-8", func(s, _, _ *vector) { s.text.data[0] = 0xff }, `column "s": its text is not UTF-8`},
		{"a character cut", func(s, _, _ *vector) { s.text.offsets[1] = 2 }, `column "s": its text is cut within a character`},
		{"not finite", func(_, f, _ *vector) { f.floats[0] = nan }, `column "f": it holds NaN, which is not finite`},
		{"too few values", func(_, f, _ *vector) { f.floats = f.floats[:1] }, `column "f": a buffer is shorter than its values`},
		{"nulls miscounted", func(_, f, _ *vector) { f.nulls = 2 }, `column "f": it says 2 nulls and has 1`},
		{"bits past the end", func(_, _, b *vector) { b.bools[0] = 7 }, `column "b": its bits go on past the last row`},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			_, err := UnmarshalRows(marshal(t, rows(tc.damage)))
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("got error %v", err)
			case tc.want != "" && (err == nil || !strings.HasSuffix(err.Error(), tc.want)):
				t.Errorf("got error %v, want one that ends in %q", err, tc.want)
			}
		})
	}
}

func FuzzUnmarshalRows(f *testing.F) {
	for _, tc := range shapes {
		f.Add(marshal(f, randomRows(newRand(), everyKind(), min(tc.n, 20), tc.of)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := UnmarshalRows(b)
		if err != nil {
			return
		}
		checkRows(t, r)
		want := grid(r)
		again, err := UnmarshalRows(marshal(t, r))
		if err != nil {
			t.Fatalf("what was read cannot be written and read again: %v", err)
		}
		if len(want) != again.n {
			t.Fatalf("%d rows became %d", len(want), again.n)
		}
		checkSame(t, r, again)
	})
}

// smallParts are parts of 200 rows, as a split leaves them.
func smallParts() []*Rows {
	const rows, parts = 200, 50
	r := wideRows(newRand(), rows*parts)
	group := make([]int32, r.n)
	for i := range group {
		group[i] = int32(i % parts)
	}
	return r.Split(group, parts)
}

func BenchmarkMarshalRows(b *testing.B) {
	parts := smallParts()
	size := 0
	for _, p := range parts {
		size += len(marshal(b, p))
	}
	b.SetBytes(int64(size / len(parts)))
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, err := MarshalRows(parts[i%len(parts)]); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// BenchmarkMarshalRowsLibrary is the same stream through the library's writer.
func BenchmarkMarshalRowsLibrary(b *testing.B) {
	parts := smallParts()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		rec := parts[i%len(parts)].Arrow()
		var out bytes.Buffer
		w := ipc.NewWriter(&out, ipc.WithSchema(rec.Schema()))
		if err := w.Write(rec); err != nil {
			b.Fatal(err)
		}
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

func BenchmarkUnmarshalRows(b *testing.B) {
	var streams [][]byte
	for _, p := range smallParts() {
		streams = append(streams, marshal(b, p))
	}
	b.SetBytes(int64(len(streams[0])))
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, err := UnmarshalRows(streams[i%len(streams)]); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// A number column that stands before the first dictionary must not take it for
// its own: a slice of it would read past the values.
func TestUnmarshalRowsThenSlice(t *testing.T) {
	schema, err := NewSchema([]Column{{Name: "day", Type: Type{Kind: Date}}, {Name: "name", Type: Type{Kind: String}}})
	if err != nil {
		t.Fatal(err)
	}
	var rows *Rows
	d := NewDecoder(schema, DecodeOptions{}, func(r *Rows) error { rows = r; return nil })
	const text = `{"day":"2024-06-18","name":"a"}` + "\n" + `{"day":"2024-06-19","name":"a"}` + "\n" + `{"day":"2024-06-20","name":"a"}` + "\n"
	if _, err := d.Decode(1, NDJSONInput, Plain, strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	if err := d.Flush(); err != nil {
		t.Fatal(err)
	}
	b, err := MarshalRows(rows)
	if err != nil {
		t.Fatal(err)
	}
	read, err := UnmarshalRows(b)
	if err != nil {
		t.Fatal(err)
	}
	if read.Size() != rows.Size() {
		t.Errorf("size: got %d, want %d", read.Size(), rows.Size())
	}
	if diff := diffGrids(grid(rows.Slice(1, 3)), grid(read.Slice(1, 3))); diff != "" {
		t.Error(diff)
	}
}
