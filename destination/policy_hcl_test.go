package destination

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// block is one of HCL: resource "type" "name" { ... }, with what the tests look at.
type block struct {
	kind   string
	labels []string
	args   map[string]any // a string, []any, map[string]any or reference; jsonencode(x) is x
	blocks []block
}

// reference is a traversal such as var.user.
type reference string

// parseHCL reads the part of HCL that we write: blocks, arguments, strings, lists,
// objects, references and jsonencode. It is strict: interpolation in a string,
// which we never write, is an error, and so is anything else it does not know.
func parseHCL(text string) (blocks []block, err error) {
	p := hclParser{rest: []rune(text)}
	defer func() {
		if r := recover(); r != nil {
			failed, ours := r.(hclError)
			if !ours {
				panic(r)
			}
			line := strings.Count(text[:len(text)-len(string(p.rest))], "\n") + 1
			blocks, err = nil, fmt.Errorf("line %d: %w", line, failed)
		}
	}()
	for p.space(true); len(p.rest) > 0; p.space(true) {
		blocks = append(blocks, p.block(p.name()))
	}
	return blocks, nil
}

type hclError struct{ error }

type hclParser struct{ rest []rune }

func (p *hclParser) fail(format string, args ...any) {
	panic(hclError{fmt.Errorf(format, args...)})
}

func (p *hclParser) peek() rune {
	if len(p.rest) == 0 {
		return 0
	}
	return p.rest[0]
}

func (p *hclParser) next() rune {
	c := p.peek()
	if c == 0 {
		p.fail("the text ends too early")
	}
	p.rest = p.rest[1:]
	return c
}

func (p *hclParser) expect(c rune) {
	if got := p.next(); got != c {
		p.fail("%q instead of %q", got, c)
	}
}

// space skips blanks and, with lines, comments and line ends.
func (p *hclParser) space(lines bool) {
	for {
		switch c := p.peek(); {
		case c == ' ':
			p.rest = p.rest[1:]
		case lines && c == '\n':
			p.rest = p.rest[1:]
		case lines && c == '#':
			for p.peek() != '\n' && p.peek() != 0 {
				p.rest = p.rest[1:]
			}
		default:
			return
		}
	}
}

func (p *hclParser) name() string {
	if !unicode.IsLetter(p.peek()) {
		p.fail("a name begins with %q", p.peek())
	}
	var b strings.Builder
	for c := p.peek(); unicode.IsLetter(c) || unicode.IsDigit(c) || c == '_' || c == '-'; c = p.peek() {
		b.WriteRune(p.next())
	}
	return b.String()
}

func (p *hclParser) block(kind string) block {
	b := block{kind: kind, args: map[string]any{}}
	for p.space(false); p.peek() == '"'; p.space(false) {
		b.labels = append(b.labels, p.text())
	}
	p.expect('{')
	for p.space(true); p.peek() != '}'; p.space(true) {
		name := p.name()
		p.space(false)
		if p.peek() != '=' {
			b.blocks = append(b.blocks, p.block(name))
			continue
		}
		p.next()
		if _, twice := b.args[name]; twice {
			p.fail("%s stands twice", name)
		}
		b.args[name] = p.value()
		p.space(false)
		if p.peek() != '\n' {
			p.fail("%q after an argument", p.peek())
		}
	}
	p.next()
	return b
}

func (p *hclParser) value() any {
	p.space(false)
	switch c := p.peek(); {
	case c == '"':
		return p.text()
	case c == '[':
		p.next()
		list := []any{}
		for p.space(true); p.peek() != ']'; p.space(true) {
			list = append(list, p.value())
			p.space(true)
			if p.peek() != ',' {
				break
			}
			p.next()
		}
		p.space(true)
		p.expect(']')
		return list
	case c == '{':
		p.next()
		object := map[string]any{}
		for p.space(true); p.peek() != '}'; p.space(true) {
			key := p.text()
			p.space(false)
			p.expect('=')
			object[key] = p.value()
			p.space(false)
			if p.peek() != '}' {
				p.expect('\n')
			}
		}
		p.next()
		return object
	}
	name := p.name()
	if name == "jsonencode" {
		p.expect('(')
		v := p.value()
		p.expect(')')
		return v
	}
	for p.peek() == '.' {
		p.next()
		name += "." + p.name()
	}
	return reference(name)
}

// text is a quoted template without interpolation.
func (p *hclParser) text() string {
	p.expect('"')
	var b strings.Builder
	for {
		c := p.next()
		switch {
		case c == '"':
			return b.String()
		case c == '\n':
			p.fail("a string goes over the end of the line")
		case (c == '$' || c == '%') && p.peek() == '{':
			p.fail("a string interpolates")
		case (c == '$' || c == '%') && p.peek() == c && len(p.rest) > 1 && p.rest[1] == '{':
			b.WriteRune(c)
			b.WriteRune('{')
			p.rest = p.rest[2:]
		case c == '\\':
			p.escape(&b)
		default:
			b.WriteRune(c)
		}
	}
}

func (p *hclParser) escape(b *strings.Builder) {
	switch c := p.next(); c {
	case '"', '\\':
		b.WriteRune(c)
	case 'n':
		b.WriteByte('\n')
	case 'u', 'U':
		size := 4
		if c == 'U' {
			size = 8
		}
		if len(p.rest) < size {
			p.fail("the text ends too early")
		}
		code, err := strconv.ParseUint(string(p.rest[:size]), 16, 32)
		if err != nil {
			p.fail("the escape \\%c%s", c, string(p.rest[:size]))
		}
		b.WriteRune(rune(code))
		p.rest = p.rest[size:]
	default:
		p.fail("the escape \\%c", c)
	}
}
