package queue

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
)

// BatchBytes is how much text becomes one batch: about 1 MB packed, the size at
// which durable storage costs least a byte.
const BatchBytes = 4 << 20

// Publisher publishes the rows of one extraction, in the order in which they
// are added: it cuts them into batches, packs these with zstd and publishes them
// beside the caller's work, with at most 16 MB on their way. A call waits while
// they are, or while the queue is full; only its context ends that wait.
//
// A batch that is not acknowledged is published again until it is, under the
// same id, so that it is stored once. An extractor that died begins again with
// the same extraction id and the same rows: the batches that stand on the queue
// (they are recognised for 24 hours) are not stored again, [Publisher.Stood]
// counts them, and it goes on behind them. Rows that are not the same, or are
// added in another order, are stored beside those: the commit counts what was
// added by the Publisher that commits.
//
// Its methods are for one goroutine. After an error nothing more is taken.
type Publisher struct {
	extraction *Extraction
	packer     encoding.Packer
	batch      int // bytes
	text       bytes.Buffer
	pending    int64 // rows in text
	rows       int64 // all that were added
	err        error
}

// OpenExtraction begins an extraction. The commit says what it is: extraction
// and workspace ids, destination, table (Filename), schema, columns. A
// Generation of 0 becomes the time in Unix milliseconds; Rows and Batches are
// counted. What can never be committed is refused here, before a row is sent.
func (q *Queue) OpenExtraction(ctx context.Context, commit messages.Commit) (*Publisher, error) {
	if commit.Generation == 0 {
		commit.Generation = time.Now().UnixMilli()
	}
	commit.Rows, commit.Batches = 0, nil
	if _, err := commit.Encode(); err != nil {
		return nil, fmt.Errorf("open extraction %s: %w", commit.Extraction, err)
	}
	e, err := q.Extract(ctx, commit)
	if err != nil {
		return nil, err
	}
	return &Publisher{extraction: e, batch: BatchBytes}, nil
}

// Add adds rows, each a struct or a map of the columns' values, or JSON text of
// one ([json.RawMessage]). encoding/json writes them: a struct's json tags name
// the columns, a [time.Time] is a timestamp, a [Date] a date, and a nil is null.
func (p *Publisher) Add(ctx context.Context, rows ...any) error {
	if p.err != nil {
		return p.err
	}
	for _, row := range rows {
		before := p.text.Len()
		encoder := json.NewEncoder(&p.text)
		encoder.SetEscapeHTML(false)
		err := encoder.Encode(row)
		if err == nil && p.text.Bytes()[before] != '{' {
			err = fmt.Errorf("a %T is not a row: add a struct or a map", row)
		}
		if err != nil {
			p.text.Truncate(before)
			return p.fail(fmt.Errorf("row %d: %w", p.rows+1, err))
		}
		p.rows++
		p.pending++
		if p.text.Len() >= p.batch {
			if err := p.flush(ctx); err != nil {
				return p.fail(err)
			}
		}
	}
	return nil
}

// AddNDJSON adds the rows of a text of JSON objects, one a line.
func (p *Publisher) AddNDJSON(ctx context.Context, text io.Reader) error {
	return p.AddPieces(ctx, encoding.NDJSONInput, encoding.Cut(text, encoding.NDJSONInput, p.batch))
}

// AddCSV adds the rows of a CSV text in UTF-8 with a header row.
func (p *Publisher) AddCSV(ctx context.Context, text io.Reader) error {
	return p.AddPieces(ctx, encoding.CSVInput, encoding.Cut(text, encoding.CSVInput, p.batch))
}

// AddArrow adds the rows of an Arrow IPC stream.
func (p *Publisher) AddArrow(ctx context.Context, stream io.Reader) error {
	return p.AddPieces(ctx, encoding.ArrowInput, encoding.Cut(stream, encoding.ArrowInput, p.batch))
}

// AddRecords adds the rows of Arrow records of one schema. They stay the
// caller's.
func (p *Publisher) AddRecords(ctx context.Context, records iter.Seq2[encoding.Record, error]) error {
	return p.AddPieces(ctx, encoding.ArrowInput, encoding.CutRecords(records, p.batch))
}

// AddPieces adds what was cut to batches before, such as by
// [encoding.CutParquet], each as one batch.
func (p *Publisher) AddPieces(ctx context.Context, format encoding.InputFormat, pieces iter.Seq2[encoding.Piece, error]) error {
	if p.err != nil {
		return p.err
	}
	if err := p.flush(ctx); err != nil {
		return p.fail(err)
	}
	for piece, err := range pieces {
		if err == nil {
			err = p.publish(ctx, format, piece.Body, piece.Rows)
		}
		if err != nil {
			return p.fail(err)
		}
		p.rows += piece.Rows
	}
	return nil
}

// flush publishes the rows that are no batch yet.
func (p *Publisher) flush(ctx context.Context) error {
	if p.pending == 0 {
		return nil
	}
	err := p.publish(ctx, encoding.NDJSONInput, p.text.Bytes(), p.pending)
	p.text.Reset()
	p.pending = 0
	return err
}

func (p *Publisher) publish(ctx context.Context, format encoding.InputFormat, body []byte, rows int64) error {
	packed, err := p.packer.Pack(encoding.Zstd, body)
	if err != nil {
		return err
	}
	// The packer uses its buffer again, and a batch may have to be repeated.
	return p.extraction.Append(ctx, messages.Batch{
		Rows: rows, Format: format, Compression: encoding.Zstd, Body: bytes.Clone(packed),
	})
}

func (p *Publisher) fail(err error) error {
	p.err = fmt.Errorf("extraction %s: %w", p.extraction.commit.Extraction, err)
	return p.err
}

// Commit publishes what is left, waits until every batch is acknowledged and
// commits the extraction: from then on it is the fleet's, and the extractor may
// go. It succeeds when the extraction was committed before; see
// [Publisher.Committed]. Without it nothing is ever loaded.
func (p *Publisher) Commit(ctx context.Context) error {
	if p.err != nil {
		return p.err
	}
	if err := p.flush(ctx); err != nil {
		return p.fail(err)
	}
	if err := p.extraction.Commit(ctx); err != nil {
		return p.fail(err)
	}
	p.err = errCommitted
	return nil
}

// errCommitted is what a Publisher answers after its commit.
var errCommitted = errors.New("the extraction is committed: open another one for more rows")

// Rows is how many rows were added.
func (p *Publisher) Rows() int64 { return p.rows }

// Stood is how many batches stood on the queue before, from an earlier try.
func (p *Publisher) Stood() int { return p.extraction.Stood() }

// Committed reports, after Commit, whether the extraction had been committed
// before: then that commit counts, and this one was dropped.
func (p *Publisher) Committed() bool { return p.extraction.Committed() }

// Wait hears what becomes of the committed extraction, until each of its loads
// has ended or it failed.
func (p *Publisher) Wait(ctx context.Context) (*Ending, error) {
	c := p.extraction.commit
	return p.extraction.q.Wait(ctx, c.WorkspaceID, c.Extraction)
}

// Date is a day as a value of a row: an [encoding.Date] column takes it.
type Date time.Time

// MarshalText writes the date as 2024-06-18.
func (d Date) MarshalText() ([]byte, error) {
	return time.Time(d).AppendFormat(nil, time.DateOnly), nil
}
