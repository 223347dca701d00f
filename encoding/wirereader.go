package encoding

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"
)

// UnmarshalRows reads what MarshalRows wrote; any bytes else give an error, and
// no more memory is taken than a small multiple of len(b). The rows may share
// b's memory: it must not be written to while they are in use. Proved are all
// bounds, the encoding of the text and the ranges of the values; taken on trust
// are that a dictionary holds no value twice and that JSONText is JSON.
func UnmarshalRows(b []byte) (*Rows, error) {
	r, err := unmarshalRows(b)
	if err != nil {
		return nil, fmt.Errorf("unmarshal rows: %w", err)
	}
	return r, nil
}

var (
	errTruncated = errors.New("the stream ends early")
	errMetadata  = errors.New("its metadata is damaged")
)

func unmarshalRows(b []byte) (*Rows, error) {
	if uintptr(unsafe.Pointer(unsafe.SliceData(b)))&7 != 0 {
		b = append(make([]byte, 0, len(b)), b...) // values are read where they lie
	}
	m, b, err := nextMessage(b, headerSchema)
	if err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	schema, ids, err := m.schema()
	if err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	dictionaries := make(map[int64]texts)
	for range ids {
		if m, b, err = nextMessage(b, headerDictionary); err != nil {
			return nil, fmt.Errorf("dictionary: %w", err)
		}
		id, values, err := m.dictionary()
		if err != nil {
			return nil, fmt.Errorf("dictionary %d: %w", id, err)
		}
		if _, twice := dictionaries[id]; twice {
			return nil, fmt.Errorf("dictionary %d stands twice", id)
		}
		dictionaries[id] = values
	}
	if m, b, err = nextMessage(b, headerRecord); err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	r, err := m.record(schema, ids, dictionaries)
	if err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	if len(b) != 8 || binary.LittleEndian.Uint64(b) != wireMark {
		return nil, errors.New("it does not end after its record")
	}
	return r, nil
}

// wireMessage is one message: its metadata, which is read with the bounds checked
// at every step (bad is set by the first step out of them, and what is read
// from then on is 0), and its body.
type wireMessage struct {
	meta   []byte
	body   []byte
	header int
	bad    bool
}

func nextMessage(b []byte, header byte) (*wireMessage, []byte, error) {
	if len(b) < 8 {
		return nil, nil, errTruncated
	}
	size := int64(binary.LittleEndian.Uint32(b[4:]))
	if binary.LittleEndian.Uint32(b) != wireMark || size == 0 || size%8 != 0 {
		return nil, nil, errMetadata
	}
	if b = b[8:]; size > int64(len(b)) {
		return nil, nil, errTruncated
	}
	m := &wireMessage{meta: b[:size]}
	b = b[size:]
	root := int(binary.LittleEndian.Uint32(m.meta))
	if got := m.u8(m.slot(root, 1)); got != header {
		return nil, nil, fmt.Errorf("the message is of kind %d, want %d", got, header)
	}
	if got := m.u16(m.slot(root, 0)); got != wireVersion {
		return nil, nil, fmt.Errorf("metadata version %d, want %d", got, wireVersion)
	}
	m.header = m.ref(m.slot(root, 2))
	body := m.i64(m.slot(root, 3))
	if m.bad || m.header == 0 || body < 0 || body%8 != 0 {
		return nil, nil, errMetadata
	}
	if body > int64(len(b)) {
		return nil, nil, errTruncated
	}
	m.body = b[:body]
	return m, b[body:], nil
}

func (m *wireMessage) at(at, size int) []byte {
	if at < 0 || at > len(m.meta)-size {
		m.bad = true
		return make([]byte, 8)
	}
	return m.meta[at : at+size]
}

// The scalars; a field that was left out (its place is 0) has its default, 0.
func (m *wireMessage) u8(at int) byte {
	if at == 0 {
		return 0
	}
	return m.at(at, 1)[0]
}

func (m *wireMessage) u16(at int) uint16 {
	if at == 0 {
		return 0
	}
	return binary.LittleEndian.Uint16(m.at(at, 2))
}

func (m *wireMessage) u32(at int) uint32 {
	if at == 0 {
		return 0
	}
	return binary.LittleEndian.Uint32(m.at(at, 4))
}

func (m *wireMessage) i64(at int) int64 {
	if at == 0 {
		return 0
	}
	return int64(binary.LittleEndian.Uint64(m.at(at, 8)))
}

// ref follows the reference in a field; one that was left out leads nowhere.
func (m *wireMessage) ref(at int) int {
	if at == 0 {
		m.bad = true
		return 0
	}
	off := int(binary.LittleEndian.Uint32(m.at(at, 4)))
	if off == 0 || off > len(m.meta) {
		m.bad = true
		return 0
	}
	return at + off
}

