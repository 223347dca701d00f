package messages

import (
	"fmt"
	"slices"
	"time"
)

// Verb is what somebody decided about a dead letter.
type Verb string

// The verbs.
const (
	VerbReplay  Verb = "replay"
	VerbDiscard Verb = "discard"
)

// Audit is one decision about one dead letter: who put it back or gave it up,
// when, and by which choice. It is stored before the decision is carried out.
type Audit struct {
	Version   int       `json:"version"`
	Operation string    `json:"operation"` // what was decided at once has one id
	Verb      Verb      `json:"verb"`
	By        string    `json:"by"`                  // as the program says: user@host, or a name that was given
	NATSUser  string    `json:"nats_user,omitempty"` // as the client showed itself to NATS: a user's name or public key
	Filter    string    `json:"filter,omitempty"`    // how the dead letters were chosen
	Time      time.Time `json:"time"`

	// The dead letter.
	Sequence    uint64    `json:"sequence"`
	ID          string    `json:"id"` // the load's or the extraction's
	Stage       Stage     `json:"stage"`
	Workspace   string    `json:"workspace"`
	Destination string    `json:"destination"`
	Extraction  string    `json:"extraction"`
	Reason      Reason    `json:"reason"`
	Died        time.Time `json:"died"`
	Replays     int       `json:"replays,omitempty"` // before this one
}

// EncodeAudit writes a as the JSON body of its message. It refuses, with a
// [*DecodeError], what ParseAudit would refuse.
func EncodeAudit(a *Audit) ([]byte, error) {
	c := *a
	c.Filter, c.By, c.NATSUser = clip(a.Filter, maxFailureText), clip(a.By, maxAttemptText), clip(a.NATSUser, maxAttemptText)
	if err := c.check(); err != nil {
		return nil, err
	}
	return marshal(&c)
}

// ParseAudit reads the body of an audit record. It fails with a
// [*DecodeError]. Fields that it does not know are passed over.
func ParseAudit(body []byte) (*Audit, error) {
	a := new(Audit)
	if err := unmarshal("audit", body, a); err != nil {
		return nil, err
	}
	if err := a.check(); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *Audit) check() error {
	found := &mistakes{reason: ReasonUndecodable}
	if a.Version != Version {
		found.add("version", "", "there is no version %d", a.Version)
	}
	if !ValidID(a.Operation) {
		found.add("operation", "", "%q cannot be an id", clip(a.Operation, 2*MaxID))
	}
	if !slices.Contains([]Verb{VerbReplay, VerbDiscard}, a.Verb) {
		found.add("verb", "", "unknown verb %q", clip(string(a.Verb), 80))
	}
	if a.By == "" {
		found.add("by", "", "missing")
	}
	if a.Time.IsZero() {
		found.add("time", "", "missing")
	}
	return decoded("audit", found)
}

// AuditSubject is the one place of the record of a decision.
func AuditSubject(a *Audit) string {
	return fmt.Sprintf("%s.%s.%s.%d.%s", auditRoot, a.Verb, Token(a.Destination), a.Sequence, Token(a.Operation))
}

// AuditSubjects is the filter for the decisions about a destination's dead
// letters; the empty destination stands for all.
func AuditSubjects(destination string) string {
	d := "*"
	if destination != "" {
		d = Token(destination)
	}
	return auditRoot + ".*." + d + ".*.*"
}
