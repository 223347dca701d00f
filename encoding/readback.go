package encoding

import (
	"errors"
	"fmt"
	"io"
)

// readBack is how much of a file ReadFile holds in columns at a time.
const readBack = 4 << 20

// SchemaError says that a file's columns are not those it should have.
type SchemaError struct{ Message string }

func (e *SchemaError) Error() string { return e.Message }

// ReadFile reads a file that a [Writer] of the same schema and options wrote,
// or that claims to be one, and hands on its rows in the file's order. It is
// the check of what is stored, so that it reads with code that had no part in
// the writing: csv and json with our decoders of extractors' batches, parquet
// with Arrow's reader, avro with hamba/avro's.
//
// A json column's null comes as a null of the column, as it does from batches.
// The rows are emit's until it returns. Memory holds a few megabytes of a csv,
// json or avro file and a row group of a parquet one. The error is a
// [*SchemaError] when the file has other columns, a [*RowError] for a value
// that is none of its column's, and another one when it is damaged; damage
// never is a panic. A plain csv or json file that was cut between two rows is
// not damaged: count the rows.
func ReadFile(r io.ReaderAt, size int64, schema *Schema, opts FileOptions, emit func(*Rows) error) error {
	d := NewDecoder(schema, DecodeOptions{
		ChunkBytes: readBack, MaxBatchBytes: 1 << 50, MaxRowBytes: 256 << 20, Recycle: true, Separator: opts.Separator,
	}, emit)
	d.whole, d.ndjson.whole, d.csv.blanks = true, true, schema.Len() == 1
	var err error
	switch opts.Format {
	case CSV:
		err = d.readText(r, size, CSVInput, Plain)
	case CSVGzip:
		err = d.readText(r, size, CSVInput, Gzip)
	case JSON:
		err = d.readText(r, size, NDJSONInput, Plain)
	case JSONGzip:
		err = d.readText(r, size, NDJSONInput, Gzip)
	case Parquet:
		err = d.readParquet(r, size)
	case Avro:
		err = d.readAvro(r, size, opts.Compression)
	default:
		_, err = ParseFormat(string(opts.Format))
	}
	if err == nil {
		err = d.Flush()
	}
	if err != nil {
		return fmt.Errorf("read %s file: %w", opts.Format, err)
	}
	return nil
}

func (d *Decoder) readText(r io.ReaderAt, size int64, format InputFormat, packing Compression) error {
	_, err := d.Decode(0, format, packing, io.NewSectionReader(r, 0, size))
	var batch *BatchError
	if errors.As(err, &batch) {
		return batch.Err
	}
	return err
}

// ordered refuses a header that is not the schema's columns in their order.
func (s *csvRows) ordered(schema *Schema) error {
	if len(s.fields) != schema.Len() {
		return &SchemaError{fmt.Sprintf("the header names %d columns, the schema has %d", len(s.fields), schema.Len())}
	}
	for i, f := range s.fields {
		if want := schema.columns[i].Name; f.name != want {
			return &SchemaError{fmt.Sprintf("column %d of the header is %q, the schema has %q there", i+1, shortened([]byte(f.name)), want)}
		}
	}
	return nil
}

// undamaged turns a panic of somebody else's reader, which damaged files
// provoke, into an error.
func undamaged(err *error) {
	switch p := recover().(type) {
	case nil:
	case error:
		*err = fmt.Errorf("damaged: %w", p)
	default:
		*err = fmt.Errorf("damaged: %v", p)
	}
}
