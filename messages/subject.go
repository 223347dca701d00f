package messages

import (
	"crypto/sha256"
	"fmt"
	"strings"
)

// The subjects' first tokens. Every subject is built by a function of this
// file, and every name in it by Token.
const (
	rowsRoot       = "rows"
	commitRoot     = "commit"
	recommitRoot   = "recommit"
	loadRoot       = "load"
	sliceRoot      = "slice"
	dispatchedRoot = "dispatched"
	eventRoot      = "event"
	deadRoot       = "dead"
	schemaRoot     = "schema"
	objectRoot     = "object"
	auditRoot      = "audit"
	tallyRoot      = "tally"
	leaseRoot      = "lease"
	presenceRoot   = "presence"
	controlRoot    = "control"
)

// Token escapes a name to one token of a subject: bytes other than letters,
// digits, '-' and '_' become %XX, and the empty name becomes "%". It is
// injective, so that no two names ever share a subject.
func Token(name string) string {
	if name == "" {
		return "%"
	}
	plain := true
	for i := 0; i < len(name) && plain; i++ {
		plain = tokenByte(name[i])
	}
	if plain {
		return name
	}
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		if tokenByte(name[i]) {
			b.WriteByte(name[i])
		} else {
			fmt.Fprintf(&b, "%%%02X", name[i])
		}
	}
	return b.String()
}

func tokenByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

// MaxID is the longest id of a workspace, destination or extraction, in bytes.
const MaxID = 64

// ValidID reports whether s may be the id of a workspace, destination or
// extraction: 1 to MaxID letters, digits, dashes and underscores. Such an id
// is its own Token, so that an extractor can write subjects by hand.
func ValidID(s string) bool {
	if s == "" || len(s) > MaxID {
		return false
	}
	for i := 0; i < len(s); i++ {
		if !tokenByte(s[i]) {
			return false
		}
	}
	return true
}

// RowsSubject is where the batches of an extraction are published.
func RowsSubject(workspace, extraction string) string {
	return rowsRoot + "." + Token(workspace) + "." + Token(extraction)
}

// CommitSubject is where an extraction is committed.
func CommitSubject(workspace, extraction string) string {
	return commitRoot + "." + Token(workspace) + "." + Token(extraction)
}

// RecommitSubject is where the replay of a dead-lettered commit is published;
// replay is the dead letter's sequence number.
func RecommitSubject(workspace, extraction string, replay uint64) string {
	return fmt.Sprintf("%s.%s.%s.%d", recommitRoot, Token(workspace), Token(extraction), replay)
}

// Origin says which workspace and extraction a rows, commit or recommit
// subject belongs to. The server let only the workspace's own publisher write
// there: what a body claims is checked against this, never the other way round.
func Origin(subject string) (workspace, extraction string, ok bool) {
	t := strings.Split(subject, ".")
	switch {
	case len(t) == 3 && (t[0] == rowsRoot || t[0] == commitRoot), len(t) == 4 && t[0] == recommitRoot:
		return t[1], t[2], ValidID(t[1]) && ValidID(t[2])
	}
	return "", "", false
}

// LoadSubject is where a load waits for a worker.
func LoadSubject(l *Load) string {
	return strings.Join([]string{loadRoot, string(l.Lane), Token(l.Destination), Token(l.Extraction), Token(l.ID)}, ".")
}

// LaneSubjects is the filter for all loads of a lane.
func LaneSubjects(lane Lane) string { return loadRoot + "." + string(lane) + ".>" }

// SliceSubject is where the rows of a load too large to carry them are put.
// try tells apart the dispatch attempts of one extraction.
func SliceSubject(extraction, load, try string) string {
	return strings.Join([]string{sliceRoot, Token(extraction), Token(load), Token(try)}, ".")
}

// DispatchedSubject is the marker of the n-th chunk of an extraction's loads.
func DispatchedSubject(workspace, extraction string, chunk int) string {
	return fmt.Sprintf("%s.%s.%s.%d", dispatchedRoot, Token(workspace), Token(extraction), chunk)
}

// SecondSubject is where it is marked that an extraction has the names of one second
// under a pattern of keys. No workspace's token begins as its second one does.
func SecondSubject(bucket, glob string, second int64) string {
	sum := sha256.Sum256([]byte(bucket + "/" + glob))
	return fmt.Sprintf("%s.%%second.%x.%d", dispatchedRoot, sum[:16], second)
}

// EventSubject is where an event is published: one subject per kind, and one
// per load for outcomes, so that the last word on each can be asked for.
func EventSubject(e *Event) string {
	s := strings.Join([]string{eventRoot, Token(e.Workspace), Token(e.Extraction), string(e.Kind)}, ".")
	if e.Kind == EventOutcome && e.Outcome != nil {
		s += "." + Token(e.Outcome.Load)
	}
	return s
}

// EventOrigin says of which extraction and kind the event on a subject is.
func EventOrigin(subject string) (workspace, extraction string, kind EventKind, ok bool) {
	t := strings.Split(subject, ".")
	if len(t) < 4 || t[0] != eventRoot || !ValidID(t[1]) || !ValidID(t[2]) {
		return "", "", "", false
	}
	return t[1], t[2], EventKind(t[3]), true
}

// EventSubjects is the filter for all events of an extraction.
func EventSubjects(workspace, extraction string) string {
	return strings.Join([]string{eventRoot, Token(workspace), Token(extraction), ">"}, ".")
}

// EventKindSubjects is the filter for one kind of event of every extraction
// of a workspace; the empty workspace stands for all.
func EventKindSubjects(workspace string, kind EventKind) string {
	w := "*"
	if workspace != "" {
		w = Token(workspace)
	}
	return strings.Join([]string{eventRoot, w, "*", string(kind)}, ".")
}

// DeadLetterSubject is the one place of a dead letter.
func DeadLetterSubject(d *DeadLetter) string {
	return strings.Join([]string{deadRoot, string(d.Stage), Token(d.Destination), Token(d.ID)}, ".")
}

// TableSchemaSubject is where the last known columns of a table stand.
func TableSchemaSubject(destination, workspace, table string) string {
	return strings.Join([]string{schemaRoot, Token(destination), Token(workspace), Token(table)}, ".")
}

// PlanSubject is where the plan of an extraction's dispatch is pinned.
func PlanSubject(workspace, extraction string) string {
	return strings.Join([]string{dispatchedRoot, Token(workspace), Token(extraction), "plan"}, ".")
}

// PresenceSubject is where a process says that it is there. What is published
// on it is not stored.
func PresenceSubject(role Role, name string) string {
	return presenceRoot + "." + string(role) + "." + Token(name)
}

// PresenceSubjects is the filter for the processes of every role.
func PresenceSubjects() string { return presenceRoot + ".*.*" }

// ControlSubject is the one place of what operators want of the processes of a
// name.
func ControlSubject(role Role, name string) string {
	return controlRoot + "." + string(role) + "." + Token(name)
}

// ControlSubjects is the filter for all of it.
func ControlSubjects() string { return controlRoot + ".*.*" }

// ControlAuditSubject is the one place of the record of an operator's decision
// about processes.
func ControlAuditSubject(c *Control) string {
	return strings.Join([]string{auditRoot, "fleet", Token(c.Name), Token(c.Operation)}, ".")
}

// ControlAuditSubjects is the filter for the decisions about the processes of a
// name; the empty name stands for all.
func ControlAuditSubjects(name string) string {
	n := "*"
	if name != "" {
		n = Token(name)
	}
	return strings.Join([]string{auditRoot, "fleet", n, "*"}, ".")
}
