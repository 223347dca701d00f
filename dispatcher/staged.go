package dispatcher

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/loadfleet/loadfleet/messages"
)

// Stage is where extractors put the files of staged extractions. Its
// credentials are the dispatcher's own: a commit names files, never places.
type Stage interface {
	// Open opens a file for reading from its start to its end. The name begins
	// with the workspace's folder and has no level that leads out of it. The
	// error wraps [fs.ErrNotExist] when there is no such file.
	Open(ctx context.Context, name string) (io.ReadCloser, error)
}

// maxStagedBytes bounds the unpacked rows of one staged file: in effect not at
// all, since it is read as a stream.
const maxStagedBytes = 1 << 50

// bodies walks the extraction's batches, or the staged files that stand for
// them, in order and each once. Of a staged batch the body is to be read from
// the reader given with it: to its end, or until it fails.
func (d *Dispatcher) bodies(ctx context.Context, e *extraction, each func(messages.Batch, io.Reader) error) error {
	return d.each(ctx, e, func(b messages.Batch, f *messages.StagedFile) error {
		return d.body(ctx, e, b, f, func(r io.Reader) error { return each(b, r) })
	})
}

// each walks the extraction's batches in order; of a staged one the file is
// given, which is not opened yet.
func (d *Dispatcher) each(ctx context.Context, e *extraction, each func(messages.Batch, *messages.StagedFile) error) error {
	if len(e.commit.Files) == 0 {
		return d.batches(ctx, e, func(b messages.Batch) error { return each(b, nil) })
	}
	if d.cfg.Stage == nil {
		return &rejection{messages.Failure{
			Reason:  messages.ReasonInvalidCommit,
			Message: "the commit lists staged files, and this fleet has no stage",
			Remedy:  "publish the rows in batches, or start the dispatchers with --stage-url and replay",
		}}
	}
	for i := range e.commit.Files {
		f := &e.commit.Files[i]
		b := messages.Batch{
			Workspace: e.Workspace, Extraction: e.Extraction, Ordinal: i + 1, Rows: f.Rows, Format: f.Format, Compression: f.Compression,
		}
		if err := each(b, f); err != nil {
			return err
		}
	}
	return nil
}

// body gives what the batch holds, or its file, to read.
func (d *Dispatcher) body(ctx context.Context, e *extraction, b messages.Batch, f *messages.StagedFile, read func(io.Reader) error) error {
	if f == nil {
		return read(bytes.NewReader(b.Body))
	}
	if err := d.stagedFile(ctx, e, *f, read); err != nil {
		return fmt.Errorf("staged file %s: %w", f.Name, err)
	}
	return nil
}

// stagedFile reads one file and proves that it is the one of the commit, also
// when its rows could not be read: what was changed is not the extractor's bad row.
func (d *Dispatcher) stagedFile(ctx context.Context, e *extraction, f messages.StagedFile, read func(io.Reader) error) (err error) {
	file, err := d.cfg.Stage.Open(ctx, e.Workspace+"/"+f.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return &ManifestError{Batch: ordinal(e, f), Missing: true, Message: fmt.Sprintf(
			"staged file %s is not in the workspace's folder of the stage: put every file there before the commit", f.Name)}
	}
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	checked := &checkedFile{ctx: ctx, r: file, sum: sha256.New()}
	failed := read(checked)
	if checked.err != nil {
		return fmt.Errorf("read: %w", checked.err) // the stage's trouble, whatever the reader made of it
	}
	if _, err := io.Copy(io.Discard, checked); err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if got := hex.EncodeToString(checked.sum.Sum(nil)); checked.size != f.Bytes || got != f.SHA256 {
		return &ManifestError{Batch: ordinal(e, f), Message: fmt.Sprintf(
			"staged file %s holds %d bytes of SHA-256 %s, and the commit says %d bytes of %s: it was changed since it was committed",
			f.Name, checked.size, got, f.Bytes, f.SHA256)}
	}
	return failed
}

func ordinal(e *extraction, f messages.StagedFile) int {
	for i := range e.commit.Files {
		if e.commit.Files[i].Name == f.Name {
			return i + 1
		}
	}
	return 0
}

// checkedFile counts and hashes what is read, and keeps the stage's own error.
type checkedFile struct {
	ctx  context.Context
	r    io.Reader
	sum  digest
	size int64
	err  error
}

// digest is a running hash.
type digest interface {
	io.Writer
	Sum([]byte) []byte
}

func (c *checkedFile) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		c.err = context.Cause(c.ctx)
		return 0, c.err
	}
	n, err := c.r.Read(p)
	_, _ = c.sum.Write(p[:n]) // a hash never fails
	c.size += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		c.err = err
	}
	return n, err
}
