package encoding

import (
	"fmt"
	"math"
	"strconv"
)

const dayMicros = 24 * 60 * 60 * 1_000_000

// Group numbers every row by its day and account. date and account are column
// indexes, -1 when rows are not told apart that way; date is a Date or a
// Timestamp column (which counts by its UTC day), account a String or JSONText
// column or an Int64 one (which counts by its decimal text).
//
// assign names the group of one distinct pair and is called once per pair, in
// the order in which the pairs first appear; hasDay and hasAccount are false
// for a null and for a column that was not asked for. Different pairs may share
// a group. When assign fails, Group stops with a *RowError that wraps its error
// and whose Row is the pair's first row, counted within r from 1.
func (r *Rows) Group(date, account int, assign func(day int32, hasDay bool, account string, hasAccount bool) (int32, error)) ([]int32, error) {
	days, err := r.days(date)
	if err != nil {
		return nil, err
	}
	accounts, err := r.accounts(account)
	if err != nil {
		return nil, err
	}
	pairs := newPairs(days, accounts, r.n)
	group := make([]int32, r.n)
	for row := range group {
		day, hasDay := days.at(row)
		code := accounts.at(row)
		slot := pairs.slot(day, hasDay, code)
		if *slot == 0 {
			id, err := assign(day, hasDay, accounts.text(code), code >= 0)
			if err != nil {
				return nil, &RowError{Row: int64(row) + 1, Err: err}
			}
			*slot = int64(id)<<1 | 1
		}
		group[row] = int32(*slot >> 1)
	}
	return group, nil
}

// dayColumn is a column seen as days; the zero dayColumn has none.
type dayColumn struct {
	vector *vector
	days   []int32
	lo, hi int32 // the range of the days; hi < lo when every row is null
}

func (r *Rows) days(column int) (dayColumn, error) {
	if column < 0 {
		return dayColumn{hi: -1}, nil
	}
	v := &r.vectors[column]
	c := dayColumn{vector: v, days: v.days, lo: math.MaxInt32, hi: math.MinInt32}
	switch of := r.schema.Column(column); of.Type.Kind {
	case Date:
	case Timestamp:
		c.days = make([]int32, r.n)
		for i, t := range v.ints {
			c.days[i] = utcDay(t)
		}
	default:
		return dayColumn{}, fmt.Errorf("group rows: column %q is of type %s and has no day: name a date or timestamp column", of.Name, of.Type)
	}
	for i, d := range c.days {
		if !v.null(i) {
			c.lo, c.hi = min(c.lo, d), max(c.hi, d)
		}
	}
	return c, nil
}

// utcDay is the UTC day of an instant in microseconds.
func utcDay(micros int64) int32 {
	day := micros / dayMicros
	if micros%dayMicros < 0 {
		day--
	}
	return int32(day)
}

func (c *dayColumn) at(row int) (day int32, ok bool) {
	if c.vector == nil || c.vector.null(row) {
		return 0, false
	}
	return c.days[row], true
}

// accountColumn is a column seen as codes of its distinct values.
type accountColumn struct {
	vector *vector
	codes  []int32
	values texts   // text columns
	ints   []int64 // int64 columns
}

func (r *Rows) accounts(column int) (accountColumn, error) {
	if column < 0 {
		return accountColumn{}, nil
	}
	v := &r.vectors[column]
	c := accountColumn{vector: v}
	switch of := r.schema.Column(column); {
	case of.Type.Kind.IsText() && v.codes != nil:
		c.codes, c.values = v.codes, v.text
	case of.Type.Kind.IsText():
		c.codes = make([]int32, r.n)
		seen := make(map[string]int32)
		for i := range c.codes {
			if v.null(i) {
				continue
			}
			text := v.text.value(i)
			code, ok := seen[string(text)]
			if !ok {
				code = int32(len(seen))
				seen[string(text)] = code
				c.values.add(text)
			}
			c.codes[i] = code
		}
	case of.Type.Kind == Int64:
		c.codes = make([]int32, r.n)
		seen := make(map[int64]int32)
		for i, n := range v.ints {
			if v.null(i) {
				continue
			}
			code, ok := seen[n]
			if !ok {
				code = int32(len(seen))
				seen[n] = code
				c.ints = append(c.ints, n)
			}
			c.codes[i] = code
		}
	default:
		return accountColumn{}, fmt.Errorf("group rows: column %q is of type %s and names no account: name a string or int64 column", of.Name, of.Type)
	}
	return c, nil
}

// at is the row's code, or -1 when it has no account.
func (c *accountColumn) at(row int) int32 {
	if c.vector == nil || c.vector.null(row) {
		return -1
	}
	return c.codes[row]
}

func (c *accountColumn) len() int { return c.values.len() + len(c.ints) }

func (c *accountColumn) text(code int32) string {
	switch {
	case code < 0:
		return ""
	case c.ints != nil:
		return strconv.FormatInt(c.ints[code], 10)
	}
	return string(c.values.value(int(code)))
}

// pairs holds a number per distinct pair of day and account code: in a table
// over all days and codes while that is no larger than the rows deserve, in a
// map otherwise.
type pairs struct {
	first int64 // the first day of the table
	width int64 // accounts + 1
	table []int64
	other map[uint64]*int64
	none  map[int32]*int64 // without a day, when there is no table
}

func newPairs(days dayColumn, accounts accountColumn, rows int) *pairs {
	span := max(int64(days.hi)-int64(days.lo)+1, 0) + 1
	width := int64(accounts.len()) + 1
	p := &pairs{first: int64(days.lo), width: width}
	if limit := int64(4*rows) + 1024; span <= limit && width <= limit && span*width <= limit {
		p.table = make([]int64, span*width)
	} else {
		p.other, p.none = make(map[uint64]*int64), make(map[int32]*int64)
	}
	return p
}

// slot is the pair's number; 0 until it is set.
func (p *pairs) slot(day int32, hasDay bool, account int32) *int64 {
	if p.table != nil {
		line := int64(0)
		if hasDay {
			line = int64(day) - p.first + 1
		}
		return &p.table[line*p.width+int64(account)+1]
	}
	if !hasDay {
		return slotIn(p.none, account)
	}
	return slotIn(p.other, uint64(uint32(day))<<32|uint64(uint32(account)))
}

func slotIn[K comparable](m map[K]*int64, key K) *int64 {
	slot, ok := m[key]
	if !ok {
		slot = new(int64)
		m[key] = slot
	}
	return slot
}
