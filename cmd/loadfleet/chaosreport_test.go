package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

// summary logs what was done and found, and writes it into the report.
func (w *chaosWorld) summary(plan chaosPlan, title string, broke, all time.Duration, violations int) {
	var b strings.Builder
	fmt.Fprintf(&b, "`make %s SEED=%d FAULTS=%d DURATION=%s`: faults were injected for %s; with settling and proof it took %s.\n\n",
		plan.target, plan.seed, plan.faults, plan.length, broke.Round(time.Second), all.Round(time.Second))
	poisoned, abandoned, kills, failed := 0, 0, 0, 0
	for _, e := range w.extractions {
		switch {
		case e.poison:
			poisoned++
		case !e.acknowledged():
			abandoned++
		}
	}
	for kind, n := range w.counts.of {
		if strings.HasPrefix(kind, "kill -9") {
			kills += n
		}
		if strings.HasPrefix(kind, "S3: ") {
			failed += n
		}
	}
	seen := w.oracle.seen
	fmt.Fprintf(&b, "| | |\n|---|---|\n| faults injected | %d |\n| of them requests to S3, each with a fault of its own | %d |\n", w.counts.total(), failed)
	fmt.Fprintf(&b, "| of them processes killed with -9 | %d |\n| requests that failed besides, in storms, while S3 was away or a bucket shut | %d |\n", kills, w.faults.swept)
	fmt.Fprintf(&b, "| deliveries of a commit beyond its first | %d |\n", w.redelivered())
	fmt.Fprintf(&b, "| extractions | %d, of them %d with a bad row and %d abandoned by their extractor |\n", len(w.extractions), poisoned, abandoned)
	fmt.Fprintf(&b, "| loads | %d |\n| rows | %d |\n| files of rows that had made a file before | %d |\n| objects | %d |\n| keys whose object is deleted | %d |\n| dead letters left, each of a bad row | %d |\n| **violations** | **%d** |\n\n",
		seen.loads, seen.rows, seen.again, seen.objects, seen.deleted, seen.dead, violations)
	fmt.Fprintf(&b, "| fault | times |\n|---|---|\n")
	for _, kind := range slices.Sorted(maps.Keys(w.counts.of)) {
		fmt.Fprintf(&b, "| %s | %d |\n", kind, w.counts.of[kind])
	}
	w.Logf("\n## %s\n\n%s", title, b.String())
	if plan.report != "" {
		if err := report(plan.report, title, b.String()); err != nil {
			w.Error(err)
		}
	}
	if seen.loads == 0 || seen.objects == 0 {
		w.Error(errors.New("nothing was loaded: this proves nothing"))
	}
}

// redelivered counts in the dispatchers' logs how often a commit was delivered
// to one after another had it.
func (w *chaosWorld) redelivered() int {
	w.fleet.mu.Lock()
	defer w.fleet.mu.Unlock()
	n := 0
	for _, p := range w.processes {
		if strings.HasPrefix(p.name, "dispatcher ") {
			n += strings.Count(p.err.text(), `"attempt":`) - strings.Count(p.err.text(), `"attempt":1,`)
		}
	}
	return n
}

// report puts a section into a file of Markdown, in place of the one of that
// title or behind the others.
func report(file, title, text string) error {
	doc, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	section := "## " + title + "\n\n" + strings.TrimSpace(text) + "\n"
	before, after, found := strings.Cut("\n"+string(doc), "\n## "+title+"\n")
	if !found {
		return os.WriteFile(file, []byte(strings.TrimSpace(string(doc)+"\n")+"\n\n"+section), 0o644)
	}
	if at := strings.Index(after, "\n## "); at >= 0 {
		section += after[at:]
	}
	return os.WriteFile(file, []byte(strings.TrimSpace(before)+"\n\n"+section), 0o644)
}
