package destination

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// MaxDocument is the longest document Parse reads, in bytes.
const MaxDocument = 32 << 10

// kind is what a document holds at a place.
type kind string

const (
	nothing kind = "nothing"
	text    kind = "text"
	number  kind = "a number"
	flag    kind = "true or false"
	list    kind = "a list"
	mapping kind = "a mapping"
	strange kind = "an anchor, alias or tag"
)

// node is a part of a document, the same for YAML and JSON.
type node struct {
	kind    kind
	text    string // of text, number and flag, as written
	items   []node
	entries []entry
}

// entry is one field of a mapping; once flattened, its name is the dotted path.
type entry struct {
	name  string
	value node
}

// read takes a document apart. Its error never repeats a part of the document,
// which may be the secret.
func read(doc []byte) (node, error) {
	switch {
	case len(doc) > MaxDocument:
		return node{}, fmt.Errorf("the document is %d bytes long, and more than %d are not read", len(doc), MaxDocument)
	case len(bytes.TrimSpace(doc)) == 0:
		return node{}, errors.New("the document is empty")
	case bytes.TrimSpace(doc)[0] == '{':
		return readJSON(doc)
	}
	return readYAML(doc)
}

func readJSON(doc []byte) (node, error) {
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	n, err := jsonNode(d)
	if err == nil {
		if _, trailing := d.Token(); trailing != io.EOF {
			err = errors.New("trailing text")
		}
	}
	if err != nil {
		line := 1 + bytes.Count(doc[:min(int(d.InputOffset()), len(doc))], []byte("\n"))
		return node{}, fmt.Errorf("not valid JSON near line %d", line)
	}
	return n, nil
}

func jsonNode(d *json.Decoder) (node, error) {
	token, err := d.Token()
	if err != nil {
		return node{}, err
	}
	switch v := token.(type) {
	case string:
		return node{kind: text, text: v}, nil
	case json.Number:
		return node{kind: number, text: v.String()}, nil
	case bool:
		return node{kind: flag, text: fmt.Sprint(v)}, nil
	case json.Delim:
		n := node{kind: list}
		if v == '{' {
			n.kind = mapping
		}
		for d.More() {
			var e entry
			if n.kind == mapping {
				name, err := d.Token()
				if err != nil {
					return node{}, err
				}
				e.name, _ = name.(string)
			}
			if e.value, err = jsonNode(d); err != nil {
				return node{}, err
			}
			if n.kind == mapping {
				n.entries = append(n.entries, e)
			} else {
				n.items = append(n.items, e.value)
			}
		}
		_, err = d.Token() // the closing bracket
		return n, err
	}
	return node{kind: nothing}, nil
}

func readYAML(doc []byte) (n node, err error) {
	defer func() {
		// The document comes from a customer and the parser has panicked on
		// hostile input before; such a document is simply not valid.
		if recover() != nil {
			n, err = node{}, errors.New("not valid YAML")
		}
	}()
	file, err := parser.ParseBytes(doc, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		var syntax yaml.Error
		if errors.As(err, &syntax) && syntax.GetToken() != nil && syntax.GetToken().Position != nil {
			at := syntax.GetToken().Position
			return node{}, fmt.Errorf("not valid YAML near line %d, column %d", at.Line, at.Column)
		}
		return node{}, errors.New("not valid YAML")
	}
	var body ast.Node
	for _, d := range file.Docs {
		if d.Body == nil || d.Body.Type() == ast.CommentType {
			continue
		}
		if body != nil {
			return node{}, errors.New("there is more than one document")
		}
		body = d.Body
	}
	if body == nil {
		return node{}, errors.New("the document is empty")
	}
	return yamlNode(body), nil
}

func yamlNode(n ast.Node) node {
	switch v := n.(type) {
	case *ast.StringNode:
		return node{kind: text, text: v.Value}
	case *ast.LiteralNode:
		return node{kind: text, text: v.Value.Value}
	case *ast.IntegerNode:
		return node{kind: number, text: v.GetToken().Value}
	case *ast.FloatNode:
		return node{kind: number, text: v.GetToken().Value}
	case *ast.InfinityNode, *ast.NanNode:
		return node{kind: number, text: v.GetToken().Value}
	case *ast.BoolNode:
		return node{kind: flag, text: fmt.Sprint(v.Value)}
	case *ast.NullNode, nil:
		return node{kind: nothing}
	case *ast.SequenceNode:
		out := node{kind: list}
		for _, item := range v.Values {
			out.items = append(out.items, yamlNode(item))
		}
		return out
	case *ast.MappingValueNode:
		return node{kind: mapping, entries: []entry{yamlEntry(v)}}
	case *ast.MappingNode:
		out := node{kind: mapping}
		for _, e := range v.Values {
			out.entries = append(out.entries, yamlEntry(e))
		}
		return out
	}
	return node{kind: strange}
}

func yamlEntry(v *ast.MappingValueNode) entry {
	name := yamlNode(v.Key)
	switch name.kind {
	case text, number, flag:
		return entry{name: name.text, value: yamlNode(v.Value)}
	}
	return entry{name: strings.TrimSpace(v.Key.String()), value: node{kind: strange}} // "<<" and the like
}

// flatten lists the fields of a document, those of its groups by their dotted
// names, in order.
func flatten(root node) []entry {
	var out []entry
	for _, e := range root.entries {
		if e.value.kind != mapping || !grouped(e.name) {
			out = append(out, e)
			continue
		}
		for _, inner := range e.value.entries {
			out = append(out, entry{name: e.name + "." + inner.name, value: inner.value})
		}
	}
	return out
}
