package messages

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/loadfleet/loadfleet/encoding"
)

const (
	hashA = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
	hashB = "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752"
)

// schemas compares schemas of which either may be absent.
var schemas = cmp.Comparer(func(a, b *encoding.Schema) bool {
	return a == b || a != nil && b != nil && a.Equal(b)
})

// goodCommit is a document of which tests spoil one field after another.
func goodCommit() map[string]any {
	return map[string]any{
		"version": 1, "extraction": "x1", "workspace_id": "acme", "destination": "lake", "filename": "ads",
		"schema": []any{
			map[string]any{"name": "day", "type": "date"},
			map[string]any{"name": "account", "type": "string"},
			map[string]any{"name": "spend", "type": "decimal(18,6)"},
		},
		"date_column": "day", "account_column": "account",
		"generation": 1718886937000,
		"rows":       5,
		"batches":    []any{map[string]any{"rows": 2, "sha256": hashA}, map[string]any{"rows": 3, "sha256": hashB}},
	}
}

func document(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func testSchema(t testing.TB, columns ...string) *encoding.Schema {
	t.Helper()
	var list []encoding.Column
	for _, c := range columns {
		name, typ, _ := strings.Cut(c, " ")
		parsed, err := encoding.ParseType(typ)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, encoding.Column{Name: name, Type: parsed})
	}
	s, err := encoding.NewSchema(list)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestParseCommitFillsDefaults(t *testing.T) {
	got, err := ParseCommit("commit.acme.x1", document(t, goodCommit()))
	if err != nil {
		t.Fatal(err)
	}
	want := Commit{
		Version: 1, Extraction: "x1", WorkspaceID: "acme", Destination: "lake", Filename: "ads",
		Schema:         testSchema(t, "day date", "account string", "spend decimal(18,6)"),
		UnknownColumns: RejectUnknown, DateColumn: "day", AccountColumn: "account",
		Generation: 1718886937000, Lane: Fresh, Rows: 5,
		Batches: []BatchManifest{{Rows: 2, SHA256: hashA}, {Rows: 3, SHA256: hashB}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("ParseCommit (-want +got):\n%s", d)
	}
}

// spoilt is a way to get a commit wrong.
type spoilt struct {
	name   string
	spoil  func(map[string]any)
	fields []string // of the mistakes, in order
	reason Reason
	says   string // stands in the error's text
}

// stagedFile is a file of two rows as a commit lists it.
func stagedFile(name string) map[string]any {
	return map[string]any{"name": name, "rows": 2, "bytes": 20, "sha256": strings.Repeat("a", 64), "format": "ndjson"}
}

func spoiltCommits() []spoilt {
	return []spoilt{
		{"missing version", func(m map[string]any) { delete(m, "version") }, []string{"version"}, ReasonInvalidCommit, "version: missing (write 1)"},
		{"version zero", set("version", 0), []string{"version"}, ReasonInvalidCommit, "there is no version 0"},
		{"version as text", set("version", "1"), []string{"version"}, ReasonInvalidCommit, "a string where a number belongs"},
		{"null is absent", set("destination", nil), []string{"destination"}, ReasonInvalidCommit, "missing"},
		{"empty destination", set("destination", ""), []string{"destination"}, ReasonInvalidCommit, "cannot be an id"},
		{"destination with a dot", set("destination", "a.b"), []string{"destination"}, ReasonInvalidCommit, `"a.b" cannot be an id`},
		{"empty filename", set("filename", ""), []string{"filename"}, ReasonInvalidCommit, "filename: empty"},
		{"long filename", set("filename", strings.Repeat("n", MaxName+1)), []string{"filename"}, ReasonInvalidCommit, "1025 bytes long"},
		{"another workspace", set("workspace_id", "rival"), []string{"workspace_id"}, ReasonWorkspace, `"rival" is not the subject's, which is "acme"`},
		{"another extraction", set("extraction", "x2"), []string{"extraction"}, ReasonWorkspace, `"x2" is not the subject's, which is "x1"`},
		{"unknown field", set("date_colum", "day"), []string{"date_colum"}, ReasonInvalidCommit, "did you mean date_column?"},
		{"camel case", set("dateColumn", "day"), []string{"dateColumn"}, ReasonInvalidCommit, "did you mean date_column?"},
		{"other case", set("Rows", 5), []string{"Rows"}, ReasonInvalidCommit, "did you mean rows?"},
		{"prefix", set("workspace", "acme"), []string{"workspace"}, ReasonInvalidCommit, "did you mean workspace_id?"},
		{"nothing near", set("colour", "red"), []string{"colour"}, ReasonInvalidCommit, "take it out"},
		{"zero generation", set("generation", 0), []string{"generation"}, ReasonInvalidCommit, "0 is not above zero"},
		{"fractional generation", set("generation", 1.5), []string{"generation"}, ReasonInvalidCommit, "1.5 is not a whole number"},
		{"huge generation", set("generation", json.Number("9223372036854775808")), []string{"generation"}, ReasonInvalidCommit, "does not fit 64 bits"},
		{"replay lane", set("lane", "replay"), []string{"lane"}, ReasonInvalidCommit, "write fresh or backfill"},
		{"unknown policy", set("unknown_columns", "drop"), []string{"unknown_columns"}, ReasonInvalidCommit, "write reject or ignore"},
		{"date column not in schema", set("date_column", "dya"), []string{"date_column"}, ReasonInvalidCommit, "did you mean day?"},
		{"date column of a wrong type", set("date_column", "spend"), []string{"date_column"}, ReasonInvalidCommit, `column "spend" is of type decimal(18,6) (declare it date or timestamp`},
		{"account column of a wrong type", set("account_column", "spend"), []string{"account_column"}, ReasonInvalidCommit, "declare it string or int64"},
		{"one column for both", set("account_column", "day"), []string{"account_column"}, ReasonInvalidCommit, `"day" is the date_column`},
		{"empty schema", set("schema", []any{}), []string{"schema"}, ReasonInvalidCommit, "at least one column"},
		{"schema as object", set("schema", map[string]any{}), []string{"schema"}, ReasonInvalidCommit, "an object where a list belongs"},
		{"bad columns", set("schema", []any{
			map[string]any{"name": "day", "type": "dat"}, map[string]any{"type": "date"}, "spend",
			map[string]any{"name": "day", "type": "date", "nullable": true},
		}), []string{"schema[0].type", "schema[1].name", "schema[2]", "schema[3].nullable", "schema[3].name"}, ReasonInvalidCommit, `column "day" stands twice, in schema[0] too`},
		{"both batches and files", set("files", []any{stagedFile("a")}), []string{"files"}, ReasonInvalidCommit, "both batches and staged files"},
		{"files that do not add up", func(m map[string]any) {
			m["batches"], m["rows"], m["files"] = []any{}, 3, []any{stagedFile("a"), stagedFile("b/c=d.csv")}
		}, []string{"rows"}, ReasonCount, "3, but the files add up to 4"},
		{"files that cannot be", func(m map[string]any) {
			m["batches"], m["rows"] = []any{}, 18
			var files []any
			for _, name := range []string{"", "/a", "../a", "a/../b", "a//b", "a/", ".a", "a\\b", "ü"} {
				files = append(files, stagedFile(name))
			}
			m["files"] = files
		}, []string{"files[0].name", "files[1].name", "files[2].name", "files[3].name", "files[4].name", "files[5].name", "files[6].name", "files[7].name", "files[8].name"},
			ReasonInvalidCommit, `"../a" cannot be the name`},
		{"a file with everything wrong", func(m map[string]any) {
			f := map[string]any{"name": "a", "rows": -1, "bytes": -1, "sha256": "x", "format": "parquet", "compression": "bzip2"}
			m["batches"], m["files"] = []any{}, []any{f}
		}, []string{"files[0].bytes", "files[0].format", "files[0].compression", "files[0].rows", "files[0].sha256"}, ReasonInvalidCommit, "write ndjson, csv or arrow"},
		{"a file without anything", func(m map[string]any) {
			m["batches"], m["files"] = []any{}, []any{map[string]any{"path": "a"}}
		}, []string{"files[0].path", "files[0].name", "files[0].rows", "files[0].bytes", "files[0].sha256", "files[0].format"}, ReasonInvalidCommit, "unknown field"},
		{"a file twice", func(m map[string]any) {
			m["batches"], m["rows"], m["files"] = []any{}, 4, []any{stagedFile("a"), stagedFile("a")}
		}, []string{"files[1].name"}, ReasonInvalidCommit, "in files[0] too"},
		{"covers nothing", set("covers", map[string]any{}), []string{"covers"}, ReasonInvalidCommit, "neither days nor accounts"},
		{"covers as text", set("covers", "2024-06"), []string{"covers"}, ReasonInvalidCommit, "a string where an object belongs"},
		{"covers without an end", set("covers", map[string]any{"from": "2024-06-01"}), []string{"covers.to"}, ReasonInvalidCommit, "from stands without it"},
		{"covers without a start", set("covers", map[string]any{"to": "2024-06-01"}), []string{"covers.from"}, ReasonInvalidCommit, "to stands without it"},
		{"covers no day", set("covers", map[string]any{"from": "2024-02-30", "to": "2024-03-01"}), []string{"covers.from"}, ReasonInvalidCommit, `"2024-02-30" is not a day`},
		{"covers backwards", set("covers", map[string]any{"from": "2024-06-02", "to": "2024-06-01"}), []string{"covers.to"}, ReasonInvalidCommit, "2024-06-01 is before 2024-06-02"},
		{"covers for ever", set("covers", map[string]any{"from": "2000-01-01", "to": "2024-06-01"}), []string{"covers.to"}, ReasonInvalidCommit, "at most 3660"},
		{"covers no account", set("covers", map[string]any{"accounts": []any{}}), []string{"covers.accounts"}, ReasonInvalidCommit, "0 accounts"},
		{"covers odd accounts", set("covers", map[string]any{"accounts": []any{"a", "", "a", 7}}),
			[]string{"covers.accounts[3]", "covers.accounts[1]", "covers.accounts[2]"}, ReasonInvalidCommit, `"a" stands twice, in covers.accounts[0] too`},
		{"covers misspelt", set("covers", map[string]any{"form": "2024-06-01", "to": "2024-06-01"}), []string{"covers.form", "covers.from"}, ReasonInvalidCommit, "did you mean from?"},
		{"covers days without a date column", func(m map[string]any) {
			delete(m, "date_column")
			m["covers"] = map[string]any{"from": "2024-06-01", "to": "2024-06-02"}
		}, []string{"covers.from"}, ReasonInvalidCommit, "no date_column"},
		{"covers accounts without a column", func(m map[string]any) {
			delete(m, "account_column")
			m["covers"] = map[string]any{"accounts": []any{"a"}}
		}, []string{"covers.accounts"}, ReasonInvalidCommit, "no account_column"},
		{"rows do not add up", set("rows", 6), []string{"rows"}, ReasonCount, "6, but the batches add up to 5"},
		{"negative rows", set("rows", -1), []string{"rows"}, ReasonInvalidCommit, "-1 is below zero"},
		{"no batches", func(m map[string]any) { delete(m, "batches") }, []string{"batches"}, ReasonInvalidCommit, "missing"},
		{"batches beyond 64 bits", set("batches", []any{
			map[string]any{"rows": int64(1 << 62), "sha256": hashA}, map[string]any{"rows": int64(1 << 62), "sha256": hashA},
		}), []string{"batches"}, ReasonCount, "more than 64 bits"},
		{"bad manifests", set("batches", []any{
			map[string]any{"rows": 2, "sha256": strings.ToUpper(hashA)}, map[string]any{"rows": -3, "sha256": hashB},
			map[string]any{"sha256": hashB[:63]}, 7, map[string]any{"row": 1, "rows": "1", "sha256": hashB},
		}), []string{"batches[2].rows", "batches[3]", "batches[4].row", "batches[4].rows", "batches[0].sha256", "batches[1].rows", "batches[2].sha256"},
			ReasonInvalidCommit, "64 lower-case hex digits"},
		{"several at once", func(m map[string]any) {
			m["generation"], m["rows"], m["workspace_id"], m["lane"] = -1, 6, "rival", "now"
		}, []string{"workspace_id", "lane", "generation", "rows"}, ReasonWorkspace, "lane"},
	}
}

func TestParseCommitNamesEveryMistake(t *testing.T) {
	for _, c := range spoiltCommits() {
		t.Run(c.name, func(t *testing.T) {
			doc := goodCommit()
			c.spoil(doc)
			_, err := ParseCommit("commit.acme.x1", document(t, doc))
			var e *CommitError
			if !errors.As(err, &e) {
				t.Fatalf("got %v, want a *CommitError", err)
			}
			var fields []string
			for _, m := range e.Mistakes {
				fields = append(fields, m.Field)
			}
			if d := cmp.Diff(c.fields, fields); d != "" {
				t.Errorf("fields of the mistakes (-want +got):\n%s%v", d, err)
			}
			if e.Reason() != c.reason {
				t.Errorf("reason %q, want %q: %v", e.Reason(), c.reason, err)
			}
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %q does not say %q", err, c.says)
			}
			if errors.Is(err, ErrNewer) {
				t.Errorf("%v: is ErrNewer", err)
			}
		})
	}
}

func set(field string, v any) func(map[string]any) {
	return func(m map[string]any) { m[field] = v }
}

func TestParseCommitRefusesWhatIsNotOneObject(t *testing.T) {
	good := string(document(t, goodCommit()))
	for _, c := range []struct{ name, subject, body, says string }{
		{"empty", "commit.acme.x1", "", "not JSON: it ends in the middle, at byte 0"},
		{"half", "commit.acme.x1", good[:len(good)-40], "not JSON"},
		{"a list", "commit.acme.x1", "[" + good + "]", "a list where an object belongs"},
		{"two documents", "commit.acme.x1", good + good, "text after the object's end"},
		{"a field twice", "commit.acme.x1", strings.Replace(good, `{`, `{"rows":5,`, 1), "rows: stands twice"},
		{"not UTF-8", "commit.acme.x1", strings.Replace(good, "ads", "a\xffs", 1), "not UTF-8"},
		{"byte order mark", "commit.acme.x1", "\ufeff" + good, "not JSON"},
		{"subject of rows", "rows.acme.x1", good, "not a subject of commits"},
		{"subject of something else", "commit.acme", good, "not a subject of commits"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseCommit(c.subject, []byte(c.body))
			var e *CommitError
			if !errors.As(err, &e) || e.Reason() != ReasonInvalidCommit || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want a *CommitError for %s that says %q", err, ReasonInvalidCommit, c.says)
			}
		})
	}
}

