package encoding

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/decimal128"
	"github.com/apache/arrow/go/v17/arrow/decimal256"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/google/go-cmp/cmp"
)

// arrowStream is an IPC stream of one column "v" with the values that fill appends.
func arrowStream(t testing.TB, typ arrow.DataType, fill func(b array.Builder)) []byte {
	t.Helper()
	schema := arrow.NewSchema([]arrow.Field{{Name: "v", Type: typ, Nullable: true}}, nil)
	rb := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer rb.Release()
	fill(rb.Field(0))
	rec := rb.NewRecord()
	defer rec.Release()
	var out bytes.Buffer
	w := ipc.NewWriter(&out, ipc.WithSchema(schema))
	if err := w.Write(rec); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestDecodeArrow(t *testing.T) {
	dictionary := &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String}
	for _, tt := range []struct {
		name string
		typ  arrow.DataType
		fill func(b array.Builder)
		kind string
		want []string
		bad  string
	}{
		{name: "int8", typ: arrow.PrimitiveTypes.Int8, fill: func(b array.Builder) { b.(*array.Int8Builder).Append(-5); b.AppendNull() }, kind: "int64", want: []string{"-5", "~"}},
		{name: "int64 to decimal", typ: arrow.PrimitiveTypes.Int64, fill: func(b array.Builder) { b.(*array.Int64Builder).Append(-5) }, kind: "decimal(3,2)", want: []string{"-5.00"}},
		{name: "int64 to decimal too wide", typ: arrow.PrimitiveTypes.Int64, fill: func(b array.Builder) { b.(*array.Int64Builder).Append(10) }, kind: "decimal(3,2)", bad: errPrecision.Error()},
		{name: "int64 to string", typ: arrow.PrimitiveTypes.Int64, fill: func(b array.Builder) { b.(*array.Int64Builder).Append(math.MinInt64) }, kind: "string", want: []string{"-9223372036854775808"}},
		{name: "int64 to float64", typ: arrow.PrimitiveTypes.Int64, fill: func(b array.Builder) { b.(*array.Int64Builder).Append(1 << 53) }, kind: "float64", want: []string{"9.007199254740992e+15"}},
		{name: "int64 beyond float64", typ: arrow.PrimitiveTypes.Int64, fill: func(b array.Builder) { b.(*array.Int64Builder).Append(1<<53 + 1) }, kind: "float64", bad: errInexact.Error()},
		{name: "uint64", typ: arrow.PrimitiveTypes.Uint64, fill: func(b array.Builder) { b.(*array.Uint64Builder).Append(7) }, kind: "int64", want: []string{"7"}},
		{name: "uint64 too large", typ: arrow.PrimitiveTypes.Uint64, fill: func(b array.Builder) { b.(*array.Uint64Builder).Append(math.MaxUint64) }, kind: "int64", bad: errIntRange.Error()},
		{name: "uint64 to decimal", typ: arrow.PrimitiveTypes.Uint64, fill: func(b array.Builder) { b.(*array.Uint64Builder).Append(math.MaxUint64) }, kind: "decimal(20,0)", want: []string{"18446744073709551615"}},
		{name: "float32", typ: arrow.PrimitiveTypes.Float32, fill: func(b array.Builder) { b.(*array.Float32Builder).Append(0.5) }, kind: "float64", want: []string{"0.5"}},
		{name: "NaN", typ: arrow.PrimitiveTypes.Float64, fill: func(b array.Builder) { b.(*array.Float64Builder).Append(math.NaN()) }, kind: "float64", bad: errNotFiniteValue.Error()},
		{name: "float64 to int64", typ: arrow.PrimitiveTypes.Float64, fill: func(b array.Builder) { b.(*array.Float64Builder).Append(1) }, kind: "int64", bad: `column "v" is float64, which does not become int64`},
		{name: "decimal128", typ: &arrow.Decimal128Type{Precision: 10, Scale: 3}, fill: func(b array.Builder) { b.(*array.Decimal128Builder).Append(decimal128.FromI64(-12340)) }, kind: "decimal(10,2)", want: []string{"-12.34"}},
		{name: "decimal128 beyond the scale", typ: &arrow.Decimal128Type{Precision: 10, Scale: 3}, fill: func(b array.Builder) { b.(*array.Decimal128Builder).Append(decimal128.FromI64(12345)) }, kind: "decimal(10,2)", bad: errScale.Error()},
		{name: "decimal256", typ: &arrow.Decimal256Type{Precision: 30, Scale: 2}, fill: func(b array.Builder) { b.(*array.Decimal256Builder).Append(decimal256.FromI64(100)) }, kind: "int64", want: []string{"1"}},
		{name: "decimal128 to string", typ: &arrow.Decimal128Type{Precision: 10, Scale: 3}, fill: func(b array.Builder) { b.(*array.Decimal128Builder).Append(decimal128.FromI64(-5)) }, kind: "string", want: []string{"-0.005"}},
		{name: "utf8", typ: arrow.BinaryTypes.String, fill: func(b array.Builder) {
			b.(*array.StringBuilder).AppendValues([]string{"a", "", "é"}, []bool{true, true, true})
			b.AppendNull()
		}, kind: "string", want: []string{"a", "", "é", "~"}},
		{name: "utf8 that is not", typ: arrow.BinaryTypes.String, fill: func(b array.Builder) { b.(*array.StringBuilder).Append("\xff") }, kind: "string", bad: errNotUTF8.Error()},
		{name: "large utf8 to date", typ: arrow.BinaryTypes.LargeString, fill: func(b array.Builder) { b.(*array.LargeStringBuilder).Append("2024-06-20") }, kind: "date", want: []string{"2024-06-20"}},
		{name: "utf8 to json", typ: arrow.BinaryTypes.String, fill: func(b array.Builder) { b.(*array.StringBuilder).Append(`{ "a":[1 ,2] }`) }, kind: "json", want: []string{`{"a":[1,2]}`}},
		{name: "dictionary", typ: dictionary, fill: func(b array.Builder) {
			for _, v := range []string{"x", "y", "x"} {
				if err := b.(*array.BinaryDictionaryBuilder).AppendString(v); err != nil {
					panic(err)
				}
			}
			b.AppendNull()
		}, kind: "string", want: []string{"x", "y", "x", "~"}},
		{name: "bool", typ: arrow.FixedWidthTypes.Boolean, fill: func(b array.Builder) {
			b.(*array.BooleanBuilder).Append(true)
			b.(*array.BooleanBuilder).Append(false)
		}, kind: "bool", want: []string{"true", "false"}},
		{name: "date32", typ: arrow.FixedWidthTypes.Date32, fill: func(b array.Builder) { b.(*array.Date32Builder).Append(-1) }, kind: "date", want: []string{"1969-12-31"}},
		{name: "date32 to timestamp", typ: arrow.FixedWidthTypes.Date32, fill: func(b array.Builder) { b.(*array.Date32Builder).Append(1) }, kind: "timestamp", want: []string{"1970-01-02T00:00:00Z"}},
		{name: "date32 beyond the years", typ: arrow.FixedWidthTypes.Date32, fill: func(b array.Builder) { b.(*array.Date32Builder).Append(math.MaxInt32) }, kind: "date", bad: errDayRange.Error()},
		{name: "date64", typ: arrow.FixedWidthTypes.Date64, fill: func(b array.Builder) { b.(*array.Date64Builder).Append(86_400_000) }, kind: "date", want: []string{"1970-01-02"}},
		{name: "date64 within a day", typ: arrow.FixedWidthTypes.Date64, fill: func(b array.Builder) { b.(*array.Date64Builder).Append(86_400_001) }, kind: "date", bad: errDayRange.Error()},
		{name: "timestamp s", typ: &arrow.TimestampType{Unit: arrow.Second, TimeZone: "Europe/Berlin"}, fill: func(b array.Builder) { b.(*array.TimestampBuilder).Append(-1) }, kind: "timestamp", want: []string{"1969-12-31T23:59:59Z"}},
		{name: "timestamp ms", typ: &arrow.TimestampType{Unit: arrow.Millisecond}, fill: func(b array.Builder) { b.(*array.TimestampBuilder).Append(1) }, kind: "timestamp", want: []string{"1970-01-01T00:00:00.001Z"}},
		{name: "timestamp ns", typ: &arrow.TimestampType{Unit: arrow.Nanosecond}, fill: func(b array.Builder) { b.(*array.TimestampBuilder).Append(-1000) }, kind: "timestamp", want: []string{"1969-12-31T23:59:59.999999Z"}},
		{name: "timestamp ns too fine", typ: &arrow.TimestampType{Unit: arrow.Nanosecond}, fill: func(b array.Builder) { b.(*array.TimestampBuilder).Append(1) }, kind: "timestamp", bad: errTooFine.Error()},
		{name: "timestamp s out of range", typ: &arrow.TimestampType{Unit: arrow.Second}, fill: func(b array.Builder) { b.(*array.TimestampBuilder).Append(math.MaxInt64) }, kind: "timestamp", bad: errNotTimestamp.Error()},
		{name: "null", typ: arrow.Null, fill: func(b array.Builder) { b.AppendNull() }, kind: "int64", want: []string{"~"}},
		{name: "binary", typ: arrow.BinaryTypes.Binary, fill: func(b array.Builder) { b.AppendNull() }, kind: "string", bad: "does not become string"},
		{name: "unknown column", typ: arrow.FixedWidthTypes.Date32, fill: func(b array.Builder) { b.AppendNull() }, bad: `arrow column "v" is not in the schema`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			columns := []string{"other string", "v " + tt.kind}
			if tt.kind == "" {
				columns = columns[:1]
			}
			stream := arrowStream(t, tt.typ, tt.fill)
			chunks, err := decodeAll(t, schemaOf(t, columns...), DecodeOptions{}, ArrowInput, string(stream))
			for i := range tt.want {
				tt.want[i] = "~|" + tt.want[i]
			}
			checkDecoded(t, chunks, err, tt.want, tt.bad)
			if tt.bad != "" {
				return
			}
			// What Arrow declares is taken as a schema, too.
			n := NewInferrer()
			if err := n.Observe(1, ArrowInput, Plain, bytes.NewReader(stream)); err != nil {
				t.Fatal(err)
			}
			s, err := n.Schema()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := decodeAll(t, s, DecodeOptions{}, ArrowInput, string(stream)); err != nil {
				t.Errorf("decode as inferred %v: %v", s.Columns(), err)
			}
		})
	}
}

