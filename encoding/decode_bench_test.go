package encoding

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"
)

// adSchema is what a table of an advertising platform looks like.
func adSchema(tb testing.TB) *Schema {
	tb.Helper()
	var columns []Column
	for _, c := range []string{
		"date date", "account_id string", "account_name string", "campaign_id string", "campaign_name string",
		"adset_id string", "adset_name string", "ad_id string", "ad_name string", "country string", "device string",
		"currency string", "impressions int64", "clicks int64", "spend decimal(18,6)", "conversions float64",
		"video_views int64", "ctr float64", "is_active bool", "updated_at timestamp", "objective string",
	} {
		name, kind, _ := strings.Cut(c, " ")
		typ, err := ParseType(kind)
		if err != nil {
			tb.Fatal(err)
		}
		columns = append(columns, Column{Name: name, Type: typ})
	}
	schema, err := NewSchema(columns)
	if err != nil {
		tb.Fatal(err)
	}
	return schema
}

// adRows is n shuffled rows as NDJSON and as CSV: 50 accounts, 2000 campaigns,
// 8000 ad sets, 25000 ads, quotes and letters beyond ASCII in the names.
func adRows(n int) (ndjson, csv []byte) {
	r := rand.New(rand.NewPCG(1, 2))
	var j, c bytes.Buffer
	c.WriteString("date,account_id,account_name,campaign_id,campaign_name,adset_id,adset_name,ad_id,ad_name,country,device," +
		"currency,impressions,clicks,spend,conversions,video_views,ctr,is_active,updated_at,objective\n")
	countries := []string{"DE", "US", "FR", "GB", "ES", "IT", "NL", "PL", "SE", "JP"}
	devices := []string{"mobile_app", "mobile_web", "desktop", "tablet"}
	goals := []string{"OUTCOME_SALES", "OUTCOME_LEADS", "OUTCOME_TRAFFIC"}
	day := time.Date(2024, 4, 1, 0, 0, 0, 0, time.UTC)
	for range n {
		ad := int(r.Float64() * r.Float64() * 25000)
		set, campaign := ad/3, ad/12
		account := campaign / 42
		date := day.AddDate(0, 0, r.IntN(90))
		clicks := r.IntN(2000)
		impressions := clicks*20 + r.IntN(50000)
		conversions, views := "null", "null"
		if r.IntN(10) >= 3 {
			conversions = strconv.FormatFloat(float64(r.IntN(10000))/100, 'f', -1, 64)
		}
		if r.IntN(10) >= 6 {
			views = strconv.Itoa(r.IntN(100000))
		}
		campaignName := fmt.Sprintf("Kampagne %d – Sommer %s", campaign, goals[campaign%3])
		adName := fmt.Sprintf("Ad %d, Carousel", ad)
		if ad%20 == 0 {
			adName = fmt.Sprintf(`The "best" ad %d`, ad)
		}
		values := []string{
			date.Format(time.DateOnly), fmt.Sprintf("act_%d", 1000000000+account*7919), fmt.Sprintf("Account No %d", account),
			strconv.Itoa(2384000000000 + campaign*31), campaignName, strconv.Itoa(238500000000000 + set*17), fmt.Sprintf("Adset %d broad 18-65", set),
			strconv.Itoa(238600000000000 + ad*13), adName, countries[r.IntN(10)], devices[r.IntN(4)], "EUR",
			strconv.Itoa(impressions), strconv.Itoa(clicks), fmt.Sprintf("%d.%06d", r.IntN(500), r.IntN(1000000)), conversions,
			views, strconv.FormatFloat(float64(clicks)/float64(impressions+1), 'f', 6, 64), strconv.FormatBool(ad%3 > 0),
			date.Add(time.Duration(r.IntN(86400)) * time.Second).Format(time.RFC3339), goals[campaign%3],
		}
		for i, name := range adNames {
			j.WriteByte("{,"[min(i, 1)])
			if (i >= 12 && i <= 18) || values[i] == "null" {
				fmt.Fprintf(&j, `"%s":%s`, name, values[i])
			} else {
				fmt.Fprintf(&j, `"%s":%q`, name, values[i])
			}
			if i > 0 {
				c.WriteByte(',')
			}
			switch {
			case values[i] == "null":
			case strings.ContainsAny(values[i], `",`):
				c.WriteString(`"` + strings.ReplaceAll(values[i], `"`, `""`) + `"`)
			default:
				c.WriteString(values[i])
			}
		}
		j.WriteString("}\n")
		c.WriteByte('\n')
	}
	return j.Bytes(), c.Bytes()
}

var adNames = []string{
	"date", "account_id", "account_name", "campaign_id", "campaign_name", "adset_id", "adset_name", "ad_id", "ad_name", "country", "device",
	"currency", "impressions", "clicks", "spend", "conversions", "video_views", "ctr", "is_active", "updated_at", "objective",
}

func BenchmarkDecodeNDJSON(b *testing.B) {
	ndjson, _ := adRows(200_000)
	benchmarkDecode(b, NDJSONInput, ndjson)
}

func BenchmarkDecodeCSV(b *testing.B) {
	_, csv := adRows(200_000)
	benchmarkDecode(b, CSVInput, csv)
}

func benchmarkDecode(b *testing.B, format InputFormat, batch []byte) {
	d := NewDecoder(adSchema(b), DecodeOptions{Recycle: true}, func(*Rows) error { return nil })
	b.SetBytes(int64(len(batch)))
	b.ReportAllocs()
	var rows int64
	for b.Loop() {
		n, err := d.Decode(1, format, Plain, bytes.NewReader(batch))
		if err != nil {
			b.Fatal(err)
		}
		rows += n
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(rows), "ns/row")
}
