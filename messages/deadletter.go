package messages

import "time"

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
	ReasonKey                Reason = "key"                 // a key that cannot be: too long
	ReasonDestination        Reason = "destination"         // denied, no bucket, key disabled: the customer's side
	ReasonExhausted          Reason = "exhausted"           // tried as often as allowed
	ReasonPoison             Reason = "poison"              // delivered again and again without an answer
)

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
