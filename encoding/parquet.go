package encoding

import (
	"fmt"
	"io"
	"slices"
	"sync"
)

// parquetWriter writes a Parquet file: a flat schema of optional columns, data
// pages of version 1, and the encodings that every reader has known for years
// (PLAIN, RLE, RLE_DICTIONARY). It holds one row group at most.
//
// Whatever it decides, it decides on the sequence of values: where a row group
// or a page ends, whether a column has a dictionary, which bounds stand in the
// footer. So the bytes do not depend on how rows were cut into Write calls, nor
// on whether a vector came as a dictionary.
type parquetWriter struct {
	file   *parquetFile // nil once closed
	failed error
}

// parquetLimits are where row groups, pages and dictionaries end. Row counts
// include nulls; bytes are those of the PLAIN encoding.
type parquetLimits struct {
	groupRows       int
	groupBytes      int64 // reached by a row, that row is its group's last
	pageRows        int
	pageBytes       int // reached by a value, that value is its page's last
	dictionaryBytes int
	dictionaryTrial int // distinct values after which a dictionary has to pay
	boundBytes      int // longer texts are no bounds in the footer
}

// parquetDefaults keep a group near 64 MB, a page near 1 MB and a dictionary
// within what readers hold without a second thought.
func parquetDefaults() parquetLimits {
	return parquetLimits{
		groupRows: 128 << 10, groupBytes: 64 << 20,
		pageRows: 32 << 10, pageBytes: 1 << 20,
		dictionaryBytes: 1 << 20, dictionaryTrial: 8 << 10,
		boundBytes: 256,
	}
}

// newParquetWriter begins a Parquet file. Compression is snappy, zstd, gzip or
// none, snappy when empty.
func newParquetWriter(w io.Writer, schema *Schema, opts FileOptions) (Writer, error) {
	p, err := newLimitedParquetWriter(w, schema, opts, parquetDefaults())
	if err != nil {
		return nil, err
	}
	return p, nil
}

func newLimitedParquetWriter(w io.Writer, schema *Schema, opts FileOptions, limits parquetLimits) (*parquetWriter, error) {
	codec, err := parseParquetCodec(opts.Compression)
	if err != nil {
		return nil, err
	}
	file := parquetFiles.Get().(*parquetFile)
	file.begin(w, schema, codec, limits)
	return &parquetWriter{file: file}, nil
}

// parquetFiles recycles the buffers and tables of closed files: with files of
// a few hundred rows they would cost more than the rows.
var parquetFiles = sync.Pool{New: func() any { return newParquetFile() }}

// parquetPooledBytes is the most that a closed file leaves to the next.
const parquetPooledBytes = 64 << 20

func (p *parquetWriter) Write(rows *Rows) error {
	if p.failed != nil {
		return p.failed
	}
	err := p.file.schema.takes(rows)
	if err == nil {
		err = p.file.write(rows)
	}
	if err != nil {
		p.failed = fmt.Errorf("write parquet: %w", err)
	}
	return p.failed
}

func (p *parquetWriter) Close() error {
	file, err := p.file, p.failed
	if p.file = nil; file == nil {
		return p.failed
	}
	if err == nil {
		if err = file.finish(); err != nil {
			err = fmt.Errorf("write parquet: %w", err)
		}
	}
	if file.w = nil; file.retained() <= parquetPooledBytes {
		parquetFiles.Put(file)
	}
	if p.failed = errWriterClosed; err != nil {
		p.failed = err
	}
	return err
}

// parquetFile is the state of one open file and its recycled memory.
type parquetFile struct {
	w      io.Writer
	schema *Schema
	codec  parquetCodec
	limits parquetLimits

	columns  []parquetColumn
	rowBytes int64 // what every row costs of a group, texts' bytes aside

	rows      int   // rows in the open group
	bytes     int64 // their size as groupBytes counts it
	total     int64 // rows in closed groups
	offset    int64 // where out begins in the file
	out       []byte
	groups    thriftBuffer // RowGroup structs of the closed groups
	groupSize int          // how many

	footer   thriftBuffer
	elements []byte // the footer's schema, kept while the schema stays the same
	pages    parquetPages
}

func newParquetFile() *parquetFile {
	f := &parquetFile{}
	f.pages.init()
	return f
}

