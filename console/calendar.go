package console

import (
	"slices"
	"time"

	"github.com/loadfleet/loadfleet/messages"
)

// calendarDays is how many days a heat map shows.
const calendarDays = 60

// calendarAccounts is how many rows it has.
const calendarAccounts = 100

type calendarPage struct {
	ID     string
	Tables []string
	Table  string
	Days   []calendarDay
	Rows   []calendarRow
	More   int
	Latest time.Time
}

type calendarDay struct {
	Date  string
	Label string // of the first of a month, and of Mondays
}

type calendarRow struct {
	Account string
	Cells   []calendarCell
}

// calendarCell is the partition of a day and an account.
type calendarCell struct {
	State string // loaded, fresh, missing, failed, deleted, or before the account's first day
	Title string
}

// calendar is a heat map of a destination's partitions: which days of which
// accounts are loaded, how fresh they are, what is missing and what failed. It
// reads the destination's whole ledger, and keeps of it what its table has.
func (c *Console) calendar(r *request) (any, error) {
	r.name = "calendar"
	id := r.PathValue("id")
	if _, err := c.stored(r.Context(), id); err != nil {
		return nil, err
	}
	type spot struct{ account, day string }
	p := &calendarPage{ID: id, Table: r.Form.Get("table")}
	last := map[spot]*messages.Object{}
	latest := ""
	for o, err := range c.cfg.Queue.Objects().All(r.Context(), id) {
		if err != nil {
			return nil, err
		}
		if o.From == "" || messages.Companion(o.Format) {
			continue
		}
		if !slices.Contains(p.Tables, o.Table) {
			p.Tables = append(p.Tables, o.Table)
		}
		if p.Table == "" {
			p.Table = o.Table
		}
		if o.Table != p.Table {
			continue
		}
		from, errFrom := time.Parse(time.DateOnly, o.From)
		to, errTo := time.Parse(time.DateOnly, o.To)
		if errFrom != nil || errTo != nil {
			continue
		}
		for day, n := from, 0; !day.After(to) && n < 366; day, n = day.AddDate(0, 0, 1), n+1 {
			at := spot{o.Account, day.Format(time.DateOnly)}
			if there := last[at]; there == nil || there.Before(&o.Object) {
				last[at] = &o.Object
			}
			latest = max(latest, at.day)
		}
		if o.Time.After(p.Latest) {
			p.Latest = o.Time
		}
	}
	slices.Sort(p.Tables)
	if latest == "" {
		return p, nil
	}
	failed := map[spot]string{}
	filter := formOf(r)
	filter.Destination = id
	dead, err := filter.filter()
	if err != nil {
		return nil, err
	}
	for d, err := range c.cfg.Queue.DeadLetters(r.Context(), dead) {
		if err != nil {
			return nil, err
		}
		if d.Part != nil && d.Part.From != "" && d.Table == p.Table {
			failed[spot{d.Part.Account, d.Part.From}] = string(d.Failure.Reason)
		}
	}
	end, _ := time.Parse(time.DateOnly, latest)
	for i := range calendarDays {
		day := end.AddDate(0, 0, i-calendarDays+1)
		d := calendarDay{Date: day.Format(time.DateOnly)}
		switch {
		case day.Day() == 1:
			d.Label = day.Format("Jan")
		case day.Weekday() == time.Monday && day.Day() > 3 && day.Day() < 29:
			d.Label = day.Format("2")
		}
		p.Days = append(p.Days, d)
	}
	first := map[string]string{}
	for at := range last {
		if day, known := first[at.account]; !known || at.day < day {
			first[at.account] = at.day
		}
	}
	var accounts []string
	for account := range first {
		accounts = append(accounts, account)
	}
	slices.Sort(accounts)
	if n := len(accounts); n > calendarAccounts {
		accounts, p.More = accounts[:calendarAccounts], n-calendarAccounts
	}
	for _, account := range accounts {
		row := calendarRow{Account: account}
		for _, d := range p.Days {
			at := spot{account, d.Date}
			one := cell(d.Date, last[at], failed[at])
			if one.State == "missing" && d.Date < first[account] {
				one = calendarCell{"before", d.Date + ": before its first day"}
			}
			row.Cells = append(row.Cells, one)
		}
		p.Rows = append(p.Rows, row)
	}
	return p, nil
}

// cell says how a partition stands.
func cell(day string, o *messages.Object, failed string) calendarCell {
	switch {
	case failed != "":
		return calendarCell{"failed", day + ": dead letter, " + failed}
	case o == nil:
		return calendarCell{"missing", day + ": missing, nothing on record"}
	case o.Result == messages.Deleted:
		return calendarCell{"deleted", day + ": deleted, " + age(o.Time)}
	case time.Since(o.Time) < 24*time.Hour:
		return calendarCell{"fresh", day + ": " + count(o.Rows) + " rows, " + age(o.Time)}
	}
	return calendarCell{"loaded", day + ": " + count(o.Rows) + " rows, " + age(o.Time)}
}
