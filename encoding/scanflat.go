package encoding

import "encoding/binary"

// arrowMeta is a message's metadata: FlatBuffers, whose lengths and offsets the
// Arrow library takes on trust and allocates by. A process that is made to
// allocate terabytes dies of it, which no recover prevents; so every vector that
// the library sizes something by is checked against the bytes that are there.
// (Arrow's Message.fbs and Schema.fbs number the fields used here.)
type arrowMeta struct {
	b      []byte
	fields int // schema fields met
	bad    bool
}

const (
	maxArrowFields = 1 << 16
	maxArrowDepth  = 64
)

// Message header types.
const (
	arrowSchemaHeader     = 1
	arrowDictionaryHeader = 2
	arrowRecordHeader     = 3
)

// arrowBody is the length of the body that follows the metadata; ok is false
// when the metadata cannot be what it claims.
func arrowBody(meta []byte) (n int64, ok bool) {
	m := &arrowMeta{b: meta}
	root := m.follow(0)
	if p, there := m.field(root, 3); there {
		n = int64(m.number(p, 8))
	}
	var kind uint64
	if p, there := m.field(root, 1); there {
		kind = m.number(p, 1)
	}
	m.pairs(root, 4)
	header, there := m.field(root, 2)
	if !there {
		return 0, false
	}
	header = m.follow(header)
	switch kind {
	case arrowSchemaHeader:
		m.tables(header, 1, maxArrowDepth)
		m.pairs(header, 2)
		m.vector(header, 3, 8)
	case arrowDictionaryHeader:
		if p, there := m.field(header, 1); there {
			m.batch(m.follow(p))
		}
	case arrowRecordHeader:
		m.batch(header)
	default:
		m.bad = true
	}
	return n, n >= 0 && !m.bad
}

// batch checks a RecordBatch table.
func (m *arrowMeta) batch(p int64) {
	m.vector(p, 1, 16)
	m.vector(p, 2, 16)
	m.vector(p, 4, 8)
}

// tables checks a vector of Field tables, children included.
func (m *arrowMeta) tables(p int64, i int, depth int) {
	start, n := m.vector(p, i, 4)
	if depth == 0 && n > 0 {
		m.bad = true
	}
	for j := int64(0); j < n && !m.bad; j++ {
		if m.fields++; m.fields > maxArrowFields {
			m.bad = true
			return
		}
		f := m.follow(start + 4*j)
		m.vector(f, 0, 1)
		if t, there := m.field(f, 3); there {
			// Only unions have a vector in their type, of type ids.
			if kind, is := m.field(f, 2); is && m.number(kind, 1) == 14 {
				m.vector(m.follow(t), 1, 4)
			}
		}
		m.tables(f, 5, depth-1)
		m.pairs(f, 6)
	}
}

// pairs checks a vector of KeyValue tables.
func (m *arrowMeta) pairs(p int64, i int) {
	start, n := m.vector(p, i, 4)
	for j := int64(0); j < n && !m.bad; j++ {
		kv := m.follow(start + 4*j)
		m.vector(kv, 0, 1)
		m.vector(kv, 1, 1)
	}
}

// number reads size bytes at p.
func (m *arrowMeta) number(p, size int64) uint64 {
	if m.bad || p < 0 || p > int64(len(m.b))-size {
		m.bad = true
		return 0
	}
	var w [8]byte
	copy(w[:], m.b[p:p+size])
	return binary.LittleEndian.Uint64(w[:])
}

// follow resolves the offset at p.
func (m *arrowMeta) follow(p int64) int64 { return p + int64(m.number(p, 4)) }

// field is where field i of the table at p stands, if the table has it.
func (m *arrowMeta) field(p int64, i int) (at int64, there bool) {
	vtable := p - int64(int32(m.number(p, 4)))
	slot := int64(4 + 2*i)
	if int64(m.number(vtable, 2)) <= slot {
		return 0, false
	}
	offset := int64(m.number(vtable+slot, 2))
	return p + offset, offset != 0 && !m.bad
}

// vector checks that the elements of field i of the table at p are there.
func (m *arrowMeta) vector(p int64, i int, size int64) (start, n int64) {
	at, there := m.field(p, i)
	if !there {
		return 0, 0
	}
	at = m.follow(at)
	n = int64(m.number(at, 4))
	if n*size > int64(len(m.b))-at-4 {
		m.bad = true
		return 0, 0
	}
	return at + 4, n
}
