package main

import "testing"

// TestEmptyListsAreLists: what lists nothing prints a list, for programs that walk it.
func TestEmptyListsAreLists(t *testing.T) {
	t.Parallel()
	h := startHome(t, "--bucket", "acme")
	h.applyAcme(t, "acme")
	for _, args := range [][]string{
		{"deadletter", "list"}, {"deadletter", "replay", "--all", "--dry-run"}, {"deadletter", "discard", "--all", "--dry-run"}, {"deadletter", "audit"},
		{"extraction", "list"}, {"extraction", "list", "--late"}, {"load", "list"}, {"verify", "--all"},
		{"destination", "orphans", "acme"}, {"destination", "audit", "nobody"}, {"fleet", "audit"},
	} {
		if f := h.run(t, exitOK, "", append(args, "-o", "json")...); f.out != "[]\n" {
			t.Errorf("%q prints %q, want []", args, f.out)
		}
	}
	h.run(t, exitBad, adDays(1), "publish", "-", "--format", "ndjson", "--destination", "nowhere", "--table", "ads", "--extraction", "failed", "--wait")
	if f := h.run(t, exitOK, "", "extraction", "show", "failed", "-o", "json"); !holdsAll(f.out, []string{`"outcomes": []`}) {
		t.Errorf("extraction show prints %s", f.out)
	}
	if f := h.run(t, exitOK, "", "destination", "orphans", "acme", "--remove", "--yes", "-o", "json"); !holdsAll(f.out, []string{`"kept": []`}) {
		t.Errorf("destination orphans --remove prints %s", f.out)
	}
}
