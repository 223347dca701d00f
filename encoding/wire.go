package encoding

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// An Arrow IPC stream is a schema message, a dictionary batch per coded column,
// a record batch and an end mark. A message is a mark, the length of its
// metadata, the metadata (a flatbuffer) and a body of buffers; each starts at a
// multiple of 8 bytes. Both directions are written out here because the
// library's writer takes longer over the metadata of a small part than an
// encoder over its file, and because its reader trusts the counts it reads: a
// few hostile bytes make it reserve any amount of memory. The tests hold both
// against the library.
const (
	wireMark    = 0xFFFFFFFF
	wireVersion = 4 // MetadataVersion V5

	headerSchema     = 1
	headerDictionary = 2
	headerRecord     = 3

	typeInt       = 2
	typeFloat     = 3
	typeUtf8      = 5
	typeBool      = 6
	typeDecimal   = 7
	typeDate      = 8
	typeTimestamp = 10
)

// MarshalRows writes the rows as one Arrow IPC stream that describes itself:
// the record that Arrow gives, its dictionaries and its schema, our types in
// the metadata. Equal rows in equal layout give equal bytes. It fails when the
// names of the columns are too long for one message (2 GiB).
func MarshalRows(rows *Rows) ([]byte, error) {
	w := wireWriter{b: make([]byte, 0, wireSize(rows))}
	w.schema(rows)
	id := int64(0)
	for i := range rows.vectors {
		if v := &rows.vectors[i]; v.codes != nil {
			w.dictionary(id, v.text)
			id++
		}
	}
	w.record(rows)
	w.u32(wireMark)
	w.u32(0)
	return w.b, w.err
}

// wireSize is at least what MarshalRows writes, and not much more.
func wireSize(rows *Rows) int {
	size := 1024 + int(rows.Size())
	for i := range rows.vectors {
		size += 400 + len(rows.schema.columns[i].Name)
		if rows.vectors[i].codes != nil {
			size += 300
		}
	}
	return size
}

// wireWriter appends messages to b. Its flatbuffers are written front to back:
// a table's references are filled in once what they refer to has been written
// behind it, as a reference can only point forward.
type wireWriter struct {
	b   []byte
	err error
}

func (w *wireWriter) u32(v uint32) { w.b = binary.LittleEndian.AppendUint32(w.b, v) }
func (w *wireWriter) put16(at int, v uint16) {
	binary.LittleEndian.PutUint16(w.b[at:], v)
}
func (w *wireWriter) put32(at int, v uint32) { binary.LittleEndian.PutUint32(w.b[at:], v) }
func (w *wireWriter) put64(at int, v uint64) { binary.LittleEndian.PutUint64(w.b[at:], v) }

// zeros appends n bytes and returns where they start.
func (w *wireWriter) zeros(n int) int {
	at := len(w.b)
	w.b = slices.Grow(w.b, n)[:at+n]
	clear(w.b[at:])
	return at
}

func (w *wireWriter) align(n int) { w.zeros(-len(w.b) & (n - 1)) }

// link makes the reference at point to what is written next.
func (w *wireWriter) link(at int) { w.put32(at, uint32(len(w.b)-at)) }

// table appends a table of size bytes, its vtable before it, and returns where
// it starts. slots are the fields' places in the table, 0 for a field that is
// left out. ref is the reference to the table.
func (w *wireWriter) table(ref, size int, slots ...int) int {
	vtable := 4 + 2*len(slots)
	w.zeros((-len(w.b) - vtable) & 7)
	at := w.zeros(vtable + size)
	w.put16(at, uint16(vtable))
	w.put16(at+2, uint16(size))
	for i, s := range slots {
		w.put16(at+4+2*i, uint16(s))
	}
	start := at + vtable
	w.put32(start, uint32(vtable))
	w.put32(ref, uint32(start-ref))
	return start
}

func (w *wireWriter) text(ref int, s string) {
	w.align(4)
	w.link(ref)
	w.u32(uint32(len(s)))
	w.b = append(append(w.b, s...), 0)
}

// list appends a vector of n elements of size bytes and returns where they start.
func (w *wireWriter) list(ref, n, size int) int {
	if size == 16 {
		w.zeros((-len(w.b) - 4) & 7)
	} else {
		w.align(4)
	}
	w.link(ref)
	w.u32(uint32(n))
	return w.zeros(n * size)
}

// message starts a message of a header and a body of that many bytes. It
// returns where end finds the message and the reference to the header's table.
func (w *wireWriter) message(header byte, body int) (start, ref int) {
	w.u32(wireMark)
	start = len(w.b)
	w.u32(0)
	root := w.zeros(4)
	t := w.table(root, 24, 4, 6, 8, 16)
	w.put16(t+4, wireVersion)
	w.b[t+6] = header
	w.put64(t+16, uint64(body))
	return start, t + 8
}

// end closes the metadata of the message that started at start.
func (w *wireWriter) end(start int) {
	w.align(8)
	size := len(w.b) - start - 4
	if size > math.MaxInt32 {
		w.err = fmt.Errorf("marshal rows: the metadata of %d bytes does not fit an arrow message", size)
	}
	w.put32(start, uint32(size))
}

