package encoding

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// readParquetCodes decodes n codes bit by bit, as the format describes them.
func readParquetCodes(t *testing.T, b []byte, n, width int) []uint32 {
	t.Helper()
	var codes []uint32
	for len(codes) < n {
		header, size := binary.Uvarint(b)
		if size <= 0 {
			t.Fatalf("%d codes, then no run", len(codes))
		}
		b = b[size:]
		if header&1 == 0 {
			var code uint32
			for i := range (width + 7) / 8 {
				code |= uint32(b[i]) << (8 * i)
			}
			codes = append(codes, slices.Repeat([]uint32{code}, int(header>>1))...)
			b = b[(width+7)/8:]
			continue
		}
		for i := range int(header>>1) * 8 {
			var code uint32
			for j := range width {
				if bit(b, i*width+j) {
					code |= 1 << j
				}
			}
			codes = append(codes, code)
		}
		b = b[int(header>>1)*width:]
	}
	if len(b) > 0 {
		t.Fatalf("%d bytes are left", len(b))
	}
	for _, code := range codes[n:] {
		if code != 0 {
			t.Fatalf("the last group is filled up with %d", code)
		}
	}
	return codes[:n]
}

func TestParquetCodes(t *testing.T) {
	rng := rand.New(rand.NewPCG(17, 18))
	for width := 1; width <= 24; width++ {
		for _, runs := range []int{1, 3, 20, 200} {
			t.Run(fmt.Sprintf("%d bits, runs up to %d", width, runs), func(t *testing.T) {
				for range 20 {
					var codes []uint32
					for len(codes) < 300 {
						codes = append(codes, slices.Repeat([]uint32{rng.Uint32N(1 << width)}, 1+rng.IntN(runs))...)
					}
					codes = codes[:1+rng.IntN(len(codes))]
					got := readParquetCodes(t, appendParquetCodes(nil, codes, width), len(codes), width)
					if !slices.Equal(got, codes) {
						t.Fatalf("got %v, want %v", got, codes)
					}
				}
			})
		}
	}
}

func TestParquetRunsAreShort(t *testing.T) {
	codes := append(slices.Repeat([]uint32{5}, 10000), slices.Repeat([]uint32{6}, 10000)...)
	if n := len(appendParquetCodes(nil, codes, 3)); n > 12 {
		t.Errorf("two runs take %d bytes", n)
	}
}

func TestParquetBits(t *testing.T) {
	rng := rand.New(rand.NewPCG(19, 20))
	src := make([]byte, 40)
	for i := range src {
		src[i] = byte(rng.Uint32())
	}
	for range 2000 {
		size, from := rng.IntN(30), rng.IntN(100)
		n := rng.IntN(8*len(src) - from + 1)
		dst := appendParquetOnes(nil, 0, size)
		got := appendParquetBits(dst, size, src, from, n)
		ones := 0
		for i := range n {
			if bit(got, size+i) != bit(src, from+i) {
				t.Fatalf("%d bits from %d on behind %d: bit %d differs", n, from, size, i)
			}
			if bit(src, from+i) {
				ones++
			}
		}
		if len(got) != bitmapBytes(size+n) || countBits(got, 8*len(got)) != size+ones {
			t.Fatalf("%d bits from %d on behind %d: bits beyond the end", n, from, size)
		}
		if c := countParquetBits(src, from, n); c != ones {
			t.Fatalf("counted %d of %d bits", c, ones)
		}
	}
}
