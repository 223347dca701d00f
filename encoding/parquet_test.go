package encoding

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow/decimal128"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/google/go-cmp/cmp"
)

func TestParquetReadBack(t *testing.T) {
	extremes := parquetExtremes(t)
	nulls := newParquetTable(t, everyParquetKind()...)
	for range 100 {
		nulls.add(make([]any, len(nulls.columns))...)
	}
	names := newParquetTable(t, Column{"a.b", Type{Kind: Int64}}, Column{"ż 🚀\n", Type{Kind: String}}, Column{`"`, Type{Kind: Bool}}, Column{" ", Type{Kind: Date}})
	names.add(int64(1), "x", true, int64(2))
	tables := []struct {
		name  string
		table *parquetTable
	}{
		{"extremes", extremes},
		{"only nulls", nulls},
		{"odd column names", names},
		{"no rows", newParquetTable(t, everyParquetKind()...)},
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for _, rows := range []int{1, 7, 8, 9, 20, 21, 22, 57, 58, 500} {
		tables = append(tables, struct {
			name  string
			table *parquetTable
		}{fmt.Sprintf("%d rows", rows), randomParquetTable(t, rng, rows)})
	}
	for _, tt := range tables {
		for _, codec := range []string{"", "snappy", "zstd", "gzip", "none"} {
			for name, limits := range map[string]parquetLimits{"default": parquetDefaults(), "small": smallParquetLimits()} {
				t.Run(tt.name+" "+codec+" "+name+" limits", func(t *testing.T) {
					b := tt.table.write(t, codec, limits, true)
					if diff := parquetDiff(tt.table.columns, readParquet(t, b)); diff != "" {
						t.Errorf("read back (-want +got):\n%s", diff)
					}
				})
			}
		}
	}
}

// TestParquetSameBytes is the promise: the same rows, the same bytes, however
// they were cut, laid out, and whatever the writer wrote before.
func TestParquetSameBytes(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for round := range 60 {
		table := randomParquetTable(t, rng, rng.IntN(400))
		limits := smallParquetLimits()
		limits.dictionaryTrial = rng.IntN(40)
		if round%4 == 0 {
			limits = parquetDefaults()
		}
		codec := []string{"snappy", "zstd", "gzip", "none"}[round%4]
		want := table.write(t, codec, limits, true)
		if diff := parquetDiff(table.columns, readParquet(t, want)); diff != "" {
			t.Fatalf("round %d read back (-want +got):\n%s", round, diff)
		}
		for range 4 {
			var cuts []int
			for range rng.IntN(6) {
				cuts = append(cuts, rng.IntN(table.rows()+1))
			}
			slices.Sort(cuts)
			dictionary := rng.IntN(2) == 0
			if got := table.write(t, codec, limits, dictionary, cuts...); !bytes.Equal(got, want) {
				t.Fatalf("round %d: %d rows cut at %v, dictionaries %v: other bytes", round, table.rows(), cuts, dictionary)
			}
		}
	}
}

// TestParquetMixedLayouts writes runs of one file in alternating layouts, and
// slices whose dictionary holds more than they use.
func TestParquetMixedLayouts(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 20 {
		table := randomParquetTable(t, rng, 300)
		limits := smallParquetLimits()
		want := table.write(t, "", limits, false)
		var b bytes.Buffer
		w, err := newLimitedParquetWriter(&b, table.schema, FileOptions{}, limits)
		if err != nil {
			t.Fatal(err)
		}
		for from := 0; from < 300; from += 100 {
			rows := table.vectors(from, from+100, from != 100)
			for i := range rows.vectors {
				if v := &rows.vectors[i]; v.codes != nil {
					v.text.add([]byte("a value that no row has"))
				}
			}
			if err := w.Write(rows); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b.Bytes(), want) {
			t.Fatal("other bytes")
		}
	}
}

// TestParquetAgainstArrow compares with what Arrow's own writer makes of the
// same rows: the values read back, the column types and the bounds.
func TestParquetAgainstArrow(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	tables := []*parquetTable{parquetExtremes(t)}
	for range 12 {
		tables = append(tables, randomParquetTable(t, rng, 1+rng.IntN(300)))
	}
	for i, table := range tables {
		var b bytes.Buffer
		writeWithArrow(t, &b, table.vectors(0, table.rows(), false))
		ours := table.write(t, "", parquetDefaults(), true)
		if diff := parquetDiff(readParquet(t, b.Bytes()), readParquet(t, ours)); diff != "" {
			t.Fatalf("table %d (-arrow +ours):\n%s", i, diff)
		}
		theirs, sketch := parquetSketch(t, b.Bytes()), parquetSketch(t, ours)
		for j, line := range theirs { // where Arrow's habits differ
			theirs[j] = strings.Replace(line, "Int(bitWidth=64, isSigned=true), converted INT_64", "None, converted NONE", 1)
			if line+",  to " == sketch[j] { // the column's only text is empty
				theirs[j] = sketch[j]
			}
		}
		if diff := cmp.Diff(theirs, sketch); diff != "" {
			t.Errorf("table %d metadata (-arrow +ours):\n%s", i, diff)
		}
	}
}

func TestParquetGroupsAndPages(t *testing.T) {
	p := newParquetTable(t, Column{"text", Type{Kind: String}}, Column{"int", Type{Kind: Int64}})
	for i := range 300 {
		p.add(strings.Repeat("x", i%40), int64(i))
	}
	limits := smallParquetLimits()
	r, err := file.NewParquetReader(bytes.NewReader(p.write(t, "none", limits, true)))
	if err != nil {
		t.Fatal(err)
	}
	if got := r.MetaData().GetCreatedBy(); got != parquetCreator {
		t.Errorf("created by %q", got)
	}
	row := 0
	for g := range r.NumRowGroups() {
		group := r.RowGroup(g)
		var size int64
		for i := range group.NumRows() {
			full := i+1 == int64(limits.groupRows)
			size += 12 + int64(row%40)
			if full = full || size >= limits.groupBytes; full != (i+1 == group.NumRows()) && row != 299 {
				t.Errorf("group %d ends after %d rows of %d bytes", g, group.NumRows(), size)
			}
			row++
		}
		pages, err := group.GetColumnPageReader(1)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for ; pages.Next(); n++ {
			if got := pages.Page().NumValues(); int(got) > limits.pageRows {
				t.Errorf("group %d has a page of %d rows", g, got)
			}
		}
		if least := (int(group.NumRows()) + limits.pageRows - 1) / limits.pageRows; n != least {
			t.Errorf("group %d has %d pages, want %d", g, n, least)
		}
	}
	if row != 300 || r.NumRowGroups() < 6 {
		t.Errorf("%d rows in %d groups", row, r.NumRowGroups())
	}
}

func TestParquetDictionaryWherePays(t *testing.T) {
	p := newParquetTable(t, Column{"few texts", Type{Kind: String}}, Column{"unique texts", Type{Kind: String}},
		Column{"few ints", Type{Kind: Int64}}, Column{"far ints", Type{Kind: Int64}}, Column{"unique ints", Type{Kind: Int64}},
		Column{"few floats", Type{Kind: Float64}}, Column{"few decimals", Type{Decimal, 38, 9}})
	for i := range 30000 {
		n := int64(i)
		p.add(fmt.Sprint("campaign ", i%100), fmt.Sprint("ad ", i), n%30, n%30<<40, n<<20, float64(i%7)/3, decimal128.FromI64(n%9-4))
	}
	r, err := file.NewParquetReader(bytes.NewReader(p.write(t, "", parquetDefaults(), true)))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for c := range p.columns {
		chunk, err := r.MetaData().RowGroup(0).ColumnChunk(c)
		if err != nil {
			t.Fatal(err)
		}
		got[p.schema.Column(c).Name] = chunk.HasDictionaryPage()
	}
	want := map[string]bool{"few texts": true, "unique texts": false, "few ints": true, "far ints": true,
		"unique ints": false, "few floats": true, "few decimals": true}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("dictionaries (-want +got):\n%s", diff)
	}
}

