package encoding

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"
)

// readParquetRows is how many rows of a parquet file are decoded at a time.
const readParquetRows = 16 << 10

// readParquet reads a file with Arrow's reader. A panic of it is an error of
// the file.
func (d *Decoder) readParquet(r io.ReaderAt, size int64) (err error) {
	defer undamaged(&err)
	f, err := file.NewParquetReader(io.NewSectionReader(r, 0, size))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	columns, err := pqarrow.NewFileReader(f, pqarrow.ArrowReadProperties{BatchSize: readParquetRows}, memory.DefaultAllocator)
	if err != nil {
		return err
	}
	schema, err := columns.Schema()
	if err != nil {
		return err
	}
	if err := sameArrow(schema, d.builder.schema); err != nil {
		return err
	}
	// Its context counts only for columns that are read side by side.
	records, err := columns.GetRecordReader(context.Background(), nil, nil)
	if err != nil {
		return err
	}
	defer records.Release()
	places := make([]int, d.builder.schema.Len())
	for i := range places {
		places[i] = i + 1
	}
	var rows int64
	for records.Next() {
		n, err := d.arrow.record(records.Record(), places, 0, rows, d.rowDone)
		rows += n
		if err != nil {
			return err
		}
	}
	if err := records.Err(); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if said := f.NumRows(); said != rows {
		return fmt.Errorf("the footer says %d rows, and the columns hold %d", said, rows)
	}
	return nil
}

// sameArrow refuses columns that are not the schema's, in name, order or type.
func sameArrow(got *arrow.Schema, schema *Schema) error {
	if n := got.NumFields(); n != schema.Len() {
		return &SchemaError{fmt.Sprintf("the file has %d columns, the schema %d", n, schema.Len())}
	}
	for i, want := range schema.columns {
		f := got.Field(i)
		if f.Name != want.Name {
			return &SchemaError{fmt.Sprintf("column %d is %q, the schema has %q there", i+1, shortened([]byte(f.Name)), want.Name)}
		}
		if t := arrowType(want.Type, false); !arrow.TypeEqual(f.Type, t) {
			return &SchemaError{fmt.Sprintf("column %q is of type %s, the schema's %s is %s", want.Name, f.Type, want.Type, t)}
		}
	}
	return nil
}
