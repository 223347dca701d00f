package destination

import "unicode/utf8"

// appendEscaped appends value to dst in the form in which it stands in a key.
// Every value of every key goes through here, and nothing else does.
//
// What could mislead S3 or a reader becomes %XX (upper-case hex of each byte):
//
//   - '/' and '\', which would add a level; '%', which keeps this reversible;
//   - control characters, DEL, bytes that are not UTF-8, and the invisible or
//     bidirectional characters of [hidden]: an XML listing cannot carry the
//     first ones, and no eye tells the others apart;
//   - what S3's naming guide says to avoid: { } ^ ` [ ] " < > # | ~;
//   - what Hive escapes in partition values, and Hive, Spark and DuckDB decode
//     when they read: " # % ' * / : = ? \ { [ ] ^. So {{account}} in a folder
//     "account={{account}}" reads back as it was, and '=' in a value makes no
//     column. '*' and '?' are globs to all of them;
//   - a leading '.' or '_', because Hadoop, Spark and Athena skip such names as
//     hidden, and with it every "." and ".."; a leading or trailing space and a
//     trailing '.', which file systems and consoles drop.
//
// All else stays readable. The rules are spelled out rather than taken from the
// unicode package's classes, whose tables change with the Go release: a key must
// not. Decoding each %XX gives the value back, hence the escape is injective.
// The empty value stays empty; [Naming.Key] refuses it.
func appendEscaped(dst []byte, value string) []byte {
	last := len(value) - 1
	for i := 0; i <= last; {
		c := value[i]
		if c < utf8.RuneSelf {
			if special(c) || i == 0 && (c == '.' || c == '_' || c == ' ') || i == last && (c == '.' || c == ' ') {
				dst = appendHex(dst, c)
			} else {
				dst = append(dst, c)
			}
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(value[i:])
		if r == utf8.RuneError && size == 1 || hidden(r) {
			for _, b := range []byte(value[i : i+size]) {
				dst = appendHex(dst, b)
			}
		} else {
			dst = append(dst, value[i:i+size]...)
		}
		i += size
	}
	return dst
}

// special reports whether the ASCII character c is escaped wherever it stands.
func special(c byte) bool {
	switch c {
	case '/', '\\', '%', '{', '}', '^', '`', '[', ']', '"', '<', '>', '#', '|', '~', '\'', '*', ':', '=', '?', 0x7F:
		return true
	}
	return c < 0x20
}

// hidden reports whether r beyond ASCII is a control character, has no width,
// turns the direction of the text, or may not stand in XML.
func hidden(r rune) bool {
	switch {
	case r >= 0x80 && r <= 0x9F, // C1 controls
		r == 0x200B, r == 0x2060, r == 0xFEFF, // zero-width space, word joiner, byte order mark
		r == 0x200E, r == 0x200F, r == 0x061C, // direction marks
		r >= 0x2028 && r <= 0x202E, // line and paragraph separator, embeddings, overrides
		r >= 0x2066 && r <= 0x2069, // isolates
		r == 0xFFFE, r == 0xFFFF:
		return true
	}
	return false
}

func appendHex(dst []byte, b byte) []byte {
	const digits = "0123456789ABCDEF"
	return append(dst, '%', digits[b>>4], digits[b&15])
}
