package destination

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Place is the field in which a template stands.
type Place string

// The places.
const (
	Folder   Place = "folder"
	FileName Place = "file_name"
)

// Template is a folder or file name with variables, parsed. It does not change
// and may be used by many goroutines.
type Template struct {
	place  Place
	pieces []piece // without leading and trailing slashes; none for the root folder
}

// piece is a literal or a variable. Two literals never stand side by side.
type piece struct {
	value value
	text  string // of a literal
}

// ParseTemplate reads the template of a place. White space inside the braces is
// free; all text outside of them is literal. The error is a [*Problems] with
// every mistake, each with its position counted in characters from 1.
//
// A folder is trimmed of its leading and trailing slashes, and "/" is the root.
// Refused are unknown variables and such as may not stand here, unclosed and
// stray braces, empty names, an empty level ("//"), the levels "." and "..",
// names that begin or end with a space, control characters, and a slash in a
// file name.
func ParseTemplate(place Place, text string) (*Template, error) {
	p := templateParser{place: place, text: text}
	p.scan()
	t := &Template{place: place, pieces: p.pieces}
	t.bindToday()
	if place == Folder {
		t.trim()
	}
	if len(p.problems) == 0 { // half a template has no levels to judge
		p.levels(t.pieces)
	}
	if err := p.problems.err(); err != nil {
		return nil, err
	}
	return t, nil
}

// String is the template as it would be written most plainly: equal strings
// render equal names.
func (t *Template) String() string {
	if len(t.pieces) == 0 {
		return "/"
	}
	var b strings.Builder
	for _, p := range t.pieces {
		if p.value == literal {
			b.WriteString(p.text)
		} else {
			b.WriteString("{{" + p.value.name() + "}}")
		}
	}
	return b.String()
}

// Has reports whether the variable of this name stands in the template.
func (t *Template) Has(name string) bool {
	for _, p := range t.pieces {
		if p.value != literal && p.value.name() == name {
			return true
		}
	}
	return false
}

// bindToday makes YYYY and MM today's in a template that has DD_today (SPEC 4):
// a day of this month never stands beside a month of last year.
func (t *Template) bindToday() {
	if !t.Has("DD_today") {
		return
	}
	for i, p := range t.pieces {
		for _, v := range variables() {
			if v.value == p.value {
				t.pieces[i].value = v.today
			}
		}
	}
}

func (t *Template) trim() {
	if n := len(t.pieces); n > 0 && t.pieces[0].value == literal {
		if t.pieces[0].text = strings.TrimLeft(t.pieces[0].text, "/"); t.pieces[0].text == "" {
			t.pieces = t.pieces[1:]
		}
	}
	if n := len(t.pieces); n > 0 && t.pieces[n-1].value == literal {
		if t.pieces[n-1].text = strings.TrimRight(t.pieces[n-1].text, "/"); t.pieces[n-1].text == "" {
			t.pieces = t.pieces[:n-1]
		}
	}
}

type templateParser struct {
	place    Place
	text     string
	pieces   []piece
	problems Problems
}

// scan cuts the text into pieces.
func (p *templateParser) scan() {
	if !utf8.ValidString(p.text) {
		p.problems.add(string(p.place), "is not UTF-8 text", "")
		return
	}
	for at := 0; at < len(p.text); {
		rest := p.text[at:]
		brace := strings.IndexAny(rest, "{}")
		for brace >= 0 && !strings.HasPrefix(rest[brace:], "{{") && !strings.HasPrefix(rest[brace:], "}}") {
			next := strings.IndexAny(rest[brace+1:], "{}")
			if next < 0 {
				brace = -1
			} else {
				brace += 1 + next
			}
		}
		if brace < 0 {
			p.literal(at, len(p.text))
			return
		}
		p.literal(at, at+brace)
		at += brace
		if strings.HasPrefix(p.text[at:], "}}") {
			p.wrong(at, `"}}" closes nothing`, `write "{{" before the variable's name, or leave the "}}" out`)
			at += 2
			continue
		}
		at = p.variable(at)
	}
}

