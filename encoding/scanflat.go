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
	views  *arrowViews
}

// arrowViews is how many arrays of views the messages of a stream bring, as its
// schema has it. Each takes as many buffers as the message says in a vector of
// its own, which the library reads without a look at its length.
type arrowViews struct {
	record     int64
	dictionary map[int64]int64 // by the dictionary's id
}

const (
	maxArrowFields = 1 << 16
	maxArrowDepth  = 64
)

// Field types that need a look.
const (
	arrowUnion      = 14
	arrowBinaryView = 23
	arrowStringView = 24
)

// Message header types.
const (
	arrowSchemaHeader     = 1
	arrowDictionaryHeader = 2
	arrowRecordHeader     = 3
)

// arrowBody is the length of the body that follows the metadata; ok is false
// when the metadata cannot be what it claims. A schema says in views what the
// messages after it bring.
func arrowBody(meta []byte, views *arrowViews) (n int64, ok bool) {
	m := &arrowMeta{b: meta, views: views}
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
		m.tables(header, 1, maxArrowDepth, &views.record)
		m.pairs(header, 2)
		m.vector(header, 3, 8)
	case arrowDictionaryHeader:
		if p, there := m.field(header, 1); there {
			m.batch(m.follow(p), views.dictionary[m.id(header)])
		}
	case arrowRecordHeader:
		m.batch(header, views.record)
	default:
		m.bad = true
	}
	return n, n >= 0 && !m.bad
}

// batch checks a RecordBatch table that holds so many arrays of views.
func (m *arrowMeta) batch(p, views int64) {
	m.vector(p, 1, 16)
	_, buffers := m.vector(p, 2, 16)
	start, n := m.vector(p, 4, 8)
	if start == 0 {
		return // to the library no view has buffers then
	}
	if n < views {
		m.bad = true
	}
	for j := int64(0); j < views && !m.bad; j++ {
		count := m.number(start+8*j, 8)
		if count > uint64(buffers) {
			m.bad = true
			return
		}
		buffers -= int64(count)
	}
}

// id is field 0, a number, of a DictionaryBatch or DictionaryEncoding.
func (m *arrowMeta) id(p int64) int64 {
	if at, there := m.field(p, 0); there {
		return int64(m.number(at, 8))
	}
	return 0
}

// tables checks a vector of Field tables, children included, and adds to views
// those that are arrays of views. Those of a dictionary come in its own messages.
func (m *arrowMeta) tables(p int64, i int, depth int, views *int64) {
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
		m.column(f, depth, views)
		m.pairs(f, 6)
	}
}

// column checks the types of a Field table and its children.
func (m *arrowMeta) column(f int64, depth int, views *int64) {
	if p, there := m.field(f, 4); there {
		id, inside := m.id(m.follow(p)), int64(0)
		views = &inside
		defer func() {
			if m.views.dictionary == nil {
				m.views.dictionary = make(map[int64]int64)
			}
			m.views.dictionary[id] = max(m.views.dictionary[id], inside)
		}()
	}
	kind := uint64(0)
	if p, there := m.field(f, 2); there {
		kind = m.number(p, 1)
	}
	switch kind {
	case arrowUnion: // alone has a vector in its type, of type ids
		if t, there := m.field(f, 3); there {
			m.vector(m.follow(t), 1, 4)
		}
	case arrowBinaryView, arrowStringView:
		*views++
	}
	m.tables(f, 5, depth-1, views)
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
