package encoding

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/apache/arrow/go/v17/arrow/decimal128"
	"github.com/klauspost/compress/s2"
)

// What an unpacker keeps for the next rows, in bytes: memory for them, and the
// text of a schema.
const (
	keptUnpacked = 4 << 20
	keptSchema   = 64 << 10
)

// RowsUnpacker unpacks what a [RowsPacker] packed, and what older versions did. The
// zero value is ready. It is not safe for concurrent use.
type RowsUnpacker struct {
	memory []byte
	schema *Schema // as it was read last
	text   []byte  // where it was written so; of no more than keptSchema bytes
}

var errPacked = errors.New("they are damaged")

// Unpack reads rows that are packed as the name says, or are what MarshalRows
// wrote when it is empty; any bytes else give an error, under the conditions of
// [UnmarshalRows], and no more than 64 MiB are taken for packed ones. The rows may
// lie in the unpacker's memory, and share b's: they are void at the next call.
func (u *RowsUnpacker) Unpack(packing string, b []byte) (*Rows, error) {
	var rows *Rows
	var err error
	switch packing {
	case PackedColumns:
		rows, err = u.columns(b)
	case PackedS2:
		rows, err = u.stream(b)
	case "":
		return UnmarshalRows(b)
	default:
		return nil, fmt.Errorf("unpack rows: unknown packing %q", packing)
	}
	if err != nil {
		return nil, fmt.Errorf("unpack rows: %w", err)
	}
	return rows, nil
}

// room is n bytes of the unpacker's memory, at a multiple of 8.
func (u *RowsUnpacker) room(n int) ([]byte, error) {
	if n > maxUnpacked {
		return nil, fmt.Errorf("%d bytes, and one message has at most %d", n, maxUnpacked)
	}
	if n > keptUnpacked {
		return asBytes(make([]uint64, (n+7)/8))[:n:n], nil
	}
	if cap(u.memory) < n {
		u.memory = asBytes(make([]uint64, n/8+n/32+1))
	}
	return u.memory[:n:n], nil
}

// stream reads a block of S2 of a stream of MarshalRows.
func (u *RowsUnpacker) stream(b []byte) (*Rows, error) {
	n, err := s2.DecodedLen(b)
	if err != nil {
		return nil, err
	}
	memory, err := u.room(n)
	if err != nil {
		return nil, err
	}
	if memory, err = s2.Decode(memory, b); err != nil {
		return nil, err
	}
	return UnmarshalRows(memory)
}

func (u *RowsUnpacker) columns(b []byte) (*Rows, error) {
	r := &runReader{b: b}
	rows, size, numbers, schema := r.length(), r.length(), r.length(), r.length()
	if r.bad || numbers > len(r.b) {
		return nil, errPacked
	}
	n, err := s2.DecodedLen(r.b[numbers:])
	if err != nil {
		return nil, err
	}
	if schema > min(n, maxSchemaText) || n > size || size < wirePadded(n) {
		return nil, errPacked
	}
	memory, err := u.room(size)
	if err != nil {
		return nil, err
	}
	text, err := s2.Decode(memory[:n:n], r.b[numbers:])
	if err != nil {
		return nil, err
	}
	of, err := u.known(text[:schema])
	if err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	r.b = r.b[:numbers]
	c := &unpacking{runReader: r, rows: rows, memory: memory[wirePadded(n):], text: text[schema:]}
	out := &Rows{schema: of, n: rows, vectors: make([]vector, of.Len())}
	for i := range out.vectors {
		if out.vectors[i], err = c.vector(of.columns[i].Type); err != nil {
			return nil, fmt.Errorf("column %q: %w", of.columns[i].Name, err)
		}
	}
	if len(c.b) > 0 || len(c.memory) > 0 || len(c.text) > 0 {
		return nil, errPacked
	}
	return out, nil
}

// known reads the schema, which is that of the rows before more often than not.
func (u *RowsUnpacker) known(text []byte) (*Schema, error) {
	if u.schema != nil && bytes.Equal(u.text, text) {
		return u.schema, nil
	}
	schema, err := parseSchema(text)
	if err == nil && len(text) <= keptSchema {
		u.schema, u.text = schema, append(u.text[:0], text...)
	}
	return schema, err
}

// parseSchema reads what MarshalJSON wrote. It stops behind MaxColumns: text that
// was packed may be long for its length.
func parseSchema(text []byte) (*Schema, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	var columns []Column
	if begin, err := d.Token(); err != nil || begin != json.Delim('[') {
		return nil, errPacked
	}
	for d.More() {
		if len(columns) == MaxColumns {
			return nil, fmt.Errorf("more than %d columns", MaxColumns)
		}
		var c Column
		if err := d.Decode(&c); err != nil {
			return nil, err
		}
		columns = append(columns, c)
	}
	if _, err := d.Token(); err != nil || d.InputOffset() != int64(len(text)) {
		return nil, errPacked
	}
	return NewSchema(columns)
}

