package encoding

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"io"
	"strings"
	"testing"

	stdgzip "compress/gzip"

	"github.com/google/go-cmp/cmp"
)

func gunzip(t testing.TB, b []byte) []byte {
	t.Helper()
	z, err := stdgzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	z.Multistream(false)
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if !z.ModTime.IsZero() || z.Name != "" || z.Comment != "" || len(z.Extra) != 0 {
		t.Errorf("gzip header says %+v, want nothing", z.Header)
	}
	return text
}

// TestGzipIsTheFilePacked: unpacked, a gzip file is the plain one.
func TestGzipIsTheFilePacked(t *testing.T) {
	rows := goldenRows(t, plainLayout)
	for packed, plain := range map[Format]Format{CSVGzip: CSV, JSONGzip: JSON} {
		for _, pieces := range [][]*Rows{nil, {rows}, {rows, rows}} {
			want := writeFileOf(t, rows.Schema(), FileOptions{Format: plain}, pieces...)
			got := gunzip(t, writeFileOf(t, rows.Schema(), FileOptions{Format: packed}, pieces...))
			if !bytes.Equal(got, want) {
				t.Errorf("%s of %d pieces unpacks to %.200q, want %.200q", packed, len(pieces), got, want)
			}
		}
	}
}

func TestFileWithoutRows(t *testing.T) {
	schema := mustSchema(t, column("date", "date"), column("a,b", "string"), column("n", "int64"))
	tests := []struct {
		opts FileOptions
		want string
	}{
		{FileOptions{Format: CSV}, "date,\"a,b\",n\n"},
		{FileOptions{Format: CSV, Separator: Semicolon}, "date;a,b;n\n"},
		{FileOptions{Format: JSON}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.opts.testName(), func(t *testing.T) {
			if got := string(writeFileOf(t, schema, tt.opts)); got != tt.want {
				t.Errorf("no Write: %q, want %q", got, tt.want)
			}
			empty := literalRows(t, schema, plainLayout, nil)
			if got := string(writeFile(t, tt.opts, empty, empty)); got != tt.want {
				t.Errorf("two empty Writes: %q, want %q", got, tt.want)
			}
		})
	}
}

