package encoding

import "encoding/binary"

// thriftKind is a value's type as thrift's compact protocol numbers it.
type thriftKind byte

const (
	thriftTrue   thriftKind = 1
	thriftFalse  thriftKind = 2
	thriftI32    thriftKind = 5
	thriftI64    thriftKind = 6
	thriftBinary thriftKind = 8
	thriftList   thriftKind = 9
	thriftStruct thriftKind = 12
)

// thriftBuffer writes structs in thrift's compact protocol, the form of
// Parquet's page headers and footer. Fields go in ascending order of their ids.
// The zero thriftBuffer is ready: it stands inside its outermost struct.
type thriftBuffer struct {
	b     []byte
	last  [8]int16 // the last field id of each open struct
	depth int
}

// reset forgets what was written and stands inside a new outermost struct.
func (t *thriftBuffer) reset() { t.b, t.depth, t.last[0] = t.b[:0], 0, 0 }

func (t *thriftBuffer) field(id int16, kind thriftKind) {
	if delta := id - t.last[t.depth]; delta > 0 && delta <= 15 {
		t.b = append(t.b, byte(delta)<<4|byte(kind))
	} else {
		t.b = binary.AppendVarint(append(t.b, byte(kind)), int64(id))
	}
	t.last[t.depth] = id
}

func (t *thriftBuffer) i32(id int16, v int32) {
	t.field(id, thriftI32)
	t.b = binary.AppendVarint(t.b, int64(v))
}

func (t *thriftBuffer) i64(id int16, v int64) {
	t.field(id, thriftI64)
	t.b = binary.AppendVarint(t.b, v)
}

func (t *thriftBuffer) boolean(id int16, v bool) {
	if v {
		t.field(id, thriftTrue)
	} else {
		t.field(id, thriftFalse)
	}
}

func (t *thriftBuffer) binary(id int16, v []byte) {
	t.field(id, thriftBinary)
	t.b = append(binary.AppendUvarint(t.b, uint64(len(v))), v...)
}

func (t *thriftBuffer) text(id int16, v string) {
	t.field(id, thriftBinary)
	t.element(v)
}

// element writes a text as an element of a list.
func (t *thriftBuffer) element(v string) {
	t.b = append(binary.AppendUvarint(t.b, uint64(len(v))), v...)
}

// number writes an i32 as an element of a list.
func (t *thriftBuffer) number(v int32) { t.b = binary.AppendVarint(t.b, int64(v)) }

// list begins a list of n elements, which the caller writes next.
func (t *thriftBuffer) list(id int16, kind thriftKind, n int) {
	t.field(id, thriftList)
	if n < 15 {
		t.b = append(t.b, byte(n)<<4|byte(kind))
		return
	}
	t.b = binary.AppendUvarint(append(t.b, 0xf0|byte(kind)), uint64(n))
}

// open begins a struct in a field; close ends it.
func (t *thriftBuffer) open(id int16) {
	t.field(id, thriftStruct)
	t.push()
}

// push begins a struct that is an element of a list; close ends it.
func (t *thriftBuffer) push() {
	t.depth++
	t.last[t.depth] = 0
}

func (t *thriftBuffer) close() {
	t.b = append(t.b, 0)
	t.depth--
}

// stop ends the outermost struct.
func (t *thriftBuffer) stop() { t.b = append(t.b, 0) }
