package encoding

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow/decimal128"
	"github.com/google/go-cmp/cmp"
	"github.com/hamba/avro/v2/ocf"
	"github.com/linkedin/goavro/v2"
)

// avroNative is a literal value as goavro takes and gives it.
func avroNative(t testing.TB, typ Type, value any) any {
	t.Helper()
	if value == nil {
		return nil
	}
	switch typ.Kind {
	case Int64:
		return goavro.Union("long", value)
	case Float64:
		return goavro.Union("double", value)
	case Bool:
		return goavro.Union("boolean", value)
	case Decimal:
		n, _ := new(big.Int).SetString(value.(string), 10)
		scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(typ.Scale)), nil)
		return goavro.Union("bytes.decimal", new(big.Rat).SetFrac(n, scale))
	case Date:
		return goavro.Union("int.date", time.Unix(int64(value.(int32))*86400, 0).UTC())
	case Timestamp:
		return goavro.Union("long.timestamp-micros", time.UnixMicro(value.(int64)).UTC())
	}
	return goavro.Union("string", value)
}

func avroNatives(t testing.TB, schema *Schema, values [][]any) []map[string]any {
	records := make([]map[string]any, len(values))
	for i, row := range values {
		records[i] = map[string]any{}
		for k, c := range schema.Columns() {
			records[i][avroName(c.Name)] = avroNative(t, c.Type, row[k])
		}
	}
	return records
}

var sameRat = cmp.Comparer(func(a, b *big.Rat) bool { return a.Cmp(b) == 0 })

// avroByGoavro reads a file with goavro.
func avroByGoavro(t testing.TB, file []byte) []map[string]any {
	t.Helper()
	r, err := goavro.NewOCFReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	records := []map[string]any{}
	for r.Scan() {
		record, err := r.Read()
		if err != nil {
			t.Fatalf("record %d: %v", len(records), err)
		}
		records = append(records, record.(map[string]any))
	}
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	return records
}