func TestCSVFields(t *testing.T) {
	schema := mustSchema(t, column("a", "string"), column("b", "string"))
	tests := []struct {
		name  string
		value any
		want  string
	}{
		{"null is empty", nil, ``},
		{"the empty string is quoted", "", `""`},
		{"plain", "plain", `plain`},
		{"separator", "a,b", `"a,b"`},
		{"another separator", "a;b", `a;b`},
		{"quote", `say "hi"`, `"say ""hi"""`},
		{"quotes only", `""`, `""""""`},
		{"line feed", "a\nb", "\"a\nb\""},
		{"carriage return", "a\rb", "\"a\rb\""},
		{"leading space", " a", `" a"`},
		{"leading wide space", "\u3000a", "\"\u3000a\""},
		{"trailing space", "a ", `a `},
		{"end of data", `\.`, `"\."`},
		{"late separator", "0123456789abcdef,", `"0123456789abcdef,"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := writeFile(t, FileOptions{Format: CSV}, literalRows(t, schema, plainLayout, [][]any{{"x", tt.value}}))
			if want := "a,b\nx," + tt.want + "\n"; string(got) != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// FuzzCSV compares fields with encoding/csv's, and reads them back with it.
func FuzzCSV(f *testing.F) {
	f.Add("a", "b,c", uint8(0))
	f.Add("", `"x"`, uint8(1))
	f.Add("\n", " lead\r", uint8(2))
	f.Add(`\.`, "\u2000\t", uint8(2))
	f.Fuzz(func(t *testing.T, a, b string, pick uint8) {
		sep := []Separator{Comma, Semicolon, Tab}[pick%3]
		schema := mustSchema(t, column("a", "string"), column("b", "string"))
		values := [][]any{{a, b}, {b, nil}, {a, a}, {a, b}}
		for _, l := range []layout{plainLayout, dictionaryLayout} {
			got := writeFile(t, FileOptions{Format: CSV, Separator: sep}, literalRows(t, schema, l, values))

			var want bytes.Buffer
			w := csv.NewWriter(&want)
			w.Comma = rune(sep.Byte())
			records := [][]string{{"a", "b"}, {a, b}, {b, ""}, {a, a}, {a, b}}
			if err := w.WriteAll(records); err != nil {
				t.Fatal(err)
			}
			if a != "" && b != "" && !bytes.Equal(got, want.Bytes()) {
				t.Fatalf("%s: got %q, encoding/csv writes %q", l, got, want.Bytes())
			}
			r := csv.NewReader(bytes.NewReader(got))
			r.Comma = rune(sep.Byte())
			back, err := r.ReadAll()
			if err != nil {
				t.Fatalf("%s: %q does not read back: %v", l, got, err)
			}
			for _, record := range records { // encoding/csv reads \r\n as \n, also between quotes
				for i := range record {
					record[i] = strings.ReplaceAll(record[i], "\r\n", "\n")
				}
			}
			if diff := cmp.Diff(records, back); diff != "" {
				t.Fatalf("%s: %q reads back differently (-want +got):\n%s", l, got, diff)
			}
		}
	})
}

func TestJSONLines(t *testing.T) {
	got := writeFile(t, FileOptions{Format: JSON}, goldenRows(t, dictionaryLayout))
	lines := strings.Split(strings.TrimSuffix(string(got), "\n"), "\n")
	values := goldenValues()
	if len(lines) != len(values) {
		t.Fatalf("%d lines, want %d", len(lines), len(values))
	}
	rows := goldenRows(t, plainLayout)
	for i, line := range lines {
		d := json.NewDecoder(strings.NewReader(line))
		d.UseNumber()
		if open, err := d.Token(); err != nil || open != json.Delim('{') {
			t.Fatalf("line %d: %v %v", i, open, err)
		}
		for k, c := range rows.Schema().Columns() {
			key, err := d.Token()
			if err != nil || key != c.Name {
				t.Fatalf("line %d: key %d is %v (%v), want %q", i, k, key, err, c.Name)
			}
			var raw json.RawMessage
			if err := d.Decode(&raw); err != nil {
				t.Fatalf("line %d, %q: %v", i, c.Name, err)
			}
			want := string(rows.Text(nil, k, i))
			switch kind := c.Type.Kind; {
			case values[i][k] == nil:
				want = "null"
			case kind == String || kind == Date || kind == Timestamp:
				var text string
				if err := json.Unmarshal(raw, &text); err != nil {
					t.Fatalf("line %d, %q: %v", i, c.Name, err)
				}
				raw = []byte(text)
			}
			if string(raw) != want {
				t.Errorf("line %d, %q: %s, want %s", i, c.Name, raw, want)
			}
		}
	}
}

// FuzzJSON compares keys and strings with encoding/json's.
func FuzzJSON(f *testing.F) {
	f.Add("key", "value")
	f.Add("k\"\\", "<&>\u2028\u2029\x00\x1f\x7f")
	f.Add("é", "\xff\xc3\xe2\x80 \b\f\n\r\t")
	f.Add("0123456\"", "01234567\\ 日本語日本語")
	f.Fuzz(func(t *testing.T, key, value string) {
		if key == "" {
			return
		}
		encode := func(s string) string {
			var b bytes.Buffer
			e := json.NewEncoder(&b)
			e.SetEscapeHTML(false)
			if err := e.Encode(s); err != nil {
				t.Fatal(err)
			}
			return strings.TrimSuffix(b.String(), "\n")
		}
		schema := mustSchema(t, Column{key, Type{Kind: String}}, Column{key + "2", Type{Kind: Int64}})
		values := [][]any{{value, int64(1)}, {value, int64(1)}}
		want := strings.Repeat("{"+encode(key)+":"+encode(value)+","+encode(key+"2")+":1}\n", 2)
		for _, l := range []layout{plainLayout, dictionaryLayout} {
			if got := writeFile(t, FileOptions{Format: JSON}, literalRows(t, schema, l, values)); string(got) != want {
				t.Errorf("%s: got %q, encoding/json writes %q", l, got, want)
			}
		}
	})
}

// TestLongLines: values, keys and dictionaries beyond every buffer.
func TestLongLines(t *testing.T) {
	name := strings.Repeat("key ", 30_000)
	schema := mustSchema(t, column(name, "string"), column(name+"date", "date"), column(name+"n", "int64"), column(name+"b", "bool"))
	long := strings.Repeat("\"quoted\" ", 40_000)
	var values [][]any
	for range 6 {
		values = append(values, []any{long, int32(1), int64(-1), true}, []any{nil, nil, nil, nil}, []any{"short", int32(2), int64(7), false})
	}
	for _, l := range []layout{plainLayout, dictionaryLayout} {
		var back []map[string]any
		d := json.NewDecoder(bytes.NewReader(writeFile(t, FileOptions{Format: JSON}, literalRows(t, schema, l, values))))
		for d.More() {
			var row map[string]any
			if err := d.Decode(&row); err != nil {
				t.Fatal(err)
			}
			back = append(back, row)
		}
		if len(back) != len(values) {
			t.Fatalf("%s: %d rows, want %d", l, len(back), len(values))
		}
		for i, row := range back {
			want := map[string]any{name: values[i][0], name + "date": nil, name + "n": nil, name + "b": values[i][3]}
			if values[i][1] != nil {
				want[name+"date"] = []string{"", "1970-01-02", "1970-01-03"}[values[i][1].(int32)]
				want[name+"n"] = float64(values[i][2].(int64))
			}
			if diff := cmp.Diff(want, row); diff != "" {
				t.Fatalf("%s: row %d (-want +got):\n%.2000s", l, i, diff)
			}
		}
		r := csv.NewReader(bytes.NewReader(writeFile(t, FileOptions{Format: CSV}, literalRows(t, schema, l, values))))
		records, err := r.ReadAll()
		if err != nil || len(records) != len(values)+1 || records[1][0] != long || records[0][0] != name {
			t.Fatalf("%s: csv reads back as %d records, error %v", l, len(records), err)
		}
	}
}
