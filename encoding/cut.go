package encoding

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
)

// Piece is a part of a file that is a batch of its own.
type Piece struct {
	Body []byte // valid until the next piece is asked for
	Rows int64

	before int64   // rows of earlier pieces
	lines  []int64 // of text: the line in the file at which each row begins
}

// Where says where a row of the piece, counted from 1, stands in its file.
func (p Piece) Where(row int64) string {
	if row >= 1 && row <= int64(len(p.lines)) {
		return fmt.Sprintf("line %d", p.lines[row-1])
	}
	return fmt.Sprintf("row %d", p.before+max(row, 1))
}

// maxRecord bounds one line or CSV record that Cut takes.
const maxRecord = 64 << 20

// Cut reads a file and yields pieces of about size bytes, each a batch that
// decodes by itself: whole lines of NDJSON, whole records of CSV under the
// file's header row, records of an Arrow IPC stream. Rows are only counted, not
// checked. How a file is cut depends on its content and size alone: cut again it
// gives the same pieces. The last pair holds the error, if there is one.
func Cut(r io.Reader, format InputFormat, size int) iter.Seq2[Piece, error] {
	switch format {
	case NDJSONInput:
		return cutText(r, size, false)
	case CSVInput:
		return cutText(r, size, true)
	case ArrowInput:
		return cutStream(r, size)
	}
	return func(yield func(Piece, error) bool) {
		yield(Piece{}, fmt.Errorf("cut: unknown input format %q", format))
	}
}

func cutText(r io.Reader, size int, csv bool) iter.Seq2[Piece, error] {
	return func(yield func(Piece, error) bool) {
		in := bufio.NewReaderSize(r, 1<<20)
		var header, body, record []byte
		piece := Piece{}
		line := int64(1)
		for {
			var err error
			record, err = readRecord(in, record[:0], csv)
			if err != nil && !errors.Is(err, io.EOF) {
				yield(Piece{}, fmt.Errorf("cut: line %d: %w", line, err))
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
				piece.lines = append(piece.lines, line)
			}
			line += int64(bytes.Count(record, []byte{'\n'}))
			piece.Rows = int64(len(piece.lines))
			if len(body) >= size && piece.Rows > 0 || last && piece.Rows > 0 {
				piece.Body = body
				if !yield(piece, nil) {
					return
				}
				body, piece = append(body[:0], header...), Piece{before: piece.before + piece.Rows, lines: piece.lines[:0]}
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
