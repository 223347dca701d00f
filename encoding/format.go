package encoding

import (
	"fmt"
	"strings"
)

// Format names what a file is. The values are the ones a destination's
// file_format takes (SPEC 2).
type Format string

// The formats, in the order in which help and documentation list them.
const (
	CSV      Format = "csv"
	CSVGzip  Format = "csv+gzip"
	JSON     Format = "json"
	JSONGzip Format = "json+gzip"
	Parquet  Format = "parquet"
	Avro     Format = "avro"
)

// Formats lists every format once.
func Formats() []Format { return []Format{CSV, CSVGzip, JSON, JSONGzip, Parquet, Avro} }

// ParseFormat reads a format's name.
func ParseFormat(s string) (Format, error) {
	for _, f := range Formats() {
		if s == string(f) {
			return f, nil
		}
	}
	names := make([]string, 0, len(Formats()))
	for _, f := range Formats() {
		names = append(names, string(f))
	}
	return "", fmt.Errorf("unknown file format %q: use one of %s", s, strings.Join(names, ", "))
}

// Extension is what a key of this format ends in, with its dot (SPEC 4).
func (f Format) Extension() string {
	switch f {
	case CSV:
		return ".csv"
	case CSVGzip:
		return ".csv.gz"
	case JSON:
		return ".json"
	case JSONGzip:
		return ".json.gz"
	case Parquet:
		return ".parquet"
	case Avro:
		return ".avro"
	}
	return ""
}

// ContentType is the object's media type. The gzip formats are files that are
// compressed, not transfers that are: they carry no Content-Encoding, so that
// no client unpacks a .gz behind its reader's back.
func (f Format) ContentType() string {
	switch f {
	case CSV:
		return "text/csv; charset=utf-8"
	case JSON:
		return "application/x-ndjson"
	case CSVGzip, JSONGzip:
		return "application/gzip"
	case Parquet:
		return "application/vnd.apache.parquet"
	case Avro:
		return "application/vnd.apache.avro"
	}
	return "application/octet-stream"
}

// Separator names the character between the fields of a CSV file.
type Separator string

// The separators a destination may choose (SPEC 2). The zero value is Comma.
const (
	Comma     Separator = "comma"
	Semicolon Separator = "semicolon"
	Tab       Separator = "tab"
)

// ParseSeparator reads a separator's name.
func ParseSeparator(s string) (Separator, error) {
	switch sep := Separator(s); sep {
	case Comma, Semicolon, Tab:
		return sep, nil
	}
	return "", fmt.Errorf("unknown separator %q: use one of comma, semicolon, tab", s)
}

// Byte is the character itself.
func (s Separator) Byte() byte {
	switch s {
	case Semicolon:
		return ';'
	case Tab:
		return '\t'
	}
	return ','
}

// InputFormat names what an extractor's batch is.
type InputFormat string

// The input formats (SPEC 5).
const (
	NDJSONInput InputFormat = "ndjson" // one JSON object per line
	CSVInput    InputFormat = "csv"    // RFC 4180 with a header row
	ArrowInput  InputFormat = "arrow"  // an Arrow IPC stream
)

// Compression names how a batch is packed on its way.
type Compression string

// The compressions an extractor may use.
const (
	Plain Compression = ""
	Gzip  Compression = "gzip"
	Zstd  Compression = "zstd"
)
