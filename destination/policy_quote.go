package destination

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
)

// Every text that a document, template or command holds goes through one of
// these: a folder may have quotes, ${ and worse in it.

// quoted is a double-quoted string as YAML and HCL read it alike.
func quoted(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b.WriteRune('\\')
			b.WriteRune(r)
		case r == ' ' || unicode.IsPrint(r):
			b.WriteRune(r)
		case r <= 0xFFFF:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			fmt.Fprintf(&b, `\U%08X`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// hclQuoted is a string of HCL in which nothing is interpolated: $${ stands for
// ${, and %%{ for %{, whatever stands before.
func hclQuoted(text string) string {
	return strings.NewReplacer("${", "$${", "%{", "%%{").Replace(quoted(text))
}

// hclName makes an id part of a name in HCL.
func hclName(id string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x80 && (r == '_' || r == '-' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z') {
			return r
		}
		return '_'
	}, id)
}

// comment is text as one comment of HCL or YAML.
func comment(text string) string {
	return "# " + strings.Map(func(r rune) rune {
		if r != ' ' && !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text) + "\n"
}

// shell is one word of a POSIX shell.
func shell(text string) string {
	plain := func(r rune) bool {
		return r < 0x80 && (strings.ContainsRune("_-./:@%+=,", r) || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z')
	}
	if text != "" && !strings.ContainsFunc(text, func(r rune) bool { return !plain(r) }) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// escapeNonASCII writes a JSON text in ASCII. What is not ASCII can stand in
// strings only.
func escapeNonASCII(text []byte) []byte {
	var b []byte
	for _, r := range string(text) {
		switch {
		case r < 0x7F:
			b = append(b, byte(r))
		case r <= 0xFFFF:
			b = fmt.Appendf(b, `\u%04x`, r)
		default:
			high, low := utf16.EncodeRune(r)
			b = fmt.Appendf(b, `\u%04x\u%04x`, high, low)
		}
	}
	return b
}
