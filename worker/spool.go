package worker

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
)

// spool takes a file as it is encoded and gives it back as often as an upload
// needs: in memory up to a limit, beyond it in an unlinked temporary file.
// Its owner closes it.
type spool struct {
	limit int64
	dir   string
	buf   []byte
	file  *os.File
	size  int64
	hash  hash.Hash
}

func newSpool(limit int64, dir string) *spool {
	return &spool{limit: limit, dir: dir, hash: sha256.New()}
}

func (s *spool) Write(p []byte) (int, error) {
	if s.file == nil && s.size+int64(len(p)) > s.limit {
		if err := s.spill(); err != nil {
			return 0, err
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
		return n, fmt.Errorf("spool: %w", err)
	}
	return n, nil
}

func (s *spool) spill() error {
	f, err := os.CreateTemp(s.dir, "loadfleet-spool-*")
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	// Unlinked while open: the space is given back however the process ends.
	if err := os.Remove(f.Name()); err != nil {
		return errors.Join(fmt.Errorf("spool: %w", err), f.Close())
	}
	s.file = f
	if _, err := f.Write(s.buf); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	s.buf = nil
	return nil
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

// close gives the space back.
func (s *spool) close() error {
	s.buf = nil
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}
