package destination

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/loadfleet/loadfleet/encoding"
)

func TestManifestKey(t *testing.T) {
	for _, c := range []struct {
		name, folder, file string
		table              string
		form               ManifestForm
		want               string
	}{
		{"objects", "/out/{{YYYY}}", "{{filename}}", "ads", ManifestJSON, "out/_manifests/ws1/ads/x1/objects.manifest"},
		{"for Redshift", "/out/{{YYYY}}", "{{filename}}", "ads", ManifestRedshift, "out/_manifests/ws1/ads/x1/redshift.manifest"},
		{"for Athena", "/", "{{filename}}", "ads", ManifestAthena, "_manifests/ws1/ads/x1/athena/symlink.manifest"},
		{"success", "/a/b", "{{filename}}", "ads", ManifestSuccess, "a/b/_manifests/ws1/ads/x1/_SUCCESS"},
		{"behind the folder, not the file name's beginning", "/a/b", "x-{{filename}}", "ads", ManifestJSON, "a/b/_manifests/ws1/ads/x1/objects.manifest"},
		{"a folder that begins with text", "/a/b-{{YYYY}}", "{{filename}}", "ads", ManifestJSON, "a/b-_manifests/ws1/ads/x1/objects.manifest"},
		{"a table that climbs", "/out", "{{filename}}", "../ads/2", ManifestJSON, "out/_manifests/ws1/%2E.%2Fads%2F2/x1/objects.manifest"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &Settings{Folder: c.folder, FileName: c.file, FileFormat: encoding.CSV, PartitionBy: ByDay}
			n, err := s.Naming()
			if err != nil {
				t.Fatal(err)
			}
			got, err := n.ManifestKey(Names{WorkspaceID: "ws1", Filename: c.table}, "x1", c.form)
			if err != nil {
				t.Fatal(err)
			}
			if got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
	s := &Settings{Folder: "/", FileName: "{{filename}}", FileFormat: encoding.CSV, PartitionBy: ByDay}
	n, err := s.Naming()
	if err != nil {
		t.Fatal(err)
	}
	if _, err = n.ManifestKey(Names{WorkspaceID: "ws1", Filename: strings.Repeat("n", MaxKey)}, "x1", ManifestJSON); !errors.As(err, new(*KeyError)) {
		t.Errorf("a key that is too long: %v, want a KeyError", err)
	}
}

// TestP11KeysUnderThePrefix: what a destination writes lies under the prefix that
// its documents allow and its check tries, whatever it writes beside its files.
func TestP11KeysUnderThePrefix(t *testing.T) {
	names := Names{WorkspaceID: "ws", WorkspaceTitle: "w", DataSource: "d", DataTableTitle: "t", ReportType: "r", Filename: "ads", Load: time.Unix(1e9, 0)}
	for _, tt := range []struct{ folder, file, files, manifests, sidecars string }{
		{"/", "{{filename}}", "", "", ""},
		{"/", "x-{{filename}}", "x-", "", ""},
		{"/side", "x-{{filename}}", "side/x-", "side/", "side/"},
		{"/side/{{YYYY}}", "{{filename}}", "side/", "side/", "side/"},
		{"/a/b-{{YYYY}}", "{{filename}}", "a/b-", "a/b-", "a/"},
		{"/a/b-{{workspace_id}}", "{{filename}}", "a/b-", "a/b-", "a/b-"},
		{"/a/b-{{workspace_id}}/{{YYYY}}", "{{filename}}", "a/b-", "a/b-", "a/b-"},
		{"/a/b-{{workspace_id}}-{{account}}/c", "{{filename}}", "a/b-", "a/b-", "a/"},
		{"/b-{{timestamp}}", "{{filename}}", "b-", "b-", ""},
		{"/{{filename}}/a", "{{filename}}", "", "", ""},
	} {
		for i, want := range []string{tt.files, tt.manifests, tt.sidecars, tt.sidecars} {
			s := &Settings{Folder: tt.folder, FileName: tt.file, FileFormat: encoding.CSV, PartitionBy: ByDay, LoadByAccount: true, Manifest: i&1 != 0, SchemaSidecar: i&2 != 0}
			prefix, err := s.Prefix()
			if err != nil {
				t.Fatal(err)
			}
			if prefix != want {
				t.Errorf("%s and %s, manifest %v, sidecar %v: prefix %q, want %q", tt.folder, tt.file, s.Manifest, s.SchemaSidecar, prefix, want)
			}
			n, err := s.Naming()
			if err != nil {
				t.Fatal(err)
			}
			file, err := n.Key(names, 19000, "a")
			keys := []string{file}
			if s.Manifest {
				key, failed := n.ManifestKey(names, "x", ManifestJSON)
				keys, err = append(keys, key), errors.Join(err, failed)
			}
			if s.SchemaSidecar {
				key, failed := n.SidecarKey(names, "schema")
				keys, err = append(keys, key), errors.Join(err, failed)
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, key := range keys {
				if !strings.HasPrefix(key, prefix) {
					t.Errorf("%s and %s: %s is not under %q", tt.folder, tt.file, key, prefix)
				}
			}
		}
	}
}
