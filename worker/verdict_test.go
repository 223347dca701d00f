package worker

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/storage"
)

// judgement is what an error must come to.
type judgement struct {
	err    error
	what   decision
	reason messages.Reason
}

var errOther = errors.New("other")

// judgements names every exported error of the rooms below. A new one must be
// judged here, and so in the table.
func judgements() map[string]judgement {
	const (
		dest      = messages.ReasonDestination
		exhausted = messages.ReasonExhausted
		damaged   = messages.ReasonUndecodable
		unknown   = messages.ReasonUnknownDestination
	)
	stored := func(err error) error { return &openError{err} }
	return map[string]judgement{
		"encoding.RowError":   {&encoding.RowError{Row: 3, Err: errOther}, reject, messages.ReasonBadRow},
		"encoding.BatchError": {&encoding.BatchError{Err: errOther}, reject, damaged},

		"destination.ErrNoKey":      {stored(destination.ErrNoKey), park, dest},
		"destination.ErrUnknownKey": {stored(destination.ErrUnknownKey), park, dest},
		"destination.ErrTampered":   {stored(destination.ErrTampered), park, dest},
		"destination.KeyError":      {&destination.KeyError{}, reject, messages.ReasonKey},
		"destination.Problems":      {stored(&destination.Problems{}), park, dest},

		"messages.ErrNewer":    {&LoadError{Reason: damaged, Err: messages.ErrNewer}, park, damaged},
		"messages.DecodeError": {&messages.DecodeError{}, reject, damaged},
		// Of commits and batches, which a worker never reads.
		"messages.CommitError": {&messages.CommitError{}, retry, exhausted},
		"messages.BatchError":  {&messages.BatchError{}, retry, exhausted},

		"queue.ErrClosed":          {queue.ErrClosed, release, ""},
		"queue.ErrLeaseLost":       {queue.ErrLeaseLost, release, ""},
		"queue.ErrSettled":         {queue.ErrSettled, release, ""},
		"queue.ErrKeyLeased":       {queue.ErrKeyLeased, await, exhausted},
		"queue.ErrDeadLettersFull": {queue.ErrDeadLettersFull, hold, exhausted},
		"queue.ErrNotFound":        {queue.ErrNotFound, park, unknown},
		"queue.ErrSliceDamaged":    {queue.ErrSliceDamaged, reject, damaged},
		// Of dispatch and of the command line.
		"destination.ErrNoTemplate": {destination.ErrNoTemplate, retry, exhausted},
		"queue.ErrPlanDiffers":      {queue.ErrPlanDiffers, retry, exhausted},
		"queue.PlanError":           {&queue.PlanError{}, retry, exhausted},
		"queue.ErrNoPlan":           {queue.ErrNoPlan, retry, exhausted},
		"queue.ErrNotProvisioned":   {queue.ErrNotProvisioned, retry, exhausted},
		"encoding.SchemaError":      {&encoding.SchemaError{}, retry, exhausted}, // of files that are read back
		"queue.ErrRevision":         {queue.ErrRevision, retry, exhausted},

		"storage.ErrDenied":       {storage.ErrDenied, park, dest},
		"storage.ErrNoBucket":     {storage.ErrNoBucket, park, dest},
		"storage.ErrNotFound":     {storage.ErrNotFound, retry, exhausted},
		"storage.ErrThrottled":    {storage.ErrThrottled, retry, exhausted},
		"storage.ErrUnavailable":  {storage.ErrUnavailable, retry, exhausted},
		"storage.ErrPrecondition": {storage.ErrPrecondition, retry, exhausted},
		"storage.ErrConflict":     {storage.ErrConflict, retry, exhausted},
		"storage.ErrCredentials":  {storage.ErrCredentials, park, dest},
		"storage.ErrRegion":       {storage.ErrRegion, park, dest},
		"storage.ErrKMS":          {storage.ErrKMS, park, dest},
		"storage.ErrEncryption":   {storage.ErrEncryption, park, dest},
		"storage.ErrInvalid":      {storage.ErrInvalid, reject, dest},
		"storage.Error":           {&storage.Error{Err: storage.ErrDenied}, park, dest},
		"storage.LeftoverError":   {&storage.LeftoverError{Err: storage.ErrThrottled, Abort: storage.ErrDenied}, retry, exhausted},

		"worker.LoadError":  {&LoadError{Reason: messages.ReasonKey, Err: errOther}, reject, messages.ReasonKey},
		"worker.ErrStopped": {ErrStopped, retry, exhausted}, // a cause: see TestVerdictOfOurOwnStop

		"a paused destination":             {errPaused, hold, dest},
		"an unapproved destination":        {errUnapproved, hold, dest},
		"a workspace not admitted":         {errNotAdmitted, park, unknown},
		"a destination that does not open": {stored(storage.ErrInvalid), park, dest},
		"a full scratch directory":         {errSpool, retry, exhausted},
		"a wrapped error":                  {fmt.Errorf("a: %w", errors.Join(errOther, storage.ErrKMS)), park, dest},
		"an unknown error":                 {errOther, retry, exhausted},
		"a deadline of one request":        {context.DeadlineExceeded, retry, exhausted},
	}
}