func TestNewerCommitIsGivenBackNotJudged(t *testing.T) {
	doc := goodCommit()
	doc["version"], doc["sorted_by"] = 2, "day"
	delete(doc, "batches")
	_, err := ParseCommit("commit.acme.x1", document(t, doc))
	if !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), "version 2 is newer than this program, which reads up to 1") {
		t.Errorf("got %v, want ErrNewer and nothing else", err)
	}
	doc["workspace_id"] = "rival"
	var e *CommitError
	if _, err = ParseCommit("commit.acme.x1", document(t, doc)); !errors.As(err, &e) || e.Reason() != ReasonWorkspace {
		t.Errorf("got %v: a newer commit for another workspace is still for another workspace", err)
	}
}

func TestCommitErrorStaysReadable(t *testing.T) {
	doc := goodCommit()
	var batches []any
	for range 500 {
		batches = append(batches, map[string]any{"rows": -1, "sha256": ""})
	}
	doc["batches"] = batches
	_, err := ParseCommit("commit.acme.x1", document(t, doc))
	var e *CommitError
	if !errors.As(err, &e) || len(e.Mistakes) != 1000 || !strings.Contains(err.Error(), "and 980 more mistakes") {
		t.Errorf("got %d bytes of error text, want 20 of 1000 mistakes spelt out", len(err.Error()))
	}
	if f := e.Failure(); len(f.Message) > maxFailureText || f.Remedy == "" || f.Reason != ReasonInvalidCommit {
		t.Errorf("Failure() = %+v, want a short message, a remedy and the reason", f)
	}
}

