package worker

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/loadfleet/loadfleet/messages"
)

// The manifest that docs/manifests.md shows is what the worker writes, to the byte.
func TestListingInDocs(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(sources, "..", "docs", "manifests.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(b), "```json\n")
	text, _, _ = strings.Cut(text, "```")
	var doc struct {
		listing
		Objects []listed
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatalf("the example is no JSON: %v", err)
	}
	l := &messages.Load{
		Workspace: doc.Workspace, Destination: doc.Destination, Extraction: doc.Extraction, Table: doc.Table,
		Generation: doc.Generation, Time: doc.Time, Bucket: doc.Bucket,
	}
	var all []messages.Outcome
	for _, o := range doc.Objects {
		all = append(all, messages.Outcome{
			Load: o.Load, Result: o.Outcome, Bucket: doc.Bucket, Key: o.Key, Format: o.Format, Rows: o.Rows, Bytes: o.Bytes,
			SHA256: o.SHA256, ETag: o.ETag, Generation: o.Generation,
		})
	}
	var out strings.Builder
	w := bufio.NewWriter(&out)
	if err := writeListing(w, l, all); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(out.String(), text); d != "" {
		t.Errorf("the example against what is written (-written +docs):\n%s", d)
	}
}
