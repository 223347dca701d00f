package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/loadfleet/loadfleet/worker"
)

// TestOrphansCommand moves a destination's files, extracts some days again and removes
// what they replaced.
func TestOrphansCommand(t *testing.T) {
	t.Parallel()
	h := startHome(t, "--bucket", "acme")
	publish := func(days, extraction string) {
		t.Helper()
		h.run(t, exitOK, days, "publish", "-", "--format", "ndjson", "--destination", "moved", "--table", "ads", "--date-column", "date", "--wait", "--extraction", extraction)
	}
	h.applyAcme(t, "moved", "folder: old")
	publish(adDays(3), "first")
	doc := h.run(t, exitOK, "", "destination", "show", "moved", "-o", "json").out
	if !strings.Contains(doc, `"/old"`) && !strings.Contains(doc, `"old"`) {
		t.Fatalf("the destination's folder is not where it was: %s", doc)
	}
	orphans := func(code int, flags ...string) finished {
		t.Helper()
		return h.run(t, code, "", append([]string{"destination", "orphans", "moved"}, flags...)...)
	}
	if f := orphans(exitOK); !strings.Contains(f.out, "has no orphans") {
		t.Errorf("before the change: %s", f.out)
	}
	moved := strings.NewReplacer(`"/old"`, `"/new"`, `"old"`, `"new"`, `"[redacted]"`, `"env:AWS_SECRET_ACCESS_KEY"`).Replace(doc)
	h.run(t, exitOK, "", "destination", "apply", "--yes", "-f", h.write(t, "moved.json", moved))
	publish(adDays(2), "second")

	f := orphans(exitOK)
	for _, want := range []string{"s3://acme/old/2024-06-01.csv", "s3://acme/old/2024-06-03.csv", "3 orphans", "newer objects hold all of 2 of them", "--remove --yes"} {
		if !strings.Contains(f.out, want) {
			t.Errorf("no %q in:\n%s", want, f.out)
		}
	}
	if f := orphans(exitOK, "--remove"); !strings.Contains(f.out, "Nothing is removed yet") || strings.Contains(f.out, "06-03") {
		t.Errorf("the dry run says:\n%s", f.out)
	}
	h.object(t, "old/2024-06-01.csv")
	orphans(exitUsage, "--yes")
	if f := orphans(exitOK, "--table", "others", "--remove", "--yes"); f.out != "0 orphans removed\n" {
		t.Errorf("another table: %s", f.out)
	}
	if f := orphans(exitOK, "--remove", "--yes", "--by", "ann"); f.out != "2 orphans removed\n" {
		t.Errorf("removal says %q", f.out)
	}
	var left []worker.Orphan
	if err := json.Unmarshal([]byte(orphans(exitOK, "-o", "json").out), &left); err != nil || len(left) != 1 || left[0].Key != "old/2024-06-03.csv" {
		t.Errorf("left: %+v, %v, want the day that nothing replaced", left, err)
	}
	h.object(t, "old/2024-06-03.csv")
	h.run(t, exitOK, "", "verify", "first")
	h.run(t, exitOK, "", "verify", "second")
	if f := orphans(exitOK, "--remove", "--all", "--yes"); f.out != "1 orphan removed\n" {
		t.Errorf("removal of the rest says %q", f.out)
	}
}
