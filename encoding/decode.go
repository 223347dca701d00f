package encoding

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// DecodeOptions bounds and loosens a [Decoder]. The zero value is strict.
type DecodeOptions struct {
	// UnknownColumns ignores values of columns that the schema lacks; they are
	// errors otherwise.
	UnknownColumns bool
	// LenientColumn is a date or timestamp column in which a value that cannot
	// be read becomes null; "" is none.
	LenientColumn string
	// ChunkBytes is the size in memory at which a chunk is emitted; 64 MiB when
	// 0, at most 1 GiB.
	ChunkBytes int64
	// MaxBatchBytes is the unpacked size at which a batch is refused; 1 GiB when 0.
	MaxBatchBytes int64
	// MaxRowBytes is how long a row's text may be; 16 MiB when 0, at most 256 MiB.
	MaxRowBytes int64
	// Separator stands between the fields of CSV batches; Comma when empty.
	Separator Separator
	// Recycle reuses a chunk's memory for the next one: emit must not keep the
	// rows it is given, or anything that shares memory with them, beyond its return.
	Recycle bool
}

func (o DecodeOptions) withDefaults() DecodeOptions {
	set := func(v *int64, usual, most int64) {
		if *v <= 0 {
			*v = usual
		}
		*v = min(*v, most)
	}
	set(&o.ChunkBytes, 64<<20, 1<<30)
	set(&o.MaxBatchBytes, 1<<30, 1<<50)
	set(&o.MaxRowBytes, 16<<20, 256<<20)
	return o
}

// BatchError says why a batch could not be decoded as a whole: it is truncated,
// too large, or not what it was said to be. Batch is the number given to Decode.
type BatchError struct {
	Batch int
	Err   error
}

func (e *BatchError) Error() string {
	if e.Batch <= 0 {
		return "batch: " + e.Err.Error()
	}
	return fmt.Sprintf("batch %d: %v", e.Batch, e.Err)
}

func (e *BatchError) Unwrap() error { return e.Err }

// Decoder turns the batches of one extraction into [Rows] of one schema. How
// rows are cut into chunks depends on their values and the options alone, not on
// batches. It is for one goroutine and needs no closing. After an error it takes
// nothing more.
type Decoder struct {
	opts    DecodeOptions
	emit    func(*Rows) error
	builder *builder
	input   input
	ndjson  *ndjson
	csv     csvRows
	arrow   arrowRows
	whole   bool // what is read is a file of ours: every column, in the schema's order
	err     error
}

// NewDecoder decodes into rows of schema, which emit is given chunk by chunk.
// The rows are emit's to keep. An error of emit ends the decoding.
func NewDecoder(schema *Schema, opts DecodeOptions, emit func(*Rows) error) *Decoder {
	d := &Decoder{opts: opts.withDefaults(), emit: emit, builder: newBuilder(schema)}
	d.builder.recycle = opts.Recycle
	d.ndjson = newNDJSON(d.builder, d.opts)
	lenient := d.ndjson.lenient
	d.csv = newCSVRows(opts.Separator, d.builder, lenient)
	d.arrow = arrowRows{builder: d.builder, lenient: lenient, unknown: opts.UnknownColumns}
	return d
}

// Decode appends the rows of one batch and returns how many it holds. Errors are
// *RowError for a row or value, *BatchError for the batch; others come from body
// or emit. Both kinds carry batch, which counts from 1.
func (d *Decoder) Decode(batch int, format InputFormat, packing Compression, body io.Reader) (rows int64, err error) {
	if d.err != nil {
		return 0, d.err
	}
	defer func() { d.err = err }()
	r, err := d.input.open(packing, body)
	if err != nil {
		return 0, d.input.explain(batch, err)
	}
	d.input.window.reset(r, d.opts.MaxBatchBytes)
	switch format {
	case CSVInput:
		rows, err = d.readCSV(batch)
	case ArrowInput:
		rows, err = d.arrow.read(r, batch, d.opts.MaxBatchBytes, d.rowDone)
	case NDJSONInput:
		rows, err = d.ndjson.read(&d.input.window, batch, d.opts.MaxRowBytes, d.rowDone)
	default:
		err = unknownFormat(format)
	}
	return rows, d.input.explain(batch, err)
}

