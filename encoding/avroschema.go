package encoding

import (
	"fmt"
	"strconv"

	"github.com/linkedin/goavro/v2"
)

// CheckSchema refuses a schema that files of the format cannot have. For avro
// goavro judges the document that the files would carry: what it does not take
// should be given to no reader.
func CheckSchema(f Format, schema *Schema) error {
	if f != Avro {
		return nil
	}
	if _, err := goavro.NewCodec(string(avroSchema(schema))); err != nil {
		return fmt.Errorf("avro schema: %w", err)
	}
	return nil
}

// avroSchema writes the schema document of an avro file, always the same bytes
// for the same columns. Every column is a union of null and its type:
//
//	string     string
//	int64      long
//	float64    double
//	decimal    bytes, logical type decimal
//	bool       boolean
//	date       int, logical type date
//	timestamp  long, logical type timestamp-micros
//	json       string with the property "loadfleet.type": "json"
//
// A column whose name is no avro name goes by [avroName] and keeps its own in
// the field's "doc".
func avroSchema(schema *Schema) []byte {
	b := []byte(`{"type":"record","name":"row","fields":[`)
	for i, c := range schema.columns {
		if i > 0 {
			b = append(b, ',')
		}
		name := avroName(c.Name)
		b = append(b, `{"name":"`...)
		b = append(b, name...)
		b = append(b, `",`...)
		if name != c.Name {
			b = append(b, `"doc":`...)
			b = append(appendJSONString(b, []byte(c.Name)), ',')
		}
		b = append(b, `"type":["null",`...)
		switch c.Type.Kind {
		case String:
			b = append(b, `"string"`...)
		case Int64:
			b = append(b, `"long"`...)
		case Float64:
			b = append(b, `"double"`...)
		case Decimal:
			b = append(b, `{"type":"bytes","logicalType":"decimal","precision":`...)
			b = strconv.AppendInt(b, int64(c.Type.Precision), 10)
			b = append(b, `,"scale":`...)
			b = strconv.AppendInt(b, int64(c.Type.Scale), 10)
			b = append(b, '}')
		case Bool:
			b = append(b, `"boolean"`...)
		case Date:
			b = append(b, `{"type":"int","logicalType":"date"}`...)
		case Timestamp:
			b = append(b, `{"type":"long","logicalType":"timestamp-micros"}`...)
		case JSONText:
			b = append(b, `{"type":"string","loadfleet.type":"json"}`...)
		}
		b = append(b, `],"default":null}`...)
	}
	return append(b, `]}`...)
}

// avroName maps a column's name to an avro name ([A-Za-z_][A-Za-z0-9_]*).
// A byte that may not stand where it stands becomes _xHH, its value in two
// upper-case hexadecimal digits; so does an underscore that is followed by xHH
// in the name itself. All else stays, so that most names are their own.
//
// Replacing every _xHH by its byte, from left to right, gives the name back:
// an underscore that stayed is never followed by xHH. Two names thus never
// share an avro name.
func avroName(name string) string {
	plain := true
	for i := range len(name) {
		plain = plain && avroPlain(name, i)
	}
	if plain {
		return name
	}
	const upperHex = "0123456789ABCDEF"
	b := make([]byte, 0, 2*len(name)+4)
	for i := range len(name) {
		if ch := name[i]; avroPlain(name, i) {
			b = append(b, ch)
		} else {
			b = append(b, '_', 'x', upperHex[ch>>4], upperHex[ch&0xf])
		}
	}
	return string(b)
}

// avroPlain reports whether byte i of a name stays as it is.
func avroPlain(name string, i int) bool {
	switch ch := name[i]; {
	case 'a' <= ch && ch <= 'z', 'A' <= ch && ch <= 'Z':
		return true
	case '0' <= ch && ch <= '9':
		return i > 0
	case ch == '_':
		rest := name[i+1:]
		return len(rest) < 3 || rest[0] != 'x' || !isUpperHex(rest[1]) || !isUpperHex(rest[2])
	}
	return false
}

func isUpperHex(ch byte) bool { return '0' <= ch && ch <= '9' || 'A' <= ch && ch <= 'F' }

// AvroSchema is the schema document of the avro files of a table.
func AvroSchema(schema *Schema) []byte { return avroSchema(schema) }
