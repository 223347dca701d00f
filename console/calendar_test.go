package console

import (
	"fmt"
	"testing"
	"time"

	"github.com/loadfleet/loadfleet/messages"
)

// Whatever comes, and in whatever order, a heat map holds the places that it
// shows, and in the end the right ones.
func TestHeatHoldsWhatItShows(t *testing.T) {
	const accounts, days = 300, 100
	first := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name         string
		at           func(i int) (account, day int)
		after, until string
		start, end   string
		row          string // the first account
		more         int
	}{
		{"ascending", func(i int) (int, int) { return i % accounts, i / accounts }, "", "", "2024-02-10", "2024-04-09", "a000", 200},
		{"descending", func(i int) (int, int) { return accounts - 1 - i%accounts, days - 1 - i/accounts }, "", "", "2024-02-10", "2024-04-09", "a000", 200},
		{"further accounts", func(i int) (int, int) { return accounts - 1 - i%accounts, i / accounts }, "a219", "", "2024-02-10", "2024-04-09", "a220", 0},
		{"days before", func(i int) (int, int) { return i % accounts, i / accounts }, "a099", "2024-02-09", "2023-12-12", "2024-02-09", "a100", 100},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHeat(c.after, c.until)
			for i := range accounts * days {
				account, day := c.at(i)
				date := first.AddDate(0, 0, day).Format(time.DateOnly)
				h.add(&messages.Object{Account: fmt.Sprintf("a%03d", account), From: date, To: date, Rows: int64(day)})
				held := 0
				for _, row := range h.rows {
					held += len(row.days)
				}
				if len(h.accounts) > calendarAccounts || len(h.rows) != len(h.accounts) || held > calendarDays*len(h.accounts) {
					t.Fatalf("after %d records: %d accounts with %d places are held", i+1, len(h.accounts), held)
				}
			}
			if h.start != c.start || h.end != c.end || h.accounts[0] != c.row || len(h.more) != c.more {
				t.Errorf("got %s to %s from %s on and %d more; want %s to %s from %s on and %d", h.start, h.end, h.accounts[0], len(h.more), c.start, c.end, c.row, c.more)
			}
			for day, o := range h.rows[c.row].days {
				if got := first.AddDate(0, 0, int(o.Rows)).Format(time.DateOnly); got != day {
					t.Errorf("on %s is the object of %s", day, got)
				}
			}
			if row := h.rows[c.row]; row.first != "2024-01-01" || row.days[c.end] == nil {
				t.Errorf("the first day is %s, and the last has %v", row.first, row.days[c.end])
			}
		})
	}
}

// One file of many days is in each of them, the newer generation counts, and what
// is no day is nothing.
func TestHeatOfLongFiles(t *testing.T) {
	h := newHeat("", "")
	h.add(&messages.Object{From: "2024-03-01", To: "2024-03-31", Generation: 2, Rows: 31})
	h.add(&messages.Object{From: "2024-03-10", To: "2024-03-10", Generation: 1, Rows: 1})
	h.add(&messages.Object{From: "2024-03-11", To: "2024-03-11", Generation: 3, Rows: 3})
	h.add(&messages.Object{From: "never", To: "2024-04-01"})
	h.add(&messages.Object{From: "2024-05-01", To: "2024-04-01"})
	days := h.rows[""].days
	if len(days) != 31 || days["2024-03-10"].Rows != 31 || days["2024-03-11"].Rows != 3 || h.end != "2024-03-31" {
		t.Errorf("%d days until %s: %+v", len(days), h.end, days)
	}
}

// What is dead is in each of its days, those that no object has reached included,
// and as bounded as the objects.
func TestHeatOfDeadLoads(t *testing.T) {
	june := &messages.Partition{From: "2024-06-01", To: "2024-06-30", Account: "a"}
	for _, c := range []struct {
		name, until string
		objects     [][2]string
		dead        *messages.Partition
		start, end  string
		places      int // that are dead
	}{
		{"a month between others", "", [][2]string{{"2024-05-01", "2024-05-31"}, {"2024-07-01", "2024-07-15"}}, june, "2024-05-17", "2024-07-15", 30},
		{"begun before the days", "2024-07-31", [][2]string{{"2024-07-01", "2024-07-31"}}, june, "2024-06-02", "2024-07-31", 29},
		{"ended after the days", "2024-06-10", [][2]string{{"2024-05-01", "2024-05-31"}}, june, "2024-04-12", "2024-06-10", 10},
		{"the newest days", "", [][2]string{{"2024-05-01", "2024-05-31"}}, june, "2024-05-02", "2024-06-30", 30},
		{"of another account", "", [][2]string{{"2024-05-01", "2024-05-31"}}, &messages.Partition{From: "2024-06-01", To: "2024-06-01", Account: "b"}, "2024-04-03", "2024-06-01", 1},
		{"nothing else", "", nil, june, "2024-05-02", "2024-06-30", 30},
		{"no day", "", [][2]string{{"2024-05-01", "2024-05-31"}}, &messages.Partition{From: "soon", To: "2024-06-01", Account: "a"}, "2024-04-02", "2024-05-31", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHeat("", c.until)
			for _, o := range c.objects {
				h.add(&messages.Object{From: o[0], To: o[1], Account: "a"})
			}
			h.bury(c.dead, messages.ReasonDestination)
			p := &calendarPage{}
			p.fill(h)
			failed := 0
			for _, row := range p.Rows {
				for i, one := range row.Cells {
					if day := p.Days[i].Date; one.State == "failed" && day >= c.dead.From && day <= c.dead.To && row.Account == c.dead.Account {
						failed++
					} else if one.State == "failed" {
						t.Errorf("%s of %s: %s", day, row.Account, one.Title)
					}
				}
			}
			if p.From != c.start || p.To != c.end || failed != c.places {
				t.Errorf("%s to %s with %d dead, want %s to %s with %d", p.From, p.To, failed, c.start, c.end, c.places)
			}
			h.move("2024-12-31")
			for account, row := range h.rows {
				if len(row.dead) > 0 {
					t.Errorf("%d dead days of %s are held that are not shown", len(row.dead), account)
				}
			}
		})
	}
}