// avroByHamba reads a file with hamba/avro, its unions unwrapped as goavro's.
func avroByHamba(t testing.TB, file []byte) []map[string]any {
	t.Helper()
	d, err := ocf.NewDecoder(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	records := []map[string]any{}
	for d.HasNext() {
		var record map[string]any
		if err := d.Decode(&record); err != nil {
			t.Fatalf("record %d: %v", len(records), err)
		}
		records = append(records, record)
	}
	if err := d.Error(); err != nil {
		t.Fatal(err)
	}
	return records
}

// bare takes the branch names off goavro's unions.
func bare(records []map[string]any) []map[string]any {
	for _, record := range records {
		for name, value := range record {
			if union, ok := value.(map[string]any); ok {
				for _, v := range union {
					record[name] = v
				}
			}
		}
	}
	return records
}

// TestAvroReadsBack reads every file with two readers that are not ours.
func TestAvroReadsBack(t *testing.T) {
	schema := mustSchema(t, goldenColumns()...)
	many := randomValues(rand.New(rand.NewPCG(9, 10)), 5000) // more than a block
	for _, codec := range compressions(Avro) {
		for name, values := range map[string][][]any{"none": {}, "golden": goldenValues(), "blocks": many} {
			t.Run(codec+"/"+name, func(t *testing.T) {
				file := writeFile(t, FileOptions{Format: Avro, Compression: codec}, literalRows(t, schema, dictionaryLayout, values))
				if codec != "zstd" { // goavro has no zstandard
					if diff := cmp.Diff(avroNatives(t, schema, values), avroByGoavro(t, file), sameRat); diff != "" {
						t.Errorf("goavro reads (-want +got):\n%.2000s", diff)
					}
				}
				if diff := cmp.Diff(bare(avroNatives(t, schema, values)), bare(avroByHamba(t, file)), sameRat); diff != "" {
					t.Errorf("hamba/avro reads (-want +got):\n%.2000s", diff)
				}
			})
		}
	}
}

// TestAvroRecordsAreGoavros compares the records' bytes with goavro's own.
func TestAvroRecordsAreGoavros(t *testing.T) {
	schema := mustSchema(t, goldenColumns()...)
	codec, err := goavro.NewCodec(string(avroSchema(schema)))
	if err != nil {
		t.Fatal(err)
	}
	values := append(goldenValues(), randomValues(rand.New(rand.NewPCG(11, 12)), 300)...)
	for i, row := range values {
		want, err := codec.BinaryFromNative(nil, avroNatives(t, schema, [][]any{row})[0])
		if err != nil {
			t.Fatalf("row %d: %v", i, err)
		}
		w := newAvroWriter(&bytes.Buffer{}, schema, "none")
		if err := w.Write(literalRows(t, schema, plainLayout, [][]any{row})); err != nil {
			t.Fatal(err)
		}
		if got := w.buf[:w.n]; !bytes.Equal(got, want) {
			t.Errorf("row %d %v:\ngot  %x\nwant %x", i, row, got, want)
		}
	}
}

func TestAvroHeader(t *testing.T) {
	rows := goldenRows(t, plainLayout)
	markers := map[string]string{}
	for _, codec := range compressions(Avro) {
		file := writeFile(t, FileOptions{Format: Avro, Compression: codec}, rows)
		r, err := goavro.NewOCFReader(bytes.NewReader(file))
		if codec != "zstd" {
			if err != nil {
				t.Fatal(err)
			}
			if got := string(r.MetaData()["avro.schema"]); got != string(avroSchema(rows.Schema())) {
				t.Errorf("%s: schema %s", codec, got)
			}
		}
		if c, s := bytes.Index(file, []byte("avro.codec")), bytes.Index(file, []byte("avro.schema")); c < 0 || s < c {
			t.Errorf("%s: avro.codec at %d, avro.schema at %d", codec, c, s)
		}
		empty := writeFileOf(t, rows.Schema(), FileOptions{Format: Avro, Compression: codec})
		marker := string(empty[len(empty)-16:])
		if !bytes.HasSuffix(file, []byte(marker)) {
			t.Errorf("%s: the file does not end in its sync marker", codec)
		}
		if other, twice := markers[marker]; twice {
			t.Errorf("%s and %s have the same sync marker", codec, other)
		}
		markers[marker] = codec
	}
}

func TestAvroSchema(t *testing.T) {
	schema := mustSchema(t, column("a", "string"), column("2 b", "decimal(9,2)"), column("c", "json"))
	const want = `{"type":"record","name":"row","fields":[` +
		`{"name":"a","type":["null","string"],"default":null},` +
		`{"name":"_x32_x20b","doc":"2 b","type":["null",{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}],"default":null},` +
		`{"name":"c","type":["null",{"type":"string","loadfleet.type":"json"}],"default":null}]}`
	if diff := cmp.Diff(want, string(avroSchema(schema))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

var escaped = regexp.MustCompile(`_x[0-9A-F]{2}`)

// columnName undoes avroName.
func columnName(name string) string {
	return escaped.ReplaceAllStringFunc(name, func(s string) string {
		b, err := strconv.ParseUint(s[2:], 16, 8)
		if err != nil {
			panic(err)
		}
		return string([]byte{byte(b)})
	})
}

var avroNameRule = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func FuzzAvroName(f *testing.F) {
	for _, name := range []string{"a", "_", "9", "größe", "a b", "_x41", "__x41", "_x4", "_x_x41", "_xAé", "a.b", "_x5Fx41", "\xff\"\n"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if name == "" {
			return
		}
		got := avroName(name)
		if !avroNameRule.MatchString(got) {
			t.Errorf("avroName(%q) = %q is no avro name", name, got)
		}
		if back := columnName(got); back != name {
			t.Errorf("avroName(%q) = %q, which stands for %q too", name, got, back)
		}
		if avroNameRule.MatchString(name) && !escaped.MatchString(name) && got != name {
			t.Errorf("avroName(%q) = %q: want it unchanged", name, got)
		}
		document := avroSchema(mustSchema(t, Column{name, Type{Kind: String}}))
		if !json.Valid(document) {
			t.Errorf("schema of %q is no JSON: %s", name, document)
		}
		if _, err := goavro.NewCodec(string(document)); err != nil {
			t.Errorf("goavro refuses the schema of %q: %v", name, err)
		}
	})
}

func FuzzAvroDecimal(f *testing.F) {
	for _, v := range []int64{0, 1, -1, 127, 128, -128, -129, 255, 256, math.MaxInt64, math.MinInt64} {
		f.Add(v>>63, uint64(v))
	}
	codec, err := goavro.NewCodec(`{"type":"bytes","logicalType":"decimal","precision":40,"scale":0}`)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, hi int64, lo uint64) {
		d := decimal128.New(hi, lo)
		want, err := codec.BinaryFromNative(nil, new(big.Rat).SetInt(d.BigInt()))
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, avroRoom)
		if got := b[:putAvroDecimal(b, 0, d)]; !bytes.Equal(got, want) {
			t.Errorf("%s: %x, goavro writes %x", fmt.Sprint(d.BigInt()), got, want)
		}
	})
}

func TestCheckSchema(t *testing.T) {
	for _, tt := range []struct {
		name   string
		format Format
		schema *Schema
		ok     bool
	}{
		{"every kind", Avro, goldenRows(t, plainLayout).Schema(), true},
		{"a kind that avro does not know", Avro, &Schema{columns: []Column{{Name: "a", Type: Type{Kind: Kind(99)}}}}, false},
		{"the same, for a format that goavro does not judge", Parquet, &Schema{columns: []Column{{Name: "a", Type: Type{Kind: Kind(99)}}}}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := CheckSchema(tt.format, tt.schema); (err == nil) != tt.ok {
				t.Errorf("CheckSchema(%s): %v, want it taken: %t", tt.format, err, tt.ok)
			}
		})
	}
}