func TestVerdict(t *testing.T) {
	t.Parallel()
	for name, want := range judgements() {
		t.Run(name, func(t *testing.T) {
			what, f := verdict(t.Context(), want.err)
			if what != want.what || f.Reason != want.reason {
				t.Errorf("verdict of %v: got %s, %q, want %s, %q", want.err, what, f.Reason, want.what, want.reason)
			}
			if what != release && (f.Message != want.err.Error() || f.Remedy == "") {
				t.Errorf("failure: got %+v, want the error's message and a remedy", f)
			}
		})
	}
}

// TestVerdictOfOurOwnStop has every error mean nothing once the work was
// cancelled.
func TestVerdictOfOurOwnStop(t *testing.T) {
	t.Parallel()
	for _, cause := range []error{ErrStopped, queue.ErrLeaseLost, queue.ErrClosed} {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		for name, j := range judgements() {
			if what, _ := verdict(ctx, j.err); what != release {
				t.Errorf("verdict of %s after %v: got %s, want release", name, cause, what)
			}
		}
	}
}

// TestVerdictKnowsEveryError reads the sources of the rooms below for their
// exported errors.
func TestVerdictKnowsEveryError(t *testing.T) {
	t.Parallel()
	judged := judgements()
	for _, room := range []string{"encoding", "destination", "messages", "queue", "storage", "worker"} {
		found := exportedErrors(t, room)
		if len(found) == 0 {
			t.Errorf("no exported error in %s: is it read at all?", room)
		}
		for _, name := range found {
			if _, ok := judged[name]; !ok {
				t.Errorf("%s is not judged: say in verdict.go what it means and here what it must mean", name)
			}
			delete(judged, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(judged)) {
		if strings.Contains(name, ".") {
			t.Errorf("%s is judged and does not exist", name)
		}
	}
}

// sources is where the package's sources are. The embedded store changes the
// working directory later.
var sources, _ = os.Getwd()

// exportedErrors lists a room's sentinels and error types.
func exportedErrors(t *testing.T, room string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(sources, "..", room, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), name, source, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, declared := range parsed.Decls {
			switch d := declared.(type) {
			case *ast.GenDecl:
				for _, s := range d.Specs {
					if values, ok := s.(*ast.ValueSpec); ok && d.Tok == token.VAR {
						for _, id := range values.Names {
							if strings.HasPrefix(id.Name, "Err") {
								found = append(found, room+"."+id.Name)
							}
						}
					}
				}
			case *ast.FuncDecl:
				if d.Recv == nil || d.Name.Name != "Error" || d.Type.Params.NumFields() > 0 {
					continue
				}
				of := d.Recv.List[0].Type
				if pointer, ok := of.(*ast.StarExpr); ok {
					of = pointer.X
				}
				if id, ok := of.(*ast.Ident); ok && id.IsExported() {
					found = append(found, room+"."+id.Name)
				}
			}
		}
	}
	return found
}
