package destination

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/loadfleet/loadfleet/encoding"
)

// page reads a page of docs.
func page(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// tableInDocs is the rows, as cells, of the table of destinations.md that stands under
// a comment.
func tableInDocs(t *testing.T, comment string) [][]string {
	t.Helper()
	_, text, _ := strings.Cut(page(t, "destinations.md"), "<!-- "+comment+" -->\n")
	text, _, _ = strings.Cut(text, "\n\n")
	var rows [][]string
	for line := range strings.Lines(text) {
		rows = append(rows, strings.Split(strings.Trim(line, "| \n"), " | "))
	}
	if len(rows) < 3 {
		t.Fatalf("destinations.md has no table %q", comment)
	}
	return rows[2:] // without the heading and its rule
}

// codeSpans lists names as the tables write values.
func codeSpans(names []string) string { return "`" + strings.Join(names, "`, `") + "`" }

// usual is what a field that is left out becomes, where that hangs on the format
// at most; "" if it becomes nothing.
func usual(f field) string {
	for _, format := range encoding.Formats() {
		s := defaults()
		s.FileFormat = format
		s.Manifest = f.name == "manifest_forms"
		s.fill(map[string]bool{})
		if v := s.FormValues()[f.name]; v != "" {
			return v
		}
		if v, ok := f.get(s).(string); ok && v != "" {
			return v // though it does not apply
		}
	}
	return ""
}

// Every field stands in the reference, in the order of fields, with its values and
// its default; those that need another field say so first.
func TestFieldsInDocs(t *testing.T) {
	var known, told []string
	rows := map[string][]string{}
	for _, row := range tableInDocs(t, "fields") {
		name := strings.Trim(row[0], "`")
		told = append(told, name)
		rows[name] = row
	}
	for _, f := range fields() {
		known = append(known, f.name)
		row := rows[f.name]
		if len(row) != 4 {
			t.Errorf("%s: the row has %d cells, want 4: %q", f.name, len(row), row)
			continue
		}
		values, def, rule := row[1], row[2], row[3]
		options := f.options
		if _, flag := f.get(&Settings{}).(bool); flag {
			options = []string{"true", "false"}
		}
		if options != nil && values != codeSpans(options) {
			t.Errorf("%s: the values are %s, want %s", f.name, values, codeSpans(options))
		}
		want := usual(f)
		switch {
		case f.required && def != "required":
			t.Errorf("%s: the default is %q, and the field is required", f.name, def)
		case !f.required && want != "" && def != "`"+want+"`":
			t.Errorf("%s: the default is %s, want `%s`", f.name, def, want)
		}
		if strings.HasPrefix(rule, "with ") != (f.applies != nil) {
			t.Errorf("%s: the rule %q should begin by what it goes with: %v", f.name, rule, f.applies != nil)
		}
	}
	if diff := cmp.Diff(known, told); diff != "" {
		t.Errorf("destinations.md against the fields (-fields +docs):\n%s", diff)
	}
	forms := make([]string, 0, len(ManifestForms()))
	for _, f := range ManifestForms() {
		forms = append(forms, string(f))
	}
	if got := rows["manifest_forms"][1]; got != "list of "+codeSpans(forms) {
		t.Errorf("manifest_forms: the values are %s, want %s", got, codeSpans(forms))
	}
}

func TestVariablesInDocs(t *testing.T) {
	yes := map[bool]string{true: "yes", false: "no"}
	var want [][]string
	for _, v := range Variables() {
		want = append(want, []string{"`{{" + v.Name + "}}`", yes[v.Folder], yes[v.FileName], v.Meaning})
	}
	if diff := cmp.Diff(want, tableInDocs(t, "variables")); diff != "" {
		t.Errorf("destinations.md against the variables (-variables +docs):\n%s", diff)
	}
}

func TestMatrixInDocs(t *testing.T) {
	var want [][]string
	for _, o := range ConnectionOptions() {
		row := []string{"`" + string(o) + "`"}
		for _, e := range Encryptions() {
			row = append(row, map[bool]string{true: "yes", false: "no"}[Allowed(o, e)])
		}
		want = append(want, row)
	}
	if diff := cmp.Diff(want, tableInDocs(t, "matrix")); diff != "" {
		t.Errorf("destinations.md against what goes together (-rules +docs):\n%s", diff)
	}
}

// Each field that a warning is of is told of.
func TestWarningsInDocs(t *testing.T) {
	warned := map[string]bool{}
	for _, c := range warningCases() {
		for _, w := range c.want {
			name, _, _ := strings.Cut(w, ":")
			warned[name] = true
		}
	}
	var told []string
	for _, row := range tableInDocs(t, "warnings") {
		told = append(told, strings.Trim(row[0], "`"))
	}
	slices.Sort(told)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(warned)), told); diff != "" {
		t.Errorf("destinations.md against the warnings (-warnings +docs):\n%s", diff)
	}
}

// Parts of documents that pages show can be pasted into a document as they are.
func TestPartsInDocs(t *testing.T) {
	for _, name := range []string{"schemas.md", "manifests.md"} {
		parts := strings.Split(page(t, name), "```yaml\n")[1:]
		if len(parts) == 0 {
			t.Errorf("%s shows no part of a document", name)
		}
		for _, part := range parts {
			part, _, _ = strings.Cut(part, "```")
			doc := document(strings.Split(strings.TrimSpace(part), "\n")...)
			if _, err := Parse([]byte(doc), nil); err != nil {
				t.Errorf("%s: the part\n%s in a document: %v", name, part, err)
			}
		}
	}
}
