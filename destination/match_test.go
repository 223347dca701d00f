package destination

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/loadfleet/loadfleet/encoding"
)

// TestRenders: a naming knows its own keys again, and not those of another.
func TestRenders(t *testing.T) {
	names := Names{
		WorkspaceID: "ws.1", WorkspaceTitle: "Main / group", DataSource: "google", DataTableTitle: "Daily+", ReportType: "r(t)",
		Filename: "ads*", Load: time.Date(2024, 6, 20, 12, 15, 17, 0, time.UTC),
	}
	var namings []*Naming
	for _, s := range []Settings{
		{Folder: "/a.b/{{workspace_id}}", FileName: "{{filename}}-{{YYYY}}-{{MM}}-{{DD}}", FileFormat: encoding.CSV},
		{Folder: "/a.b/{{workspace_id}}", FileName: "{{filename}}-{{YYYY}}-{{MM}}-{{DD}}", FileFormat: encoding.CSVGzip},
		{Folder: "/a.b/{{workspace_id}}", FileName: "{{filename}}-{{YYYY}}-{{MM}}", FileFormat: encoding.CSV, PartitionBy: ByMonth},
		{Folder: "/axb/{{workspace_id}}", FileName: "{{filename}}-{{YYYY}}-{{MM}}-{{DD}}", FileFormat: encoding.CSV},
		{Folder: "/{{data_source}}/{{report_type}}/{{data_table_title}}", FileName: "{{filename}}{{YYYY}}{{MM}}{{DD}}", FileFormat: encoding.Avro},
		{Folder: "/{{workspace_title}}", FileName: "{{filename}}_{{DD_today}}_{{timestamp}}", FileFormat: encoding.JSON},
		{Folder: "/", FileName: "{{account}}-{{YYYY}}{{MM}}{{DD}}", FileFormat: encoding.Parquet, LoadByAccount: true},
		{Folder: "/", FileName: "{{filename}}-{{H}}{{M}}{{S}}", FileFormat: encoding.Parquet},
	} {
		n, err := s.Naming()
		if err != nil {
			t.Fatal(err)
		}
		namings = append(namings, n)
	}
	rng := rand.New(rand.NewPCG(7, 7))
	for range 200 {
		day := int32(rng.IntN(40000))
		for i, n := range namings {
			placed := Placed{Names: Names{WorkspaceID: names.WorkspaceID, Filename: names.Filename}, Day: day, Dated: true}
			if n.byAccount {
				placed.Account = "a/" + names.Filename
			}
			key, err := n.Key(names, day, placed.Account)
			if err != nil {
				t.Fatal(err)
			}
			if n.byMonth {
				placed.Day, _, _ = n.Span(day)
			}
			for j, other := range namings {
				if got := other.Renders(key, placed); got != (i == j) {
					t.Errorf("naming %d takes %s of naming %d for its own: %t", j, key, i, got)
				}
			}
			if undated := (Placed{Account: placed.Account}); !n.Renders(key, undated) {
				t.Errorf("naming %d does not know %s when nothing is known of it", i, key)
			}
			placed.Day += 40
			if n.Dated() && n.Renders(key, placed) {
				t.Errorf("naming %d takes %s for that of another day", i, key)
			}
		}
	}
}
