package encoding

import (
	"bytes"
	"encoding/binary"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow/decimal128"
	"github.com/klauspost/compress/s2"
)

// TestPackedRows packs rows of several shapes with one packer, as older versions
// did, and not at all, and unpacks them with one unpacker: what was there before
// has no say.
func TestPackedRows(t *testing.T) {
	var packer RowsPacker
	var unpacker RowsUnpacker
	for i, tc := range shapes {
		schema := everyKind()
		if i%3 == 2 {
			schema = schemaOf(t, "a string", "b string", "n int64")
		}
		rows := randomRows(newRand(), schema, tc.n, tc.of)
		stream := marshal(t, rows)
		columns, _, err := packer.Pack(rows)
		if err != nil {
			t.Fatal(err)
		}
		for packing, b := range map[string][]byte{PackedColumns: columns, PackedS2: s2.Encode(nil, stream), "": stream} {
			got, err := unpacker.Unpack(packing, b)
			if err != nil {
				t.Fatalf("%s, packed as %q: %v", tc.name, packing, err)
			}
			checkSame(t, rows, got)
			again, _, err := new(RowsPacker).Pack(got)
			if err != nil || !bytes.Equal(again, columns) {
				t.Errorf("%s, packed as %q: what was unpacked is packed to other bytes, %v", tc.name, packing, err)
			}
		}
	}
	part := smallParts()[0]
	if packed, unpacked, err := packer.Pack(part); err != nil || len(packed) > unpacked*2/3 {
		t.Errorf("%d rows of %d bytes: packed to %d bytes, %v", part.Len(), unpacked, len(packed), err)
	}
	if _, err := unpacker.Unpack("lz4", nil); err == nil || !strings.Contains(err.Error(), `"lz4"`) {
		t.Errorf("an unknown packing: got %v", err)
	}
}

// Decimals of 64 bits and more stand beside each other, at the borders too.
func TestPackedDecimals(t *testing.T) {
	schema := schemaOf(t, "d decimal(38,0)")
	var d []decimal128.Num
	for _, n := range []int64{0, 1, -1, math.MaxInt64, math.MinInt64} {
		one := decimal128.FromI64(n)
		d = append(d, one, one.Add(decimal128.FromI64(1)), one.Sub(decimal128.FromI64(1)))
	}
	d = append(d, decimal128.New(math.MaxInt32, 7), decimal128.New(-math.MaxInt32, 7))
	for from := range d {
		rows := &Rows{schema: schema, n: len(d) - from, vectors: []vector{{decimals: d[from:]}}}
		packed, _, err := new(RowsPacker).Pack(rows)
		if err != nil {
			t.Fatal(err)
		}
		got, err := new(RowsUnpacker).Unpack(PackedColumns, packed)
		if err != nil {
			t.Fatal(err)
		}
		checkSame(t, rows, got)
	}
}

func TestRuns(t *testing.T) {
	check := func(run []int64) {
		t.Helper()
		b := appendRun([]byte("before"), run)
		r := &runReader{b: append(b[len("before"):], "behind"...)}
		got := make([]int64, len(run))
		if err := readRun(r, got); err != nil || !slices.Equal(got, run) || string(r.b) != "behind" {
			t.Errorf("got %v, %v, left %q, want %v", got, err, r.b, run)
		}
		for n := range len(b) - len("before") {
			if err := readRun(&runReader{b: b[len("before"):][:n]}, got); err == nil {
				t.Fatalf("%v: the first %d of %d bytes were taken", run, n, len(b)-len("before"))
			}
		}
		small := make([]int32, len(run))
		for i, n := range run {
			small[i] = int32(n)
		}
		again := make([]int32, len(run))
		if err := readRun(&runReader{b: appendRun(nil, small)}, again); err != nil || !slices.Equal(again, small) {
			t.Errorf("got %v, %v, want %v", again, err, small)
		}
	}
	check(nil)
	check([]int64{math.MinInt64, math.MaxInt64, 0, -1})
	rng := newRand()
	for bits := range 64 {
		for n := range 20 {
			run := make([]int64, n)
			least := rng.Int64() - rng.Int64()
			for i := range run {
				run[i] = least + int64(rng.Uint64()>>(63-bits))
			}
			check(run)
		}
	}
	if err := readRun(&runReader{b: append([]byte{0, 9}, make([]byte, 90)...)}, make([]int64, 1)); err == nil {
		t.Error("numbers of nine bytes were taken")
	}
}

