package encoding

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// benchColumns are the columns of an advertising report.
func benchColumns() []Column {
	return []Column{
		column("date", "date"), column("account_id", "string"), column("account_name", "string"),
		column("campaign_id", "string"), column("campaign_name", "string"), column("adset_id", "string"),
		column("adset_name", "string"), column("ad_id", "int64"), column("ad_name", "string"),
		column("country", "string"), column("device", "string"), column("currency", "string"),
		column("impressions", "int64"), column("clicks", "int64"), column("cost", "float64"),
		column("conversions", "float64"), column("video_views", "int64"), column("ctr", "float64"),
		column("budget", "decimal(18,2)"), column("active", "bool"), column("updated_at", "timestamp"),
	}
}

// benchValues are rows of one day and account: ids and names repeat as in a
// report, with quotes, commas and letters beyond ASCII among them.
func benchValues(r *rand.Rand, rows int) [][]any {
	values := make([][]any, rows)
	for i := range values {
		campaign, adset, ad := int(40*math.Pow(r.Float64(), 2)), r.IntN(90), r.IntN(150)
		impressions := int64(math.Exp(r.Float64() * 11))
		clicks := impressions / int64(10+r.IntN(100))
		values[i] = []any{
			int32(19894), "act_1038811", `Müller & Söhne, "Online"`,
			fmt.Sprint(238500000000 + campaign*7919), fmt.Sprintf("DE_Brand_%03d | Conversions, broad", campaign),
			fmt.Sprint(23860000000000 + adset*104729), fmt.Sprintf("Lookalike %d%% Käufer \"180d\"", adset),
			int64(120330000000000 + ad*15485863), fmt.Sprintf("Video_%04d_v2 Sommer", ad),
			[]string{"DE", "AT", "CH", "FR", "NL"}[r.IntN(5)], []string{"mobile", "desktop", "tablet"}[r.IntN(3)], "EUR",
			impressions, clicks, math.Round(float64(clicks)*r.Float64()*200) / 100,
			float64(r.IntN(20)), r.Int64N(5000), math.Round(float64(clicks)/float64(impressions)*1e6) / 1e6,
			fmt.Sprint(r.IntN(1000000)), r.IntN(10) > 0, int64(1718885717000000) + r.Int64N(86400)*1000000,
		}
		if r.IntN(10) < 3 {
			values[i][15] = nil
		}
		if r.IntN(10) < 6 {
			values[i][16] = nil
		}
	}
	return values
}

// counter counts what is written.
type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) { c.n += int64(len(p)); return len(p), nil }

// BenchmarkWrite writes files of 200 rows and 21 columns, one after another.
// MB/s counts the bytes of the file unpacked where it is packed as a whole.
func BenchmarkWrite(b *testing.B) {
	const rows = 200
	schema := mustSchema(b, benchColumns()...)
	r := rand.New(rand.NewPCG(13, 14))
	tables := make([]*Rows, 64)
	for i := range tables {
		tables[i] = literalRows(b, schema, dictionaryLayout, benchValues(r, rows))
	}
	benches := []struct {
		name string
		opts FileOptions
	}{
		{"csv", FileOptions{Format: CSV}},
		{"json", FileOptions{Format: JSON}},
		{"csv+gzip", FileOptions{Format: CSVGzip}},
		{"json+gzip", FileOptions{Format: JSONGzip}},
		{"avro", FileOptions{Format: Avro, Compression: "none"}},
		{"avro+snappy", FileOptions{Format: Avro, Compression: "snappy"}},
		{"avro+deflate", FileOptions{Format: Avro}},
		{"avro+zstd", FileOptions{Format: Avro, Compression: "zstd"}},
	}
	for _, bb := range benches {
		b.Run(bb.name, func(b *testing.B) {
			plain := bb.opts
			switch plain.Format {
			case CSVGzip:
				plain.Format = CSV
			case JSONGzip:
				plain.Format = JSON
			case Avro:
				plain.Compression = "none"
			}
			var unpacked int
			for _, t := range tables {
				unpacked += len(writeFile(b, plain, t))
			}
			b.SetBytes(int64(unpacked / len(tables)))
			b.ReportAllocs()
			var out counter
			files := 0
			for b.Loop() {
				w, err := NewWriter(&out, schema, bb.opts)
				if err != nil {
					b.Fatal(err)
				}
				if err := w.Write(tables[files%len(tables)]); err != nil {
					b.Fatal(err)
				}
				if err := w.Close(); err != nil {
					b.Fatal(err)
				}
				files++
			}
			b.ReportMetric(float64(rows*files)/b.Elapsed().Seconds()/1e6, "Mrows/s")
			b.ReportMetric(float64(out.n)/float64(files), "filebytes")
		})
	}
}
