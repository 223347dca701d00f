package dispatcher

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
)

// restated is a partition as a restatement leaves it: its rows, or what becomes
// of it without any.
func restated(p *partition) string {
	switch {
	case p.gone:
		return "gone"
	case p.rows == 0:
		return "empty"
	}
	return fmt.Sprint(p.rows)
}

// row is a line of "day account"; without a day, of " account".
func row(text string) string {
	day, account, _ := strings.Cut(text, " ")
	if day == "" {
		return fmt.Sprintf(`{"account":%q,"n":1}`+"\n", account)
	}
	return fmt.Sprintf(`{"day":%q,"account":%q,"n":1}`+"\n", day, account)
}

func restate(t *testing.T, p *plan, covers *messages.Covers, rows []string) (*partitions, error) {
	t.Helper()
	c := commitOf("e")
	c.Covers = covers
	p.Schema = c.Schema
	ps, err := newPartitions(&c, p, scratch{})
	if err != nil {
		t.Fatal(err)
	}
	d := encoding.NewDecoder(c.Schema, encoding.DecodeOptions{}, func(rows *encoding.Rows) error {
		a, err := ps.arrange(rows)
		if err != nil {
			return err
		}
		return ps.keep([]*run{ps.scratch.inMemory(a)})
	})
	var body strings.Builder
	for _, r := range rows {
		body.WriteString(row(r))
	}
	if _, err := d.Decode(1, encoding.NDJSONInput, encoding.Plain, strings.NewReader(body.String())); err != nil {
		return nil, err
	}
	if err := d.Flush(); err != nil {
		return nil, err
	}
	return ps, ps.restate()
}

func planOf(change func(*messages.PinnedPlan)) *plan {
	p := &plan{PinnedPlan: messages.PinnedPlan{
		Folder: "/", FileName: "{{YYYY}}{{MM}}{{DD}}", By: "day", Undated: "reject", Empty: "keep", PartialMonth: "reject",
		File: messages.FileSpec{Format: encoding.CSV}, Time: time.Date(2024, 6, 20, 12, 0, 0, 0, time.UTC),
	}}
	if change != nil {
		change(&p.PinnedPlan)
	}
	return p
}

