package encoding

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// window reads a stream in one reused buffer and hands out its lines.
type window struct {
	r        io.Reader
	buf      []byte // buf[from:to] is unread; windowSlack bytes of memory follow to
	from, to int
	complete int   // where the last line ends that whole has seen the end of
	lines    int64 // lines that line handed out
	eof      bool
	total    int64
	limit    int64 // of total
}

const (
	windowBytes = 256 << 10
	// windowSlack is what may be read behind a line's end without harm.
	windowSlack = 32
)

// tooLarge says that a batch unpacks to more than it may.
type tooLarge struct{ limit int64 }

func (e tooLarge) Error() string {
	return fmt.Sprintf("unpacks to more than %d bytes: send smaller batches", e.limit)
}

var errLongRow = errors.New("is longer than a row may be: shorten it, or look for a quote that is never closed")

func tooLong(batch int, row, limit int64) error {
	return &RowError{Batch: batch, Row: row, Err: fmt.Errorf("%w (limit %d bytes)", errLongRow, limit)}
}

func (w *window) reset(r io.Reader, limit int64) {
	if w.buf == nil {
		w.buf = make([]byte, windowBytes+windowSlack)
	}
	*w = window{r: r, buf: w.buf, limit: limit}
}

// line returns the next line: b[n] is its newline, before which a carriage
// return may stand, and windowSlack-1 bytes without meaning follow. With quotes,
// a newline inside of them does not end it. The bytes stay until the next call.
// io.EOF comes with no line.
func (w *window) line(maxBytes int64, quotes bool) (b []byte, n int, err error) {
	open, scanned := false, 0
	for {
		rest := w.buf[w.from+scanned : w.to]
		i := bytes.IndexByte(rest, '\n')
		if i < 0 && w.eof {
			if w.from == w.to {
				return nil, 0, io.EOF
			}
			i = len(rest)
			w.buf[w.to] = '\n'
			w.to++
			rest = w.buf[w.from+scanned : w.to]
		}
		if i < 0 {
			if int64(w.to-w.from) > maxBytes {
				return nil, 0, errLongRow
			}
			if err := w.fill(); err != nil {
				return nil, 0, err
			}
			continue
		}
		if quotes && bytes.Count(rest[:i], quote)&1 == 1 {
			open = !open
		}
		scanned += i + 1
		w.lines++
		if open && !(w.eof && w.from+scanned == w.to) {
			continue
		}
		if int64(scanned-1) > maxBytes {
			return nil, 0, errLongRow
		}
		b = w.buf[w.from : w.from+scanned+windowSlack-1]
		w.from += scanned
		return b, scanned - 1, nil
	}
}

// whole returns what is unread up to the end of a line, one line or more, and
// windowSlack-1 bytes behind it without meaning. Whoever reads it says with take
// how much. The bytes stay until the next call. io.EOF comes with no line.
func (w *window) whole(maxBytes int64) ([]byte, error) {
	if w.from >= w.complete {
		_, n, err := w.line(maxBytes, false)
		if err != nil {
			return nil, err
		}
		w.from -= n + 1
		w.complete = w.from + 1 + bytes.LastIndexByte(w.buf[w.from:w.to], '\n')
	}
	return w.buf[w.from : w.complete+windowSlack-1], nil
}

// take passes over the first n bytes of what whole returned.
func (w *window) take(n int) { w.from += n }

var quote = []byte{'"'}

// fill reads more behind what is unread.
func (w *window) fill() error {
	if w.from > 0 {
		w.to = copy(w.buf, w.buf[w.from:w.to])
		w.from = 0
	}
	if w.to > (len(w.buf)-windowSlack)/2 {
		longer := make([]byte, 2*len(w.buf))
		copy(longer, w.buf[:w.to])
		w.buf = longer
	}
	for range 100 {
		n, err := w.r.Read(w.buf[w.to : len(w.buf)-windowSlack])
		w.to += n
		w.total += int64(n)
		if w.total > w.limit {
			return tooLarge{w.limit}
		}
		if err == io.EOF {
			w.eof = true
			return nil
		}
		if err != nil {
			return err
		}
		if n > 0 {
			return nil
		}
	}
	return io.ErrNoProgress
}

// skipMark skips a UTF-8 byte order mark at the stream's beginning.
func (w *window) skipMark() error {
	for w.to-w.from < 3 && !w.eof {
		if err := w.fill(); err != nil {
			return err
		}
	}
	if bytes.HasPrefix(w.buf[w.from:w.to], []byte("\xef\xbb\xbf")) {
		w.from += 3
	}
	return nil
}
