package encoding

import (
	"bytes"
	"strings"
	"testing"

	"github.com/klauspost/compress/s2"
)

// TestPackedRows packs rows of several shapes with one packer and unpacks them
// with one unpacker: what was there before has no say.
func TestPackedRows(t *testing.T) {
	var packer RowsPacker
	var unpacker RowsUnpacker
	for i, tc := range shapes {
		schema := everyKind()
		if i%3 == 2 {
			schema = schemaOf(t, "a string", "b string", "n int64")
		}
		rows := randomRows(newRand(), schema, tc.n, tc.of)
		packed, unpacked, err := packer.Pack(rows)
		if err != nil {
			t.Fatal(err)
		}
		if plain := marshal(t, rows); unpacked != len(plain) {
			t.Errorf("%s: %d bytes unpacked, want %d", tc.name, unpacked, len(plain))
		}
		got, err := unpacker.Unpack(packed)
		if err != nil {
			t.Fatal(err)
		}
		checkSame(t, rows, got)
	}
	part := smallParts()[0]
	if packed, unpacked, err := packer.Pack(part); err != nil || len(packed) > unpacked/2 {
		t.Errorf("%d rows: packed from %d to %d bytes, %v", part.Len(), unpacked, len(packed), err)
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
		if _, err := u.Unpack(packed[:n]); err == nil {
			t.Fatalf("the first %d of %d bytes: got no error", n, len(packed))
		}
	}
	bomb := s2.Encode(nil, make([]byte, maxUnpacked+1))
	if _, err := u.Unpack(bomb); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("%d bytes that unpack to %d: got %v", len(bomb), maxUnpacked+1, err)
	}
	if _, err := u.Unpack(packed); err != nil {
		t.Errorf("after the refusals: %v", err)
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
		if _, err := u.Unpack(packed[i%len(packed)]); err != nil {
			b.Fatal(err)
		}
		i++
	}
	b.SetBytes(int64(cap(u.stream)))
}

func FuzzUnpackRows(f *testing.F) {
	packed, _, err := new(RowsPacker).Pack(smallParts()[0])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(bytes.Clone(packed))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		rows, err := new(RowsUnpacker).Unpack(b)
		if err != nil {
			return
		}
		if _, _, err := new(RowsPacker).Pack(rows); err != nil {
			t.Error(err)
		}
	})
}
