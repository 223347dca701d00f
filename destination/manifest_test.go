package destination

import (
	"errors"
	"strings"
	"testing"

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
			if strings.HasPrefix(n.Prefix(), "out") && !strings.HasPrefix(got, n.Prefix()) {
				t.Errorf("%s lies outside of the destination's prefix %s", got, n.Prefix())
			}
			if want := n.Prefix() + c.want[strings.Index(c.want, "_manifests"):]; got != want {
				t.Errorf("got %s, want %s", got, want)
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