func TestParquetBounds(t *testing.T) {
	tests := []struct {
		name   string
		typ    Type
		values []any
		want   string
	}{
		{"texts by bytes", Type{Kind: String}, []any{"b", "", nil, "é", "z"}, "1 nulls,  to c3a9"},
		{"empty text only", Type{Kind: String}, []any{""}, "0 nulls,  to "},
		{"a long text", Type{Kind: String}, []any{"a", strings.Repeat("b", 257)}, "0 nulls"},
		{"only nulls", Type{Kind: String}, []any{nil, nil}, "2 nulls"},
		{"zeros", Type{Kind: Float64}, []any{0.0, 0.0}, "0 nulls, 0000000000000080 to 0000000000000000"},
		{"negative zeros", Type{Kind: Float64}, []any{math.Copysign(0, -1)}, "0 nulls, 0000000000000080 to 0000000000000000"},
		{"not a number", Type{Kind: Float64}, []any{1.0, math.NaN(), 2.0}, "0 nulls"},
		{"floats", Type{Kind: Float64}, []any{-1.0, nil, 2.0}, "1 nulls, 000000000000f0bf to 0000000000000040"},
		{"false", Type{Kind: Bool}, []any{false, nil, false}, "1 nulls, 00 to 00"},
		{"true", Type{Kind: Bool}, []any{true}, "0 nulls, 01 to 01"},
		{"both", Type{Kind: Bool}, []any{true, false}, "0 nulls, 00 to 01"},
		{"dates", Type{Kind: Date}, []any{int64(1), int64(-2)}, "0 nulls, feffffff to 01000000"},
		{"ints", Type{Kind: Int64}, []any{int64(1), int64(-2)}, "0 nulls, feffffffffffffff to 0100000000000000"},
		{"wide decimals", Type{Decimal, 19, 0}, []any{digits(t, "1"), digits(t, "-2"), digits(t, "0")}, "0 nulls, fffffffffffffffffe to 000000000000000001"},
		{"decimals beyond 64 bits", Type{Decimal, 38, 0}, []any{digits(t, "1"), digits(t, "-18446744073709551617"), digits(t, "18446744073709551616")},
			"0 nulls, fffffffffffffffeffffffffffffffff to 00000000000000010000000000000000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newParquetTable(t, Column{"c", tt.typ})
			for _, v := range tt.values {
				p.add(v)
			}
			if got := parquetSketch(t, p.write(t, "", parquetDefaults(), true))[1]; got != tt.want {
				t.Errorf("statistics %q, want %q", got, tt.want)
			}
		})
	}
}

