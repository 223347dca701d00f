package encoding

import (
	"math"
	"math/big"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestInfer(t *testing.T) {
	type batch struct {
		format InputFormat
		text   string
	}
	json := func(lines ...string) batch { return batch{NDJSONInput, strings.Join(lines, "\n")} }
	csv := func(lines ...string) batch { return batch{CSVInput, strings.Join(lines, "\n")} }
	for _, tt := range []struct {
		name    string
		batches []batch
		want    string
		bad     string
	}{
		{name: "each kind", want: "a int64, b float64, c bool, d date, e timestamp, f string, g json, h json, i string",
			batches: []batch{json(`{"a":1,"b":1.5,"c":true,"d":"2024-01-01","e":"2024-01-01T00:00:00Z","f":"x","g":{},"h":[],"i":null}`)}},
		{name: "order of first appearance", want: "b int64, a int64, c int64", batches: []batch{json(`{"b":1}`, `{"a":1,"b":2}`), json(`{"c":1,"a":1}`)}},
		{name: "whole and fraction", want: "a float64", batches: []batch{json(`{"a":1}`, `{"a":0.5}`)}},
		{name: "large whole and fraction", want: "a decimal(17,1)", batches: []batch{json(`{"a":9007199254740993}`, `{"a":0.5}`)}},
		{name: "large whole", want: "a int64", batches: []batch{json(`{"a":9007199254740993}`, `{"a":1}`)}},
		{name: "beyond 64 bits", want: "a string", batches: []batch{json(`{"a":9223372036854775808}`)}},
		{name: "beyond 64 bits and fraction", want: "a decimal(21,2)", batches: []batch{json(`{"a":9223372036854775808}`, `{"a":0.25}`)}},
		{name: "more digits than a float64", want: "a decimal(19,2)", batches: []batch{json(`{"a":1.5}`, `{"a":0}`, `{"a":-12345678901234567.89}`)}},
		{name: "more digits in the first row", want: "a decimal(23,5)", batches: []batch{json(`{"a":1234567890.12345}`, `{"a":123456789012345678}`)}},
		{name: "more digits, in csv", want: "a decimal(19,2)", batches: []batch{csv("a", "1.10", "12345678901234567.89", "12e4")}},
		{name: "digits of a float64", want: "a float64", batches: []batch{json(`{"a":0.30000000000000004}`, `{"a":1.7976931348623157e308}`, `{"a":5e-324}`, `{"a":9007199254740991}`)}},
		{name: "other digits of a float64", want: "a decimal(17,17)", batches: []batch{json(`{"a":0.10000000000000001}`)}},
		{name: "zeros at the ends", want: "a float64", batches: []batch{csv("a", "1.10", "12e4", "0.50000000000000000000000000", "100000000000000000000.0", "0e999")}},
		{name: "38 digits and zero", want: "a decimal(38,38)", batches: []batch{json(`{"a":0.12345678901234567890123456789012345678}`, `{"a":0}`)}},
		{name: "39 digits", want: "a string", batches: []batch{json(`{"a":0.12345678901234567890123456789012345678}`, `{"a":1}`)}},
		{name: "more digits and a far exponent", want: "a string", batches: []batch{json(`{"a":12345678901234567.89}`, `{"a":1e300}`)}},
		{name: "less than a float64", want: "a string", batches: []batch{json(`{"a":1e-400}`)}},
		{name: "more digits and text", want: "a string", batches: []batch{json(`{"a":12345678901234567.89}`, `{"a":"x"}`)}},
		{name: "more digits and nested", want: "a json", batches: []batch{csv("a", "12345678901234567.89", "1e999"), json(`{"a":{}}`)}},
		{name: "beyond a float64", want: "a string", batches: []batch{json(`{"a":1e999}`)}},
		{name: "date and timestamp", want: "a timestamp", batches: []batch{json(`{"a":"2024-01-01"}`, `{"a":"2024-01-01 10:00:00"}`)}},
		{name: "date and no date", want: "a string", batches: []batch{json(`{"a":"2024-01-01"}`, `{"a":"2024-13-01"}`)}},
		{name: "date and number", want: "a string", batches: []batch{json(`{"a":"2024-01-01"}`, `{"a":5}`)}},
		{name: "compact date stays text", want: "a string", batches: []batch{json(`{"a":"20240101"}`)}},
		{name: "digits in quotes stay text", want: "a string", batches: []batch{json(`{"a":"123"}`)}},
		{name: "bool and number", want: "a string", batches: []batch{json(`{"a":true}`, `{"a":5}`)}},
		{name: "object and text", want: "a json", batches: []batch{json(`{"a":{}}`, `{"a":"x"}`, `{"a":5}`)}},
		{name: "over batches", want: "a float64", batches: []batch{json(`{"a":1}`), json(`{"a":2.5}`)}},
		{name: "csv", want: "a int64, b float64, c bool, d date, e timestamp, f string, g string, h string", batches: []batch{csv("a,b,c,d,e,f,g,h", "1,1.5,TRUE,2024-01-01,2024-01-01 10:00:00,x,,007", `,,,,,"","",8`)}},
		{name: "csv quoted empty in a column of numbers", want: "a int64", batches: []batch{csv("a", "1", `""`)}},
		{name: "csv and json", want: "a float64", batches: []batch{csv("a", "1"), json(`{"a":1.5}`)}},
		{name: "csv text and nested", bad: `column "a" holds objects`, batches: []batch{csv("a", "x"), json(`{"a":{}}`)}},
		{name: "csv date and nested", bad: `column "a" holds objects`, batches: []batch{csv("a", "2024-01-01"), json(`{"a":{}}`)}},
		{name: "nothing", bad: "at least one column"},
		{name: "key without a name", bad: "has no name", batches: []batch{json(`{"":1}`)}},
		{name: "damaged", bad: "batch 1, row 2", batches: []batch{json(`{"a":1}`, `{"a":}`)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := NewInferrer()
			var s *Schema
			var err error
			for i, b := range tt.batches {
				if err = n.Observe(i+1, b.format, Plain, strings.NewReader(b.text)); err != nil {
					break
				}
			}
			if err == nil {
				s, err = n.Schema()
			}
			if tt.bad != "" {
				if err == nil || !strings.Contains(err.Error(), tt.bad) {
					t.Fatalf("got error %v, want %q", err, tt.bad)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, c := range s.Columns() {
				got = append(got, c.Name+" "+c.Type.String())
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, ", ")); diff != "" {
				t.Errorf("schema (-want +got):\n%s", diff)
			}
			// What was inferred takes what it was inferred from.
			d := NewDecoder(s, DecodeOptions{}, func(*Rows) error { return nil })
			for i, b := range tt.batches {
				if _, err := d.Decode(i+1, b.format, Plain, strings.NewReader(b.text)); err != nil {
					t.Errorf("decode what was inferred: %v", err)
				}
			}
		})
	}
}

// Of the column that is to hold dates, those among its values are what it is.
func TestInferDates(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"dates", `{"d":"2024-01-01"}`, "date"},
		{"dates and a text", `{"d":"2024-01-01"} {"d":"oops"}`, "date"},
		{"a text before dates", `{"d":"oops"} {"d":"2024-01-01"}`, "date"},
		{"a timestamp among dates and texts", `{"d":"oops"} {"d":"2024-01-01"} {"d":"2024-01-01 10:00:00"}`, "timestamp"},
		{"timestamps and a text", `{"d":"2024-01-01T10:00:00Z"} {"d":""}`, "timestamp"},
		{"dates and a number", `{"d":"2024-01-01"} {"d":5}`, "date"},
		{"dates and an object", `{"d":"2024-01-01"} {"d":{}}`, "date"},
		{"no date", `{"d":"oops"} {"d":"20240101"}`, "string"},
		{"numbers", `{"d":20240101}`, "int64"},
		{"no values", `{"d":null}`, "string"},
		{"another column", `{"e":"2024-01-01"} {"e":"oops"}`, "string"},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := NewInferrer()
			n.Dates("d")
			if err := n.Observe(1, NDJSONInput, Plain, strings.NewReader(strings.ReplaceAll(test.text, "} {", "}\n{"))); err != nil {
				t.Fatal(err)
			}
			s, err := n.Schema()
			if err != nil {
				t.Fatal(err)
			}
			if got := s.Column(0).Type.String(); got != test.want {
				t.Errorf("%s: got %s, want %s", test.text, got, test.want)
			}
		})
	}
}

