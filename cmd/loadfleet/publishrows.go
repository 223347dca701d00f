package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
)

// badRows says that a file cannot be published as it is.
type badRows struct{ err error }

func (e *badRows) Error() string { return e.err.Error() }
func (e *badRows) Unwrap() error { return e.err }

// rowCheck reads rows as a dispatcher will, so that what it would refuse is
// named by file and line before anything is committed. What hangs on the
// destination's settings is left to the dispatcher.
type rowCheck struct {
	decoder  *encoding.Decoder  // with a schema
	inferrer *encoding.Inferrer // without
	batch    int
}

func newRowCheck(c *messages.Commit) *rowCheck {
	if c.Schema == nil {
		return &rowCheck{inferrer: encoding.NewInferrer()}
	}
	return &rowCheck{decoder: encoding.NewDecoder(c.Schema, encoding.DecodeOptions{
		UnknownColumns: c.UnknownColumns == messages.IgnoreUnknown, LenientColumn: c.DateColumn, Recycle: true, ChunkBytes: 8 << 20,
	}, func(*encoding.Rows) error { return nil })}
}

// piece reads one piece; the error says where in its file a row is wrong.
func (c *rowCheck) piece(in *input, p encoding.Piece) (err error) {
	if c == nil {
		return nil
	}
	c.batch++
	if c.decoder != nil {
		_, err = c.decoder.Decode(c.batch, in.format(), encoding.Plain, bytes.NewReader(p.Body))
	} else {
		err = c.inferrer.Observe(c.batch, in.format(), encoding.Plain, bytes.NewReader(p.Body))
	}
	var row *encoding.RowError
	var batch *encoding.BatchError
	switch {
	case errors.As(err, &row):
		at := *row
		where := p.Where(row.Row)
		at.Batch, at.Row = 0, 0
		return &badRows{fmt.Errorf("%s: %s: %w", in.name(), where, &at)}
	case errors.As(err, &batch):
		return &badRows{fmt.Errorf("%s: from %s on: %w", in.name(), p.Where(1), batch.Err)}
	}
	return err
}

// checked passes an input's pieces on after a look at them.
func (c *rowCheck) checked(in *input) iter.Seq2[encoding.Piece, error] {
	return func(yield func(encoding.Piece, error) bool) {
		for p, err := range in.pieces() {
			if err != nil {
				err = &badRows{fmt.Errorf("%s: %w", in.name(), err)}
			} else {
				err = c.piece(in, p)
			}
			if !yield(p, err) || err != nil {
				return
			}
		}
	}
}

// publication is files to be published as one extraction.
type publication struct {
	commit messages.Commit
	files  []string
	format string // of all of them; "": by name or content
	check  bool
	stage  bool

	rows  int64
	stood int // batches that an earlier try left
	again bool
}

// send publishes the files and commits them.
func (p *program) send(ctx context.Context, q *queue.Queue, pub *publication) (err error) {
	out, err := q.OpenExtraction(ctx, pub.commit)
	if err != nil {
		return err
	}
	bar := p.bar(pub.size(), "publish "+pub.commit.Destination)
	var check *rowCheck
	if pub.check {
		check = newRowCheck(&pub.commit)
	}
	for _, path := range pub.files {
		in, err := openInput(path, pub.format, p.in, func(n int) { _ = bar.Add(n) }) // a bar that cannot be drawn stops nothing
		if err != nil {
			return &badRows{err}
		}
		err = out.AddPieces(ctx, in.format(), check.checked(in))
		if err := errors.Join(err, in.end()); err != nil {
			return err
		}
	}
	_ = bar.Finish()
	err = out.Commit(ctx)
	pub.rows, pub.stood, pub.again = out.Rows(), out.Stood(), out.Committed()
	return err
}

// size is that of all files, 0 when one of them is not known.
func (pub *publication) size() (total int64) {
	for _, path := range pub.files {
		info, err := os.Stat(path)
		if path == "-" || err != nil {
			return 0
		}
		total += info.Size()
	}
	return total
}

// putStaged puts the files into the stage as they lie, then commits them.
func (p *program) putStaged(ctx context.Context, q *queue.Queue, to staging, pub *publication) error {
	commit := pub.commit
	commit.Batches, commit.Files = []messages.BatchManifest{}, nil
	if _, err := commit.Encode(); err != nil {
		return err
	}
	bar := p.bar(2*pub.size(), "stage "+pub.commit.Destination) // each is read twice: for its rows, for its bytes
	var check *rowCheck
	if pub.check {
		check = newRowCheck(&commit)
	}
	for n, path := range pub.files {
		file, err := p.stageFile(ctx, to, pub, check, n, path, func(n int) { _ = bar.Add(n) })
		if err != nil {
			return err
		}
		commit.Files = append(commit.Files, *file)
		commit.Rows += file.Rows
	}
	_ = bar.Finish()
	pub.rows = commit.Rows
	again, err := q.PublishCommit(ctx, commit)
	pub.again = again
	return err
}

func (p *program) stageFile(ctx context.Context, to staging, pub *publication, check *rowCheck, n int, path string, progress func(int)) (f *messages.StagedFile, err error) {
	if path == "-" {
		return nil, &badRows{errors.New("standard input cannot be staged: give files")}
	}
	in, err := openInput(path, pub.format, nil, progress)
	if err != nil {
		return nil, &badRows{err}
	}
	defer func() { err = errors.Join(err, in.end()) }()
	if in.random {
		return nil, &badRows{fmt.Errorf("%s: a %s file is read at several places, and staged files are read as streams: publish it without --stage, or stage ndjson, csv or Arrow streams", path, in.kind)}
	}
	f = &messages.StagedFile{
		Name:   fmt.Sprintf("%s/%d-%s", pub.commit.Extraction, n+1, stagedName(path)),
		Format: in.format(), Compression: in.packed,
	}
	for piece, err := range check.checked(in) {
		if err != nil {
			return nil, err
		}
		f.Rows += piece.Rows
	}
	size, sum, err := fileSum(in.file)
	if err != nil {
		return nil, err
	}
	progress(int(size))
	f.Bytes, f.SHA256 = size, fmt.Sprintf("%x", sum)
	if err := to.put(ctx, pub.commit.WorkspaceID+"/"+f.Name, in.file, size, sum); err != nil {
		return nil, fmt.Errorf("stage %s: %w", path, err)
	}
	return f, nil
}

// stagedName is a file's own name with what a staged name may hold.
func stagedName(path string) string {
	name := strings.Map(func(r rune) rune {
		if messages.ValidStagedName("a" + string(r)) {
			return r
		}
		return '-'
	}, filepath.Base(path))
	return name[max(0, len(name)-200):]
}
