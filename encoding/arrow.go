package encoding

import (
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
	"unsafe"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/decimal128"
	"github.com/apache/arrow/go/v17/arrow/memory"
)

// typeKey is the field metadata under which an Arrow schema keeps our type,
// written as ParseType reads it: Arrow's own types do not tell json from string.
const typeKey = "loadfleet.type"

// arrowType is the Arrow type of a column; text is a dictionary of utf8 where
// the column is dictionary-encoded.
func arrowType(t Type, coded bool) arrow.DataType {
	switch t.Kind {
	case Int64:
		return arrow.PrimitiveTypes.Int64
	case Float64:
		return arrow.PrimitiveTypes.Float64
	case Decimal:
		return &arrow.Decimal128Type{Precision: t.Precision, Scale: t.Scale}
	case Bool:
		return arrow.FixedWidthTypes.Boolean
	case Date:
		return arrow.FixedWidthTypes.Date32
	case Timestamp:
		return &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}
	}
	if coded {
		return &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: arrow.BinaryTypes.String}
	}
	return arrow.BinaryTypes.String
}

// Arrow is a view of the rows as an Arrow record: text as utf8 or as int32
// codes into a utf8 dictionary, decimal128, date32, timestamp[us, UTC], bool,
// int64, float64. A field's metadata keeps our type under "loadfleet.type". The
// record shares r's memory, which must not be written to; it may be released or
// left to the collector.
func (r *Rows) Arrow() arrow.Record {
	fields := make([]arrow.Field, len(r.vectors))
	columns := make([]arrow.Array, len(r.vectors))
	for i := range r.vectors {
		v, of := &r.vectors[i], r.schema.Column(i)
		fields[i] = arrow.Field{
			Name: of.Name, Type: arrowType(of.Type, v.codes != nil), Nullable: true,
			Metadata: arrow.NewMetadata([]string{typeKey}, []string{of.Type.String()}),
		}
		columns[i] = v.arrow(of.Type, fields[i].Type, r.n)
	}
	return array.NewRecord(arrow.NewSchema(fields, nil), columns, int64(r.n))
}

func (v *vector) arrow(t Type, dt arrow.DataType, n int) arrow.Array {
	var valid *memory.Buffer
	if v.nulls > 0 {
		valid = memory.NewBufferBytes(v.valid)
	}
	if dictionary, ok := dt.(*arrow.DictionaryType); ok {
		values := v.text.arrow(dictionary.ValueType, nil, v.text.len(), 0)
		return array.NewDictionaryData(array.NewDataWithDictionary(dt, n,
			[]*memory.Buffer{valid, memory.NewBufferBytes(v.fixed(t))}, v.nulls, 0, values))
	}
	if t.Kind.IsText() {
		return array.NewStringData(v.text.arrow(dt, valid, n, v.nulls))
	}
	return array.MakeFromData(array.NewData(dt, n, []*memory.Buffer{valid, memory.NewBufferBytes(v.fixed(t))}, nil, v.nulls, 0))
}

func (t texts) arrow(dt arrow.DataType, valid *memory.Buffer, n, nulls int) *array.Data {
	return array.NewData(dt, n, []*memory.Buffer{valid, memory.NewBufferBytes(asBytes(t.offsets)), memory.NewBufferBytes(t.data)}, nil, nulls, 0)
}

// fixed is the memory of the vector's one buffer of values of fixed width (the
// codes of a dictionary column); a plain text column has none.
func (v *vector) fixed(t Type) []byte {
	switch t.Kind {
	case Int64, Timestamp:
		return asBytes(v.ints)
	case Float64:
		return asBytes(v.floats)
	case Decimal:
		return asBytes(v.decimals)
	case Bool:
		return v.bools
	case Date:
		return asBytes(v.days)
	}
	return asBytes(v.codes)
}

// setFixed makes the vector's values a view of n rows at the start of b, which
// is aligned for them. It is the inverse of fixed.
func (v *vector) setFixed(t Type, b []byte, n int) (err error) {
	switch t.Kind {
	case Int64, Timestamp:
		v.ints, err = ofBytes[int64](b, n)
	case Float64:
		v.floats, err = ofBytes[float64](b, n)
	case Decimal:
		v.decimals, err = ofBytes[decimal128.Num](b, n)
	case Bool:
		v.bools, err = ofBytes[byte](b, bitmapBytes(n))
	case Date:
		v.days, err = ofBytes[int32](b, n)
	default:
		v.codes, err = ofBytes[int32](b, n)
	}
	return err
}

