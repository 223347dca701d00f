package dispatcher

import (
	"errors"
	"fmt"
	"iter"
	"os"

	"github.com/loadfleet/loadfleet/encoding"
)

// blockBytes is how much of a run is read back at a time: the merge holds one
// block per run.
const blockBytes = 1 << 20

// scratch holds runs of rows sorted by key, in one unlinked temporary file.
// Runs are read back side by side, each from its start to its end. Nothing in
// it outlives the process, and nothing needs to.
type scratch struct {
	file *os.File
	end  int64
	runs []*run
}

func newScratch(dir string) (*scratch, error) {
	f, err := os.CreateTemp(dir, "loadfleet-dispatch-*")
	if err != nil {
		return nil, fmt.Errorf("scratch: %w", err)
	}
	// Unlinked while open: the space is given back however the process ends.
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("scratch: %w", err), f.Close())
	}
	return &scratch{file: f}, nil
}

func (s *scratch) close() error { return s.file.Close() }

func (s *scratch) newRun() *run {
	r := &run{scratch: s}
	s.runs = append(s.runs, r)
	return r
}

// rows is what all runs hold of a group, in the order in which runs were
// made. Groups must be asked for in the order in which they were added.
func (s *scratch) rows(group int32) iter.Seq2[*encoding.Rows, error] {
	return func(yield func(*encoding.Rows, error) bool) {
		for _, r := range s.runs {
			for {
				rows, err := r.next(group)
				if err != nil {
					yield(nil, err)
					return
				}
				if rows == nil {
					break
				}
				if !yield(rows, nil) {
					return
				}
			}
		}
	}
}

// run is one sorted chunk: blocks of whole or partial groups.
type run struct {
	scratch *scratch
	blocks  []block

	open     []*encoding.Rows // of the block being filled
	openSize int64
	stretch  []stretch

	block   *encoding.Rows // being read
	at      int            // index of the next block to read
	pending []stretch      // of the block being read
	row     int
}

type block struct {
	offset, length int64
	stretches      []stretch
}

// stretch is consecutive rows of one group within a block.
type stretch struct {
	group int32
	rows  int
}

func (r *run) add(group int32, rows *encoding.Rows) error {
	for from := 0; from < rows.Len(); {
		part := rows
		// A part beyond a block is cut in proportion, so that no block is
		// much larger than the others.
		if n := int(blockBytes * int64(rows.Len()) / max(rows.Size(), 1)); n < rows.Len() {
			part = rows.Slice(from, min(from+max(n, 1), rows.Len()))
		}
		r.open = append(r.open, part)
		r.openSize += part.Size()
		r.stretch = append(r.stretch, stretch{group, part.Len()})
		from += part.Len()
		if r.openSize >= blockBytes {
			if err := r.cut(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *run) cut() error {
	if len(r.open) == 0 {
		return nil
	}
	b, err := encoding.MarshalRows(encoding.Concat(r.open...))
	if err != nil {
		return fmt.Errorf("scratch: %w", err)
	}
	if _, err := r.scratch.file.WriteAt(b, r.scratch.end); err != nil {
		return fmt.Errorf("scratch: %w", err)
	}
	r.blocks = append(r.blocks, block{r.scratch.end, int64(len(b)), r.stretch})
	r.scratch.end += int64(len(b))
	r.open, r.openSize, r.stretch = nil, 0, nil
	return nil
}

func (r *run) close() error { return r.cut() }

// next is the run's next rows if they are of the group, else nil.
func (r *run) next(group int32) (*encoding.Rows, error) {
	if len(r.pending) == 0 {
		if r.at == len(r.blocks) || r.blocks[r.at].stretches[0].group != group {
			return nil, nil
		}
		b := r.blocks[r.at]
		buf := make([]byte, b.length)
		if _, err := r.scratch.file.ReadAt(buf, b.offset); err != nil {
			return nil, fmt.Errorf("scratch: %w", err)
		}
		rows, err := encoding.UnmarshalRows(buf)
		if err != nil {
			return nil, fmt.Errorf("scratch: %w", err)
		}
		r.block, r.pending, r.row = rows, b.stretches, 0
		r.at++
	}
	s := r.pending[0]
	if s.group != group {
		return nil, nil
	}
	rows := r.block.Slice(r.row, r.row+s.rows)
	r.row += s.rows
	if r.pending = r.pending[1:]; len(r.pending) == 0 {
		r.block = nil
	}
	return rows, nil
}
