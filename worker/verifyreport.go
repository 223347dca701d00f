package worker

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/loadfleet/loadfleet/messages"
)

// FindingKind is a class of what [Verify] finds.
type FindingKind string

// The kinds of findings: first of an extraction's account, then of an object.
const (
	FindingUnfinished     FindingKind = "unfinished"      // not dispatched yet, or loads still wait
	FindingPlan           FindingKind = "plan"            // commit, plan, markers and outcomes do not add up
	FindingMissingOutcome FindingKind = "missing-outcome" // a planned load neither ended nor waits: it is lost
	FindingOutcome        FindingKind = "outcome"         // an outcome that contradicts its extraction
	FindingTally          FindingKind = "tally"           // the counts are not those of the outcomes
	FindingRecord         FindingKind = "record"          // the ledger of objects says something else
	FindingDeadLetter     FindingKind = "dead-letter"     // of a load or extraction that was given up; it is gone, and nobody discarded it

	FindingMissingObject FindingKind = "missing-object" // nothing has the key
	FindingForeign       FindingKind = "foreign"        // what has the key was made by something else
	FindingStale         FindingKind = "stale"          // an older generation has the key
	FindingUnrecorded    FindingKind = "unrecorded"     // a newer generation has the key, of which nothing is recorded
	FindingMetadata      FindingKind = "metadata"       // the object's own account differs from the outcome
	FindingETag          FindingKind = "etag"           // the object was written again
	FindingSize          FindingKind = "size"           // another length than recorded
	FindingContent       FindingKind = "content"        // other bytes than recorded
	FindingUnreadable    FindingKind = "unreadable"     // no file of its format
	FindingSchema        FindingKind = "schema"         // other columns than planned
	FindingRows          FindingKind = "rows"           // another number of rows than recorded
	FindingPartition     FindingKind = "partition"      // a row that belongs elsewhere
)

// FindingKinds lists every kind once.
func FindingKinds() []FindingKind {
	return []FindingKind{
		FindingUnfinished, FindingPlan, FindingMissingOutcome, FindingOutcome, FindingTally, FindingRecord, FindingDeadLetter,
		FindingMissingObject, FindingForeign, FindingStale, FindingUnrecorded, FindingMetadata, FindingETag, FindingSize,
		FindingContent, FindingUnreadable, FindingSchema, FindingRows, FindingPartition,
	}
}

// Remedy is what to do about findings of the kind.
func (k FindingKind) Remedy() string {
	switch k {
	case FindingUnfinished:
		return "wait for it and verify again; `loadfleet extraction watch` shows how far it is"
	case FindingPlan:
		return "something wrote to the queue beside the fleet: find it, and extract again under a new id"
	case FindingMissingOutcome:
		return "extract again under a new id, and report it: a load must never be lost"
	case FindingOutcome:
		return "something published the event beside the fleet: find it, and extract again under a new id"
	case FindingTally:
		return "something published outcomes or tallies beside the fleet, or they are older than tallies: find out which, and report it if neither"
	case FindingRecord:
		return "something published records beside the fleet, or they were lost with their stream: extract again under a new id, which records the objects anew"
	case FindingDeadLetter:
		return "it is just being replayed, or somebody removed it beside the fleet, of which the audit knows nothing: then extract again under a new id"
	case FindingMissingObject:
		return "somebody deleted it: restore it, or extract again under a new id"
	case FindingForeign:
		return "find the other writer, then extract again under a new id"
	case FindingStale:
		return "restore the newer version, or extract again under a new id with a higher generation"
	case FindingUnrecorded:
		return "find who wrote it; delete it and extract again under a new id if it is not wanted"
	case FindingMetadata, FindingETag:
		return "somebody wrote or copied the object again: find out who, and extract again under a new id if it is not wanted"
	case FindingSize, FindingContent, FindingUnreadable, FindingSchema:
		return "restore the version that the outcome records, or extract again under a new id"
	case FindingRows, FindingPartition:
		return "take the object out of use and extract again under a new id; if its content is as recorded, report it: a load must never hold them"
	}
	return ""
}

// Finding is one thing that is not as it must be.
type Finding struct {
	Kind    FindingKind `json:"kind"`
	Load    string      `json:"load,omitempty"` // empty when it is about the extraction
	Bucket  string      `json:"bucket,omitempty"`
	Key     string      `json:"key,omitempty"`
	Message string      `json:"message"`
	Remedy  string      `json:"remedy"`
}

func (f Finding) String() string {
	s := string(f.Kind) + ": " + f.Message
	if f.Key != "" {
		s = "s3://" + f.Bucket + "/" + f.Key + ": " + s
	}
	return s
}

// Report is what [Verify] found of one extraction.
type Report struct {
	Workspace   string             `json:"workspace"`
	Extraction  string             `json:"extraction"`
	Destination string             `json:"destination"`
	Table       string             `json:"table"`
	State       messages.EventKind `json:"state"`

	Failure *messages.Failure `json:"failure,omitempty"` // why it failed as a whole: nothing of it is loaded

	Planned  messages.Plan             `json:"planned"`
	Outcomes int64                     `json:"outcomes"`
	Results  map[messages.Result]int64 `json:"results"`
	Rows     int64                     `json:"rows"` // of all outcomes

	Objects         int64 `json:"objects"` // downloaded, hashed and read back
	ObjectRows      int64 `json:"object_rows"`
	ObjectBytes     int64 `json:"object_bytes"`
	SupersededLater int64 `json:"superseded_later"` // loaded, and replaced by a newer generation since

	Discarded []Discarded `json:"discarded,omitempty"` // dead letters that are gone, by the latest operation first

	Findings []Finding             `json:"findings"` // by key; at most VerifyConfig.MaxFindings
	Found    map[FindingKind]int64 `json:"found"`    // all of them
}

// OK reports whether nothing was found: each row is in its object or accounted
// for elsewhere. Of an extraction with a Failure nothing is in any object.
func (r *Report) OK() bool { return len(r.Found) == 0 }

// Waiting counts the loads that were given up and wait as dead letters, when
// nothing was found of dead letters.
func (r *Report) Waiting() int64 {
	if r.Failure != nil {
		return 0
	}
	waiting := r.Results[messages.DeadLettered]
	for _, d := range r.Discarded {
		waiting -= d.DeadLetters
	}
	return waiting
}

// tally gathers a report from several goroutines.
type tally struct {
	mu     sync.Mutex
	most   int
	report Report
}

func (t *tally) found(kind FindingKind, o *messages.Outcome, format string, args ...any) {
	f := Finding{Kind: kind, Message: fmt.Sprintf(format, args...), Remedy: kind.Remedy()}
	if o != nil {
		f.Load, f.Bucket, f.Key = o.Load, o.Bucket, o.Key
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.report.Found[kind]++
	if len(t.report.Findings) < t.most {
		t.report.Findings = append(t.report.Findings, f)
	}
}

func (t *tally) count(add func(*Report)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	add(&t.report)
}

// done is the report, its findings in a settled order.
func (t *tally) done() Report {
	t.mu.Lock()
	defer t.mu.Unlock()
	slices.SortFunc(t.report.Discarded, func(a, b Discarded) int {
		return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(a.Operation, b.Operation))
	})
	order := FindingKinds()
	slices.SortStableFunc(t.report.Findings, func(a, b Finding) int {
		return cmp.Or(strings.Compare(a.Key, b.Key), cmp.Compare(slices.Index(order, a.Kind), slices.Index(order, b.Kind)))
	})
	return t.report
}
