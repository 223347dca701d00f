package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// offers checks that a shell is offered a line for what was typed.
func (h *home) offers(t *testing.T, want string, typed ...string) {
	t.Helper()
	got := h.run(t, exitOK, "", append([]string{"__complete"}, typed...)...)
	if !slices.Contains(strings.Split(got.out, "\n"), want) {
		t.Errorf("completion of %q: got %q, want the line %q", typed, got.out, want)
	}
}

// What needs no queue is offered without one; what does need one is not, and
// says nothing.
func TestCompletionWithoutQueue(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		typed []string
		want  string
	}{
		{"output", []string{"status", "-o", ""}, "human\njson\n:4\n"},
		{"formats of bench", []string{"bench", "--format", ""}, "csv\ncsv+gzip\njson\njson+gzip\nparquet\navro\n:4\n"},
		{"formats of rows", []string{"publish", "--format", "n"}, "ndjson\ncsv\narrow\nparquet\n:4\n"},
		{"lanes", []string{"publish", "--lane", ""}, "fresh\nbackfill\n:4\n"},
		{"stages", []string{"deadletter", "list", "--stage", ""}, "dispatch\nload\n:4\n"},
		{"verbs", []string{"deadletter", "audit", "--verb", ""}, "replay\ndiscard\n:4\n"},
		{"syncs", []string{"bench", "--sync", ""}, "always\ndefault\n:4\n"},
		{"copies", []string{"provision", "--replicas", ""}, "1\n3\n5\n:4\n"},
		{"a file", []string{"destination", "apply", "-f", ""}, ":0\n"},
		{"nothing to name", []string{"status", ""}, ":4\n"},
		{"one name is enough", []string{"destination", "show", "acme", ""}, ":4\n"},
		{"names", []string{"--nats-url", "nats://127.0.0.1:1", "destination", "show", ""}, ":4\n"},
		{"numbers", []string{"--nats-url", "nats://127.0.0.1:1", "deadletter", "replay", "1", ""}, ":4\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out, errw bytes.Buffer
			code := run(append([]string{"__complete"}, tt.typed...), strings.NewReader(""), &out, &errw)
			if got := out.String(); code != exitOK || got != tt.want {
				t.Errorf("exit code %d, got %q, want %q; it said %s", code, got, tt.want, &errw)
			}
		})
	}
}
