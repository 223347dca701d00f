package destination

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestEscape(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"plain", "Campaigns 2024-06 (EU) & more, @x; $y + z!", "Campaigns 2024-06 (EU) & more, @x; $y + z!"},
		{"letters of the world", "Müller 株式会社 👩‍💻", "Müller 株式会社 👩‍💻"},
		{"slash", "a/b", "a%2Fb"},
		{"backslash", `a\b`, "a%5Cb"},
		{"percent", "100%", "100%25"},
		{"already escaped", "a%2Fb", "a%252Fb"},
		{"dot", ".", "%2E"},
		{"dots", "..", "%2E%2E"},
		{"three dots", "...", "%2E.%2E"},
		{"up and away", "../../etc", "%2E.%2F..%2Fetc"},
		{"leading dot", ".hidden", "%2Ehidden"},
		{"trailing dot", "Acme Inc.", "Acme Inc%2E"},
		{"inner dot", "a.b", "a.b"},
		{"leading underscore", "_tmp_x", "%5Ftmp_x"},
		{"spaces around", " a b ", "%20a b%20"},
		{"one space", " ", "%20"},
		{"control", "a\x00\n\x7F", "a%00%0A%7F"},
		{"C1 control", "a\u0085", "a%C2%85"},
		{"not UTF-8", "a\xFFb\xC3", "a%FFb%C3"},
		{"surrogate", "\xED\xA0\x80", "%ED%A0%80"},
		{"replacement character is a character", "\uFFFD", "\uFFFD"},
		{"override", "a\u202Etxt", "a%E2%80%AEtxt"},
		{"byte order mark", "\uFEFFa", "%EF%BB%BFa"},
		{"zero width", "a\u200Bb", "a%E2%80%8Bb"},
		{"not in XML", "\uFFFE\uFFFF", "%EF%BF%BE%EF%BF%BF"},
		{"hive", "a=b:c", "a%3Db%3Ac"},
		{"globs", "a*b?c[d]{e}", "a%2Ab%3Fc%5Bd%5D%7Be%7D"},
		{"to avoid", "^`\"<>#|~'", "%5E%60%22%3C%3E%23%7C%7E%27"},
		{"empty", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := string(appendEscaped(nil, tt.in))
			if got != tt.want {
				t.Errorf("escape of %q = %q, want %q", tt.in, got, tt.want)
			}
			checkEscaped(t, tt.in, got)
		})
	}
}

// Every byte and every pair of bytes escape to something of their own.
func TestEscapeIsInjective(t *testing.T) {
	seen := make(map[string]string, 1<<16+1<<8)
	check := func(in string) {
		got := string(appendEscaped(nil, in))
		checkEscaped(t, in, got)
		if other, taken := seen[got]; taken {
			t.Fatalf("%q and %q both escape to %q", in, other, got)
		}
		seen[got] = in
	}
	for a := range 256 {
		check(string([]byte{byte(a)}))
		for b := range 256 {
			check(string([]byte{byte(a), byte(b)}))
		}
	}
}

func FuzzEscape(f *testing.F) {
	for _, s := range []string{"", ".", "..", "a/b", "%2F", "%", "\xFF", "_", " ", "a\u202E", "ä"} {
		f.Add(s, s+"x")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		escapedA, escapedB := string(appendEscaped(nil, a)), string(appendEscaped(nil, b))
		checkEscaped(t, a, escapedA)
		if a != b && escapedA == escapedB {
			t.Fatalf("%q and %q both escape to %q", a, b, escapedA)
		}
	})
}

// checkEscaped checks all that the escape promises of one value.
func checkEscaped(t *testing.T, in, got string) {
	t.Helper()
	if back, err := unescape(got); err != nil || back != in {
		t.Fatalf("escape of %q is %q, which decodes to %q, %v", in, got, back, err)
	}
	if !utf8.ValidString(got) {
		t.Fatalf("escape of %q is %q, which is not UTF-8", in, got)
	}
	if strings.ContainsAny(got, "/\\{}^`[]\"<>#|~'*:=?\x7F") || strings.ContainsFunc(got, func(r rune) bool { return r < 0x20 || hidden(r) }) {
		t.Fatalf("escape of %q is %q, which holds what it must not", in, got)
	}
	if got != "" && (strings.ContainsAny(got[:1], "._ ") || strings.ContainsAny(got[len(got)-1:], ". ")) {
		t.Fatalf("escape of %q is %q, which begins or ends as it must not", in, got)
	}
}

// unescape is the reader's side: decode each %XX.
func unescape(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return b.String(), fmt.Errorf("cut short at byte %d", i)
		}
		if upper := strings.ToUpper(s[i+1 : i+3]); upper != s[i+1:i+3] {
			return b.String(), fmt.Errorf("lower-case hex at byte %d", i)
		}
		raw, err := hex.DecodeString(s[i+1 : i+3])
		if err != nil {
			return b.String(), err
		}
		b.Write(raw)
		i += 2
	}
	return b.String(), nil
}