// Whatever numbers a column has, each is what it was.
func TestInferNumbersExactly(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	digits := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = '0' + byte(random.IntN(10))
		}
		return string(b)
	}
	number := func() string {
		v := []string{"", "-"}[random.IntN(2)]
		if n := random.IntN(20); n > 0 {
			v += string('1'+byte(random.IntN(9))) + digits(n-1)
		} else {
			v += "0"
		}
		if random.IntN(3) > 0 {
			v += "." + digits(1+random.IntN(20))
		}
		if random.IntN(10) == 0 {
			v += "e" + strconv.Itoa(random.IntN(50)-25)
		}
		if random.IntN(20) == 0 {
			v = strconv.FormatFloat(math.Float64frombits(random.Uint64()&^(1<<62)), 'g', -1+random.IntN(2)*20, 64)
		}
		return v
	}
	kinds := make(map[Kind]int)
	for range 3_000 {
		values := []string{number(), number(), number()}[:1+random.IntN(3)]
		text := `{"a":` + strings.Join(values, "}\n{\"a\":") + "}"
		n := NewInferrer()
		if err := n.Observe(1, NDJSONInput, Plain, strings.NewReader(text)); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		s, err := n.Schema()
		if err != nil {
			t.Fatal(err)
		}
		kinds[s.Column(0).Type.Kind]++
		d := NewDecoder(s, DecodeOptions{}, func(r *Rows) error {
			for i, v := range values {
				want, _ := new(big.Rat).SetString(v)
				got, ok := new(big.Rat).SetString(string(r.Text(nil, 0, i)))
				if !ok || got.Cmp(want) != 0 {
					t.Errorf("%v: got %s, want %s", s.Columns(), r.Text(nil, 0, i), v)
				}
			}
			return nil
		})
		if _, err := d.Decode(1, NDJSONInput, Plain, strings.NewReader(text)); err != nil {
			t.Errorf("%v: %q: %v", s.Columns(), text, err)
		}
		if err := d.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	for _, k := range []Kind{Int64, Float64, Decimal, String} {
		if kinds[k] < 50 {
			t.Errorf("%d columns became %v, too few to tell", kinds[k], k)
		}
	}
}

