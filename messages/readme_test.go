package messages

import (
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// readmeTables are the tables of README.md that stand under a comment, by that
// comment: the first cell of each row, and the rest.
func readmeTables(t *testing.T) map[string][][2]string {
	t.Helper()
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	tables := map[string][][2]string{}
	var name string
	rows := 0
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if c, ok := strings.CutPrefix(line, "<!-- "); ok {
			name, rows = strings.TrimSuffix(c, " -->"), 0
			continue
		}
		if name == "" || !strings.HasPrefix(line, "|") {
			name = ""
			continue
		}
		if rows++; rows > 2 { // the heading and its rule
			first, rest, _ := strings.Cut(strings.Trim(line, "| "), " | ")
			tables[name] = append(tables[name], [2]string{strings.Trim(first, "`"), rest})
		}
	}
	return tables
}

// jsonFields are the JSON names of a struct's fields; a * marks those that
// may be left out.
func jsonFields(v any) []string {
	var names []string
	for f := range reflect.TypeOf(v).Fields() {
		name, option, _ := strings.Cut(f.Tag.Get("json"), ",")
		if option != "" {
			name += "*"
		}
		names = append(names, name)
	}
	return names
}

// schemaFields are the names of an object's properties in a schema; a * marks
// those that are not required.
func schemaFields(t *testing.T, text, def string) []string {
	t.Helper()
	type object struct {
		Required   []string
		Properties map[string]any
	}
	var doc struct {
		object
		Defs map[string]object `json:"$defs"`
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(text), &doc.object); err != nil {
		t.Fatal(err)
	}
	o := doc.object
	if def != "" {
		o = doc.Defs[def]
	}
	var names []string
	for name := range o.Properties {
		if !slices.Contains(o.Required, name) {
			name += "*"
		}
		names = append(names, name)
	}
	return names
}

// TestOneListOfFields: README, Go struct and JSON Schema name the same fields
// and the same ones as required.
func TestOneListOfFields(t *testing.T) {
	tables := readmeTables(t)
	for _, c := range []struct {
		table  string // in README; "" when readers outside never see it
		schema string
		def    string
		value  any
	}{
		{"fields: commit", CommitSchema, "", Commit{}},
		{"fields: commit column", CommitSchema, "column", struct {
			Name string `json:"name"`
			Type string `json:"type"`
		}{}},
		{"fields: commit file", CommitSchema, "file", StagedFile{}},
		{"fields: commit covers", CommitSchema, "covers", Covers{}},
		{"fields: commit batch", CommitSchema, "batch", BatchManifest{}},
		{"fields: event", EventSchema, "", Event{}},
		{"fields: event plan", EventSchema, "plan", Plan{}},
		{"fields: event count", EventSchema, "count", Count{}},
		{"fields: event outcome", EventSchema, "outcome", Outcome{}},
		{"fields: event failure", EventSchema, "failure", Failure{}},
		{"fields: dead-letter", DeadLetterSchema, "", DeadLetter{}},
		{"fields: dead-letter attempt", DeadLetterSchema, "attempt", Attempt{}},
		{"", DeadLetterSchema, "failure", Failure{}},
		{"", LoadSchema, "", Load{}},
		{"", LoadSchema, "file", FileSpec{}},
		{"", LoadSchema, "partition", Partition{}},
		{"", LoadSchema, "manifest", Manifest{}},
		{"", LoadSchema, "rows", RowsRef{}},
		{"", LoadSchema, "slice", SliceRef{}},
		{"", LoadSchema, "replay", ReplayMark{}},
	} {
		t.Run(c.table+" "+c.def, func(t *testing.T) {
			want := jsonFields(c.value)
			if c.table != "" {
				var told []string
				for _, row := range tables[c.table] {
					name := row[0]
					if !strings.HasPrefix(row[1], "required") && !strings.HasPrefix(row[1], "always") {
						name += "*"
					}
					told = append(told, name)
				}
				if d := cmp.Diff(want, told); d != "" {
					t.Errorf("README against %T (-struct +README):\n%s", c.value, d)
				}
				delete(tables, c.table)
			}
			schema := schemaFields(t, c.schema, c.def)
			slices.Sort(want)
			slices.Sort(schema)
			if d := cmp.Diff(want, schema); d != "" {
				t.Errorf("schema against %T (-struct +schema):\n%s", c.value, d)
			}
		})
	}
	var headers []string
	for _, row := range tables["fields: batch"] {
		headers = append(headers, row[0])
	}
	if d := cmp.Diff([]string{HeaderMsgID, HeaderBatch, HeaderContentType, HeaderEncoding, HeaderVersion, HeaderRows, HeaderWorkspace}, headers); d != "" {
		t.Errorf("README's headers of a batch (-want +got):\n%s", d)
	}
	delete(tables, "fields: batch")
	var reasons [][2]string
	for _, r := range Reasons() {
		reasons = append(reasons, [2]string{string(r), r.Remedy()})
	}
	if d := cmp.Diff(reasons, tables["reasons"]); d != "" {
		t.Errorf("README's reasons (-want +got):\n%s", d)
	}
	delete(tables, "reasons")
	for name := range tables {
		t.Errorf("README's table %q is not checked", name)
	}
	if d := cmp.Diff(jsonNames(Commit{}), commitFields); d != "" {
		t.Errorf("the parser's fields (-Commit +parser):\n%s", d)
	}
}

func jsonNames(v any) []string {
	names := jsonFields(v)
	for i := range names {
		names[i] = strings.TrimSuffix(names[i], "*")
	}
	return names
}

// TestEnumsOfTheSchemas: a value that Go knows and a schema does not would be
// refused by readers in other languages.
func TestEnumsOfTheSchemas(t *testing.T) {
	quote := func(list any) string {
		b, err := json.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	compact := func(text string) string {
		var v any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		return quote(v)
	}
	for _, c := range []struct{ name, schema, list string }{
		{"reasons of events", EventSchema, quote(Reasons())},
		{"reasons of dead letters", DeadLetterSchema, quote(Reasons())},
		{"kinds", EventSchema, quote(EventKinds())},
		{"results", EventSchema, quote(Results())},
		{"lanes", LoadSchema, quote(Lanes())},
		{"forms of manifests", LoadSchema, quote(ManifestForms())},
		{"stages", DeadLetterSchema, quote([]Stage{StageDispatch, StageLoad})},
	} {
		if !strings.Contains(compact(c.schema), `"enum":`+c.list) {
			t.Errorf("%s: the schema lacks the enum %s", c.name, c.list)
		}
	}
}
