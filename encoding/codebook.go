package encoding

import (
	"errors"
	"fmt"
	"slices"
	"sync"
)

// Codebook numbers the texts of rows once for all chunks that are spilled: what
// goes to disk are numbers, and equal numbers are equal texts, whichever chunk they
// come from. It is safe for concurrent use.
type Codebook struct {
	schema *Schema
	most   int64 // bytes that the texts of one column may take

	mu      sync.Mutex
	room    int64 // bytes that further texts may take
	columns []bookColumn
}

// bookColumn is the texts of a column so far. They are only ever added to.
type bookColumn struct {
	dict    dictionary
	size    int64
	longest int  // of the texts, in bytes
	full    bool // takes no more
}

// maxBook is how many texts a column of a codebook has at most: their numbers
// travel as a column of dates, which end with the year 9999.
const maxBook = 1 << 21

// bookText is about what a text takes beside its bytes.
const bookText = 4 + 3*32

// NewCodebook begins a codebook for rows of a schema, of about so many bytes; no
// column takes more than half of them. A column whose texts find no room keeps its
// own dictionary in every run.
func NewCodebook(schema *Schema, room int64) *Codebook {
	return &Codebook{schema: schema, most: min(room/2, maxPlainText), room: room, columns: make([]bookColumn, schema.Len())}
}

// Number has the rows that are taken from a in numbers of the codebook, where
// that has room.
func (k *Codebook) Number(a *Arrangement) {
	g := &a.gatherer
	g.numbers, g.book = make([][]int32, len(k.columns)), make([]vector, len(k.columns))
	k.mu.Lock()
	defer k.mu.Unlock()
	for c := range k.columns {
		if v := &a.rows.vectors[c]; v.codes != nil && k.enter(c, v.text, &g.numbers[c]) {
			g.book[c] = k.vector(c)
		}
	}
}

// Numbered reports whether the rows hold numbers of a codebook: texts that they do
// not use come with them, and their Size does not count any.
func (r *Rows) Numbered() bool {
	for c := range r.vectors {
		if r.vectors[c].book != nil {
			return true
		}
	}
	return false
}

// enter finds the numbers of a dictionary's texts; false when there is no room.
func (k *Codebook) enter(c int, from texts, numbers *[]int32) bool {
	col := &k.columns[c]
	if col.full {
		return false
	}
	if col.dict.slots == nil {
		col.dict = newDictionary()
	}
	out := make([]int32, max(from.len(), 1)) // rows of nulls alone have code 0, too
	for i := range from.len() {
		text := from.value(i)
		n := col.dict.find(text)
		if n < 0 {
			size := int64(len(text)) + bookText
			if col.full = size > k.room || col.size+size > k.most || col.dict.text.len() == maxBook; col.full {
				return false
			}
			k.room, col.size, col.longest = k.room-size, col.size+size, max(col.longest, len(text))
			n = col.dict.add(text)
		}
		out[i] = n
	}
	*numbers = out
	return true
}

// vector is a column's texts as they are now, for rows that hold its numbers.
func (k *Codebook) vector(c int) vector {
	col := &k.columns[c]
	t := col.dict.text
	return vector{book: col, longest: col.longest, text: texts{offsets: slices.Clip(t.offsets), data: slices.Clip(t.data)}}
}

// Marshal writes rows as MarshalRows does, but without the texts whose numbers
// they hold.
func (k *Codebook) Marshal(rows *Rows) ([]byte, error) {
	bare := &Rows{n: rows.n, schema: rows.schema, vectors: slices.Clone(rows.vectors)}
	for c := range bare.vectors {
		v := &bare.vectors[c]
		if v.book == nil {
			continue
		}
		if bare.schema == rows.schema {
			bare.schema = &Schema{columns: slices.Clone(rows.schema.columns), index: rows.schema.index}
		}
		bare.schema.columns[c].Type = Type{Kind: Date}
		*v = vector{nulls: v.nulls, valid: v.valid, days: v.codes}
	}
	return MarshalRows(bare)
}

var errNoSuchText = errors.New("unmarshal rows: a number stands for no text")

// Unmarshal reads what Marshal wrote, under the conditions of [UnmarshalRows].
func (k *Codebook) Unmarshal(b []byte) (*Rows, error) {
	rows, err := UnmarshalRows(b)
	if err != nil {
		return nil, err
	}
	if rows.schema.Len() != k.schema.Len() {
		return nil, fmt.Errorf("unmarshal rows: %d columns, want %d", rows.schema.Len(), k.schema.Len())
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for c := range rows.vectors {
		got, want := rows.schema.columns[c].Type.Kind, k.schema.columns[c].Type.Kind
		if got == want {
			continue
		}
		v := &rows.vectors[c]
		if !want.IsText() || v.days == nil {
			return nil, fmt.Errorf("unmarshal rows: column %d is of another kind", c)
		}
		numbered := k.vector(c)
		numbered.nulls, numbered.valid, numbered.codes = v.nulls, v.valid, v.days
		for _, code := range numbered.codes {
			if int(uint32(code)) >= max(numbered.text.len(), 1) {
				return nil, errNoSuchText
			}
		}
		*v = numbered
	}
	rows.schema = k.schema
	return rows, nil
}
