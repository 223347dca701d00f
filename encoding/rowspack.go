package encoding

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"unsafe"

	"github.com/apache/arrow/go/v17/arrow/decimal128"
	"github.com/klauspost/compress/s2"
)

// How rows travel on the queue, by name.
const (
	PackedColumns = "columns" // as a [RowsPacker] packs them
	PackedS2      = "s2"      // what MarshalRows writes, as one block of S2: read, no longer written
)

const (
	// maxUnpacked bounds rows that travel in one message, in bytes of memory: what
	// one message may make a reader reserve.
	maxUnpacked = 64 << 20
	// maxSchemaText bounds their schema, as JSON: MaxColumns of a KB each.
	maxSchemaText = 4 << 20
)

// RowsPacker packs rows for the queue. A queue writes a message to disk, syncs it
// and moves it through two connections, so that each byte of it costs; and a
// small load is packed in less time than it takes to put. So numbers are as wide
// as the values in their column need, and text is packed with S2
// (https://github.com/klauspost/compress/tree/master/s2). The zero value is ready.
// It is not safe for concurrent use.
//
// Packed rows are three sections. The head is four uvarints: the rows, the bytes
// of memory that they are unpacked into, and the lengths of the numbers and of the
// schema. The numbers are, for each column in turn:
//
//	a byte of marks: 1 it has nulls, 2 it is text by a dictionary
//	with nulls, the bitmap of rows that have none
//	int64, timestamp, date: a run of n numbers
//	decimal: a run of n numbers, 0 for those of more than 64 bits; of these a uvarint of how many,
//	and of each how many rows it comes behind the one before (a uvarint) and its 16 bytes
//	float64: n times 8 bytes; bool: a bitmap
//	text: a run of n lengths
//	text by a dictionary: a uvarint of texts, a run of their lengths, a run of n codes
//
// A run is the least number as a zigzag varint, a byte that says how many bytes
// each takes, and of each what it is more than the least, all with the low byte
// first. The last section is a block of S2: the schema as JSON, and the columns' texts.
type RowsPacker struct {
	b, text, block []byte
	narrow         []int64
	wide           []byte
	schema         *Schema // of the rows packed last
	schemaJSON     []byte
}

const (
	markNulls = 1 << iota
	markCoded
)

// Pack packs rows and says how much memory they take when they are unpacked, of
// which the head has what their values take. The result is valid until the next
// call. Rows of more than 64 MiB are refused, and a schema of more than 4 MiB.
func (p *RowsPacker) Pack(rows *Rows) (packed []byte, unpacked int, err error) {
	if p.schema != rows.schema {
		if p.schemaJSON, err = json.Marshal(rows.schema); err != nil {
			return nil, 0, fmt.Errorf("pack rows: %w", err)
		}
		p.schema = rows.schema
	}
	if len(p.schemaJSON) > maxSchemaText {
		return nil, 0, fmt.Errorf("pack rows: a schema of %d bytes: at most %d are taken", len(p.schemaJSON), maxSchemaText)
	}
	p.b, p.text = p.b[:0], append(p.text[:0], p.schemaJSON...)
	size := 0
	for i := range rows.vectors {
		v, t := &rows.vectors[i], rows.schema.columns[i].Type
		size += v.unpackedSize(t)
		p.column(t, v)
		if max(size+len(p.text), len(p.b)) > maxUnpacked-8 {
			return nil, 0, fmt.Errorf("pack rows: %d rows take more than the %d bytes that one message may have", rows.n, maxUnpacked)
		}
	}
	size += wirePadded(len(p.text))
	p.block = p.block[:0]
	for _, n := range []int{rows.n, size, len(p.b), len(p.schemaJSON)} {
		p.block = binary.AppendUvarint(p.block, uint64(n))
	}
	p.block = append(p.block, p.b...)
	p.block = slices.Grow(p.block, s2.MaxEncodedLen(len(p.text)))
	text := s2.Encode(p.block[len(p.block):cap(p.block)], p.text)
	return p.block[:len(p.block)+len(text)], size + len(rows.vectors)*int(unsafe.Sizeof(vector{})), nil
}

// unpackedSize is what a column takes unpacked, beside its text.
func (v *vector) unpackedSize(t Type) int {
	n := wirePadded(len(v.valid))
	if t.Kind.IsText() {
		n += wirePadded(4 * (v.text.len() + 1))
	}
	return n + wirePadded(len(v.fixed(t)))
}

func (p *RowsPacker) column(t Type, v *vector) {
	mark := len(p.b)
	p.b = append(p.b, 0)
	if v.nulls > 0 {
		p.b[mark] |= markNulls
		p.b = append(p.b, v.valid...)
	}
	switch t.Kind {
	case Int64, Timestamp:
		p.b = appendRun(p.b, v.ints)
	case Date:
		p.b = appendRun(p.b, v.days)
	case Decimal:
		p.decimals(v.decimals)
	case Float64:
		p.b = append(p.b, asBytes(v.floats)...)
	case Bool:
		p.b = append(p.b, v.bools...)
	default:
		if v.codes == nil {
			p.texts(v.text)
			return
		}
		p.b[mark] |= markCoded
		p.b = binary.AppendUvarint(p.b, uint64(v.text.len()))
		p.texts(v.text)
		p.b = appendRun(p.b, v.codes)
	}
}

func (p *RowsPacker) decimals(decimals []decimal128.Num) {
	p.narrow, p.wide = p.narrow[:0], p.wide[:0]
	count, last := uint64(0), 0
	for i, d := range decimals {
		low := int64(d.LowBits())
		if d.HighBits() != low>>63 {
			count++
			p.wide = binary.AppendUvarint(p.wide, uint64(i-last))
			p.wide = binary.LittleEndian.AppendUint64(p.wide, uint64(low))
			p.wide = binary.LittleEndian.AppendUint64(p.wide, uint64(d.HighBits()))
			low, last = 0, i
		}
		p.narrow = append(p.narrow, low)
	}
	p.b = appendRun(p.b, p.narrow)
	p.b = append(binary.AppendUvarint(p.b, count), p.wide...)
}

// texts packs the texts' lengths, and keeps the texts for the block.
func (p *RowsPacker) texts(t texts) {
	p.narrow = p.narrow[:0]
	for i := range t.len() {
		p.narrow = append(p.narrow, int64(t.offsets[i+1]-t.offsets[i]))
	}
	p.b = appendRun(p.b, p.narrow)
	p.text = append(p.text, t.data...)
}