// slot is the place of a table's field, 0 when it was left out.
func (m *wireMessage) slot(table, slot int) int {
	vtable := table - int(int32(binary.LittleEndian.Uint32(m.at(table, 4))))
	size := int(binary.LittleEndian.Uint16(m.at(vtable, 2)))
	if m.bad || 6+2*slot > size {
		return 0
	}
	off := int(binary.LittleEndian.Uint16(m.at(vtable+4+2*slot, 2)))
	if off == 0 {
		return 0
	}
	return table + off
}

// list is where the elements of the field's vector start, and how many there
// are; none when the field was left out.
func (m *wireMessage) list(field, size int) (at, n int) {
	if field == 0 {
		return 0, 0
	}
	at = m.ref(field)
	n = int(binary.LittleEndian.Uint32(m.at(at, 4)))
	if m.bad || n > (len(m.meta)-at-4)/size {
		m.bad = true
		return 0, 0
	}
	return at + 4, n
}

func (m *wireMessage) text(field int) []byte {
	at, n := m.list(field, 1)
	return m.meta[at : at+n]
}

// schema reads the columns; ids holds the dictionary of each coded column, by
// the column's index.
func (m *wireMessage) schema() (*Schema, map[int]int64, error) {
	if m.u16(m.slot(m.header, 0)) != 0 {
		return nil, nil, errors.New("it is big-endian")
	}
	at, n := m.list(m.slot(m.header, 1), 4)
	if n > MaxColumns {
		return nil, nil, fmt.Errorf("%d columns: at most %d are taken", n, MaxColumns)
	}
	columns := make([]Column, n)
	ids := make(map[int]int64)
	names := 0
	for i := range columns {
		field := m.ref(at + 4*i)
		name := m.text(m.slot(field, 0))
		// Many fields can point to one long name: what is copied is bounded too.
		if names += len(name); names > len(m.meta) {
			return nil, nil, errMetadata
		}
		var err error
		if columns[i].Type, err = m.columnType(field); err != nil {
			return nil, nil, fmt.Errorf("column %d: %w", i+1, err)
		}
		columns[i].Name = string(name)
		if d := m.slot(field, 4); d != 0 {
			ids[i] = m.i64(m.slot(m.ref(d), 0))
		}
		if err := m.checkArrowType(field, columns[i].Type); err != nil {
			return nil, nil, fmt.Errorf("column %d: %w", i+1, err)
		}
	}
	if m.bad {
		return nil, nil, errMetadata
	}
	s, err := NewSchema(columns)
	return s, ids, err
}

// columnType is our type, from the field's metadata.
func (m *wireMessage) columnType(field int) (Type, error) {
	at, n := m.list(m.slot(field, 6), 4)
	if n != 1 {
		return Type{}, fmt.Errorf("it has %d metadata entries, want the one of our type", n)
	}
	kv := m.ref(at)
	key, value := m.text(m.slot(kv, 0)), m.text(m.slot(kv, 1))
	if m.bad || string(key) != typeKey || len(value) > 32 {
		return Type{}, errMetadata
	}
	return ParseType(string(value))
}

// checkArrowType refuses a field whose Arrow type is not the one that
// MarshalRows writes for our type: a stream never means two things.
func (m *wireMessage) checkArrowType(field int, t Type) error {
	kind, of := m.u8(m.slot(field, 2)), m.ref(m.slot(field, 3))
	ok := false
	switch t.Kind {
	case Int64:
		ok = kind == typeInt && m.u32(m.slot(of, 0)) == 64 && m.u8(m.slot(of, 1)) == 1
	case Float64:
		ok = kind == typeFloat && m.u16(m.slot(of, 0)) == 2
	case Decimal:
		bits := m.u32(m.slot(of, 2))
		ok = kind == typeDecimal && m.u32(m.slot(of, 0)) == uint32(t.Precision) &&
			m.u32(m.slot(of, 1)) == uint32(t.Scale) && (bits == 128 || bits == 0) // 128 is the default
	case Bool:
		ok = kind == typeBool
	case Date:
		unit := m.slot(of, 0) // the default is milliseconds
		ok = kind == typeDate && unit != 0 && m.u16(unit) == 0
	case Timestamp:
		ok = kind == typeTimestamp && m.u16(m.slot(of, 0)) == 2 && string(m.text(m.slot(of, 1))) == "UTC"
	default:
		ok = kind == typeUtf8
	}
	if d := m.slot(field, 4); d != 0 {
		index := m.slot(m.ref(d), 1) // left out: int32
		ok = ok && t.Kind.IsText() && (index == 0 || m.u32(m.slot(m.ref(index), 0)) == 32 && m.u8(m.slot(m.ref(index), 1)) == 1)
	}
	if m.bad {
		return errMetadata
	}
	if !ok {
		return fmt.Errorf("its arrow type is not that of %s", t)
	}
	return nil
}

