package messages

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// Count adds up loads that ended alike.
type Count struct {
	Loads    int64 `json:"loads"`
	Rows     int64 `json:"rows"`
	Bytes    int64 `json:"bytes"` // of their files
	Attempts int64 `json:"attempts"`
}

// Counts is how many loads ended how. Equal counts have equal keys: a result
// without loads, rows, bytes and attempts is left out.
type Counts map[Result]Count

// Add counts an outcome.
func (c Counts) Add(o *Outcome) {
	c.merge(o.Result, Count{Loads: 1, Rows: o.Rows, Bytes: o.Bytes, Attempts: int64(o.Attempts)})
}

// Merge adds other counts.
func (c Counts) Merge(other Counts) {
	for result, n := range other {
		c.merge(result, n)
	}
}

// Take takes other counts away.
func (c Counts) Take(other Counts) {
	for result, n := range other {
		c.merge(result, Count{}.minus(n))
	}
}

// EncodeCounts writes counts as the value of [HeaderReplaces].
func EncodeCounts(c Counts) string {
	value, err := marshalASCII(c)
	if err != nil {
		panic(err) // numbers by texts always have a JSON form
	}
	return value
}

// ParseCounts reads what EncodeCounts wrote, and "" as none; its error is a
// [*DecodeError].
func ParseCounts(value string) (Counts, error) {
	if value == "" {
		return nil, nil
	}
	var c Counts
	found := &mistakes{}
	if err := json.Unmarshal([]byte(value), &c); err != nil {
		found.add("header "+HeaderReplaces, "", "%v", err)
	}
	c.check("header "+HeaderReplaces, found)
	return c, decoded("outcome", found)
}

func (c Counts) merge(result Result, n Count) {
	sum := c[result].plus(n)
	if sum == (Count{}) {
		delete(c, result)
		return
	}
	c[result] = sum
}

func (n Count) plus(m Count) Count {
	return Count{Loads: n.Loads + m.Loads, Rows: n.Rows + m.Rows, Bytes: n.Bytes + m.Bytes, Attempts: n.Attempts + m.Attempts}
}

func (n Count) minus(m Count) Count {
	return Count{Loads: n.Loads - m.Loads, Rows: n.Rows - m.Rows, Bytes: n.Bytes - m.Bytes, Attempts: n.Attempts - m.Attempts}
}

// Total is all of it: every load that ended.
func (c Counts) Total() (sum Count) {
	for _, n := range c {
		sum = sum.plus(n)
	}
	return sum
}

// Stored is the loads whose objects were in the bucket when they ended.
func (c Counts) Stored() Count { return c[Loaded].plus(c[Unchanged]) }

// Tally is what one worker counted of one extraction: a running sum over the
// loads that it settled. Only the sum over all workers means anything: a worker
// that carries out a replay takes back what another had counted, so that a
// tally alone may be below zero.
type Tally struct {
	Version    int       `json:"version"`
	Workspace  string    `json:"workspace"`
	Extraction string    `json:"extraction"`
	Worker     string    `json:"worker"`
	Counts     Counts    `json:"counts"`
	Through    uint64    `json:"through"` // the sequence through which the worker's outcomes are counted
	Time       time.Time `json:"time"`    // of the last load counted
}

// EncodeTally writes t as the JSON body of its message. It refuses, with a
// [*DecodeError], what ParseTally would refuse.
func EncodeTally(t *Tally) ([]byte, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	return marshal(t)
}

// ParseTally reads the body of a tally. It fails with a [*DecodeError]. Fields
// that it does not know are passed over.
func ParseTally(body []byte) (*Tally, error) {
	t := new(Tally)
	if err := unmarshal("tally", body, t); err != nil {
		return nil, err
	}
	if err := t.check(); err != nil {
		return nil, err
	}
	return t, nil
}

func (t *Tally) check() error {
	found := &mistakes{reason: ReasonUndecodable}
	if t.Version != Version {
		found.add("version", "", "there is no version %d", t.Version)
	}
	for _, f := range [][2]string{{"workspace", t.Workspace}, {"extraction", t.Extraction}} {
		if !ValidID(f[1]) {
			found.add(f[0], "", "%q cannot be an id", clip(f[1], 2*MaxID))
		}
	}
	t.Counts.check("counts", found)
	return decoded("tally", found)
}

func (c Counts) check(field string, found *mistakes) {
	for result := range c {
		if !slices.Contains(Results(), result) {
			found.add(field, "", "unknown result %q", clip(string(result), 80))
		}
	}
}

// TallySubject is the one place of a worker's tally of an extraction. writer
// names the worker's process, as [HeaderSettler] of the outcomes does that it
// counts.
func TallySubject(workspace, extraction, writer string) string {
	return strings.Join([]string{tallyRoot, Token(workspace), Token(extraction), Token(writer)}, ".")
}

// TallySubjects is the filter for the tallies of an extraction; an empty name
// stands for all.
func TallySubjects(workspace, extraction string) string {
	w, e := "*", "*"
	if workspace != "" {
		w = Token(workspace)
	}
	if extraction != "" {
		e = Token(extraction)
	}
	return strings.Join([]string{tallyRoot, w, e, "*"}, ".")
}

// TallyOrigin says whose tally stands on a subject.
func TallyOrigin(subject string) (workspace, extraction string, ok bool) {
	t := strings.Split(subject, ".")
	if len(t) != 4 || t[0] != tallyRoot || !ValidID(t[1]) || !ValidID(t[2]) {
		return "", "", false
	}
	return t[1], t[2], true
}
