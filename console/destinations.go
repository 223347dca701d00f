package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/storage"
)

// destinationRow is a destination in a table.
type destinationRow struct {
	*destination.Settings
	Revision     uint64
	Flow         string
	Parked, Dead int64
	Why          string
}

func (c *Console) destinations(r *request) (any, error) {
	r.name = "destinations"
	all, err := c.cfg.Queue.Destinations().List(r.Context())
	if err != nil {
		return nil, err
	}
	parked, err := c.cfg.Queue.Parked(r.Context())
	if err != nil {
		return nil, err
	}
	dead, err := c.cfg.Queue.DeadLetterCounts(r.Context())
	if err != nil {
		return nil, err
	}
	var rows []destinationRow
	for _, stored := range all {
		s, err := destination.Describe(stored.Document)
		if err != nil {
			return nil, fmt.Errorf("destination %s: %w", stored.ID, err)
		}
		row := destinationRow{Settings: s, Revision: stored.Revision, Flow: s.Flow()}
		for _, p := range parked {
			if p.Destination == s.ID {
				row.Parked, row.Why = p.Loads, p.Why
			}
		}
		for _, d := range dead {
			if d.Destination == s.ID {
				row.Dead += int64(d.Count)
			}
		}
		rows = append(rows, row)
	}
	return map[string]any{"Rows": rows}, nil
}

// shownChanges is how many changes of a destination its page tells of.
const shownChanges = 10

type destinationPage struct {
	destinationRow
	Document string
	Sample   []destination.Sampled
	Policy   *destination.Policy
	NoPolicy string
	History  []*queue.StoredDestination
	Audit    []messages.DestinationAudit // the last few changes, the latest first
	Warnings []destination.Problem
	Report   *storage.Report // of a check
	CanEdit  bool
}

func (c *Console) destination(r *request) (any, error) {
	r.name = "destination"
	return c.describe(r.Context(), r.PathValue("id"))
}

// describe is a destination without its secret, which no key is needed for.
func (c *Console) describe(ctx context.Context, id string) (*destinationPage, error) {
	stored, err := c.stored(ctx, id)
	if err != nil {
		return nil, err
	}
	s, err := destination.Describe(stored.Document)
	if err != nil {
		return nil, fmt.Errorf("destination %s: %w", id, err)
	}
	text, err := s.YAML()
	if err != nil {
		return nil, err
	}
	p := &destinationPage{
		destinationRow: destinationRow{Settings: s, Revision: stored.Revision, Flow: s.Flow()}, Document: string(text),
		Warnings: s.Warnings(), CanEdit: c.cfg.Keyring != nil,
	}
	p.Sample, _ = s.Sample(destination.Names{}) // what cannot be rendered is among the warnings
	policy, err := s.Policy(c.cfg.Fleet)
	if err != nil {
		p.NoPolicy = err.Error()
	} else {
		p.Policy = &policy
	}
	p.History, err = c.cfg.Queue.Destinations().History(ctx, id)
	slices.Reverse(p.History)
	if err != nil {
		return nil, err
	}
	for a, err := range c.cfg.Queue.Destinations().Audit(ctx, id) {
		if err != nil {
			return nil, err
		}
		if p.Audit = append(p.Audit, a); len(p.Audit) > shownChanges {
			p.Audit = p.Audit[1:]
		}
	}
	slices.Reverse(p.Audit)
	return p, nil
}

func (c *Console) stored(ctx context.Context, id string) (*queue.StoredDestination, error) {
	stored, err := c.cfg.Queue.Destinations().Get(ctx, id)
	if errors.Is(err, queue.ErrNotFound) {
		return nil, notFound("There is no destination %s.", id)
	}
	return stored, err
}

