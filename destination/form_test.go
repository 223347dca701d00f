package destination

import (
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestFormHasEveryField: a setting that is added is in the form, too.
func TestFormHasEveryField(t *testing.T) {
	form := map[string]bool{}
	for _, f := range FormFields() {
		if form[f.Name] || f.Label == "" || f.Group == "" {
			t.Errorf("field %+v stands twice, or lacks its label or group", f)
		}
		form[f.Name] = true
	}
	for _, f := range fields() {
		if !form[f.name] {
			t.Errorf("%s is not in the form", f.name)
		}
	}
}

// TestFormIsADocument: what a form says is what the document would say, for each
// way into a bucket and each format, and filling it in from settings changes none.
func TestFormIsADocument(t *testing.T) {
	for _, o := range ConnectionOptions() {
		for _, format := range []string{"csv", "json+gzip", "parquet", "avro"} {
			more := []string{"file_format: " + format, "workspaces: [a, b]", "max_concurrency: 3", "rate_limit: 2.5", "load_by_account: true", "file_name: '{{account}}-{{YYYY}}{{MM}}{{DD}}'"}
			want := parse(t, append(option(o), more...)...)
			got, wrong := FromForm(want.FormValues(), want)
			if wrong != nil {
				t.Errorf("%s, %s: %v", o, format, wrong)
				continue
			}
			if d := cmp.Diff(want, got, cmp.Comparer(Secret.Equal)); d != "" {
				t.Errorf("%s, %s (-want +got):\n%s", o, format, d)
			}
		}
	}
}

func TestFormMistakes(t *testing.T) {
	good := parse(t, append(option(AccessKeys), "file_format: csv")...).FormValues()
	good["secret_access_key"] = "a/SECRET+access=key&Zq9~a/SECRET+access"
	for _, c := range []struct{ field, value, want string }{
		{"folder", "{{nobody}}", "folder"},
		{"bucket", "Not A Bucket", "bucket"},
		{"max_concurrency", "many", "max_concurrency"},
		{"secret_access_key", "env:HOME", "secret_access_key"},
		{"secret_access_key", "", "secret_access_key"},
		{"id", "", "id"},
	} {
		values := maps.Clone(good)
		values[c.field] = c.value
		_, wrong := FromForm(values, nil)
		if wrong == nil || !strings.HasPrefix((*wrong)[0].Field, c.want) {
			t.Errorf("%s %q: got %v, want a problem of the field", c.field, c.value, wrong)
		}
	}
	if s, wrong := FromForm(good, nil); wrong != nil || s.SecretAccessKey.Reveal() != good["secret_access_key"] {
		t.Errorf("a good form: %v, %v", s, wrong)
	}
}

// TestFormChangesTheConnection: with the keys emptied, a destination of access
// keys becomes one of a role; its old secret is not in the way.
func TestFormChangesTheConnection(t *testing.T) {
	old := parse(t, append(option(AccessKeys), "file_format: csv")...)
	values := old.FormValues()
	values["connection_option"], values["access_key_id"] = string(RoleChain), ""
	values["assume_role_arn"] = "arn:aws:iam::111122223333:role/loadfleet"
	s, wrong := FromForm(values, old)
	if wrong != nil {
		t.Fatal(wrong)
	}
	if s.ConnectionOption != RoleChain || !s.SecretAccessKey.IsZero() {
		t.Errorf("%+v", s)
	}
}
