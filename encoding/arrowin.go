package encoding

import (
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"strconv"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/decimal256"
)

// arrowRows reads an Arrow IPC stream into a builder, columns by their names.
type arrowRows struct {
	builder *builder
	lenient *columnBuilder
	unknown bool // columns that the schema lacks are skipped
	scratch []byte
}

// read takes every row of the stream. The Arrow library panics on some damaged
// streams; a panic is an error of the batch.
func (s *arrowRows) read(r io.Reader, batch int, maxBytes int64, done func() error) (rows int64, err error) {
	defer recovered(&err)
	in, err := openArrow(r, maxBytes)
	if err != nil {
		return 0, fmt.Errorf("read arrow schema: %w", err)
	}
	defer in.Release()
	places := make([]int, len(s.builder.columns)) // one more than the column's place in the stream
	for i, f := range in.Schema().Fields() {
		j, ok := s.builder.schema.Index(f.Name)
		if !ok {
			if s.unknown {
				continue
			}
			return 0, fmt.Errorf("arrow column %q %w", f.Name, errUnknownColumn)
		}
		if places[j] != 0 {
			return 0, fmt.Errorf("arrow column %q stands twice", f.Name)
		}
		places[j] = i + 1
	}
	for in.Next() {
		rec := in.Record()
		if rec.NumRows() > maxBytes-rows { // rows without values cost nothing to claim
			return rows, tooLarge{maxBytes}
		}
		n, err := s.record(rec, places, batch, rows, done)
		rows += n
		if err != nil {
			return rows, err
		}
	}
	if err := in.Err(); err != nil && !errors.Is(err, io.EOF) {
		return rows, fmt.Errorf("read arrow record: %w", err)
	}
	return rows, nil
}

// record takes every row of a record. places are one more than each column's
// place in it, 0 when it is not there; before is how many rows came before.
func (s *arrowRows) record(rec arrow.Record, places []int, batch int, before int64, done func() error) (rows int64, err error) {
	readers := make([]arrowColumn, len(s.builder.columns))
	for i, place := range places {
		if place == 0 {
			continue
		}
		a := rec.Column(place - 1)
		if readers[i] = s.column(&s.builder.columns[i], a); readers[i] == nil {
			c := s.builder.columns[i].column
			return 0, fmt.Errorf("arrow column %q is %v, which does not become %v: send a matching type", c.Name, a.DataType(), c.Type)
		}
	}
	for i := range int(rec.NumRows()) {
		row := s.builder.begin()
		set := 0
		for j, read := range readers {
			if read == nil {
				continue
			}
			c := &s.builder.columns[j]
			c.filled = row + 1
			set++
			a := rec.Column(places[j] - 1)
			if a.IsNull(i) {
				c.setNull(row)
				continue
			}
			if err := read(row, i); err != nil {
				if c == s.lenient {
					c.setNull(row)
					continue
				}
				return rows, &RowError{Batch: batch, Row: before + rows + 1, Column: c.column.Name, Value: shortened([]byte(a.ValueStr(i))), Err: err}
			}
		}
		s.builder.end(set)
		rows++
		if err := done(); err != nil {
			return rows, err
		}
	}
	return rows, nil
}

// recovered turns a panic of the Arrow library into an error.
func recovered(err *error) {
	switch p := recover().(type) {
	case nil:
	case error:
		*err = fmt.Errorf("damaged arrow stream: %w", p)
	default:
		*err = fmt.Errorf("damaged arrow stream: %v", p)
	}
}

// arrowColumn takes value i of an array, which is not null, as the row's.
type arrowColumn func(row, i int) error

