package console

import (
	"fmt"
	"hash/maphash"
	"maps"
	"net/url"
	"slices"
	"time"

	"github.com/loadfleet/loadfleet/messages"
)

// calendarDays is how many days a heat map shows.
const calendarDays = 60

// calendarAccounts is how many rows it has, and countedAccounts how many further
// ones it counts before it says "at least".
const (
	calendarAccounts = 100
	countedAccounts  = 10_000
)

type calendarPage struct {
	ID       string
	Tables   []string
	Table    string
	Days     []calendarDay
	Rows     []calendarRow
	More     int // accounts that come after these
	AtLeast  bool
	Latest   time.Time
	Earlier  string // the path of the days before; "" when nothing is on record
	Newest   string // of the latest days; "" when these are
	Further  string // of the accounts after; "" when there are none
	From, To string // the first and the last of the days
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

// heat keeps of a ledger what one heat map shows, whatever the ledger's length:
// some days of the accounts that come first by name.
type heat struct {
	after      string // accounts behind this one only; "" for all
	start, end string // the days; empty until one is known
	fixed      bool   // they do not follow the latest day on record
	accounts   []string
	rows       map[string]*heatRow
	more       map[uint64]bool // hashes of the accounts that come after these
	seed       maphash.Seed
}

type heatRow struct {
	first string // the account's first day of all
	days  map[string]*messages.Object
	dead  map[string]messages.Reason // why days are dead
}

func newHeat(after, until string) *heat {
	h := &heat{after: after, rows: map[string]*heatRow{}, more: map[uint64]bool{}, seed: maphash.MakeSeed()}
	if until != "" {
		h.fixed = true
		h.move(until)
	}
	return h
}

// move makes a day the last one.
func (h *heat) move(end string) {
	day, err := time.Parse(time.DateOnly, end)
	if err != nil {
		return
	}
	h.start, h.end = day.AddDate(0, 0, 1-calendarDays).Format(time.DateOnly), end
	for _, row := range h.rows {
		maps.DeleteFunc(row.days, func(day string, _ *messages.Object) bool { return day < h.start })
		maps.DeleteFunc(row.dead, func(day string, _ messages.Reason) bool { return day < h.start })
	}
}

// add takes one more record.
func (h *heat) add(o *messages.Object) {
	row, days := h.place(o.Account, o.From, o.To)
	if len(days) == 0 {
		return
	}
	kept := &messages.Object{Generation: o.Generation, Extraction: o.Extraction, Result: o.Result, Rows: o.Rows, Time: o.Time}
	for _, day := range days {
		if there := row.days[day]; there == nil || there.Before(kept) {
			row.days[day] = kept
		}
	}
}

// bury takes one more dead load.
func (h *heat) bury(part *messages.Partition, reason messages.Reason) {
	row, days := h.place(part.Account, part.From, part.To)
	for _, day := range days {
		row.dead[day] = reason
	}
}

// place makes room for a file: it is the row of its account and those of its days
// that are shown.
func (h *heat) place(account, first, last string) (row *heatRow, days []string) {
	from, errFrom := time.Parse(time.DateOnly, first)
	to, errTo := time.Parse(time.DateOnly, last)
	if errFrom != nil || errTo != nil || to.Before(from) {
		return nil, nil
	}
	if most := from.AddDate(1, 0, 0); to.After(most) { // no file holds more
		to = most
	}
	if end := to.Format(time.DateOnly); !h.fixed && end > h.end {
		h.move(end)
	}
	row = h.row(account)
	if row == nil {
		return nil, nil
	}
	if row.first == "" || first < row.first {
		row.first = first
	}
	for day := from; !day.After(to); day = day.AddDate(0, 0, 1) {
		if date := day.Format(time.DateOnly); date >= h.start && date <= h.end {
			days = append(days, date)
		}
	}
	return row, days
}

// row is the row of an account; nil when it is not among those that are shown.
func (h *heat) row(account string) *heatRow {
	if row := h.rows[account]; row != nil {
		return row
	}
	if h.after != "" && account <= h.after {
		return nil
	}
	if len(h.accounts) == calendarAccounts {
		last := h.accounts[calendarAccounts-1]
		if account > last {
			h.pass(account)
			return nil
		}
		h.accounts = h.accounts[:calendarAccounts-1]
		delete(h.rows, last)
		h.pass(last)
	}
	at, _ := slices.BinarySearch(h.accounts, account)
	h.accounts = slices.Insert(h.accounts, at, account)
	h.rows[account] = &heatRow{days: map[string]*messages.Object{}, dead: map[string]messages.Reason{}}
	return h.rows[account]
}

// pass counts an account that comes after those that are shown.
func (h *heat) pass(account string) {
	if len(h.more) < countedAccounts {
		h.more[maphash.String(h.seed, account)] = true
	}
}

// calendar is a heat map of a destination's partitions: which days of which
// accounts are loaded, how fresh they are, what is missing and what failed. It
// reads the destination's whole ledger, and keeps of it what its table shows.
func (c *Console) calendar(r *request) (any, error) {
	r.name = "calendar"
	id := r.PathValue("id")
	if _, err := c.stored(r.Context(), id); err != nil {
		return nil, err
	}
	p := &calendarPage{ID: id, Table: r.Form.Get("table")}
	until := r.Form.Get("until")
	if _, err := time.Parse(time.DateOnly, until); err != nil && until != "" {
		return nil, &said{400, fmt.Sprintf("%q is no day.", until), "Write 2024-06-30."}
	}
	h := newHeat(r.Form.Get("after"), until)
	for o, err := range c.cfg.Queue.Objects().All(r.Context(), id) {
		if err != nil {
			return nil, err
		}
		if o.From == "" || messages.Companion(o.Format) {
			continue
		}
		if !p.shows(o.Table) {
			continue
		}
		h.add(&o.Object)
		if o.Time.After(p.Latest) {
			p.Latest = o.Time
		}
	}
	if err := c.bury(r, p, h); err != nil {
		return nil, err
	}
	slices.Sort(p.Tables)
	if len(h.accounts) == 0 {
		return p, nil
	}
	p.fill(h)
	p.link(h)
	return p, nil
}

// shows reports whether a table of the destination is the one that is shown: the
// first to come, unless one was asked for.
func (p *calendarPage) shows(table string) bool {
	if !slices.Contains(p.Tables, table) {
		p.Tables = append(p.Tables, table)
	}
	if p.Table == "" {
		p.Table = table
	}
	return table == p.Table
}

// bury adds the dead loads to a heat map.
func (c *Console) bury(r *request, p *calendarPage, h *heat) error {
	filter := formOf(r)
	filter.Destination = p.ID
	dead, err := filter.filter()
	if err != nil {
		return err
	}
	for d, err := range c.cfg.Queue.DeadLetters(r.Context(), dead) {
		if err != nil {
			return err
		}
		if d.Part != nil && d.Part.From != "" && p.shows(d.Table) {
			h.bury(d.Part, d.Failure.Reason)
		}
	}
	return nil
}

// fill makes the table.
func (p *calendarPage) fill(h *heat) {
	p.From, p.To = h.start, h.end
	start, _ := time.Parse(time.DateOnly, h.start)
	for i := range calendarDays {
		day := start.AddDate(0, 0, i)
		d := calendarDay{Date: day.Format(time.DateOnly)}
		switch {
		case day.Day() == 1:
			d.Label = day.Format("Jan")
		case day.Weekday() == time.Monday && day.Day() > 3 && day.Day() < 29:
			d.Label = day.Format("2")
		}
		p.Days = append(p.Days, d)
	}
	for _, account := range h.accounts {
		row, known := calendarRow{Account: account}, h.rows[account]
		for _, d := range p.Days {
			one := cell(d.Date, known.days[d.Date], known.dead[d.Date])
			if one.State == "missing" && d.Date < known.first {
				one = calendarCell{"before", d.Date + ": before its first day"}
			}
			row.Cells = append(row.Cells, one)
		}
		p.Rows = append(p.Rows, row)
	}
	p.More, p.AtLeast = len(h.more), len(h.more) == countedAccounts
}

// link says where the days before and the accounts after are.
func (p *calendarPage) link(h *heat) {
	path := func(after, until string) string {
		v := url.Values{"table": {p.Table}}
		for name, value := range map[string]string{"after": after, "until": until} {
			if value != "" {
				v.Set(name, value)
			}
		}
		return "/calendar/" + url.PathEscape(p.ID) + "?" + v.Encode()
	}
	until := ""
	if h.fixed {
		until, p.Newest = h.end, path(h.after, "")
	}
	start, _ := time.Parse(time.DateOnly, h.start)
	p.Earlier = path(h.after, start.AddDate(0, 0, -1).Format(time.DateOnly))
	if p.More > 0 {
		p.Further = path(h.accounts[len(h.accounts)-1], until)
	}
}

// cell says how a partition stands.
func cell(day string, o *messages.Object, dead messages.Reason) calendarCell {
	switch {
	case dead != "":
		return calendarCell{"failed", day + ": dead letter, " + string(dead)}
	case o == nil:
		return calendarCell{"missing", day + ": missing, nothing on record"}
	case o.Result == messages.Deleted:
		return calendarCell{"deleted", day + ": deleted, " + age(o.Time)}
	case time.Since(o.Time) < 24*time.Hour:
		return calendarCell{"fresh", day + ": " + count(o.Rows) + " rows, " + age(o.Time)}
	}
	return calendarCell{"loaded", day + ": " + count(o.Rows) + " rows, " + age(o.Time)}
}