func (d *Decoder) readCSV(batch int) (rows int64, err error) {
	err = d.csv.header(&d.input.window, d.opts.MaxRowBytes, d.csvColumn)
	switch {
	case errors.Is(err, io.EOF) && !d.whole:
		return 0, nil // no header, no rows
	case errors.Is(err, io.EOF):
		return 0, &SchemaError{"the file has no header row"}
	case err != nil:
		return 0, err
	case d.whole:
		if err := d.csv.ordered(d.builder.schema); err != nil {
			return 0, err
		}
	}
	return d.csv.read(&d.input.window, batch, d.opts.MaxRowBytes, d.rowDone)
}

func unknownFormat(format InputFormat) error {
	return fmt.Errorf("unknown input format %q: use ndjson, csv or arrow", format)
}

// csvColumn finds the column that a CSV header names.
func (d *Decoder) csvColumn(name string) (csvField, error) {
	if i, ok := d.builder.schema.Index(name); ok {
		return csvField{name: name, column: &d.builder.columns[i]}, nil
	}
	if d.opts.UnknownColumns {
		return csvField{name: name}, nil
	}
	if d.whole {
		return csvField{}, &SchemaError{"is not in the schema"}
	}
	return csvField{}, errUnknownColumn
}

func (d *Decoder) rowDone() error {
	if d.builder.size() < d.opts.ChunkBytes {
		return nil
	}
	return d.cut()
}

// Flush emits what no chunk has held yet.
func (d *Decoder) Flush() error {
	if d.err == nil {
		d.err = d.cut()
	}
	return d.err
}

func (d *Decoder) cut() error {
	rows := d.builder.cut()
	if rows == nil {
		return nil
	}
	if err := d.emit(rows); err != nil {
		return &emitError{err}
	}
	return nil
}

// emitError keeps an error of emit from being taken for the batch's.
type emitError struct{ err error }

func (e *emitError) Error() string { return "emit rows: " + e.err.Error() }
func (e *emitError) Unwrap() error { return e.err }

// input unpacks bodies one after the other in the same buffers.
type input struct {
	source source
	gzip   *gzip.Reader
	buffer *bufio.Reader
	zstd   *zstd.Decoder
	window window
}

// maxZstdWindow is how far back a zstd frame may refer, and so what it costs in memory.
const maxZstdWindow = 64 << 20

func (in *input) open(packing Compression, body io.Reader) (io.Reader, error) {
	in.source = source{r: body}
	var err error
	switch packing {
	case Plain:
		return &in.source, nil
	case Gzip:
		if in.gzip == nil {
			in.gzip, in.buffer = new(gzip.Reader), bufio.NewReaderSize(nil, 64<<10)
		}
		in.buffer.Reset(&in.source)
		if err = in.gzip.Reset(in.buffer); errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, fmt.Errorf("unpack gzip: %w", err)
		}
		return unpacked{in.gzip, "gzip"}, nil
	case Zstd:
		if in.zstd == nil {
			in.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxZstdWindow))
			if err != nil {
				return nil, fmt.Errorf("open zstd: %w", err)
			}
		}
		if err = in.zstd.Reset(&in.source); err != nil {
			return nil, fmt.Errorf("unpack zstd: %w", err)
		}
		return unpacked{in.zstd, "zstd"}, nil
	}
	return nil, fmt.Errorf("unknown compression %q: use gzip, zstd or none", packing)
}

// explain gives an error its type: a row's and emit's stay what they are, the
// body's own is no fault of the batch, all others are.
func (in *input) explain(batch int, err error) error {
	var row *RowError
	var emit *emitError
	switch {
	case err == nil, errors.As(err, &row), errors.As(err, &emit):
		return err
	case in.source.err != nil:
		return fmt.Errorf("read batch %d: %w", batch, in.source.err)
	}
	return &BatchError{Batch: batch, Err: err}
}

// source remembers the body's own error.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// unpacked names the packing in its errors.
type unpacked struct {
	r       io.Reader
	packing string
}

func (u unpacked) Read(p []byte) (int, error) {
	n, err := u.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("unpack %s: %w", u.packing, err)
	}
	return n, err
}
