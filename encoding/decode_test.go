package encoding

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// decodedText renders rows one line each, values separated by |, null as ~.
func decodedText(chunks ...*Rows) []string {
	var lines []string
	for _, r := range chunks {
		for i := range r.n {
			var cells []string
			for j := range r.vectors {
				cells = append(cells, decodedValue(r.schema.Column(j).Type, &r.vectors[j], i))
			}
			lines = append(lines, strings.Join(cells, "|"))
		}
	}
	return lines
}

func decodedValue(t Type, v *vector, i int) string {
	if v.null(i) {
		return "~"
	}
	switch t.Kind {
	case Int64:
		return strconv.FormatInt(v.ints[i], 10)
	case Float64:
		return strconv.FormatFloat(v.floats[i], 'g', -1, 64)
	case Decimal:
		return v.decimals[i].ToString(t.Scale)
	case Bool:
		return strconv.FormatBool(bit(v.bools, i))
	case Date:
		return time.Unix(int64(v.days[i])*86400, 0).UTC().Format(time.DateOnly)
	case Timestamp:
		return time.UnixMicro(v.ints[i]).UTC().Format(time.RFC3339Nano)
	}
	return string(v.bytes(i))
}

// checkVectors fails when a chunk breaks what vector's comment promises.
func checkVectors(t *testing.T, r *Rows) {
	t.Helper()
	for j := range r.vectors {
		v := &r.vectors[j]
		name := r.schema.Column(j).Name
		if (v.valid == nil) != (v.nulls == 0) {
			t.Errorf("column %q: %d nulls, bitmap of %d bytes", name, v.nulls, len(v.valid))
		}
		if v.valid != nil && countBits(v.valid, r.n) != r.n-v.nulls {
			t.Errorf("column %q: bitmap does not count %d nulls", name, v.nulls)
		}
		kind := r.schema.Column(j).Type.Kind
		for i := range r.n {
			zero := true
			if v.null(i) {
				switch {
				case v.ints != nil:
					zero = v.ints[i] == 0
				case v.days != nil:
					zero = v.days[i] == 0
				case v.floats != nil:
					zero = v.floats[i] == 0
				case v.codes != nil:
					zero = v.codes[i] == 0
				case kind.IsText():
					zero = v.text.offsets[i] == v.text.offsets[i+1]
				case v.bools != nil:
					zero = !bit(v.bools, i)
				}
			}
			if !zero {
				t.Errorf("column %q row %d: null holds something", name, i)
			}
		}
		if v.codes == nil {
			continue
		}
		used := make(map[int32]bool)
		texts := make(map[string]bool)
		for i, c := range v.codes {
			if !v.null(i) {
				used[c] = true
			}
		}
		for i := range v.text.len() {
			texts[string(v.text.value(i))] = true
		}
		if len(used) != v.text.len() || len(texts) != v.text.len() {
			t.Errorf("column %q: dictionary of %d texts, %d distinct, %d used", name, v.text.len(), len(texts), len(used))
		}
	}
}

// schemaOf makes a schema of "name type" pairs.
func schemaOf(t testing.TB, columns ...string) *Schema {
	t.Helper()
	var list []Column
	for _, c := range columns {
		name, kind, _ := strings.Cut(c, " ")
		typ, err := ParseType(kind)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, Column{Name: name, Type: typ})
	}
	s, err := NewSchema(list)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// decodeAll decodes one batch, as batch 7, whole.
func decodeAll(t testing.TB, s *Schema, opts DecodeOptions, format InputFormat, batch string) (chunks []*Rows, err error) {
	t.Helper()
	d := NewDecoder(s, opts, func(r *Rows) error { chunks = append(chunks, r); return nil })
	rows, err := d.Decode(7, format, Plain, strings.NewReader(batch))
	if err != nil {
		return nil, err
	}
	if err := d.Flush(); err != nil {
		return nil, err
	}
	n := 0
	for _, c := range chunks {
		n += c.Len()
	}
	if int64(n) != rows {
		t.Errorf("Decode says %d rows, emitted %d", rows, n)
	}
	return chunks, nil
}

