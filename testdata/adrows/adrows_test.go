package adrows

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type record map[string]any

func records(t *testing.T, o Options) ([]record, *Truth) {
	t.Helper()
	var b bytes.Buffer
	truth, err := Write(&b, o)
	if err != nil {
		t.Fatal(err)
	}
	var list []record
	for line := range bytes.Lines(b.Bytes()) {
		d := json.NewDecoder(bytes.NewReader(line))
		d.UseNumber()
		r := record{}
		if err := d.Decode(&r); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		list = append(list, r)
	}
	return list, truth
}

// TestTruthIsTrue counts the rows again from their text.
func TestTruthIsTrue(t *testing.T) {
	o := Options{Rows: 20_000, Days: 10, Accounts: 25, Seed: 7}
	list, truth := records(t, o)
	if truth.Rows != int64(o.Rows) || len(list) != o.Rows {
		t.Fatalf("%d rows, and the truth says %d; want %d", len(list), truth.Rows, o.Rows)
	}
	nulls := map[string]int64{}
	type key struct{ day, account string }
	rows := map[key]int64{}
	sums := map[key]map[string]*big.Rat{}
	for _, r := range list {
		for _, c := range columns {
			if r[c.name] == nil {
				nulls[c.name]++
			}
		}
		k := key{r["date"].(string), r["account_id"].(string)}
		if rows[k]++; sums[k] == nil {
			sums[k] = map[string]*big.Rat{}
		}
		for _, c := range []string{"impressions", "clicks", "video_views", "spend", "revenue"} {
			if sums[k][c] == nil {
				sums[k][c] = new(big.Rat)
			}
			var digits string
			switch v := r[c].(type) {
			case json.Number:
				digits = v.String()
			case string:
				digits = v
			case nil:
				continue
			}
			v, ok := new(big.Rat).SetString(digits)
			if !ok {
				t.Fatalf("%s is %q", c, digits)
			}
			sums[k][c].Add(sums[k][c], v)
		}
	}
	for _, n := range truth.Nulls {
		if nulls[n.Column] != n.Nulls {
			t.Errorf("column %s has %d nulls, and the truth says %d", n.Column, nulls[n.Column], n.Nulls)
		}
	}
	for _, p := range truth.Partitions {
		k := key{p.Date, p.AccountID}
		got := Partition{
			Date: p.Date, AccountID: p.AccountID, Rows: rows[k], Impressions: sums[k]["impressions"].FloatString(0), Clicks: sums[k]["clicks"].FloatString(0),
			VideoViews: sums[k]["video_views"].FloatString(0), Spend: sums[k]["spend"].FloatString(6), Revenue: sums[k]["revenue"].FloatString(10),
		}
		if d := cmp.Diff(got, p); d != "" {
			t.Errorf("partition (-rows +truth):\n%s", d)
		}
		delete(rows, k)
	}
	for k := range rows {
		t.Errorf("the truth lacks %v", k)
	}
}

// TestRowsAreHard: what makes the rows worth loading is in them.
func TestRowsAreHard(t *testing.T) {
	list, truth := records(t, Options{Rows: 20_000})
	share := map[string]float64{}
	for _, n := range truth.Nulls {
		share[n.Column] = float64(n.Nulls) / float64(truth.Rows)
	}
	for _, c := range []struct {
		column    string
		low, high float64
	}{{"conversions", .28, .32}, {"video_views", .58, .62}, {"note", .2, .3}, {"date", 0, 0}, {"account_id", 0, 0}, {"is_active", .0005, .02}} {
		if s := share[c.column]; s < c.low || s > c.high {
			t.Errorf("%.4f of %s is null, want %.4f to %.4f", s, c.column, c.low, c.high)
		}
	}
	accounts, names, written := map[string]int{}, map[string]bool{}, 0
	unsorted := false
	last := ""
	for _, r := range list {
		accounts[r["account_id"].(string)]++
		names[r["campaign_name"].(string)] = true
		id, ok := new(big.Int).SetString(string(r["campaign_id"].(json.Number)), 10)
		if f, _ := new(big.Float).SetInt(id).Float64(); !ok || big.NewInt(int64(f)).Cmp(id) == 0 {
			t.Fatalf("campaign_id %v fits a float64", r["campaign_id"])
		}
		if v, ok := r["conversions"]; ok && v == nil {
			written++
		}
		unsorted = unsorted || r["date"].(string) < last
		last = r["date"].(string)
		if digits := strings.Trim(strings.Replace(r["revenue"].(string), ".", "", 1), "-"); len(digits) > 38 {
			t.Errorf("revenue %v has more than 38 digits", r["revenue"])
		}
	}
	if !unsorted {
		t.Error("the rows are sorted by day")
	}
	if written == 0 || written == len(list) {
		t.Errorf("%d nulls of conversions are written, want some written and some left out", written)
	}
	for _, id := range accountIDs {
		if accounts[id] == 0 {
			t.Errorf("no row of account %q", id)
		}
	}
	if a, b := accounts[accountIDs[0]], accounts[accountIDs[9]]; a < 8*b {
		t.Errorf("the first account has %d rows and the tenth %d: want Zipf's law, ten to one", a, b)
	}
	for name := range names {
		if strings.Contains(name, "%!") || strings.Contains(name, "#") {
			t.Errorf("campaign name %q is badly made", name)
		}
	}
	for _, want := range []string{",", `"`, "\n", "🚀", "/", "..", "<"} {
		found := false
		for name := range names {
			found = found || strings.Contains(name, want)
		}
		if !found {
			t.Errorf("no campaign name has %q", want)
		}
	}
}

