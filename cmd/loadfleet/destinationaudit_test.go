package main

import (
	"strings"
	"testing"

	"github.com/loadfleet/loadfleet/messages"
)

// What commands do to a destination is told by `destination audit`, with who did
// it and no secret.
func TestDestinationAudit(t *testing.T) {
	t.Parallel()
	h := startHome(t, "--bucket", "acme")
	const secret = "another/SECRET+access=key&Zq9~"
	h.set("OTHER_SECRET", secret)
	document := p10Document("acme", h.variable("AWS_ACCESS_KEY_ID"), "env:AWS_SECRET_ACCESS_KEY", h.variable("AWS_ENDPOINT_URL"), "loads")
	h.run(t, exitOK, document, "destination", "apply", "-f", "-")
	h.run(t, exitOK, document, "destination", "apply", "-f", "-") // changes nothing
	h.run(t, exitOK, strings.NewReplacer("env:AWS_SECRET_ACCESS_KEY", "env:OTHER_SECRET", "canary-of-the-run acme", "Acme").Replace(document),
		"destination", "apply", "-f", "-", "--by", "ann")
	h.run(t, exitOK, "", "destination", "pause", "acme", "--by", "bob")
	h.run(t, exitOK, "", "destination", "resume", "acme", "--by", "bob")
	h.run(t, exitOK, "", "destination", "resume", "acme", "--by", "bob") // changes nothing
	h.run(t, exitOK, "", "destination", "delete", "acme", "--yes", "--by", "bob")

	var all []messages.DestinationAudit
	h.read(t, &all, "destination", "audit", "acme")
	if len(all) != 5 || all[4].By != whoami() || !all[4].Created || all[0].Action != messages.DestinationDelete || all[0].End != messages.DestinationDone {
		t.Fatalf("audit: got %+v", all)
	}
	f := h.run(t, exitOK, "", "destination", "audit")
	for n, want := range [][]string{
		{"TIME", "CHANGED"}, {" bob ", " delete ", " done "}, {" bob ", " resume ", `paused: "true" -> "false"`}, {" bob ", " pause ", `paused: "false" -> "true"`},
		{" ann ", " apply ", `title: "canary-of-the-run acme" -> "Acme"; secret_access_key: "[redacted]" -> "changed"`}, {" create ", " settings "},
	} {
		if line := strings.Split(f.out, "\n")[n]; !holdsAll(line, want) {
			t.Errorf("line %d is %q, want %q", n, line, want)
		}
	}
	found := newSearch("canary-of-the-run", map[string]string{"secret": secret, "first secret": h.variable("AWS_SECRET_ACCESS_KEY")})
	found.look(t, "audit", "human", []byte(f.out))
	found.look(t, "audit", "json", []byte(h.run(t, exitOK, "", "destination", "audit", "-o", "json").out))
	if f := h.run(t, exitOK, "", "destination", "audit", "other", "-o", "json"); strings.TrimSpace(f.out) != "[]" {
		t.Errorf("of another: %s", f.out)
	}
}
