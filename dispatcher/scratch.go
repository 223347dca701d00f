package dispatcher

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"os"

	"github.com/loadfleet/loadfleet/encoding"
)

// fanIn is how many runs of one size are merged into one of the next. Reading
// holds a block per run, so that this, and not the size of the extraction,
// bounds what a walk over all runs holds.
const fanIn = 16

// scratch holds runs of rows sorted by key on disk. Runs are read side by
// side, each once and from its start to its end. Nothing in it outlives the
// process, and nothing needs to.
type scratch struct {
	dir        string
	blockBytes int64 // about how much is written and read at a time
	runs       []*run
}

func (s *scratch) close() error {
	var errs []error
	for _, r := range s.runs {
		errs = append(errs, r.file.Close())
	}
	s.runs = nil
	return errors.Join(errs...)
}

// spill writes a sorted chunk as one run; rows gives what it holds of a
// group, nil for nothing. order is all groups so far in key order.
func (s *scratch) spill(order []int32, rows func(group int32) *encoding.Rows) error {
	r, err := s.newRun(0)
	if err != nil {
		return err
	}
	for _, group := range order {
		if part := rows(group); part != nil {
			if err := r.add(group, part); err != nil {
				return err
			}
		}
	}
	if err := r.cut(); err != nil {
		return err
	}
	return s.merge(order)
}

// merge makes one run of the last ones while there are fanIn of one level.
// They are neighbours, so rows stay in the order of their extraction.
func (s *scratch) merge(order []int32) error {
	for {
		from := len(s.runs) - fanIn
		if from < 0 || s.runs[from].level != s.runs[len(s.runs)-1].level {
			return nil
		}
		old := s.runs[from:]
		merged, err := s.newRun(old[0].level + 1)
		if err != nil {
			return err
		}
		for _, group := range order {
			for rows, err := range groupRows(old, group) {
				if err == nil {
					err = merged.add(group, rows)
				}
				if err != nil {
					return err
				}
			}
		}
		if err := merged.cut(); err != nil {
			return err
		}
		for _, r := range old {
			if err := r.file.Close(); err != nil {
				return fmt.Errorf("scratch: %w", err)
			}
		}
		s.runs = append(s.runs[:from], merged)
	}
}

// rows is what all runs hold of a group, in the order in which runs were
// made. Groups must be asked for in the order in which they were added.
func (s *scratch) rows(group int32) iter.Seq2[*encoding.Rows, error] {
	return groupRows(s.runs, group)
}

func groupRows(runs []*run, group int32) iter.Seq2[*encoding.Rows, error] {
	return func(yield func(*encoding.Rows, error) bool) {
		for _, r := range runs {
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

// run is rows sorted by key, as blocks of whole or partial groups in a file of
// its own.
type run struct {
	file       *os.File
	level      int // how often its rows were merged
	blockBytes int64
	end        int64
	blocks     []block

	open     []*encoding.Rows // of the block being filled
	openSize int64
	openOf   []stretch

	block   *encoding.Rows // being read
	at      int            // index of the next block to read
	pending []stretch      // of the block being read
	row     int
}

// block is where a block stands: its stretches, then its rows.
type block struct {
	first          int32 // its first group
	offset         int64
	stretches, len int // bytes
}

// stretch is consecutive rows of one group within a block.
type stretch struct {
	group int32
	rows  int
}

func (s *scratch) newRun(level int) (*run, error) {
	f, err := os.CreateTemp(s.dir, "loadfleet-dispatch-*")
	if err != nil {
		return nil, fmt.Errorf("scratch: %w", err)
	}
	// Unlinked while open: the space is given back however the process ends.
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("scratch: %w", err), f.Close())
	}
	r := &run{file: f, level: level, blockBytes: s.blockBytes}
	s.runs = append(s.runs, r)
	return r, nil
}

func (r *run) add(group int32, rows *encoding.Rows) error {
	for _, piece := range pieces(rows, r.blockBytes) {
		r.open = append(r.open, piece)
		r.openSize += piece.Size()
		r.openOf = append(r.openOf, stretch{group, piece.Len()})
		if r.openSize >= r.blockBytes {
			if err := r.cut(); err != nil {
				return err
			}
		}
	}
	return nil
}

// cut ends the block that is open.
func (r *run) cut() error {
	if len(r.open) == 0 {
		return nil
	}
	b := block{first: r.openOf[0].group, offset: r.end}
	var head []byte
	for _, s := range r.openOf {
		head = binary.AppendUvarint(binary.AppendUvarint(head, uint64(s.group)), uint64(s.rows))
	}
	body, err := encoding.MarshalRows(encoding.Concat(r.open...))
	if err != nil {
		return fmt.Errorf("scratch: %w", err)
	}
	for _, part := range [][]byte{head, body} {
		if _, err := r.file.WriteAt(part, r.end); err != nil {
			return fmt.Errorf("scratch: %w", err)
		}
		r.end += int64(len(part))
	}
	b.stretches, b.len = len(head), len(head)+len(body)
	r.blocks = append(r.blocks, b)
	r.open, r.openSize, r.openOf = nil, 0, nil
	return nil
}

// next is the run's next rows if they are of the group, else nil.
func (r *run) next(group int32) (*encoding.Rows, error) {
	if len(r.pending) == 0 {
		if r.at == len(r.blocks) || r.blocks[r.at].first != group {
			return nil, nil
		}
		if err := r.load(r.blocks[r.at]); err != nil {
			return nil, fmt.Errorf("scratch: %w", err)
		}
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

func (r *run) load(b block) error {
	buf := make([]byte, b.len)
	if _, err := r.file.ReadAt(buf, b.offset); err != nil {
		return err
	}
	rows, err := encoding.UnmarshalRows(buf[b.stretches:])
	if err != nil {
		return err
	}
	r.block, r.row, r.pending = rows, 0, nil
	for head := buf[:b.stretches]; len(head) > 0; {
		group, n := binary.Uvarint(head)
		count, m := binary.Uvarint(head[n:])
		r.pending = append(r.pending, stretch{int32(group), int(count)})
		head = head[n+m:]
	}
	return nil
}

// pieces cuts rows into runs of at most size bytes, or of one row.
func pieces(rows *encoding.Rows, size int64) []*encoding.Rows {
	if rows.Len() <= 1 || rows.Size() <= size {
		return []*encoding.Rows{rows}
	}
	// In proportion, and what is still too large, because rows differ, again.
	n := max(int(size*int64(rows.Len())/rows.Size()), 1)
	var cut []*encoding.Rows
	for from := 0; from < rows.Len(); from += n {
		cut = append(cut, pieces(rows.Slice(from, min(from+n, rows.Len())), size)...)
	}
	return cut
}
