package encoding

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
)

// parquetText gathers a group's texts: as codes into the distinct values, in
// the order in which they first appear, until those turn out too many; from
// then on, and for what came before, as values.
type parquetText struct {
	gaveUp  bool
	plain   []byte // with gaveUp, every value in the PLAIN encoding
	dict    []byte // else the distinct values, in the same encoding
	entries []parquetEntry
	codes   []uint32

	slots []parquetSlot // hash table over entries, open addressing
	mask  uint32
	epoch uint32 // marks the slots in use
}

// parquetEntry is a distinct value: where it begins in dict, and its hash.
type parquetEntry struct{ start, hash uint32 }

type parquetSlot struct{ epoch, hash, code uint32 }

// parquetRemap turns a vector's codes into those of the group: entry c is the
// code of c in the lower half when the upper half is the current epoch.
type parquetRemap struct {
	entries []uint64
	epoch   uint64
	seed    maphash.Seed // decides the order of slots, never of values
}

// begin makes room for n codes, all unknown.
func (r *parquetRemap) begin(n int) ([]uint64, uint64) {
	if r.epoch++; len(r.entries) < n || r.epoch>>32 != 0 {
		r.entries, r.epoch = make([]uint64, max(n, len(r.entries))), 1
	}
	return r.entries, r.epoch
}

func (t *parquetText) reset() {
	t.gaveUp = false
	t.plain, t.dict, t.entries, t.codes = t.plain[:0], t.dict[:0], t.entries[:0], t.codes[:0]
}

// append takes rows [from,to) of a vector; valid is nil when none is null.
func (t *parquetText) append(remap *parquetRemap, limits *parquetLimits, v *vector, valid []byte, from, to int) {
	if len(t.entries) == 0 && !t.gaveUp {
		t.clearSlots(min(to-from, v.text.len(), limits.dictionaryTrial))
	}
	switch {
	case t.gaveUp:
	case v.codes == nil:
		for ; from < to && !t.gaveUp; from++ {
			if valid == nil || bit(valid, from) {
				t.codes = append(t.codes, t.intern(remap.seed, limits, v.text.value(from)))
			}
		}
	default:
		known, epoch := remap.begin(v.text.len())
		for ; from < to && !t.gaveUp; from++ {
			if valid != nil && !bit(valid, from) {
				continue
			}
			code := v.codes[from]
			entry := known[code]
			if entry>>32 != epoch {
				entry = epoch<<32 | uint64(t.intern(remap.seed, limits, v.text.value(int(code))))
				known[code] = entry
			}
			t.codes = append(t.codes, uint32(entry))
		}
	}
	if !t.gaveUp {
		return
	}
	if len(t.codes) > 0 {
		t.giveUp()
	}
	for ; from < to; from++ {
		if valid == nil || bit(valid, from) {
			value := v.bytes(from)
			t.plain = append(binary.LittleEndian.AppendUint32(t.plain, uint32(len(value))), value...)
		}
	}
}

// intern finds or makes the code of a value that is about to be appended to
// codes. A new value may set gaveUp: when the dictionary is full, or when it
// is past its trial and hardly a value came twice.
func (t *parquetText) intern(seed maphash.Seed, limits *parquetLimits, value []byte) uint32 {
	hash := uint32(maphash.Bytes(seed, value))
	i := hash & t.mask
	for ; t.slots[i].epoch == t.epoch; i = (i + 1) & t.mask {
		if slot := &t.slots[i]; slot.hash == hash && string(t.value(slot.code)) == string(value) {
			return slot.code
		}
	}
	code := uint32(len(t.entries))
	t.slots[i] = parquetSlot{epoch: t.epoch, hash: hash, code: code}
	t.entries = append(t.entries, parquetEntry{start: uint32(len(t.dict)), hash: hash})
	t.dict = append(binary.LittleEndian.AppendUint32(t.dict, uint32(len(value))), value...)
	if len(t.dict) > limits.dictionaryBytes ||
		len(t.entries) > limits.dictionaryTrial && 32*len(t.entries) > 31*(len(t.codes)+1) {
		t.gaveUp = true
	} else if 2*len(t.entries) > int(t.mask) {
		t.growSlots()
	}
	return code
}