// open is a destination with its secret, to be changed or tried.
func (c *Console) open(ctx context.Context, id string) (*destination.Settings, uint64, error) {
	if c.cfg.Keyring == nil {
		return nil, 0, &said{http.StatusForbidden, "This console has no seal key.", "Start it with --seal-key, or use the command line."}
	}
	s, revision, err := c.cfg.Queue.Destinations().Open(ctx, c.cfg.Keyring, id)
	if errors.Is(err, queue.ErrNotFound) {
		return nil, 0, notFound("There is no destination %s.", id)
	}
	if errors.Is(err, destination.ErrUnknownKey) || errors.Is(err, destination.ErrTampered) {
		return nil, 0, &said{http.StatusConflict, "The destination's secret cannot be opened: " + err.Error(), "Start the console with the key that sealed it, or apply the destination again."}
	}
	return s, revision, err
}

func (c *Console) save(r *request, action messages.DestinationAction, from, s *destination.Settings, over uint64) error {
	_, err := c.cfg.Queue.Destinations().Save(r.Context(), c.cfg.Keyring, s, over, queue.Edit{Action: action, By: r.who.Name + "@console", From: from})
	if errors.Is(err, queue.ErrRevision) && over == 0 {
		return &said{http.StatusConflict, "There is a destination " + s.ID + " already.", "Change that one, or choose another id."}
	}
	if errors.Is(err, queue.ErrRevision) {
		return &said{http.StatusConflict, "Somebody else has changed the destination meanwhile.", "Look at it again, then change it."}
	}
	return err
}

// turnDestination is what one button does.
func (c *Console) turnDestination(r *request) (any, error) {
	id, action := r.PathValue("id"), messages.DestinationAction(r.PathValue("action"))
	set := map[messages.DestinationAction]func(*destination.Settings){
		messages.DestinationPause:   func(s *destination.Settings) { s.Paused = true },
		messages.DestinationResume:  func(s *destination.Settings) { s.Paused = false },
		messages.DestinationApprove: func(s *destination.Settings) { s.Approved = true },
	}[action]
	if set == nil {
		return nil, notFound("There is nothing to press that is called %q.", action)
	}
	s, revision, err := c.open(r.Context(), id)
	if err != nil {
		return nil, err
	}
	was := *s
	set(s)
	if err := c.save(r, action, &was, s, revision); err != nil {
		return nil, err
	}
	c.log.Sugar().Infow("destination", "destination", id, "did", action, "by", r.who.Name)
	return r.see("/destinations/"+id, "Destination %s: %s.", id, s.Flow())
}

func (c *Console) checkDestination(r *request) (any, error) {
	r.name = "destination"
	id := r.PathValue("id")
	s, _, err := c.open(r.Context(), id)
	if err != nil {
		return nil, err
	}
	prefix, err := s.Prefix()
	if err != nil {
		return nil, err
	}
	store, err := storage.OpenDestination(r.Context(), s, c.cfg.Storage)
	if err != nil {
		return nil, &said{http.StatusUnprocessableEntity, err.Error(), "Correct the destination's settings."}
	}
	defer store.Close()
	p, err := c.describe(r.Context(), id)
	if err != nil {
		return nil, err
	}
	p.Report = store.Check(r.Context(), storage.CheckConfig{Bucket: s.Bucket, Prefix: prefix, CanonicalID: c.cfg.Fleet.CanonicalID})
	return p, nil
}

// formField is a field of the connection form.
type formField struct {
	destination.FormField
	Value   string
	Problem string
}

type formPage struct {
	ID       string
	New      bool
	Revision uint64 // that the form was made of; 0 of a new one
	Outrun   bool   // it is no longer the one that stands
	Groups   []formGroup
	Problems []destination.Problem // of no single field
	Good     bool
	Leaves   string // what the change would leave behind; to be confirmed
	Sample   []destination.Sampled
	Warnings []destination.Problem
}

type formGroup struct {
	Title  string
	Fields []formField
}