func TestPackedRowsRefuse(t *testing.T) {
	packed, _, err := new(RowsPacker).Pack(smallParts()[0])
	if err != nil {
		t.Fatal(err)
	}
	packed = bytes.Clone(packed)
	var u RowsUnpacker
	for n := range packed {
		if _, err := u.Unpack(PackedColumns, packed[:n]); err == nil {
			t.Fatalf("the first %d of %d bytes: got no error", n, len(packed))
		}
	}
	if _, err := u.Unpack(PackedColumns, append(slices.Clip(packed), 0)); err == nil {
		t.Error("a byte too many was taken")
	}
	bomb := s2.Encode(nil, make([]byte, maxUnpacked+1))
	if _, err := u.Unpack(PackedS2, bomb); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("%d bytes that unpack to %d: got %v", len(bomb), maxUnpacked+1, err)
	}
	packing := func(rows, size uint64, numbers, schema []byte) []byte {
		b := binary.AppendUvarint(binary.AppendUvarint(nil, rows), size)
		b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(len(numbers))), uint64(len(schema)))
		return append(append(b, numbers...), s2.Encode(nil, schema)...)
	}
	taken := func(do func()) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		do()
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	// Numbers of no width: a few bytes that stand for any number of rows.
	schema := []byte(`[{"name":"n","type":"int64"}]`)
	for _, tc := range []struct{ rows, size uint64 }{
		{maxUnpacked / 8, maxUnpacked + 64}, {1 << 40, 64}, {8, 32}, {8, 32 + 8*9}, {8, maxUnpacked}, {math.MaxUint64, math.MaxUint64},
	} {
		b := packing(tc.rows, tc.size, appendRun([]byte{0}, []int64{7, 7}), schema)
		if n := taken(func() {
			if rows, err := u.Unpack(PackedColumns, b); err == nil {
				t.Errorf("%d rows in %d bytes were taken for %d", tc.rows, tc.size, rows.Len())
			}
		}); n > maxUnpacked+1<<20 || tc.size > maxUnpacked && n > 1<<20 {
			t.Errorf("%d rows in %d bytes: %d bytes were reserved", tc.rows, tc.size, n)
		}
	}
	// So do columns of the shortest schema there is, which S2 packs to nothing.
	many := []byte("[" + strings.Repeat(`{},`, 1<<20) + "{}]")
	if n := taken(func() {
		if _, err := u.Unpack(PackedColumns, packing(0, uint64(wirePadded(len(many))), nil, many)); err == nil || !strings.Contains(err.Error(), "columns") {
			t.Errorf("a schema of a million columns: got %v", err)
		}
	}); n > 16<<20 {
		t.Errorf("a schema of a million columns: %d bytes were reserved", n)
	}
	for _, damaged := range []string{"", "{}", "[", "[{}", `[{"name":"n","type":"int64"}] `, `[{"name":"n","type":"int64"}]]`, `[{"name":"n","type":"int65"}]`, `[{"name":"","type":"int64"}]`, "[]"} {
		if _, err := u.Unpack(PackedColumns, packing(0, uint64(wirePadded(len(damaged))), appendRun([]byte{0}, []int64{}), []byte(damaged))); err == nil {
			t.Errorf("schema %q was taken", damaged)
		}
	}
	if _, err := u.Unpack(PackedColumns, packed); err != nil {
		t.Errorf("after the refusals: %v", err)
	}
}

// TestPackRefuses packs rows and a schema that no reader would take.
func TestPackRefuses(t *testing.T) {
	many := &Rows{schema: schemaOf(t, "n int64"), n: maxUnpacked / 8, vectors: []vector{{ints: make([]int64, maxUnpacked/8)}}}
	long := NoRows(schemaOf(t, strings.Repeat("n", maxSchemaText)+" int64"))
	for want, rows := range map[string]*Rows{"that one message may have": many, "a schema of": long} {
		if _, _, err := new(RowsPacker).Pack(rows); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// Whichever single byte is damaged, the rows are refused or keep their invariants.
func TestPackedRowsDamaged(t *testing.T) {
	packed, _, err := new(RowsPacker).Pack(randomRows(newRand(), everyKind(), 9, shape{nulls: 0.3, distinct: 4}))
	if err != nil {
		t.Fatal(err)
	}
	var u RowsUnpacker
	for i := range packed {
		for flip := 1; flip < 256; flip++ {
			damaged := bytes.Clone(packed)
			damaged[i] ^= byte(flip)
			if r, err := u.Unpack(PackedColumns, damaged); err == nil {
				checkRows(t, r)
				grid(r)
			}
		}
	}
}

func BenchmarkPackRows(b *testing.B) {
	parts := smallParts()
	var packer RowsPacker
	i, plain, packed := 0, 0, 0
	for b.Loop() {
		out, size, err := packer.Pack(parts[i%len(parts)])
		if err != nil {
			b.Fatal(err)
		}
		plain, packed = plain+size, packed+len(out)
		i++
	}
	b.SetBytes(int64(plain / i))
	b.ReportMetric(float64(packed)/float64(plain), "packed/plain")
}

func BenchmarkUnpackRows(b *testing.B) {
	parts := smallParts()
	var packed [][]byte
	for _, p := range parts {
		out, _, err := new(RowsPacker).Pack(p)
		if err != nil {
			b.Fatal(err)
		}
		packed = append(packed, out)
	}
	var u RowsUnpacker
	i := 0
	for b.Loop() {
		if _, err := u.Unpack(PackedColumns, packed[i%len(packed)]); err != nil {
			b.Fatal(err)
		}
		i++
	}
	b.SetBytes(int64(cap(u.memory)))
}

func FuzzUnpackRows(f *testing.F) {
	for _, tc := range shapes {
		rows := randomRows(newRand(), everyKind(), min(tc.n, 20), tc.of)
		packed, _, err := new(RowsPacker).Pack(rows)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(PackedColumns, packed)
		f.Add(PackedS2, s2.Encode(nil, marshal(f, rows)))
	}
	f.Add(PackedColumns, []byte{})
	f.Add(PackedS2, []byte{})
	f.Fuzz(func(t *testing.T, packing string, b []byte) {
		rows, err := new(RowsUnpacker).Unpack(packing, b)
		if err != nil {
			return
		}
		checkRows(t, rows)
		packed, _, err := new(RowsPacker).Pack(rows)
		if err != nil {
			t.Fatal(err)
		}
		again, err := new(RowsUnpacker).Unpack(PackedColumns, packed)
		if err != nil {
			t.Fatalf("what was read cannot be packed and read again: %v", err)
		}
		checkSame(t, rows, again)
	})
}