func TestCommitEncodesWhatParses(t *testing.T) {
	for _, c := range []struct {
		name   string
		commit Commit
	}{
		{"smallest", Commit{Extraction: "x1", WorkspaceID: "acme", Destination: "lake", Filename: "t", Generation: 1}},
		{"all", Commit{
			Version: 1, Extraction: "x1", WorkspaceID: "acme", WorkspaceTitle: `Ac<me> & "Söhne"`, Destination: "lake",
			DataSource: "ads", DataTableTitle: "daily", ReportType: "r", Filename: "../ads",
			Schema: testSchema(t, "d date", "a int64"), UnknownColumns: IgnoreUnknown, DateColumn: "d", AccountColumn: "a",
			Generation: 1 << 62, Lane: Backfill, Rows: 1, Batches: []BatchManifest{{Rows: 1, SHA256: hashA}},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, err := c.commit.Encode()
			if err != nil {
				t.Fatal(err)
			}
			got, err := ParseCommit("recommit.acme.x1.7", b)
			if err != nil {
				t.Fatalf("%v\n%s", err, b)
			}
			again, err := got.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if parsed, err := ParseCommit("commit.acme.x1", again); err != nil || !cmp.Equal(parsed, got, schemas) {
				t.Errorf("second round trip: %v\n%s", err, cmp.Diff(got, parsed, schemas))
			}
		})
	}
}

