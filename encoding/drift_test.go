package encoding

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWiden(t *testing.T) {
	for _, test := range [][3]string{
		{"int64", "int64", "int64"}, {"int64", "decimal(10,2)", "decimal(21,2)"}, {"int64", "decimal(38,20)", "string"},
		{"decimal(10,2)", "decimal(6,4)", "decimal(12,4)"}, {"decimal(21,2)", "int64", "decimal(21,2)"},
		{"int64", "float64", "float64"}, {"decimal(10,2)", "float64", "float64"},
		{"date", "timestamp", "timestamp"}, {"bool", "int64", "string"}, {"string", "date", "string"}, {"json", "string", "string"}, {"date", "int64", "string"},
	} {
		a, errA := ParseType(test[0])
		b, errB := ParseType(test[1])
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		if got, back := Widen(a, b).String(), Widen(b, a).String(); got != test[2] || back != test[2] {
			t.Errorf("%s and %s: got %s and %s, want %s", test[0], test[1], got, back, test[2])
		}
	}
}

func TestCompareSchemas(t *testing.T) {
	column := func(name, kind string) Column {
		k, err := ParseType(kind)
		if err != nil {
			t.Fatal(err)
		}
		return Column{name, k}
	}
	of := func(columns ...Column) *Schema {
		s, err := NewSchema(columns)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	table := of(column("a", "int64"), column("b", "timestamp"), column("c", "string"))
	d, merged, err := table.Compare(of(column("d", "bool"), column("b", "date"), column("a", "float64")))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Drift{Added: []Column{column("d", "bool")}, Changed: []Column{column("a", "float64")}}, d); diff != "" {
		t.Errorf("drift (-want +got):\n%s", diff)
	}
	want := of(column("a", "float64"), column("b", "timestamp"), column("c", "string"), column("d", "bool"))
	if !merged.Equal(want) {
		t.Errorf("merged: got %v, want %v", merged.Columns(), want.Columns())
	}
	if d, same, err := merged.Compare(table); err != nil || same != merged || len(d.Added)+len(d.Changed) > 0 {
		t.Errorf("the narrower one again: got %+v, %v", d, err)
	}
	// A table takes what it has room for.
	full := make([]Column, MaxColumns)
	for i := range full {
		full[i] = column(fmt.Sprint("c", i), "int64")
	}
	d, merged, err = of(full[1:]...).Compare(of(column("c1", "float64"), column("x", "bool"), column("y", "date")))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Drift{Added: []Column{column("x", "bool"), column("y", "date")}, Changed: []Column{column("c1", "float64")}}, d); diff != "" {
		t.Errorf("drift of a wide table (-want +got):\n%s", diff)
	}
	if got, n := merged.Column(0), merged.Len(); got != column("c1", "float64") || n != MaxColumns || merged.Column(n-1) != column("x", "bool") {
		t.Errorf("merged: got %d columns from %v to %v, want %d from c1, a float64, to x", n, got, merged.Column(n-1), MaxColumns)
	}
}
