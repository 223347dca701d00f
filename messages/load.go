package messages

import (
	"time"

	"github.com/loadfleet/loadfleet/encoding"
)

// Load tells a worker to make one object from one partition. All that decides
// where the object goes and what it is is pinned here by the dispatcher.
type Load struct {
	Version     int    `json:"version"`
	ID          string `json:"id"` // a hash of extraction, bucket and key
	Workspace   string `json:"workspace"`
	Destination string `json:"destination"`
	Extraction  string `json:"extraction"`
	Lane        Lane   `json:"lane"`
	Generation  int64  `json:"generation"`

	Bucket string    `json:"bucket"`
	Key    string    `json:"key"`
	File   FileSpec  `json:"file"`
	Part   Partition `json:"partition"`

	Rows   int64       `json:"rows"`
	Inline *RowsRef    `json:"inline,omitempty"` // the rows are this message's payload
	Slices []SliceRef  `json:"slices,omitempty"` // or stand in these runs of messages
	Time   time.Time   `json:"time"`             // when the load started: the commit's instant
	Replay *ReplayMark `json:"replay,omitempty"`
}

// FileSpec is what the object is: encoding.FileOptions as they travel.
type FileSpec struct {
	Format      encoding.Format    `json:"format"`
	Separator   encoding.Separator `json:"separator,omitempty"`
	Compression string             `json:"compression,omitempty"` // of Parquet pages or Avro blocks
}

// Partition says which rows the load holds; a worker checks them against it.
type Partition struct {
	// From and To bound the rows' dates, both inclusive, YYYY-MM-DD; empty
	// when the rows are dated by the load.
	From    string `json:"from,omitempty"`
	To      string `json:"to,omitempty"`
	Account string `json:"account,omitempty"` // empty unless loaded by account

	DateColumn    string `json:"date_column,omitempty"`
	AccountColumn string `json:"account_column,omitempty"`
}

// RowsRef describes rows carried in a payload (encoding.MarshalRows).
type RowsRef struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// SliceRef is a run of slice messages on one subject, in stream order.
type SliceRef struct {
	Subject string `json:"subject"`
	Count   int    `json:"count"` // messages
	Rows    int64  `json:"rows"`
	Bytes   int64  `json:"bytes"`
	SHA256  string `json:"sha256"` // over the payloads, concatenated
}

// ReplayMark says that the load came back from the dead letters.
type ReplayMark struct {
	Count int       `json:"count"`
	At    time.Time `json:"at"`
}
