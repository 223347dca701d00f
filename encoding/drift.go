package encoding

// Widen is the narrowest type that stands for values of both in one table, and
// what a table's column becomes when its type changes:
//
//   - int64 and decimal: a decimal with room for both, of at most 38 digits;
//   - two decimals: one with room for the digits of both on each side of the point;
//   - a whole number or decimal and float64: float64, as readers compare them;
//   - date and timestamp: timestamp;
//   - anything else, and decimals beyond 38 digits: string.
func Widen(a, b Type) Type {
	if a == b {
		return a
	}
	text := Type{Kind: String}
	number := func(k Kind) bool { return k == Int64 || k == Decimal || k == Float64 }
	switch {
	case number(a.Kind) && number(b.Kind) && (a.Kind == Float64 || b.Kind == Float64):
		return Type{Kind: Float64}
	case number(a.Kind) && number(b.Kind):
		whole := max(wholeDigits(a), wholeDigits(b))
		scale := max(a.Scale, b.Scale)
		if whole+scale > MaxPrecision {
			return text
		}
		return Type{Kind: Decimal, Precision: whole + scale, Scale: scale}
	case a.Kind == Date && b.Kind == Timestamp || a.Kind == Timestamp && b.Kind == Date:
		return Type{Kind: Timestamp}
	}
	return text
}

// wholeDigits is how many digits may stand before the point.
func wholeDigits(t Type) int32 {
	if t.Kind == Int64 {
		return 19
	}
	return t.Precision - t.Scale
}

// Drift is how an extraction's columns differ from those of its table.
type Drift struct {
	Added   []Column // that the table has not
	Changed []Column // of a type whose values the table's column does not take, with that type
}

// Compare says how columns differ from the table's, and gives the table's with
// those: added ones behind its own, as many as [MaxColumns] leaves room for,
// changed ones widened (see [Widen]). A column that is missing is no difference:
// it is null.
func (s *Schema) Compare(next *Schema) (Drift, *Schema, error) {
	var d Drift
	columns := s.Columns()
	for _, c := range next.columns {
		i, ok := s.Index(c.Name)
		if !ok {
			d.Added = append(d.Added, c)
			columns = append(columns, c)
			continue
		}
		if wide := Widen(s.columns[i].Type, c.Type); wide != s.columns[i].Type {
			d.Changed = append(d.Changed, c)
			columns[i].Type = wide
		}
	}
	if len(d.Added)+len(d.Changed) == 0 {
		return d, s, nil
	}
	merged, err := NewSchema(columns[:min(len(columns), MaxColumns)])
	return d, merged, err
}
