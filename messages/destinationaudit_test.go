package messages

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDestinationAudit(t *testing.T) {
	good := func() *DestinationAudit {
		return &DestinationAudit{Version: 1, Operation: "O1", Action: DestinationPause, Destination: "acme", By: "ann", Time: time.Unix(0, 0).UTC(),
			Changes: []FieldChange{{"paused", "false", "true"}}, End: DestinationDone, Revision: 7}
	}
	body, err := EncodeDestinationAudit(good())
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseDestinationAudit(body)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(good(), back); d != "" {
		t.Errorf("back (-want +got):\n%s", d)
	}
	if got, want := DestinationAuditSubject(back), "audit.destination.acme.O1"; got != want {
		t.Errorf("subject: got %s, want %s", got, want)
	}
	if got, want := DestinationAuditSubjects(""), "audit.destination.*.*"; got != want {
		t.Errorf("subjects: got %s, want %s", got, want)
	}
	for _, c := range []struct {
		name, want string
		change     func(*DestinationAudit)
	}{
		{"version", "version 2", func(a *DestinationAudit) { a.Version = 2 }},
		{"operation", "operation", func(a *DestinationAudit) { a.Operation = "a.b" }},
		{"destination", "destination", func(a *DestinationAudit) { a.Destination = "*" }},
		{"action", "unknown action", func(a *DestinationAudit) { a.Action = "burn" }},
		{"nobody", "by", func(a *DestinationAudit) { a.By = "" }},
		{"time", "time", func(a *DestinationAudit) { a.Time = time.Time{} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := good()
			c.change(a)
			if _, err := EncodeDestinationAudit(a); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want it to name %q", err, c.want)
			}
		})
	}
}
