package encoding

import (
	"math"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/decimal128"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/google/go-cmp/cmp"
)

func TestArrowRoundTrip(t *testing.T) {
	for _, tc := range shapes {
		t.Run(tc.name, func(t *testing.T) {
			rng := newRand()
			r := randomRows(rng, everyKind(), tc.n, tc.of)
			rec := r.Arrow()
			got, err := FromArrow(r.schema, rec)
			if err != nil {
				t.Fatal(err)
			}
			checkSame(t, r, got)

			a := rng.IntN(tc.n + 1)
			b := a + rng.IntN(tc.n-a+1)
			got, err = FromArrow(r.schema, rec.NewSlice(int64(a), int64(b)))
			if err != nil {
				t.Fatalf("slice [%d:%d]: %v", a, b, err)
			}
			checkRows(t, got)
			if diff := diffGrids(grid(r)[a:b], grid(got)); diff != "" {
				t.Errorf("slice [%d:%d] (-want +got):\n%s", a, b, diff)
			}
		})
	}
}

// checkSame proves that got has want's values in want's layout.
func checkSame(t *testing.T, want, got *Rows) {
	t.Helper()
	checkRows(t, got)
	if !got.schema.Equal(want.schema) {
		t.Fatalf("schema %v, want %v", got.schema.columns, want.schema.columns)
	}
	if diff := diffGrids(grid(want), grid(got)); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	for c := range want.vectors {
		if want, got := want.vectors[c].codes != nil, got.vectors[c].codes != nil; want != got {
			t.Errorf("column %d is coded: %v, want %v", c, got, want)
		}
	}
}

// What Arrow's own accessors read is what the rows hold.
func TestArrowIsWhatArrowReads(t *testing.T) {
	r := randomRows(newRand(), everyKind(), 100, shape{nulls: 0.3, distinct: 9})
	rec := r.Arrow()
	want := grid(r)
	for c := range r.vectors {
		column := rec.Column(c)
		if got := column.NullN(); got != r.vectors[c].nulls {
			t.Errorf("column %d: %d nulls, want %d", c, got, r.vectors[c].nulls)
		}
		if got, _ := rec.Schema().Field(c).Metadata.GetValue("loadfleet.type"); got != r.schema.Column(c).Type.String() {
			t.Errorf("column %d: type %q in the metadata", c, got)
		}
		for row := range r.n {
			var got any
			if !column.IsNull(row) {
				switch column := column.(type) {
				case *array.Int64:
					got = column.Value(row)
				case *array.Timestamp:
					got = int64(column.Value(row))
				case *array.Float64:
					got = column.Value(row)
				case *array.Decimal128:
					got = column.Value(row).BigInt().String()
				case *array.Boolean:
					got = column.Value(row)
				case *array.Date32:
					got = int32(column.Value(row))
				case *array.String:
					got = column.Value(row)
				case *array.Dictionary:
					got = column.Dictionary().(*array.String).Value(column.GetValueIndex(row))
				}
			}
			if diff := cmp.Diff(want[row][c], got); diff != "" {
				t.Fatalf("column %d row %d (-want +got):\n%s", c, row, diff)
			}
		}
	}
}

func TestFromArrowRefusesWhatArrowDoesNotMake(t *testing.T) {
	number := func(name string) *Schema {
		s, err := NewSchema([]Column{{Name: name, Type: Type{Kind: Int64}}})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	record := func(dt arrow.DataType, buffers ...[]byte) arrow.Record {
		held := make([]*memory.Buffer, len(buffers))
		for i, b := range buffers {
			if b != nil {
				held[i] = memory.NewBufferBytes(b)
			}
		}
		column := array.MakeFromData(array.NewData(dt, 1, held, nil, 0, 0))
		return array.NewRecord(arrow.NewSchema([]arrow.Field{{Name: "n", Type: dt}}, nil), []arrow.Array{column}, 1)
	}
	wide := func(hi int64, lo uint64) arrow.Record {
		return record(&arrow.Decimal128Type{Precision: 3}, nil, asBytes([]decimal128.Num{decimal128.New(hi, lo)}))
	}
	decimals := func(n int64) arrow.Record { return wide(n>>63, uint64(n)) }
	n := record(arrow.PrimitiveTypes.Int64, nil, make([]byte, 8))
	short, err := NewSchema([]Column{{Name: "n", Type: Type{Kind: Decimal, Precision: 3}}})
	if err != nil {
		t.Fatal(err)
	}
	text, err := NewSchema([]Column{{Name: "n", Type: Type{Kind: String}}})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		schema *Schema
		rec    arrow.Record
		want   string
	}{
		{"number of columns", everyKind(), n, "read arrow record: it has 1 columns, the schema 10"},
		{"name", number("m"), n, `read arrow record: column 1 is "n", want "m"`},
		{"type", number("n"), record(arrow.PrimitiveTypes.Int32, nil, make([]byte, 4)), `read arrow record: column "n": it is of arrow type int32, want int64 for int64`},
		{"digits", short, decimals(1000), `read arrow record: column "n": it holds a number of more than 3 digits`},
		{"digits below zero", short, decimals(-1000), `read arrow record: column "n": it holds a number of more than 3 digits`},
		{"digits far below zero", short, wide(-1, 0), `read arrow record: column "n": it holds a number of more than 3 digits`},
		{"digits beyond 64 bits", short, wide(1, 5), `read arrow record: column "n": it holds a number of more than 3 digits`},
		{"smallest number", short, wide(math.MinInt64, 0), `read arrow record: column "n": it holds a number of more than 3 digits`},
		{"utf-8", text, record(arrow.BinaryTypes.String, nil, []byte{0, 0, 0, 0, 1, 0, 0, 0}, []byte{0xff}), `read arrow record: column "n": its text is not UTF-8`},
	}
	for _, fits := range []int64{0, 999, -999, -1} {
		if _, err := FromArrow(short, decimals(fits)); err != nil {
			t.Errorf("%d of 3 digits: %v", fits, err)
		}
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			_, err := FromArrow(tc.schema, tc.rec)
			if err == nil || err.Error() != tc.want {
				t.Errorf("got error %v, want %s", err, tc.want)
			}
		})
	}
}
