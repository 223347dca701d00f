package encoding

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"
)

// openArrow opens a stream that may not take more than about limit bytes, nor
// make the Arrow library believe that it will: the library allocates whatever
// length a message claims to have before it reads it.
func openArrow(r io.Reader, limit int64) (*ipc.Reader, error) {
	return ipc.NewReader(&arrowFrames{r: r, left: limit, limit: limit}, ipc.WithAllocator(&boundedAllocator{limit: 2*limit + 1<<20}))
}

// arrowFrames passes an IPC stream on, message by message, once the lengths in
// it have been checked.
type arrowFrames struct {
	r           io.Reader
	head        bytes.Buffer // prefix and metadata, not yet passed on
	body        int64        // bytes of the body, not yet passed on
	left, limit int64
	views       arrowViews
}

var errArrowFrame = errors.New("not an arrow IPC stream: its lengths make no sense")

func (f *arrowFrames) Read(p []byte) (int, error) {
	if f.head.Len() == 0 && f.body == 0 {
		if err := f.next(); err != nil {
			return 0, err
		}
	}
	if f.head.Len() > 0 {
		return f.head.Read(p)
	}
	n, err := f.r.Read(p[:min(int64(len(p)), f.body)])
	f.body -= int64(n)
	return n, err
}

// next reads a message up to its body.
func (f *arrowFrames) next() error {
	f.head.Reset()
	if err := f.take(4); err != nil {
		return err
	}
	size := binary.LittleEndian.Uint32(f.head.Bytes())
	prefix := 4
	if size == 0xffffffff { // since 0.15 the length comes second
		if err := f.take(4); err != nil {
			return err
		}
		size, prefix = binary.LittleEndian.Uint32(f.head.Bytes()[4:]), 8
	}
	if size == 0 {
		return nil // end of stream
	}
	if err := f.take(int64(size)); err != nil {
		return err
	}
	body, ok := arrowBody(f.head.Bytes()[prefix:], &f.views)
	if !ok {
		return errArrowFrame
	}
	if f.left -= body; f.left < 0 {
		return tooLarge{f.limit}
	}
	f.body = body
	return nil
}

// take reads n more bytes of the head; memory grows only as they come.
func (f *arrowFrames) take(n int64) error {
	if f.left -= n; f.left < 0 {
		return tooLarge{f.limit}
	}
	got, err := io.CopyN(&f.head, f.r, n)
	if errors.Is(err, io.EOF) && (got > 0 || f.head.Len() > 0) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// boundedAllocator panics, for recovered to catch, once more than limit bytes
// are in use.
type boundedAllocator struct {
	memory.GoAllocator
	used, limit int64
}

func (a *boundedAllocator) Allocate(size int) []byte {
	a.charge(int64(size))
	return a.GoAllocator.Allocate(size)
}

func (a *boundedAllocator) Reallocate(size int, b []byte) []byte {
	a.charge(int64(size) - int64(len(b)))
	return a.GoAllocator.Reallocate(size, b)
}

func (a *boundedAllocator) Free(b []byte) {
	a.used -= int64(len(b))
	a.GoAllocator.Free(b)
}

func (a *boundedAllocator) charge(n int64) {
	if n > a.limit-a.used {
		panic(tooLarge{a.limit})
	}
	a.used += n
}