func TestCommitEncodeRefusesWhatParseCommitWould(t *testing.T) {
	_, err := Commit{ReportType: "\xff", Rows: 3, Batches: []BatchManifest{{Rows: 1, SHA256: "x"}}}.Encode()
	var e *CommitError
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want a *CommitError", err)
	}
	var fields []string
	for _, m := range e.Mistakes {
		fields = append(fields, m.Field)
	}
	want := []string{"extraction", "workspace_id", "destination", "filename", "report_type", "generation", "batches[0].sha256", "rows"}
	if d := cmp.Diff(want, fields); d != "" {
		t.Errorf("mistakes (-want +got):\n%s", d)
	}
}

func FuzzParseCommit(f *testing.F) {
	good, _ := json.Marshal(goodCommit())
	f.Add(good)
	f.Add([]byte(`{"version":1,"rows":1e3,"batches":[null,{}],"schema":[{"name":"a","type":"decimal(1,1)"}]}`))
	f.Add([]byte(`{"version":2}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := ParseCommit("commit.acme.x1", body)
		if err != nil {
			var e *CommitError
			if !errors.As(err, &e) || len(e.Mistakes) == 0 || e.Reason().Remedy() == "" {
				t.Fatalf("%q: %#v is no *CommitError with mistakes and a reason", body, err)
			}
			return
		}
		if c.WorkspaceID != "acme" || c.Extraction != "x1" {
			t.Fatalf("%q: taken for %s/%s on acme's subject", body, c.WorkspaceID, c.Extraction)
		}
		b, err := c.Encode()
		if err != nil {
			t.Fatalf("%q: parsed, but not encoded: %v", body, err)
		}
		again, err := ParseCommit("commit.acme.x1", b)
		if err != nil || !cmp.Equal(c, again, schemas) {
			t.Fatalf("%q: round trip: %v\n%s", body, err, cmp.Diff(c, again, schemas))
		}
	})
}

func ExampleParseCommit() {
	body := `{"version":1,"extraction":"x1","workspace_id":"acme","destination":"lake","filename":"ads",
		"date_colum":"day","generation":1718886937000,"rows":10,"batches":[]}`
	_, err := ParseCommit("commit.acme.x1", []byte(body))
	var e *CommitError
	if errors.As(err, &e) {
		for _, m := range e.Mistakes {
			fmt.Println(m)
		}
	}
	// Output:
	// date_colum: unknown field (did you mean date_column?)
	// rows: 10, but the batches add up to 0 (make rows the sum of the batches' rows)
}

func BenchmarkParseCommit(b *testing.B) {
	c := Commit{Extraction: "x1", WorkspaceID: "acme", Destination: "lake", Filename: "t", Generation: 1, Rows: 10_000}
	c.Batches = slices.Repeat([]BatchManifest{{Rows: 1, SHA256: hashA}}, 10_000)
	body, err := c.Encode()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseCommit("commit.acme.x1", bytes.Clone(body)); err != nil {
			b.Fatal(err)
		}
	}
}
