package encoding

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// appendRun appends a run of numbers: the least as a varint, a byte that says how
// many bytes each takes, and of each what it is more than the least.
func appendRun[T int32 | int64](b []byte, run []T) []byte {
	if len(run) == 0 {
		return append(b, 0, 0)
	}
	least, most := run[0], run[0]
	for _, n := range run {
		least, most = min(least, n), max(most, n)
	}
	width := (bits.Len64(uint64(most)-uint64(least)) + 7) / 8
	b = append(binary.AppendVarint(b, int64(least)), byte(width))
	at := len(b)
	b = slices.Grow(b, width*len(run)+8)
	switch tail := b[at : at+width*len(run)+8]; width {
	case 0:
	case 1:
		tail = tail[:len(run)]
		for i, n := range run {
			tail[i] = byte(n - least)
		}
	default:
		// Eight bytes at a time, of which the next number overwrites what is too many.
		for _, n := range run {
			binary.LittleEndian.PutUint64(tail, uint64(n)-uint64(least))
			tail = tail[width:]
		}
	}
	return b[:at+width*len(run)]
}

// runReader reads runs off b; bad is set by the first number that is none.
type runReader struct {
	b   []byte
	bad bool
}

// length reads a uvarint that some memory could have so many bytes of.
func (r *runReader) length() int {
	n, size := binary.Uvarint(r.b)
	if size <= 0 || n > maxUnpacked {
		r.bad = true
		return 0
	}
	r.b = r.b[size:]
	return int(n)
}

// readRun reads a run into out.
func readRun[T int32 | int64](r *runReader, out []T) error {
	least, size := binary.Varint(r.b)
	if size <= 0 || len(r.b) == size {
		return errPacked
	}
	width, b := int(r.b[size]), r.b[size+1:]
	if width > 8 || len(out)*width > len(b) {
		return errPacked
	}
	b, r.b = b[:len(out)*width], b[len(out)*width:]
	start := uint64(least)
	switch width {
	case 0:
		for i := range out {
			out[i] = T(start)
		}
	case 1:
		b = b[:len(out)]
		for i := range out {
			out[i] = T(start + uint64(b[i]))
		}
	case 2:
		for i := range out {
			out[i] = T(start + uint64(binary.LittleEndian.Uint16(b[2*i:])))
		}
	default:
		mask := ^uint64(0) >> (64 - 8*width)
		i := 0
		for ; width*i+8 <= len(b); i++ {
			out[i] = T(start + binary.LittleEndian.Uint64(b[width*i:])&mask)
		}
		var last [8]byte
		for ; i < len(out); i++ {
			copy(last[:], b[width*i:])
			out[i] = T(start + binary.LittleEndian.Uint64(last[:])&mask)
		}
	}
	return nil
}
