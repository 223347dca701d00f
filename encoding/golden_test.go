package encoding

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow/decimal128"
	"github.com/klauspost/compress/s2"
)

var update = flag.Bool("update", false, "write the golden files anew")

// layout is how literalRows holds text columns.
type layout string

const (
	plainLayout      layout = "plain"
	dictionaryLayout layout = "dictionary"
)

func mustSchema(t testing.TB, columns ...Column) *Schema {
	t.Helper()
	s, err := NewSchema(columns)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func column(name, typ string) Column {
	t, err := ParseType(typ)
	if err != nil {
		panic(err)
	}
	return Column{Name: name, Type: t}
}

// literalRows makes rows of Go values: nil for a null, string for text and
// json, int64 for int64 and timestamps (microseconds), int32 for dates (days),
// float64, bool, and for a decimal its unscaled digits as a string.
func literalRows(t testing.TB, schema *Schema, l layout, values [][]any) *Rows {
	t.Helper()
	r := &Rows{schema: schema, n: len(values), vectors: make([]vector, schema.Len())}
	for k := range r.vectors {
		v, kind := &r.vectors[k], schema.Column(k).Type.Kind
		if kind.IsText() {
			v.text.offsets = []int32{0}
			if l == dictionaryLayout {
				v.codes = make([]int32, 0, len(values))
			}
		}
		if kind == Bool {
			v.bools = make([]byte, bitmapBytes(len(values)))
		}
		valid := make([]byte, bitmapBytes(len(values)))
		codes := map[string]int32{}
		for i, row := range values {
			if row[k] == nil {
				v.nulls++
			} else {
				setBit(valid, i)
			}
			switch kind {
			case Int64, Timestamp:
				x, _ := row[k].(int64)
				v.ints = append(v.ints, x)
			case Date:
				x, _ := row[k].(int32)
				v.days = append(v.days, x)
			case Float64:
				x, _ := row[k].(float64)
				v.floats = append(v.floats, x)
			case Decimal:
				x, _ := row[k].(string)
				v.decimals = append(v.decimals, literalDecimal(t, x))
			case Bool:
				if x, _ := row[k].(bool); x {
					setBit(v.bools, i)
				}
			case String, JSONText:
				x, _ := row[k].(string)
				if l == plainLayout {
					v.text.add([]byte(x))
					break
				}
				if row[k] == nil {
					v.codes = append(v.codes, 0)
					break
				}
				code, known := codes[x]
				if !known {
					code = int32(len(codes))
					codes[x] = code
					v.text.add([]byte(x))
				}
				v.codes = append(v.codes, code)
			}
		}
		if v.nulls > 0 {
			v.valid = valid
		}
	}
	return r
}

func literalDecimal(t testing.TB, digits string) decimal128.Num {
	t.Helper()
	if digits == "" {
		return decimal128.Num{}
	}
	n, ok := new(big.Int).SetString(digits, 10)
	if !ok {
		t.Fatalf("not an integer: %q", digits)
	}
	return decimal128.FromBigInt(n)
}

// goldenColumns has every kind, and names that each format must take care of.
func goldenColumns() []Column {
	return []Column{
		column("date", "date"),
		column("account_id", "string"),
		column("name, \"quoted\"", "string"),
		column("größe_x41", "int64"),
		column("1st float", "float64"),
		column("cost", "decimal(18,6)"),
		column("wide", "decimal(38,10)"),
		column("active", "bool"),
		column("updated_at", "timestamp"),
		column("tags", "json"),
	}
}

// goldenValues are few rows of nasty values.
func goldenValues() [][]any {
	return [][]any{
		{int32(19894), "a-1", "plain", int64(0), 0.0, "0", "0", true, int64(1718885717000000), `{"k":[1,2.50,null]}`},
		{int32(19894), "a-1", "", int64(-1), -0.5, "1", "-1", false, int64(1718885717120000), `"text, with \"quotes\""`},
		{nil, nil, nil, nil, nil, nil, nil, nil, nil, nil},
		{int32(-1), "a-2", "line\nbreak\r\n\ttab", int64(math.MaxInt64), 1e21, "-1", strings.Repeat("9", 38), true, int64(-1), `[]`},
		{int32(-719162), "a-1", ` leading, "quote" and \ back`, int64(math.MinInt64), 1e-7, "123456789012345678", "-" + strings.Repeat("9", 38), false, int64(-62135596800000000), `null`},
		{int32(2932896), "ünï-¢ødé", "<&>\u2028\u2029\x00\x1f\x7f", int64(12345678), 0.1, "-999999", "1234567890123456789012", true, int64(253402300799999999), `{"a":"\u2028"}`},
		{int32(0), `\.`, "日本語 🎉", int64(100000000), 123456.789, "500000", "10000000000", false, int64(0), `0`},
		{int32(11016), "a;b\tc", "semi;colon", int64(-9999999999999999), math.MaxFloat64, "1000000", "-10000000000", nil, int64(951868799999999), `{"deep":{"er":[{}]}}`},
		{int32(11017), "a-1", "plain", int64(10), 5e-324, nil, "5", true, int64(86400000000), `false`},
		{int32(19894), "a-1", "plain", int64(42), 2.5, "250000", nil, nil, nil, nil},
	}
}

// goldenRows is the same fixed table in either layout.
func goldenRows(t testing.TB, l layout) *Rows {
	t.Helper()
	return literalRows(t, mustSchema(t, goldenColumns()...), l, goldenValues())
}

// goldenFiles are the files whose bytes are kept in testdata/golden.
func goldenFiles() map[string]FileOptions {
	files := map[string]FileOptions{
		"rows.csv":           {Format: CSV},
		"rows.semicolon.csv": {Format: CSV, Separator: Semicolon},
		"rows.tab.csv":       {Format: CSV, Separator: Tab},
	}
	for _, f := range Formats() {
		files["rows"+f.Extension()] = FileOptions{Format: f}
		for _, codec := range compressions(f) {
			files["rows."+codec+f.Extension()] = FileOptions{Format: f, Compression: codec}
		}
	}
	return files
}

func TestGolden(t *testing.T) {
	for name, opts := range goldenFiles() {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("..", "testdata", "golden", name)
			got := writeFile(t, opts, goldenRows(t, plainLayout))
			if *update {
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("the bytes of %s changed: %d bytes, want %d; if that is meant, run go test ./encoding -run TestGolden -update\ngot  %.600q\nwant %.600q",
					name, len(got), len(want), got, want)
			}
		})
	}
}