// asBytes is the memory of values. Arrow's layout is that of a little-endian
// machine, which all that Go builds for servers are but s390x.
func asBytes[T any](values []T) []byte {
	var one T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(values))), len(values)*int(unsafe.Sizeof(one)))
}

var errShort = errors.New("a buffer is shorter than its values")

// ofBytes is the first n values in b, never nil.
func ofBytes[T any](b []byte, n int) ([]T, error) {
	var one T
	if n < 0 || n > len(b)/int(unsafe.Sizeof(one)) {
		return nil, errShort
	}
	if n == 0 {
		return []T{}, nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), n), nil
}

// FromArrow is the rows of a record that Arrow made, or that looks as if it
// had: the columns in schema's order, under their names and with the Arrow
// types that Arrow gives them. It shares the record's memory where it can (a
// record that is a slice of another is partly copied), so the record must not
// be written to, nor released into an allocator that reuses its memory, while
// the rows are in use.
func FromArrow(schema *Schema, rec arrow.Record) (*Rows, error) {
	if got, want := int(rec.NumCols()), schema.Len(); got != want {
		return nil, fmt.Errorf("read arrow record: it has %d columns, the schema %d", got, want)
	}
	r := &Rows{schema: schema, n: int(rec.NumRows()), vectors: make([]vector, schema.Len())}
	for i := range r.vectors {
		of := schema.Column(i)
		if name := rec.ColumnName(i); name != of.Name {
			return nil, fmt.Errorf("read arrow record: column %d is %q, want %q", i+1, name, of.Name)
		}
		v, err := vectorFromArrow(of.Type, rec.Column(i), r.n)
		if err != nil {
			return nil, fmt.Errorf("read arrow record: column %q: %w", of.Name, err)
		}
		r.vectors[i] = v
	}
	return r, nil
}

func vectorFromArrow(t Type, column arrow.Array, n int) (v vector, err error) {
	d := column.Data()
	want := arrowType(t, d.DataType().ID() == arrow.DICTIONARY)
	if !arrow.TypeEqual(d.DataType(), want) {
		return vector{}, fmt.Errorf("it is of arrow type %s, want %s for %s", d.DataType(), want, t)
	}
	if d.Len() != n {
		return vector{}, fmt.Errorf("it has %d values in a record of %d rows", d.Len(), n)
	}
	// The whole of the memory first, then the slice of it that is the column.
	from, to := d.Offset(), d.Offset()+n
	if d.NullN() != 0 && d.Buffers()[0] != nil {
		if v.valid, err = ofBytes[byte](d.Buffers()[0].Bytes(), bitmapBytes(to)); err != nil {
			return vector{}, err
		}
		v.nulls = to - countBits(v.valid, to)
	}
	switch {
	case !t.Kind.IsText():
		err = v.setFixed(t, bufferBytes(d, 1), to)
	case d.DataType().ID() == arrow.DICTIONARY:
		if err = v.setFixed(t, bufferBytes(d, 1), to); err == nil {
			v.text, err = textsFromArrow(d.Dictionary())
		}
	default:
		v.text, err = textsOf(bufferBytes(d, 1), bufferBytes(d, 2), to)
	}
	if err != nil {
		return vector{}, err
	}
	if from > 0 || v.valid != nil || v.bools != nil {
		coded, dictionary := v.codes != nil, v.text
		if coded {
			v.text = texts{} // validated below, before anything follows a code into it
		}
		v = v.slice(from, to)
		if coded {
			v.text = dictionary
		}
	}
	return v, v.check(t, n)
}

func bufferBytes(d arrow.ArrayData, i int) []byte {
	if b := d.Buffers()[i]; b != nil {
		return b.Bytes()
	}
	return nil
}

func textsFromArrow(d arrow.ArrayData) (texts, error) {
	if d.NullN() > 0 {
		return texts{}, errors.New("its dictionary holds a null")
	}
	t, err := textsOf(bufferBytes(d, 1), bufferBytes(d, 2), d.Offset()+d.Len())
	if err != nil || d.Offset() == 0 {
		return t, err
	}
	return t.slice(d.Offset(), d.Offset()+d.Len()), nil
}

