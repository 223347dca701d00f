package encoding

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"time"

	"github.com/hamba/avro/v2"
	"github.com/hamba/avro/v2/ocf"
)

// readAvro reads a file with hamba/avro, the one reader of ours and others that
// knows every codec we write. A panic of it is an error of the file.
//
// The header is compared as a whole first: it holds the schema and the codec,
// and a file of ours has no other. It ends in the marker that must also end the
// file, which tells a cut file from a short one where the reader does not.
func (d *Decoder) readAvro(r io.ReaderAt, size int64, compression string) (err error) {
	defer undamaged(&err)
	header := avroHeader(d.builder.schema, compression)
	begin := make([]byte, len(header))
	if n, err := r.ReadAt(begin, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	} else if !bytes.Equal(begin[:n], header) {
		if !bytes.HasPrefix(begin, []byte("Obj\x01")) || n < len(header) {
			return errors.New("it does not begin as an avro file")
		}
		return &SchemaError{"the header is not that of the schema and codec"}
	}
	var end [16]byte
	if _, err := r.ReadAt(end[:], size-int64(len(end))); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if !bytes.HasSuffix(header, end[:]) {
		return fmt.Errorf("the last block is cut off: %w", io.ErrUnexpectedEOF)
	}
	in, err := ocf.NewDecoder(io.NewSectionReader(r, 0, size), ocf.WithDecoderSchemaCache(&avro.SchemaCache{}),
		ocf.WithDecoderConfig(avro.Config{MaxByteSliceSize: math.MaxInt32}.Freeze()))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	columns := make([]avroColumn, d.builder.schema.Len())
	for i, c := range d.builder.schema.columns {
		columns[i] = avroColumn{name: avroName(c.Name), builder: &d.builder.columns[i]}
	}
	var record map[string]any
	for rows := int64(1); in.HasNext(); rows++ {
		if err := in.Decode(&record); err != nil {
			return fmt.Errorf("row %d: %w", rows, err)
		}
		row := d.builder.begin()
		for _, c := range columns {
			c.builder.filled = row + 1
			if err := c.take(row, record[c.name]); err != nil {
				return &RowError{Row: rows, Column: c.builder.column.Name, Value: shortened(fmt.Append(nil, record[c.name])), Err: err}
			}
		}
		d.builder.end(len(columns))
		if err := d.rowDone(); err != nil {
			return err
		}
	}
	return in.Error()
}

// avroHeader is what a file begins with, up to and with its sync marker.
func avroHeader(schema *Schema, compression string) []byte {
	w := newAvroWriter(io.Discard, schema, compression)
	defer w.recycle()
	return bytes.Clone(w.out)
}

// avroColumn takes a record's values.
type avroColumn struct {
	name    string
	builder *columnBuilder
}

// take sets a value as the generic decoder gives it: nil, or a union's one
// branch.
func (a avroColumn) take(row int, value any) error {
	if union, ok := value.(map[string]any); ok {
		for _, value = range union { // one
		}
	}
	c := a.builder
	switch v := value.(type) {
	case nil:
		c.setNull(row)
		return nil
	case string:
		if c.kind == JSONText && v == "null" {
			c.setNull(row)
			return nil
		}
		if c.kind.IsText() {
			if !c.setStrict(row, []byte(v)) {
				return errNotUTF8
			}
			return nil
		}
	case int64:
		if c.kind == Int64 {
			c.ints[row] = v
			return nil
		}
	case float64:
		if c.kind == Float64 {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return errNotFiniteValue
			}
			c.floats[row] = v
			return nil
		}
	case bool:
		if c.kind == Bool {
			c.setBool(row, v)
			return nil
		}
	case *big.Rat:
		if c.kind == Decimal {
			return c.parse(row, []byte(v.FloatString(int(c.column.Type.Scale))))
		}
	case time.Time:
		if day := v.Unix() / 86400; c.kind == Date && day >= firstDay && day <= lastDay {
			c.days[row] = int32(day)
			return nil
		}
		if c.kind == Timestamp {
			c.ints[row] = v.UnixMicro()
			return nil
		}
	}
	return fmt.Errorf("is of type %T, which is none of %s", value, c.column.Type)
}
