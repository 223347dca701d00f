package messages

import (
	"time"

	"github.com/loadfleet/loadfleet/encoding"
)

// PinnedPlan is all that decides an extraction's loads. A dispatcher stores it
// once per extraction, on [PlanSubject], before the first load, and every later
// try reads it back: an edit of the destination between two tries cannot give
// one extraction two sets of keys. Whoever checks the loads reads it too.
type PinnedPlan struct {
	Version      int              `json:"version"`
	Bucket       string           `json:"bucket"`
	Folder       string           `json:"folder"`
	FileName     string           `json:"file_name"`
	File         FileSpec         `json:"file"`
	By           string           `json:"partition_by"` // a destination's setting, like the next two
	Account      bool             `json:"load_by_account"`
	Undated      string           `json:"undated_rows"`
	Empty        string           `json:"empty_partition,omitempty"` // absent: keep
	PartialMonth string           `json:"partial_month,omitempty"`   // absent: replace
	Accounts     []string         `json:"accounts,omitempty"`        // whose partitions may have become empty, when the commit does not list them
	Manifests    []ManifestForm   `json:"manifests,omitempty"`
	Schema       *encoding.Schema `json:"schema,omitempty"`          // nil: there are no rows, and none was declared
	Table        *encoding.Schema `json:"table_schema,omitempty"`    // of the sidecars; nil: there are none
	Ignored      []string         `json:"ignored_columns,omitempty"` // that the destination's frozen schema lacks
	Loose        bool             `json:"loose,omitempty"`           // columns that the schema lacks are passed over, whatever the commit says
	Time         time.Time        `json:"time"`                      // "today" and the time of the load
}

// EncodePlan writes the plan as the JSON that is pinned.
func EncodePlan(p *PinnedPlan) ([]byte, error) { return marshal(p) }

// ParsePlan reads what EncodePlan wrote. It fails with a [*DecodeError].
func ParsePlan(body []byte) (*PinnedPlan, error) {
	p := new(PinnedPlan)
	if err := unmarshal("plan", body, p); err != nil {
		return nil, err
	}
	found := &mistakes{reason: ReasonUndecodable}
	if p.Version != Version {
		found.add("version", "", "there is no version %d", p.Version)
	}
	if p.Time.IsZero() {
		found.add("time", "", "missing")
	}
	return p, decoded("plan", found)
}