func TestParquetRefusesDecimalsBeyondTheirType(t *testing.T) {
	for _, tt := range []struct {
		precision int32
		value     string
	}{
		{9, "2147483648"}, {9, "-2147483649"}, {18, "9223372036854775808"}, {18, "-18446744073709551615"}, {19, "-2361183241434822606849"}, {28, "99999999999999999999999999999999999999"},
	} {
		t.Run(fmt.Sprintf("decimal(%d,0) %s", tt.precision, tt.value), func(t *testing.T) {
			p := newParquetTable(t, Column{"spend", Type{Decimal, tt.precision, 0}})
			p.add(digits(t, tt.value))
			w, err := newParquetWriter(&bytes.Buffer{}, p.schema, FileOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Write(p.vectors(0, 1, true)); !errors.Is(err, errParquetDecimal) || !strings.Contains(err.Error(), "spend") {
				t.Errorf("error %v", err)
			}
			if err := w.Close(); !errors.Is(err, errParquetDecimal) {
				t.Errorf("close after the error: %v", err)
			}
		})
	}
}

// TestParquetLarge writes more than one group within the limits of real files:
// dictionaries that overflow late, texts longer than a page, many pages.
func TestParquetLarge(t *testing.T) {
	p := newParquetTable(t, Column{"late overflow", Type{Kind: String}}, Column{"unique", Type{Kind: String}},
		Column{"seconds", Type{Kind: Timestamp}}, Column{"float", Type{Kind: Float64}}, Column{"flag", Type{Kind: Bool}})
	rng := rand.New(rand.NewPCG(13, 14))
	for i := range 140001 {
		text, flag := any(fmt.Sprintf("a text of the %d. kind", rng.IntN(1+i/2))), any(nil)
		if i%50000 == 1 {
			text = strings.Repeat("long", 1<<19)
		}
		if rng.IntN(100) > 0 {
			flag = i%3 == 0
		}
		p.add(text, fmt.Sprint(i), int64(rng.IntN(86400))*1e6, float64(rng.IntN(1000)), flag)
	}
	b := p.write(t, "", parquetDefaults(), true)
	for c, got := range readParquet(t, b) {
		if !slices.Equal(got, p.columns[c]) {
			t.Errorf("column %q reads back differently", p.schema.Column(c).Name)
		}
	}
	if !bytes.Equal(b, p.write(t, "", parquetDefaults(), false, 1, 60000, 131072, 131073)) {
		t.Error("cut and plain: other bytes")
	}
	r, err := file.NewParquetReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if got := r.RowGroup(0).NumRows(); r.NumRowGroups() != 2 || got != 128<<10 {
		t.Errorf("%d groups, the first of %d rows", r.NumRowGroups(), got)
	}
}

// TestParquetFilesSideBySide writes two files at once, row by row in turn.
func TestParquetFilesSideBySide(t *testing.T) {
	rng := rand.New(rand.NewPCG(15, 16))
	tables := []*parquetTable{randomParquetTable(t, rng, 100), randomParquetTable(t, rng, 100)}
	files, writers := make([]bytes.Buffer, 2), make([]Writer, 2)
	for i := range tables {
		var err error
		if writers[i], err = newLimitedParquetWriter(&files[i], tables[i].schema, FileOptions{}, smallParquetLimits()); err != nil {
			t.Fatal(err)
		}
	}
	for row := range 100 {
		for i, w := range writers {
			if err := w.Write(tables[i].vectors(row, row+1, i == 0)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, w := range writers {
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(files[i].Bytes(), tables[i].write(t, "", smallParquetLimits(), true)) {
			t.Errorf("file %d: other bytes than alone", i)
		}
	}
}

// TestParquetBytesArePinned fails when the same rows give another file than
// they gave before. Where that is meant, parquetCreator gets a new version.
func TestParquetBytesArePinned(t *testing.T) {
	pinned := map[string]string{
		"snappy": "1309723315d8995d", "zstd": "8cfb086a25a68c6a", "gzip": "282aa3df7390573b", "none": "dd4428f0da58a266",
	}
	for codec, want := range pinned {
		t.Run(codec, func(t *testing.T) {
			sum := sha256.New()
			sum.Write(parquetExtremes(t).write(t, codec, parquetDefaults(), true))
			sum.Write(randomParquetTable(t, rand.New(rand.NewPCG(21, 22)), 3000).write(t, codec, parquetDefaults(), true))
			if got := fmt.Sprintf("%x", sum.Sum(nil)[:8]); got != want {
				t.Errorf("files have the digest %s, pinned is %s", got, want)
			}
		})
	}
}

func FuzzParquetRoundTrip(f *testing.F) {
	f.Add(uint64(1), uint16(0), uint16(0), false)
	f.Add(uint64(2), uint16(1), uint16(1), true)
	f.Add(uint64(3), uint16(300), uint16(99), false)
	f.Fuzz(func(t *testing.T, seed uint64, rows, cut uint16, small bool) {
		table := randomParquetTable(t, rand.New(rand.NewPCG(seed, 0)), int(rows%2000))
		limits := parquetDefaults()
		if small {
			limits = smallParquetLimits()
		}
		b := table.write(t, "none", limits, true)
		if diff := parquetDiff(table.columns, readParquet(t, b)); diff != "" {
			t.Errorf("read back (-want +got):\n%s", diff)
		}
		if !bytes.Equal(b, table.write(t, "none", limits, false, min(int(cut), table.rows()))) {
			t.Errorf("cut at %d, plain: other bytes", cut)
		}
	})
}

// shortParquetSink takes so many bytes and then fails.
type shortParquetSink struct{ room int }

var errSinkFull = errors.New("the sink is full")

func (s *shortParquetSink) Write(b []byte) (int, error) {
	if s.room -= len(b); s.room < 0 {
		return 0, errSinkFull
	}
	return len(b), nil
}

func TestParquetWriterErrors(t *testing.T) {
	table := parquetExtremes(t)
	rows := table.vectors(0, table.rows(), true)
	other := newParquetTable(t, Column{"other", Type{Kind: Int64}})
	other.add(int64(1))
	t.Run("sink full", func(t *testing.T) {
		w, err := newParquetWriter(&shortParquetSink{room: 100}, table.schema, FileOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write(rows); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); !errors.Is(err, errSinkFull) {
			t.Errorf("close: %v", err)
		}
		if err := w.Close(); err == nil {
			t.Error("a second close is not refused")
		}
	})
	t.Run("other schema", func(t *testing.T) {
		w, err := newParquetWriter(&bytes.Buffer{}, table.schema, FileOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write(other.vectors(0, 1, true)); err == nil {
			t.Error("rows of another schema are taken")
		}
		if err := w.Write(rows); err == nil {
			t.Error("rows are taken after an error")
		}
	})
	t.Run("closed", func(t *testing.T) {
		w, err := newParquetWriter(&bytes.Buffer{}, table.schema, FileOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := w.Write(rows); err == nil {
			t.Error("rows are taken after close")
		}
		if err := w.Close(); err == nil {
			t.Error("a second close is not refused")
		}
	})
	t.Run("unknown compression", func(t *testing.T) {
		if _, err := newParquetWriter(&bytes.Buffer{}, table.schema, FileOptions{Compression: "lzo"}); err == nil {
			t.Error("lzo is taken")
		}
	})
}