func TestDecodeArrowDamaged(t *testing.T) {
	stream := arrowStream(t, arrow.BinaryTypes.String, func(b array.Builder) { b.(*array.StringBuilder).Append("abcdefgh") })
	for _, tt := range []struct {
		name string
		body []byte
		opts DecodeOptions
	}{
		{name: "nothing", body: nil},
		{name: "text", body: []byte(`{"v":1}`)},
		{name: "cut in the schema", body: stream[:50]},
		{name: "cut in the record", body: stream[:len(stream)-30]},
		{name: "too large", body: stream, opts: DecodeOptions{MaxBatchBytes: 100}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := decodeAll(t, schemaOf(t, "v string"), tt.opts, ArrowInput, string(tt.body))
			var batch *BatchError
			if !errors.As(err, &batch) || batch.Batch != 7 {
				t.Errorf("got %T %v, want a *BatchError of batch 7", err, err)
			}
		})
	}
}

func TestInferArrow(t *testing.T) {
	stream := func(typ arrow.DataType) string {
		return string(arrowStream(t, typ, func(b array.Builder) { b.AppendNull() }))
	}
	for _, tt := range []struct {
		name    string
		streams []string
		ndjson  string
		want    string
	}{
		{name: "as declared", streams: []string{stream(&arrow.Decimal128Type{Precision: 10, Scale: 3})}, want: "decimal(10,3)"},
		{name: "declared twice", streams: []string{stream(arrow.PrimitiveTypes.Int8), stream(arrow.PrimitiveTypes.Int64)}, want: "int64"},
		{name: "declared date, then timestamp", streams: []string{stream(arrow.FixedWidthTypes.Date32), stream(arrow.FixedWidthTypes.Timestamp_us)}, want: "timestamp"},
		{name: "declared int, rows of floats", streams: []string{stream(arrow.PrimitiveTypes.Int64)}, ndjson: `{"v":1.5}`, want: "string"},
		{name: "declared int, rows of small ints", streams: []string{stream(arrow.PrimitiveTypes.Int64)}, ndjson: `{"v":1}`, want: "int64"},
		{name: "dictionary of texts", streams: []string{stream(&arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String})}, want: "string"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := NewInferrer()
			for i, s := range tt.streams {
				if err := n.Observe(i+1, ArrowInput, Plain, strings.NewReader(s)); err != nil {
					t.Fatal(err)
				}
			}
			if err := n.Observe(9, NDJSONInput, Plain, strings.NewReader(tt.ndjson)); err != nil {
				t.Fatal(err)
			}
			s, err := n.Schema()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, s.Column(0).Type.String()); diff != "" {
				t.Errorf("type (-want +got):\n%s", diff)
			}
		})
	}
}