// textsOf is the first n values of a utf8 array's buffers. It checks that every
// value lies within the data, not yet that it is text.
func textsOf(offsets, data []byte, n int) (t texts, err error) {
	if n == 0 {
		return texts{offsets: []int32{0}}, nil
	}
	if n < 0 || n == math.MaxInt {
		return texts{}, errShort
	}
	if t.offsets, err = ofBytes[int32](offsets, n+1); err != nil {
		return texts{}, err
	}
	last := int32(0)
	for _, o := range t.offsets {
		if o < last {
			return texts{}, errors.New("its text offsets do not ascend")
		}
		last = o
	}
	if t.offsets[0] != 0 {
		return texts{}, errors.New("its text offsets do not start at 0")
	}
	if int(last) > len(data) {
		return texts{}, errors.New("its text offsets leave the text")
	}
	t.data = data[:last:last]
	return t, nil
}

// check proves what every reader of a vector relies on: buffers long enough for
// n rows, codes within the dictionary, text that is UTF-8, zero values in null
// rows and past the last row, finite floats, decimals of their precision, days
// and instants of the years 0 to 9999.
func (v *vector) check(t Type, n int) error {
	if v.nulls > 0 && !tailIsZero(v.valid, n) {
		return errors.New("its validity bitmap goes on past the last row")
	}
	if t.Kind.IsText() {
		if err := v.text.check(); err != nil {
			return err
		}
	}
	switch t.Kind {
	case Int64:
		return checkNulls(v, v.ints)
	case Float64:
		for _, f := range v.floats {
			if f-f != 0 {
				return fmt.Errorf("it holds %v, which is not finite", f)
			}
		}
		return checkNulls(v, v.floats)
	case Decimal:
		limit := decimalLimit(t.Precision) // of 64 bits: what most numbers are, compared without a call
		for _, d := range v.decimals {
			if hi, lo := d.HighBits(), d.LowBits(); hi == 0 && lo < limit || hi == -1 && -lo < limit && lo != 0 {
				continue
			}
			if d.Abs().Sign() < 0 || !d.FitsInPrecision(t.Precision) {
				return fmt.Errorf("it holds a number of more than %d digits", t.Precision)
			}
		}
		return checkNulls(v, v.decimals)
	case Bool:
		if !tailIsZero(v.bools, n) {
			return errors.New("its bits go on past the last row")
		}
		if v.nulls > 0 {
			for i, valid := range v.valid {
				if v.bools[i]&^valid != 0 {
					return errNullValue
				}
			}
		}
		return nil
	case Date:
		for _, d := range v.days {
			if d < firstDay || d > lastDay {
				return fmt.Errorf("it holds day %d, which is not of the years 0 to 9999", d)
			}
		}
		return checkNulls(v, v.days)
	case Timestamp:
		for _, ts := range v.ints {
			if ts < firstDay*dayMicros || ts >= (lastDay+1)*dayMicros {
				return fmt.Errorf("it holds microsecond %d, which is not of the years 0 to 9999", ts)
			}
		}
		return checkNulls(v, v.ints)
	}
	if v.codes == nil {
		if v.text.len() != n {
			return errShort
		}
		for row := range n {
			if v.null(row) && v.text.offsets[row] != v.text.offsets[row+1] {
				return errNullValue
			}
		}
		return nil
	}
	if err := checkNulls(v, v.codes); err != nil {
		return err
	}
	size := uint32(v.text.len())
	for row, code := range v.codes {
		if uint32(code) >= size && !v.null(row) {
			return fmt.Errorf("code %d leaves its dictionary of %d values", code, size)
		}
	}
	return nil
}

// The days of 0000-01-01 and 9999-12-31: what four digits of a year can say.
const (
	firstDay = -719528
	lastDay  = 2932896
)

var errNullValue = errors.New("a null row holds a value")

func checkNulls[T comparable](v *vector, values []T) error {
	if v.nulls == 0 {
		return nil
	}
	var zero T
	for row, value := range values {
		if value != zero && !bit(v.valid, row) {
			return errNullValue
		}
	}
	return nil
}

func tailIsZero(bits []byte, n int) bool {
	return n%8 == 0 || bits[n/8]>>(n%8) == 0
}

func (t texts) check() error {
	if !utf8.Valid(t.data) {
		return errors.New("its text is not UTF-8")
	}
	for _, o := range t.offsets {
		if int(o) < len(t.data) && !utf8.RuneStart(t.data[o]) {
			return errors.New("its text is cut within a character")
		}
	}
	return nil
}
