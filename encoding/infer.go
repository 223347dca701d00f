package encoding

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
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
	dates   string // the column whose values are to be dates
	ndjson  *ndjson
	csv     csvRows
}

// observed is what was seen of one column.
type observed struct {
	name     string
	forms    sighting
	declared Type // by Arrow batches, while they agree and there are no others
	dates    bool // its values are to be dates

	// The most digits that a number has before the point and after it.
	whole, fraction int
}

// sighting is a set of the forms that a column's values have.
type sighting uint16

const (
	sawBool      sighting = 1 << iota
	sawInt                // a whole number that a float64 holds exactly
	sawBigInt             // one of int64 that it does not
	sawHugeInt            // one beyond int64
	sawFloat              // a number with a fraction or an exponent that a float64 gives back
	sawExact              // one that it does not
	sawDate               // YYYY-MM-DD
	sawTimestamp          // a full timestamp, as accepted by a timestamp column
	sawText               // anything else
	sawNested             // an object or array
	sawCSVText            // a field of CSV that is no JSON, seen beside its form
	sawDeclared           // what an Arrow batch declares
)

// NewInferrer makes an Inferrer that has seen nothing.
func NewInferrer() *Inferrer {
	n := &Inferrer{opts: DecodeOptions{}.withDefaults(), index: make(map[string]*observed), csv: newCSVRows(Comma, nil, nil)}
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

// Limit sets the unpacked size at which a batch is refused; 1 GiB without it.
func (n *Inferrer) Limit(batchBytes int64) { n.opts.MaxBatchBytes = batchBytes }

// Dates names the column whose values are to be dates. Where some of them are, or
// are timestamps, that is its type, whatever the others are: decoding then says
// which. It is called before the first batch is observed.
func (n *Inferrer) Dates(column string) { n.dates = column }

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
		} else if errors.Is(err, io.EOF) {
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
	o = &observed{name: strings.Clone(name), dates: name == n.dates}
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
	if o.forms&sawDeclared == 0 {
		o.declared = t
	} else if o.declared != t {
		o.widen(o.declared)
		o.widen(t)
	}
	o.forms |= sawDeclared
}

// widen takes an Arrow column for the widest values that its type has.
func (o *observed) widen(t Type) {
	o.forms |= wideForm(t)
	switch t.Kind {
	case Int64:
		o.whole = max(o.whole, int64Digits)
	case Float64:
		o.fraction = MaxPrecision + 1 // no decimal has its values
	}
}

const int64Digits = 19

func wideForm(t Type) sighting {
	switch t.Kind {
	case Int64:
		return sawBigInt
	case Float64:
		return sawFloat
	case Bool:
		return sawBool
	case Date:
		return sawDate
	case Timestamp:
		return sawTimestamp
	}
	return sawText
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
	forms := o.forms &^ (sawDeclared | sawCSVText)
	if o.forms&sawDeclared != 0 {
		if forms == 0 || forms == wideForm(o.declared) {
			return o.declared, true
		}
		o.widen(o.declared)
		forms |= wideForm(o.declared)
	}
	within := func(f sighting) bool { return forms&^f == 0 }
	switch {
	case o.dates && forms&sawTimestamp != 0:
		return Type{Kind: Timestamp}, true
	case o.dates && forms&sawDate != 0:
		return Type{Kind: Date}, true
	case forms&sawNested != 0:
		return Type{Kind: JSONText}, o.forms&sawCSVText == 0
	case forms == 0:
		return Type{Kind: String}, true
	case within(sawBool):
		return Type{Kind: Bool}, true
	case within(sawInt | sawBigInt):
		return Type{Kind: Int64}, true
	case within(sawInt | sawFloat):
		return Type{Kind: Float64}, true
	case within(sawNumber) && !within(sawInt|sawBigInt|sawHugeInt) && o.whole+o.fraction <= MaxPrecision:
		return Type{Kind: Decimal, Precision: int32(max(o.whole+o.fraction, 1)), Scale: int32(o.fraction)}, true
	case within(sawDate):
		return Type{Kind: Date}, true
	case within(sawDate | sawTimestamp):
		return Type{Kind: Timestamp}, true
	}
	return Type{Kind: String}, true
}

