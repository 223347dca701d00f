package encoding

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
)

// dictionary numbers distinct texts in the order of their first appearance.
// It is an open-addressing table whose slots hold short texts whole and long
// texts by hash and length, so that most look-ups touch one cache line.
type dictionary struct {
	slots []dictionarySlot // a power of two, at most half full
	seed  [2]uint64        // drawn per dictionary: nobody outside can aim at one bucket
	text  texts
}

// dictionarySlot is 16 bytes. key is the text itself when size <= 8, else its
// hash. code is one more than the text's number; 0 marks an empty slot.
type dictionarySlot struct {
	key  uint64
	code int32
	size int32
}

const smallestDictionary = 256

func newDictionary() dictionary {
	return dictionary{
		slots: make([]dictionarySlot, smallestDictionary),
		seed:  [2]uint64{rand.Uint64() | 1, rand.Uint64() | 1},
	}
}

// find returns the number of v, or -1 and the slot and key under which add
// would store it.
func (d *dictionary) find(v []byte) (code int32, slot int, key uint64) {
	key, h := d.hash(v)
	mask := uint64(len(d.slots) - 1)
	for i := h & mask; ; i = (i + 1) & mask {
		s := &d.slots[i]
		if s.key == key && int(s.size) == len(v) && s.code != 0 {
			if len(v) <= 8 || string(d.text.value(int(s.code-1))) == string(v) {
				return s.code - 1, int(i), key
			}
		}
		if s.code == 0 {
			return -1, int(i), key
		}
	}
}

// add stores v under the slot and key that find has just returned for it.
func (d *dictionary) add(v []byte, slot int, key uint64) int32 {
	d.text.add(v)
	n := d.text.len()
	d.slots[slot] = dictionarySlot{key: key, code: int32(n), size: int32(len(v))}
	if 2*n > len(d.slots) {
		d.grow()
	}
	return int32(n - 1)
}

// pop forgets the text added last. No text was stored after it, so no other
// text's way through the table leads over its slot.
func (d *dictionary) pop() {
	last := d.text.len() - 1
	v := d.text.value(last)
	_, slot, _ := d.find(v)
	d.slots[slot] = dictionarySlot{}
	d.text.data = d.text.data[:len(d.text.data)-len(v)]
	d.text.offsets = d.text.offsets[:last+1]
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

func (d *dictionary) grow() {
	old := d.slots
	d.slots = make([]dictionarySlot, 4*len(old))
	mask := uint64(len(d.slots) - 1)
	for _, s := range old {
		if s.code == 0 {
			continue
		}
		h := s.key
		if s.size <= 8 {
			h = d.spread(s.key, s.size)
		}
		i := h & mask
		for d.slots[i].code != 0 {
			i = (i + 1) & mask
		}
		d.slots[i] = s
	}
}

// hash returns the slot key of v and where the search for it begins.
func (d *dictionary) hash(v []byte) (key, h uint64) {
	n := len(v)
	if n <= 8 {
		key = load8(v)
		return key, d.spread(key, int32(n))
	}
	a, b := d.seed[0], d.seed[1]^uint64(n)
	rest := v
	for len(rest) > 16 {
		a = mum(binary.LittleEndian.Uint64(rest)^a, binary.LittleEndian.Uint64(rest[8:])^b)
		rest = rest[16:]
	}
	a = mum(binary.LittleEndian.Uint64(v[max(n-16, 0):])^a, binary.LittleEndian.Uint64(v[n-8:])^b)
	a = mum(a^d.seed[1], b^0x9e3779b97f4a7c15)
	return a, a
}

func (d *dictionary) spread(key uint64, size int32) uint64 {
	return mum(key^d.seed[0], uint64(size)^d.seed[1])
}

// load8 reads up to 8 bytes as a number; what stands behind v in its memory
// does not count.
func load8(v []byte) uint64 {
	n := len(v)
	if cap(v) >= 8 {
		return binary.LittleEndian.Uint64(v[:8]) & (1<<(8*uint(n)) - 1)
	}
	var w uint64
	for i := n - 1; i >= 0; i-- {
		w = w<<8 | uint64(v[i])
	}
	return w
}

func mum(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}
