package messages

import (
	"slices"
	"strings"
	"time"
)

// DestinationAction is what somebody did to a destination.
type DestinationAction string

// The actions.
const (
	DestinationApply   DestinationAction = "apply" // made or changed it
	DestinationApprove DestinationAction = "approve"
	DestinationPause   DestinationAction = "pause"
	DestinationResume  DestinationAction = "resume"
	DestinationReseal  DestinationAction = "reseal" // with the newest key; no setting changes
	DestinationDelete  DestinationAction = "delete"
)

// DestinationEnd is what became of an action.
type DestinationEnd string

// The ends. A record without one was made by somebody who was stopped before he
// could tell: the destination's history says whether it was done.
const (
	DestinationDone    DestinationEnd = "done"
	DestinationRefused DestinationEnd = "refused" // somebody else was faster: nothing changed
)

// DestinationAudit is one change of a destination: who, when, and which fields.
// It is stored before the change and again, with its end, after it. It holds no
// secret.
type DestinationAudit struct {
	Version     int               `json:"version"`
	Operation   string            `json:"operation"`
	Action      DestinationAction `json:"action"`
	Destination string            `json:"destination"`
	By          string            `json:"by"`                  // as the program says: user@host, or a name that was given
	NATSUser    string            `json:"nats_user,omitempty"` // as the client showed itself to NATS
	Time        time.Time         `json:"time"`
	Created     bool              `json:"created"` // it was not there before
	Changes     []FieldChange     `json:"changes"`
	End         DestinationEnd    `json:"end,omitempty"`
	Revision    uint64            `json:"revision,omitempty"` // that the change made
}

// FieldChange is a setting before and after. A secret's shows that there was or
// is one, never which.
type FieldChange struct {
	Field string `json:"field"`
	Old   string `json:"old"`
	New   string `json:"new"`
}

// EncodeDestinationAudit writes a as the JSON body of its message. It refuses,
// with a [*DecodeError], what ParseDestinationAudit would refuse.
func EncodeDestinationAudit(a *DestinationAudit) ([]byte, error) {
	c := *a
	c.By, c.NATSUser = clip(a.By, maxAttemptText), clip(a.NATSUser, maxAttemptText)
	c.Changes = make([]FieldChange, len(a.Changes))
	for i, f := range a.Changes {
		c.Changes[i] = FieldChange{f.Field, clip(f.Old, maxFailureText), clip(f.New, maxFailureText)}
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	return marshal(&c)
}

// ParseDestinationAudit reads the body of a record of a destination's change. It
// fails with a [*DecodeError]. Fields that it does not know are passed over.
func ParseDestinationAudit(body []byte) (*DestinationAudit, error) {
	a := new(DestinationAudit)
	if err := unmarshal("destination audit", body, a); err != nil {
		return nil, err
	}
	if err := a.check(); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *DestinationAudit) check() error {
	found := &mistakes{reason: ReasonUndecodable}
	if a.Version != Version {
		found.add("version", "", "there is no version %d", a.Version)
	}
	if !ValidID(a.Operation) {
		found.add("operation", "", "%q cannot be an id", clip(a.Operation, 2*MaxID))
	}
	if !ValidID(a.Destination) {
		found.add("destination", "", "%q cannot be an id", clip(a.Destination, 2*MaxID))
	}
	if !slices.Contains([]DestinationAction{DestinationApply, DestinationApprove, DestinationPause, DestinationResume, DestinationReseal, DestinationDelete}, a.Action) {
		found.add("action", "", "unknown action %q", clip(string(a.Action), 80))
	}
	if a.By == "" {
		found.add("by", "", "missing")
	}
	if a.Time.IsZero() {
		found.add("time", "", "missing")
	}
	return decoded("destination audit", found)
}

// DestinationAuditSubject is the one place of the record of a destination's
// change.
func DestinationAuditSubject(a *DestinationAudit) string {
	return strings.Join([]string{auditRoot, "destination", Token(a.Destination), Token(a.Operation)}, ".")
}

// DestinationAuditSubjects is the filter for the changes of a destination; the
// empty id stands for all.
func DestinationAuditSubjects(destination string) string {
	d := "*"
	if destination != "" {
		d = Token(destination)
	}
	return strings.Join([]string{auditRoot, "destination", d, "*"}, ".")
}
