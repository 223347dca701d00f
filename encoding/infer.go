package encoding

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// Inferrer finds the schema of an extraction that came without one: of each
// column the narrowest type that takes every value of every batch exactly. It
// looks at all of it, so that no file depends on which rows came first. It is
// for one goroutine.
type Inferrer struct {
	opts    DecodeOptions
	input   input
	columns []*observed // in the order of their first appearance
	index   map[string]*observed
	ndjson  *ndjson
	csv     csvRows
}

// observed is what was seen of one column.
type observed struct {
	name     string
	forms    form
	declared Type // by Arrow batches, while they agree and there are no others
}

// form is a set of the forms that a column's values have.
type form uint16

const (
	formBool      form = 1 << iota
	formInt            // a whole number that a float64 holds exactly
	formBigInt         // one of int64 that it does not
	formFloat          // a number with a fraction or an exponent, finite
	formDate           // YYYY-MM-DD
	formTimestamp      // a full timestamp, as accepted by a timestamp column
	formText           // anything else
	formNested         // an object or array
	formCSVText        // a text that came from CSV and so is no JSON
	formDeclared       // what an Arrow batch declares
)

// NewInferrer makes an Inferrer that has seen nothing.
func NewInferrer() *Inferrer {
	n := &Inferrer{opts: DecodeOptions{}.withDefaults(), index: make(map[string]*observed)}
	n.ndjson = &ndjson{fields: make(map[string]*field)}
	n.ndjson.unknown = func(name string) (*field, error) {
		o, err := n.column(name)
		if err != nil {
			return nil, err
		}
		f := &field{name: name, kind: observedKind, seen: o}
		n.ndjson.fields[name] = f
		return f, nil
	}
	return n
}

// Observe looks at one batch; its errors are those of [Decoder.Decode].
func (n *Inferrer) Observe(batch int, format InputFormat, packing Compression, body io.Reader) error {
	r, err := n.input.open(packing, body)
	if err != nil {
		return n.input.explain(batch, err)
	}
	n.input.window.reset(r, n.opts.MaxBatchBytes)
	none := func() error { return nil }
	switch format {
	case NDJSONInput:
		_, err = n.ndjson.read(&n.input.window, batch, n.opts.MaxRowBytes, none)
	case CSVInput:
		err = n.csv.header(&n.input.window, n.opts.MaxRowBytes, func(name string) (csvField, error) {
			o, err := n.column(name)
			return csvField{name: name, seen: o}, err
		})
		if err == nil {
			_, err = n.csv.read(&n.input.window, batch, n.opts.MaxRowBytes, none)
		} else if err == io.EOF {
			err = nil
		}
	case ArrowInput:
		err = n.arrow(r)
	default:
		err = unknownFormat(format)
	}
	return n.input.explain(batch, err)
}

func (n *Inferrer) column(name string) (*observed, error) {
	o := n.index[name]
	if o != nil {
		return o, nil
	}
	if len(n.columns) == MaxColumns {
		return nil, fmt.Errorf("is one more than the %d columns that a table may have", MaxColumns)
	}
	if name == "" {
		return nil, fmt.Errorf("has no name: give it one")
	}
	o = &observed{name: strings.Clone(name)}
	n.index[o.name] = o
	n.columns = append(n.columns, o)
	return o, nil
}

// arrow takes the types that the stream declares; its values are of no account.
func (n *Inferrer) arrow(r io.Reader) (err error) {
	defer recovered(&err)
	in, err := openArrow(r, n.opts.MaxBatchBytes)
	if err != nil {
		return fmt.Errorf("read arrow schema: %w", err)
	}
	defer in.Release()
	for _, f := range in.Schema().Fields() {
		t, ok := arrowKind(f.Type)
		if !ok {
			return fmt.Errorf("arrow column %q is %v, which no column type takes: send text, numbers, bools, dates or timestamps", f.Name, f.Type)
		}
		o, err := n.column(f.Name)
		if err != nil {
			return fmt.Errorf("arrow column %q %w", f.Name, err)
		}
		o.declare(t)
	}
	return nil
}