func (c *Console) editDestination(r *request) (any, error) {
	r.name = "edit"
	id := r.PathValue("id")
	if id == "new" {
		return form(destination.FormDefaults(), "", true, nil), nil
	}
	p, err := c.describe(r.Context(), id)
	if err != nil {
		return nil, err
	}
	f := form(p.Settings.FormValues(), id, false, nil)
	f.Revision = p.Revision
	return f, nil
}

// form is the form with values, and what is wrong with them.
func form(values map[string]string, id string, isNew bool, wrong *destination.Problems) *formPage {
	f := &formPage{ID: id, New: isNew}
	problems := map[string]string{}
	if wrong != nil {
		for _, p := range *wrong {
			text := p.Message
			if p.Remedy != "" {
				text += ": " + p.Remedy
			}
			problems[p.Field] = strings.TrimPrefix(problems[p.Field]+"; "+text, "; ")
		}
	}
	known := map[string]bool{}
	for _, field := range destination.FormFields() {
		known[field.Name] = true
		if len(f.Groups) == 0 || f.Groups[len(f.Groups)-1].Title != field.Group {
			f.Groups = append(f.Groups, formGroup{Title: field.Group})
		}
		g := &f.Groups[len(f.Groups)-1]
		g.Fields = append(g.Fields, formField{field, values[field.Name], problems[field.Name]})
	}
	if wrong != nil {
		for _, p := range *wrong {
			if !known[p.Field] {
				f.Problems = append(f.Problems, p)
			}
		}
	}
	return f
}

// read makes settings of what was written into the form. An empty secret is the
// one that is stored.
func (c *Console) read(r *request) (s, old *destination.Settings, f *formPage, over uint64, err error) {
	id := r.Form.Get("id")
	isNew := r.Form.Get("new") != ""
	if !isNew {
		if old, over, err = c.open(r.Context(), id); err != nil {
			return nil, nil, nil, 0, err
		}
	}
	values := map[string]string{}
	for _, field := range destination.FormFields() {
		values[field.Name] = strings.TrimSpace(r.Form.Get(field.Name))
	}
	s, problems := destination.FromForm(values, old)
	if values["secret_access_key"] != "" {
		values["secret_access_key"] = "" // never shown again
	}
	f = form(values, id, isNew, problems)
	f.Revision, _ = strconv.ParseUint(r.Form.Get("revision"), 10, 64) // what is no number is none that stands
	if problems == nil {
		f.Good, f.Warnings = true, s.Warnings()
		f.Sample, _ = s.Sample(destination.Names{}) // a sample that cannot be rendered is no sample
	}
	return s, old, f, over, nil
}

// judgeDestination says what would become of the form, while it is written.
func (c *Console) judgeDestination(r *request) (any, error) {
	r.name = "judge"
	_, _, f, _, err := c.read(r)
	return f, err
}

func (c *Console) saveDestination(r *request) (any, error) {
	r.name = "edit"
	s, old, f, over, err := c.read(r)
	if err != nil || !f.Good {
		return f, err
	}
	if f.Outrun = f.Revision != over; f.Outrun {
		return f, nil
	}
	if old != nil && r.Form.Get("leave") == "" {
		left, err := c.cfg.Queue.Destinations().LeftBehind(r.Context(), old, destination.Changes(old, s))
		if err != nil {
			return nil, err
		}
		if f.Leaves = left; left != "" {
			return f, nil
		}
	}
	if f.New {
		if c.cfg.Keyring == nil {
			return nil, &said{http.StatusForbidden, "This console has no seal key.", "Start it with --seal-key, or use the command line."}
		}
		over = 0 // it must not be there yet
	}
	if err := c.save(r, messages.DestinationApply, old, s, over); err != nil {
		return nil, err
	}
	c.log.Sugar().Infow("destination", "destination", s.ID, "did", "apply", "by", r.who.Name)
	return r.see("/destinations/"+s.ID, "Destination %s is saved. Check its connection next.", s.ID)
}
