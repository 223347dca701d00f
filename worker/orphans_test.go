package worker

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
)

// record is "key generation from to account holds..."; a dash is an empty field.
func record(text string) *queue.Object {
	f := strings.Fields(text)
	for len(f) < 5 {
		f = append(f, "-")
	}
	for i := range f {
		if f[i] == "-" {
			f[i] = ""
		}
	}
	o := &queue.Object{Object: messages.Object{
		Workspace: "ws1", Table: "ads", Bucket: "acme", Key: f[0], Generation: int64(len(f[1])), From: f[2], To: f[3], Account: f[4],
		Result: messages.Loaded, Format: "csv",
	}}
	if len(f) > 5 {
		var a messages.Accounts
		for _, name := range f[5:] {
			a.Add(name)
		}
		o.Holds = a.Set()
	}
	return o
}

func TestOrphans(t *testing.T) {
	daily := destination.Settings{ID: "acme", Bucket: "acme", Folder: "/out", FileName: "{{filename}}-{{YYYY}}{{MM}}{{DD}}", FileFormat: encoding.CSV}
	monthly, byAccount := daily, daily
	monthly.FileName, monthly.PartitionBy = "{{filename}}-{{YYYY}}{{MM}}", destination.ByMonth
	byAccount.FileName, byAccount.LoadByAccount = "{{account}}-{{YYYY}}{{MM}}{{DD}}", true
	elsewhere, parquet := daily, daily
	elsewhere.Bucket = "other"
	parquet.FileFormat = encoding.Parquet
	for _, c := range []struct {
		name    string
		s       destination.Settings
		objects []string
		want    map[string]bool // key to replaced
	}{
		{"all is current", daily, []string{"out/ads-20240618.csv g 2024-06-18 2024-06-18"}, map[string]bool{}},
		{"another template", daily, []string{"old/ads-20240618.csv g 2024-06-18 2024-06-18", "out/ads-20240618.csv gg 2024-06-18 2024-06-18"},
			map[string]bool{"old/ads-20240618.csv": true}},
		{"another template, not extracted again", daily, []string{"old/ads-20240617.csv g 2024-06-17 2024-06-17", "out/ads-20240618.csv gg 2024-06-18 2024-06-18"},
			map[string]bool{"old/ads-20240617.csv": false}},
		{"what replaced it is older", daily, []string{"old/ads-20240618.csv gg 2024-06-18 2024-06-18", "out/ads-20240618.csv g 2024-06-18 2024-06-18"},
			map[string]bool{"old/ads-20240618.csv": false}},
		{"days became a month", monthly, []string{"out/ads-20240618.csv g 2024-06-18 2024-06-18", "out/ads-202406.csv gg 2024-06-01 2024-06-30"},
			map[string]bool{"out/ads-20240618.csv": true}},
		{"a month became some of its days", daily, []string{"out/ads-202402.csv g 2024-02-01 2024-02-03", "out/ads-20240201.csv gg 2024-02-01 2024-02-01", "out/ads-20240203.csv gg 2024-02-03 2024-02-03"},
			map[string]bool{"out/ads-202402.csv": false}},
		{"a month became all of its days", daily, []string{"out/ads-202402.csv g 2024-02-01 2024-02-02", "out/ads-20240202.csv gg 2024-02-02 2024-02-02", "out/ads-20240201.csv gg 2024-02-01 2024-02-01"},
			map[string]bool{"out/ads-202402.csv": true}},
		{"accounts share a file now, and it has the account", daily, []string{"a-20240618.csv g 2024-06-18 2024-06-18 a", "out/ads-20240618.csv gg 2024-06-18 2024-06-18 - a b"},
			map[string]bool{"a-20240618.csv": true}},
		{"accounts share a file now, and it lacks the account", daily, []string{"a-20240618.csv g 2024-06-18 2024-06-18 a", "out/ads-20240618.csv gg 2024-06-18 2024-06-18 - b"},
			map[string]bool{"a-20240618.csv": false}},
		{"a file per account now", byAccount, []string{"out/ads-20240618.csv g 2024-06-18 2024-06-18 - a", "out/a-20240618.csv gg 2024-06-18 2024-06-18 a"},
			map[string]bool{"out/ads-20240618.csv": false}},
		{"another bucket", elsewhere, []string{"out/ads-20240618.csv g 2024-06-18 2024-06-18"}, map[string]bool{"out/ads-20240618.csv": false}},
		{"another format", parquet, []string{"out/ads-20240618.csv g 2024-06-18 2024-06-18"}, map[string]bool{"out/ads-20240618.csv": false}},
		{"dated by the load", daily, []string{"old/ads-20240618.csv g - -", "out/ads-20240618.csv gg - -"}, map[string]bool{"old/ads-20240618.csv": false}},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, err := c.s.Naming()
			if err != nil {
				t.Fatal(err)
			}
			gone, manifest := record("old/gone-20240618.csv g 2024-06-18 2024-06-18"), record("out/_manifests/ws1/ads/e/objects.manifest g - -")
			gone.Result, manifest.Format = messages.Deleted, messages.FormatManifest
			objects := []*queue.Object{gone, manifest}
			for _, text := range c.objects {
				objects = append(objects, record(text))
			}
			got := map[string]bool{}
			for _, o := range orphansAmong(objects, &c.s, n) {
				got[o.Key] = o.Replaced
				if o.Why == "" {
					t.Errorf("%s: no reason", o.Key)
				}
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("orphans (-want +got):\n%s", d)
			}
		})
	}
}
