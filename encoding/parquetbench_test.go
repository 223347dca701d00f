package encoding

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow/go/v17/arrow/decimal128"
)

// adParquetTable is rows as an advertising extractor makes them: 21 columns,
// most texts from a few hundred campaigns and ads, counts and money.
func adParquetTable(t testing.TB, rows int) *parquetTable {
	text, number, money := Type{Kind: String}, Type{Kind: Int64}, Type{Decimal, 18, 6}
	p := newParquetTable(t,
		Column{"date", Type{Kind: Date}}, Column{"account_id", text}, Column{"account_name", text}, Column{"campaign_id", number},
		Column{"campaign_name", text}, Column{"adset_id", number}, Column{"adset_name", text}, Column{"ad_id", number}, Column{"ad_name", text},
		Column{"platform", text}, Column{"device", text}, Column{"country", text}, Column{"currency", text},
		Column{"impressions", number}, Column{"clicks", number}, Column{"spend", money}, Column{"conversions", Type{Kind: Float64}},
		Column{"revenue", money}, Column{"video_views", number}, Column{"active", Type{Kind: Bool}}, Column{"updated_at", Type{Kind: Timestamp}})
	rng := rand.New(rand.NewPCG(9, 9))
	zipf := rand.NewZipf(rng, 1.1, 4, 24999)
	for range rows {
		ad := int64(zipf.Uint64())
		adset, campaign := ad/3, ad/12
		impressions := rng.Int64N(20000)
		clicks := impressions * rng.Int64N(8) / 100
		var conversions, views any
		if rng.IntN(10) >= 3 {
			conversions = float64(rng.IntN(5000)) / 100
		}
		if rng.IntN(10) >= 6 {
			views = rng.Int64N(impressions + 1)
		}
		p.add(int64(19800+rows/100000), "act_1029384756", "Müller & Söhne – Sommer", 23840000000000000+campaign*7919,
			fmt.Sprintf("DE | Prospecting | Kampagne %d „Sommer“", campaign), 23850000000000000+adset*104729, fmt.Sprintf("Lookalike %d%% – Gruppe %d", adset%10, adset),
			23860000000000000+ad*1299709, fmt.Sprintf("Anzeige %d, Variante %c", ad, 'A'+rune(ad%5)),
			[]string{"facebook", "instagram", "audience_network"}[rng.IntN(3)], []string{"mobile", "desktop", "tablet"}[rng.IntN(3)],
			[]string{"DE", "AT", "CH", "PL", "FR"}[rng.IntN(5)], "EUR", impressions, clicks,
			decimal128.FromI64(clicks*rng.Int64N(900000)), conversions, decimal128.FromI64(rng.Int64N(300)*10000), views, rng.IntN(4) > 0,
			int64(1718900000000000)+rng.Int64N(86400)*1000000)
	}
	return p
}

// BenchmarkWriteParquet writes whole files, beside Arrow's writer on the same
// rows. Both compress with snappy and write dictionaries and statistics.
func BenchmarkWriteParquet(b *testing.B) {
	for _, rows := range []int{200, 3000, 200000} {
		b.Run(fmt.Sprintf("%d rows", rows), func(b *testing.B) {
			table := adParquetTable(b, rows)
			ours := table.vectors(0, rows, true)
			rec := arrowRecord(table.vectors(0, rows, false))
			for _, codec := range []string{"snappy", "zstd", "none"} {
				b.Run(codec, func(b *testing.B) {
					benchmarkParquet(b, rows, func(out *bytes.Buffer) {
						w, err := newParquetWriter(out, table.schema, FileOptions{Compression: codec})
						if err == nil {
							err = w.Write(ours)
						}
						if err == nil {
							err = w.Close()
						}
						if err != nil {
							b.Fatal(err)
						}
					})
				})
			}
			b.Run("snappy with arrow", func(b *testing.B) {
				benchmarkParquet(b, rows, func(out *bytes.Buffer) { writeRecordWithArrow(b, out, rec) })
			})
		})
	}
}

func benchmarkParquet(b *testing.B, rows int, write func(*bytes.Buffer)) {
	var out bytes.Buffer
	b.ReportAllocs()
	for b.Loop() {
		out.Reset()
		write(&out)
	}
	b.SetBytes(int64(out.Len()))
	b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