// unpacking walks the columns of packed rows.
type unpacking struct {
	*runReader
	rows   int
	memory []byte // not taken yet
	text   []byte // not taken yet
}

// take is the memory of n values of size bytes, at a multiple of 8.
func (u *unpacking) take(n, size int) ([]byte, error) {
	if n > len(u.memory)/size {
		return nil, errPacked
	}
	taken := wirePadded(n * size)
	if taken > len(u.memory) {
		return nil, errPacked
	}
	b := u.memory[: n*size : n*size]
	u.memory = u.memory[taken:]
	return b, nil
}

// copied are n bytes of the numbers, in the unpacker's memory.
func (u *unpacking) copied(n, size int) ([]byte, error) {
	b, err := u.take(n, size)
	if err != nil || len(b) > len(u.b) {
		return nil, errPacked
	}
	u.b = u.b[copy(b, u.b):]
	return b, nil
}

func (u *unpacking) vector(t Type) (v vector, err error) {
	if len(u.b) == 0 {
		return vector{}, errPacked
	}
	marks := u.b[0]
	u.b = u.b[1:]
	if marks&markNulls != 0 {
		if v.valid, err = u.copied(bitmapBytes(u.rows), 1); err != nil {
			return vector{}, err
		}
		if v.nulls = u.rows - countBits(v.valid, u.rows); v.nulls == 0 {
			return vector{}, errPacked
		}
	}
	coded := marks&markCoded != 0
	if marks > markNulls|markCoded || coded && !t.Kind.IsText() {
		return vector{}, errPacked
	}
	switch {
	case t.Kind.IsText():
		err = u.texts(&v, coded)
	case t.Kind == Decimal:
		v.decimals, err = u.decimals()
	case t.Kind == Float64:
		var b []byte
		if b, err = u.copied(u.rows, 8); err == nil {
			err = v.setFixed(t, b, u.rows)
		}
	case t.Kind == Bool:
		v.bools, err = u.copied(bitmapBytes(u.rows), 1)
	case t.Kind == Date:
		v.days, err = numbers[int32](u, u.rows)
	default:
		v.ints, err = numbers[int64](u, u.rows)
	}
	if err != nil {
		return vector{}, err
	}
	return v, v.check(t, u.rows)
}

// numbers reads a run of n numbers.
func numbers[T int32 | int64](u *unpacking, n int) ([]T, error) {
	var one T
	b, err := u.take(n, binary.Size(one))
	if err != nil {
		return nil, err
	}
	out, err := ofBytes[T](b, n)
	if err != nil {
		return nil, err
	}
	return out, readRun(u.runReader, out)
}

func (u *unpacking) decimals() ([]decimal128.Num, error) {
	b, err := u.take(u.rows, 16)
	if err != nil {
		return nil, err
	}
	decimals, err := ofBytes[decimal128.Num](b, u.rows)
	if err != nil {
		return nil, err
	}
	// The numbers are read into the upper half, and widened from the first on: none
	// is written over before it was read.
	narrow, err := ofBytes[int64](b[8*u.rows:], u.rows)
	if err != nil {
		return nil, err
	}
	if err := readRun(u.runReader, narrow); err != nil {
		return nil, err
	}
	for i, n := range narrow {
		decimals[i] = decimal128.New(n>>63, uint64(n))
	}
	row := 0
	for range u.length() {
		row += u.length()
		if u.bad || row >= len(decimals) || len(u.b) < 16 {
			return nil, errPacked
		}
		decimals[row] = decimal128.New(int64(binary.LittleEndian.Uint64(u.b[8:])), binary.LittleEndian.Uint64(u.b))
		u.b = u.b[16:]
	}
	if u.bad {
		return nil, errPacked
	}
	return decimals, nil
}

func (u *unpacking) texts(v *vector, coded bool) (err error) {
	n := u.rows
	if coded {
		n = u.length()
	}
	if u.bad {
		return errPacked
	}
	if v.text, err = u.lengths(n); err != nil || !coded {
		return err
	}
	v.codes, err = numbers[int32](u, u.rows)
	return err
}

// lengths reads the lengths of n texts, and takes the texts.
func (u *unpacking) lengths(n int) (t texts, err error) {
	b, err := u.take(n+1, 4)
	if err != nil {
		return texts{}, err
	}
	if t.offsets, err = ofBytes[int32](b, n+1); err != nil {
		return texts{}, err
	}
	t.offsets[0] = 0
	lengths := t.offsets[1:]
	if err := readRun(u.runReader, lengths); err != nil {
		return texts{}, err
	}
	sum := int64(0)
	for i, l := range lengths {
		if sum += int64(l); l < 0 || sum > int64(len(u.text)) {
			return texts{}, errPacked
		}
		lengths[i] = int32(sum)
	}
	t.data = u.text[:sum:sum]
	u.text = u.text[sum:]
	return t, nil
}
