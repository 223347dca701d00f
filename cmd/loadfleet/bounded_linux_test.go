package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/loadfleet/loadfleet/storage"
	"github.com/loadfleet/loadfleet/testdata/adrows"
)

// An extraction that is one partition, of a file of 300 MB, goes through a
// dispatcher and a worker that both stay far below its size, and nothing of
// its multipart upload is left over.
func TestP9OneLargePartition(t *testing.T) {
	const (
		rows       = 530_000
		fileBytes  = 300_000_000 // at least
		dispatcher = 300 << 20   // of which --dispatch-memory is 64 MiB
		worker     = 300 << 20
	)
	f := newFleet(t, t.TempDir())
	f.up("--servers-only", "--bucket", demoBucket)
	f.applyDemo()
	file := filepath.Join(t.TempDir(), "large.ndjson")
	writeRows(t, file, adrows.Options{Rows: rows, Days: 1, Accounts: 1})
	d, w := f.command("dispatcher", "--dispatch-memory", fmt.Sprint(64<<20)), f.command("worker")
	f.run("publish", "--destination", "demo-json", "--extraction", "large", "--workspace", "ws1", "--table", "ads",
		"--data-table-title", "Ads daily", "--schema", "../../testdata/ads.schema.json", "--date-column", adrows.DateColumn,
		"--account-column", adrows.AccountColumn, "--wait", file)
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
	a, err := accountFor(t.Context(), f.queue(), "ws1", "large")
	if err != nil {
		t.Fatal(err)
	}
	oneOutcomeEach(t, a)
	if len(a.Outcomes) != 1 || a.Rows != rows || a.Bytes < fileBytes {
		t.Fatalf("%d objects of %d rows and %d bytes, want one of %d rows and at least %d bytes", len(a.Outcomes), a.Rows, a.Bytes, rows, fileBytes)
	}
	store, err := storage.OpenDestination(t.Context(), f.demoSettings()[0], storage.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	head, err := store.Head(t.Context(), demoBucket, a.Outcomes[0].Key)
	if err != nil {
		t.Fatal(err)
	}
	if head.Size != a.Bytes || head.Meta.SHA256 != a.Outcomes[0].SHA256 || !strings.Contains(head.ETag, "-") {
		t.Errorf("the object has %d bytes, SHA-256 %s and ETag %s, want %d, %s and that of a multipart upload",
			head.Size, head.Meta.SHA256, head.ETag, a.Bytes, a.Outcomes[0].SHA256)
	}
	for u, err := range store.Uploads(t.Context(), demoBucket, "") {
		if err != nil {
			t.Fatal(err)
		}
		t.Errorf("an upload of %s was left over", u.Key)
	}
	f.stop(w)
	f.stop(d)
}

// writeRows makes a file of rows.
func writeRows(t *testing.T, name string, of adrows.Options) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	_, err = adrows.Write(f, of)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}
