package dispatcher

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
)

// folder is a stage in a directory, which can fail.
type folder struct {
	dir   string
	fails atomic.Int64 // how many reads from now on break off
}

func (f *folder) Open(_ context.Context, name string) (io.ReadCloser, error) {
	r, err := os.Open(filepath.Join(f.dir, name))
	if err != nil {
		return nil, err
	}
	return &failing{r, f}, nil
}

type failing struct {
	io.ReadCloser
	stage *folder
}

var errStage = errors.New("the stage broke off")

func (f *failing) Read(p []byte) (int, error) {
	if f.stage.fails.Add(-1) >= 0 {
		return 0, errStage
	}
	return f.ReadCloser.Read(p)
}

// put lays a file and returns what a commit says of it.
func (f *folder) put(t *testing.T, name, body string, rows int64) messages.StagedFile {
	t.Helper()
	path := filepath.Join(f.dir, "ws", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	s := messages.StagedFile{Name: name, Rows: rows, Bytes: int64(len(body)), SHA256: hash(body), Format: encoding.NDJSONInput}
	if strings.HasSuffix(name, ".csv") {
		s.Format = encoding.CSVInput
	}
	return s
}

func staged(extraction string, files ...messages.StagedFile) messages.Commit {
	c := commitOf(extraction)
	c.Batches, c.Files = []messages.BatchManifest{}, files
	for _, f := range files {
		c.Rows += f.Rows
	}
	return c
}

// A staged extraction makes the loads that the same rows in batches make.
func TestStagedExtraction(t *testing.T) {
	w := newWorld(t)
	w.apply()
	stage := &folder{dir: t.TempDir()}
	cfg := quick()
	cfg.Stage = stage
	w.start(w.Queue, cfg)
	b := lines(30)
	w.extract(commitOf("batches"), b, b)

	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write([]byte(b.body)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	first, second := stage.put(t, "e/1.ndjson", b.body, b.rows), stage.put(t, "e/2.ndjson.gz", packed.String(), b.rows)
	second.Compression = encoding.Gzip
	inferred := staged("inferred", first, second)
	inferred.Schema = nil
	for _, c := range []messages.Commit{staged("files", first, second), inferred} {
		stage.fails.Store(1) // the stage's trouble is not the input's: tried again
		w.commit(c)
		if got := w.dispatched(c.Extraction); got != (messages.Plan{Loads: 3, Rows: 60}) {
			t.Fatalf("%s: got %+v, want 3 loads of 60 rows", c.Extraction, got)
		}
		want := w.loads("batches")
		for i, l := range w.loads(c.Extraction) {
			if l.Key != want[i].Key || string(l.payload) != string(want[i].payload) {
				t.Errorf("%s: load %d differs from that of batches: key %s, want %s", c.Extraction, i, l.Key, want[i].Key)
			}
		}
	}
}

// What is wrong with a staged file fails the extraction, with the place, before
// any load.
func TestStagedBadInput(t *testing.T) {
	w := newWorld(t)
	w.apply()
	stage := &folder{dir: t.TempDir()}
	cfg := quick()
	cfg.Stage = stage
	stop := w.start(w.Queue, cfg)
	good := lines(3)
	tests := []struct {
		name   string
		file   func(t *testing.T) messages.StagedFile
		reason messages.Reason
		batch  int
		row    int64
		says   string
	}{
		{"missing", func(*testing.T) messages.StagedFile {
			return messages.StagedFile{Name: "none", Rows: 1, Bytes: 1, SHA256: hash("x"), Format: encoding.CSVInput}
		}, messages.ReasonIncomplete, 2, 0, "staged file none is not in the workspace's folder"},
		{"changed", func(t *testing.T) messages.StagedFile {
			f := stage.put(t, "changed", good.body, 3)
			stage.put(t, "changed", strings.ReplaceAll(good.body, "a0", "a9"), 3)
			return f
		}, messages.ReasonIncomplete, 2, 0, "was changed since it was committed"},
		{"changed to what cannot be read", func(t *testing.T) messages.StagedFile {
			f := stage.put(t, "broken", good.body, 3)
			stage.put(t, "broken", "no json", 3)
			return f
		}, messages.ReasonIncomplete, 2, 0, "was changed since it was committed"},
		{"grown", func(t *testing.T) messages.StagedFile {
			f := stage.put(t, "grown", good.body, 3)
			stage.put(t, "grown", good.body+good.body, 3)
			return f
		}, messages.ReasonIncomplete, 2, 0, "was changed since it was committed"},
		{"wrong count", func(t *testing.T) messages.StagedFile { return stage.put(t, "count", good.body, 4) },
			messages.ReasonCount, 2, 0, "holds 3 rows, and the commit says 4"},
		{"a bad row", func(t *testing.T) messages.StagedFile {
			return stage.put(t, "row.csv", "day,account,n\n2024-06-18,a,1\n2024-06-18,a,many\n", 2)
		}, messages.ReasonBadRow, 2, 2, "many"},
		{"another workspace's", func(t *testing.T) messages.StagedFile {
			if err := os.MkdirAll(filepath.Join(stage.dir, "victim"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(stage.dir, "victim", "f"), []byte(good.body), 0o600); err != nil {
				t.Fatal(err)
			}
			return messages.StagedFile{Name: "../victim/f", Rows: 3, Bytes: int64(len(good.body)), SHA256: hash(good.body), Format: encoding.NDJSONInput}
		}, messages.ReasonInvalidCommit, 0, 0, "cannot be the name of a staged file"},
	}
	fails := func(t *testing.T, c messages.Commit) messages.Failure {
		t.Helper()
		w.t = t
		w.commit(c)
		e := w.await(c.Extraction, messages.EventFailed, messages.EventDispatched)
		if e.Failure == nil {
			t.Fatalf("got event %+v, want failed", e)
		}
		if loads := w.loads(c.Extraction); len(loads) > 0 {
			t.Errorf("loads: got %q, want none", keys(loads))
		}
		return *e.Failure
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := staged("e", stage.put(t, "good", good.body, 3), test.file(t))
			c.Extraction = messages.LoadID("ws", test.name, "", "")
			f := fails(t, c)
			if f.Reason != test.reason || f.Batch != test.batch || f.Row != test.row || !strings.Contains(f.Message, test.says) || f.Remedy == "" {
				t.Errorf("got %+v, want %s in batch %d, row %d, saying %q", f, test.reason, test.batch, test.row, test.says)
			}
		})
	}
	stop()
	w.start(w.Queue, quick())
	if f := fails(t, staged("nostage", stage.put(t, "good", good.body, 3))); f.Reason != messages.ReasonInvalidCommit || !strings.Contains(f.Remedy, "--stage-url") {
		t.Errorf("without a stage: got %+v", f)
	}
}
