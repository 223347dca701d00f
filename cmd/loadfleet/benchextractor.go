package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap/zapcore"

	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/testdata/adrows"
)

// source is the rows that every trial of a shape reads, as text and as the
// batches that an extractor made of it.
type source struct {
	Path          string               `json:"path"`
	Format        encoding.InputFormat `json:"format"`
	Schema        *encoding.Schema     `json:"schema,omitempty"` // nil: inferred by the dispatcher
	DateColumn    string               `json:"date_column"`
	AccountColumn string               `json:"account_column"`
	Rows          int64                `json:"rows"`
	Bytes         int64                `json:"bytes"` // as text
	Packed        string               `json:"packed"`
	Pieces        []packedPiece        `json:"pieces"`
	PackSeconds   float64              `json:"pack_seconds"` // CPU that cutting and packing took, before the clock
}

// packedPiece is where a batch stands in the packed file.
type packedPiece struct {
	Bytes int   `json:"bytes"`
	Rows  int64 `json:"rows"`
}

// pack cuts the text into zstd batches, as `loadfleet publish` does. What the
// extractor does to its rows before it publishes them is not loadfleet's, and is
// not in any figure but its own.
func (s *source) pack(text io.Reader, path string) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	out := bufio.NewWriterSize(f, 1<<20)
	cpu := cpuSeconds()
	counted := &countingReader{r: text}
	var packer encoding.Packer
	for piece, err := range encoding.Cut(counted, s.Format, queue.BatchBytes) {
		if err != nil {
			return err
		}
		body, err := packer.Pack(encoding.Zstd, piece.Body)
		if err != nil {
			return err
		}
		if _, err := out.Write(body); err != nil {
			return err
		}
		s.Pieces = append(s.Pieces, packedPiece{len(body), piece.Rows})
		s.Rows += piece.Rows
	}
	s.Packed, s.Bytes, s.PackSeconds = path, counted.n, cpuSeconds()-cpu
	return out.Flush()
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// generate makes the rows of a shape.
func (s *source) generate(of shape, path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := adrows.Write(f, of.options()); err != nil {
		return errors.Join(err, f.Close())
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return errors.Join(err, f.Close())
	}
	s.Path, s.Format, s.Schema = path, encoding.NDJSONInput, adrows.Schema()
	return errors.Join(s.pack(f, path+".packed"), f.Close())
}

// commit is the extraction that the rows are published as.
func (s *source) commit(extraction string) messages.Commit {
	return messages.Commit{
		Extraction: extraction, Destination: benchBucket, WorkspaceID: benchWorkspace, Filename: "rows", Schema: s.Schema,
		DateColumn: s.DateColumn, AccountColumn: s.AccountColumn, Generation: 1,
	}
}

// publish publishes the batches as they are and commits them.
func (s *source) publish(ctx context.Context, q *queue.Queue, extraction string) (err error) {
	f, err := os.Open(s.Packed)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	e, err := q.Extract(ctx, s.commit(extraction))
	if err != nil {
		return err
	}
	for _, piece := range s.Pieces {
		body := make([]byte, piece.Bytes) // the extraction's until it is committed
		if _, err := io.ReadFull(f, body); err != nil {
			return err
		}
		if err := e.Append(ctx, messages.Batch{Rows: piece.Rows, Format: s.Format, Compression: encoding.Zstd, Body: body}); err != nil {
			return err
		}
	}
	return e.Commit(ctx)
}

const (
	benchBucket           = "bench"
	benchWorkspace        = "ws1"
	benchExtraction       = "bench"
	benchExtractorCommand = "bench-extractor"
)

// published is when the extractor began and ended.
type published struct {
	Began time.Time `json:"began"`
	Ended time.Time `json:"ended"`
}

// benchExtractor is the hidden command that publishes when it is told to.
func (p *program) benchExtractor() *cobra.Command {
	return &cobra.Command{
		Use:    benchExtractorCommand,
		Short:  "The extractor of a measurement: its source on standard input, then a line when it is to begin",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			in := bufio.NewReader(p.in)
			var s source
			line, err := in.ReadBytes('\n')
			if err == nil {
				err = json.Unmarshal(line, &s)
			}
			if err != nil {
				return usage(err)
			}
			q, err := p.settings.connect(cmd.Context(), "publish", p.logger(zapcore.ErrorLevel))
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, q.Close(context.WithoutCancel(cmd.Context()))) }()
			out := json.NewEncoder(p.out)
			if err := out.Encode("connected"); err != nil {
				return err
			}
			if _, err := in.ReadBytes('\n'); err != nil {
				return err
			}
			done := published{Began: time.Now()}
			if err := s.publish(cmd.Context(), q, benchExtraction); err != nil {
				return fmt.Errorf("publish: %w", err)
			}
			done.Ended = time.Now()
			if err := out.Encode(done); err != nil {
				return err
			}
			_, err = in.ReadBytes('\n') // lives until it has been looked at
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return err
		},
	}
}
