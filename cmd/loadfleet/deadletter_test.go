package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/loadfleet/loadfleet/queue"
)

// TestP8DeadLettersByCommand kills three loads, replays them by command, first
// dry, and finds each decision with its end in the audit. One has been overtaken
// by a newer extraction meanwhile: P4 holds for a replay, too.
func TestP8DeadLettersByCommand(t *testing.T) {
	t.Parallel()
	h := startHome(t, "--bucket", "acme", "--park-limit", "1ms")
	h.set("RIGHT", h.variable("AWS_SECRET_ACCESS_KEY"))
	h.set("WRONG", "not+the/secret/of+anybody+at+all")
	apply := func(secret string) {
		t.Helper()
		doc := fmt.Sprintf("id: acme\nconnection_option: access_keys\naccess_key_id: env:AWS_ACCESS_KEY_ID\nsecret_access_key: env:%s\nregion: us-east-1\nendpoint: %s\npath_style: true\nbucket: acme\nfolder: out\nfile_name: \"{{YYYY}}-{{MM}}-{{DD}}\"\nfile_format: csv\n",
			secret, h.variable("AWS_ENDPOINT_URL"))
		h.run(t, exitOK, doc, "destination", "apply", "-f", "-", "--yes")
	}
	publish := func(code int, rows, extraction, generation string) finished {
		t.Helper()
		return h.run(t, code, rows, "publish", "-", "--format", "ndjson", "--destination", "acme", "--table", "ads", "--date-column", "date",
			"--wait", "--extraction", extraction, "--generation", generation)
	}
	apply("WRONG")
	publish(exitBad, adDays(3), "old", "100")
	dead := func(flags ...string) (all []queue.DeadLetter) {
		t.Helper()
		h.read(t, &all, append([]string{"deadletter", "list"}, flags...)...)
		return all
	}
	letters := dead("--extraction", "old")
	if len(letters) != 3 || len(letters[0].Attempts) == 0 || letters[0].Attempts[0].Worker == "" || letters[0].Attempts[0].Time.IsZero() {
		t.Fatalf("dead letters: %+v, want three with their attempts", letters)
	}
	h.offers(t, "acme", "destination", "show", "")
	h.offers(t, "acme", "deadletter", "list", "--destination", "a")
	h.offers(t, "old\tcompleted, acme", "extraction", "show", "o")
	h.offers(t, "default", "extraction", "show", "old", "--workspace", "")
	h.offers(t, fmt.Sprintf("%d\t%s, acme", letters[0].Sequence, letters[0].Failure.Reason), "deadletter", "show", "")
	apply("RIGHT")
	publish(exitOK, strings.ReplaceAll(adDays(1), ".25", ".75"), "new", "200")

	for _, none := range [][]string{{"--destination", "other"}, {"--reason", "bad-row"}, {"--until", "24h"}, {"--extraction", "new"}, {"--id", "nobody"}} {
		if got := dead(none...); len(got) != 0 {
			t.Errorf("list %v: %d dead letters, want none", none, len(got))
		}
	}
	h.run(t, exitUsage, "", "deadletter", "replay")
	h.run(t, exitUsage, "", "deadletter", "replay", "--all", "--rate", "-1")
	if f := h.run(t, exitOK, "", "deadletter", "replay", "--all", "--dry-run"); !holdsAll(f.out, []string{"3 dead letters would be replayed", letters[2].ID}) {
		t.Errorf("the dry run says %q", f.out)
	}
	if n := len(dead()); n != 3 {
		t.Fatalf("%d dead letters after a dry run, want 3", n)
	}

	overtaken := ""
	for _, l := range letters {
		h.run(t, exitOK, "", "deadletter", "show", fmt.Sprint(l.Sequence))
		if l.Key == "out/2024-06-01.csv" {
			overtaken = l.ID
		}
	}
	if f := h.run(t, exitOK, "", "deadletter", "replay", "--id", overtaken, "--by", "ann"); !strings.HasPrefix(f.out, "1 dead letter replayed\n") {
		t.Errorf("replay of one says %q", f.out)
	}
	if f := h.run(t, exitOK, "", "deadletter", "replay", "--destination", "acme", "--reason", "destination", "--since", "1h", "--rate", "100", "--by", "ben"); !strings.HasPrefix(f.out, "2 dead letters replayed\n") {
		t.Errorf("replay of the rest says %q", f.out)
	}
	var became map[string]int
	for end := time.Now().Add(patience); ; {
		became = map[string]int{}
		var all []audited
		h.read(t, &all, "deadletter", "audit", "--extraction", "old")
		waiting := false
		for _, a := range all {
			if a.Fate.Outcome == nil {
				waiting = true
				continue
			}
			became[a.By+" "+string(a.Fate.Outcome.Result)]++
		}
		if !waiting {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("after the replays: %v", became)
		}
	}
	if d := cmp.Diff(map[string]int{"ann superseded": 1, "ben loaded": 2}, became); d != "" {
		t.Errorf("the audit (-want +got):\n%s", d)
	}
	if got := h.object(t, "out/2024-06-01.csv"); !strings.Contains(got, "0.75") || strings.Contains(got, "0.25") {
		t.Errorf("the newer day is %q", got)
	}
	for _, extraction := range []string{"old", "new"} {
		h.run(t, exitOK, "", "verify", extraction)
	}
	if f := h.run(t, exitOK, "", "deadletter", "audit", "--by", "ann"); !holdsAll(f.out, []string{"ann", "replay", "superseded", "--id " + overtaken}) {
		t.Errorf("the audit says %s", f.out)
	}
}