// FuzzArrow: hostile bytes are an error, never a panic.
func FuzzArrow(f *testing.F) {
	f.Add(arrowStream(f, arrow.BinaryTypes.String, func(b array.Builder) { b.(*array.StringBuilder).Append("abc"); b.AppendNull() }))
	f.Add(arrowStream(f, arrow.PrimitiveTypes.Int64, func(b array.Builder) { b.(*array.Int64Builder).Append(5) }))
	f.Fuzz(func(t *testing.T, body []byte) {
		d := NewDecoder(schemaOf(t, "v string"), DecodeOptions{UnknownColumns: true, MaxBatchBytes: 1 << 20}, func(r *Rows) error { checkVectors(t, r); return nil })
		_, err := d.Decode(1, ArrowInput, Plain, bytes.NewReader(body))
		var row *RowError
		var batch *BatchError
		if err != nil && !errors.As(err, &row) && !errors.As(err, &batch) {
			t.Errorf("got %T %v", err, err)
		}
		n := NewInferrer()
		n.opts.MaxBatchBytes = 1 << 20
		if err := n.Observe(1, ArrowInput, Plain, bytes.NewReader(body)); err != nil && !errors.As(err, &batch) {
			t.Errorf("got %T %v", err, err)
		}
		if err == nil {
			d.Flush()
		}
	})
}