// value is a distinct value's text.
func (t *parquetText) value(code uint32) []byte {
	start := t.entries[code].start
	n := binary.LittleEndian.Uint32(t.dict[start:])
	return t.dict[start+4 : start+4+n]
}

// clearSlots makes an empty table for about n values.
func (t *parquetText) clearSlots(n int) {
	size := 64
	for size < 2*n {
		size *= 2
	}
	t.mask = uint32(size - 1)
	if t.epoch++; len(t.slots) < size {
		t.slots, t.epoch = make([]parquetSlot, size), 1
	} else if t.epoch == 0 {
		clear(t.slots)
		t.epoch = 1
	}
}

// growSlots doubles the table.
func (t *parquetText) growSlots() {
	t.clearSlots(int(t.mask + 1))
	for code, entry := range t.entries {
		i := entry.hash & t.mask
		for t.slots[i].epoch == t.epoch {
			i = (i + 1) & t.mask
		}
		t.slots[i] = parquetSlot{epoch: t.epoch, hash: entry.hash, code: uint32(code)}
	}
}

// giveUp turns codes into values.
func (t *parquetText) giveUp() {
	t.gaveUp = true
	for _, code := range t.codes {
		start := t.entries[code].start
		n := binary.LittleEndian.Uint32(t.dict[start:])
		t.plain = append(t.plain, t.dict[start:start+4+n]...)
	}
	t.codes, t.entries, t.dict = t.codes[:0], t.entries[:0], t.dict[:0]
}

// settle decides between dictionary and values once the group is complete.
func (t *parquetText) settle() {
	if t.gaveUp || len(t.codes) == 0 {
		return
	}
	var size int64
	for _, code := range t.codes {
		end := uint32(len(t.dict))
		if int(code)+1 < len(t.entries) {
			end = t.entries[code+1].start
		}
		size += int64(end - t.entries[code].start)
	}
	if !parquetDictionaryPays(len(t.dict), len(t.entries), len(t.codes), size) {
		t.giveUp()
	}
}

// bounds are the least and the greatest text by their bytes.
func (t *parquetText) bounds() (low, high []byte) {
	b := t.dict
	if t.gaveUp {
		b = t.plain
	}
	for len(b) > 0 {
		n := 4 + int(binary.LittleEndian.Uint32(b))
		switch value := b[4:n]; {
		case low == nil:
			low, high = value, value
		case string(value) < string(low):
			low = value
		case string(value) > string(high):
			high = value
		}
		b = b[n:]
	}
	return low, high
}

func (t *parquetText) retained() int {
	return cap(t.plain) + cap(t.dict) + 8*cap(t.entries) + 4*cap(t.codes) + 12*cap(t.slots)
}

// parquetDictionaryPays weighs a dictionary of so many bytes and entries, with
// codes for n values, against those values' size. A close call goes to plain
// values: they compress better than codes do, and read faster.
func parquetDictionaryPays(dictionary, entries, n int, size int64) bool {
	codes := int64(n) * int64(bits.Len(uint(entries-1))) / 8
	return int64(dictionary)+codes < size-size/8
}

// parquetTextBytes is the length of the texts of rows [from,to).
func parquetTextBytes(v *vector, from, to int) int64 {
	var n int64
	offsets := v.text.offsets
	switch {
	case v.nulls == 0 && v.codes == nil:
		n = int64(offsets[to] - offsets[from])
	case v.nulls == 0:
		for _, code := range v.codes[from:to] {
			n += int64(offsets[code+1] - offsets[code])
		}
	default:
		for i := from; i < to; i++ {
			if bit(v.valid, i) {
				n += int64(len(v.bytes(i)))
			}
		}
	}
	return n
}
