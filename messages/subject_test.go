package messages

import (
	"strings"
	"testing"
)

func TestSubjects(t *testing.T) {
	load := &Load{ID: "a1", Destination: "lake", Extraction: "x1", Lane: Fresh}
	for _, c := range []struct{ name, got, want string }{
		{"rows", RowsSubject("acme", "x1"), "rows.acme.x1"},
		{"commit", CommitSubject("acme", "x1"), "commit.acme.x1"},
		{"recommit", RecommitSubject("acme", "x1", 7), "recommit.acme.x1.7"},
		{"load", LoadSubject(load), "load.fresh.lake.x1.a1"},
		{"lane", LaneSubjects(Backfill), "load.backfill.>"},
		{"slice", SliceSubject("x1", "a1", "t0"), "slice.x1.a1.t0"},
		{"dispatched", DispatchedSubject("acme", "x1", 2), "dispatched.acme.x1.2"},
		{"second", SecondSubject("acme", "out/*.csv", 1e9), "dispatched.%second.c5e1ba2284387cd1faafa969fc3c2124.1000000000"},
		{"event", EventSubject(&Event{Kind: EventCompleted, Workspace: "acme", Extraction: "x1"}), "event.acme.x1.completed"},
		{"outcome", EventSubject(&Event{Kind: EventOutcome, Workspace: "acme", Extraction: "x1", Outcome: &Outcome{Load: "a1"}}), "event.acme.x1.outcome.a1"},
		{"events", EventSubjects("acme", "x1"), "event.acme.x1.>"},
		{"kind of a workspace", EventKindSubjects("acme", EventFailed), "event.acme.*.failed"},
		{"kind of all", EventKindSubjects("", EventFailed), "event.*.*.failed"},
		{"dead letter", DeadLetterSubject(&DeadLetter{Stage: StageLoad, Destination: "lake", ID: "a1"}), "dead.load.lake.a1"},
		{"no destination", DeadLetterSubject(&DeadLetter{Stage: StageDispatch, ID: "x1"}), "dead.dispatch.%.x1"},
		{"wildcards are escaped", RowsSubject("*", ">"), "rows.%2A.%3E"},
		{"dots are escaped", RowsSubject("a.b", "ü"), "rows.a%2Eb.%C3%BC"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.got != c.want {
				t.Errorf("got %q, want %q", c.got, c.want)
			}
		})
	}
}

func TestOriginUndoesTheBuilders(t *testing.T) {
	for _, subject := range []string{RowsSubject("acme", "x-1_B"), CommitSubject("acme", "x-1_B"), RecommitSubject("acme", "x-1_B", 1<<63)} {
		if w, x, ok := Origin(subject); w != "acme" || x != "x-1_B" || !ok {
			t.Errorf("Origin(%q) = %q, %q, %t; want acme, x-1_B", subject, w, x, ok)
		}
	}
	long := strings.Repeat("a", MaxID+1)
	for _, subject := range []string{
		"", "rows", "rows.acme", "rows.acme.x1.2", "commit.acme.x1.2", "recommit.acme.x1", "recommit.acme.x1.2.3",
		"load.acme.x1", "rows..x1", "rows.acme.", "rows.%.x1", "rows.a%2Eb.x1", "rows.*.x1", "rows.acme.>",
		"rows." + long + ".x1", "Rows.acme.x1", RowsSubject("a.b", "x1"), RowsSubject("", "x1"),
	} {
		if w, x, ok := Origin(subject); ok {
			t.Errorf("Origin(%q) = %q, %q, true; want false", subject, w, x)
		}
	}
}

func TestValidID(t *testing.T) {
	for _, c := range []struct {
		id   string
		want bool
	}{
		{"a", true}, {"A-b_9", true}, {"-", true}, {"_", true}, {strings.Repeat("x", MaxID), true},
		{"", false}, {strings.Repeat("x", MaxID+1), false}, {"a.b", false}, {"a b", false}, {"a/b", false},
		{"..", false}, {"*", false}, {">", false}, {"ü", false}, {"a\n", false}, {"a\x00", false}, {"%41", false}, {"\xff", false},
	} {
		if got := ValidID(c.id); got != c.want {
			t.Errorf("ValidID(%q) = %t, want %t", c.id, got, c.want)
		}
		if c.want && Token(c.id) != c.id {
			t.Errorf("Token(%q) = %q: an id must be its own token", c.id, Token(c.id))
		}
	}
}

// untoken is the inverse of Token, which exists only to prove that there is one.
func untoken(t string) (string, bool) {
	if t == "%" {
		return "", true
	}
	var b strings.Builder
	for i := 0; i < len(t); i++ {
		switch {
		case tokenByte(t[i]):
			b.WriteByte(t[i])
		case t[i] == '%' && i+2 < len(t):
			high, low := strings.IndexByte("0123456789ABCDEF", t[i+1]), strings.IndexByte("0123456789ABCDEF", t[i+2])
			if high < 0 || low < 0 {
				return "", false
			}
			b.WriteByte(byte(high<<4 | low))
			i += 2
		default:
			return "", false
		}
	}
	return b.String(), true
}

// TestTokenIsInjective tries every string of up to two bytes: each comes back
// from its token, so no two share one.
func TestTokenIsInjective(t *testing.T) {
	names := []string{""}
	for a := range 256 {
		names = append(names, string([]byte{byte(a)}))
		for b := range 256 {
			names = append(names, string([]byte{byte(a), byte(b)}))
		}
	}
	owner := make(map[string]string, len(names))
	for _, name := range names {
		checkToken(t, name)
		if other, taken := owner[Token(name)]; taken {
			t.Errorf("Token(%q) and Token(%q) are both %q", name, other, Token(name))
		}
		owner[Token(name)] = name
	}
}

func FuzzToken(f *testing.F) {
	for _, s := range []string{"", "%", "a.b", "%2E", "acme/eu", "..", "ünï çødé", "\x00\xff", ">", "*"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) { checkToken(t, name) })
}

func checkToken(t *testing.T, name string) {
	t.Helper()
	token := Token(name)
	if token == "" || strings.ContainsAny(token, ".*> \t\r\n\x00") {
		t.Errorf("Token(%q) = %q is not one token of a subject", name, token)
	}
	if back, ok := untoken(token); !ok || back != name {
		t.Errorf("Token(%q) = %q comes back as %q, %t", name, token, back, ok)
	}
}
