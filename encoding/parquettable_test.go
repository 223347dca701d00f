package encoding

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow/decimal128"
)

// parquetTable is rows as plain values, one list per column: nil, string,
// int64 (of integers, days and microseconds), float64, bool, decimal128.Num.
type parquetTable struct {
	schema  *Schema
	columns [][]any
}

func newParquetTable(t testing.TB, columns ...Column) *parquetTable {
	t.Helper()
	schema, err := NewSchema(columns)
	if err != nil {
		t.Fatal(err)
	}
	return &parquetTable{schema: schema, columns: make([][]any, len(columns))}
}

// add appends a row.
func (p *parquetTable) add(values ...any) {
	for i, v := range values {
		p.columns[i] = append(p.columns[i], v)
	}
}

func (p *parquetTable) rows() int { return len(p.columns[0]) }

// vectors makes Rows of rows [from,to), texts as dictionaries or plain.
func (p *parquetTable) vectors(from, to int, dictionary bool) *Rows {
	r := &Rows{schema: p.schema, n: to - from, vectors: make([]vector, len(p.columns))}
	for c := range p.columns {
		v := &r.vectors[c]
		kind := p.schema.Column(c).Type.Kind
		valid := make([]byte, bitmapBytes(r.n))
		known := map[string]int32{}
		if kind == Bool {
			v.bools = make([]byte, bitmapBytes(r.n))
		}
		if kind.IsText() {
			v.text.offsets = []int32{0}
			if dictionary {
				v.codes = make([]int32, 0, r.n)
			}
		}
		for i, value := range p.columns[c][from:to] {
			if value == nil {
				v.nulls++
			} else {
				setBit(valid, i)
			}
			switch kind {
			case String, JSONText:
				s, _ := value.(string)
				switch code, ok := known[s]; {
				case !dictionary:
					v.text.add([]byte(s))
				case value == nil:
					v.codes = append(v.codes, 0)
				case ok:
					v.codes = append(v.codes, code)
				default:
					known[s] = int32(v.text.len())
					v.codes = append(v.codes, known[s])
					v.text.add([]byte(s))
				}
			case Int64, Timestamp:
				n, _ := value.(int64)
				v.ints = append(v.ints, n)
			case Date:
				n, _ := value.(int64)
				v.days = append(v.days, int32(n))
			case Float64:
				n, _ := value.(float64)
				v.floats = append(v.floats, n)
			case Decimal:
				n, _ := value.(decimal128.Num)
				v.decimals = append(v.decimals, n)
			case Bool:
				if b, _ := value.(bool); b {
					setBit(v.bools, i)
				}
			}
		}
		if v.nulls > 0 {
			v.valid = valid
		}
	}
	return r
}

