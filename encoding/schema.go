package encoding

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Kind is a type without its parameters.
type Kind uint8

// The kinds of SPEC 5.
const (
	String    Kind = iota + 1 // UTF-8 text
	Int64                     // 64-bit signed integer
	Float64                   // finite IEEE 754 double
	Decimal                   // exact decimal of fixed precision and scale, at most 38 digits
	Bool                      // true or false
	Date                      // calendar day, counted from 1970-01-01
	Timestamp                 // instant in UTC, microseconds since 1970-01-01
	JSONText                  // any JSON value, kept as compact text
)

var kindNames = [...]string{
	String: "string", Int64: "int64", Float64: "float64", Decimal: "decimal",
	Bool: "bool", Date: "date", Timestamp: "timestamp", JSONText: "json",
}

func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return "kind(" + strconv.Itoa(int(k)) + ")"
}

// IsText reports whether values of the kind are held as text (String, JSONText).
func (k Kind) IsText() bool { return k == String || k == JSONText }

// Type is a column's type. Precision and Scale count decimal digits and are
// zero for every kind but Decimal.
type Type struct {
	Kind      Kind
	Precision int32
	Scale     int32
}

// MaxPrecision is the largest number of digits of a Decimal: what 128 bits,
// Parquet readers, Athena and Spark have in common.
const MaxPrecision = 38

// ParseType reads a type as SPEC 5 writes it: "int64", "decimal(18,6)".
func ParseType(s string) (Type, error) {
	name, args, hasArgs := strings.Cut(strings.ReplaceAll(s, " ", ""), "(")
	if name == "decimal" {
		p, sc, ok := strings.Cut(strings.TrimSuffix(args, ")"), ",")
		precision, err1 := strconv.ParseInt(p, 10, 32)
		scale, err2 := strconv.ParseInt(sc, 10, 32)
		if !hasArgs || !ok || !strings.HasSuffix(args, ")") || err1 != nil || err2 != nil ||
			precision < 1 || precision > MaxPrecision || scale < 0 || scale > precision {
			return Type{}, fmt.Errorf("type %q: write decimal(p,s) with 1 <= p <= %d digits, s of them after the point", s, MaxPrecision)
		}
		return Type{Kind: Decimal, Precision: int32(precision), Scale: int32(scale)}, nil
	}
	if !hasArgs {
		for k, n := range kindNames {
			if n != "" && n == name {
				return Type{Kind: Kind(k)}, nil
			}
		}
	}
	return Type{}, fmt.Errorf("unknown type %q: use string, int64, float64, decimal(p,s), bool, date, timestamp or json", s)
}

func (t Type) String() string {
	if t.Kind == Decimal {
		return fmt.Sprintf("decimal(%d,%d)", t.Precision, t.Scale)
	}
	return t.Kind.String()
}

// MarshalText writes the type as ParseType reads it.
func (t Type) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (t *Type) UnmarshalText(b []byte) (err error) { *t, err = ParseType(string(b)); return err }

// Column is one column's name and type.
type Column struct {
	Name string `json:"name"`
	Type Type   `json:"type"`
}

// Schema is the ordered columns of a table; it never changes once made.
// The zero Schema has no columns.
type Schema struct {
	columns []Column
	index   map[string]int
}

// MaxColumns bounds a schema.
const MaxColumns = 4096

// NewSchema checks the columns and makes a schema of them. It fails with every
// mistake at once: no columns, an empty name, the same name twice.
func NewSchema(columns []Column) (*Schema, error) {
	if len(columns) > MaxColumns {
		return nil, fmt.Errorf("schema: %d columns: at most %d are taken", len(columns), MaxColumns)
	}
	s := &Schema{columns: append([]Column(nil), columns...), index: make(map[string]int, len(columns))}
	var errs []error
	if len(columns) == 0 {
		errs = append(errs, errors.New("a schema needs at least one column"))
	}
	for i, c := range columns {
		if c.Name == "" {
			errs = append(errs, fmt.Errorf("column %d has no name", i+1))
		}
		if j, twice := s.index[c.Name]; twice {
			errs = append(errs, fmt.Errorf("column %q stands twice, as columns %d and %d", c.Name, j+1, i+1))
		}
		if c.Type.Kind == 0 {
			errs = append(errs, fmt.Errorf("column %q has no type", c.Name))
		}
		s.index[c.Name] = i
	}
	if len(errs) > 0 {
		return nil, fmt.Errorf("schema: %w", errors.Join(errs...))
	}
	return s, nil
}

// Len is the number of columns.
func (s *Schema) Len() int { return len(s.columns) }

// Column is the i-th column, counted from 0.
func (s *Schema) Column(i int) Column { return s.columns[i] }

// Columns is a copy of all columns, in order.
func (s *Schema) Columns() []Column { return append([]Column(nil), s.columns...) }

// Index finds a column by its exact name.
func (s *Schema) Index(name string) (int, bool) { i, ok := s.index[name]; return i, ok }

// Without is the schema without the named columns; itself when it has none of
// them. A schema cannot lose its last column.
func (s *Schema) Without(names []string) (*Schema, error) {
	left := slices.DeleteFunc(s.Columns(), func(c Column) bool { return slices.Contains(names, c.Name) })
	if len(left) == len(s.columns) {
		return s, nil
	}
	return NewSchema(left)
}

// Equal reports whether both have the same columns in the same order.
func (s *Schema) Equal(o *Schema) bool {
	if s == nil || o == nil {
		return s == o
	}
	if len(s.columns) != len(o.columns) {
		return false
	}
	for i := range s.columns {
		if s.columns[i] != o.columns[i] {
			return false
		}
	}
	return true
}

// MarshalJSON writes the columns as a list of {"name","type"}.
func (s *Schema) MarshalJSON() ([]byte, error) { return json.Marshal(s.columns) }

// UnmarshalJSON reads what MarshalJSON wrote and checks it as NewSchema does.
func (s *Schema) UnmarshalJSON(b []byte) error {
	var columns []Column
	if err := json.Unmarshal(b, &columns); err != nil {
		return err
	}
	made, err := NewSchema(columns)
	if err != nil {
		return err
	}
	*s = *made
	return nil
}
