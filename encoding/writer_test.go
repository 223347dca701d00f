package encoding

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// everyFile lists each format in each way it can be written.
func everyFile() []FileOptions {
	var files []FileOptions
	for _, f := range Formats() {
		files = append(files, FileOptions{Format: f})
		for _, codec := range compressions(f) {
			files = append(files, FileOptions{Format: f, Compression: codec})
		}
	}
	return append(files, FileOptions{Format: CSV, Separator: Semicolon}, FileOptions{Format: CSVGzip, Separator: Tab})
}

func (o FileOptions) testName() string {
	return strings.Join([]string{string(o.Format), string(o.Separator), o.Compression}, "_")
}

// randomValues are rows for goldenColumns. Text repeats or not, as a column's
// dictionary would like it or not.
func randomValues(r *rand.Rand, rows int) [][]any {
	texts := []string{"", " ", "a", "b,c", `"`, "\n", "é", "\u2028", `\.`, "plain text of some length, and a comma", strings.Repeat("long ", 300)}
	jsons := []string{`1`, `null`, `{"a":[1,2,3]}`, `"x"`}
	values := make([][]any, rows)
	for i := range values {
		text := func() string {
			if r.IntN(3) == 0 {
				return fmt.Sprint(r.Uint64())
			}
			return texts[r.IntN(len(texts))]
		}
		values[i] = []any{
			int32(19800 + r.IntN(3)), texts[r.IntN(4)], text(), int64(r.Uint64() >> r.IntN(64)),
			math.Round(r.NormFloat64()*1e6) / 1e4, fmt.Sprint(r.Int64N(1e15)), fmt.Sprint(r.Int64()), r.IntN(2) == 0,
			r.Int64N(4e15), jsons[r.IntN(len(jsons))],
		}
		for k := range values[i] {
			if r.IntN(5) == 0 {
				values[i][k] = nil
			}
		}
	}
	return values
}

// TestEqualRowsEqualBytes: neither the cuts between Write calls nor the layout
// of text nor the files before show in a file.
func TestEqualRowsEqualBytes(t *testing.T) {
	schema := mustSchema(t, goldenColumns()...)
	for _, opts := range everyFile() {
		t.Run(opts.testName(), func(t *testing.T) {
			r := rand.New(rand.NewPCG(5, 6))
			for _, rows := range []int{1, 7, 230, 5000} {
				values := randomValues(r, rows)
				want := writeFile(t, opts, literalRows(t, schema, plainLayout, values))
				for try := range 4 {
					var pieces []*Rows
					for from := 0; from < rows; {
						to := min(rows, from+1+r.IntN(1+rows/(1+try)))
						l := plainLayout
						if r.IntN(3) > 0 {
							l = dictionaryLayout
						}
						pieces = append(pieces, literalRows(t, schema, l, values[from:to]))
						from = to
						if r.IntN(3) == 0 {
							pieces = append(pieces, literalRows(t, schema, l, nil))
						}
					}
					if got := writeFile(t, opts, pieces...); !bytes.Equal(got, want) {
						t.Fatalf("%d rows in %d pieces: the file differs from that of one piece at byte %d of %d",
							rows, len(pieces), firstDifference(got, want), len(want))
					}
				}
			}
		})
	}
}

func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// TestManyFilesAtOnce: pooled memory never passes from one open file to another.
func TestManyFilesAtOnce(t *testing.T) {
	rows := goldenRows(t, dictionaryLayout)
	for _, opts := range everyFile() {
		want := writeFile(t, opts, rows, rows)
		files := make([]bytes.Buffer, 8)
		writers := make([]Writer, len(files))
		for i := range files {
			w, err := NewWriter(&files[i], rows.Schema(), opts)
			if err != nil {
				t.Fatal(err)
			}
			writers[i] = w
		}
		for _, step := range []func(Writer) error{
			func(w Writer) error { return w.Write(rows) },
			func(w Writer) error { return w.Write(rows) },
			Writer.Close,
		} {
			for i, w := range writers {
				if err := step(w); err != nil {
					t.Fatalf("%s: file %d: %v", opts.testName(), i, err)
				}
			}
		}
		for i := range files {
			if !bytes.Equal(files[i].Bytes(), want) {
				t.Errorf("%s: file %d of %d open ones differs at byte %d", opts.testName(), i, len(files), firstDifference(files[i].Bytes(), want))
			}
		}
	}
}

