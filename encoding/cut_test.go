package encoding

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCut(t *testing.T) {
	tests := []struct {
		name   string
		format InputFormat
		in     string
		size   int
		want   []string
		rows   []int64
		err    string
	}{
		{"ndjson by lines", NDJSONInput, "{\"a\":1}\n{\"a\":2}\n{\"a\":3}", 10, []string{"{\"a\":1}\n{\"a\":2}\n", "{\"a\":3}\n"}, []int64{2, 1}, ""},
		{"ndjson empty lines", NDJSONInput, "\n{\"a\":1}\n\n", 1, []string{"{\"a\":1}\n"}, []int64{1}, ""},
		{"ndjson empty", NDJSONInput, "", 1, nil, nil, ""},
		{"csv header on each", CSVInput, "a,b\n1,2\n3,4\n", 1, []string{"a,b\n1,2\n", "a,b\n3,4\n"}, []int64{1, 1}, ""},
		{"csv line break in quotes", CSVInput, "a\n\"x\ny\"\n\"\"\"\n\"\n", 1, []string{"a\n\"x\ny\"\n", "a\n\"\"\"\n\"\n"}, []int64{1, 1}, ""},
		{"csv empty line is no row", CSVInput, "a\n\n1\n", 100, []string{"a\n1\n"}, []int64{1}, ""},
		{"csv header only", CSVInput, "a,b\n", 1, nil, nil, ""},
		{"csv open quote", CSVInput, "a\n\"x\n", 1, nil, nil, "inside a quoted field"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			var rows []int64
			var failed error
			for p, err := range Cut(strings.NewReader(tt.in), tt.format, tt.size) {
				if err != nil {
					failed = err
					break
				}
				got, rows = append(got, string(p.Body)), append(rows, p.Rows)
			}
			if (failed != nil) != (tt.err != "") || failed != nil && !strings.Contains(failed.Error(), tt.err) {
				t.Fatalf("Cut(%q): error %v, want %q", tt.in, failed, tt.err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("Cut(%q): pieces (-want +got):\n%s", tt.in, d)
			}
			if d := cmp.Diff(tt.rows, rows); d != "" {
				t.Errorf("Cut(%q): rows (-want +got):\n%s", tt.in, d)
			}
		})
	}
}

func TestPackUnpack(t *testing.T) {
	body := bytes.Repeat([]byte("{\"a\":1}\n"), 1000)
	var p Packer
	for _, c := range []Compression{Plain, Gzip, Zstd, Gzip, Zstd} {
		packed, err := p.Pack(c, body)
		if err != nil {
			t.Fatalf("Pack(%q): %v", c, err)
		}
		r, err := Unpack(bytes.NewReader(packed), c)
		if err != nil {
			t.Fatalf("Unpack(%q): %v", c, err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, body) {
			t.Errorf("Unpack(Pack(%q)): %d bytes, error %v, want the %d packed", c, len(got), err, len(body))
		}
	}
}
