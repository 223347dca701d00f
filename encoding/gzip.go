package encoding

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
)

// gzipLevel is the effort of csv+gzip and json+gzip files.
const gzipLevel = 6

// gzipPool spares a file its compressor, whose tables are larger than most
// files. Reset makes a used one write what a new one would.
var gzipPool = sync.Pool{New: func() any {
	z, err := gzip.NewWriterLevel(io.Discard, gzipLevel)
	if err != nil {
		panic(fmt.Sprintf("gzip level %d: %v", gzipLevel, err)) // a constant is wrong
	}
	return z
}}

// gzipFile is a file of lines in one gzip member. Its header carries neither
// name nor time.
type gzipFile struct {
	lines *lineWriter
	z     *gzip.Writer // nil once closed
}

// newGzipFile starts a member on w and gives lines it to write to.
func newGzipFile(w io.Writer, schema *Schema, d dialect) *gzipFile {
	z := gzipPool.Get().(*gzip.Writer)
	z.Reset(w)
	z.ModTime = time.Unix(0, 0) // the format's "no time"; the zero Time would be written as one in 2042
	return &gzipFile{lines: newLineWriter(z, schema, d), z: z}
}

func (f *gzipFile) Write(rows *Rows) error { return f.lines.Write(rows) }

func (f *gzipFile) Close() error {
	if err := f.lines.Close(); err != nil {
		return err
	}
	z := f.z
	f.z = nil
	if err := z.Close(); err != nil {
		return err
	}
	z.Reset(io.Discard)
	gzipPool.Put(z)
	return nil
}