func BenchmarkInferNumbers(b *testing.B) {
	for _, bb := range []struct{ name, row string }{
		{"whole", `{"a":123456,"b":7}`},
		{"fraction", `{"a":1234.56,"b":0.000123}`},
		{"long", `{"a":0.30000000000000004,"b":1234567890.1234567}`},
	} {
		b.Run(bb.name, func(b *testing.B) {
			text := strings.Repeat(bb.row+"\n", 1000)
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if err := NewInferrer().Observe(1, NDJSONInput, Plain, strings.NewReader(text)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// FuzzInfer: the schema that is inferred takes the rows it came from.
func FuzzInfer(f *testing.F) {
	f.Add("{\"a\":1}\n{\"a\":1.5,\"b\":\"2024-01-01\"}", "a,b\n1,x\n")
	f.Add("{\"a\":{}}", "a\n\"{}\"\n")
	f.Add("{\"a\":-0e1}", "a\n1e400\n")
	f.Add("{\"a\":12345678901234567.89}", "a\n0.10000000000000001\n")
	f.Fuzz(func(t *testing.T, ndjson, csv string) {
		n := NewInferrer()
		if n.Observe(1, NDJSONInput, Plain, strings.NewReader(ndjson)) != nil || n.Observe(2, CSVInput, Plain, strings.NewReader(csv)) != nil {
			return
		}
		s, err := n.Schema()
		if err != nil {
			return
		}
		d := NewDecoder(s, DecodeOptions{}, func(*Rows) error { return nil })
		if _, err := d.Decode(1, NDJSONInput, Plain, strings.NewReader(ndjson)); err != nil {
			t.Errorf("%v: %q: %v", s.Columns(), ndjson, err)
		}
		if _, err := d.Decode(2, CSVInput, Plain, strings.NewReader(csv)); err != nil && !strings.Contains(err.Error(), errNotUTF8.Error()) {
			t.Errorf("%v: %q: %v", s.Columns(), csv, err)
		}
	})
}
