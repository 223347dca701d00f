package destination

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// page reads a page of docs.
func page(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Parts of documents that pages show can be pasted into a document as they are.
func TestPartsInDocs(t *testing.T) {
	for _, name := range []string{"schemas.md", "manifests.md"} {
		parts := strings.Split(page(t, name), "```yaml\n")[1:]
		if len(parts) == 0 {
			t.Errorf("%s shows no part of a document", name)
		}
		for _, part := range parts {
			part, _, _ = strings.Cut(part, "```")
			doc := document(strings.Split(strings.TrimSpace(part), "\n")...)
			if _, err := Parse([]byte(doc), nil); err != nil {
				t.Errorf("%s: the part\n%s in a document: %v", name, part, err)
			}
		}
	}
}
