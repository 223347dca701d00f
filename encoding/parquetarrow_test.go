package encoding

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/decimal128"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/metadata"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"
	"github.com/google/go-cmp/cmp"
)

// readParquet reads a file with Arrow's reader, as a table's columns.
func readParquet(t testing.TB, b []byte) [][]any {
	t.Helper()
	r, err := file.NewParquetReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	fr, err := pqarrow.NewFileReader(r, pqarrow.ArrowReadProperties{BatchSize: 1 << 20}, memory.DefaultAllocator)
	if err != nil {
		t.Fatal(err)
	}
	table, err := fr.ReadTable(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer table.Release()
	columns := make([][]any, table.NumCols())
	for c := range columns {
		for _, chunk := range table.Column(c).Data().Chunks() {
			for i := range chunk.Len() {
				columns[c] = append(columns[c], arrowValue(chunk, i))
			}
		}
	}
	return columns
}

func arrowValue(a arrow.Array, i int) any {
	if a.IsNull(i) {
		return nil
	}
	switch a := a.(type) {
	case *array.String:
		return strings.Clone(a.Value(i))
	case *array.Int64:
		return a.Value(i)
	case *array.Timestamp:
		return int64(a.Value(i))
	case *array.Date32:
		return int64(a.Value(i))
	case *array.Float64:
		return a.Value(i)
	case *array.Decimal128:
		return a.Value(i)
	case *array.Boolean:
		return a.Value(i)
	}
	panic(fmt.Sprintf("array of %s", a.DataType()))
}

func parquetDiff(want, got [][]any) string {
	return cmp.Diff(want, got, cmp.Comparer(func(a, b decimal128.Num) bool { return a == b }),
		cmp.Comparer(func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }))
}

// parquetSketch is what a file's footer says about its columns: type, nulls
// and bounds per row group.
func parquetSketch(t testing.TB, b []byte) []string {
	t.Helper()
	r, err := file.NewParquetReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for c := range r.MetaData().Schema.NumColumns() {
		column := r.MetaData().Schema.Column(c)
		lines = append(lines, fmt.Sprintf("%s %s(%d) %s, converted %s", column.Name(), column.PhysicalType(), column.TypeLength(), column.LogicalType(), column.ConvertedType()))
		for g := range r.NumRowGroups() {
			lines = append(lines, parquetChunkSketch(t, r.MetaData().RowGroup(g), c))
		}
	}
	return lines
}

func parquetChunkSketch(t testing.TB, group *metadata.RowGroupMetaData, c int) string {
	t.Helper()
	chunk, err := group.ColumnChunk(c)
	if err != nil {
		t.Fatal(err)
	}
	stats, err := chunk.Statistics()
	if err != nil {
		t.Fatal(err)
	}
	if stats == nil {
		return "no statistics"
	}
	if !stats.HasMinMax() {
		return fmt.Sprintf("%d nulls", stats.NullCount())
	}
	return fmt.Sprintf("%d nulls, %x to %x", stats.NullCount(), stats.EncodeMin(), stats.EncodeMax())
}

// writeWithArrow writes rows with the pqarrow package, dictionaries on.
func writeWithArrow(t testing.TB, b *bytes.Buffer, rows *Rows) {
	t.Helper()
	rec := arrowRecord(rows)
	defer rec.Release()
	writeRecordWithArrow(t, b, rec)
}

// arrowRecord lays rows out as Arrow arrays, sharing memory.
func arrowRecord(rows *Rows) arrow.Record {
	fields := make([]arrow.Field, len(rows.vectors))
	arrays := make([]arrow.Array, len(rows.vectors))
	for i := range rows.vectors {
		v, column := &rows.vectors[i], rows.schema.Column(i)
		var typ arrow.DataType
		var buffers []*memory.Buffer
		switch column.Type.Kind {
		case String, JSONText:
			typ = arrow.BinaryTypes.String
			buffers = []*memory.Buffer{memory.NewBufferBytes(arrow.Int32Traits.CastToBytes(v.text.offsets)), memory.NewBufferBytes(v.text.data)}
		case Int64:
			typ = arrow.PrimitiveTypes.Int64
			buffers = []*memory.Buffer{memory.NewBufferBytes(arrow.Int64Traits.CastToBytes(v.ints))}
		case Timestamp:
			typ = arrow.FixedWidthTypes.Timestamp_us
			buffers = []*memory.Buffer{memory.NewBufferBytes(arrow.Int64Traits.CastToBytes(v.ints))}
		case Date:
			typ = arrow.FixedWidthTypes.Date32
			buffers = []*memory.Buffer{memory.NewBufferBytes(arrow.Int32Traits.CastToBytes(v.days))}
		case Float64:
			typ = arrow.PrimitiveTypes.Float64
			buffers = []*memory.Buffer{memory.NewBufferBytes(arrow.Float64Traits.CastToBytes(v.floats))}
		case Decimal:
			typ = &arrow.Decimal128Type{Precision: column.Type.Precision, Scale: column.Type.Scale}
			buffers = []*memory.Buffer{memory.NewBufferBytes(arrow.Decimal128Traits.CastToBytes(v.decimals))}
		case Bool:
			typ = arrow.FixedWidthTypes.Boolean
			buffers = []*memory.Buffer{memory.NewBufferBytes(v.bools)}
		}
		var valid *memory.Buffer
		if v.nulls > 0 {
			valid = memory.NewBufferBytes(v.valid)
		}
		fields[i] = arrow.Field{Name: column.Name, Type: typ, Nullable: true}
		arrays[i] = array.MakeFromData(array.NewData(typ, rows.n, append([]*memory.Buffer{valid}, buffers...), nil, v.nulls, 0))
	}
	return array.NewRecord(arrow.NewSchema(fields, nil), arrays, int64(rows.n))
}

func writeRecordWithArrow(t testing.TB, b *bytes.Buffer, rec arrow.Record) {
	t.Helper()
	w, err := pqarrow.NewFileWriter(rec.Schema(), b, parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Snappy),
		parquet.WithStoreDecimalAsInteger(true)), pqarrow.DefaultWriterProps())
	if err == nil {
		err = w.WriteBuffered(rec)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}