// variable reads the variable that opens at a byte and returns where it ends.
func (p *templateParser) variable(open int) (end int) {
	inside := p.text[open+2:]
	closing := strings.Index(inside, "}}")
	if next := strings.Index(inside, "{{"); closing < 0 || next >= 0 && next < closing {
		p.wrong(open, `"{{" is not closed`, `write "}}" after the variable's name`)
		if next < 0 {
			return len(p.text)
		}
		return open + 2 + next
	}
	end = open + 2 + closing + 2
	name := strings.TrimSpace(inside[:closing])
	if name == "" {
		p.wrong(open, "the braces hold no name", "write a variable's name between them, as in {{filename}}")
		return end
	}
	var here []string
	for _, v := range variables() {
		allowed := p.place == Folder && v.Folder || p.place == FileName && v.FileName
		if allowed {
			here = append(here, v.Name)
		}
		if v.Name != name {
			continue
		}
		if !allowed {
			p.wrong(open, fmt.Sprintf("{{%s}} cannot stand in %s", name, p.place), "it may stand in folder only")
			return end
		}
		p.pieces = append(p.pieces, piece{value: v.value})
		return end
	}
	remedy := "write one of {{" + strings.Join(here, "}}, {{") + "}}"
	if near := nearest(strings.Trim(name, "{} "), here); near != "" {
		remedy = "did you mean {{" + near + "}}?"
	}
	p.wrong(open, "no variable is called "+shown(name), remedy)
	return end
}

// literal takes the text between two bytes as it stands.
func (p *templateParser) literal(from, to int) {
	if from == to {
		return
	}
	text := p.text[from:to]
	for i, r := range text {
		switch {
		case r < 0x20 || r == 0x7F || hidden(r):
			p.wrong(from+i, fmt.Sprintf("the character U+%04X cannot stand in a key", r), "leave it out")
		case r == '/' && p.place == FileName:
			p.wrong(from+i, "a file name has no levels", `move what stands before the "/" to folder`)
		case r == '{':
			p.singleBrace(from, i, text)
		case r == '}' && !strings.Contains(text[:i], "{"):
			p.wrong(from+i, `"}" closes nothing`, `write "{{" before and "}}" behind a variable's name, or leave it out`)
		}
	}
	if n := len(p.pieces); n > 0 && p.pieces[n-1].value == literal { // what stood between was refused
		p.pieces[n-1].text += text
		return
	}
	p.pieces = append(p.pieces, piece{text: text})
}

// singleBrace refuses one that is not closed, and {account}, which would become
// every file's literal name.
func (p *templateParser) singleBrace(from, at int, text string) {
	inside, _, closed := strings.Cut(text[at+1:], "}")
	if !closed {
		p.wrong(from+at, `"{" is not closed`, `write "{{" before and "}}" behind a variable's name, or leave it out`)
		return
	}
	for _, v := range variables() {
		if strings.EqualFold(strings.TrimSpace(inside), v.Name) {
			p.wrong(from+at, fmt.Sprintf("{%s} is not a variable but literal text", inside), "write {{"+v.Name+"}}")
			return
		}
	}
}

// levels judges the names between the slashes.
func (p *templateParser) levels(pieces []piece) {
	if len(pieces) == 0 {
		switch {
		case p.place == FileName:
			p.problems.add(string(p.place), "is empty", "write a name, as in {{filename}}-{{YYYY}}-{{MM}}-{{DD}}")
		case p.text == "":
			p.problems.add(string(p.place), "is empty", `write "/" for the root of the bucket`)
		}
		return
	}
	var level strings.Builder // its literal text; a variable stands as an 'x', which is no dot, space or slash
	number := 1
	judge := func() {
		switch name := level.String(); {
		case name == "":
			p.problems.add(string(p.place), fmt.Sprintf(`level %d is empty: two slashes stand side by side`, number), `write one "/" between two levels`)
		case name == "." || name == "..":
			p.problems.add(string(p.place), fmt.Sprintf("level %d is %q, which readers take for another folder", number, name), "leave it out or name it")
		case name[0] == ' ' || name[len(name)-1] == ' ':
			p.problems.add(string(p.place), fmt.Sprintf("level %d begins or ends with a space", number), "leave the space out")
		}
		level.Reset()
		number++
	}
	for _, piece := range pieces {
		if piece.value != literal {
			level.WriteByte('x')
			continue
		}
		for i, part := range strings.Split(piece.text, "/") {
			if i > 0 {
				judge()
			}
			level.WriteString(part)
		}
	}
	judge()
}

// wrong adds a problem at a byte of the text.
func (p *templateParser) wrong(at int, message, remedy string) {
	p.problems.add(string(p.place), fmt.Sprintf("at character %d: %s", utf8.RuneCountInString(p.text[:at])+1, message), remedy)
}
