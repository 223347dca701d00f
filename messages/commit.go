package messages

import (
	"strings"

	"github.com/loadfleet/loadfleet/encoding"
)

// Lane is a class of urgency. Workers empty Fresh before Replay before Backfill.
type Lane string

// The lanes.
const (
	Fresh    Lane = "fresh"
	Replay   Lane = "replay"
	Backfill Lane = "backfill"
)

// Parked is where loads wait whose destination refuses them. It is no class of
// urgency: a load keeps the lane it came from.
const Parked Lane = "parked"

// Lanes lists the lanes, most urgent first.
func Lanes() []Lane { return []Lane{Fresh, Replay, Backfill} }

// Commit closes an extraction: nothing is dispatched before it, and nothing
// that it does not name is. Its fields are the JSON contract that extractors
// in any language write; see README.md of this package. An unknown field is
// refused: a misspelt date_column would otherwise date every row by the load,
// without a word.
type Commit struct {
	Version    int    `json:"version"`
	Extraction string `json:"extraction"`

	WorkspaceID    string `json:"workspace_id"`
	WorkspaceTitle string `json:"workspace_title,omitempty"`
	Destination    string `json:"destination"`

	DataSource     string `json:"data_source,omitempty"`
	DataTableTitle string `json:"data_table_title,omitempty"`
	ReportType     string `json:"report_type,omitempty"`
	Filename       string `json:"filename"` // the destination table's name

	// Schema lists the columns of every file. When absent it is inferred over
	// the whole extraction.
	Schema         *encoding.Schema `json:"schema,omitempty"`
	UnknownColumns UnknownColumns   `json:"unknown_columns,omitempty"`
	DateColumn     string           `json:"date_column,omitempty"` // absent: dated by the day of the load
	AccountColumn  string           `json:"account_column,omitempty"`

	Covers *Covers `json:"covers,omitempty"` // absent: the days and accounts of the rows

	// Generation orders the extractions of a table: the higher one wins. A
	// sensible value is the extraction's start in Unix milliseconds.
	Generation int64 `json:"generation"`
	Lane       Lane  `json:"lane,omitempty"` // fresh (default) or backfill

	Rows    int64           `json:"rows"`
	Batches []BatchManifest `json:"batches"` // in order of their ordinals

	// Files stand for batches when the rows were staged; Batches is then empty.
	Files []StagedFile `json:"files,omitempty"`
}

// BatchManifest is what a commit says of one batch.
type BatchManifest struct {
	Rows   int64  `json:"rows"`
	SHA256 string `json:"sha256"` // of the message body as published, lower-case hex
}

// UnknownColumns says what becomes of a value whose column the schema lacks.
type UnknownColumns string

// The policies; the zero value means reject.
const (
	RejectUnknown UnknownColumns = "reject"
	IgnoreUnknown UnknownColumns = "ignore"
)

// ParseCommit reads a commit that stood on a subject of commits or recommits.
// It fails with a [*CommitError] that lists every mistake. What it returns has
// its defaults filled in (Lane, UnknownColumns) and belongs to the subject's
// workspace and extraction.
func ParseCommit(subject string, body []byte) (Commit, error) {
	found := &mistakes{reason: ReasonInvalidCommit}
	workspace, extraction, ok := Origin(subject)
	if !ok || strings.HasPrefix(subject, rowsRoot+".") {
		found.add("subject", "publish the commit on commit.<workspace>.<extraction>", "%q is not a subject of commits", clip(subject, 200))
	}
	c, tooNew := readCommit(body, found)
	foreign(found, "workspace_id", c.WorkspaceID, workspace)
	foreign(found, "extraction", c.Extraction, extraction)
	if !tooNew {
		c.check(found)
	}
	if len(found.list) > 0 {
		return Commit{}, &CommitError{Subject: subject, Mistakes: found.list, newer: tooNew}
	}
	return c, nil
}

// Encode writes the commit as extractors publish it. It refuses, with a
// [*CommitError], what ParseCommit would refuse; a Version of 0 becomes [Version].
func (c Commit) Encode() ([]byte, error) {
	if c.Version == 0 {
		c.Version = Version
	}
	if c.Batches == nil {
		c.Batches = []BatchManifest{}
	}
	found := &mistakes{reason: ReasonInvalidCommit}
	c.check(found)
	if len(found.list) > 0 {
		return nil, &CommitError{Mistakes: found.list}
	}
	return marshal(c)
}
