package dispatcher

import (
	"fmt"
	"strings"
	"testing"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
)

// schemaOf reads "a:int64 b:date".
func schemaOf(t *testing.T, text string) *encoding.Schema {
	t.Helper()
	var columns []encoding.Column
	for _, field := range strings.Fields(text) {
		name, kind, _ := strings.Cut(field, ":")
		of, err := encoding.ParseType(kind)
		if err != nil {
			t.Fatal(err)
		}
		columns = append(columns, encoding.Column{Name: name, Type: of})
	}
	s, err := encoding.NewSchema(columns)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Each policy, with columns that come, go and change, declared and inferred.
func TestSchemaDrift(t *testing.T) {
	w := newWorld(t)
	for id, policy := range map[string]destination.SchemaDrift{"old": "", "add": destination.AddColumns, "freeze": destination.FreezeSchema, "reject": destination.RejectDrift} {
		w.apply(func(s *destination.Settings) { s.ID, s.SchemaDrift = id, policy })
	}
	w.start(w.Queue, quick())
	const table = "day:date n:int64 x:decimal(10,2)"
	for _, test := range []struct {
		name, id, schema, row string // schema "" is inferred
		files                 string // the columns of the file
		ignored               string
		reason                messages.Reason
		says                  []string
	}{
		{"as ever", "old", "day:date y:bool", `{"day":"2024-06-18","y":true}`, "day:date y:bool", "", "", nil},
		{"added", "add", "day:date y:bool", `{"day":"2024-06-18","y":true}`, "day:date y:bool", "", "", nil},
		{"changed", "add", "day:date n:string", `{"day":"2024-06-18","n":"a"}`, "day:date n:string", "", "", nil},
		{"more", "freeze", "day:date y:bool n:int64 z:date", `{"day":"2024-06-18","y":true,"n":1}`, table, "y, z", "", nil},
		{"inferred", "freeze", "", `{"day":"2024-06-18","y":true,"x":1}`, table, "y", "", nil},
		{"fewer", "freeze", "", `{"day":"2024-06-18"}`, table, "", "", nil},
		{"unfit", "freeze", "", `{"day":"2024-06-18","n":"many"}`, "", "", messages.ReasonBadRow, []string{"many"}},
		{"new", "reject", "day:date y:bool n:string", `{"day":"2024-06-18","y":true}`, "", "", messages.ReasonDrift,
			[]string{`column "y" (bool) is new`, `column "n" is string, and the table's is int64`}},
		{"one new", "reject", "", `{"day":"2024-06-18","y":true}`, "", "", messages.ReasonDrift, []string{`column "y" (bool) is new`}},
		{"narrower", "reject", "x:int64 day:date", `{"day":"2024-06-18","x":3}`, "", "", messages.ReasonDrift, []string{`"x" is int64`}},
		{"inside", "reject", "x:decimal(4,1) day:date", `{"day":"2024-06-18","x":3.5}`, table, "", "", nil},
	} {
		t.Run(test.id+" "+test.name, func(t *testing.T) {
			w.t = t
			id := test.id + strings.ReplaceAll(test.name, " ", "")
			first := commitOf(id + "-first")
			first.Destination, first.Filename, first.AccountColumn, first.Schema = test.id, id, "", schemaOf(t, table)
			w.extract(first, batch{body: `{"day":"2024-06-18","n":1}` + "\n", rows: 1})
			w.dispatched(first.Extraction)
			next := first
			next.Extraction, next.Schema = id+"-next", nil
			if test.schema != "" {
				next.Schema = schemaOf(t, test.schema)
			}
			w.extract(next, batch{body: test.row + "\n", rows: 1})
			e := w.await(next.Extraction, messages.EventDispatched, messages.EventFailed)
			if test.reason != "" {
				if e.Failure == nil || e.Failure.Reason != test.reason {
					t.Fatalf("got %+v, want a failure for %s", e, test.reason)
				}
				for _, text := range test.says {
					if !strings.Contains(e.Failure.Message, text) {
						t.Errorf("message %q, want in it %q", e.Failure.Message, text)
					}
				}
				return
			}
			if e.Failure != nil {
				t.Fatalf("got failure %+v", *e.Failure)
			}
			loads := w.loads(next.Extraction)
			if len(loads) != 1 || !w.rows(loads[0]).Schema().Equal(schemaOf(t, test.files)) {
				t.Errorf("got loads %q, columns %v, want %s", keys(loads), w.rows(loads[0]).Schema().Columns(), test.files)
			}
			if got := strings.Join(e.Notes, ""); (test.ignored == "") != (got == "") || !strings.HasSuffix(got, test.ignored) {
				t.Errorf("notes: got %q, want %q", got, test.ignored)
			}
		})
	}
	// What a table has had is remembered, by whichever policy.
	w.t = t
	known, _, err := w.TableSchema(w.within(), "add", "ws", "addchanged")
	if err != nil || known == nil {
		t.Fatalf("known: got %v, %v", known, err)
	}
	if !known.Schema.Equal(schemaOf(t, "day:date n:string x:decimal(10,2)")) {
		t.Errorf("known: got %v", known.Schema.Columns())
	}
}

// A table that has had as many columns as are remembered goes on loading, and
// its policy decides as ever.
func TestSchemaDriftOfAWideTable(t *testing.T) {
	w := newWorld(t)
	var text strings.Builder
	text.WriteString("day:date")
	for i := range encoding.MaxColumns - 1 {
		fmt.Fprintf(&text, " c%d:int64", i)
	}
	table := schemaOf(t, text.String())
	w.start(w.Queue, quick())
	for _, test := range []struct {
		policy  destination.SchemaDrift
		sidecar bool
		files   *encoding.Schema // nil: the extraction fails as drift
	}{
		{"", false, schemaOf(t, "day:date x:bool")},
		{destination.AddColumns, true, schemaOf(t, "day:date x:bool")},
		{destination.FreezeSchema, false, table},
		{destination.RejectDrift, false, nil},
	} {
		t.Run(string(test.policy), func(t *testing.T) {
			w.t = t
			id := "wide" + string(test.policy)
			w.apply(func(s *destination.Settings) { s.ID, s.SchemaDrift, s.SchemaSidecar = id, test.policy, test.sidecar })
			if err := w.PutTableSchema(w.within(), id, "ws", "orders", &messages.TableSchema{Schema: table, Extraction: "years"}, 0); err != nil {
				t.Fatal(err)
			}
			c := commitOf(id)
			c.Destination, c.AccountColumn, c.Schema = id, "", schemaOf(t, "day:date x:bool")
			w.extract(c, batch{body: `{"day":"2024-06-18","x":true}` + "\n", rows: 1})
			e := w.await(id, messages.EventDispatched, messages.EventFailed)
			known, _, err := w.TableSchema(w.within(), id, "ws", "orders")
			if err != nil || !known.Schema.Equal(table) {
				t.Errorf("known: got other columns than before, or %v", err)
			}
			if test.files == nil {
				if e.Failure == nil || e.Failure.Reason != messages.ReasonDrift || e.Failure.Remedy == "" {
					t.Errorf("got %+v, want a failure for %s with a remedy", e, messages.ReasonDrift)
				}
				return
			}
			if e.Failure != nil {
				t.Fatalf("got failure %+v", *e.Failure)
			}
			if loads := w.loads(id); !w.rows(loads[0]).Schema().Equal(test.files) {
				t.Errorf("got loads %q of %d columns, want %d", keys(loads), w.rows(loads[0]).Schema().Len(), test.files.Len())
			}
		})
	}
}