// TestGoldenPacked reads rows that were packed for the queue before: they wait there,
// and among the dead letters, for versions that are not written yet.
func TestGoldenPacked(t *testing.T) {
	for _, packing := range []string{PackedColumns, PackedS2} {
		for _, l := range []layout{plainLayout, dictionaryLayout} {
			rows := goldenRows(t, l)
			path := filepath.Join("..", "testdata", "golden", fmt.Sprintf("rows.%s.%s", l, packing))
			if *update {
				packed, _, err := new(RowsPacker).Pack(rows)
				if packing == PackedS2 {
					packed = s2.Encode(nil, marshal(t, rows))
				}
				if err := errors.Join(err, os.WriteFile(path, packed, 0o644)); err != nil {
					t.Fatal(err)
				}
				continue
			}
			packed, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got, err := new(RowsUnpacker).Unpack(packing, packed)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			checkSame(t, rows, got)
		}
	}
}

// writeFile writes one file of the given pieces.
func writeFile(t testing.TB, opts FileOptions, pieces ...*Rows) []byte {
	t.Helper()
	return writeFileOf(t, pieces[0].Schema(), opts, pieces...)
}

// writeFileOf writes one file of possibly no rows at all.
func writeFileOf(t testing.TB, schema *Schema, opts FileOptions, pieces ...*Rows) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b, schema, opts)
	if err != nil {
		t.Fatalf("NewWriter(%+v): %v", opts, err)
	}
	for _, rows := range pieces {
		if err := w.Write(rows); err != nil {
			t.Fatalf("Write(%+v): %v", opts, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatalf("Close(%+v): %v", opts, err)
	}
	return b.Bytes()
}
