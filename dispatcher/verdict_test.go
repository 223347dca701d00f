package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
)

// TestVerdict judges one error of every kind that the lower rooms export; a
// new one must be judged here before it can be merged.
func TestVerdict(t *testing.T) {
	some := errors.New("cause")
	tests := []struct {
		name   string // as the package exports it
		err    error
		want   decision
		reason messages.Reason
	}{
		{"encoding.RowError", &encoding.RowError{Batch: 1, Row: 2, Err: some}, reject, messages.ReasonBadRow},
		{"encoding.BatchError", &encoding.BatchError{Batch: 1, Err: some}, reject, messages.ReasonUndecodable},
		{"destination.KeyError", &encoding.RowError{Batch: 1, Row: 2, Err: &destination.KeyError{Reason: "long"}}, reject, messages.ReasonKey},
		{"destination.Problems", &destination.Problems{}, retry, messages.ReasonExhausted},
		{"destination.ErrNoKey", destination.ErrNoKey, retry, messages.ReasonExhausted},
		{"destination.ErrUnknownKey", destination.ErrUnknownKey, retry, messages.ReasonExhausted},
		{"destination.ErrTampered", destination.ErrTampered, retry, messages.ReasonExhausted},
		{"destination.ErrNoTemplate", destination.ErrNoTemplate, retry, messages.ReasonExhausted},
		{"messages.ErrNewer", messages.ErrNewer, hold, messages.ReasonExhausted},
		{"messages.CommitError", &messages.CommitError{Mistakes: []messages.Mistake{{Reason: messages.ReasonWorkspace}}}, reject, messages.ReasonWorkspace},
		{"messages.BatchError", &messages.BatchError{}, reject, messages.ReasonCount},
		{"messages.DecodeError", &messages.DecodeError{}, retry, messages.ReasonExhausted},
		{"queue.ErrClosed", queue.ErrClosed, retry, messages.ReasonExhausted},
		{"queue.ErrDeadLettersFull", queue.ErrDeadLettersFull, retry, messages.ReasonExhausted},
		{"queue.ErrKeyLeased", queue.ErrKeyLeased, retry, messages.ReasonExhausted}, // of loads
		{"queue.ErrLeaseLost", queue.ErrLeaseLost, retry, messages.ReasonExhausted},
		{"queue.ErrSettled", queue.ErrSettled, retry, messages.ReasonExhausted},
		{"queue.ErrNotFound", queue.ErrNotFound, retry, messages.ReasonExhausted},
		{"queue.ErrRevision", queue.ErrRevision, retry, messages.ReasonExhausted},
		{"queue.ErrSliceDamaged", queue.ErrSliceDamaged, retry, messages.ReasonExhausted},
		{"queue.ErrNoPlan", queue.ErrNoPlan, retry, messages.ReasonExhausted},
		{"queue.ErrNotProvisioned", queue.ErrNotProvisioned, retry, messages.ReasonExhausted},
		{"encoding.SchemaError", &encoding.SchemaError{}, retry, messages.ReasonExhausted}, // of files that are read back
		{"queue.ErrPlanDiffers", queue.ErrPlanDiffers, reject, messages.ReasonExhausted},
		{"queue.PlanError", &queue.PlanError{}, reject, messages.ReasonExhausted},
		{"dispatcher.ErrStopped", ErrStopped, retry, messages.ReasonExhausted},
		{"dispatcher.ManifestError", &ManifestError{Batch: 1}, reject, messages.ReasonIncomplete},
		{"dispatcher.ManifestError", &ManifestError{Counts: true}, reject, messages.ReasonCount},
		{"", &heldError{}, hold, messages.ReasonExhausted},
		{"", some, retry, messages.ReasonExhausted},
	}
	known := map[string]bool{}
	for _, test := range tests {
		known[test.name] = true
		wrapped := fmt.Errorf("dispatch: %w", test.err)
		got, f := verdict(t.Context(), wrapped)
		if got != test.want || f.Reason != test.reason {
			t.Errorf("%s (%v): got %d, %q, want %d, %q", test.name, test.err, got, f.Reason, test.want, test.reason)
		}
		if got == reject && f.Remedy == "" {
			t.Errorf("%s: no remedy", test.name)
		}
		// Our own stop and a lost lease speak for no error.
		for _, cause := range []error{ErrStopped, queue.ErrLeaseLost, queue.ErrClosed} {
			over, cancel := context.WithCancelCause(t.Context())
			cancel(cause)
			if got, _ := verdict(over, wrapped); got != release {
				t.Errorf("%s after %v: got %d, want release", test.name, cause, got)
			}
		}
	}
	delete(known, "")
	var exported []string
	for _, room := range []string{"encoding", "destination", "messages", "queue", "dispatcher"} {
		exported = append(exported, exportedErrors(t, room)...)
	}
	slices.Sort(exported)
	if diff := cmp.Diff(exported, slices.Sorted(maps.Keys(known))); diff != "" {
		t.Errorf("errors that are exported (-) and judged (+):\n%s", diff)
	}
}

// A name that the commit left out is for the commit to give: nothing is too long.
func TestVerdictOfAnEmptyName(t *testing.T) {
	for _, tt := range []struct{ name, folder, want string }{
		{"data source", "{{data_source}}", "name it in the commit's data_source (for `publish`: --data-source), or "},
		{"report type", "a/{{report_type}}", "name it in the commit's report_type (for `publish`: --report-type), or "},
		{"table title", "{{data_table_title}}", "name it in the commit's data_table_title (for `publish`: --data-table-title), or "},
		{"workspace title", "{{workspace_title}}", "name it in the commit's workspace_title (for `publish`: --workspace-title), or "},
		{"too long", strings.Repeat("x", destination.MaxKey), messages.ReasonKey.Remedy()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n, err := (&destination.Settings{Folder: tt.folder, FileName: "x", FileFormat: encoding.CSV}).Naming()
			if err != nil {
				t.Fatal(err)
			}
			_, err = n.Key(destination.Names{}, 0, "")
			what, f := verdict(t.Context(), fmt.Errorf("dispatch: %w", err))
			if what != reject || f.Reason != messages.ReasonKey || !strings.HasPrefix(f.Remedy, tt.want) {
				t.Errorf("%v: got %d, %q, remedy %q, want key and %q", err, what, f.Reason, f.Remedy, tt.want)
			}
		})
	}
}

// exportedErrors lists a room's exported variables named Err... and its
// exported types with a method Error.
func exportedErrors(t *testing.T, room string) []string {
	t.Helper()
	paths, err := filepath.Glob("../" + room + "/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Recv != nil && n.Name.Name == "Error" {
					of := n.Recv.List[0].Type
					if star, ok := of.(*ast.StarExpr); ok {
						of = star.X
					}
					if name, ok := of.(*ast.Ident); ok && name.IsExported() {
						found = append(found, room+"."+name.Name)
					}
				}
				return false
			case *ast.ValueSpec:
				for _, name := range n.Names {
					if strings.HasPrefix(name.Name, "Err") {
						found = append(found, room+"."+name.Name)
					}
				}
			}
			return true
		})
	}
	return found
}
