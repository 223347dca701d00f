package main

import (
	"testing"
)

// TestStatusWatch draws the screen until it is interrupted.
func TestStatusWatch(t *testing.T) {
	t.Parallel()
	h := startHome(t, "--bucket", "acme")
	watching := h.terminal.start(t, "status", "--watch")
	watching.await(t, "loads backfill")
	watching.await(t, "worker", "running") // a later screen: presence takes its time
	watching.stop(t)
	h.run(t, exitUsage, "", "status", "--watch", "-o", "json")
}
