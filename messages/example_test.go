package messages

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/loadfleet/loadfleet/encoding"
)

// TestReadmeShellExampleRuns runs README's shell example with a nats that only
// notes what it was asked to publish, and reads that as the dispatcher would.
func TestReadmeShellExampleRuns(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(readme), "```sh\n")
	script, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("README has no shell example")
	}
	bin, work, notes := t.TempDir(), t.TempDir(), t.TempDir()
	const nats = "#!/bin/sh\nn=$(ls \"$NOTES\" | wc -l)\nprintf '%s\\n' \"$@\" > \"$NOTES/$n.args\"\n[ \"$1\" = request ] && echo '{\"kind\":\"completed\"}' || cat > \"$NOTES/$((n + 1)).body\"\n"
	if err := os.WriteFile(filepath.Join(bin, "nats"), []byte(nats), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-eu", "-c", script)
	cmd.Dir = work
	cmd.Env = append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"), "NOTES="+notes)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	published := func(n int) wire {
		args, err := os.ReadFile(filepath.Join(notes, fmt.Sprintf("%d.args", 2*n)))
		if err != nil {
			t.Fatal(err)
		}
		body, err := os.ReadFile(filepath.Join(notes, fmt.Sprintf("%d.body", 2*n+1)))
		if err != nil {
			t.Fatal(err)
		}
		w := wire{header: Header{}, body: body}
		words := strings.Split(strings.TrimSpace(string(args)), "\n")
		for i, word := range words {
			switch {
			case i == 1:
				w.subject = word
			case words[i-min(i, 1)] == "-H":
				name, value, _ := strings.Cut(word, ":")
				w.header.Set(name, value)
			}
		}
		return w
	}

	batch := published(0)
	b, err := ParseBatch(batch.subject, batch.header, batch.body)
	if err != nil {
		t.Fatal(err)
	}
	if b.Compression != encoding.Gzip || b.MsgID() != batch.header.Get(HeaderMsgID) {
		t.Errorf("batch is packed %q with id %q, want gzip and %q", b.Compression, batch.header.Get(HeaderMsgID), b.MsgID())
	}
	commit := published(1)
	c, err := ParseCommit(commit.subject, commit.body)
	if err != nil {
		t.Fatalf("%v\n%s", err, commit.body)
	}
	if id := CommitMsgID(c.WorkspaceID, c.Extraction, commit.body); commit.header.Get(HeaderMsgID) != id {
		t.Errorf("commit has id %q, want %q", commit.header.Get(HeaderMsgID), id)
	}
	sum := sha256.Sum256(b.Body)
	if got := hex.EncodeToString(sum[:]); len(c.Batches) != 1 || c.Batches[0].SHA256 != got {
		t.Errorf("the commit lists %+v, want one batch of SHA-256 %s", c.Batches, got)
	}
	z, err := gzip.NewReader(bytes.NewReader(b.Body))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := io.ReadAll(z)
	if err != nil || int64(bytes.Count(rows, []byte("\n"))) != c.Rows {
		t.Errorf("%q (%v): want %d rows", rows, err, c.Rows)
	}
	want := "$JS.API.DIRECT.GET.EVENTS." + EventSubject(&Event{Workspace: "acme", Extraction: "x1", Kind: EventCompleted})
	asked, err := os.ReadFile(filepath.Join(notes, "4.args"))
	if err != nil || !strings.Contains(string(asked), want+"\n") {
		t.Errorf("the example asks %q, %v, want %q", asked, err, want)
	}
}
