package queue

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	rows "github.com/loadfleet/loadfleet/encoding"
)

// SchemaOf is the schema of rows that are structs of the type of row, for
// [messages.Commit]: a column per exported field, in order, named by its json
// tag. Its type is that of the field (text string, whole numbers int64, floats
// float64, bool, [time.Time] timestamp, [Date] date, anything else json), or
// what a loadfleet tag says:
//
//	Spend string `json:"spend" loadfleet:"decimal(18,6)"`
//
// Pointers are columns that may be null.
func SchemaOf(row any) (*rows.Schema, error) {
	t := reflect.TypeOf(row)
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil || t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("schema of a %T: give a struct", row)
	}
	columns, err := columnsOf(t)
	if err != nil {
		return nil, fmt.Errorf("schema of a %T: %w", row, err)
	}
	return rows.NewSchema(columns)
}

func columnsOf(t reflect.Type) ([]rows.Column, error) {
	var columns []rows.Column
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" || !f.IsExported() && !f.Anonymous {
			continue
		}
		of := f.Type
		for of.Kind() == reflect.Pointer {
			of = of.Elem()
		}
		if f.Anonymous && name == "" && of.Kind() == reflect.Struct {
			inner, err := columnsOf(of)
			if err != nil {
				return nil, err
			}
			columns = append(columns, inner...)
			continue
		}
		if name == "" {
			name = f.Name
		}
		column := rows.Column{Name: name, Type: typeOf(of)}
		if tag := f.Tag.Get("loadfleet"); tag != "" {
			var err error
			if column.Type, err = rows.ParseType(tag); err != nil {
				return nil, fmt.Errorf("field %s: %w", f.Name, err)
			}
		}
		columns = append(columns, column)
	}
	return columns, nil
}

func typeOf(t reflect.Type) rows.Type {
	text := reflect.TypeFor[encoding.TextMarshaler]()
	switch {
	case t == reflect.TypeFor[time.Time]():
		return rows.Type{Kind: rows.Timestamp}
	case t == reflect.TypeFor[Date]():
		return rows.Type{Kind: rows.Date}
	case t.Implements(reflect.TypeFor[json.Marshaler]()):
		return rows.Type{Kind: rows.JSONText}
	case t.Implements(text):
		return rows.Type{Kind: rows.String}
	}
	switch t.Kind() {
	case reflect.String:
		return rows.Type{Kind: rows.String}
	case reflect.Bool:
		return rows.Type{Kind: rows.Bool}
	case reflect.Float32, reflect.Float64:
		return rows.Type{Kind: rows.Float64}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return rows.Type{Kind: rows.Int64}
	}
	return rows.Type{Kind: rows.JSONText}
}