func (m *wireMessage) dictionary() (id int64, values texts, err error) {
	id = m.i64(m.slot(m.header, 0))
	if m.u8(m.slot(m.header, 2)) != 0 {
		return id, texts{}, errors.New("it is a delta")
	}
	batch, err := m.batch(m.ref(m.slot(m.header, 1)))
	if err != nil {
		return id, texts{}, err
	}
	n, nulls := batch.column()
	batch.buffer()
	offsets, data := batch.buffer(), batch.buffer()
	if err := batch.end(); err != nil {
		return id, texts{}, err
	}
	if nulls != 0 || n != batch.rows {
		return id, texts{}, errors.New("it holds a null or not as many values as it says")
	}
	values, err = textsOf(offsets, data, n)
	return id, values, err
}

func (m *wireMessage) record(schema *Schema, ids map[int]int64, dictionaries map[int64]texts) (*Rows, error) {
	batch, err := m.batch(m.header)
	if err != nil {
		return nil, err
	}
	r := &Rows{schema: schema, n: batch.rows, vectors: make([]vector, schema.Len())}
	for i := range r.vectors {
		id, coded := ids[i]
		var dictionary texts
		if coded {
			var known bool
			if dictionary, known = dictionaries[id]; !known {
				return nil, fmt.Errorf("dictionary %d is missing", id)
			}
			delete(dictionaries, id) // it is one column's, so that each is read once
		}
		of := schema.Column(i)
		if r.vectors[i], err = batch.vector(of.Type, coded, dictionary); err != nil {
			return nil, fmt.Errorf("column %q: %w", of.Name, err)
		}
	}
	return r, batch.end()
}

// wireBatch walks the columns and buffers of a record batch.
type wireBatch struct {
	m             *wireMessage
	rows          int
	nodes, ncount int
	bufs, bcount  int
	next          int64 // where the next buffer may start: none is read twice
}

func (m *wireMessage) batch(table int) (*wireBatch, error) {
	b := &wireBatch{m: m}
	rows := m.i64(m.slot(table, 0))
	b.nodes, b.ncount = m.list(m.slot(table, 1), 16)
	b.bufs, b.bcount = m.list(m.slot(table, 2), 16)
	// No column is smaller than a bit per row.
	if m.bad || rows < 0 || rows > 8*int64(len(m.body)) {
		return nil, errMetadata
	}
	if m.slot(table, 3) != 0 {
		return nil, errors.New("it is compressed")
	}
	b.rows = int(rows)
	return b, nil
}

func (b *wireBatch) column() (rows, nulls int) {
	if b.ncount == 0 {
		b.m.bad = true
		return 0, 0
	}
	rows, nulls = int(b.m.i64(b.nodes)), int(b.m.i64(b.nodes+8))
	b.nodes, b.ncount = b.nodes+16, b.ncount-1
	return rows, nulls
}

func (b *wireBatch) buffer() []byte {
	if b.bcount == 0 {
		b.m.bad = true
		return nil
	}
	at, size := b.m.i64(b.bufs), b.m.i64(b.bufs+8)
	b.bufs, b.bcount = b.bufs+16, b.bcount-1
	if max := int64(len(b.m.body)); at < b.next || at%8 != 0 || size < 0 || at > max || size > max-at {
		b.m.bad = true
		return nil
	}
	b.next = at + size
	return b.m.body[at : at+size : at+size]
}

func (b *wireBatch) end() error {
	if b.m.bad || b.ncount != 0 || b.bcount != 0 {
		return errMetadata
	}
	return nil
}

func (b *wireBatch) vector(t Type, coded bool, dictionary texts) (v vector, err error) {
	n, nulls := b.column()
	valid := b.buffer()
	if b.m.bad || n != b.rows || nulls < 0 || nulls > n {
		return vector{}, errMetadata
	}
	if nulls > 0 {
		if v.valid, err = ofBytes[byte](valid, bitmapBytes(n)); err != nil {
			return vector{}, err
		}
		if v.nulls = n - countBits(v.valid, n); v.nulls != nulls {
			return vector{}, fmt.Errorf("it says %d nulls and has %d", nulls, v.nulls)
		}
	}
	values := b.buffer()
	if t.Kind.IsText() && !coded {
		v.text, err = textsOf(values, b.buffer(), n)
	} else {
		v.text = dictionary
		err = v.setFixed(t, values, n)
	}
	if err == nil && b.m.bad {
		err = errMetadata
	}
	if err != nil {
		return vector{}, err
	}
	return v, v.check(t, n)
}
