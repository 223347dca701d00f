package console

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
)

// extractionRow is an extraction in a table.
type extractionRow struct {
	*queue.ExtractionState
	Word string // how it stands
	Dead int64
	Done int // percent
}

func rowOf(s *queue.ExtractionState) extractionRow {
	row := extractionRow{ExtractionState: s, Word: string(s.State), Dead: s.Counts[messages.DeadLettered].Loads}
	if s.Plan != nil {
		row.Done = percent(s.Counts.Total().Loads, s.Plan.Loads)
		if s.Plan.Loads == 0 {
			row.Done = 100
		}
	}
	switch {
	case late(s):
		row.Word = "late"
	case s.State == messages.EventDispatched && s.Left() == 0:
		row.Word = string(messages.EventCompleted)
	case s.State == messages.EventDispatched:
		row.Word = "loading"
	}
	return row
}

// shownExtractions is how many a page lists.
const shownExtractions = 200

type extractionList struct {
	Rows                   []extractionRow
	More                   int
	Destination, Find, How string
	Destinations           []string
}

func (c *Console) extractions(r *request) (any, error) {
	r.name = "extractions"
	l := extractionList{Destination: r.Form.Get("destination"), Find: strings.TrimSpace(r.Form.Get("find")), How: r.Form.Get("how")}
	for _, s := range c.index.All() {
		if !slices.Contains(l.Destinations, s.Destination) && s.Destination != "" {
			l.Destinations = append(l.Destinations, s.Destination)
		}
		row := rowOf(s)
		switch {
		case l.Destination != "" && s.Destination != l.Destination:
		case l.Find != "" && !strings.Contains(s.Extraction+" "+s.Workspace+" "+s.Table, l.Find):
		case l.How == "open" && ended(s), l.How == "late" && !late(s), l.How == "failed" && s.State != messages.EventFailed && row.Dead == 0:
		case len(l.Rows) == shownExtractions:
			l.More++
		default:
			l.Rows = append(l.Rows, row)
		}
	}
	slices.Sort(l.Destinations)
	return l, nil
}

// shownOutcomes is how many a page lists, and readOutcomes of how many it
// chooses.
const (
	shownOutcomes = 300
	readOutcomes  = 20_000
)

type extractionPage struct {
	extractionRow
	Stored   messages.Count
	Results  []resultCount
	Outcomes []messages.Outcome
	More     int
	Result   string
	Took     time.Duration
}

type resultCount struct {
	Result messages.Result
	messages.Count
}

func (c *Console) extraction(r *request) (any, error) {
	r.name = "extraction"
	s := c.index.Get(r.PathValue("ws"), r.PathValue("id"))
	if s == nil {
		return nil, notFound("There is no extraction %s of workspace %s.", r.PathValue("id"), r.PathValue("ws"))
	}
	p := extractionPage{extractionRow: rowOf(s), Stored: s.Counts.Stored(), Result: r.Form.Get("result")}
	if !s.Ended.IsZero() && !s.Accepted.IsZero() {
		p.Took = s.Ended.Sub(s.Accepted).Round(100 * time.Millisecond)
	}
	for _, result := range messages.Results() {
		if n := s.Counts[result]; n.Loads > 0 {
			p.Results = append(p.Results, resultCount{result, n})
		}
	}
	read := 0
	for o, err := range c.cfg.Queue.Outcomes(r.Context(), s.Workspace, s.Extraction) {
		if err != nil {
			return nil, err
		}
		if read++; read > readOutcomes {
			break
		}
		if p.Result == "" || p.Result == string(o.Result) {
			p.Outcomes = append(p.Outcomes, o)
		}
	}
	// What is wrong comes first.
	slices.SortFunc(p.Outcomes, func(a, b messages.Outcome) int {
		dead := func(o messages.Outcome) int {
			if o.Result == messages.DeadLettered {
				return 0
			}
			return 1
		}
		return cmp.Or(dead(a)-dead(b), strings.Compare(a.Key, b.Key))
	})
	if n := len(p.Outcomes); n > shownOutcomes {
		p.Outcomes, p.More = p.Outcomes[:shownOutcomes], n-shownOutcomes
	}
	return p, nil
}
