package destination

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// MaxKey is the longest key S3 takes, in bytes.
const MaxKey = 1024

// Naming renders the keys of a destination. It is compiled once, does not
// change, and may be used by many goroutines.
//
// What it promises. A key is the rendered folder, "/", the rendered file name
// and the format's extension, with no leading slash, no "//" and no level "."
// or "..". Within one extraction, where only date and account vary, two
// partitions share a key only if they agree in every variable the templates
// name: the date variables have a fixed width and the account is the only one
// that has not, so equal keys mean equally long accounts, hence the same
// variables at the same places. That holds with no separator at all. Between
// extractions (other tables, other workspaces) it holds for variables that have
// a "/" or another always escaped character between them; side by side, as in
// {{data_source}}{{report_type}}, "ab" and "c" meet "a" and "bc", and
// [Settings.Warnings] says so. Keys that differ in letter case only are different.
type Naming struct {
	pieces    []piece
	byAccount bool
	byMonth   bool
	timed     bool
	has       [timestamp + 1]bool
	folder    string // its constant leading part
}

// Names are what an extraction and its load bring to a key.
type Names struct {
	WorkspaceID    string
	WorkspaceTitle string
	DataSource     string
	DataTableTitle string
	ReportType     string
	Filename       string    // the destination table's name
	Load           time.Time // when the load started: "today" and the time of the load, in UTC
}

// KeyError says why a partition has no key. It is the row's or the commit's
// trouble, never a passing one.
type KeyError struct {
	Key    string // as far as it was rendered
	Reason string
	Empty  string // the variable that has no value, if that is why, as data_source
}

func emptyName(key []byte, v value) *KeyError {
	name := v.name()
	return &KeyError{Key: string(key), Reason: "{{" + name + "}} is empty, and a key cannot hold an empty name", Empty: name}
}

func (e *KeyError) Error() string { return "key " + shown(e.Key) + ": " + e.Reason }

// Naming compiles the templates. The error is that of [ParseTemplate]; settings
// that Parse took have none.
func (s *Settings) Naming() (*Naming, error) {
	folder, err := ParseTemplate(Folder, s.Folder)
	if err != nil {
		return nil, fmt.Errorf("name keys of destination %s: %w", s.ID, err)
	}
	name, err := ParseTemplate(FileName, s.FileName)
	if err != nil {
		return nil, fmt.Errorf("name keys of destination %s: %w", s.ID, err)
	}
	n := &Naming{byAccount: s.LoadByAccount, byMonth: s.PartitionBy == ByMonth}
	n.append(folder.pieces...)
	if len(folder.pieces) > 0 {
		n.append(piece{text: "/"})
		n.folder = n.Prefix()
	}
	n.append(name.pieces...)
	n.append(piece{text: s.FileFormat.Extension()})
	return n, nil
}

// append adds pieces, joining literals.
func (n *Naming) append(pieces ...piece) {
	for _, p := range pieces {
		n.has[p.value] = true
		n.timed = n.timed || p.value.timed()
		if last := len(n.pieces) - 1; p.value == literal && last >= 0 && n.pieces[last].value == literal {
			n.pieces[last].text += p.text
			continue
		}
		n.pieces = append(n.pieces, p)
	}
}

// Key renders the key of a partition: day counts days since 1970-01-01, account
// is used only when [Naming.ByAccount]. The error is a [*KeyError]: the key is
// over [MaxKey] bytes, a name or the account is empty, or a date is outside of
// the years 1 to 9999.
func (n *Naming) Key(names Names, partitionDay int32, accountName string) (string, error) {
	var room [MaxKey + 64]byte // on the stack: only the result is allocated
	key := room[:0]
	date := civil(partitionDay)
	if n.Dated() && !date.valid() {
		return "", &KeyError{Reason: fmt.Sprintf("the date %d days from 1970-01-01 is outside of the years 1 to 9999", partitionDay)}
	}
	var load instant
	if n.timed {
		load = instantOf(names.Load)
		if !load.valid() {
			return "", &KeyError{Reason: "the load's start is not known or outside of the years 1 to 9999"}
		}
	}
	for i := range n.pieces {
		p := &n.pieces[i]
		text := ""
		switch p.value {
		case literal:
			key = append(key, p.text...)
			continue
		case workspaceID:
			text = names.WorkspaceID
		case workspaceTitle:
			text = names.WorkspaceTitle
		case dataSource:
			text = names.DataSource
		case dataTableTitle:
			text = names.DataTableTitle
		case reportType:
			text = names.ReportType
		case filename:
			text = names.Filename
		case account:
			text = accountName
		default:
			key = load.append(key, p.value, date)
			continue
		}
		if text == "" {
			return "", emptyName(key, p.value)
		}
		key = appendEscaped(key, text)
	}
	if len(key) > MaxKey {
		return "", &KeyError{Key: string(key), Reason: fmt.Sprintf("it is %d bytes long, and S3 takes no more than %d", len(key), MaxKey)}
	}
	return string(key), nil
}

