package dispatcher

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"

	"github.com/loadfleet/loadfleet/encoding"
)

// fanIn is how many runs of one size are merged into one of the next. Reading
// holds a block per run, so that this, and not the size of the extraction,
// bounds what a walk over all runs holds.
const fanIn = 16

// scratch holds runs of rows sorted by key: on disk, and the last ones in
// memory. Runs are read side by side, each once and from its start to its end.
// Nothing in it outlives the process, and nothing needs to.
type scratch struct {
	dir        string
	blockBytes int64 // about how much is written and read at a time
	textBytes  int64 // about how much the texts that runs share may take in memory
	book       *encoding.Codebook
	runs       []*run
}

func (s *scratch) close() error {
	var errs []error
	for _, r := range s.runs {
		errs = append(errs, r.close())
	}
	s.runs = nil
	return errors.Join(errs...)
}

// keep takes runs over, behind those that are there. Of those on disk it makes one
// while the last fanIn are of one level: they are neighbours, so rows stay
// in the order of their extraction. order is all groups so far in key order.
func (s *scratch) keep(order []int32, runs ...*run) error {
	for _, r := range runs {
		s.runs = append(s.runs, r)
		if err := s.merge(order); err != nil {
			return err
		}
	}
	return nil
}

func (s *scratch) merge(order []int32) error {
	for {
		from := len(s.runs) - fanIn
		if from < 0 || s.runs[from].level != s.runs[len(s.runs)-1].level || slices.ContainsFunc(s.runs[from:], (*run).inMemory) {
			return nil
		}
		old := s.runs[from:]
		merged, err := s.newRun(old[0].level + 1)
		if err != nil {
			return err
		}
		w := blockWriter{run: merged}
		for _, group := range order {
			for part, err := range groupRows(old, group) {
				if err == nil {
					err = w.add(group, part)
				}
				if err != nil {
					return errors.Join(err, merged.close())
				}
			}
		}
		if err := w.cut(); err != nil {
			return errors.Join(err, merged.close())
		}
		for _, r := range old {
			if err := r.close(); err != nil {
				return err
			}
		}
		s.runs = append(s.runs[:from], merged)
	}
}

// stretch is consecutive rows of one group, valid until the next is asked for.
type stretch struct {
	from     *encoding.Source
	row, end int
}

func (s stretch) len() int { return s.end - s.row }

// begin is called before the runs are read: chunks in memory are numbered as those
// on disk are, if there are any.
func (s *scratch) begin() {
	if slices.ContainsFunc(s.runs, func(r *run) bool { return r.level == 0 && !r.inMemory() }) {
		for _, r := range s.runs {
			if r.inMemory() {
				s.book.Number(r.memory)
			}
		}
	}
}

// rows is what all runs hold of a group, in the order in which runs were
// made. Groups must be asked for in key order.
func (s *scratch) rows(group int32) iter.Seq2[stretch, error] {
	return groupRows(s.runs, group)
}

func groupRows(runs []*run, group int32) iter.Seq2[stretch, error] {
	return func(yield func(stretch, error) bool) {
		for _, r := range runs {
			for {
				part, ok, err := r.next(group)
				if err != nil {
					yield(stretch{}, err)
					return
				}
				if !ok {
					break
				}
				if !yield(part, nil) {
					return
				}
			}
		}
	}
}

// run is rows sorted by key: in memory, or as blocks of whole or partial groups
// in a file of its own.
type run struct {
	memory     *encoding.Arrangement // nil when on disk
	file       *os.File
	book       *encoding.Codebook
	level      int // how often its rows were merged
	blockBytes int64
	end        int64
	blocks     []block

	// What is being read: the runs of groups that are left, the row they
	// begin at, and the block on disk that they are of.
	pending []encoding.GroupRun
	row     int
	source  encoding.Source
	at      int // index of the next block to read
	buf     []byte
}

func (r *run) inMemory() bool { return r.memory != nil }

func (r *run) close() error {
	r.memory = nil
	if r.file == nil {
		return nil
	}
	if err := r.file.Close(); err != nil {
		return fmt.Errorf("scratch: %w", err)
	}
	r.file = nil
	return nil
}

// inMemory makes a run of a chunk whose memory nobody will change.
func (s *scratch) inMemory(a *encoding.Arrangement) *run {
	return &run{memory: a, pending: a.Runs, blockBytes: s.blockBytes}
}

