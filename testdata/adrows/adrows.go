// Package adrows makes rows of an advertising platform: as many as asked for,
// always the same ones.
//
// Equal options give equal bytes on every machine: each row is drawn from a
// generator seeded with the row's number, and neither a clock nor the order of
// a map has a say. The values are what such platforms send on their worst
// days: ids beyond 2^53, names with slashes, quotes, line breaks and emoji,
// nulls of both kinds, decimals of 38 digits. Together with the rows comes
// their [Truth], against which a load of them can be checked.
package adrows

import (
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"sort"
	"time"

	"github.com/loadfleet/loadfleet/encoding"
)

// Options say which rows to make. The zero value makes those of the committed
// files: 100,000 rows of 20 accounts from 2024-04-01 to 2024-06-29.
type Options struct {
	Rows     int       // default 100,000
	Days     int       // default 90
	Accounts int       // default 20; sizes follow Zipf's law, the first is the largest
	First    time.Time // first day, of which only the date in UTC counts; default 2024-04-01
	Seed     uint64

	// Restated, when above zero, makes only the rows of the last so many days,
	// with the same identities and other measures: what a platform sends when
	// it corrects itself.
	Restated int
}

const maxPartitions = 10_000_000

func (o Options) filled() (Options, error) {
	if o.Rows == 0 {
		o.Rows = 100_000
	}
	if o.Days == 0 {
		o.Days = 90
	}
	if o.Accounts == 0 {
		o.Accounts = 20
	}
	if o.First.IsZero() {
		o.First = time.Date(2024, time.April, 1, 0, 0, 0, 0, time.UTC)
	}
	o.First = o.First.UTC().Truncate(24 * time.Hour)
	var errs []error
	for _, n := range []struct {
		name       string
		value, max int
	}{{"rows", o.Rows, math.MaxInt32}, {"days", o.Days, 36_500}, {"accounts", o.Accounts, 1_000_000}} {
		if n.value < 1 || n.value > n.max {
			errs = append(errs, fmt.Errorf("%d %s: write 1 to %d", n.value, n.name, n.max))
		}
	}
	if n := int64(o.Days) * int64(o.Accounts); n > maxPartitions {
		errs = append(errs, fmt.Errorf("%d days of %d accounts: at most %d together, which their sums are held for", o.Days, o.Accounts, maxPartitions))
	}
	if o.Restated < 0 || o.Restated > o.Days {
		errs = append(errs, fmt.Errorf("%d restated days: write 0 to %d", o.Restated, o.Days))
	}
	return o, errors.Join(errs...)
}

// The columns that partition the rows.
const (
	DateColumn    = "date"
	AccountColumn = "account_id"
)

var columns = []struct{ name, kind string }{
	{DateColumn, "date"},
	{AccountColumn, "string"},
	{"account_name", "string"},
	{"campaign_id", "int64"},
	{"campaign_name", "string"},
	{"adset_name", "string"},
	{"ad_name", "string"},
	{"country", "string"},
	{"device", "string"},
	{"currency", "string"},
	{"impressions", "int64"},
	{"clicks", "int64"},
	{"spend", "decimal(18,6)"},
	{"conversions", "float64"},
	{"video_views", "int64"},
	{"ctr", "float64"},
	{"revenue", "decimal(38,10)"},
	{"is_active", "bool"},
	{"updated_at", "timestamp"},
	{"targeting", "json"},
	{"url", "string"},
	{"note", "string"},
}

// Schema is the rows' schema.
func Schema() *encoding.Schema {
	list := make([]encoding.Column, 0, len(columns))
	for _, c := range columns {
		t, err := encoding.ParseType(c.kind)
		if err != nil {
			panic(err) // a type of the list above
		}
		list = append(list, encoding.Column{Name: c.name, Type: t})
	}
	s, err := encoding.NewSchema(list)
	if err != nil {
		panic(err)
	}
	return s
}

// Write writes the rows as NDJSON, in no order of day or account, and says what
// is true of them. It holds one
// buffer and one sum per day and account, whatever the number of rows.
func Write(w io.Writer, opts Options) (*Truth, error) {
	o, err := opts.filled()
	if err != nil {
		return nil, fmt.Errorf("ad rows: %w", err)
	}
	g := newGenerator(o)
	truth := newTally(o)
	buf := make([]byte, 0, 1<<17)
	for i := range o.Rows {
		if !g.draw(i) {
			continue
		}
		buf = g.appendRow(buf)
		truth.add(&g.row)
		if len(buf) >= 1<<16 {
			if _, err := w.Write(buf); err != nil {
				return nil, err
			}
			buf = buf[:0]
		}
	}
	if _, err := w.Write(buf); err != nil {
		return nil, err
	}
	return truth.sum(g), nil
}

// generator draws one row after another.
type generator struct {
	o        Options
	pcg      *rand.PCG
	rng      *rand.Rand
	shares   []int // running sum of the accounts' weights
	days     []string
	accounts []account
	row      row
}

func newGenerator(o Options) *generator {
	pcg := rand.NewPCG(0, 0)
	g := &generator{o: o, pcg: pcg, rng: rand.New(pcg)}
	total := 0
	for k := range o.Accounts {
		// Zipf's law in whole numbers: a float's last bit may differ between machines.
		total += max(1_000_000_000/(k+1), 1)
		g.shares = append(g.shares, total)
		g.accounts = append(g.accounts, newAccount(k))
	}
	for d := range o.Days {
		g.days = append(g.days, o.First.AddDate(0, 0, d).Format(time.DateOnly))
	}
	return g
}

// The streams of random numbers of one row: who it is, and what was measured
// of it, originally or restated.
const (
	identityStream = iota
	originalStream
	restatedStream
)

func (g *generator) seed(i int, stream uint64) {
	// Row numbers are close to each other; the finalizer of SplitMix64 spreads them.
	x := uint64(i)*3 + stream + 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	g.pcg.Seed(g.o.Seed, x^x>>31)
}

// draw makes row i, and reports whether it is among those asked for.
func (g *generator) draw(i int) bool {
	g.seed(i, identityStream)
	r := &g.row
	r.day = g.rng.IntN(g.o.Days)
	if g.o.Restated > 0 && r.day < g.o.Days-g.o.Restated {
		return false
	}
	r.account = sort.SearchInts(g.shares, g.rng.IntN(g.shares[len(g.shares)-1])+1)
	g.drawIdentity()
	if g.o.Restated > 0 {
		g.seed(i, restatedStream)
	} else {
		g.seed(i, originalStream)
	}
	g.drawMeasures()
	return true
}
