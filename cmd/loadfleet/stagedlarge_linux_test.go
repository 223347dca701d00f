package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/loadfleet/loadfleet/testdata/adrows"
)

// stagedGigabytes makes TestP9StagedExtraction as large as docs/staged.md says:
// make staged.
const stagedGigabytes = "LOADFLEET_STAGED_GB"

// TestP9StagedExtraction stages an extraction of many files and loads it, with
// a dispatcher and a worker that both stay within their budgets. It prints the
// figures of docs/staged.md.
func TestP9StagedExtraction(t *testing.T) {
	const (
		budget     = 64 << 20  // --memory of the dispatcher
		dispatcher = 300 << 20 // resident, of the whole process
		worker     = 400 << 20
		rowBytes   = 560
	)
	files, rows := 4, 20_000
	if text := os.Getenv(stagedGigabytes); text != "" {
		gigabytes, err := strconv.Atoi(text)
		if err != nil || gigabytes < 1 {
			t.Fatalf("%s=%s: write a whole number of gigabytes", stagedGigabytes, text)
		}
		files, rows = 8, gigabytes*1_000_000_000/8/rowBytes
	}
	f := newFleet(t, t.TempDir())
	f.up("--servers-only", "--bucket", demoBucket)
	f.applyDemo()
	in := t.TempDir()
	first := filepath.Join(in, "1.ndjson")
	writeRows(t, first, adrows.Options{Rows: rows, Days: 30, Accounts: 20})
	for n := 2; n <= files; n++ { // the same rows again: what they are is of no account here
		if err := os.Link(first, filepath.Join(in, fmt.Sprintf("%d.ndjson", n))); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(first)
	if err != nil {
		t.Fatal(err)
	}
	d, w := f.command("dispatcher", "--memory", fmt.Sprint(budget)), f.command("worker")
	publish := []string{"publish", "--destination", "demo-parquet", "--extraction", "staged", "--workspace", "ws1", "--table", "ads",
		"--data-table-title", "Ads daily", "--schema", "../../testdata/ads.schema.json", "--date-column", adrows.DateColumn,
		"--account-column", adrows.AccountColumn, "--stage", "--check=false"}
	began := time.Now()
	f.run(append(publish, in)...)
	staged := time.Since(began)
	if _, err := follow(t.Context(), f.queue(), "ws1", "staged", func(int64, int64) {}); err != nil {
		t.Fatal(err)
	}
	loaded := time.Since(began)
	a, err := accountFor(t.Context(), f.queue(), "ws1", "staged")
	if err != nil {
		t.Fatal(err)
	}
	oneOutcomeEach(t, a)
	if want := int64(files * rows); a.Rows != want {
		t.Errorf("got %d rows in the bucket, want %d", a.Rows, want)
	}
	total := int64(files) * info.Size()
	t.Logf("%d files of %.2f GB: %d rows in %d objects of %.2f GB; staged in %.0f s, loaded after %.0f s more, of which %.0f s until dispatched",
		files, float64(total)/1e9, a.Rows, len(a.Outcomes), float64(a.Bytes)/1e9, staged.Seconds(), (loaded - staged).Seconds(), a.Dispatched.Sub(a.Accepted).Seconds())
	for _, of := range []struct {
		name  string
		p     *process
		limit int64
	}{{"dispatcher", d, dispatcher}, {"worker", w, worker}} {
		peak, err := procKilobytes(fmt.Sprintf("/proc/%d/status", of.p.cmd.Process.Pid), "VmHWM:")
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("the %s had at most %d MiB resident", of.name, peak>>20)
		if peak > of.limit {
			t.Errorf("the %s had %d MiB resident, want at most %d", of.name, peak>>20, of.limit>>20)
		}
	}
	f.stop(w)
	f.stop(d)
}
