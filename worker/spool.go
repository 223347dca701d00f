package worker

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"sync"
)

// errSpool is wrapped by every error of a spool: the worker's own trouble,
// not the load's.
var errSpool = errors.New("spool")

// spools hands out spools whose memory is used again.
type spools struct {
	limit int64
	dir   string
	idle  sync.Pool
}

func newSpools(limit int64, dir string) *spools {
	return &spools{limit: limit, dir: dir, idle: sync.Pool{New: func() any { return &spool{hash: sha256.New()} }}}
}

func (s *spools) take() *spool {
	taken := s.idle.Get().(*spool)
	taken.limit, taken.dir = s.limit, s.dir
	return taken
}

// giveBack gives the space of a spool back, which nobody reads any more.
func (s *spools) giveBack(used *spool) error {
	err := used.reset()
	s.idle.Put(used)
	return err
}

// spool takes a file as it is encoded and gives it back as often as an upload
// needs: in memory up to a limit, beyond it in an unlinked temporary file.
type spool struct {
	limit int64
	dir   string
	buf   []byte
	file  *os.File
	size  int64
	hash  hash.Hash
}

func (s *spool) Write(p []byte) (int, error) {
	if s.file == nil && s.size+int64(len(p)) > s.limit {
		if err := s.spill(); err != nil {
			return 0, fmt.Errorf("%w: %w", errSpool, err)
		}
	}
	s.hash.Write(p)
	s.size += int64(len(p))
	if s.file == nil {
		s.buf = append(s.buf, p...)
		return len(p), nil
	}
	n, err := s.file.Write(p)
	if err != nil {
		return n, fmt.Errorf("%w: %w", errSpool, err)
	}
	return n, nil
}

func (s *spool) spill() error {
	f, err := os.CreateTemp(s.dir, "loadfleet-spool-*")
	if err != nil {
		return err
	}
	// Unlinked while open: the space is given back however the process ends.
	if err := os.Remove(f.Name()); err != nil {
		return errors.Join(err, f.Close())
	}
	s.file = f
	_, err = f.Write(s.buf)
	s.buf = s.buf[:0]
	return err
}

// ReadAt reads what was written; it is safe for concurrent use once writing
// has ended.
func (s *spool) ReadAt(p []byte, off int64) (int, error) {
	if s.file != nil {
		return s.file.ReadAt(p, off)
	}
	if off >= int64(len(s.buf)) {
		return 0, io.EOF
	}
	n := copy(p, s.buf[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// sum is the SHA-256 of all that was written.
func (s *spool) sum() [32]byte { return [32]byte(s.hash.Sum(nil)) }

// reset empties the spool.
func (s *spool) reset() error {
	file := s.file
	s.buf, s.file, s.size = s.buf[:0], nil, 0
	s.hash.Reset()
	if file == nil {
		return nil
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("%w: %w", errSpool, err)
	}
	return nil
}
