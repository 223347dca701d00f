package encoding

import (
	"bytes"
	stdcsv "encoding/csv"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestDecodeCSV(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		opts     DecodeOptions
		want     []string
		bad      string
	}{
		{name: "columns in any order", in: "b,a\nx,1\ny,2\n", want: []string{"1|x|~|~", "2|y|~|~"}},
		{name: "carriage returns", in: "a,b\r\n1,x\r\n2,y\r\n", want: []string{"1|x|~|~", "2|y|~|~"}},
		{name: "no newline at the end", in: "a,b\n1,x", want: []string{"1|x|~|~"}},
		{name: "empty is null, quoted empty is empty text", in: "a,b,d,x\n,,,\n\"\",\"\",\"\",\"\"\n", want: []string{"~|~|~|~", "~||~|~"}},
		{name: "quotes", in: "a,b\n\"1\",\"x, \"\"y\"\"\nz\"\n2,\"\"\"\"\n3,\"\"\"a\"\"\"\n", want: []string{"1|x, \"y\"\nz|~|~", `2|"|~|~`, `3|"a"|~|~`}},
		{name: "carriage return kept inside of quotes", in: "a,b\n1,\"x\r\ny\"\r\n", want: []string{"1|x\r\ny|~|~"}},
		{name: "empty lines", in: "a,b\n\n1,x\n\r\n2,y\n\n", want: []string{"1|x|~|~", "2|y|~|~"}},
		{name: "byte order mark", in: "\xef\xbb\xbf\"a\",b\n1,x\n", want: []string{"1|x|~|~"}},
		{name: "header only", in: "a,b\n"},
		{name: "nothing", in: ""},
		{name: "json", in: "x\n\"{ \"\"a\"\":\n [1, 2]}\"\nnull\n5\n\" \"\"s\"\" \"\n", want: []string{`~|~|~|{"a":[1,2]}`, "~|~|~|~", "~|~|~|5", `~|~|~|"s"`}},
		{name: "json that is none", in: "x\nabc\n", bad: `batch 7, row 1, column "x" (value "abc"): is not valid JSON`},
		{name: "json with something behind", in: "x\n1 2\n", bad: "is not valid JSON"},
		{name: "long numbers", in: "a\n123456789012345678\n-1\n12345678\n1.0\n+5\n", want: []string{"123456789012345678|~|~|~", "-1|~|~|~", "12345678|~|~|~", "1|~|~|~", "5|~|~|~"}},
		{name: "bad number", in: "a,b\n1,x\n1x,y\n", bad: `batch 7, row 2, column "a" (value "1x"): is not a whole number`},
		{name: "blank in a number", in: "a\n 1\n", bad: "is not a whole number"},
		{name: "lenient", opts: DecodeOptions{LenientColumn: "d"}, in: "a,d\n1,soon\n2,2024-01-01\n", want: []string{"1|~|~|~", "2|~|2024-01-01|~"}},
		{name: "unknown column", in: "a,zz\n1,2\n", bad: `batch 7: csv header: column "zz" is not in the schema`},
		{name: "unknown column allowed", opts: DecodeOptions{UnknownColumns: true}, in: "zz,a\n\"x\ny\",2\n", want: []string{"2|~|~|~"}},
		{name: "column twice", in: "a,b,a\n", bad: `batch 7: csv header: column "a" stands twice`},
		{name: "too few fields", in: "a,b\n1,x\n\"2\"\n", bad: "batch 7, row 2 (value \"\\\"2\\\"\"): line 3 has 1 fields where the header has 2"},
		{name: "too many fields", in: "a,b\n\n1,\"x\ny\"\n2,y,z\n", bad: `batch 7, row 2 (value "2,y,z"): line 5 has 3 fields where the header has 2`},
		{name: "bare quote", in: "a,b\n1,x\"y\n2,z\n", bad: `batch 7, row 1, column "b"`},
		{name: "text behind a quote", in: "a,b\n1,\"x\"y\n", bad: "goes on behind its closing quote"},
		{name: "open quote", in: "a,b\n1,\"x\n2,y\n", bad: "never closed"},
		{name: "not utf-8", in: "a,b\n1,M\xfcller\n", bad: `column "b" (value "M` + "\ufffd" + `ller"): is not UTF-8`},
		{name: "long row", opts: DecodeOptions{MaxRowBytes: 5}, in: "a,b\n1,\"x\nxxxxxxxxxx\"\n", bad: "batch 7, row 1: is longer than a row may be"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := schemaOf(t, "a int64", "b string", "d date", "x json")
			chunks, err := decodeAll(t, s, tt.opts, CSVInput, tt.in)
			checkDecoded(t, chunks, err, tt.want, tt.bad)
		})
	}
}

// FuzzCSVInput compares with encoding/csv. It differs in three ways, all of which the
// comparison knows: it turns \r\n into \n inside of quotes, it does not look at
// UTF-8, and it cannot tell "" from nothing.
func FuzzCSVInput(f *testing.F) {
	for _, s := range []string{"1,2\n", "\"a\"\"b\",\"c\nd\"\r\n", "a\"b,c", "\"a\"b,c", "\"a,b", "x,\"\"\n\n\r\ny,z\r", "1\n", "1,2,3", "\"a\r\nb\",c\nd,e", "\"a\"\r", "\xff,a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		s := schemaOf(t, "a string", "b string")
		r := stdcsv.NewReader(strings.NewReader("a,b\n" + body))
		want, wantErr := r.ReadAll()
		var chunks []*Rows
		chunks, err := decodeAll(t, s, DecodeOptions{ChunkBytes: 20}, CSVInput, "a,b\n"+body)
		if err != nil {
			var row *RowError
			if !errors.As(err, &row) {
				t.Fatalf("%q: got %T %v", body, err, err)
			}
		}
		if errors.Is(err, errNotUTF8) && !utf8.ValidString(body) {
			return
		}
		if (err != nil) != (wantErr != nil) {
			t.Fatalf("%q: got error %v, encoding/csv says %v", body, err, wantErr)
		}
		if err != nil {
			return
		}
		var got [][]string
		for _, c := range chunks {
			for i := range c.n {
				cells := make([]string, 2)
				for j := range cells {
					if v := &c.vectors[j]; !v.null(i) {
						cells[j] = strings.ReplaceAll(string(v.bytes(i)), "\r\n", "\n")
					}
				}
				got = append(got, cells)
			}
		}
		if !slices.EqualFunc(got, want[1:], slices.Equal) {
			t.Errorf("%q: got %q, encoding/csv says %q", body, got, want[1:])
		}
	})
}

// TestWindowLines: lines stay whole however the stream is cut.
func TestWindowLines(t *testing.T) {
	text := strings.Repeat("a,\"b\n\"\"c\"\nx\n\n", 50_000) + "end"
	var w window
	w.reset(bytes.NewReader([]byte(text)), 1<<30)
	var got strings.Builder
	for {
		b, n, err := w.line(100, true)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(b) < n+windowSlack || b[n] != '\n' {
			t.Fatalf("line %q without its newline or slack", b[:n])
		}
		got.Write(b[:n+1])
	}
	if got.String() != text+"\n" {
		t.Errorf("the lines do not make up the text")
	}
}
