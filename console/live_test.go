package console_test

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/loadfleet/loadfleet/messages"
)

// TestLivePagesMissNoChange: changes that come right after one was told are told,
// too, long before the event that comes every 15 seconds whatever happens.
func TestLivePagesMissNoChange(t *testing.T) {
	d := open(t, nil)
	operator := d.as(t, operatorToken)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, d.server.URL+"/live", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := operator.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	heard := func() bool {
		for lines.Scan() {
			if lines.Text() == "event: changed" {
				return true
			}
		}
		return false
	}
	for _, extraction := range []string{"live1", "live2", "live3"} {
		if err := d.Publish(t.Context(), messages.Event{Kind: messages.EventFailed, Workspace: "ws", Extraction: extraction, Destination: "acme",
			Failure: &messages.Failure{Reason: messages.ReasonBadRow, Message: "m"}}); err != nil {
			t.Fatal(err)
		}
		for told := false; !told; {
			if !heard() {
				t.Fatalf("%s is not told: %v", extraction, lines.Err())
			}
			told = strings.Contains(d.body(t, operator, "/extractions"), extraction)
		}
	}
}
