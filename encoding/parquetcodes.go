package encoding

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// parquetNumbers finds the distinct values of a column of numbers.
type parquetNumbers struct {
	codes    []uint32 // one per value, into distinct
	distinct []int64  // in the order in which they first appear

	direct []uint64 // codes of small ranges: epoch in the upper half, as in parquetRemap
	slots  []parquetNumberSlot
	epoch  uint32
	seed   uint64 // decides the order of slots, never of values
}

type parquetNumberSlot struct {
	value int64
	epoch uint32
	code  uint32
}

// parquetDirectRange is the widest range of integers that is looked up without
// hashing.
const parquetDirectRange = 4 << 10

// dictionary makes codes of the column's values, if a dictionary pays. A trial
// ends early, as it does for texts, when most values are new.
func (d *parquetNumbers) dictionary(c *parquetColumn, limits *parquetLimits) ([]int64, bool) {
	values := c.values
	for i, high := range c.high {
		if high != values[i]>>63 {
			return nil, false
		}
	}
	most := min(limits.dictionaryBytes/c.width, len(values)-len(values)/8)
	d.codes, d.distinct = slices.Grow(d.codes[:0], len(values)), d.distinct[:0]
	if d.epoch++; d.epoch == 0 {
		clear(d.direct)
		clear(d.slots)
		d.epoch = 1
	}
	direct, low := false, int64(0)
	if c.physical != parquetDouble {
		var high int64
		low, high = parquetRange(values)
		direct = uint64(high-low) < parquetDirectRange
	}
	var ok bool
	if direct {
		ok = d.lookUp(values, low, most, limits.dictionaryTrial)
	} else {
		ok = d.hash(values, most, limits.dictionaryTrial)
	}
	size := c.width * len(values)
	return d.distinct, ok && parquetDictionaryPays(c.width*len(d.distinct), len(d.distinct), len(values), int64(size))
}

// lookUp makes codes of integers that are within parquetDirectRange of low.
func (d *parquetNumbers) lookUp(values []int64, low int64, most, trial int) bool {
	if d.direct == nil {
		d.direct = make([]uint64, parquetDirectRange)
	}
	epoch := uint64(d.epoch)
	for _, v := range values {
		entry := d.direct[v-low]
		if entry>>32 != epoch {
			entry = epoch<<32 | uint64(len(d.distinct))
			d.direct[v-low] = entry
			if d.distinct = append(d.distinct, v); d.hopeless(most, trial) {
				return false
			}
		}
		d.codes = append(d.codes, uint32(entry))
	}
	return true
}

// hash makes codes of any values.
func (d *parquetNumbers) hash(values []int64, most, trial int) bool {
	size := 64
	for size < 2*min(len(values), most+1) {
		size *= 2
	}
	if len(d.slots) < size {
		d.slots = make([]parquetNumberSlot, size)
	}
	mask := uint32(size - 1)
	for _, v := range values {
		hi, lo := bits.Mul64(uint64(v)^d.seed, 0xd6e8feb86659fd93)
		i := uint32(hi^lo) & mask
		for d.slots[i].epoch == d.epoch && d.slots[i].value != v {
			i = (i + 1) & mask
		}
		slot := &d.slots[i]
		if slot.epoch != d.epoch {
			*slot = parquetNumberSlot{value: v, epoch: d.epoch, code: uint32(len(d.distinct))}
			if d.distinct = append(d.distinct, v); d.hopeless(most, trial) {
				return false
			}
		}
		d.codes = append(d.codes, slot.code)
	}
	return true
}

// hopeless reports, upon a new value, that a dictionary will not pay.
func (d *parquetNumbers) hopeless(most, trial int) bool {
	n := len(d.distinct)
	return n > most || n > trial && 32*n > 31*(len(d.codes)+1)
}

func (d *parquetNumbers) retained() int {
	return 4*cap(d.codes) + 8*cap(d.distinct) + 8*cap(d.direct) + 16*cap(d.slots)
}

// parquetRunLength is from how many equal codes on a run is worth its header.
const parquetRunLength = 16

// appendParquetCodes appends codes of so many bits in the hybrid of runs and
// packed groups of eight.
func appendParquetCodes(b []byte, codes []uint32, width int) []byte {
	if len(codes) == 0 {
		return b
	}
	changes := 0
	for i := 1; i < len(codes); i++ {
		if codes[i] != codes[i-1] {
			changes++
		}
	}
	if changes > 0 && changes >= len(codes)/parquetRunLength {
		return appendParquetPacked(b, codes, width) // no run to speak of
	}
	packed := 0 // codes before i that are not written yet begin here
	for i := 0; i < len(codes); {
		end := i + 1
		for end < len(codes) && codes[end] == codes[i] {
			end++
		}
		pad := -(i - packed) & 7 // packed groups are whole, so they take the run's first
		if end-i >= pad+parquetRunLength || packed == i && end == len(codes) {
			b = appendParquetPacked(b, codes[packed:i+pad], width)
			b = binary.AppendUvarint(b, uint64(end-i-pad)<<1)
			for code, n := codes[i], 0; n < width; n += 8 {
				b = append(b, byte(code>>n))
			}
			packed = end
		}
		i = end
	}
	return appendParquetPacked(b, codes[packed:], width)
}

// appendParquetPacked appends one run of packed codes, least significant bit
// first; the last group of eight is filled up with zeros.
func appendParquetPacked(b []byte, codes []uint32, width int) []byte {
	if len(codes) == 0 {
		return b
	}
	groups := (len(codes) + 7) / 8
	b = binary.AppendUvarint(b, uint64(groups)<<1|1)
	n := len(b)
	b = slices.Grow(b, groups*width+16)[:n+groups*width+16] // the last words may write past the end
	at := b[n:]
	for ; len(codes) >= 8; codes = codes[8:] {
		packParquetGroup(at, (*[8]uint32)(codes), width)
		at = at[width:]
	}
	if len(codes) > 0 {
		var last [8]uint32
		copy(last[:], codes)
		packParquetGroup(at, &last, width)
	}
	return b[:n+groups*width]
}

// packParquetGroup packs eight codes into width bytes; up to 7 bytes beyond
// are overwritten.
func packParquetGroup(at []byte, c *[8]uint32, width int) {
	w := uint(width)
	if w <= 8 {
		v := uint64(c[0]) | uint64(c[1])<<w | uint64(c[2])<<(2*w) | uint64(c[3])<<(3*w) |
			uint64(c[4])<<(4*w) | uint64(c[5])<<(5*w) | uint64(c[6])<<(6*w) | uint64(c[7])<<(7*w)
		binary.LittleEndian.PutUint64(at, v)
		return
	}
	var word uint64
	filled := uint(0)
	for _, code := range c {
		word |= uint64(code) << filled
		if filled += w; filled >= 32 {
			binary.LittleEndian.PutUint32(at, uint32(word))
			at, word, filled = at[4:], word>>32, filled-32
		}
	}
	binary.LittleEndian.PutUint32(at, uint32(word))
}