// ByAccount reports whether partitions are told apart by account.
func (n *Naming) ByAccount() bool { return n.byAccount }

// ByMonth reports whether the destination is partitioned by month.
func (n *Naming) ByMonth() bool { return n.byMonth }

// Dated reports whether keys depend on the partition's date.
func (n *Naming) Dated() bool { return n.has[year] || n.has[month] || n.has[day] }

// Timed reports whether keys depend on when the load started, so that files
// accumulate.
func (n *Naming) Timed() bool { return n.timed }

// BySecond reports whether keys tell loads apart by the second in which they started.
func (n *Naming) BySecond() bool { return n.has[second] || n.has[timestamp] }

// Prefix is the constant leading part of every file's key, "" if there is none. What
// goes beside the files may lie outside of it: see [Settings.Prefix].
func (n *Naming) Prefix() string {
	if n.pieces[0].value == literal {
		return n.pieces[0].text
	}
	return ""
}

// Prefix is the constant leading part of every key that the destination writes: of
// its files, and of the manifests and sidecars beside them. The error is that of
// Naming.
func (s *Settings) Prefix() (string, error) {
	n, err := s.Naming()
	switch {
	case err != nil:
		return "", err
	case s.SchemaSidecar:
		return n.tablesPrefix(), nil
	case s.Manifest:
		return n.folder, nil
	}
	return n.Prefix(), nil
}

// tablesPrefix is the constant leading part of the folders of all tables, as
// TableFolder gives them: no level of theirs hangs on a row.
func (n *Naming) tablesPrefix() string {
	whole := n.folder[:strings.LastIndexByte(n.folder, '/')+1]
	for _, p := range n.pieces[min(1, len(n.folder)):] {
		switch {
		case p.value == literal && strings.Contains(p.text, "/"):
			return n.folder
		case p.value >= account:
			return whole
		}
	}
	return whole
}

// Span gives the first and the last of the days that share this day's key: the
// day itself, its month, its year, or all days. ok is false when they are not
// one run of days (as with {{DD}} alone) or the day has no key.
func (n *Naming) Span(partitionDay int32) (from, to int32, ok bool) {
	d := civil(partitionDay)
	if !d.valid() {
		return 0, 0, false
	}
	switch y, m, dd := n.has[year], n.has[month], n.has[day]; {
	case y && m && dd:
		return partitionDay, partitionDay, true
	case y && m:
		return dayOf(d.year, d.month, 1), dayOf(d.year, d.month+1, 1) - 1, true
	case y && !m && !dd:
		return dayOf(d.year, 1, 1), dayOf(d.year+1, 1, 1) - 1, true
	case !y && !m && !dd:
		return dayOf(1, 1, 1), dayOf(10000, 1, 1) - 1, true
	}
	return 0, 0, false
}

// Sampled is a key of a preview with the dates (YYYY-MM-DD) and the account it
// was rendered for.
type Sampled struct {
	Key     string   `json:"key"`
	Days    []string `json:"days"`
	Account string   `json:"account,omitempty"`
}