// write makes a file of the table, written in runs that cut ends.
func (p *parquetTable) write(t testing.TB, codec string, limits parquetLimits, dictionary bool, cuts ...int) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := newLimitedParquetWriter(&b, p.schema, FileOptions{Format: Parquet, Compression: codec}, limits)
	if err != nil {
		t.Fatal(err)
	}
	from := 0
	for _, to := range append(cuts, p.rows()) {
		if err := w.Write(p.vectors(from, to, dictionary)); err != nil {
			t.Fatal(err)
		}
		from = to
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// smallParquetLimits make many groups and pages of few rows.
func smallParquetLimits() parquetLimits {
	return parquetLimits{groupRows: 57, groupBytes: 3000, pageRows: 21, pageBytes: 200,
		dictionaryBytes: 150, dictionaryTrial: 6, boundBytes: 16}
}

func everyParquetKind() []Column {
	return []Column{
		{"text", Type{Kind: String}}, {"json", Type{Kind: JSONText}}, {"int", Type{Kind: Int64}},
		{"float", Type{Kind: Float64}}, {"bool", Type{Kind: Bool}}, {"date", Type{Kind: Date}},
		{"time", Type{Kind: Timestamp}},
		{"decimal(1,0)", Type{Decimal, 1, 0}}, {"decimal(9,2)", Type{Decimal, 9, 2}},
		{"decimal(10,10)", Type{Decimal, 10, 10}}, {"decimal(18,6)", Type{Decimal, 18, 6}},
		{"decimal(19,3)", Type{Decimal, 19, 3}}, {"decimal(28,9)", Type{Decimal, 28, 9}}, {"decimal(38,9)", Type{Decimal, 38, 9}},
	}
}

func digits(t testing.TB, s string) decimal128.Num {
	t.Helper()
	d, err := decimal128.FromString(s, 38, 0)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// extremes is every kind's nastiest values, then a null row.
func parquetExtremes(t testing.TB) *parquetTable {
	p := newParquetTable(t, everyParquetKind()...)
	nines := func(n int) decimal128.Num { return digits(t, strings.Repeat("9", n)) }
	p.add("", `{"a":[1,"\u0000"]}`, int64(math.MinInt64), -math.MaxFloat64, true, int64(math.MinInt32), int64(math.MinInt64),
		nines(1), nines(9), nines(10), nines(18), nines(19), nines(28), nines(38))
	p.add("zażółć 🚀 \"q\",\n\x00", `"x"`, int64(math.MaxInt64), math.MaxFloat64, false, int64(math.MaxInt32), int64(math.MaxInt64),
		nines(1).Negate(), nines(9).Negate(), nines(10).Negate(), nines(18).Negate(), nines(19).Negate(), nines(28).Negate(), nines(38).Negate())
	p.add("\xf4\x8f\xbf\xbf", `null`, int64(0), math.SmallestNonzeroFloat64, true, int64(0), int64(0),
		digits(t, "0"), digits(t, "0"), digits(t, "-1"), digits(t, "1"), digits(t, "0"), digits(t, "-1"), digits(t, "-18446744073709551616"))
	p.add("a", `{}`, int64(-1), math.Copysign(0, -1), false, int64(-1), int64(-1),
		digits(t, "-1"), digits(t, "-1"), digits(t, "0"), digits(t, "0"), digits(t, "-9223372036854775809"), digits(t, "0"), digits(t, "9223372036854775808"))
	p.add(make([]any, len(p.columns))...)
	return p
}

// randomParquetTable draws rows whose columns range from constant to unique
// and from never to always null.
func randomParquetTable(t testing.TB, rng *rand.Rand, rows int) *parquetTable {
	p := newParquetTable(t, everyParquetKind()...)
	for c := range p.columns {
		typ := p.schema.Column(c).Type
		distinct := []int64{1, 2, 5, 40, 1 << 40}[rng.IntN(5)]
		nulls := []float64{0, 0, 0.01, 0.5, 1}[rng.IntN(5)]
		sticky := rng.Float64() * float64(rng.IntN(2)) // how often a row repeats the last
		var last any
		for i := range rows {
			if i == 0 || rng.Float64() >= sticky {
				last = randomParquetValue(rng, typ, rng.Int64N(distinct)-distinct/2)
				if rng.Float64() < nulls {
					last = nil
				}
			}
			p.columns[c] = append(p.columns[c], last)
		}
	}
	return p
}

// randomParquetValue is the n-th value of a type.
func randomParquetValue(rng *rand.Rand, typ Type, n int64) any {
	switch typ.Kind {
	case String, JSONText:
		if n == 0 {
			return ""
		}
		return strings.Repeat("ż", int(uint64(n)*0x9e3779b97f4a7c15>>60)) + fmt.Sprint(n)
	case Float64:
		return float64(n) / 7
	case Bool:
		return n&1 == 0
	case Date:
		return n % math.MaxInt32
	case Decimal:
		limit := int64(math.MaxInt64)
		if typ.Precision <= 18 {
			limit = int64(math.Pow10(int(typ.Precision)))
		}
		d := decimal128.FromI64(n % limit)
		if typ.Precision == 38 && n%3 == 0 {
			d = d.Mul(decimal128.FromU64(1 << 60))
		}
		return d
	}
	return n * (1 + math.MaxInt64>>41)
}
