package messages

import (
	"fmt"
	"slices"
	"time"
)

// Stage says which actor gave up.
type Stage string

// The stages.
const (
	StageDispatch Stage = "dispatch" // an extraction; the payload is its commit
	StageLoad     Stage = "load"     // a load; the payload is its rows
)

// Reason is the class of a failure: what operators filter by. Reasons are
// few and never renamed.
type Reason string

// The reasons.
const (
	ReasonInvalidCommit      Reason = "invalid-commit"      // not JSON, or fields missing or wrong
	ReasonWorkspace          Reason = "workspace"           // a commit or batch for another workspace
	ReasonUnknownDestination Reason = "unknown-destination" // or one that this workspace may not use
	ReasonIncomplete         Reason = "incomplete"          // a batch is missing or its checksum differs
	ReasonCount              Reason = "count"               // rows do not add up to the commit's counts
	ReasonUndecodable        Reason = "undecodable"         // a batch or load that cannot be read
	ReasonBadRow             Reason = "bad-row"             // a value of a wrong type, date or column
	ReasonDrift              Reason = "drift"               // its columns are not the table's, and the destination wants those
	ReasonPartial            Reason = "partial"             // it would replace a file with less than the file holds
	ReasonKey                Reason = "key"                 // a key that cannot be: too long, or a name in it is empty
	ReasonDestination        Reason = "destination"         // denied, no bucket, key disabled: the customer's side
	ReasonExhausted          Reason = "exhausted"           // tried as often as allowed
	ReasonPoison             Reason = "poison"              // delivered again and again without an answer
)

// Reasons lists every reason once, in the order of an extraction's way.
func Reasons() []Reason {
	return []Reason{
		ReasonInvalidCommit, ReasonWorkspace, ReasonUnknownDestination, ReasonIncomplete, ReasonCount, ReasonUndecodable,
		ReasonBadRow, ReasonDrift, ReasonPartial, ReasonKey, ReasonDestination, ReasonExhausted, ReasonPoison,
	}
}

// Remedy is what to do about a failure of this class when nothing more exact
// is known; empty for a reason that is none of Reasons.
func (r Reason) Remedy() string {
	switch r {
	case ReasonInvalidCommit:
		return "correct the commit and publish it as a new extraction"
	case ReasonWorkspace:
		return "publish on the subjects of the workspace that the message names"
	case ReasonUnknownDestination:
		return "apply the destination, or admit the workspace to it, then replay"
	case ReasonIncomplete:
		return "publish the extraction again under a new id: a batch is missing or is not the one the commit lists"
	case ReasonCount:
		return "correct the row counts and publish the extraction again under a new id"
	case ReasonUndecodable:
		return "check the batch's Content-Type, Content-Encoding and body, and publish the extraction again under a new id"
	case ReasonBadRow:
		return "correct the value or the schema, and publish the extraction again under a new id"
	case ReasonDrift:
		return "extract the table's own columns, or let the destination take others (schema_drift: add), and replay"
	case ReasonPartial:
		return "extract all that the file holds, say so in the commit's covers (for `publish`: --covers-from, --covers-to, --covers-account), and publish it as a new extraction; a destination with partial_month: replace takes part of a month"
	case ReasonKey:
		return "shorten the destination's folder or file name, or the value that fills it, and publish the extraction again under a new id"
	case ReasonDestination:
		return "run the destination's check, repair what it names on the customer's side, then replay"
	case ReasonExhausted:
		return "look at the attempts' errors; replay when the store answers again"
	case ReasonPoison:
		return "look for workers that died on this message before replaying it"
	}
	return ""
}

// DeadLetter is what could not be carried out, why, and all that a replay
// needs. It travels in HeaderDeadLetter beside the message's own headers and
// payload.
type DeadLetter struct {
	Version     int       `json:"version"`
	ID          string    `json:"id"` // the load's or the extraction's
	Stage       Stage     `json:"stage"`
	Workspace   string    `json:"workspace"`
	Destination string    `json:"destination"`
	Extraction  string    `json:"extraction"`
	Failure     Failure   `json:"failure"`
	Attempts    []Attempt `json:"attempts,omitempty"`
	Subject     string    `json:"subject"` // where the message stood
	Time        time.Time `json:"time"`
	Replays     int       `json:"replays,omitempty"`
}

// Attempt is one try that failed.
type Attempt struct {
	Worker string    `json:"worker"`
	Time   time.Time `json:"time"`
	Error  string    `json:"error"`
}

// MaxDeadLetterHeader bounds an encoded DeadLetter, in bytes. The broker takes
// at most 64 KiB of headers per message, and a dead load keeps its own, up to
// [MaxLoadHeader].
const MaxDeadLetterHeader = 24 << 10

// What is kept of a failure's texts, in bytes.
const (
	maxFailureText = 2048
	minFailureText = 128
	maxAttemptText = 512
	maxAttempts    = 32
)

// EncodeDeadLetter writes d as ASCII JSON for HeaderDeadLetter. Texts too long
// for a header are shortened and, when that is not enough, the oldest attempts
// but the very first are left out: a dead letter that did not fit could not be
// told to anyone. It fails, with a [*DecodeError], when d could not be parsed again.
func EncodeDeadLetter(d *DeadLetter) (string, error) {
	e := *d
	room := maxFailureText
	e.Failure = *d.Failure.shortened(room)
	e.Subject = clip(d.Subject, room)
	e.Attempts = slices.Clone(d.Attempts)
	if n := len(e.Attempts); n > maxAttempts {
		e.Attempts = slices.Delete(e.Attempts, 1, n-maxAttempts+1)
	}
	for i := range e.Attempts {
		e.Attempts[i].Error = clip(e.Attempts[i].Error, maxAttemptText)
	}
	if err := e.check(); err != nil {
		return "", err
	}
	for {
		s, err := marshalASCII(&e)
		if err != nil || len(s) <= MaxDeadLetterHeader {
			return s, err
		}
		switch {
		case len(e.Attempts) > 1:
			e.Attempts = slices.Delete(e.Attempts, 1, 2)
		case room > minFailureText:
			room /= 2
			e.Failure = *d.Failure.shortened(room)
			e.Subject = clip(d.Subject, room)
		default:
			return "", fmt.Errorf("encode dead letter %s: %d bytes: a header holds at most %d", clip(e.ID, 2*MaxID), len(s), MaxDeadLetterHeader)
		}
	}
}

// ParseDeadLetter reads the value of HeaderDeadLetter. It fails with a
// [*DecodeError].
func ParseDeadLetter(s string) (*DeadLetter, error) {
	d := new(DeadLetter)
	if err := unmarshal("dead letter", []byte(s), d); err != nil {
		return nil, err
	}
	if err := d.check(); err != nil {
		return nil, err
	}
	return d, nil
}

func (d *DeadLetter) check() error {
	found := &mistakes{reason: ReasonUndecodable}
	if d.Version != Version {
		found.add("version", "", "there is no version %d", d.Version)
	}
	if d.ID == "" {
		found.add("id", "", "missing")
	}
	if d.Stage != StageDispatch && d.Stage != StageLoad {
		found.add("stage", "", "unknown stage %q", clip(string(d.Stage), 80))
	}
	d.Failure.check("failure", found)
	if d.Time.IsZero() {
		found.add("time", "", "missing")
	}
	return decoded("dead letter", found)
}

func (f *Failure) check(field string, found *mistakes) {
	if !slices.Contains(Reasons(), f.Reason) {
		found.add(field+".reason", "", "unknown reason %q", clip(string(f.Reason), 80))
	}
}