func TestRestatement(t *testing.T) {
	days := func(from, to string, accounts ...string) *messages.Covers {
		return &messages.Covers{From: from, To: to, Accounts: accounts}
	}
	monthly := func(p *messages.PinnedPlan) { p.FileName, p.By = "{{YYYY}}{{MM}}", "month" }
	deleting := func(p *messages.PinnedPlan) { p.Empty = "delete" }
	both := func(all ...func(*messages.PinnedPlan)) func(*messages.PinnedPlan) {
		return func(p *messages.PinnedPlan) {
			for _, f := range all {
				f(p)
			}
		}
	}
	byLoad := func(p *messages.PinnedPlan) { p.Undated = "load_date" }
	byAccount := func(p *messages.PinnedPlan) { p.FileName, p.Account = "{{account}}-{{YYYY}}{{MM}}{{DD}}", true }
	for _, c := range []struct {
		name   string
		plan   func(*messages.PinnedPlan)
		covers *messages.Covers
		rows   []string
		want   map[string]string
		fails  string // stands in the error
	}{
		{"nothing covered, nothing empty", deleting, nil, []string{"2024-06-18 a"}, map[string]string{"20240618.csv": "1"}, ""},
		{"kept", nil, days("2024-06-17", "2024-06-19"), []string{"2024-06-18 a"}, map[string]string{"20240618.csv": "1"}, ""},
		{"deleted", deleting, days("2024-06-17", "2024-06-19"), []string{"2024-06-18 a"},
			map[string]string{"20240617.csv": "gone", "20240618.csv": "1", "20240619.csv": "gone"}, ""},
		{"an empty file", func(p *messages.PinnedPlan) { p.Empty = "empty_file" }, days("2024-06-18", "2024-06-19"), nil,
			map[string]string{"20240618.csv": "empty", "20240619.csv": "empty"}, ""},
		{"files that accumulate replace nothing", both(deleting, func(p *messages.PinnedPlan) { p.FileName = "{{YYYY}}{{MM}}{{DD_today}}{{timestamp}}" }),
			days("2024-06-18", "2024-06-19"), nil, map[string]string{}, ""},
		{"accounts that are named", both(deleting, byAccount), days("2024-06-18", "2024-06-19", "b", "a"), []string{"2024-06-18 a"},
			map[string]string{"a-20240618.csv": "1", "a-20240619.csv": "gone", "b-20240618.csv": "gone", "b-20240619.csv": "gone"}, ""},
		{"accounts that are known", both(deleting, byAccount, func(p *messages.PinnedPlan) { p.Accounts = []string{"old"} }), days("2024-06-18", "2024-06-18"),
			[]string{"2024-06-18 a"}, map[string]string{"a-20240618.csv": "1", "old-20240618.csv": "gone"}, ""},
		{"accounts without days", both(deleting, func(p *messages.PinnedPlan) { p.FileName, p.Account = "{{account}}", true }), &messages.Covers{Accounts: []string{"a", "b"}},
			[]string{"2024-06-18 b"}, map[string]string{"a.csv": "gone", "b.csv": "1"}, ""},
		{"no day, and the load's is covered", byLoad, days("2024-06-18", "2024-06-20"), []string{"2024-06-18 a", " a"},
			map[string]string{"20240618.csv": "1", "20240620.csv": "1"}, ""},
		{"no day, and the load's is not covered", byLoad, days("2024-06-17", "2024-06-19"), []string{"2024-06-18 a", " a"}, nil,
			"the row has no date and is dated by the load (undated_rows: load_date): the row's day lies outside of the commit's covers: it is 2024-06-20"},
		{"no day, and keys have none", both(byLoad, func(p *messages.PinnedPlan) { p.FileName = "all" }), days("2024-06-17", "2024-06-19"), []string{"2024-06-18 a", " a"},
			map[string]string{"all.csv": "2"}, ""},
		{"a day that is not covered", nil, days("2024-06-17", "2024-06-18"), []string{"2024-06-18 a", "2024-06-19 a"}, nil,
			"row's day lies outside of the commit's covers: it is 2024-06-19, and covers has 2024-06-17 to 2024-06-18"},
		{"a day before the covered ones", nil, days("2024-06-18", "2024-06-18"), []string{"2024-02-29 a"}, nil, "it is 2024-02-29, and covers has 2024-06-18 to 2024-06-18"},
		{"an account that is not covered", nil, days("2024-06-17", "2024-06-18", "a"), []string{"2024-06-18 b"}, nil,
			`row's account is not among the accounts of the commit's covers: it is "b", and covers names "a"`},
		{"an account that is not among many", nil, days("2024-06-17", "2024-06-18", "f", "e", "d", "c", "a"), []string{"2024-06-18 b"}, nil, `it is "b", and covers names "a", "c", "d" and 2 more`},
		{"too many to look at", both(deleting, byAccount, func(p *messages.PinnedPlan) { p.Accounts = make([]string, 1000) }), days("2015-01-01", "2024-06-18"), nil, nil, "at most 200000"},

		{"a whole month by its rows", monthly, nil, []string{"2024-05-01 a", "2024-05-31 a"}, map[string]string{"202405.csv": "2"}, ""},
		{"a whole month by what is covered", monthly, days("2024-05-01", "2024-05-31"), []string{"2024-05-17 a"}, map[string]string{"202405.csv": "1"}, ""},
		{"a month that lacks its end", monthly, nil, []string{"2024-05-01 a", "2024-05-30 a"}, nil,
			"the file 202405.csv holds 2024-05-01 to 2024-05-31, and its rows of that time are 2024-05-01 to 2024-05-30"},
		{"a month that lacks its start", monthly, days("2024-05-02", "2024-06-19"), []string{"2024-05-02 a"}, nil, "the extraction covers 2024-05-02 to 2024-05-31"},
		{"this month up to yesterday", monthly, days("2024-06-01", "2024-06-19"), []string{"2024-06-03 a"}, map[string]string{"202406.csv": "1"}, ""},
		{"this month, but not yesterday", monthly, days("2024-06-01", "2024-06-18"), []string{"2024-06-03 a"}, nil, "would lose the other days"},
		{"part of a month where that is wanted", both(monthly, func(p *messages.PinnedPlan) { p.PartialMonth = "replace" }), nil, []string{"2024-05-07 a"},
			map[string]string{"202405.csv": "1"}, ""},
		{"part of a month planned by an older program", both(monthly, func(p *messages.PinnedPlan) { p.PartialMonth = "" }), nil, []string{"2024-05-07 a"},
			map[string]string{"202405.csv": "1"}, ""},
		{"a month that is gone", both(monthly, deleting), days("2024-04-01", "2024-05-31"), []string{"2024-05-07 a"},
			map[string]string{"202404.csv": "gone", "202405.csv": "1"}, ""},
		{"part of a month that is gone", both(monthly, deleting), days("2024-04-10", "2024-05-31"), []string{"2024-05-07 a"}, nil, "202404.csv holds 2024-04-01"},
		{"a file of all days is whole", both(monthly, func(p *messages.PinnedPlan) { p.FileName = "all" }), nil, []string{"2024-05-07 a"}, map[string]string{"all.csv": "1"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			ps, err := restate(t, planOf(c.plan), c.covers, c.rows)
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) {
					t.Fatalf("got %v, want an error with %q", err, c.fails)
				}
				what, f := verdict(t.Context(), err)
				if what != reject || f.Remedy == "" {
					t.Errorf("judged %v with remedy %q, want reject and what to do", what, f.Remedy)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for p, rows := range ps.all() {
				got[p.key] = restated(p)
				n := 0
				for r, err := range rows {
					if err != nil {
						t.Fatal(err)
					}
					n += r.len()
				}
				if int64(n) != p.rows {
					t.Errorf("%s: walked %d rows, want %d", p.key, n, p.rows)
				}
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("partitions (-want +got):\n%s", d)
			}
		})
	}
}