// TestRestatedRowsAreTheSameOnesWithOtherMeasures compares the last days of an
// extraction with their restatement, row by row.
func TestRestatedRowsAreTheSameOnesWithOtherMeasures(t *testing.T) {
	o := Options{Rows: 5_000, Days: 20}
	all, _ := records(t, o)
	o.Restated = 7
	restated, truth := records(t, o)
	var kept []record
	for _, r := range all {
		if r["date"].(string) >= "2024-04-14" {
			kept = append(kept, r)
		}
	}
	if len(kept) != len(restated) || truth.Rows != int64(len(kept)) || len(kept) == 0 {
		t.Fatalf("%d rows restated, the truth says %d, the original has %d", len(restated), truth.Rows, len(kept))
	}
	changed := 0
	for i, r := range restated {
		for _, c := range []string{"date", "account_id", "campaign_id", "campaign_name", "adset_name", "ad_name", "country", "device"} {
			if kept[i][c] != r[c] {
				t.Fatalf("row %d: %s was %v, restated as %v", i, c, kept[i][c], r[c])
			}
		}
		if kept[i]["updated_at"] == r["updated_at"] {
			t.Errorf("row %d was restated without another updated_at", i)
		}
		if kept[i]["impressions"] != r["impressions"] {
			changed++
		}
	}
	if changed*10 < len(restated)*8 {
		t.Errorf("%d of %d rows have other impressions", changed, len(restated))
	}
}

func TestOptionsDecideAndNothingElse(t *testing.T) {
	write := func(o Options) string {
		var b bytes.Buffer
		if _, err := Write(&b, o); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	small := Options{Rows: 200}
	first := write(small)
	if second := write(small); second != first {
		t.Error("equal options gave different rows")
	}
	if long := write(Options{Rows: 300}); !strings.HasPrefix(long, write(small)) {
		t.Error("the first rows depend on how many follow")
	}
	if write(small) == write(Options{Rows: 200, Seed: 1}) {
		t.Error("the seed decides nothing")
	}
}

func TestWriteRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		opts Options
		says string
	}{
		{"negative rows", Options{Rows: -1}, "-1 rows: write 1 to"},
		{"too many days", Options{Days: 36_501}, "36501 days"},
		{"too many accounts", Options{Accounts: 1_000_001}, "1000001 accounts"},
		{"too much to add up", Options{Days: 1000, Accounts: 100_000}, "at most 10000000 together"},
		{"restated beyond the days", Options{Days: 3, Restated: 4}, "4 restated days: write 0 to 3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := Write(io.Discard, c.opts); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want an error that says %q", err, c.says)
			}
		})
	}
	full := errors.New("disk full")
	if _, err := Write(failing{full}, Options{Rows: 10}); !errors.Is(err, full) {
		t.Errorf("got %v, want the writer's error", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func BenchmarkWrite(b *testing.B) {
	o := Options{Rows: 10_000}
	var n bytes.Buffer
	if _, err := Write(&n, o); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(n.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Write(io.Discard, o); err != nil {
			b.Fatal(err)
		}
	}
}