// onDisk makes a run of a chunk that is given away afterwards.
func (s *scratch) onDisk(a *encoding.Arrangement) (*run, error) {
	r, err := s.newRun(0)
	if err != nil {
		return nil, err
	}
	s.book.Number(a)
	if err := r.writeAll(a); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

// block is where a block stands: its groups, then its rows.
type block struct {
	first     int32 // its first group
	offset    int64
	head, len int // bytes
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
	return &run{file: f, book: s.book, level: level, blockBytes: s.blockBytes}, nil
}

// writeAll writes a chunk block by block.
func (r *run) writeAll(a *encoding.Arrangement) error {
	n := int(max(r.blockBytes/a.RowBytes(), 1))
	runs, done := a.Runs, 0 // rows written of the first of runs
	for at := 0; at < a.Len(); {
		end := min(at+n, a.Len())
		rows := a.Take(at, end)
		for rows.Size() > 4*r.blockBytes && end-at > 1 { // rows differ
			end = at + (end-at)/2
			rows = a.Take(at, end)
		}
		var of []encoding.GroupRun
		for left := end - at; left > 0; {
			part := encoding.GroupRun{Group: runs[0].Group, Rows: min(runs[0].Rows-done, left)}
			of = append(of, part)
			left -= part.Rows
			if done += part.Rows; done == runs[0].Rows {
				runs, done = runs[1:], 0
			}
		}
		if err := r.write(of, rows); err != nil {
			return err
		}
		at = end
	}
	return nil
}

// write appends a block.
func (r *run) write(of []encoding.GroupRun, rows *encoding.Rows) error {
	b := block{first: of[0].Group, offset: r.end}
	var head []byte
	for _, g := range of {
		head = binary.AppendUvarint(binary.AppendUvarint(head, uint64(g.Group)), uint64(g.Rows))
	}
	body, err := r.book.Marshal(rows)
	if err != nil {
		return fmt.Errorf("scratch: %w", err)
	}
	for _, part := range [][]byte{head, body} {
		if _, err := r.file.WriteAt(part, r.end); err != nil {
			return fmt.Errorf("scratch: %w", err)
		}
		r.end += int64(len(part))
	}
	b.head, b.len = len(head), len(head)+len(body)
	r.blocks = append(r.blocks, b)
	return nil
}

// blockWriter fills the blocks of a run group by group.
type blockWriter struct {
	run    *run
	merger encoding.Merger
	of     []encoding.GroupRun
}

func (w *blockWriter) add(group int32, part stretch) error {
	for part.len() > 0 {
		n := w.merger.Fits(part.from, part.row, part.end, w.run.blockBytes)
		if n == 0 {
			if err := w.cut(); err != nil {
				return err
			}
			continue
		}
		w.merger.Add(part.from, part.row, part.row+n)
		part.row += n
		w.of = append(w.of, encoding.GroupRun{Group: group, Rows: n})
	}
	return nil
}

// cut ends the block that is open.
func (w *blockWriter) cut() error {
	if len(w.of) == 0 {
		return nil
	}
	err := w.run.write(w.of, w.merger.Merged())
	w.merger.Reset()
	w.of = w.of[:0]
	return err
}

// next is the run's next rows if they are of the group. What it gave before is void.
func (r *run) next(group int32) (part stretch, ok bool, err error) {
	if len(r.pending) == 0 {
		if r.at == len(r.blocks) || r.blocks[r.at].first != group {
			return stretch{}, false, nil
		}
		if err := r.load(r.blocks[r.at]); err != nil {
			return stretch{}, false, fmt.Errorf("scratch: %w", err)
		}
		r.at++
	}
	g := &r.pending[0]
	if g.Group != group {
		return stretch{}, false, nil
	}
	if r.memory != nil {
		n := min(g.Rows, int(max(r.blockBytes/r.memory.RowBytes(), 1)))
		r.source.Put(r.memory.Take(r.row, r.row+n))
		part = stretch{&r.source, 0, n}
	} else {
		part = stretch{&r.source, r.row, r.row + g.Rows}
	}
	r.row += part.len()
	if g.Rows -= part.len(); g.Rows == 0 {
		r.pending = r.pending[1:]
	}
	return part, true, nil
}

func (r *run) load(b block) error {
	if cap(r.buf) < b.len+8 {
		r.buf = make([]byte, b.len+b.len/8+8)
	}
	// Rows are read where they lie, if that is at a multiple of 8.
	buf := r.buf[-b.head&7:][:b.len]
	if _, err := r.file.ReadAt(buf, b.offset); err != nil {
		return err
	}
	rows, err := r.book.Unmarshal(buf[b.head:])
	if err != nil {
		return err
	}
	r.source.Put(rows)
	r.row, r.pending = 0, r.pending[:0]
	for head := buf[:b.head]; len(head) > 0; {
		group, n := binary.Uvarint(head)
		count, m := binary.Uvarint(head[n:])
		r.pending = append(r.pending, encoding.GroupRun{Group: int32(group), Rows: int(count)})
		head = head[n+m:]
	}
	return nil
}
