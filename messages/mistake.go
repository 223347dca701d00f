package messages

import (
	"errors"
	"fmt"
	"strings"
)

// ErrNewer is wrapped by every parse error whose only fault is a version above
// [Version]: the message is not wrong, this program is too old for it. An actor
// gives such a message back for a newer one instead of dead-lettering it.
var ErrNewer = errors.New("message version newer than this program")

// Mistake is one thing wrong with a message, where it is, and what to write
// instead.
type Mistake struct {
	Field   string // as in "batches[3].sha256", or a header's name; empty for the message as a whole
	Message string // what is wrong, naming the value
	Remedy  string // what to write instead
	Reason  Reason
}

func (m Mistake) String() string {
	s := m.Message
	if m.Field != "" {
		s = m.Field + ": " + s
	}
	if m.Remedy != "" {
		s += " (" + m.Remedy + ")"
	}
	return s
}

// CommitError lists everything wrong with a commit.
type CommitError struct {
	Subject  string // empty when the commit was refused before it was published
	Mistakes []Mistake
	newer    bool
}

// BatchError lists everything wrong with a batch's subject and headers.
type BatchError struct {
	Subject  string
	Ordinal  int // 0 when it could not be read
	Mistakes []Mistake
	newer    bool
}

// DecodeError lists everything wrong with a message that loadfleet itself
// writes: Kind is "load", "event", "plan" or "dead letter".
type DecodeError struct {
	Kind     string
	Mistakes []Mistake
	newer    bool
}

func (e *CommitError) Error() string {
	what := "commit"
	if e.Subject != "" {
		what += " on " + e.Subject
	}
	return what + ": " + sentence(e.Mistakes)
}

func (e *BatchError) Error() string {
	what := "batch"
	if e.Ordinal > 0 {
		what = fmt.Sprintf("batch %d", e.Ordinal)
	}
	return what + " on " + e.Subject + ": " + sentence(e.Mistakes)
}

func (e *DecodeError) Error() string { return "decode " + e.Kind + ": " + sentence(e.Mistakes) }

func (e *CommitError) Unwrap() error { return newer(e.newer) }
func (e *BatchError) Unwrap() error  { return newer(e.newer) }
func (e *DecodeError) Unwrap() error { return newer(e.newer) }

func newer(yes bool) error {
	if yes {
		return ErrNewer
	}
	return nil
}

// Reason is the class of the worst mistake: another tenant's name before an
// invalid commit, an invalid commit before counts that do not add up.
func (e *CommitError) Reason() Reason { return worst(e.Mistakes, ReasonInvalidCommit) }

// Reason is ReasonWorkspace when the batch names another workspace than its
// subject, else ReasonUndecodable.
func (e *BatchError) Reason() Reason { return worst(e.Mistakes, ReasonUndecodable) }

// Reason is always ReasonUndecodable.
func (e *DecodeError) Reason() Reason { return ReasonUndecodable }

// Failure is the error as events and dead letters carry it.
func (e *CommitError) Failure() Failure { return failure(e.Reason(), e.Mistakes) }

// Failure is the error as events and dead letters carry it.
func (e *BatchError) Failure() Failure {
	f := failure(e.Reason(), e.Mistakes)
	f.Batch = e.Ordinal
	return f
}

// Failure is the error as events and dead letters carry it.
func (e *DecodeError) Failure() Failure { return failure(e.Reason(), e.Mistakes) }

func failure(reason Reason, ms []Mistake) Failure {
	return Failure{Reason: reason, Message: clip(sentence(ms), maxFailureText), Remedy: reason.Remedy()}
}

func worst(ms []Mistake, otherwise Reason) Reason {
	reason := ReasonCount
	for _, m := range ms {
		switch m.Reason {
		case ReasonWorkspace:
			return ReasonWorkspace
		case ReasonCount:
		default:
			reason = otherwise
		}
	}
	return reason
}

// shownMistakes is how many mistakes an error's text spells out: a commit of
// ten thousand batches can be wrong ten thousand times.
const shownMistakes = 20

func sentence(ms []Mistake) string {
	var b strings.Builder
	for i, m := range ms {
		if i == shownMistakes {
			fmt.Fprintf(&b, "; and %d more mistakes", len(ms)-i)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(m.String())
	}
	return b.String()
}

// mistakes collects what a parser finds, so that it can report all at once.
type mistakes struct {
	reason Reason // of add
	list   []Mistake
	fields map[string]bool // of list[:told]
	told   int
}

// about reports whether a mistake of exactly this field is known.
func (m *mistakes) about(field string) bool {
	for ; m.told < len(m.list); m.told++ {
		if m.fields == nil {
			m.fields = make(map[string]bool)
		}
		m.fields[m.list[m.told].Field] = true
	}
	return m.fields[field]
}

func (m *mistakes) add(field, remedy, format string, args ...any) {
	m.as(m.reason, field, remedy, format, args...)
}

func (m *mistakes) as(reason Reason, field, remedy, format string, args ...any) {
	m.list = append(m.list, Mistake{Field: field, Message: fmt.Sprintf(format, args...), Remedy: remedy, Reason: reason})
}