func TestWriterEnds(t *testing.T) {
	rows := goldenRows(t, plainLayout)
	other := literalRows(t, mustSchema(t, column("other", "int64")), plainLayout, [][]any{{int64(1)}})
	for _, opts := range everyFile() {
		t.Run(opts.testName(), func(t *testing.T) {
			w, err := NewWriter(io.Discard, rows.Schema(), opts)
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Write(other); err == nil {
				t.Error("rows of another schema were taken")
			}
			if err := w.Write(rows); err == nil {
				t.Error("Write after an error succeeded")
			}
			if err := w.Close(); err == nil {
				t.Error("Close after an error succeeded")
			}

			w, err = NewWriter(io.Discard, rows.Schema(), opts)
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
			if err := w.Write(rows); err == nil {
				t.Error("Write after Close succeeded")
			}
			if err := w.Close(); err == nil {
				t.Error("a second Close succeeded")
			}
		})
	}
}

var errDiskFull = errors.New("disk full")

// smallDisk takes so many bytes and no more.
type smallDisk struct{ left int }

func (d *smallDisk) Write(p []byte) (int, error) {
	if len(p) > d.left {
		n := d.left
		d.left = 0
		return n, errDiskFull
	}
	d.left -= len(p)
	return len(p), nil
}

// TestFullDisk: wherever the disk is full, the error comes out, and stays.
func TestFullDisk(t *testing.T) {
	schema := mustSchema(t, goldenColumns()...)
	rows := literalRows(t, schema, plainLayout, randomValues(rand.New(rand.NewPCG(7, 8)), 3000))
	for _, opts := range everyFile() {
		t.Run(opts.testName(), func(t *testing.T) {
			size := len(writeFile(t, opts, rows))
			for _, room := range []int{0, 1, size / 2, size - 1} {
				w, err := NewWriter(&smallDisk{room}, schema, opts)
				if err == nil {
					err = w.Write(rows)
					if again := w.Close(); err == nil {
						err = again
					} else if again == nil {
						t.Errorf("%d bytes of room: Close succeeded after a failed Write", room)
					}
				}
				if !errors.Is(err, errDiskFull) {
					t.Errorf("%d bytes of room for %d: error %v, want %v", room, size, err, errDiskFull)
				}
			}
			// and the memory of the failed writers is not in the way
			if got := writeFile(t, opts, rows); len(got) != size {
				t.Errorf("a file after the failures has %d bytes, want %d", len(got), size)
			}
		})
	}
}

func TestValidCompression(t *testing.T) {
	tests := []struct {
		format Format
		codec  string
		want   string // part of the error
	}{
		{CSV, "", ""}, {JSONGzip, "", ""}, {Parquet, "", ""}, {Avro, "", ""},
		{Parquet, "zstd", ""}, {Parquet, "gzip", ""}, {Parquet, "snappy", ""}, {Parquet, "none", ""},
		{Avro, "deflate", ""}, {Avro, "snappy", ""}, {Avro, "zstd", ""}, {Avro, "none", ""},
		{Avro, "gzip", "use one of deflate, snappy, zstd, none"},
		{Parquet, "lzo", "use one of snappy, zstd, gzip, none"},
		{CSV, "gzip", "csv+gzip"},
		{"orc", "", "unknown file format"},
	}
	for _, tt := range tests {
		t.Run(string(tt.format)+"_"+tt.codec, func(t *testing.T) {
			err := ValidCompression(tt.format, tt.codec)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("ValidCompression(%q, %q) = %v, want an error with %q", tt.format, tt.codec, err, tt.want)
			}
		})
	}
}

func TestNewWriterRefuses(t *testing.T) {
	schema := mustSchema(t, column("a", "int64"))
	tests := []struct {
		name   string
		schema *Schema
		opts   FileOptions
	}{
		{"no schema", nil, FileOptions{Format: CSV}},
		{"a zero schema", &Schema{}, FileOptions{Format: CSV}},
		{"no format", schema, FileOptions{}},
		{"an unknown separator", schema, FileOptions{Format: CSV, Separator: "pipe"}},
		{"a foreign codec", schema, FileOptions{Format: Avro, Compression: "lz4"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := NewWriter(io.Discard, tt.schema, tt.opts); err == nil {
				t.Errorf("NewWriter(%+v) succeeded", tt.opts)
			}
		})
	}
}
