package encoding

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
)

// dictionary numbers distinct texts in the order of their first appearance.
// It is an open-addressing table whose slots hold texts of up to 16 bytes whole
// and longer ones by hash, so that most look-ups touch one cache line.
type dictionary struct {
	slots []dictionarySlot // a power of two, at most half full
	seed  [2]uint64        // drawn per dictionary: nobody outside can aim at one bucket
	text  texts
}

// dictionarySlot is half a cache line. Of a text of up to 16 bytes, a and b hold
// its first and last 8 bytes; of a longer one its hash and first 8 bytes.
type dictionarySlot struct {
	a, b   uint64
	hash   uint32 // where the search for it begins
	size   uint32
	offset int32 // of the text in the dictionary's bytes
	code   int32 // one more than the text's number; 0 marks an empty slot
}

const smallestDictionary = 256

func newDictionary() dictionary {
	return dictionary{
		slots: make([]dictionarySlot, smallestDictionary),
		seed:  [2]uint64{rand.Uint64() | 1, rand.Uint64() | 1},
	}
}

// find returns the number of v, or -1.
func (d *dictionary) find(v []byte) int32 {
	var a, b, h uint64
	n := len(v)
	if n <= 16 {
		a, b = ends(v)
		h = d.short(a, b, n)
	} else {
		a, b = d.long(v)
		h = a
	}
	mask := uint32(len(d.slots) - 1)
	for i := uint32(h) & mask; ; i = (i + 1) & mask {
		s := &d.slots[i&uint32(len(d.slots)-1)]
		if s.a == a && s.b == b && s.size == uint32(n) && s.code != 0 {
			if n <= 16 || string(d.text.data[s.offset:int(s.offset)+n]) == string(v) {
				return s.code - 1
			}
		}
		if s.code == 0 {
			return -1
		}
	}
}

// add numbers v, which find has not found.
func (d *dictionary) add(v []byte) int32 {
	d.text.add(v)
	n := d.text.len()
	d.enter(n)
	return int32(n - 1)
}

// enter makes the n-th text, counted from 1, one that find finds.
func (d *dictionary) enter(n int) {
	v := d.text.value(n - 1)
	s := dictionarySlot{hash: d.hash(v), size: uint32(len(v)), offset: d.text.offsets[n-1], code: int32(n)}
	if len(v) <= 16 {
		s.a, s.b = ends(v)
	} else {
		s.a, s.b = d.long(v)
	}
	d.place(s)
	if 2*n > len(d.slots) {
		old := d.slots
		d.slots = make([]dictionarySlot, 2*len(old))
		for _, s := range old {
			if s.code != 0 {
				d.place(s)
			}
		}
	}
}

func (d *dictionary) place(s dictionarySlot) {
	mask := uint32(len(d.slots) - 1)
	i := s.hash & mask
	for d.slots[i].code != 0 {
		i = (i + 1) & mask
	}
	d.slots[i] = s
}

// pop forgets the text added last and closes the gap that it leaves in the
// ways of the texts behind it.
func (d *dictionary) pop() {
	last := int32(d.text.len())
	v := d.text.value(int(last) - 1)
	mask := uint32(len(d.slots) - 1)
	gap := d.hash(v) & mask
	for d.slots[gap].code != last {
		gap = (gap + 1) & mask
	}
	for i := (gap + 1) & mask; d.slots[i].code != 0; i = (i + 1) & mask {
		if home := d.slots[i].hash & mask; (i-home)&mask >= (i-gap)&mask {
			d.slots[gap], gap = d.slots[i], i
		}
	}
	d.slots[gap] = dictionarySlot{}
	d.text.data = d.text.data[:len(d.text.data)-len(v)]
	d.text.offsets = d.text.offsets[:last]
}

// reset forgets every text. Unless recycle is true, the memory of the texts
// belongs to whoever took them.
func (d *dictionary) reset(recycle bool) {
	used := d.text.len()
	if n := len(d.slots); n > smallestDictionary && n > 16*used {
		d.slots = make([]dictionarySlot, smallestDictionary)
	} else {
		clear(d.slots)
	}
	if recycle {
		d.text.offsets, d.text.data = d.text.offsets[:0], d.text.data[:0]
	} else {
		d.text = texts{}
	}
}

// hash is where the search for v begins.
func (d *dictionary) hash(v []byte) uint32 {
	if len(v) <= 16 {
		a, b := ends(v)
		return uint32(d.short(a, b, len(v)))
	}
	h, _ := d.long(v)
	return uint32(h)
}

func (d *dictionary) short(a, b uint64, size int) uint64 {
	return mum(a^d.seed[0], b^d.seed[1]^uint64(size)<<56)
}

// long is the hash of a text of more than 16 bytes, and its first 8.
func (d *dictionary) long(v []byte) (hash, first uint64) {
	n := len(v)
	a, b := d.seed[0], d.seed[1]^uint64(n)
	rest := v
	for len(rest) > 16 {
		a = mum(binary.LittleEndian.Uint64(rest)^a, binary.LittleEndian.Uint64(rest[8:])^b)
		rest = rest[16:]
	}
	tail := v[n-16:]
	a = mum(binary.LittleEndian.Uint64(tail)^a, binary.LittleEndian.Uint64(tail[8:])^b)
	return mum(a^d.seed[1], b^0x9e3779b97f4a7c15), binary.LittleEndian.Uint64(v)
}

// ends are the first and the last 8 of up to 16 bytes; of up to 8 bytes they
// are all and none. What stands behind v in its memory does not count.
func ends(v []byte) (first, last uint64) {
	n := len(v)
	if n > 8 {
		return binary.LittleEndian.Uint64(v), binary.LittleEndian.Uint64(v[n-8:])
	}
	if cap(v) >= 8 {
		return binary.LittleEndian.Uint64(v[:8]) & (1<<(8*uint(n)) - 1), 0
	}
	for i := n - 1; i >= 0; i-- {
		first = first<<8 | uint64(v[i])
	}
	return first, 0
}

func mum(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}
