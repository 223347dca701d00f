package encoding

import (
	"bytes"
	"errors"
	"math"
	"os"
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
		{name: "utf8 view", typ: arrow.BinaryTypes.StringView, fill: func(b array.Builder) {
			b.(*array.StringViewBuilder).AppendValues([]string{"a", "", "twelve bytes", "beyond twelve"}, nil)
			b.AppendNull()
			b.(*array.StringViewBuilder).Append(strings.Repeat("x", 40_000)) // in a buffer of its own
		}, kind: "string", want: []string{"a", "", "twelve bytes", "beyond twelve", "~", strings.Repeat("x", 40_000)}},
		{name: "utf8 view that is not", typ: arrow.BinaryTypes.StringView, fill: func(b array.Builder) { b.(*array.StringViewBuilder).Append("beyond twelve\xff") }, kind: "string", bad: errNotUTF8.Error()},
		{name: "utf8 view to timestamp", typ: arrow.BinaryTypes.StringView, fill: func(b array.Builder) { b.(*array.StringViewBuilder).Append("2024-06-20T10:00:00Z") }, kind: "timestamp", want: []string{"2024-06-20T10:00:00Z"}},
		{name: "utf8 view to json", typ: arrow.BinaryTypes.StringView, fill: func(b array.Builder) { b.(*array.StringViewBuilder).Append(`{ "a":[1 ,2] }`) }, kind: "json", want: []string{`{"a":[1,2]}`}},
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
		{name: "binary view", typ: arrow.BinaryTypes.BinaryView, fill: func(b array.Builder) { b.(*array.BinaryViewBuilder).Append([]byte("beyond twelve")) }, kind: "string", bad: "does not become string"},
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

// streamOf is an IPC stream of one record with a column "v".
func streamOf(t testing.TB, v arrow.Array) []byte {
	t.Helper()
	schema := arrow.NewSchema([]arrow.Field{{Name: "v", Type: v.DataType(), Nullable: true}}, nil)
	var out bytes.Buffer
	w := ipc.NewWriter(&out, ipc.WithSchema(schema))
	if err := w.Write(array.NewRecord(schema, []arrow.Array{v}, int64(v.Len()))); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// someViews are texts in the view itself and in two buffers, and nulls.
func someViews(values ...string) *array.StringView {
	b := array.NewStringViewBuilder(memory.DefaultAllocator)
	b.SetBlockSize(64)
	for _, v := range values {
		if v == "~" {
			b.AppendNull()
		} else {
			b.Append(v)
		}
	}
	return b.NewStringViewArray()
}

func TestDecodeArrowViews(t *testing.T) {
	all := someViews("a", "a text that the first buffer has for itself", "~", "", "a text that the second buffer has for itself", "twelve bytes")
	indices := array.NewInt8Builder(memory.DefaultAllocator)
	indices.AppendValues([]int8{4, 1, 0, 4}, []bool{true, true, false, true})
	dictionary := array.NewDictionaryArray(&arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.StringView}, indices.NewArray(), all)
	for _, tt := range []struct {
		name string
		v    arrow.Array
		want []string
	}{
		{name: "whole", v: all, want: []string{"a", "a text that the first buffer has for itself", "~", "", "a text that the second buffer has for itself", "twelve bytes"}},
		{name: "slice", v: array.NewSlice(all, 1, 5), want: []string{"a text that the first buffer has for itself", "~", "", "a text that the second buffer has for itself"}},
		{name: "nothing", v: array.NewSlice(all, 3, 3), want: nil},
		{name: "dictionary", v: dictionary, want: []string{"a text that the second buffer has for itself", "a text that the first buffer has for itself", "~", "a text that the second buffer has for itself"}},
		{name: "slice of a dictionary", v: array.NewSlice(dictionary, 1, 3), want: []string{"a text that the first buffer has for itself", "~"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			chunks, err := decodeAll(t, schemaOf(t, "v string"), DecodeOptions{}, ArrowInput, string(streamOf(t, tt.v)))
			checkDecoded(t, chunks, err, tt.want, "")
		})
	}
}

// Arrow's JavaScript library, 21.2, wrote the stream: tableToIPC of a table with
// vectorFromArray(texts, new Utf8View).
func TestDecodeArrowViewsOfOthers(t *testing.T) {
	stream, err := os.ReadFile("testdata/views-js.arrows")
	if err != nil {
		t.Fatal(err)
	}
	chunks, err := decodeAll(t, schemaOf(t, "v string"), DecodeOptions{}, ArrowInput, string(stream))
	checkDecoded(t, chunks, err, []string{"a", "~", "a text that is longer than twelve bytes", "", "twelve bytes"}, "")
}

// A view that points outside of its buffers is an error of the batch.
func TestDecodeArrowViewsDamaged(t *testing.T) {
	const text = "a text that the first buffer has for itself"
	stream := streamOf(t, someViews(text, "a", "a text that the second buffer has for itself"))
	at := bytes.Index(stream, append([]byte{byte(len(text)), 0, 0, 0}, text[:4]...))
	if at < 0 {
		t.Fatal("the stream has no view")
	}
	counts := bytes.LastIndex(stream[:at], []byte{1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0}) // one array, of two buffers
	if counts < 0 {
		t.Fatal("the stream has no count of buffers")
	}
	for _, tt := range []struct {
		name string
		at   int
		to   []byte
		bad  string
	}{
		{name: "length below zero", at: at, to: []byte{0xff, 0xff, 0xff, 0xff}, bad: errArrowView.Error()},
		{name: "length beyond the buffer", at: at, to: []byte{byte(len(text) + 1)}, bad: errArrowView.Error()},
		{name: "longest", at: at, to: []byte{0xff, 0xff, 0xff, 0x7f}, bad: errArrowView.Error()},
		{name: "no such buffer", at: at + 8, to: []byte{2}, bad: errArrowView.Error()},
		{name: "buffer below zero", at: at + 8, to: []byte{0xff, 0xff, 0xff, 0xff}, bad: errArrowView.Error()},
		{name: "offset beyond the buffer", at: at + 12, to: []byte{1}, bad: errArrowView.Error()},
		{name: "largest offset", at: at + 12, to: []byte{0xff, 0xff, 0xff, 0x7f}, bad: errArrowView.Error()},
		{name: "offset below zero", at: at + 12, to: []byte{0xff, 0xff, 0xff, 0xff}, bad: errArrowView.Error()},
		{name: "billions of buffers", at: counts + 4, to: []byte{0, 0, 0, 0, 8}, bad: errArrowFrame.Error()},
		{name: "counts of no array", at: counts, to: []byte{0}, bad: errArrowFrame.Error()},
		{name: "a count below zero", at: counts + 4, to: []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, bad: errArrowFrame.Error()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			damaged := bytes.Clone(stream)
			copy(damaged[tt.at:], tt.to)
			_, err := decodeAll(t, schemaOf(t, "v string"), DecodeOptions{}, ArrowInput, string(damaged))
			var batch *BatchError
			if !errors.As(err, &batch) || !strings.Contains(err.Error(), tt.bad) {
				t.Errorf("got %T %v, want a *BatchError: %s", err, err, tt.bad)
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
		{name: "declared int, rows of floats", streams: []string{stream(arrow.PrimitiveTypes.Int64)}, ndjson: `{"v":1.5}`, want: "decimal(20,1)"},
		{name: "declared int, rows of small ints", streams: []string{stream(arrow.PrimitiveTypes.Int64)}, ndjson: `{"v":1}`, want: "int64"},
		{name: "views", streams: []string{stream(arrow.BinaryTypes.StringView)}, want: "string"},
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
	views := someViews("a", "~", "a text that the first buffer has for itself", "a text that the second buffer has for itself")
	f.Add(streamOf(f, views))
	indices := array.NewInt8Builder(memory.DefaultAllocator)
	indices.AppendValues([]int8{2, 0}, nil)
	f.Add(streamOf(f, array.NewDictionaryArray(&arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.StringView}, indices.NewArray(), views)))
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
