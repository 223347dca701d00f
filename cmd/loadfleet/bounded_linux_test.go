package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/loadfleet/loadfleet/storage"
	"github.com/loadfleet/loadfleet/testdata/adrows"
)

// memoryBudget is what dispatcher and worker are given, and what the kernel
// must never have seen them exceed.
const memoryBudget = 256 << 20

// fullSize asks for the sizes of `make memory` instead of small ones.
const fullSize = "LOADFLEET_TEST_FULL_SIZE"

// An extraction that is one partition, much larger than the budget, goes through
// a dispatcher and a worker that both stay within it, and nothing of its multipart
// upload is left over.
func TestP9OneLargePartition(t *testing.T) {
	rows := 530_000 // 300 MB
	if os.Getenv(fullSize) != "" {
		rows = 3_600_000 // 2 GB
	}
	f, a := bounded(t, adrows.Options{Rows: rows, Days: 1, Accounts: 1})
	if fileBytes := int64(rows) * 566; len(a.Outcomes) != 1 || a.Bytes < fileBytes {
		t.Fatalf("%d objects of %d bytes, want one of at least %d bytes", len(a.Outcomes), a.Bytes, fileBytes)
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
}

// So does an extraction of very many partitions.
func TestP9ManyPartitions(t *testing.T) {
	of := adrows.Options{Rows: 120_000, Days: 100, Accounts: 20}
	if os.Getenv(fullSize) != "" {
		of = adrows.Options{Rows: 3_600_000, Days: 500, Accounts: 100}
	}
	_, a := bounded(t, of)
	if want := of.Days * of.Accounts; len(a.Outcomes) < want*9/10 || len(a.Outcomes) > want {
		t.Errorf("%d objects, want nearly %d", len(a.Outcomes), want)
	}
}

// bounded loads rows as JSON with a dispatcher and a worker of the budget, and
// returns what became of them when both were within it.
func bounded(t *testing.T, of adrows.Options) (*fleet, *account) {
	t.Helper()
	f := newFleet(t, t.TempDir())
	f.up("--servers-only", "--bucket", demoBucket)
	f.applyDemo()
	file := filepath.Join(t.TempDir(), "rows.ndjson")
	writeRows(t, file, of)
	budget := []string{"--memory", fmt.Sprint(memoryBudget)}
	d, w := f.command(append([]string{"dispatcher"}, budget...)...), f.command("worker")
	p := f.command("publish", "--destination", "demo-json", "--extraction", "large", "--workspace", "ws1", "--table", "ads",
		"--data-table-title", "Ads daily", "--schema", "../../testdata/ads.schema.json", "--date-column", adrows.DateColumn,
		"--account-column", adrows.AccountColumn, "--wait", file)
	select {
	case <-p.done:
	case <-time.After(time.Hour): // of the full size; go test's own limit is shorter
	}
	if p.ended != nil {
		t.Fatalf("publish: %v\n%s", p.ended, p.err.tail())
	}
	for _, p := range []*process{d, w} {
		peak, err := procKilobytes(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid), "VmHWM:")
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: at most %d MiB resident, of %d rows", p.name, peak>>20, of.Rows)
		if peak > memoryBudget {
			t.Errorf("%s: %d MiB resident, want at most %d", p.name, peak>>20, memoryBudget>>20)
		}
	}
	a, err := accountFor(t.Context(), f.queue(), "ws1", "large")
	if err != nil {
		t.Fatal(err)
	}
	oneOutcomeEach(t, a)
	if a.Rows != int64(of.Rows) {
		t.Errorf("%d rows in objects, want %d", a.Rows, of.Rows)
	}
	f.stop(w)
	f.stop(d)
	return f, a
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
