package dispatcher

import (
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
)

// partition is the rows of one key.
type partition struct {
	key     string
	account string
	from    int32 // the days that the key covers, both inclusive
	to      int32
	spans   bool // false: the key is not bound to days
	rows    int64

	first, last int32 // days of the rows, when hasDays
	hasDays     bool
	shared      bool
	holds       messages.Accounts // of a file that accounts share
	gone        bool              // it has no rows any more, and its object is to be deleted
}

// partitions groups an extraction's rows by rendered key. Its chunks are
// arranged, by several readers at a time, kept in the order of the extraction,
// and then walked once, in key order.
type partitions struct {
	plan    *plan
	naming  *destination.Naming
	names   destination.Names
	date    int // column index, -1 when the rows' days do not matter
	account int // column index, -1 when their accounts do not

	dated     bool // keys depend on the row's day
	byAccount bool // and on its account
	shared    bool // accounts share a file, and it is replaced
	covers    coverage

	mu    sync.Mutex // for readers, who arrange
	byKey map[string]int32
	list  []*partition // by group id
	bytes int64        // of all chunks, in columns
	rows  int64

	scratch scratch
}

func newPartitions(c *messages.Commit, p *plan, onDisk scratch) (*partitions, error) {
	naming, err := p.naming()
	if err != nil {
		return nil, fmt.Errorf("pinned templates: %w", err)
	}
	ps := &partitions{
		plan: p, naming: naming, date: -1, account: -1, scratch: onDisk,
		byKey: map[string]int32{}, covers: newCoverage(c.Covers, p.Accounts),
		dated: naming.Dated() && c.DateColumn != "", byAccount: p.Account,
		names: namesOf(c),
	}
	ps.names.Load = p.Time
	if p.Schema == nil {
		return ps, nil
	}
	ps.scratch.book = encoding.NewCodebook(p.Schema, ps.scratch.textBytes)
	if i, ok := p.Schema.Index(c.DateColumn); ok && (ps.dated || ps.covers.bounded) {
		ps.date = i
	}
	if i, ok := p.Schema.Index(c.AccountColumn); ok {
		ps.account, ps.shared = i, !ps.byAccount && !naming.Timed()
	}
	return ps, nil
}

// namesOf is what a commit brings to a key.
func namesOf(c *messages.Commit) destination.Names {
	return destination.Names{
		WorkspaceID: c.WorkspaceID, WorkspaceTitle: c.WorkspaceTitle, DataSource: c.DataSource,
		DataTableTitle: c.DataTableTitle, ReportType: c.ReportType, Filename: c.Filename,
	}
}

// arrange sorts a chunk by key. Readers may do so at a time.
func (ps *partitions) arrange(rows *encoding.Rows) (*encoding.Arrangement, error) {
	group, err := rows.Group(ps.date, ps.account, ps.assign)
	if err != nil {
		return nil, err
	}
	ps.mu.Lock()
	place := make([]int32, len(ps.list))
	for i, id := range ps.order() {
		place[id] = int32(i)
	}
	ps.mu.Unlock()
	a := rows.Arrange(group, place)
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, g := range a.Runs {
		ps.list[g.Group].rows += int64(g.Rows)
	}
	ps.bytes += rows.Size()
	ps.rows += int64(rows.Len())
	return a, nil
}

// rowBytes is about what a row takes in columns.
func (ps *partitions) rowBytes() int64 { return ps.bytes / max(ps.rows, 1) }

// keep takes the runs that were made of the next chunks.
func (ps *partitions) keep(runs []*run) error {
	ps.mu.Lock()
	order := ps.order()
	ps.mu.Unlock()
	return ps.scratch.keep(order, runs...)
}

// errUndated and errNoAccount say why a row belongs nowhere.
var (
	errUndated   = errors.New("the row has no date: give every row one, or let the destination date such rows by the load (undated_rows: load_date)")
	errNoAccount = errors.New("the row has no account: give every row one, or do not load by account")
)

// assign finds the partition of a (day, account) pair.
func (ps *partitions) assign(day int32, hasDay bool, account string, hasAccount bool) (int32, error) {
	if ps.dated && !hasDay && !ps.plan.dateByLoad() {
		return 0, errUndated
	}
	if ps.byAccount && (!hasAccount || account == "") {
		return 0, errNoAccount
	}
	load := int32(ps.plan.Time.Unix() / 86400)
	if ps.dated && !hasDay && !ps.covers.has(load) {
		return 0, ps.covers.uncoveredLoad(load)
	}
	if err := ps.covers.admit(day, hasDay, account); err != nil {
		return 0, err
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	hasDay = hasDay && ps.dated
	if !hasDay {
		day = load
	}
	id, err := ps.of(day, account)
	if err != nil {
		return 0, err
	}
	p := ps.list[id]
	if hasDay {
		p.saw(day)
	}
	if ps.shared {
		p.shared = true
		p.holds.Add(account)
	}
	return id, nil
}

// of is the group of a day and an account, made when it is the first of its key.
func (ps *partitions) of(day int32, account string) (int32, error) {
	key, err := ps.naming.Key(ps.names, day, account)
	if err != nil {
		return 0, err
	}
	if id, ok := ps.byKey[key]; ok {
		return id, nil
	}
	if len(ps.list) == math.MaxInt32 {
		return 0, errors.New("more partitions than can be counted")
	}
	p := &partition{key: key}
	if ps.byAccount {
		p.account = account
	}
	if ps.dated && !ps.plan.dateByLoad() {
		p.from, p.to, p.spans = ps.naming.Span(day)
	}
	id := int32(len(ps.list))
	ps.byKey[key] = id
	ps.list = append(ps.list, p)
	return id, nil
}

// saw widens the days of the partition's rows.
func (p *partition) saw(day int32) {
	if !p.hasDays {
		p.first, p.last, p.hasDays = day, day, true
	}
	p.first, p.last = min(p.first, day), max(p.last, day)
}

// order is the group ids sorted by key: the order in which loads are made.
func (ps *partitions) order() []int32 {
	ids := make([]int32, len(ps.list))
	for i := range ids {
		ids[i] = int32(i)
	}
	slices.SortFunc(ids, func(a, b int32) int { return strings.Compare(ps.list[a].key, ps.list[b].key) })
	return ids
}

// all walks the partitions in key order, each with its rows in the order in
// which they were extracted. A partition's rows must be read before the next.
func (ps *partitions) all() iter.Seq2[*partition, iter.Seq2[stretch, error]] {
	return func(yield func(*partition, iter.Seq2[stretch, error]) bool) {
		ps.scratch.begin()
		for _, id := range ps.order() {
			rows := ps.scratch.rows(id)
			switch {
			case ps.list[id].gone:
				rows = func(func(stretch, error) bool) {}
			case ps.list[id].rows == 0:
				rows = func(yield func(stretch, error) bool) {
					yield(stretch{from: encoding.NewSource(encoding.NoRows(ps.plan.Schema))}, nil)
				}
			}
			if !yield(ps.list[id], rows) {
				return
			}
		}
	}
}

// close gives the scratch back.
func (ps *partitions) close() error { return ps.scratch.close() }

func (p *plan) dateByLoad() bool { return p.Undated == string(destination.DateByLoad) }
