package messages

import (
	"slices"
	"time"
)

// EventKind names what happened to an extraction.
type EventKind string

// The kinds of events, in the order in which they happen.
const (
	EventAccepted   EventKind = "accepted"   // the commit is being read
	EventDispatched EventKind = "dispatched" // every load is on the queue
	EventOutcome    EventKind = "outcome"    // one load has ended
	EventCompleted  EventKind = "completed"  // every load has ended
	EventFailed     EventKind = "failed"     // the extraction was dead-lettered; nothing of it is loaded
)

// EventKinds lists the kinds in the order in which they happen.
func EventKinds() []EventKind {
	return []EventKind{EventAccepted, EventDispatched, EventOutcome, EventCompleted, EventFailed}
}

// Event is what an extractor and an operator hear of an extraction.
type Event struct {
	Version     int       `json:"version"`
	Kind        EventKind `json:"kind"`
	Time        time.Time `json:"time"`
	Workspace   string    `json:"workspace"`
	Extraction  string    `json:"extraction"`
	Destination string    `json:"destination,omitempty"`
	Table       string    `json:"table,omitempty"` // the commit's filename

	Plan    *Plan    `json:"plan,omitempty"`    // dispatched
	Counts  Counts   `json:"counts,omitempty"`  // completed: how its loads had ended by then
	Outcome *Outcome `json:"outcome,omitempty"` // outcome
	Failure *Failure `json:"failure,omitempty"` // failed
	Notes   []string `json:"notes,omitempty"`   // dispatched: what was done otherwise than the extraction might expect
}

// Plan counts what was dispatched.
type Plan struct {
	Loads int64 `json:"loads"`
	Rows  int64 `json:"rows"`
}

// Result is how a load ended (SPEC 1).
type Result string

// The results.
const (
	Loaded       Result = "loaded"
	Unchanged    Result = "unchanged"
	Superseded   Result = "superseded"
	Deleted      Result = "deleted"
	DeadLettered Result = "dead-lettered"
)

// Results lists every result once.
func Results() []Result { return []Result{Loaded, Unchanged, Superseded, Deleted, DeadLettered} }

// Outcome is the end of one load, and what accounts for it.
type Outcome struct {
	Load       string    `json:"load"`
	Result     Result    `json:"result"`
	Bucket     string    `json:"bucket"`
	Key        string    `json:"key"`
	Format     string    `json:"format"`
	Rows       int64     `json:"rows"`
	Bytes      int64     `json:"bytes"`            // of the file
	SHA256     string    `json:"sha256,omitempty"` // of the file; of what was deleted
	ETag       string    `json:"etag,omitempty"`   // the same
	Generation int64     `json:"generation"`
	Attempts   int       `json:"attempts"`
	Replays    int       `json:"replays,omitempty"` // how often the load had come back from the dead letters
	Worker     string    `json:"worker,omitempty"`
	Started    time.Time `json:"started"`
	Ended      time.Time `json:"ended"`
	Failure    *Failure  `json:"failure,omitempty"` // dead-lettered
}

// Failure says where and why something could not be done, and what to do.
type Failure struct {
	Reason  Reason `json:"reason"`
	Message string `json:"message"`
	Remedy  string `json:"remedy,omitempty"`
	Batch   int    `json:"batch,omitempty"`
	Row     int64  `json:"row,omitempty"`
	Column  string `json:"column,omitempty"`
	Value   string `json:"value,omitempty"`
}

// EncodeEvent writes e as the JSON body of its message. It refuses, with a
// [*DecodeError], what ParseEvent would refuse. A failure's texts are shortened
// as in a dead letter.
func EncodeEvent(e *Event) ([]byte, error) {
	c := *e
	if c.Outcome != nil {
		o := *c.Outcome
		o.Failure = o.Failure.shortened(maxFailureText)
		c.Outcome = &o
	}
	c.Failure = c.Failure.shortened(maxFailureText)
	if err := c.check(); err != nil {
		return nil, err
	}
	return marshal(&c)
}

// shortened is a copy of f with no text longer than room, in bytes, so that it
// fits beside other things in one message.
func (f *Failure) shortened(room int) *Failure {
	if f == nil {
		return nil
	}
	s := *f
	s.Message, s.Remedy = clip(s.Message, room), clip(s.Remedy, room)
	s.Column, s.Value = clip(s.Column, min(room, maxAttemptText)), clip(s.Value, min(room, maxAttemptText))
	return &s
}

// ParseEvent reads the body of an event. It fails with a [*DecodeError]. Fields
// that it does not know are passed over.
func ParseEvent(body []byte) (*Event, error) {
	e := new(Event)
	if err := unmarshal("event", body, e); err != nil {
		return nil, err
	}
	if err := e.check(); err != nil {
		return nil, err
	}
	return e, nil
}

func (e *Event) check() error {
	found := &mistakes{reason: ReasonUndecodable}
	flaw := func(field, format string, args ...any) { found.add(field, "", format, args...) }
	if e.Version != Version {
		flaw("version", "there is no version %d", e.Version)
	}
	if !slices.Contains(EventKinds(), e.Kind) {
		flaw("kind", "unknown kind %q", clip(string(e.Kind), 80))
	}
	for _, f := range [][2]string{{"workspace", e.Workspace}, {"extraction", e.Extraction}} {
		if !ValidID(f[1]) {
			flaw(f[0], "%q cannot be an id", clip(f[1], 2*MaxID))
		}
	}
	if e.Time.IsZero() {
		flaw("time", "missing")
	}
	for _, f := range []struct {
		field string
		kind  EventKind
		given bool
	}{{"plan", EventDispatched, e.Plan != nil}, {"outcome", EventOutcome, e.Outcome != nil}, {"failure", EventFailed, e.Failure != nil}} {
		if e.Kind == f.kind && !f.given {
			flaw(f.field, "missing from an event %q", string(e.Kind))
		}
	}
	if e.Failure != nil {
		e.Failure.check("failure", found)
	}
	if e.Outcome != nil {
		e.Outcome.check(found)
	}
	e.Counts.check("counts", found)
	return decoded("event", found)
}

func (o *Outcome) check(found *mistakes) {
	if !ValidID(o.Load) {
		found.add("outcome.load", "", "%q cannot be an id", clip(o.Load, 2*MaxID))
	}
	if !slices.Contains(Results(), o.Result) {
		found.add("outcome.result", "", "unknown result %q", clip(string(o.Result), 80))
	}
	if o.Rows < 0 || o.Bytes < 0 || o.Attempts < 0 {
		found.add("outcome.rows", "", "%d rows, %d bytes, %d attempts cannot be", o.Rows, o.Bytes, o.Attempts)
	}
	if (o.Result == DeadLettered) != (o.Failure != nil) {
		found.add("outcome.failure", "", "belongs to a dead-lettered load and to no other")
	}
	if o.Failure != nil {
		o.Failure.check("outcome.failure", found)
	}
}