// TestSharedFiles: a load knows the accounts of its rows, and what the
// extraction is complete for.
func TestSharedFiles(t *testing.T) {
	set := func(names ...string) messages.AccountSet {
		var a messages.Accounts
		for _, n := range names {
			a.Add(n)
		}
		return a.Set()
	}
	for _, c := range []struct {
		name   string
		covers *messages.Covers
		want   messages.AccountSet
	}{
		{"nothing said", nil, ""},
		{"all accounts", &messages.Covers{From: "2024-06-18", To: "2024-06-18"}, messages.AllAccounts},
		{"some accounts", &messages.Covers{Accounts: []string{"a", "b", "c"}}, set("a", "b", "c")},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := planOf(nil)
			ps, err := restate(t, p, c.covers, []string{"2024-06-18 b", "2024-06-18 a", "2024-06-18 b"})
			if err != nil {
				t.Fatal(err)
			}
			commit := commitOf("e")
			commit.Covers = c.covers
			l := p.load(&extraction{Workspace: "ws", Extraction: "e", commit: &commit}, ps.list[0])
			if l.Part.Holds != set("a", "b") || l.Part.Covers != c.want {
				t.Errorf("holds %q covers %q, want %q and %q", l.Part.Holds, l.Part.Covers, set("a", "b"), c.want)
			}
		})
	}
}

// TestEmptyFiles: a file without rows is a valid one, in every format.
func TestEmptyFiles(t *testing.T) {
	schema := commitOf("e").Schema
	b, err := encoding.MarshalRows(encoding.NoRows(schema))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := encoding.UnmarshalRows(b)
	if err != nil {
		t.Fatal(err)
	}
	if rows.Len() != 0 || !rows.Schema().Equal(schema) {
		t.Fatalf("%d rows of %v", rows.Len(), rows.Schema().Columns())
	}
	for _, f := range encoding.Formats() {
		var without, with bytes.Buffer
		for out, parts := range map[*bytes.Buffer][]*encoding.Rows{&without: nil, &with: {rows}} {
			w, err := encoding.NewWriter(out, schema, encoding.FileOptions{Format: f})
			if err != nil {
				t.Fatal(err)
			}
			for _, part := range parts {
				err = errors.Join(err, w.Write(part))
			}
			if err := errors.Join(err, w.Close()); err != nil {
				t.Fatalf("%s: %v", f, err)
			}
		}
		if !bytes.Equal(without.Bytes(), with.Bytes()) {
			t.Errorf("%s: zero rows written give another file than none", f)
		}
	}
}

// TestEmptiedPartitionsAreLoads: what became empty is dispatched as loads like
// any other.
func TestEmptiedPartitionsAreLoads(t *testing.T) {
	w := newWorld(t)
	w.start(w.Queue, quick())
	for _, policy := range []destination.EmptyPartition{destination.EmptyFile, destination.DeleteEmpty} {
		t.Run(string(policy), func(t *testing.T) {
			c := commitOf("e-" + string(policy))
			c.Destination = "acme-" + string(policy)
			c.Covers = &messages.Covers{From: "2024-06-17", To: "2024-06-18"}
			w.apply(func(s *destination.Settings) { s.ID, s.EmptyPartition = c.Destination, policy })
			w.extract(c, batch{body: row("2024-06-18 a"), rows: 1})
			plan := w.dispatched(c.Extraction)
			loads := w.loads(c.Extraction)
			if d := cmp.Diff([]string{"out/orders-20240617.csv", "out/orders-20240618.csv"}, keys(loads)); d != "" || plan.Loads != 2 {
				t.Fatalf("plan %+v, keys (-want +got):\n%s", plan, d)
			}
			l := loads[0]
			if l.Rows != 0 || l.Part.From != "2024-06-17" || l.Delete != (policy == destination.DeleteEmpty) {
				t.Errorf("the emptied partition is %+v", l.Load)
			}
			if !l.Delete && w.rows(l).Len() != 0 {
				t.Errorf("%d rows in an empty file", w.rows(l).Len())
			}
		})
	}
}

// TestEmptyOfSharedFile: a partition that became empty for some accounts says
// so, and its load does not take along what others have in the file.
func TestEmptyOfSharedFile(t *testing.T) {
	ps, err := restate(t, planOf(func(p *messages.PinnedPlan) { p.Empty = "delete" }),
		&messages.Covers{From: "2024-06-18", To: "2024-06-18", Accounts: []string{"a"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := commitOf("e")
	c.Covers = &messages.Covers{From: "2024-06-18", To: "2024-06-18", Accounts: []string{"a"}}
	l := planOf(nil).load(&extraction{Extraction: "e", Workspace: "ws", commit: &c}, ps.list[0])
	var others messages.Accounts
	others.Add("a")
	others.Add("b")
	if !l.Delete || l.Part.Lacks(others.Set()) != 1 {
		t.Errorf("load %+v, want a deletion that does not speak for account b", l)
	}
}
