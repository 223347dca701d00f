package encoding

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"

	"github.com/apache/arrow/go/v17/arrow/decimal128"
	"github.com/google/go-cmp/cmp"
)

// everyKind is a schema with each kind, text twice: once for either layout.
func everyKind() *Schema {
	s, err := NewSchema([]Column{
		{Name: "day", Type: Type{Kind: Date}},
		{Name: "account", Type: Type{Kind: String}},
		{Name: "note", Type: Type{Kind: String}},
		{Name: "count", Type: Type{Kind: Int64}},
		{Name: "rate", Type: Type{Kind: Float64}},
		{Name: "cost", Type: Type{Kind: Decimal, Precision: 38, Scale: 6}},
		{Name: "active", Type: Type{Kind: Bool}},
		{Name: "seen at", Type: Type{Kind: Timestamp}},
		{Name: "größe \"x\"", Type: Type{Kind: JSONText}},
		{Name: "tags", Type: Type{Kind: JSONText}},
	})
	if err != nil {
		panic(err)
	}
	return s
}

// shape says what random rows look like.
type shape struct {
	nulls    float64 // the share of values that are null
	distinct int     // how many values a text column draws from
	plain    bool    // every text column plain; otherwise every second one
}

// randomRows draws rows of any schema.
func randomRows(rng *rand.Rand, schema *Schema, n int, of shape) *Rows {
	r := &Rows{schema: schema, n: n, vectors: make([]vector, schema.Len())}
	textColumns := 0
	for c := range r.vectors {
		t := schema.Column(c).Type
		coded := t.Kind.IsText() && !of.plain && textColumns%2 == 0
		if t.Kind.IsText() {
			textColumns++
		}
		r.vectors[c] = randomVector(rng, t, n, of, coded)
	}
	return r
}

func randomVector(rng *rand.Rand, t Type, n int, of shape, coded bool) vector {
	var v vector
	valid := make([]byte, bitmapBytes(n))
	for row := range n {
		if rng.Float64() < of.nulls {
			v.nulls++
		} else {
			setBit(valid, row)
		}
	}
	if v.nulls > 0 {
		v.valid = valid
	}
	switch t.Kind {
	case Int64, Timestamp:
		v.ints = make([]int64, n)
	case Float64:
		v.floats = make([]float64, n)
	case Decimal:
		v.decimals = make([]decimal128.Num, n)
	case Date:
		v.days = make([]int32, n)
	case Bool:
		v.bools = make([]byte, bitmapBytes(n))
	default:
		v.text.offsets = []int32{0}
		if coded {
			v.codes = make([]int32, n)
		}
	}
	codes := make(map[string]int32)
	for row := range n {
		if v.null(row) {
			if t.Kind.IsText() && !coded {
				v.text.add(nil)
			}
			continue
		}
		switch t.Kind {
		case Int64:
			v.ints[row] = []int64{0, -1, math.MinInt64, math.MaxInt64, rng.Int64N(1000)}[rng.IntN(5)]
		case Timestamp:
			v.ints[row] = 1718885717000000 + rng.Int64N(90*dayMicros) - 45*dayMicros
		case Float64:
			v.floats[row] = []float64{0, math.MaxFloat64, -1.5, rng.NormFloat64()}[rng.IntN(4)]
		case Decimal:
			v.decimals[row] = decimal128.New(rng.Int64N(1<<40)-1<<39, rng.Uint64())
		case Date:
			v.days[row] = 19800 + rng.Int32N(7)
		case Bool:
			if rng.IntN(2) == 0 {
				setBit(v.bools, row)
			}
		default:
			text := randomText(rng, t.Kind, of.distinct)
			if !coded {
				v.text.add([]byte(text))
				continue
			}
			code, ok := codes[text]
			if !ok {
				code = int32(len(codes))
				codes[text] = code
				v.text.add([]byte(text))
			}
			v.codes[row] = code
		}
	}
	return v
}

func randomText(rng *rand.Rand, kind Kind, distinct int) string {
	i := rng.IntN(max(distinct, 1))
	if kind == JSONText {
		return fmt.Sprintf(`{"n":%d,"t":["ä"]}`, i)
	}
	switch i {
	case 0:
		return ""
	case 1:
		return "日本語 \"quoted\", 🎉"
	}
	return fmt.Sprintf("value %d", i)
}

// grid is every value of the rows as Go values, nil for null: what two rows of
// different layouts are compared by.
func grid(r *Rows) [][]any {
	out := make([][]any, r.n)
	for row := range out {
		out[row] = make([]any, len(r.vectors))
		for c := range r.vectors {
			v := &r.vectors[c]
			if v.null(row) {
				continue
			}
			switch r.schema.Column(c).Type.Kind {
			case Int64, Timestamp:
				out[row][c] = v.ints[row]
			case Float64:
				out[row][c] = v.floats[row]
			case Decimal:
				out[row][c] = v.decimals[row].BigInt().String()
			case Date:
				out[row][c] = v.days[row]
			case Bool:
				out[row][c] = bit(v.bools, row)
			default:
				out[row][c] = string(v.bytes(row))
			}
		}
	}
	return out
}

// diffGrids tells how two grids differ; "" when they are equal, which
// reflect finds far sooner than cmp does.
func diffGrids(want, got [][]any) string {
	if len(want) == 0 && len(got) == 0 || reflect.DeepEqual(want, got) {
		return ""
	}
	return cmp.Diff(want, got)
}