// declare takes an Arrow column's type: as it is when no other batch disagrees,
// else as the widest form that its values can have.
func (o *observed) declare(t Type) {
	if o.forms&formDeclared == 0 {
		o.declared = t
	} else if o.declared != t {
		o.forms |= wideForm(o.declared) | wideForm(t)
	}
	o.forms |= formDeclared
}

func wideForm(t Type) form {
	switch t.Kind {
	case Int64:
		return formBigInt
	case Float64:
		return formFloat
	case Bool:
		return formBool
	case Date:
		return formDate
	case Timestamp:
		return formTimestamp
	}
	return formText
}

// Schema is the schema of what was observed. It fails when there was no column,
// or when no type takes a column's values.
func (n *Inferrer) Schema() (*Schema, error) {
	columns := make([]Column, len(n.columns))
	for i, o := range n.columns {
		t, ok := o.narrowest()
		if !ok {
			return nil, fmt.Errorf("infer schema: column %q holds objects or arrays in some batches and text that is not JSON in others: give the extraction a schema", o.name)
		}
		columns[i] = Column{Name: o.name, Type: t}
	}
	return NewSchema(columns)
}

func (o *observed) narrowest() (Type, bool) {
	forms := o.forms &^ formDeclared
	if o.forms&formDeclared != 0 {
		if forms == 0 || forms == wideForm(o.declared) {
			return o.declared, true
		}
		forms |= wideForm(o.declared)
	}
	within := func(f form) bool { return forms&^f == 0 }
	switch {
	case forms&formNested != 0:
		return Type{Kind: JSONText}, forms&formCSVText == 0
	case forms == 0:
		return Type{Kind: String}, true
	case within(formBool):
		return Type{Kind: Bool}, true
	case within(formInt | formBigInt):
		return Type{Kind: Int64}, true
	case within(formInt | formFloat):
		return Type{Kind: Float64}, true
	case within(formDate):
		return Type{Kind: Date}, true
	case within(formDate | formTimestamp):
		return Type{Kind: Timestamp}, true
	}
	return Type{Kind: String}, true
}

// observe looks at the JSON value at b[p].
func (s *ndjson) observe(f *field, b []byte, p int) int {
	if b[p] == '"' {
		v, end := s.string(b, p)
		if end >= 0 && f.seen.forms&formText == 0 {
			f.seen.forms |= calendarForm(v)
		}
		return end
	}
	v, err := s.values.scan(b, p, 1)
	if err != nil {
		return s.stop(nil, err)
	}
	switch c := b[p]; {
	case v.object || v.array:
		f.seen.forms |= formNested
	case c == 't' || c == 'f':
		f.seen.forms |= formBool
	case c != 'n':
		f.seen.forms |= numberForm(b[p:v.end])
	}
	return v.end
}

// text looks at a CSV field.
func (o *observed) text(v []byte) {
	if len(v) == 0 {
		return // null, or in a column of texts a text
	}
	if _, ok := parseBool(v); ok {
		o.forms |= formBool
		return
	}
	if plainNumber(v) {
		if f := numberForm(v); f != formText {
			o.forms |= f
			return
		}
	}
	f := calendarForm(v)
	if f == formText {
		f |= formCSVText
	}
	o.forms |= f
}

// plainNumber reports whether v is a number as JSON writes it. Others, such as
// 007 or +5, are more likely codes whose text matters.
func plainNumber(v []byte) bool {
	if v[0] != '-' && v[0]-'0' > 9 {
		return false
	}
	var room [64]byte
	b := append(append(room[:0], v...), jsonSlack[:8]...)
	return numberEnd(b, 0) == len(v)
}

// numberForm is the form of a JSON number.
func numberForm(v []byte) form {
	if bytes.ContainsAny(v, ".eE") {
		if _, err := parseFloat(v); err != nil {
			return formText
		}
		return formFloat
	}
	n, err := parseInt(v)
	switch {
	case err != nil:
		return formText
	case n > maxExact || n < -maxExact:
		return formBigInt
	}
	return formInt
}

func calendarForm(v []byte) form {
	if len(v) == 10 {
		if _, ok := parseDate(v); ok {
			return formDate
		}
		return formText
	}
	if _, err := parseTimestamp(v); err == nil {
		return formTimestamp
	}
	return formText
}