// Sample renders the keys of a few days before the load, the last of the month
// before among them, for the accounts. Names that are empty, a zero load and
// missing accounts are made up, so that Sample(Names{}) shows the shape of a
// destination that has never been loaded.
func (n *Naming) Sample(names Names, accounts ...string) ([]Sampled, error) {
	made := Names{
		WorkspaceID: "ws1", WorkspaceTitle: "Main group", DataSource: "google_ads", DataTableTitle: "Campaigns daily",
		ReportType: "campaign_performance", Filename: "campaigns", Load: time.Date(2024, 6, 20, 12, 15, 17, 0, time.UTC),
	}
	for _, f := range []struct{ to, from *string }{
		{&names.WorkspaceID, &made.WorkspaceID}, {&names.WorkspaceTitle, &made.WorkspaceTitle}, {&names.DataSource, &made.DataSource},
		{&names.DataTableTitle, &made.DataTableTitle}, {&names.ReportType, &made.ReportType}, {&names.Filename, &made.Filename},
	} {
		if *f.to == "" {
			*f.to = *f.from
		}
	}
	if names.Load.IsZero() {
		names.Load = made.Load
	}
	switch {
	case !n.byAccount:
		accounts = []string{""}
	case len(accounts) == 0:
		accounts = []string{"123-456-7890", "Müller / EU"}
	}
	load := names.Load.UTC()
	today := dayOf(load.Year(), int(load.Month()), load.Day())
	days := []int32{dayOf(load.Year(), int(load.Month()), 1) - 1, today - 2, today - 1}
	if days[0] >= days[1] {
		days = days[1:]
	}
	var out []Sampled
	at := map[string]int{}
	for _, a := range accounts {
		for _, d := range days {
			key, err := n.Key(names, d, a)
			if err != nil {
				return nil, fmt.Errorf("sample keys: %w", err)
			}
			i, seen := at[key]
			if !seen {
				i = len(out)
				at[key] = i
				out = append(out, Sampled{Key: key, Account: a})
			}
			out[i].Days = append(out[i].Days, civil(d).String())
		}
	}
	return out, nil
}

// Sample is [Naming.Sample] in a workspace that may load here: without an id, and
// when only some may, it is the first of them.
func (s *Settings) Sample(names Names, accounts ...string) ([]Sampled, error) {
	n, err := s.Naming()
	if err != nil {
		return nil, err
	}
	if names.WorkspaceID == "" && len(s.Workspaces) > 0 {
		names.WorkspaceID = s.Workspaces[0]
	}
	return n.Sample(names, accounts...)
}

// date is a day of the proleptic Gregorian calendar.
type date struct{ year, month, day int }

const secondsPerDay = 24 * 60 * 60

func civil(day int32) date {
	y, m, d := time.Unix(int64(day)*secondsPerDay, 0).UTC().Date()
	return date{y, int(m), d}
}

// dayOf counts the days since 1970-01-01; a month beyond 12 is the next year's.
func dayOf(year, month, day int) int32 {
	n := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC).Unix() / secondsPerDay
	return int32(max(math.MinInt32, min(n, math.MaxInt32)))
}

func (d date) valid() bool    { return d.year >= 1 && d.year <= 9999 }
func (d date) String() string { return fmt.Sprintf("%04d-%02d-%02d", d.year, d.month, d.day) }

// instant is the load's start, taken apart.
type instant struct {
	date
	hour, minute, second int
}

func instantOf(t time.Time) instant {
	if t.IsZero() {
		return instant{}
	}
	t = t.UTC()
	y, m, d := t.Date()
	h, min, s := t.Clock()
	return instant{date{y, int(m), d}, h, min, s}
}

// append renders a date or time variable; partition is the partition's date.
func (l instant) append(key []byte, v value, partition date) []byte {
	switch v {
	case year:
		return digits(key, partition.year, 4)
	case month:
		return digits(key, partition.month, 2)
	case day:
		return digits(key, partition.day, 2)
	case todayYear:
		return digits(key, l.year, 4)
	case todayMonth:
		return digits(key, l.month, 2)
	case todayDay:
		return digits(key, l.day, 2)
	case hour:
		return digits(key, l.hour, 2)
	case minute:
		return digits(key, l.minute, 2)
	case second:
		return digits(key, l.second, 2)
	case timestamp:
		key = digits(digits(digits(key, l.year, 4), l.month, 2), l.day, 2)
		key = append(key, 'T')
		key = digits(digits(digits(key, l.hour, 2), l.minute, 2), l.second, 2)
		return append(key, 'Z')
	}
	return key
}

// digits appends n with leading zeros.
func digits(dst []byte, n, width int) []byte {
	const zeros = "0000"
	start := len(dst)
	dst = append(dst, zeros[:width]...)
	for i := start + width - 1; i >= start; i-- {
		dst[i] = byte('0' + n%10)
		n /= 10
	}
	return dst
}