func TestDecodeNDJSONValues(t *testing.T) {
	for _, tt := range []struct{ name, kind, value, want, bad string }{
		{name: "text", kind: "string", value: `"a"`, want: "a"},
		{name: "empty text", kind: "string", value: `""`, want: ""},
		{name: "text null", kind: "string", value: `null`, want: "~"},
		{name: "text of a number keeps its digits", kind: "string", value: `1.50e+3`, want: "1.50e+3"},
		{name: "text of a bool", kind: "string", value: `true`, want: "true"},
		{name: "text of an object", kind: "string", value: `{"a":1}`, bad: errNested.Error()},
		{name: "escapes", kind: "string", value: `"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00"`, want: "\"\\/\b\f\n\r\té😀"},
		{name: "lone surrogate", kind: "string", value: `"x\ud800y"`, want: "x\ufffdy"},
		{name: "lone surrogate then pair", kind: "string", value: `"\ud800\ud83d\ude00"`, want: "\ufffd😀"},
		{name: "invalid utf-8", kind: "string", value: "\"a\xffb\xe2\x82\"", want: "a\ufffdb\ufffd\ufffd"},
		{name: "invalid utf-8 and escape", kind: "string", value: "\"a\xff\\n\"", want: "a\ufffd\n"},
		{name: "bad escape", kind: "string", value: `"\x"`, bad: "not valid JSON"},
		{name: "control character", kind: "string", value: "\"\x01\"", bad: "not valid JSON"},
		{name: "int", kind: "int64", value: `-12`, want: "-12"},
		{name: "int zero", kind: "int64", value: `0`, want: "0"},
		{name: "int beyond 2^53", kind: "int64", value: `9007199254740993`, want: "9007199254740993"},
		{name: "int of 18 digits", kind: "int64", value: `123456789012345678`, want: "123456789012345678"},
		{name: "int largest", kind: "int64", value: `9223372036854775807`, want: "9223372036854775807"},
		{name: "int smallest", kind: "int64", value: `-9223372036854775808`, want: "-9223372036854775808"},
		{name: "int too large", kind: "int64", value: `9223372036854775808`, bad: errIntRange.Error()},
		{name: "int with zero fraction", kind: "int64", value: `1.000`, want: "1"},
		{name: "int with exponent", kind: "int64", value: `12.5e3`, want: "12500"},
		{name: "int with shrinking exponent", kind: "int64", value: `1200e-2`, want: "12"},
		{name: "int of a huge exponent", kind: "int64", value: `1e999999999999999999999`, bad: errIntRange.Error()},
		{name: "int of zero and a huge exponent", kind: "int64", value: `0e999999999999999999999`, want: "0"},
		{name: "int with fraction", kind: "int64", value: `1.5`, bad: errNotInteger.Error()},
		{name: "int quoted", kind: "int64", value: `"123"`, want: "123"},
		{name: "int quoted with plus and zeros", kind: "int64", value: `"+007"`, want: "7"},
		{name: "int quoted with blank", kind: "int64", value: `"1 "`, bad: errNotInteger.Error()},
		{name: "int quoted with separators", kind: "int64", value: `"1,000"`, bad: errNotInteger.Error()},
		{name: "int empty", kind: "int64", value: `""`, bad: errNotInteger.Error()},
		{name: "int bool", kind: "int64", value: `true`, bad: errNotInteger.Error()},
		{name: "int leading zero", kind: "int64", value: `012`, bad: "not valid JSON"},
		{name: "int plus", kind: "int64", value: `+1`, bad: "not valid JSON"},
		{name: "int lone minus", kind: "int64", value: `-`, bad: "not valid JSON"},
		{name: "float", kind: "float64", value: `-0.5`, want: "-0.5"},
		{name: "float of a whole number", kind: "float64", value: `100`, want: "100"},
		{name: "float of 17 digits", kind: "float64", value: `0.30000000000000004`, want: "0.30000000000000004"},
		{name: "float exponent", kind: "float64", value: `1E-7`, want: "1e-07"},
		{name: "float too large", kind: "float64", value: `1e400`, bad: errNotFinite.Error()},
		{name: "float quoted", kind: "float64", value: `"1.25"`, want: "1.25"},
		{name: "float NaN", kind: "float64", value: `"NaN"`, bad: errNotNumber.Error()},
		{name: "float hex", kind: "float64", value: `"0x10"`, bad: errNotNumber.Error()},
		{name: "float underscore", kind: "float64", value: `"1_0"`, bad: errNotNumber.Error()},
		{name: "float point without digits", kind: "float64", value: `1.`, bad: "not valid JSON"},
		{name: "decimal", kind: "decimal(5,2)", value: `123.45`, want: "123.45"},
		{name: "decimal negative", kind: "decimal(5,2)", value: `-0.05`, want: "-0.05"},
		{name: "decimal minus zero", kind: "decimal(5,2)", value: `-0.0`, want: "0.00"},
		{name: "decimal padded", kind: "decimal(5,2)", value: `"7"`, want: "7.00"},
		{name: "decimal zeros beyond the scale", kind: "decimal(5,2)", value: `1.230000000000000000000000`, want: "1.23"},
		{name: "decimal beyond the scale", kind: "decimal(5,2)", value: `1.234`, bad: errScale.Error()},
		{name: "decimal beyond the precision", kind: "decimal(5,2)", value: `1000`, bad: errPrecision.Error()},
		{name: "decimal of 38 digits", kind: "decimal(38,6)", value: `12345678901234567890123456789012.345678`, want: "12345678901234567890123456789012.345678"},
		{name: "decimal of 38 nines", kind: "decimal(38,0)", value: `"-99999999999999999999999999999999999999"`, want: "-99999999999999999999999999999999999999"},
		{name: "decimal of 39 digits", kind: "decimal(38,0)", value: `100000000000000000000000000000000000000`, bad: errPrecision.Error()},
		{name: "decimal of 40 digits", kind: "decimal(38,0)", value: `1234567890123456789012345678901234567891`, bad: errPrecision.Error()},
		{name: "decimal far below the scale", kind: "decimal(38,0)", value: `1234567890123456789012345678901234567891e-41`, bad: errScale.Error()},
		{name: "decimal exponent", kind: "decimal(10,3)", value: `12e-3`, want: "0.012"},
		{name: "bool", kind: "bool", value: `true`, want: "true"},
		{name: "bool quoted", kind: "bool", value: `"False"`, want: "false"},
		{name: "bool number", kind: "bool", value: `1`, bad: errNotBool.Error()},
		{name: "date", kind: "date", value: `"2024-02-29"`, want: "2024-02-29"},
		{name: "date compact", kind: "date", value: `"20240620"`, want: "2024-06-20"},
		{name: "date before 1970", kind: "date", value: `"0001-01-01"`, want: "0001-01-01"},
		{name: "date late", kind: "date", value: `"9999-12-31"`, want: "9999-12-31"},
		{name: "date escaped", kind: "date", value: `"2024\u002d02-28"`, want: "2024-02-28"},
		{name: "date no leap year", kind: "date", value: `"2023-02-29"`, bad: errNotDate.Error()},
		{name: "date century", kind: "date", value: `"1900-02-29"`, bad: errNotDate.Error()},
		{name: "date 31 April", kind: "date", value: `"2024-04-31"`, bad: errNotDate.Error()},
		{name: "date year 0", kind: "date", value: `"0000-01-01"`, bad: errNotDate.Error()},
		{name: "date number", kind: "date", value: `20240620`, bad: errNotDate.Error()},
		{name: "date slashes", kind: "date", value: `"2024/06/20"`, bad: errNotDate.Error()},
		{name: "timestamp", kind: "timestamp", value: `"2024-06-20T12:15:17Z"`, want: "2024-06-20T12:15:17Z"},
		{name: "timestamp offset", kind: "timestamp", value: `"2024-06-20T01:15:17.5+02:00"`, want: "2024-06-19T23:15:17.5Z"},
		{name: "timestamp compact offset", kind: "timestamp", value: `"2024-06-20T12:15:17-0330"`, want: "2024-06-20T15:45:17Z"},
		{name: "timestamp blank", kind: "timestamp", value: `"2024-06-20 12:15:17.123456"`, want: "2024-06-20T12:15:17.123456Z"},
		{name: "timestamp date", kind: "timestamp", value: `"1969-12-31"`, want: "1969-12-31T00:00:00Z"},
		{name: "timestamp zeros beyond micro", kind: "timestamp", value: `"2024-06-20T12:15:17.123456000Z"`, want: "2024-06-20T12:15:17.123456Z"},
		{name: "timestamp beyond micro", kind: "timestamp", value: `"2024-06-20T12:15:17.1234567Z"`, bad: errTooFine.Error()},
		{name: "timestamp number", kind: "timestamp", value: `1718885717`, bad: errNotTimestamp.Error()},
		{name: "timestamp hour 24", kind: "timestamp", value: `"2024-06-20T24:00:00Z"`, bad: errNotTimestamp.Error()},
		{name: "timestamp second 60", kind: "timestamp", value: `"2024-06-20T23:59:60Z"`, bad: errNotTimestamp.Error()},
		{name: "timestamp without seconds", kind: "timestamp", value: `"2024-06-20T23:59Z"`, bad: errNotTimestamp.Error()},
		{name: "timestamp before year 1", kind: "timestamp", value: `"0001-01-01T00:00:00+01:00"`, bad: errNotTimestamp.Error()},
		{name: "json object", kind: "json", value: `{ "a" : [ 1 , "x y" ] }`, want: `{"a":[1,"x y"]}`},
		{name: "json string", kind: "json", value: `"a\"b"`, want: `"a\"b"`},
		{name: "json escaped quote before blank", kind: "json", value: `["a\\" , "\" "]`, want: `["a\\","\" "]`},
		{name: "json number", kind: "json", value: `1.0`, want: `1.0`},
		{name: "json null", kind: "json", value: `null`, want: "~"},
		{name: "json null inside", kind: "json", value: `[null]`, want: "[null]"},
		{name: "json invalid utf-8", kind: "json", value: "[ \"\xff\" ]", want: "[\"\ufffd\"]"},
		{name: "json bad", kind: "json", value: `[1,]`, bad: "not valid JSON"},
		{name: "json unclosed", kind: "json", value: `[1`, bad: "not valid JSON"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := schemaOf(t, "v "+tt.kind)
			chunks, err := decodeAll(t, s, DecodeOptions{}, NDJSONInput, `{"v":`+tt.value+"}\n")
			if tt.bad != "" {
				var row *RowError
				if !errors.As(err, &row) || row.Batch != 7 || row.Row != 1 || row.Column != "v" || !strings.Contains(err.Error(), tt.bad) {
					t.Fatalf("%s as %s: got error %v, want %q in column v of row 1", tt.value, tt.kind, err, tt.bad)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			checkVectors(t, chunks[0])
			if diff := cmp.Diff([]string{tt.want}, decodedText(chunks...)); diff != "" {
				t.Errorf("%s as %s (-want +got):\n%s", tt.value, tt.kind, diff)
			}
		})
	}
}

func TestDecodeNDJSONRows(t *testing.T) {
	deep := func(n int) string {
		return `{"x":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}`
	}
	for _, tt := range []struct {
		name, in string
		opts     DecodeOptions
		want     []string
		bad      string
	}{
		{name: "keys in any order, missing and null", in: "{\"a\":1,\"b\":\"x\",\"d\":\"2024-01-01\"}\n{\"d\":\"2024-01-02\",\"b\":\"y\",\"a\":2}\n{}\n{\"b\":null}\n{\"a\":3}",
			want: []string{"1|x|2024-01-01|~", "2|y|2024-01-02|~", "~|~|~|~", "~|~|~|~", "3|~|~|~"}},
		{name: "blanks everywhere", in: "  \t{ \"a\" : 1 , \"b\" :\t\"x\" } \r\n{ \"a\" : 2 ,  \"b\" : \"y\"}", want: []string{"1|x|~|~", "2|y|~|~"}},
		{name: "blanks only behind the colon once", in: "{\"a\":1,\"b\":\"x\"}\n{\"a\":   2,\"b\": \"y\"}\n{\"a\":3,\"b\":\"z\"}", want: []string{"1|x|~|~", "2|y|~|~", "3|z|~|~"}},
		{name: "keys that take turns", in: strings.Repeat("{\"a\":1,\"b\":\"x\",\"d\":\"2024-01-01\"}\n{\"a\":2,\"d\":\"2024-01-02\"}\n{\"a\":3,\"x\":{}}\n", 2),
			want: slices.Repeat([]string{"1|x|2024-01-01|~", "2|~|2024-01-02|~", "3|~|~|{}"}, 2)},
		{name: "empty lines", in: "\n\r\n  \n{\"a\":1}\n\n", want: []string{"1|~|~|~"}},
		{name: "nothing", in: ""},
		{name: "byte order mark", in: "\xef\xbb\xbf{\"a\":1}", want: []string{"1|~|~|~"}},
		{name: "byte order mark later", in: "{\"a\":1}\n\xef\xbb\xbf{\"a\":1}", bad: "row 2"},
		{name: "last of a key twice", in: `{"a":1,"b":"x","b":"y","a":null}` + "\n" + `{"b":"x"}` + "\n" + `{"b":null,"b":"z","b":"z"}`,
			want: []string{"~|y|~|~", "~|x|~|~", "~|z|~|~"}},
		{name: "escaped key", in: `{"\u0061":5}` + "\n" + `{"\u0061":6}`, want: []string{"5|~|~|~", "6|~|~|~"}},
		{name: "key in other case", in: `{"A":5}`, bad: `column "A": is not in the schema`},
		{name: "unknown", in: `{"a":1,"zz":[1,{"a":2}],"b":"x"}`, bad: `batch 7, row 1, column "zz": is not in the schema: add the column to it, or allow unknown columns`},
		{name: "unknown allowed", opts: DecodeOptions{UnknownColumns: true}, in: strings.Repeat(`{"a":1,"zz":[1,{"a":2}],"b":"x","zz":1}`+"\n", 2), want: []string{"1|x|~|~", "1|x|~|~"}},
		{name: "unknown allowed but damaged", opts: DecodeOptions{UnknownColumns: true}, in: `{"zz":[1,}`, bad: "not valid JSON"},
		{name: "lenient", opts: DecodeOptions{LenientColumn: "d"}, in: "{\"d\":\"soon\"}\n{\"d\":{}}\n{\"d\":5}\n{\"d\":\"2024-01-01\"}", want: []string{"~|~|~|~", "~|~|~|~", "~|~|~|~", "~|~|2024-01-01|~"}},
		{name: "lenient but damaged", opts: DecodeOptions{LenientColumn: "d"}, in: `{"d":tru}`, bad: "not valid JSON"},
		{name: "array", in: `[1]`, bad: "one object per line"},
		{name: "null", in: `null`, bad: "one object per line"},
		{name: "two on a line", in: `{"a":1} {"a":2}`, bad: "not valid JSON"},
		{name: "comma at the end", in: `{"a":1,}`, bad: "not valid JSON"},
		{name: "comma at the beginning", in: `{,"a":1}`, bad: "not valid JSON"},
		{name: "no comma", in: `{"a":1 "b":"x"}`, bad: `column "a" (value "1 \"b\":\"x\"}"): is not valid JSON: neither a comma nor a } follows the value`},
		{name: "no closing brace", in: `{"b":"x","a":1`, bad: `column "a" (value "1"): is not valid JSON: the line ends before the } of its object: write one object per line`},
		{name: "no closing brace, blanks", in: "{\"a\":1 \r\n{\"a\":2}", bad: `row 1, column "a" (value "1 \r"): is not valid JSON: the line ends before the }`},
		{name: "no closing brace behind a comma", in: `{"a":1,`, bad: "the line ends before the }"},
		{name: "no colon", in: `{"a" 1}`, bad: "not valid JSON"},
		{name: "key without quotes", in: `{a:1}`, bad: "not valid JSON"},
		{name: "object over two lines", in: "{\"a\":\n1}", bad: "batch 7, row 1"},
		{name: "object over many lines", in: "{\n  \"a\": 1\n}", bad: "row 1: is not valid JSON: the line ends before the } of its object: write one object per line"},
		{name: "unclosed string", in: `{"b":"x`, bad: "not valid JSON"},
		{name: "second row", in: "{\"a\":1}\n\n{\"a\":\"x\"}", bad: `batch 7, row 2, column "a" (value "x"): is not a whole number`},
		{name: "deepest", in: deep(9999), want: []string{"~|~|~|" + strings.Repeat("[", 9999) + strings.Repeat("]", 9999)}},
		{name: "too deep", in: deep(10000), bad: "nests deeper"},
		{name: "long row", opts: DecodeOptions{MaxRowBytes: 10}, in: "{\"a\":1}\n{\"b\":\"0123456789\"}", bad: "row 2: is longer than a row may be"},
		{name: "long batch", opts: DecodeOptions{MaxBatchBytes: 10}, in: "{\"a\":1}\n{\"a\":2}\n", bad: "batch 7: unpacks to more than 10 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := schemaOf(t, "a int64", "b string", "d date", "x json")
			chunks, err := decodeAll(t, s, tt.opts, NDJSONInput, tt.in)
			checkDecoded(t, chunks, err, tt.want, tt.bad)
		})
	}
}