func (w *wireWriter) schema(rows *Rows) {
	start, ref := w.message(headerSchema, 0)
	t := w.table(ref, 8, 0, 4)
	fields := w.list(t+4, len(rows.vectors), 4)
	id := int64(0)
	for i, c := range rows.schema.columns {
		coded := rows.vectors[i].codes != nil
		w.field(fields+4*i, c, coded, id)
		if coded {
			id++
		}
	}
	w.end(start)
}

func (w *wireWriter) field(ref int, c Column, coded bool, id int64) {
	var t int
	if coded {
		t = w.table(ref, 28, 4, 24, 25, 8, 20, 12, 16)
	} else {
		t = w.table(ref, 28, 4, 24, 25, 8, 0, 12, 16)
	}
	w.b[t+24] = 1 // nullable
	w.text(t+4, c.Name)
	w.b[t+25] = w.fieldType(t+8, c.Type)
	w.list(t+12, 0, 4) // children: readers want the empty list
	keys := w.list(t+16, 1, 4)
	kv := w.table(keys, 12, 4, 8)
	w.text(kv+4, typeKey)
	w.text(kv+8, c.Type.String())
	if coded {
		d := w.table(t+20, 16, 8, 4)
		w.put64(d+8, uint64(id))
		index := w.table(d+4, 12, 4, 8)
		w.put32(index+4, 32)
		w.b[index+8] = 1 // signed
	}
}

func (w *wireWriter) fieldType(ref int, t Type) byte {
	switch t.Kind {
	case Int64:
		at := w.table(ref, 12, 4, 8)
		w.put32(at+4, 64)
		w.b[at+8] = 1 // signed
		return typeInt
	case Float64:
		w.put16(w.table(ref, 8, 4)+4, 2) // double
		return typeFloat
	case Decimal:
		at := w.table(ref, 16, 4, 8, 12)
		w.put32(at+4, uint32(t.Precision))
		w.put32(at+8, uint32(t.Scale))
		w.put32(at+12, 128)
		return typeDecimal
	case Bool:
		w.table(ref, 4)
		return typeBool
	case Date:
		w.table(ref, 8, 4) // unit 0: days
		return typeDate
	case Timestamp:
		at := w.table(ref, 12, 4, 8)
		w.put16(at+4, 2) // microseconds
		w.text(at+8, "UTC")
		return typeTimestamp
	}
	w.table(ref, 4)
	return typeUtf8
}

func (w *wireWriter) dictionary(id int64, t texts) {
	body := wirePadded(4*len(t.offsets)) + wirePadded(len(t.data))
	start, ref := w.message(headerDictionary, body)
	d := w.table(ref, 16, 8, 4)
	w.put64(d+8, uint64(id))
	l := wireLayout{w: w}
	l.begin(d+4, t.len(), 1, 3)
	l.column(t.len(), 0)
	l.buffer(0)
	l.buffer(4 * len(t.offsets))
	l.buffer(len(t.data))
	w.end(start)
	w.body(asBytes(t.offsets))
	w.body(t.data)
}

// wireLayout fills in the metadata of a batch: where its buffers lie in its body.
type wireLayout struct {
	w                      *wireWriter
	nodes, buffers, offset int
}

func (l *wireLayout) begin(ref, rows, nodes, buffers int) {
	t := l.w.table(ref, 24, 8, 4, 16)
	l.w.put64(t+8, uint64(rows))
	l.nodes = l.w.list(t+4, nodes, 16)
	l.buffers = l.w.list(t+16, buffers, 16)
}

func (l *wireLayout) column(rows, nulls int) {
	l.w.put64(l.nodes, uint64(rows))
	l.w.put64(l.nodes+8, uint64(nulls))
	l.nodes += 16
}

func (l *wireLayout) buffer(size int) {
	l.w.put64(l.buffers, uint64(l.offset))
	l.w.put64(l.buffers+8, uint64(size))
	l.buffers += 16
	l.offset += wirePadded(size)
}

func (w *wireWriter) record(rows *Rows) {
	body, buffers := 0, 0
	rows.wireBuffers(func(_ int, b []byte) {
		body += wirePadded(len(b))
		buffers++
	})
	start, ref := w.message(headerRecord, body)
	l := wireLayout{w: w}
	l.begin(ref, rows.n, len(rows.vectors), buffers)
	for i := range rows.vectors {
		l.column(rows.n, rows.vectors[i].nulls)
	}
	rows.wireBuffers(func(_ int, b []byte) { l.buffer(len(b)) })
	w.end(start)
	rows.wireBuffers(func(_ int, b []byte) { w.body(b) })
}

// wireBuffers visits the record batch's buffers in their order on the wire.
func (r *Rows) wireBuffers(visit func(column int, b []byte)) {
	for i := range r.vectors {
		v, t := &r.vectors[i], r.schema.columns[i].Type
		visit(i, v.valid)
		if t.Kind.IsText() && v.codes == nil {
			visit(i, asBytes(v.text.offsets))
			visit(i, v.text.data)
		} else {
			visit(i, v.fixed(t))
		}
	}
}

func (w *wireWriter) body(b []byte) {
	w.b = append(w.b, b...)
	w.align(8)
}

func wirePadded(n int) int { return (n + 7) &^ 7 }
