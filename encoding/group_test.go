package encoding

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// pairOf is a row's day and account as Group sees them.
type pairOf struct {
	Day     int32
	Dated   bool
	Account string
	Named   bool
}

func TestGroupAsksOncePerPairInOrder(t *testing.T) {
	const none, day, account, note, count, seenAt = -1, 0, 1, 2, 3, 7
	tests := []struct {
		name          string
		date, account int
	}{
		{"day and account", day, account},
		{"day and plain account", day, note},
		{"day and number", day, count},
		{"instant and account", seenAt, account},
		{"day", day, none},
		{"account", none, account},
		{"number", none, count},
		{"neither", none, none},
	}
	for _, of := range shapes {
		for _, tc := range tests {
			t.Run(of.name+", "+tc.name, func(t *testing.T) {
				r := randomRows(newRand(), everyKind(), of.n, of.of)
				if tc.date == day && of.n > 2 && !r.vectors[day].null(1) {
					r.vectors[day].days[1] = math.MaxInt32 // a range too wide for a table
				}
				var asked []pairOf
				got, err := r.Group(tc.date, tc.account, func(day int32, hasDay bool, account string, hasAccount bool) (int32, error) {
					asked = append(asked, pairOf{day, hasDay, account, hasAccount})
					return int32(len(asked) - 1), nil
				})
				if err != nil {
					t.Fatal(err)
				}
				var want []pairOf
				groups := make([]int32, r.n)
				seen := make(map[pairOf]int32)
				for row, values := range grid(r) {
					p := pairAt(tc.date, tc.account, values)
					g, ok := seen[p]
					if !ok {
						g = int32(len(want))
						seen[p] = g
						want = append(want, p)
					}
					groups[row] = g
				}
				if diff := cmp.Diff(want, asked); diff != "" {
					t.Errorf("pairs asked for (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(groups, got); diff != "" {
					t.Errorf("groups (-want +got):\n%s", diff)
				}
			})
		}
	}
}

func pairAt(date, account int, values []any) (p pairOf) {
	if date >= 0 {
		switch v := values[date].(type) {
		case int32:
			p.Day, p.Dated = v, true
		case int64:
			p.Day, p.Dated = int32(math.Floor(float64(v)/dayMicros)), true
		}
	}
	if account >= 0 && values[account] != nil {
		p.Account, p.Named = fmt.Sprint(values[account]), true
	}
	return p
}

func TestGroupErrors(t *testing.T) {
	r := randomRows(newRand(), everyKind(), 50, shape{distinct: 5})
	full := errors.New("too many keys")
	first := make(map[pairOf]int)
	for row, values := range grid(r) {
		if p := pairAt(0, 1, values); first[p] == 0 {
			first[p] = row + 1
		}
	}
	var last pairOf
	_, err := r.Group(0, 1, func(day int32, hasDay bool, account string, hasAccount bool) (int32, error) {
		last = pairOf{day, hasDay, account, hasAccount}
		if account == "value 3" {
			return 0, full
		}
		return 7, nil
	})
	var at *RowError
	if !errors.As(err, &at) || !errors.Is(err, full) || at.Row != int64(first[last]) {
		t.Errorf("got error %v, want %v at row %d", err, full, first[last])
	}
	assign := func(int32, bool, string, bool) (int32, error) { return 0, nil }
	if _, err := r.Group(1, -1, assign); err == nil {
		t.Error("a string column was taken for a date")
	}
	if _, err := r.Group(-1, 4, assign); err == nil {
		t.Error("a float column was taken for an account")
	}
}

func TestUTCDay(t *testing.T) {
	tests := []struct {
		micros int64
		want   int32
	}{
		{0, 0}, {dayMicros - 1, 0}, {dayMicros, 1}, {-1, -1}, {-dayMicros, -1}, {-dayMicros - 1, -2},
	}
	for _, tc := range tests {
		if got := utcDay(tc.micros); got != tc.want {
			t.Errorf("utcDay(%d) = %d, want %d", tc.micros, got, tc.want)
		}
	}
}

func BenchmarkGroup(b *testing.B) {
	r := wideRows(newRand(), 200_000)
	b.ReportAllocs()
	for b.Loop() {
		next := int32(0)
		if _, err := r.Group(0, 1, func(int32, bool, string, bool) (int32, error) { next++; return next, nil }); err != nil {
			b.Fatal(err)
		}
	}
}
