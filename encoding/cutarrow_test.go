package encoding

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/google/go-cmp/cmp"
)

// someRows are n rows of two columns.
func someRows(t *testing.T, n int) (*Schema, *Rows) {
	t.Helper()
	schema, err := NewSchema([]Column{{"day", Type{Kind: Date}}, {"text", Type{Kind: String}}})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "{\"day\":\"2024-06-%02d\",\"text\":\"value %d\"}\n", i%30+1, i)
	}
	var rows *Rows
	d := NewDecoder(schema, DecodeOptions{}, func(r *Rows) error { rows = r; return nil })
	if _, err := d.Decode(1, NDJSONInput, Plain, strings.NewReader(text.String())); err != nil {
		t.Fatal(err)
	}
	if err := d.Flush(); err != nil {
		t.Fatal(err)
	}
	return schema, rows
}

// Whatever file the rows came in, its pieces are batches of about the asked
// size that hold the same rows.
func TestCutArrowAndParquet(t *testing.T) {
	const n = 5000
	schema, rows := someRows(t, n)
	record := rows.Arrow()
	var stream, arrowFile, parquet bytes.Buffer
	out := ipc.NewWriter(&stream, ipc.WithSchema(record.Schema()))
	for from := int64(0); from < n; from += 100 { // many small records
		if err := out.Write(record.NewSlice(from, from+100)); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := ipc.NewFileWriter(&seekBuffer{Buffer: &arrowFile}, ipc.WithSchema(record.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Write(record); err != nil { // one large record
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	w, err := NewWriter(&parquet, schema, FileOptions{Format: Parquet})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	const size = 20 << 10
	for name, pieces := range map[string]func(func(Piece, error) bool){
		"arrow stream": Cut(bytes.NewReader(stream.Bytes()), ArrowInput, size),
		"arrow file":   CutArrowFile(bytes.NewReader(arrowFile.Bytes()), size),
		"parquet":      CutParquet(bytes.NewReader(parquet.Bytes()), size),
	} {
		t.Run(name, func(t *testing.T) {
			var got *Rows
			d := NewDecoder(schema, DecodeOptions{}, func(r *Rows) error { got = r; return nil })
			batch := 0
			for p, err := range pieces {
				if err != nil {
					t.Fatal(err)
				}
				batch++
				if n, err := d.Decode(batch, ArrowInput, Plain, bytes.NewReader(p.Body)); err != nil || n != p.Rows {
					t.Fatalf("piece %d: %d rows, %v, want %d", batch, n, err, p.Rows)
				}
			}
			if err := d.Flush(); err != nil {
				t.Fatal(err)
			}
			if batch < 2 || batch > 60 { // each stream repeats the dictionary
				t.Errorf("%d pieces of about %d bytes", batch, size)
			}
			if d := cmp.Diff(encoded(t, rows), encoded(t, got)); d != "" {
				t.Errorf("rows (-want +got):\n%s", d)
			}
		})
	}
}

// A piece holds the texts of its own views, not those of the whole record.
func TestCutViews(t *testing.T) {
	const n = 2000
	b := array.NewStringViewBuilder(memory.DefaultAllocator)
	for i := range n {
		if i%10 == 0 {
			b.AppendNull()
		} else {
			b.Append(strings.Repeat("x", i%40))
		}
	}
	schema := arrow.NewSchema([]arrow.Field{{Name: "v", Type: arrow.BinaryTypes.StringView, Nullable: true}}, nil)
	record := array.NewRecord(schema, []arrow.Array{b.NewArray()}, n)
	decoded := func(pieces iter.Seq2[Piece, error]) (text string, batches, bytes int) {
		var got *Rows
		d := NewDecoder(schemaOf(t, "v string"), DecodeOptions{}, func(r *Rows) error { got = r; return nil })
		for p, err := range pieces {
			if err != nil {
				t.Fatal(err)
			}
			batches++
			bytes += len(p.Body)
			if _, err := d.Decode(batches, ArrowInput, Plain, strings.NewReader(string(p.Body))); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.Flush(); err != nil {
			t.Fatal(err)
		}
		return encoded(t, got), batches, bytes
	}
	records := func(yield func(Record, error) bool) { yield(record, nil) }
	want, one, whole := decoded(CutRecords(records, 1<<30))
	got, batches, bytes := decoded(CutRecords(records, 8<<10))
	if one != 1 || batches < 5 || bytes > 2*whole {
		t.Errorf("got %d pieces of %d bytes, want at least 5 of about %d", batches, bytes, whole)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("rows (-want +got):\n%s", d)
	}
}

func TestCutViewsDamaged(t *testing.T) {
	const text = "a text of a buffer"
	stream := streamOf(t, someViews(text))
	at := bytes.Index(stream, append([]byte{byte(len(text)), 0, 0, 0}, text[:4]...))
	stream[at+12] = 0xff // its offset
	var failed error
	for _, err := range Cut(bytes.NewReader(stream), ArrowInput, 10) {
		failed = err
	}
	if !errors.Is(failed, errArrowView) {
		t.Errorf("got %v, want %v", failed, errArrowView)
	}
}

func encoded(t *testing.T, rows *Rows) string {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b, rows.Schema(), FileOptions{Format: CSV})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// seekBuffer answers the one question that Arrow's file writer asks.
type seekBuffer struct{ *bytes.Buffer }

func (b *seekBuffer) Seek(int64, int) (int64, error) { return int64(b.Len()), nil }

func TestCutDamaged(t *testing.T) {
	for name, pieces := range map[string]func(func(Piece, error) bool){
		"arrow stream": Cut(strings.NewReader("no arrow"), ArrowInput, 10),
		"arrow file":   CutArrowFile(bytes.NewReader([]byte("ARROW1 and no more of it")), 10),
		"parquet":      CutParquet(bytes.NewReader([]byte("PAR1 and no more of it PAR1")), 10),
	} {
		var failed error
		for _, err := range pieces {
			failed = err
		}
		if failed == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

func TestPieceWhere(t *testing.T) {
	var got []string
	for p, err := range Cut(strings.NewReader("a,b\n1,\"x\ny\"\n\n2,z\n3,z\n"), CSVInput, 1) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, p.Where(1))
	}
	if d := cmp.Diff([]string{"line 2", "line 5", "line 6"}, got); d != "" {
		t.Errorf("where the rows stand (-want +got):\n%s", d)
	}
}
