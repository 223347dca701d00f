package adrows

import (
	"math/big"
	"strconv"
)

// Truth is what is true of a run of rows, as their maker counted it. Sums are
// exact, in digits, decimals with as many of them after the point as the
// column has; nulls count as nothing.
type Truth struct {
	Rows       int64       `json:"rows"`
	Nulls      []Nulls     `json:"nulls"`      // one per column, in the schema's order
	Partitions []Partition `json:"partitions"` // by day, then in the accounts' order; none without rows
}

// Nulls counts a column's nulls, written or left out.
type Nulls struct {
	Column string `json:"column"`
	Nulls  int64  `json:"nulls"`
}

// Partition is what is true of one account's day.
type Partition struct {
	Date        string `json:"date"`
	AccountID   string `json:"account_id"`
	Rows        int64  `json:"rows"`
	Impressions string `json:"impressions"`
	Clicks      string `json:"clicks"`
	VideoViews  string `json:"video_views"`
	Spend       string `json:"spend"`
	Revenue     string `json:"revenue"`
}

// tally adds rows up.
type tally struct {
	rows   int64
	nulls  map[string]int64
	states []state // days × accounts
	width  int
}

type state struct {
	rows, impressions, clicks, views, spend int64
	revenue                                 big.Int
}

func newTally(o Options) *tally {
	return &tally{nulls: map[string]int64{}, states: make([]state, o.Days*o.Accounts), width: o.Accounts}
}

func (t *tally) add(r *row) {
	t.rows++
	for _, n := range [...]struct {
		column string
		null   bool
	}{
		{"country", countries[r.country] == ""}, {"conversions", r.conversionsNull}, {"video_views", r.viewsNull}, {"ctr", r.impressions == 0},
		{"is_active", r.active == 2}, {"targeting", targetings[r.targeting] == ""}, {"note", notes[r.note] == ""},
	} {
		if n.null {
			t.nulls[n.column]++
		}
	}
	s := &t.states[r.day*t.width+r.account]
	s.rows++
	s.impressions += r.impressions
	s.clicks += r.clicks
	s.spend += r.spend
	if !r.viewsNull {
		s.views += r.views
	}
	s.revenue.Add(&s.revenue, r.revenue)
}

func (t *tally) sum(g *generator) *Truth {
	truth := &Truth{Rows: t.rows}
	for _, c := range columns {
		truth.Nulls = append(truth.Nulls, Nulls{Column: c.name, Nulls: t.nulls[c.name]})
	}
	for i := range t.states {
		s := &t.states[i]
		if s.rows == 0 {
			continue
		}
		truth.Partitions = append(truth.Partitions, Partition{
			Date: g.days[i/t.width], AccountID: g.accounts[i%t.width].id, Rows: s.rows,
			Impressions: strconv.FormatInt(s.impressions, 10),
			Clicks:      strconv.FormatInt(s.clicks, 10),
			VideoViews:  strconv.FormatInt(s.views, 10),
			Spend:       string(appendDecimal(nil, strconv.FormatInt(s.spend, 10), 6)),
			Revenue:     string(appendDecimal(nil, s.revenue.String(), 10)),
		})
	}
	return truth
}
