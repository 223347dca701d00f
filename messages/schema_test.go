package messages

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

func compile(t *testing.T, text string) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	id := doc.(map[string]any)["$id"].(string)
	if err := c.AddResource(id, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(id)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func validate(t *testing.T, s *jsonschema.Schema, body []byte) error {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return s.Validate(v)
}

// schemaOf is the schema and the document of a message.
func (w wire) schemaOf() (schema string, doc []byte) {
	root, _, _ := strings.Cut(w.subject, ".")
	switch root {
	case commitRoot, recommitRoot:
		return CommitSchema, w.body
	case loadRoot:
		return LoadSchema, []byte(w.header.Get(HeaderLoad))
	case eventRoot:
		return EventSchema, w.body
	case deadRoot:
		return DeadLetterSchema, []byte(w.header.Get(HeaderDeadLetter))
	}
	return "", nil
}

func TestSchemasTakeTheGoldens(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(goldenRoot, "v1", "*.msg"))
	if err != nil {
		t.Fatal(err)
	}
	checked := map[string]int{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		w, err := readWire(b)
		if err != nil {
			t.Fatal(err)
		}
		if schema, doc := w.schemaOf(); schema != "" {
			checked[schema]++
			if err := validate(t, compile(t, schema), doc); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
	for _, schema := range []string{CommitSchema, LoadSchema, EventSchema, DeadLetterSchema} {
		if checked[schema] == 0 {
			t.Errorf("no golden was checked against %.80s", schema)
		}
	}
}

// TestCommitSchemaAgreesWithParseCommit: the schema takes no commit that the
// parser refuses, but for what a schema cannot say.
func TestCommitSchemaAgreesWithParseCommit(t *testing.T) {
	beyond := map[string]bool{
		"another workspace": true, "another extraction": true, // the subject's
		"date column not in schema": true, "date column of a wrong type": true,
		"account column of a wrong type": true, "one column for both": true,
		"covers no day": true, "covers backwards": true, "covers for ever": true,
		"covers days without a date column": true, "covers accounts without a column": true,
		"both batches and files": true, "files that do not add up": true, "a file twice": true,
		"rows do not add up": true, "batches beyond 64 bits": true,
	}
	schema := compile(t, CommitSchema)
	if err := validate(t, schema, document(t, goodCommit())); err != nil {
		t.Fatal(err)
	}
	for _, c := range spoiltCommits() {
		doc := goodCommit()
		c.spoil(doc)
		err := validate(t, schema, document(t, doc))
		if (err == nil) != beyond[c.name] {
			t.Errorf("%s: the schema says %v", c.name, err)
		}
		delete(beyond, c.name)
	}
	for name := range beyond {
		t.Errorf("no spoilt commit is named %q", name)
	}
	for _, c := range []struct {
		name  string
		field string
		value any
	}{
		{"null lane", "lane", nil}, {"empty lane", "lane", ""}, {"null schema", "schema", nil},
		{"null covers", "covers", nil}, {"covers of days", "covers", map[string]any{"from": "2024-06-01", "to": "2024-06-30"}},
		{"covers of accounts", "covers", map[string]any{"from": nil, "to": nil, "accounts": []any{"a", "b"}}},
		{"null date column", "date_column", nil}, {"empty title", "workspace_title", ""}, {"empty policy", "unknown_columns", ""},
	} {
		doc := goodCommit()
		doc[c.field] = c.value
		if c.field == "schema" {
			delete(doc, "date_column")
		}
		body := document(t, doc)
		if _, err := ParseCommit("commit.acme.x1", body); err != nil {
			t.Errorf("%s: ParseCommit says %v", c.name, err)
		}
		if err := validate(t, schema, body); err != nil {
			t.Errorf("%s: the schema says %v", c.name, err)
		}
	}
}

// TestSchemasRefuseWhatTheParsersRefuse spoils one field of a good document
// after another; schema and parser must both say no.
func TestSchemasRefuseWhatTheParsersRefuse(t *testing.T) {
	load, err := EncodeLoad(goodLoad())
	if err != nil {
		t.Fatal(err)
	}
	event, err := EncodeEvent(goodEvent())
	if err != nil {
		t.Fatal(err)
	}
	dead, err := EncodeDeadLetter(goodDeadLetter())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []struct {
		name, schema string
		good         []byte
		parse        func([]byte) error
		spoil        map[string]string // JSON to replace, and by what
	}{
		{"load", LoadSchema, []byte(load), func(b []byte) error { _, err := ParseLoad(string(b)); return err }, map[string]string{
			`"version":1`: `"version":0`, `"workspace":"acme"`: `"workspace":"a.b"`, `"lane":"fresh"`: `"lane":"slow"`, `"generation":7`: `"generation":0`,
			`"bucket":"acme-lake"`: `"bucket":""`, `"format":"parquet"`: `"format":"xml"`, `"rows":2`: `"rows":-2`, `"bytes":10`: `"bytes":"10"`,
			hashA: "9F", `"from":"2024-06-18"`: `"from":"2024-02-30"`, `"from":"2024-06-18",`: ``, `"inline"`: `"outline"`,
			`"time":"2024-06-20T12:15:17Z"`: `"time":"yesterday"`,
			`"inline":{`:                    `"slices":[{"subject":"s","count":1,"rows":1,"bytes":1,"sha256":"` + hashA + `"}],"inline":{`,
		}},
		{"event", EventSchema, event, func(b []byte) error { _, err := ParseEvent(b); return err }, map[string]string{
			`"version":1`: `"version":0`, `"kind":"outcome"`: `"kind":"begun"`, `"workspace":"acme"`: `"workspace":""`, `"outcome":{`: `"income":{`,
			`"result":"dead-lettered"`: `"result":"loaded"`, `"reason":"key"`: `"reason":"luck"`, `"bytes":0`: `"bytes":-1`, `"load":"a1"`: `"load":"a/1"`,
			`"attempts":1`: `"attempts":-1`, `,"failure":{"reason":"key","message":"too long"}`: ``,
		}},
		{"dead letter", DeadLetterSchema, []byte(dead), func(b []byte) error { _, err := ParseDeadLetter(string(b)); return err }, map[string]string{
			`"version":1`: `"version":-1`, `"id":"a1"`: `"id":""`, `"stage":"load"`: `"stage":"verify"`, `"reason":"destination"`: `"reason":""`,
			`"attempts":[`: `"attempts":[0,`, `"time":"2024-06-20T12:15:17Z"`: `"time":"0"`,
		}},
	} {
		schema := compile(t, k.schema)
		for from, to := range k.spoil {
			t.Run(k.name+"/"+from, func(t *testing.T) {
				bad := bytes.Replace(k.good, []byte(from), []byte(to), 1)
				if bytes.Equal(bad, k.good) || !json.Valid(bad) {
					t.Fatalf("%s does not spoil %s", from, k.good)
				}
				if err := validate(t, schema, bad); err == nil {
					t.Errorf("the schema takes %s", bad)
				}
				if err := k.parse(bad); err == nil {
					t.Errorf("the parser takes %s", bad)
				}
			})
		}
		added := bytes.Replace(k.good, []byte("{"), []byte(`{"colour":"red",`), 1)
		if err := validate(t, schema, added); err != nil {
			t.Errorf("%s: an added field: %v", k.name, err)
		}
		if err := k.parse(added); err != nil {
			t.Errorf("%s: an added field: %v", k.name, err)
		}
	}
}
