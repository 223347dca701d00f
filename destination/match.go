package destination

import (
	"regexp"
	"strings"
)

// Placed is what the record of an object tells of how its key was rendered.
// Empty names are not known.
type Placed struct {
	Names   Names
	Day     int32 // since 1970-01-01, when Dated: the first that the object holds
	Dated   bool  // false: the rows were dated by their load
	Account string
}

// Renders reports whether this naming could have rendered the key for what is
// known of it. What is not known, such as the data source or the time of the
// load, may be anything that adds no level.
func (n *Naming) Renders(key string, p Placed) bool {
	if n.byAccount != (p.Account != "") {
		return false // the object holds other accounts than this naming would give it
	}
	var b strings.Builder
	b.WriteString("^")
	for i := range n.pieces {
		piece := &n.pieces[i]
		switch name, named := p.name(piece.value); {
		case piece.value == literal:
			b.WriteString(regexp.QuoteMeta(piece.text))
		case named && name != "":
			b.WriteString(regexp.QuoteMeta(string(appendEscaped(nil, name))))
		case named:
			b.WriteString("[^/]+")
		case p.Dated && !piece.value.timed():
			b.Write(instant{}.append(nil, piece.value, civil(p.Day)))
		default:
			b.WriteString(piece.value.digits())
		}
	}
	b.WriteString("$")
	return regexp.MustCompile(b.String()).MatchString(key)
}

// name is the text that fills a variable; ok is false for dates and times.
func (p *Placed) name(v value) (text string, ok bool) {
	switch v {
	case workspaceID:
		return p.Names.WorkspaceID, true
	case workspaceTitle:
		return p.Names.WorkspaceTitle, true
	case dataSource:
		return p.Names.DataSource, true
	case dataTableTitle:
		return p.Names.DataTableTitle, true
	case reportType:
		return p.Names.ReportType, true
	case filename:
		return p.Names.Filename, true
	case account:
		return p.Account, true
	}
	return "", false
}

// digits is the pattern of a date or time that is not known.
func (v value) digits() string {
	switch v {
	case year, todayYear:
		return `\d{4}`
	case timestamp:
		return `\d{8}T\d{6}Z`
	}
	return `\d{2}`
}
