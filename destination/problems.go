package destination

import (
	"fmt"
	"strings"
)

// Problem is one mistake in a document: where it is, what is wrong, and what
// to write instead. It never holds a secret.
type Problem struct {
	Field   string `json:"field"` // the field's name as written, "" for the document as a whole
	Message string `json:"message"`
	Remedy  string `json:"remedy,omitempty"`
}

func (p Problem) String() string {
	var b strings.Builder
	if p.Field != "" {
		b.WriteString(p.Field)
		b.WriteString(": ")
	}
	b.WriteString(p.Message)
	if p.Remedy != "" {
		b.WriteString(" (")
		b.WriteString(p.Remedy)
		b.WriteByte(')')
	}
	return b.String()
}

// Problems is every mistake found in a document, in the order of the settings.
type Problems []Problem

func (p *Problems) Error() string {
	if len(*p) == 1 {
		return (*p)[0].String()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d mistakes:", len(*p))
	for _, problem := range *p {
		b.WriteString("\n- ")
		b.WriteString(problem.String())
	}
	return b.String()
}

func (p *Problems) add(field, message, remedy string) {
	*p = append(*p, Problem{Field: field, Message: message, Remedy: remedy})
}

// err is p as an error, nil when nothing was found.
func (p *Problems) err() error {
	if len(*p) == 0 {
		return nil
	}
	return p
}

// maxShown is how much of a wrong value a problem repeats, in bytes.
const maxShown = 80

// shown quotes a value for a message, shortened.
func shown(v string) string {
	if len(v) <= maxShown {
		return fmt.Sprintf("%q", v)
	}
	return fmt.Sprintf("%q...", strings.ToValidUTF8(v[:maxShown], ""))
}

// nearest is the candidate that name was probably meant to be, or "". Letter
// case does not count; otherwise up to a third of the letters may differ.
func nearest(name string, candidates []string) string {
	if len(name) > 64 {
		return ""
	}
	best, bestDistance := "", min(len(name)/3, 3)+1
	folded := fold(name)
	for _, candidate := range candidates {
		if d := distance(folded, fold(candidate)); d < bestDistance {
			best, bestDistance = candidate, d
		}
	}
	return best
}

// fold makes names that differ only in case, dashes and spaces equal.
func fold(s string) string {
	return strings.NewReplacer("-", "_", " ", "_").Replace(strings.ToLower(s))
}

// distance is the Levenshtein distance in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost = 1 + min(diagonal, row[j], row[j-1])
			}
			diagonal, row[j] = row[j], cost
		}
	}
	return row[len(b)]
}

// oneOf lists values for a remedy.
func oneOf[T ~string](values []T) string {
	names := make([]string, len(values))
	for i, v := range values {
		names[i] = string(v)
	}
	return "write one of " + strings.Join(names, ", ")
}
