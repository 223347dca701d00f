package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDestinationStatesAsJSON: commands that change a destination's state say with
// -o json what it is now.
func TestDestinationStatesAsJSON(t *testing.T) {
	t.Parallel()
	h := startHome(t, "--servers-only")
	h.run(t, exitOK, `
id: umbrella
connection_option: role_chain
assume_role_arn: arn:aws:iam::444455556666:role/writer
external_id: umbrella-1
region: us-east-1
bucket: umbrella-data
folder: /out
file_name: "{{YYYY}}-{{MM}}-{{DD}}"
file_format: csv
workspaces: [default]
`, "destination", "apply", "-f", "-")
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"pause", "umbrella"}, "paused"},
		{[]string{"resume", "umbrella"}, "waits for approval"},
		{[]string{"approve", "umbrella"}, "open"},
		{[]string{"approve", "umbrella"}, "open"}, // changes nothing
		{[]string{"delete", "umbrella", "--yes"}, "deleted"},
	} {
		var got map[string]string
		h.read(t, &got, append([]string{"destination"}, tt.args...)...)
		if diff := cmp.Diff(map[string]string{"id": "umbrella", "state": tt.want}, got); diff != "" {
			t.Errorf("destination %q (-want +got):\n%s", tt.args, diff)
		}
	}
}
