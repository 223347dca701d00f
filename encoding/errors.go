package encoding

import (
	"fmt"
	"strings"
)

// RowError says which value of which batch could not be taken, and why.
// Batch and Row are counted from 1 and are 0 when unknown; Row counts the
// batch's rows (a CSV header is not one).
type RowError struct {
	Batch  int
	Row    int64
	Column string // empty when the row as a whole is at fault
	Value  string // the offending text, shortened; empty when there is none to show
	Err    error
}

func (e *RowError) Error() string {
	var b strings.Builder
	if e.Batch > 0 {
		fmt.Fprintf(&b, "batch %d", e.Batch)
	}
	if e.Row > 0 {
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "row %d", e.Row)
	}
	if e.Column != "" {
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "column %q", e.Column)
	}
	if e.Value != "" {
		fmt.Fprintf(&b, " (value %q)", e.Value)
	}
	if b.Len() > 0 {
		b.WriteString(": ")
	}
	b.WriteString(e.Err.Error())
	return b.String()
}

func (e *RowError) Unwrap() error { return e.Err }

// MaxErrorValue is how much of an offending value a RowError shows, in bytes.
const MaxErrorValue = 120
