package encoding

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
)

// readFile reads a file back as a grid.
func readFile(file []byte, schema *Schema, opts FileOptions) ([][]any, error) {
	var got [][]any
	err := ReadFile(bytes.NewReader(file), int64(len(file)), schema, opts, func(rows *Rows) error {
		got = append(got, grid(rows)...)
		return nil
	})
	return got, err
}

// withoutJSONNulls makes each json null a null, as reading does.
func withoutJSONNulls(schema *Schema, values [][]any) [][]any {
	kept := make([][]any, len(values))
	for i, row := range values {
		kept[i] = append([]any(nil), row...)
		for k, v := range row {
			if v == "null" && schema.Column(k).Type.Kind == JSONText {
				kept[i][k] = nil
			}
		}
	}
	return kept
}

func TestReadFileGivesWhatWasWritten(t *testing.T) {
	golden := mustSchema(t, goldenColumns()...)
	single := mustSchema(t, column("only", "string"))
	cases := []struct {
		name   string
		schema *Schema
		values [][]any
	}{
		{"no rows", golden, nil},
		{"golden", golden, goldenValues()},
		{"many", golden, randomValues(rand.New(rand.NewPCG(1, 2)), 1500)},
		{"one column of nulls and empty texts", single, [][]any{{nil}, {""}, {"a"}, {nil}}},
	}
	for _, c := range cases {
		for _, opts := range everyFile() {
			t.Run(c.name+"/"+opts.testName(), func(t *testing.T) {
				file := writeFileOf(t, c.schema, opts, literalRows(t, c.schema, plainLayout, c.values))
				got, err := readFile(file, c.schema, opts)
				if err != nil {
					t.Fatal(err)
				}
				want := withoutJSONNulls(c.schema, grid(literalRows(t, c.schema, plainLayout, c.values)))
				if diff := diffGrids(want, got); diff != "" {
					t.Errorf("read back (-want +got):\n%.2000s", diff)
				}
			})
		}
	}
}

// TestReadFileFindsDamage cuts files, which must be an error or, in plain text,
// other rows, and turns bytes, which must not be a panic.
func TestReadFileFindsDamage(t *testing.T) {
	schema := mustSchema(t, goldenColumns()...)
	values := randomValues(rand.New(rand.NewPCG(3, 4)), 300)
	values[299][9] = `{"a":1}` // not null, which in csv reads like a field that was cut off
	for _, opts := range everyFile() {
		t.Run(opts.testName(), func(t *testing.T) {
			file := writeFile(t, opts, literalRows(t, schema, plainLayout, values))
			r := rand.New(rand.NewPCG(5, 6))
			whole, err := readFile(file, schema, opts)
			if err != nil {
				t.Fatal(err)
			}
			for try := range 60 {
				cut := r.IntN(len(file))
				if try < 20 {
					cut = len(file) - 1 - try
				}
				got, err := readFile(file[:cut], schema, opts)
				// That the last line has no end shows nowhere in its rows.
				text := opts.Format == CSV || opts.Format == JSON
				if err == nil && diffGrids(whole, got) == "" && !(text && cut == len(file)-1) {
					t.Errorf("cut to %d of %d bytes: read as if it were whole", cut, len(file))
				}
			}
			for range 100 { // whatever it finds, it must not panic
				damaged := bytes.Clone(file)
				damaged[r.IntN(len(file))] ^= byte(1 + r.IntN(255))
				_, _ = readFile(damaged, schema, opts)
			}
		})
	}
}

func TestReadFileRefusesOtherColumns(t *testing.T) {
	columns := goldenColumns()
	written := mustSchema(t, columns...)
	swapped := append([]Column(nil), columns...)
	swapped[1], swapped[2] = swapped[2], swapped[1]
	retyped := append([]Column(nil), columns...)
	retyped[3] = column(columns[3].Name, "decimal(38,0)")
	cases := []struct {
		name    string
		columns []Column
		formats []Format // in which it shows
	}{
		{"one fewer", columns[1:], Formats()},
		{"one more", append(append([]Column(nil), columns...), column("extra", "string")), Formats()},
		{"swapped", swapped, []Format{CSV, CSVGzip, Parquet, Avro}},
		{"another type", retyped, []Format{Parquet, Avro}},
	}
	for _, c := range cases {
		for _, f := range c.formats {
			t.Run(c.name+"/"+string(f), func(t *testing.T) {
				opts := FileOptions{Format: f}
				file := writeFile(t, opts, literalRows(t, written, plainLayout, goldenValues()))
				_, err := readFile(file, mustSchema(t, c.columns...), opts)
				var columns *SchemaError
				var row *RowError
				if !errors.As(err, &columns) && !errors.As(err, &row) {
					t.Errorf("error %v, want one of the schema or of a row", err)
				}
			})
		}
	}
}

func TestDecodeSeparators(t *testing.T) {
	schema := mustSchema(t, column("n", "int64"), column("text", "string"), column("day", "date"))
	for _, separator := range []Separator{Comma, Semicolon, Tab} {
		t.Run(string(separator), func(t *testing.T) {
			input := strings.ReplaceAll("n|text|day\n1|\"a|b\"|2024-06-20\n|,;\\|\n", "|", string(separator.Byte()))
			want := [][]any{{int64(1), "a" + string(separator.Byte()) + "b", int32(19894)}, {nil, ",;\\", nil}}
			if separator == Comma || separator == Semicolon {
				input = strings.ReplaceAll(input, ",;\\", `",;\"`)
			}
			var got [][]any
			d := NewDecoder(schema, DecodeOptions{Separator: separator}, func(rows *Rows) error {
				got = append(got, grid(rows)...)
				return nil
			})
			if _, err := d.Decode(1, CSVInput, Plain, strings.NewReader(input)); err != nil {
				t.Fatalf("%q: %v", input, err)
			}
			if err := d.Flush(); err != nil {
				t.Fatal(err)
			}
			if diff := diffGrids(want, got); diff != "" {
				t.Errorf("%q (-want +got):\n%s", input, diff)
			}
		})
	}
}
