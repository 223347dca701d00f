package messages

import "github.com/loadfleet/loadfleet/encoding"

// TableSchema is the columns that a destination's table has had so far: what
// the next extraction's are compared with.
type TableSchema struct {
	Version    int              `json:"version"`
	Schema     *encoding.Schema `json:"schema"`
	Extraction string           `json:"extraction"` // that changed it last
}

// EncodeTableSchema writes t as the JSON that is stored.
func EncodeTableSchema(t *TableSchema) ([]byte, error) {
	t.Version = Version
	return marshal(t)
}

// ParseTableSchema reads what EncodeTableSchema wrote. It fails with a
// [*DecodeError].
func ParseTableSchema(body []byte) (*TableSchema, error) {
	t := new(TableSchema)
	if err := unmarshal("table schema", body, t); err != nil {
		return nil, err
	}
	found := &mistakes{reason: ReasonUndecodable}
	if t.Schema == nil {
		found.add("schema", "", "missing")
	}
	return t, decoded("table schema", found)
}
