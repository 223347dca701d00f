package messages

import "time"

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
	Outcome *Outcome `json:"outcome,omitempty"` // outcome
	Failure *Failure `json:"failure,omitempty"` // failed
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

// Outcome is the end of one load, and what accounts for it.
type Outcome struct {
	Load       string    `json:"load"`
	Result     Result    `json:"result"`
	Bucket     string    `json:"bucket"`
	Key        string    `json:"key"`
	Format     string    `json:"format"`
	Rows       int64     `json:"rows"`
	Bytes      int64     `json:"bytes"`            // of the file
	SHA256     string    `json:"sha256,omitempty"` // of the file
	ETag       string    `json:"etag,omitempty"`
	Generation int64     `json:"generation"`
	Attempts   int       `json:"attempts"`
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
