package encoding

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// FileOptions says what kind of file to write. Only Format is required.
type FileOptions struct {
	Format      Format
	Separator   Separator // between csv fields; "" is Comma; ignored by other formats
	Compression string    // inside parquet and avro files, see [ValidCompression]; "" is the format's default
}

// Writer writes one file.
//
// The bytes depend on the schema, the options and the sequence of rows only:
// not on how the rows were cut into Write calls, nor on whether a text column
// is held plain or dictionary-encoded, nor on what was written before.
// A Writer is for one goroutine. After an error every later call fails.
type Writer interface {
	// Write appends rows. Their schema must equal the writer's. The rows are
	// not kept after Write returns.
	Write(*Rows) error
	// Close ends the file: a file without it is incomplete. It does not close
	// the underlying writer. Write after Close, and a second Close, fail.
	Close() error
}

var errWriterClosed = errors.New("the file is already closed")

// NewWriter starts a file on w. Nothing but the returned Writer may write to w
// until Close; w need not be buffered.
func NewWriter(w io.Writer, schema *Schema, opts FileOptions) (Writer, error) {
	if schema == nil || schema.Len() == 0 {
		return nil, errors.New("write file: a file needs a schema of at least one column")
	}
	if opts.Separator != "" {
		if _, err := ParseSeparator(string(opts.Separator)); err != nil {
			return nil, fmt.Errorf("write file: %w", err)
		}
	}
	if err := ValidCompression(opts.Format, opts.Compression); err != nil {
		return nil, fmt.Errorf("write file: %w", err)
	}
	switch opts.Format {
	case CSV:
		return newLineWriter(w, schema, csvDialect(schema, opts.Separator.Byte())), nil
	case JSON:
		return newLineWriter(w, schema, jsonDialect(schema)), nil
	case CSVGzip:
		return newGzipFile(w, csvGzips, schema, csvDialect(schema, opts.Separator.Byte())), nil
	case JSONGzip:
		return newGzipFile(w, jsonGzips, schema, jsonDialect(schema)), nil
	case Avro:
		return newAvroWriter(w, schema, opts.Compression), nil
	default: // Parquet: ValidCompression has refused unknown formats
		return newParquetWriter(w, schema, opts)
	}
}

// ValidCompression reports, as an error that lists the choices, a codec that
// files of the format cannot have inside. The empty codec, the format's
// default, is always valid: snappy for parquet, deflate for avro.
func ValidCompression(f Format, codec string) error {
	if _, err := ParseFormat(string(f)); err != nil {
		return err
	}
	codecs := compressions(f)
	if codec == "" || slices.Contains(codecs, codec) {
		return nil
	}
	if len(codecs) == 0 {
		return fmt.Errorf("compression %q: a %s file takes none inside; csv+gzip and json+gzip are compressed as a whole", codec, f)
	}
	return fmt.Errorf("unknown compression %q for %s: use one of %s", codec, f, strings.Join(codecs, ", "))
}

// compressions lists the codecs of a format, its default first.
func compressions(f Format) []string {
	switch f {
	case Parquet:
		return []string{"snappy", "zstd", "gzip", "none"}
	case Avro:
		return []string{"deflate", "snappy", "zstd", "none"}
	}
	return nil
}

// takes checks that rows belong into a file of this schema.
func (s *Schema) takes(rows *Rows) error {
	if rows.schema == s || rows.schema.Equal(s) {
		return nil
	}
	return fmt.Errorf("rows of another schema: %d columns, the file has %d, or names or types differ", rows.schema.Len(), s.Len())
}
