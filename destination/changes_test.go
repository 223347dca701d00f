package destination

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestChanges(t *testing.T) {
	tests := []struct {
		name  string
		edits []string
		want  []Change
	}{
		{"nothing", nil, nil},
		{"title", []string{"title: x"}, []Change{{Field: "title", Old: "acme", New: "x"}}},
		{"secret", []string{"secret_access_key: other"}, []Change{{Field: "secret_access_key", Old: "[redacted]", New: "changed"}}},
		{"folder", []string{"folder: /x"}, []Change{{Field: "folder", Old: "/loads/{{workspace_id}}", New: "/x", Orphans: true}}},
		{"folder in words only", []string{"folder: loads/{{ workspace_id }}/"}, []Change{{Field: "folder", Old: "/loads/{{workspace_id}}", New: "loads/{{ workspace_id }}/"}}},
		{"file name", []string{"file_name: x"}, []Change{{Field: "file_name", Old: "{{filename}}-{{YYYY}}-{{MM}}-{{DD}}", New: "x", Orphans: true}}},
		{"file name in words only", []string{"file_name: '{{ filename }}-{{YYYY}}-{{MM}}-{{DD}}'"},
			[]Change{{Field: "file_name", Old: "{{filename}}-{{YYYY}}-{{MM}}-{{DD}}", New: "{{ filename }}-{{YYYY}}-{{MM}}-{{DD}}"}}},
		{"format", []string{"file_format: csv+gzip"}, []Change{{Field: "file_format", Old: "csv", New: "csv+gzip", Orphans: true}}},
		{"bucket", []string{"bucket: other"}, []Change{{Field: "bucket", Old: "acme-data", New: "other", Orphans: true}}},
		{"endpoint", []string{"endpoint: https://s3.example.com"}, []Change{{Field: "endpoint", Old: "", New: "https://s3.example.com", Orphans: true}}},
		{"separator", []string{"separator: tab"}, []Change{{Field: "separator", Old: "comma", New: "tab"}}},
		{"workspaces", []string{"workspaces: [a, b]"}, []Change{{Field: "workspaces", Old: "", New: "a, b"}}},
		{"several", []string{"encryption: none", "checksum: off", "max_concurrency: 3"}, []Change{
			{Field: "encryption", Old: "sse-s3", New: "none"}, {Field: "checksum", Old: "on", New: "off"}, {Field: "max_concurrency", Old: "0", New: "3"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, Changes(parse(t), parse(t, tt.edits...))); diff != "" {
				t.Errorf("Changes (-want +got):\n%s", diff)
			}
		})
	}
	keys, role := parse(t), parse(t, option(RoleChain)...)
	for _, c := range Changes(keys, role) {
		if c.Field == "secret_access_key" && (c.Old != "[redacted]" || c.New != "") {
			t.Errorf("the secret that went is shown as %+v", c)
		}
	}
}

func TestInherit(t *testing.T) {
	tests := []struct {
		name  string
		edits []string
		want  bool
	}{
		{"nothing changed", nil, true},
		{"folder", []string{"folder: /x"}, true},
		{"another secret of the same key", []string{"secret_access_key: other"}, true},
		{"bucket", []string{"bucket: other"}, false},
		{"endpoint", []string{"endpoint: https://s3.example.com"}, false},
		{"option", option(SharedAccount), false},
		{"key", []string{"access_key_id: AKIAOTHER"}, false},
		{"owner", []string{"bucket_owner: '111122223333'"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			old, s := parse(t), parse(t, tt.edits...)
			old.Approved, old.Paused = true, true
			s.Inherit(old)
			if s.Approved != tt.want || !s.Paused {
				t.Errorf("approved %v, paused %v, want %v, true", s.Approved, s.Paused, tt.want)
			}
		})
	}
}

// The ledger forgets, and what it forgot may lie in the bucket.
func TestLeftBehind(t *testing.T) {
	moved := []Change{{Field: "title"}, {Field: "folder", Orphans: true}, {Field: "bucket", Orphans: true}}
	for _, c := range []struct {
		changes []Change
		known   int
		all     bool
		want    string
	}{
		{moved[:1], 3, true, ""},
		{moved, 0, true, ""},
		{moved, 3, true, "a change of folder, bucket leaves 3 objects in s3://acme that"},
		{moved, 3, false, "at least 3 objects"},
		{moved, 0, false, "too long ago"},
	} {
		if got := LeftBehind(c.changes, "acme", c.known, c.all); !strings.Contains(got, c.want) || (c.want == "") != (got == "") {
			t.Errorf("%d known, all %t: %q, want %q", c.known, c.all, got, c.want)
		}
	}
}