// column is how c takes the values of a; nil when it does not.
func (s *arrowRows) column(c *columnBuilder, a arrow.Array) arrowColumn {
	if d, ok := a.(*array.Dictionary); ok {
		values := d.Dictionary()
		inner := s.column(c, values)
		if inner == nil {
			return nil
		}
		return func(row, i int) error {
			j := d.GetValueIndex(i)
			if values.IsNull(j) {
				c.setNull(row)
				return nil
			}
			return inner(row, j)
		}
	}
	if text := arrowText(a); text != nil {
		return s.textual(c, text)
	}
	if whole := arrowInts(a); whole != nil {
		return s.whole(c, whole)
	}
	switch a := a.(type) {
	case *array.Null:
		return func(row, i int) error { c.setNull(row); return nil }
	case *array.Uint64:
		return s.decimals(c, 0, func(i int) *big.Int { return new(big.Int).SetUint64(a.Value(i)) })
	case *array.Decimal128:
		return s.decimals(c, a.DataType().(*arrow.Decimal128Type).Scale, func(i int) *big.Int { return a.Value(i).BigInt() })
	case *array.Decimal256:
		return s.decimals(c, a.DataType().(*arrow.Decimal256Type).Scale, func(i int) *big.Int { return a.Value(i).BigInt() })
	case *array.Float16:
		return s.floats(c, func(i int) float64 { return float64(a.Value(i).Float32()) })
	case *array.Float32:
		return s.floats(c, func(i int) float64 { return float64(a.Value(i)) })
	case *array.Float64:
		return s.floats(c, a.Value)
	case *array.Boolean:
		switch c.kind {
		case Bool:
			return func(row, i int) error { c.setBool(row, a.Value(i)); return nil }
		case String, JSONText:
			return func(row, i int) error { c.setBytes(row, strconv.AppendBool(s.scratch[:0], a.Value(i))); return nil }
		}
	case *array.Date32:
		return arrowDays(c, func(i int) (int64, bool) { return int64(a.Value(i)), true })
	case *array.Date64:
		return arrowDays(c, func(i int) (int64, bool) {
			ms := int64(a.Value(i))
			return ms / 86_400_000, ms%86_400_000 == 0
		})
	case *array.Timestamp:
		return arrowInstants(c, a)
	}
	return nil
}

func arrowText(a arrow.Array) func(i int) string {
	switch a := a.(type) {
	case *array.String:
		return a.Value
	case *array.LargeString:
		return a.Value
	case *array.StringView:
		return func(i int) string {
			text, ok := viewedText(a, i)
			if !ok {
				panic(errArrowView) // for recovered to catch: the batch is damaged, not a value
			}
			return text
		}
	}
	return nil
}

var errArrowView = errors.New("a text's view points outside of its buffers")

// viewedText is the text that view i of a stands for; ok is false when it points
// outside of the buffers. The Arrow library does not look: a view may reach into
// the room behind a buffer, or have a length below zero.
func viewedText(a *array.StringView, i int) (text string, ok bool) {
	view := a.ValueHeader(i)
	if view.Len() < 0 {
		return "", false
	}
	if !view.IsInline() {
		buffers := a.Data().Buffers()[2:]
		k, from := int(view.BufferIndex()), int(view.BufferOffset())
		if k < 0 || k >= len(buffers) || from < 0 || from > min(buffers[k].Len(), math.MaxInt32)-view.Len() {
			return "", false
		}
	}
	return a.Value(i), true
}

func arrowInts(a arrow.Array) func(i int) int64 {
	switch a := a.(type) {
	case *array.Int8:
		return func(i int) int64 { return int64(a.Value(i)) }
	case *array.Int16:
		return func(i int) int64 { return int64(a.Value(i)) }
	case *array.Int32:
		return func(i int) int64 { return int64(a.Value(i)) }
	case *array.Int64:
		return a.Value
	case *array.Uint8:
		return func(i int) int64 { return int64(a.Value(i)) }
	case *array.Uint16:
		return func(i int) int64 { return int64(a.Value(i)) }
	case *array.Uint32:
		return func(i int) int64 { return int64(a.Value(i)) }
	}
	return nil
}

// textual takes texts as a CSV file's quoted fields are taken.
func (s *arrowRows) textual(c *columnBuilder, text func(i int) string) arrowColumn {
	if c.kind == JSONText {
		var rows csvRows
		return func(row, i int) error {
			rows.scratch = append(append(rows.scratch[:0], text(i)...), jsonSlack...)
			return rows.json(c, row, len(rows.scratch)-len(jsonSlack))
		}
	}
	return func(row, i int) error {
		s.scratch = append(s.scratch[:0], text(i)...)
		if c.kind != String {
			return c.parse(row, s.scratch)
		}
		if !c.setStrict(row, s.scratch) {
			return errNotUTF8
		}
		return nil
	}
}

// maxExact is up to where float64 holds every whole number.
const maxExact = 1 << 53

var errInexact = errors.New("is a whole number beyond 2^53, which a float64 rounds: declare the column int64, decimal or string")

func (s *arrowRows) whole(c *columnBuilder, value func(i int) int64) arrowColumn {
	switch c.kind {
	case Int64:
		return func(row, i int) error { c.ints[row] = value(i); return nil }
	case Float64:
		return func(row, i int) error {
			v := value(i)
			if v > maxExact || v < -maxExact {
				return errInexact
			}
			c.floats[row] = float64(v)
			return nil
		}
	case Decimal:
		return func(row, i int) error {
			s.scratch = strconv.AppendInt(s.scratch[:0], value(i), 10)
			return c.parse(row, s.scratch)
		}
	case String, JSONText:
		return func(row, i int) error {
			s.scratch = strconv.AppendInt(s.scratch[:0], value(i), 10)
			c.setBytes(row, s.scratch)
			return nil
		}
	}
	return nil
}