func (f *parquetFile) begin(w io.Writer, schema *Schema, codec parquetCodec, limits parquetLimits) {
	f.w, f.codec, f.limits = w, codec, limits
	if f.schema != schema && (f.schema == nil || !f.schema.Equal(schema)) {
		f.setSchema(schema)
	}
	f.rows, f.bytes, f.total, f.offset, f.groupSize = 0, 0, 0, 0, 0
	f.groups.reset()
	for i := range f.columns {
		f.columns[i].reset()
	}
	f.out = append(f.out[:0], parquetMagic...)
}

func (f *parquetFile) setSchema(schema *Schema) {
	f.schema, f.rowBytes = schema, 0
	f.columns = f.columns[:cap(f.columns)]
	f.columns = slices.Grow(f.columns, max(schema.Len()-len(f.columns), 0))[:schema.Len()]
	for i := range f.columns {
		f.columns[i].define(schema.Column(i))
		f.rowBytes += int64(f.columns[i].cost())
	}
	f.elements = appendParquetSchema(f.elements[:0], f.columns)
}

// write appends rows to groups and closes each group that is full.
func (f *parquetFile) write(rows *Rows) error {
	for from := 0; from < rows.n; {
		to, size := f.fit(rows, from)
		for i := range f.columns {
			if err := f.columns[i].append(f, &rows.vectors[i], from, to); err != nil {
				return err
			}
		}
		f.rows += to - from
		f.bytes += size
		from = to
		if f.rows >= f.limits.groupRows || f.bytes >= f.limits.groupBytes {
			if err := f.closeGroup(); err != nil {
				return err
			}
		}
	}
	return nil
}

// fit finds how far the rows from `from` go into the open group: up to and
// with the row that fills it. It also returns the size of those rows.
func (f *parquetFile) fit(rows *Rows, from int) (to int, size int64) {
	to = min(rows.n, from+f.limits.groupRows-f.rows)
	size = f.size(rows, from, to)
	room := f.limits.groupBytes - f.bytes
	if size <= room {
		return to, size
	}
	// The filling row lies within: halve until it is found, measuring each
	// half once.
	lo, before, hi := from, int64(0), to // size of [from,lo) < room <= size of [from,hi)
	for hi-lo > 1 {
		mid := lo + (hi-lo)/2
		if half := f.size(rows, lo, mid); before+half >= room {
			hi = mid
		} else {
			lo, before = mid, before+half
		}
	}
	return hi, before + f.size(rows, lo, hi)
}

// size is what rows [from,to) cost of a group.
func (f *parquetFile) size(rows *Rows, from, to int) int64 {
	size := f.rowBytes * int64(to-from)
	for i := range f.columns {
		if f.columns[i].physical == parquetByteArray {
			size += parquetTextBytes(&rows.vectors[i], from, to)
		}
	}
	return size
}

// closeGroup writes the open group's column chunks.
func (f *parquetFile) closeGroup() error {
	start := f.position()
	f.groups.push()
	f.groups.list(1, thriftStruct, len(f.columns))
	var size, unpacked int64
	for i := range f.columns {
		c := &f.columns[i]
		chunk, err := f.pages.chunk(f, c)
		if err != nil {
			return fmt.Errorf("column %q: %w", c.name, err)
		}
		appendParquetChunk(&f.groups, c, f.codec, &chunk)
		size += chunk.packed
		unpacked += chunk.unpacked
		c.reset()
	}
	f.groups.i64(2, unpacked)
	f.groups.i64(3, int64(f.rows))
	f.groups.i64(5, start)
	f.groups.i64(6, size)
	f.groups.close()
	f.groupSize++
	f.total += int64(f.rows)
	f.rows, f.bytes = 0, 0
	return nil
}

// finish writes the last group and the footer.
func (f *parquetFile) finish() error {
	if f.rows > 0 {
		if err := f.closeGroup(); err != nil {
			return err
		}
	}
	f.appendFooter()
	return f.flush()
}

func (f *parquetFile) position() int64 { return f.offset + int64(len(f.out)) }

// flush hands what is ready to the file's writer.
func (f *parquetFile) flush() error {
	n, err := f.w.Write(f.out)
	if err == nil && n < len(f.out) {
		err = io.ErrShortWrite
	}
	f.offset += int64(len(f.out))
	f.out = f.out[:0]
	return err
}

// retained is the memory that the file holds, within a few kilobytes per column.
func (f *parquetFile) retained() int {
	n := cap(f.out) + cap(f.groups.b) + cap(f.footer.b) + f.pages.retained()
	columns := f.columns[:cap(f.columns)]
	for i := range columns {
		n += columns[i].retained()
	}
	return n
}
