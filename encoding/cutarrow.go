package encoding

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"
)

// Record is an Arrow record of the Arrow library that this package is built
// with. What its columns may be is in the queue contract, "Types".
type Record = arrow.Record

// File is a file that is read at any place, such as an *os.File.
type File interface {
	io.ReaderAt
	io.Seeker
}

// CutRecords is [Cut] for records in memory: they are joined, and parted, to
// Arrow IPC streams of about size bytes. All must have one schema. The records
// stay the caller's.
func CutRecords(records iter.Seq2[Record, error], size int) iter.Seq2[Piece, error] {
	return func(yield func(Piece, error) bool) {
		c := arrowCutter{size: int64(size), yield: yield}
		for record, err := range records {
			if err == nil {
				err = c.add(record)
			}
			if c.stopped {
				return
			}
			if err != nil {
				yield(Piece{}, fmt.Errorf("cut: %w", err))
				return
			}
		}
		if err := c.flush(); err != nil && !c.stopped {
			yield(Piece{}, fmt.Errorf("cut: %w", err))
		}
	}
}

// arrowCutter writes records to one stream until it is large enough.
type arrowCutter struct {
	size    int64
	yield   func(Piece, error) bool
	stopped bool

	schema *arrow.Schema
	body   bytes.Buffer
	out    *ipc.Writer // nil between two pieces
	piece  Piece
}

func (c *arrowCutter) add(record Record) error {
	if c.schema == nil {
		c.schema = record.Schema()
	}
	if !record.Schema().Equal(c.schema) {
		return errors.New("the records have different schemas: give those of one schema to one extraction")
	}
	rows, bytes := record.NumRows(), int64(1)
	for _, column := range record.Columns() {
		n, err := arrowBytes(column)
		if err != nil {
			return err
		}
		bytes += n
	}
	step := max(rows*c.size/bytes, 1)
	for from := int64(0); from < rows && !c.stopped; from += step {
		part := sliceRecord(record, from, min(from+step, rows))
		err := c.write(part)
		part.Release()
		if err != nil {
			return err
		}
	}
	return nil
}

// arrowBytes is how much memory a column holds: of a slice, that of the whole,
// but of views that of their texts. It fails when a view has none.
func arrowBytes(a arrow.Array) (n int64, err error) {
	views, is := a.(*array.StringView)
	if !is {
		return dataBytes(a.Data()), nil
	}
	n = int64(a.Len() * arrow.ViewHeaderSizeBytes)
	for i := range a.Len() {
		if a.IsNull(i) {
			continue
		}
		text, ok := viewedText(views, i)
		if !ok {
			return 0, errArrowView
		}
		n += int64(len(text))
	}
	return n, nil
}

func dataBytes(d arrow.ArrayData) (n int64) {
	for _, b := range d.Buffers() {
		if b != nil {
			n += int64(b.Len())
		}
	}
	for _, child := range d.Children() {
		n += dataBytes(child)
	}
	return n
}

// sliceRecord is rows from to to of a record whose views arrowBytes has seen. A
// slice of views keeps all their buffers, and the IPC writer would write them
// again with each: its views are made anew.
func sliceRecord(record Record, from, to int64) Record {
	part := record.NewSlice(from, to)
	columns := slices.Clone(part.Columns())
	for i, column := range columns {
		views, is := column.(*array.StringView)
		if !is {
			continue
		}
		b := array.NewStringViewBuilder(memory.DefaultAllocator)
		b.Reserve(views.Len())
		for j := range views.Len() {
			if views.IsNull(j) {
				b.AppendNull()
			} else {
				b.Append(views.Value(j))
			}
		}
		columns[i] = b.NewArray()
	}
	return array.NewRecord(part.Schema(), columns, part.NumRows())
}

func (c *arrowCutter) write(part Record) error {
	if c.out == nil {
		c.out = ipc.NewWriter(&c.body, ipc.WithSchema(c.schema))
	}
	if err := c.out.Write(part); err != nil {
		return err
	}
	c.piece.Rows += part.NumRows()
	if int64(c.body.Len()) < c.size {
		return nil
	}
	return c.flush()
}

// flush ends the piece, if one has begun.
func (c *arrowCutter) flush() error {
	if c.out == nil {
		return nil
	}
	if err := c.out.Close(); err != nil {
		return err
	}
	c.piece.Body = c.body.Bytes()
	c.stopped = !c.yield(c.piece, nil)
	c.out = nil
	c.piece = Piece{before: c.piece.before + c.piece.Rows}
	c.body.Reset()
	return nil
}

func cutStream(r io.Reader, size int) iter.Seq2[Piece, error] {
	return CutRecords(func(yield func(Record, error) bool) {
		in, err := ipc.NewReader(r)
		if err != nil {
			yield(nil, err)
			return
		}
		defer in.Release()
		for in.Next() {
			if !yield(in.Record(), nil) {
				return
			}
		}
		if err := in.Err(); err != nil && !errors.Is(err, io.EOF) {
			yield(nil, err)
		}
	}, size)
}

// CutArrowFile is [Cut] for an Arrow IPC file (Feather V2), which is read at
// several places.
func CutArrowFile(f File, size int) iter.Seq2[Piece, error] {
	return CutRecords(func(yield func(Record, error) bool) {
		in, err := ipc.NewFileReader(readAtSeeker{f, readerOf(f)})
		if err != nil {
			yield(nil, err)
			return
		}
		for i := range in.NumRecords() {
			record, err := in.Record(i)
			if !yield(record, err) || err != nil {
				return
			}
		}
	}, size)
}

// CutParquet is [Cut] for a Parquet file. Memory holds one of its row groups.
func CutParquet(f File, size int) iter.Seq2[Piece, error] {
	return CutRecords(func(yield func(Record, error) bool) {
		if err := parquetRecords(f, func(r Record) bool { return yield(r, nil) }); err != nil {
			yield(nil, err)
		}
	}, size)
}

func parquetRecords(f File, yield func(Record) bool) (err error) {
	defer undamaged(&err)
	in, err := file.NewParquetReader(readAtSeeker{f, readerOf(f)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	columns, err := pqarrow.NewFileReader(in, pqarrow.ArrowReadProperties{BatchSize: readParquetRows}, memory.DefaultAllocator)
	if err != nil {
		return err
	}
	// Its context counts only for columns that are read side by side.
	records, err := columns.GetRecordReader(context.Background(), nil, nil)
	if err != nil {
		return err
	}
	defer records.Release()
	for records.Next() {
		if !yield(records.Record()) {
			return nil
		}
	}
	if err := records.Err(); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// readAtSeeker is what Arrow's readers ask for: a file that does not go when
// they close it.
type readAtSeeker struct {
	File
	io.Reader
}

func readerOf(f File) io.Reader { return io.NewSectionReader(f, 0, 1<<62) }
