package dispatcher

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/messages"
)

// coverage is what an extraction is complete for.
type coverage struct {
	from, to int32 // days, both inclusive, when bounded
	bounded  bool
	accounts map[string]bool // nil: all there are
	known    []string        // the accounts whose partitions may have become empty, sorted
}

func newCoverage(c *messages.Covers, known []string) coverage {
	var v coverage
	v.from, v.to, v.bounded = c.Days()
	v.known = known
	if c != nil && c.Accounts != nil {
		v.accounts = make(map[string]bool, len(c.Accounts))
		for _, a := range c.Accounts {
			v.accounts[a] = true
		}
		v.known = slices.Sorted(slices.Values(c.Accounts))
	}
	return v
}

// coveredAccounts is the accounts that a file which accounts share is complete for.
func coveredAccounts(c *messages.Covers) messages.AccountSet {
	if c == nil {
		return ""
	}
	if c.Accounts == nil {
		return messages.AllAccounts
	}
	var set messages.Accounts
	for _, a := range c.Accounts {
		set.Add(a)
	}
	return set.Set()
}

// errUncoveredDay and errUncoveredAccount say that a row contradicts its commit.
var (
	errUncoveredDay     = errors.New("the row's day lies outside of the commit's covers")
	errUncoveredAccount = errors.New("the row's account is not among the accounts of the commit's covers")
)

// has tells whether a day is covered.
func (v *coverage) has(day int32) bool { return !v.bounded || v.from <= day && day <= v.to }

// admit refuses a row outside of what the commit says it covers.
func (v *coverage) admit(day int32, hasDay bool, account string) error {
	if hasDay && !v.has(day) {
		return v.uncoveredDay(day)
	}
	if v.accounts != nil && !v.accounts[account] {
		return fmt.Errorf("%w: it is %.100q, and covers names %s: name it there, or leave the row out", errUncoveredAccount, account, v.accountsNamed())
	}
	return nil
}

func (v *coverage) uncoveredDay(n int32) error {
	return fmt.Errorf("%w: it is %s, and covers has %s to %s: widen from and to, or leave the row out", errUncoveredDay, day(n), day(v.from), day(v.to))
}

// uncoveredLoad says that a row without a day gets one that its commit does not cover.
func (v *coverage) uncoveredLoad(load int32) error {
	return fmt.Errorf("the row has no date and is dated by the load (undated_rows: load_date): %w", v.uncoveredDay(load))
}

// accountsNamed is the first few accounts that are covered, and how many more.
func (v *coverage) accountsNamed() string {
	const most = 3
	if len(v.known) == 0 {
		return "none"
	}
	var named []string
	for _, a := range v.known[:min(most, len(v.known))] {
		named = append(named, fmt.Sprintf("%.100q", a))
	}
	text := strings.Join(named, ", ")
	if more := len(v.known) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// restate is called once, when every row is in: it refuses what would replace
// files with less than they hold, and adds the partitions that became empty.
func (ps *partitions) restate() error {
	if err := ps.addEmpty(); err != nil {
		return err
	}
	return ps.checkMonths()
}

// checkMonths refuses an extraction that would replace a month's file with
// some of its days. Without a word of the commit, the days of the month's rows
// are what it covers. A month that is not over yet is whole up to yesterday.
func (ps *partitions) checkMonths() error {
	if ps.plan.By != string(destination.ByMonth) || ps.plan.PartialMonth != string(destination.RejectPartial) || ps.naming.Timed() {
		return nil
	}
	yesterday := int32(ps.plan.Time.Unix()/86400) - 1
	for _, id := range ps.order() {
		p := ps.list[id]
		if !p.hasDays {
			continue
		}
		from, to, ok := ps.naming.Span(p.first)
		if !ok || to-from > 366 { // a file of all days is replaced as a whole
			continue
		}
		has, until := p.first, p.last
		if ps.covers.bounded {
			has, until = ps.covers.from, ps.covers.to
		}
		if has <= from && until >= min(to, yesterday) {
			continue
		}
		what := "its rows of that time are"
		if ps.covers.bounded {
			what = "the extraction covers"
		}
		return &rejection{messages.Failure{
			Reason: messages.ReasonPartial,
			Message: fmt.Sprintf("the file %s holds %s to %s, and %s %s to %s: it would lose the other days",
				p.key, day(from), day(to), what, day(max(has, from)), day(min(until, to))),
			Remedy: "extract the whole time and say so in the commit's covers (for `publish`: --covers-from, --covers-to), or set partial_month: replace in the destination; publish it as a new extraction",
		}}
	}
	return nil
}

// maxEmpty bounds the partitions that one extraction may find empty.
const maxEmpty = 200_000

// addEmpty adds the partitions that the extraction covers and has no rows of,
// as the destination's empty_partition asks. Files that accumulate replace
// nothing and have none.
func (ps *partitions) addEmpty() error {
	policy := destination.EmptyPartition(ps.plan.Empty)
	if policy != destination.DeleteEmpty && policy != destination.EmptyFile || ps.naming.Timed() {
		return nil
	}
	if !ps.covers.bounded && (ps.dated || ps.covers.accounts == nil) {
		return nil // nothing says which days, or nothing is covered at all
	}
	accounts := []string{""}
	if ps.byAccount {
		accounts = ps.covers.known
	}
	days := int64(1)
	if ps.dated {
		days += int64(ps.covers.to) - int64(ps.covers.from)
	}
	if n := days * int64(len(accounts)); n > maxEmpty {
		return &rejection{messages.Failure{
			Reason:  messages.ReasonInvalidCommit,
			Message: fmt.Sprintf("covers names %d days of %d accounts: at most %d partitions may be looked at for rows that are gone", days, len(accounts), maxEmpty),
			Remedy:  "cover less at a time, with several extractions",
		}}
	}
	for _, account := range accounts {
		for i := range days {
			if err := ps.addEmptyAt(ps.covers.from+int32(i), account, policy); err != nil {
				return err
			}
		}
	}
	return nil
}

func (ps *partitions) addEmptyAt(day int32, account string, policy destination.EmptyPartition) error {
	key, err := ps.naming.Key(ps.names, day, account)
	if err != nil {
		return err
	}
	if _, ok := ps.byKey[key]; ok {
		return nil
	}
	if len(ps.list) == math.MaxInt32 {
		return errors.New("more partitions than can be counted")
	}
	if policy == destination.EmptyFile && ps.plan.Schema == nil {
		return &rejection{messages.Failure{
			Reason:  messages.ReasonInvalidCommit,
			Message: fmt.Sprintf("%s became empty, and nothing says which columns an empty file has", key),
			Remedy:  "declare the schema in the commit, and publish it as a new extraction",
		}}
	}
	p := &partition{key: key, account: account, gone: policy == destination.DeleteEmpty, first: day, last: day, hasDays: ps.dated, shared: ps.shared}
	if ps.dated && !ps.plan.dateByLoad() {
		p.from, p.to, p.spans = ps.naming.Span(day)
	}
	ps.byKey[key] = int32(len(ps.list))
	ps.list = append(ps.list, p)
	return nil
}