func (s *arrowRows) floats(c *columnBuilder, value func(i int) float64) arrowColumn {
	if c.kind != Float64 {
		return nil
	}
	return func(row, i int) error {
		v := value(i)
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return errNotFiniteValue
		}
		c.floats[row] = v
		return nil
	}
}

var errNotFiniteValue = errors.New("is not finite: send null instead of NaN and infinities")

// decimals takes unscaled numbers; what does not fit exactly is refused.
func (s *arrowRows) decimals(c *columnBuilder, scale int32, value func(i int) *big.Int) arrowColumn {
	switch c.kind {
	case Int64, Decimal, String, JSONText:
	default:
		return nil
	}
	return func(row, i int) error {
		s.scratch = append(value(i).Append(s.scratch[:0], 10), 'e')
		s.scratch = strconv.AppendInt(s.scratch, -int64(scale), 10)
		if !c.kind.IsText() {
			return c.parse(row, s.scratch)
		}
		c.setBytes(row, []byte(decimal256.FromBigInt(value(i)).ToString(scale)))
		return nil
	}
}

func arrowDays(c *columnBuilder, value func(i int) (day int64, whole bool)) arrowColumn {
	if c.kind != Date && c.kind != Timestamp {
		return nil
	}
	return func(row, i int) error {
		day, whole := value(i)
		if !whole || day < earliestDay || day > lastDay {
			return errDayRange
		}
		if c.kind == Date {
			c.days[row] = int32(day)
		} else {
			c.ints[row] = day * dayMicros
		}
		return nil
	}
}

var errDayRange = errors.New("is no whole day of the years 1 to 9999")

// arrowInstants takes timestamps of any unit. With a zone or without, Arrow
// counts from 1970 in UTC.
func arrowInstants(c *columnBuilder, a *array.Timestamp) arrowColumn {
	if c.kind != Timestamp {
		return nil
	}
	unit := a.DataType().(*arrow.TimestampType).Unit
	return func(row, i int) error {
		v := int64(a.Value(i))
		var factor int64 = 1
		switch unit {
		case arrow.Second:
			factor = 1_000_000
		case arrow.Millisecond:
			factor = 1_000
		case arrow.Nanosecond:
			if v%1000 != 0 {
				return errTooFine
			}
			v /= 1000
		}
		if v < firstMicro/factor || v > lastMicro/factor {
			return errNotTimestamp
		}
		c.ints[row] = v * factor
		return nil
	}
}

// arrowKind is the type of ours that holds an Arrow type, if one does.
func arrowKind(t arrow.DataType) (Type, bool) {
	switch t := t.(type) {
	case *arrow.DictionaryType:
		return arrowKind(t.ValueType)
	case *arrow.StringType, *arrow.LargeStringType, *arrow.StringViewType, *arrow.NullType:
		return Type{Kind: String}, true
	case *arrow.Int8Type, *arrow.Int16Type, *arrow.Int32Type, *arrow.Int64Type, *arrow.Uint8Type, *arrow.Uint16Type, *arrow.Uint32Type:
		return Type{Kind: Int64}, true
	case *arrow.Uint64Type:
		return Type{Kind: Decimal, Precision: 20}, true
	case *arrow.Float16Type, *arrow.Float32Type, *arrow.Float64Type:
		return Type{Kind: Float64}, true
	case *arrow.BooleanType:
		return Type{Kind: Bool}, true
	case *arrow.Date32Type, *arrow.Date64Type:
		return Type{Kind: Date}, true
	case *arrow.TimestampType:
		return Type{Kind: Timestamp}, true
	case *arrow.Decimal128Type:
		return arrowDecimal(t.Precision, t.Scale)
	case *arrow.Decimal256Type:
		return arrowDecimal(t.Precision, t.Scale)
	}
	return Type{}, false
}

// arrowDecimal folds a negative scale into the precision.
func arrowDecimal(precision, scale int32) (Type, bool) {
	if scale < 0 {
		precision, scale = precision-scale, 0
	}
	precision = max(precision, scale, 1)
	return Type{Kind: Decimal, Precision: precision, Scale: scale}, precision <= MaxPrecision
}
