package encoding

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/apache/arrow/go/v17/arrow/ipc"
)

// Piece is a part of a file that is a batch of its own.
type Piece struct {
	Body []byte // valid until the next piece is asked for
	Rows int64
}

// maxRecord bounds one line or CSV record that Cut takes.
const maxRecord = 64 << 20

// Cut reads a file and yields pieces of about size bytes, each a batch that
// decodes by itself: whole lines of NDJSON, whole records of CSV under the
// file's header row, whole record batches of Arrow IPC. Rows are only counted,
// not checked. The last pair holds the error, if there is one.
func Cut(r io.Reader, format InputFormat, size int) iter.Seq2[Piece, error] {
	switch format {
	case NDJSONInput:
		return cutText(r, size, false)
	case CSVInput:
		return cutText(r, size, true)
	case ArrowInput:
		return cutArrow(r)
	}
	return func(yield func(Piece, error) bool) {
		yield(Piece{}, fmt.Errorf("cut: unknown input format %q", format))
	}
}

func cutText(r io.Reader, size int, csv bool) iter.Seq2[Piece, error] {
	return func(yield func(Piece, error) bool) {
		in := bufio.NewReaderSize(r, 1<<20)
		var header, body, record []byte
		var rows int64
		for n := 1; ; n++ {
			var err error
			record, err = readRecord(in, record[:0], csv)
			if err != nil && !errors.Is(err, io.EOF) {
				yield(Piece{}, fmt.Errorf("cut: record %d: %w", n, err))
				return
			}
			last := err != nil
			switch {
			case len(bytes.TrimSpace(record)) == 0: // as the decoders do: an empty line is no row
			case csv && header == nil:
				header = terminated(bytes.Clone(record))
				body = append(body, header...)
			default:
				body = terminated(append(body, record...))
				rows++
			}
			if len(body) >= size && rows > 0 || last && rows > 0 {
				if !yield(Piece{body, rows}, nil) {
					return
				}
				body, rows = append(body[:0], header...), 0
			}
			if last {
				return
			}
		}
	}
}

func terminated(b []byte) []byte {
	if len(b) > 0 && b[len(b)-1] != '\n' {
		b = append(b, '\n')
	}
	return b
}

// readRecord appends the next line to b: for CSV up to the first line break
// outside quotes. At the end of the input it returns io.EOF with what was left.
func readRecord(in *bufio.Reader, b []byte, csv bool) ([]byte, error) {
	quoted := false
	for {
		part, err := in.ReadSlice('\n')
		b = append(b, part...)
		if len(b) > maxRecord {
			return b, fmt.Errorf("longer than %d MiB", maxRecord>>20)
		}
		if csv {
			quoted = quoted != (bytes.Count(part, []byte{'"'})%2 == 1)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull), err == nil && quoted:
			continue
		case errors.Is(err, io.EOF) && quoted:
			return b, errors.New("the file ends inside a quoted field")
		}
		return b, err
	}
}

func cutArrow(r io.Reader) iter.Seq2[Piece, error] {
	return func(yield func(Piece, error) bool) {
		in, err := ipc.NewReader(r)
		if err != nil {
			yield(Piece{}, fmt.Errorf("cut: %w", err))
			return
		}
		defer in.Release()
		for in.Next() {
			var body bytes.Buffer
			out := ipc.NewWriter(&body, ipc.WithSchema(in.Schema()))
			if err := errors.Join(out.Write(in.Record()), out.Close()); err != nil {
				yield(Piece{}, fmt.Errorf("cut: %w", err))
				return
			}
			if !yield(Piece{body.Bytes(), in.Record().NumRows()}, nil) {
				return
			}
		}
		if err := in.Err(); err != nil && !errors.Is(err, io.EOF) {
			yield(Piece{}, fmt.Errorf("cut: %w", err))
		}
	}
}
