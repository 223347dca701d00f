package console

import (
	"fmt"
	"slices"
	"time"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
)

// shownLoads is how many loads a page lists, and longestLook how far back it
// looks: what it reads is what was stored since then.
const (
	shownLoads  = 300
	longestLook = 31 * 24 * time.Hour
)

type loadList struct {
	Destination, Workspace, Result, Since string
	Results                               []messages.Result
	Rows                                  []queue.LoadOutcome
	More                                  int
}

// loads lists how loads ended lately, over all extractions.
func (c *Console) loads(r *request) (any, error) {
	r.name = "loads"
	l := loadList{
		Destination: r.Form.Get("destination"), Workspace: r.Form.Get("workspace"), Result: r.Form.Get("result"), Since: r.Form.Get("since"),
		Results: messages.Results(),
	}
	if l.Since == "" {
		l.Since = "48h"
	}
	back, err := time.ParseDuration(l.Since)
	if err != nil || back <= 0 || back > longestLook {
		return nil, &said{400, fmt.Sprintf("%q is no age.", l.Since), "Write 48h or 90m, up to 744h; `loadfleet load list` looks further back."}
	}
	result := messages.Result(l.Result)
	if result != "" && !slices.Contains(l.Results, result) {
		return nil, &said{400, fmt.Sprintf("No load ends as %q.", l.Result), "Choose one of the list."}
	}
	l.Rows, l.More, err = c.cfg.Queue.LatestOutcomes(r.Context(), queue.OutcomeFilter{
		Destination: l.Destination, Workspace: l.Workspace, Result: result, Since: time.Now().Add(-back),
	}, shownLoads)
	return l, err
}
