package console

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
)

// shownDead is how many dead letters a page lists. What is decided about all that
// a filter chooses is decided about all of them.
const shownDead = 100

type deadList struct {
	filterForm
	*queue.DeadLetterPage
	Before  uint64 // the sequence below which it lists; 0 for the newest
	Here    string // the path of the newest page
	Next    string // that of the next; "" when this is the last
	Dry     string // the verb of a dry run
	Reasons []messages.Reason
}

// filterForm is the filter as it was written.
type filterForm struct{ Destination, Reason, Extraction, Workspace, Stage, Since string }

func formOf(r *request) filterForm {
	v := r.Form
	return filterForm{v.Get("destination"), v.Get("reason"), v.Get("extraction"), v.Get("workspace"), v.Get("stage"), v.Get("since")}
}

func (f filterForm) filter() (queue.DeadLetterFilter, error) {
	q := queue.DeadLetterFilter{
		Destination: f.Destination, Reason: messages.Reason(f.Reason), Extraction: f.Extraction, Workspace: f.Workspace, Stage: messages.Stage(f.Stage),
	}
	if f.Since != "" {
		d, err := time.ParseDuration(f.Since)
		if err != nil {
			return q, &said{400, fmt.Sprintf("%q is no age.", f.Since), "Write 24h or 90m."}
		}
		q.Since = time.Now().Add(-d)
	}
	return q, nil
}

// query is the form as a query, and as the words of the command line.
func (f filterForm) query() (query, words string) {
	v := url.Values{}
	for _, pair := range [][2]string{
		{"destination", f.Destination}, {"reason", f.Reason}, {"extraction", f.Extraction}, {"workspace", f.Workspace}, {"stage", f.Stage}, {"since", f.Since},
	} {
		if pair[1] != "" {
			v.Set(pair[0], pair[1])
			words += " --" + pair[0] + " " + pair[1]
		}
	}
	return v.Encode(), strings.TrimSpace(words)
}

func (c *Console) deadLetters(r *request) (any, error) {
	r.name = "deadletters"
	l := deadList{filterForm: formOf(r), Dry: r.Form.Get("dry"), Reasons: messages.Reasons()}
	query, _ := l.query()
	l.Here = listed(query, 0)
	filter, err := l.filter()
	if err != nil {
		return nil, err
	}
	if text := r.Form.Get("before"); text != "" {
		if l.Before, err = strconv.ParseUint(text, 10, 64); err != nil {
			return nil, notFound("%q is no dead letter's number.", text)
		}
	}
	if l.DeadLetterPage, err = c.cfg.Queue.DeadLetterPage(r.Context(), filter, l.Before, shownDead); err != nil {
		return nil, err
	}
	if l.Older > 0 && len(l.Letters) > 0 {
		l.Next = listed(query, l.Letters[len(l.Letters)-1].Sequence)
	}
	return l, nil
}

// listed is the path of a page: what the query chooses, below a sequence unless
// it is 0.
func listed(query string, before uint64) string {
	if before > 0 {
		query += fmt.Sprintf("&before=%d", before)
	}
	return strings.TrimSuffix("/deadletters?"+strings.TrimPrefix(query, "&"), "?")
}

type deadPage struct {
	*queue.DeadMessage
	Load   *messages.Load
	Header [][2]string
	Body   string // of a commit: it is JSON
}

func (c *Console) deadLetter(r *request) (any, error) {
	r.name = "deadletter"
	seq, err := strconv.ParseUint(r.PathValue("seq"), 10, 64)
	if err != nil {
		return nil, notFound("%q is no dead letter's number.", r.PathValue("seq"))
	}
	d, err := c.cfg.Queue.DeadLetter(r.Context(), seq)
	if errors.Is(err, queue.ErrNotFound) {
		return nil, notFound("There is no dead letter %d.", seq)
	}
	if err != nil {
		return nil, err
	}
	p := deadPage{DeadMessage: d}
	for name, values := range d.Header {
		p.Header = append(p.Header, [2]string{name, strings.Join(values, ", ")})
	}
	slices.SortFunc(p.Header, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	if d.Stage == messages.StageDispatch {
		p.Body = string(d.Payload[:min(len(d.Payload), 64<<10)])
	}
	return p, nil
}

// decideDeadLetters replays or discards what was chosen: some by number, or all
// of a filter. A dry run only shows them.
func (c *Console) decideDeadLetters(r *request) (any, error) {
	form := formOf(r)
	query, words := form.query()
	verb := r.Form.Get("do")
	back := "/deadletters?" + query
	switch {
	case strings.HasPrefix(verb, "dry-"):
		return r.see(back+"&dry="+url.QueryEscape(strings.TrimPrefix(verb, "dry-")), "")
	case verb != string(messages.VerbReplay) && verb != string(messages.VerbDiscard):
		return nil, &said{400, "Say what to do.", "Press replay or discard."}
	}
	var picked []uint64
	for _, text := range r.Form["seq"] {
		if seq, err := strconv.ParseUint(text, 10, 64); err == nil {
			picked = append(picked, seq)
		}
	}
	if r.Form.Get("all") != "" {
		filter, err := form.filter()
		if err != nil {
			return nil, err
		}
		if filter == (queue.DeadLetterFilter{}) {
			words = "--all"
		}
		for d, err := range c.cfg.Queue.DeadLetters(r.Context(), filter) {
			if err != nil {
				return nil, err
			}
			picked = append(picked, d.Sequence)
		}
	} else {
		words = "chosen by hand"
		if cursor, err := strconv.ParseUint(r.Form.Get("before"), 10, 64); err == nil && cursor > 0 {
			back = listed(query, cursor)
		}
	}
	if len(picked) == 0 {
		return r.see(back, "Nothing was chosen.")
	}
	op := queue.NewOperation(r.who.Name+"@console", words)
	n, err := c.cfg.Queue.Decide(r.Context(), messages.Verb(verb), picked, op, 0)
	if err != nil {
		return nil, fmt.Errorf("%s dead letters, after %d: %w", verb, n, err)
	}
	return r.see(back, "%d of %d %sed. The audit has it as operation %s.", n, len(picked), strings.TrimSuffix(verb, "e"), op.ID)
}