func checkDecoded(t *testing.T, chunks []*Rows, err error, want []string, bad string) {
	t.Helper()
	if bad != "" {
		var row *RowError
		var batch *BatchError
		if err == nil || !strings.Contains(err.Error(), bad) || !errors.As(err, &row) && !errors.As(err, &batch) {
			t.Fatalf("got error %v, want %q", err, bad)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range chunks {
		checkVectors(t, c)
	}
	if diff := cmp.Diff(want, decodedText(chunks...)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

func TestDecodeUnpacks(t *testing.T) {
	text := strings.Repeat("{\"a\":1}\n", 1000)
	for _, tt := range []struct {
		name    string
		packing Compression
		body    []byte
		opts    DecodeOptions
		rows    int64
		bad     string
	}{
		{name: "plain", body: []byte(text), rows: 1000},
		{name: "gzip", packing: Gzip, body: packed(t, Gzip, text), rows: 1000},
		{name: "zstd", packing: Zstd, body: packed(t, Zstd, text), rows: 1000},
		{name: "two gzip members", packing: Gzip, body: append(packed(t, Gzip, text), packed(t, Gzip, text)...), rows: 2000},
		{name: "two zstd frames", packing: Zstd, body: append(packed(t, Zstd, text), packed(t, Zstd, text)...), rows: 2000},
		{name: "gzip truncated", packing: Gzip, body: packed(t, Gzip, text)[:40], bad: "batch 1: unpack gzip: unexpected EOF"},
		{name: "gzip empty", packing: Gzip, bad: "batch 1: unpack gzip: unexpected EOF"},
		{name: "gzip with a wrong checksum", packing: Gzip, body: damaged(packed(t, Gzip, text)), bad: "batch 1: unpack gzip: "},
		{name: "zstd truncated", packing: Zstd, body: packed(t, Zstd, text)[:20], bad: "batch 1: unpack zstd: "},
		{name: "gzip of nothing of the kind", packing: Gzip, body: []byte(text), bad: "batch 1: unpack gzip: "},
		{name: "bomb", packing: Zstd, body: packed(t, Zstd, strings.Repeat(" ", 1<<20)), opts: DecodeOptions{MaxBatchBytes: 1 << 19}, bad: "batch 1: unpacks to more than 524288 bytes"},
		{name: "unknown", packing: "lzma", bad: `batch 1: unknown compression "lzma"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := NewDecoder(schemaOf(t, "a int64"), tt.opts, func(*Rows) error { return nil })
			rows, err := d.Decode(1, NDJSONInput, tt.packing, iotest.HalfReader(bytes.NewReader(tt.body)))
			if tt.bad == "" {
				if err != nil || rows != tt.rows {
					t.Errorf("got %d rows and error %v, want %d rows", rows, err, tt.rows)
				}
				return
			}
			var batch *BatchError
			if !errors.As(err, &batch) || batch.Batch != 1 || !strings.HasPrefix(err.Error(), tt.bad) {
				t.Errorf("got error %v, want *BatchError %q", err, tt.bad)
			}
			if again := d.Flush(); again != err {
				t.Errorf("Flush after an error: got %v, want the same error", again)
			}
		})
	}
}

func packed(t testing.TB, packing Compression, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser = gzip.NewWriter(&b)
	if packing == Zstd {
		var err error
		if w, err = zstd.NewWriter(&b); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func damaged(b []byte) []byte {
	b[len(b)-5] ^= 1
	return b
}

func TestDecodeKeepsForeignErrors(t *testing.T) {
	gone := errors.New("gone")
	d := NewDecoder(schemaOf(t, "a int64"), DecodeOptions{}, nil)
	_, err := d.Decode(1, NDJSONInput, Gzip, iotest.ErrReader(gone))
	var batch *BatchError
	if !errors.Is(err, gone) || errors.As(err, &batch) {
		t.Errorf("body's error: got %v, want one that wraps it and does not blame the batch", err)
	}
	d = NewDecoder(schemaOf(t, "a int64"), DecodeOptions{ChunkBytes: 1}, func(*Rows) error { return gone })
	_, err = d.Decode(1, NDJSONInput, Plain, strings.NewReader(`{"a":1}`))
	if !errors.Is(err, gone) || errors.As(err, &batch) {
		t.Errorf("emit's error: got %v, want one that wraps it and does not blame the batch", err)
	}
}

// TestDecodeChunks cuts the same rows in many ways, by chunks, batches, packing
// and recycling; they must stay the same rows.
func TestDecodeChunks(t *testing.T) {
	ndjson, csv := adRows(3000)
	s := adSchema(t)
	whole, err := decodeAll(t, s, DecodeOptions{}, NDJSONInput, string(ndjson))
	if err != nil {
		t.Fatal(err)
	}
	want := decodedText(whole...)
	if len(whole) != 1 || len(want) != 3000 {
		t.Fatalf("got %d chunks, %d rows", len(whole), len(want))
	}
	for _, tt := range []struct {
		format  InputFormat
		text    []byte
		chunk   int64
		recycle bool
	}{
		{NDJSONInput, ndjson, 1, false}, {NDJSONInput, ndjson, 1, true}, {NDJSONInput, ndjson, 5000, false}, {NDJSONInput, ndjson, 100_000, true},
		{CSVInput, csv, 0, false}, {CSVInput, csv, 777, false}, {CSVInput, csv, 50_000, true},
	} {
		t.Run(fmt.Sprintf("%s/%d/%v", tt.format, tt.chunk, tt.recycle), func(t *testing.T) {
			var got []string
			most := int64(0)
			d := NewDecoder(s, DecodeOptions{ChunkBytes: tt.chunk, Recycle: tt.recycle}, func(r *Rows) error {
				checkVectors(t, r)
				got = append(got, decodedText(r)...)
				most = max(most, r.Size())
				return nil
			})
			if _, err := d.Decode(1, tt.format, Plain, iotest.HalfReader(bytes.NewReader(tt.text))); err != nil {
				t.Fatal(err)
			}
			if err := d.Flush(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
			if tt.chunk > 0 && most > tt.chunk+2000 {
				t.Errorf("a chunk of %d bytes, want about %d", most, tt.chunk)
			}
		})
	}
}

// TestDecodeLongLines grows the window and meets lines that span many reads.
func TestDecodeLongLines(t *testing.T) {
	var in strings.Builder
	var want []string
	for i := range 40 {
		v := strings.Repeat(string(rune('a'+i%26)), i*i*700)
		fmt.Fprintf(&in, "{\"b\":%q}\n", v)
		want = append(want, v)
	}
	chunks, err := decodeAll(t, schemaOf(t, "b string"), DecodeOptions{ChunkBytes: 1 << 20}, NDJSONInput, in.String())
	checkDecoded(t, chunks, err, want, "")
}
