package console_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestLoginStaysHere: whatever the login is told to go on to, it goes to a path of
// ours, also as browsers read it.
func TestLoginStaysHere(t *testing.T) {
	d := open(t, nil)
	for _, c := range []struct{ name, next, want string }{
		{"a page of ours", "/loads?find=a%09b", "/loads?find=a%09b"},
		{"nothing", "", "/"},
		{"another scheme", "https://elsewhere.example/x", "/"},
		{"another host", "//elsewhere.example/x", "/"},
		{"backslash", `/\elsewhere.example/x`, "/"},
		{"tab", "/\t/elsewhere.example/x", "/"},
		{"line end", "/\r\n/elsewhere.example/x", "/"},
		{"null", "/\x00/elsewhere.example/x", "/"},
		{"unit separator", "/\x1f/elsewhere.example/x", "/"},
		{"delete", "/\x7f/elsewhere.example/x", "/"},
	} {
		t.Run(c.name, func(t *testing.T) {
			form := url.Values{"token": {operatorToken}, "next": {c.next}}.Encode()
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, d.server.URL+"/login", strings.NewReader(form))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			answer, err := http.DefaultTransport.RoundTrip(r) // a client refuses some of these by itself
			if err != nil {
				t.Fatal(err)
			}
			_ = answer.Body.Close()
			if got := answer.Header.Get("Location"); answer.StatusCode != http.StatusSeeOther || got != c.want {
				t.Errorf("next %q: %s to %q, want %q", c.next, answer.Status, got, c.want)
			}
		})
	}
}
