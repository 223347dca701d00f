package encoding

import (
	"encoding/json"
	"math"
	"math/big"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow/decimal128"
)

func TestText(t *testing.T) {
	tests := []struct {
		name  string
		typ   string
		value any
		want  string
	}{
		{"null", "int64", nil, ""},
		{"string", "string", `a "b", c`, `a "b", c`},
		{"zero", "int64", int64(0), "0"},
		{"eight digits", "int64", int64(-12345678), "-12345678"},
		{"nine digits", "int64", int64(100000000), "100000000"},
		{"largest int", "int64", int64(math.MaxInt64), "9223372036854775807"},
		{"smallest int", "int64", int64(math.MinInt64), "-9223372036854775808"},
		{"float", "float64", 0.1, "0.1"},
		{"whole float", "float64", 3.0, "3"},
		{"minus zero", "float64", math.Copysign(0, -1), "-0"},
		{"large float", "float64", 1e20, "100000000000000000000"},
		{"exponent", "float64", 1e21, "1e+21"},
		{"small", "float64", 1e-6, "0.000001"},
		{"smaller", "float64", 1.5e-7, "1.5e-7"},
		{"decimal", "decimal(18,6)", "1", "0.000001"},
		{"negative decimal", "decimal(18,6)", "-1500000", "-1.500000"},
		{"decimal of scale 0", "decimal(9,0)", "-7", "-7"},
		{"decimal of scale 38", "decimal(38,38)", "-1", "-0." + strings.Repeat("0", 37) + "1"},
		{"widest decimal", "decimal(38,10)", "-" + strings.Repeat("9", 38), "-" + strings.Repeat("9", 28) + "." + strings.Repeat("9", 10)},
		{"true", "bool", true, "true"},
		{"false", "bool", false, "false"},
		{"leap day", "date", int32(11016), "2000-02-29"},
		{"before the epoch", "date", int32(-1), "1969-12-31"},
		{"year 1", "date", int32(-719162), "0001-01-01"},
		{"five-digit year", "date", int32(2932897), "10000-01-01"},
		{"timestamp", "timestamp", int64(1718885717000000), "2024-06-20T12:15:17Z"},
		{"fraction trimmed", "timestamp", int64(1718885717120000), "2024-06-20T12:15:17.12Z"},
		{"microsecond", "timestamp", int64(1), "1970-01-01T00:00:00.000001Z"},
		{"microsecond before", "timestamp", int64(-1), "1969-12-31T23:59:59.999999Z"},
		{"json", "json", `{"a":[1]}`, `{"a":[1]}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, l := range []layout{plainLayout, dictionaryLayout} {
				rows := literalRows(t, mustSchema(t, column("c", tt.typ)), l, [][]any{{tt.value}})
				if got := string(rows.Text([]byte("x"), 0, 0)); got != "x"+tt.want {
					t.Errorf("%s layout: Text(%v) = %q, want %q", l, tt.value, got, "x"+tt.want)
				}
			}
		})
	}
}

// put runs a put function on a buffer that shows what it leaves behind.
func put(f func(b []byte, n int) int) string {
	b := make([]byte, 1+cellRoom)
	n := f(b, 1)
	return string(b[1:n])
}

func FuzzIntText(f *testing.F) {
	for _, v := range []int64{0, 9, 10, 99999999, 100000000, 9999999999999999, 10000000000000000, math.MinInt64} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v int64) {
		if got, want := put(func(b []byte, n int) int { return putInt(b, n, v) }), strconv.FormatInt(v, 10); got != want {
			t.Errorf("putInt(%d) = %q", v, got)
		}
	})
}

func TestIntTextOfEveryLength(t *testing.T) {
	for u, k := uint64(1), 0; k < 20; u, k = u*10, k+1 {
		for _, v := range []uint64{u - 1, u, u + 1, u * 9 / 7} {
			if got, want := put(func(b []byte, n int) int { return putUint(b, n, v) }), strconv.FormatUint(v, 10); got != want {
				t.Errorf("putUint(%d) = %q", v, got)
			}
		}
	}
}

func checkFloat(t *testing.T, v float64) {
	t.Helper()
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return
	}
	want, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if got := put(func(b []byte, n int) int { return putFloat(b, n, v) }); got != string(want) {
		t.Errorf("putFloat(%b) = %q, encoding/json writes %q", v, got, want)
	}
}

func FuzzFloatText(f *testing.F) {
	for _, v := range []float64{0, 1, 0.1, 1e-6, 9.99e-7, 1e7, 1e15, 1e21, 9999999.99999999, math.SmallestNonzeroFloat64, math.MaxFloat64} {
		f.Add(math.Float64bits(v), int64(v), uint8(3))
	}
	f.Fuzz(func(t *testing.T, bits uint64, digits int64, scale uint8) {
		checkFloat(t, math.Float64frombits(bits))
		checkFloat(t, float64(digits)/math.Pow10(int(scale%20)))
		checkFloat(t, float64(digits%1e9)/math.Pow10(int(scale%12)))
	})
}

func TestFloatTextIsWhatJSONWrites(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		v := float64(r.Int64N(int64(math.Pow10(1+r.IntN(18))))) / math.Pow10(r.IntN(14))
		checkFloat(t, v)
		checkFloat(t, -math.Nextafter(v, 0))
		checkFloat(t, math.Float64frombits(r.Uint64()))
	}
}

func FuzzDecimalText(f *testing.F) {
	f.Add(int64(0), uint64(0), uint8(0))
	f.Add(int64(-1), uint64(math.MaxUint64), uint8(38))
	f.Add(int64(5421010862427522170), uint64(687399551400673279), uint8(19)) // 38 nines
	f.Fuzz(func(t *testing.T, hi int64, lo uint64, scale uint8) {
		d := decimal128.New(hi, lo)
		s := int(scale) % 39
		digits := new(big.Int).Abs(d.BigInt()).String()
		if missing := s + 1 - len(digits); missing > 0 {
			digits = strings.Repeat("0", missing) + digits
		}
		want := digits
		if s > 0 {
			want = digits[:len(digits)-s] + "." + digits[len(digits)-s:]
		}
		if d.Sign() < 0 {
			want = "-" + want
		}
		if got := put(func(b []byte, n int) int { return putDecimal(b, n, d, s) }); got != want {
			t.Errorf("putDecimal(%s, scale %d) = %q, want %q", d.BigInt(), s, got, want)
		}
	})
}

func TestDecimalTextOfRandomWidths(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 50_000 {
		d := decimal128.New(r.Int64()>>r.IntN(64), r.Uint64())
		s := int32(1 + r.IntN(38))
		got := put(func(b []byte, n int) int { return putDecimal(b, n, d, int(s)) })
		if whole := strings.Replace(got, ".", "", 1); got[len(got)-int(s)-1] != '.' {
			t.Fatalf("putDecimal(%s, scale %d) = %q", d.BigInt(), s, got)
		} else if n, ok := new(big.Int).SetString(whole, 10); !ok || n.Cmp(d.BigInt()) != 0 {
			t.Fatalf("putDecimal(%s, scale %d) = %q", d.BigInt(), s, got)
		}
	}
}

func TestDateTextOfEveryDay(t *testing.T) {
	day := time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)
	for d := int32(firstPlainDay); d <= lastPlainDay; d++ {
		var want [10]byte
		if d%97 == 0 || d > -1000 && d < 40000 {
			day.AddDate(0, 0, int(d-firstPlainDay)).AppendFormat(want[:0], time.DateOnly)
			if got := put(func(b []byte, n int) int { return putDate(b, n, d) }); got != string(want[:]) {
				t.Fatalf("putDate(%d) = %q, want %q", d, got, want)
			}
		}
	}
}

func FuzzTimestampText(f *testing.F) {
	for _, v := range []int64{0, -1, 1, 1718885717120000, math.MaxInt64, math.MinInt64} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v int64) {
		want := time.UnixMicro(v).UTC().Format("2006-01-02T15:04:05.999999Z")
		if got := put(func(b []byte, n int) int { return putTimestamp(b, n, v) }); got != want {
			t.Errorf("putTimestamp(%d) = %q, want %q", v, got, want)
		}
	})
}