// observe looks at the JSON value at b[p].
func (s *ndjson) observe(f *field, b []byte, p int) int {
	if b[p] == '"' {
		v, end := s.string(b, p)
		if end >= 0 && (f.seen.dates || f.seen.forms&sawText == 0) {
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
		f.seen.forms |= sawNested
	case c == 't' || c == 'f':
		f.seen.forms |= sawBool
	case c != 'n':
		f.seen.number(b[p:v.end])
	}
	return v.end
}

// text looks at a CSV field.
func (o *observed) text(v []byte) {
	if len(v) == 0 {
		return // null, or in a column of texts a text
	}
	if _, ok := parseBool(v); ok {
		o.forms |= sawBool
		if v[0] < 'a' || v[1] < 'a' || v[2] < 'a' || v[3] < 'a' || v[len(v)-1] < 'a' {
			o.forms |= sawCSVText
		}
		return
	}
	if plainNumber(v) {
		o.number(v)
		return
	}
	o.forms |= calendarForm(v) | sawCSVText
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

// sawNumber is the forms of numbers.
const sawNumber = sawInt | sawBigInt | sawHugeInt | sawFloat | sawExact

// floatDigits is how many digits a number may have that every float64 gives back.
const floatDigits = 15

// number looks at a JSON number.
func (o *observed) number(v []byte) {
	if o.shortNumber(bytes.TrimPrefix(v, minus)) {
		return
	}
	x, _ := parseExact(v)
	first, last := x.span()
	o.whole = max(o.whole, min(first, MaxPrecision+1))
	o.fraction = max(o.fraction, min(-last, MaxPrecision+1))
	switch {
	case !bytes.ContainsAny(v, ".eE"):
		o.forms |= wholeForm(v)
	case givenBack(x, v):
		o.forms |= sawFloat
	default:
		o.forms |= sawExact
	}
}

// shortNumber looks at a number without its sign if it has so few digits that
// int64 or float64 gives it back, and no exponent.
func (o *observed) shortNumber(v []byte) bool {
	if len(v) > floatDigits || bytes.ContainsAny(v, "eE") {
		return false
	}
	integral, fraction, pointed := bytes.Cut(v, point)
	if integral[0] != '0' {
		o.whole = max(o.whole, len(integral))
	}
	if !pointed {
		o.forms |= sawInt
		return true
	}
	o.forms |= sawFloat
	for len(fraction) > o.fraction && fraction[len(fraction)-1] == '0' {
		fraction = fraction[:len(fraction)-1]
	}
	o.fraction = max(o.fraction, len(fraction))
	return true
}

var minus, point = []byte("-"), []byte(".")

func wholeForm(v []byte) sighting {
	n, err := parseInt(v)
	switch {
	case err != nil:
		return sawHugeInt
	case n > maxExact || n < -maxExact:
		return sawBigInt
	}
	return sawInt
}

// givenBack reports whether the float64 nearest to x, which v is the text of, is
// written as x again: as the shortest number that is nearest to it.
func givenBack(x exact, v []byte) bool {
	first, last := x.span()
	switch digits := first - last; {
	case digits <= floatDigits && first > -300 && first < 300:
		return true
	case digits > 17 || first < -330 || first > 310:
		return false
	}
	f, err := strconv.ParseFloat(string(v), 64)
	if err != nil {
		return false
	}
	var room [32]byte
	y, _ := parseExact(strconv.AppendFloat(room[:0], f, 'e', -1, 64))
	a, errA := x.scaled(17, int32(-last))
	b, errB := y.scaled(17, int32(-last))
	return errA == nil && errB == nil && a == b
}

func calendarForm(v []byte) sighting {
	if len(v) == 10 {
		if _, ok := parseDate(v); ok {
			return sawDate
		}
		return sawText
	}
	if _, err := parseTimestamp(v); err == nil {
		return sawTimestamp
	}
	return sawText
}
