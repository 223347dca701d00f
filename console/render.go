package console

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/messages"
)

// layout is what every page has around it.
type layout struct {
	Who      Person
	Page     string
	Section  string
	Note     string
	Version  string
	Operator bool
	Data     any
}

// noteCookie carries the one sentence that an action leaves for the next page.
const noteCookie = "loadfleet_note"

func (c *Console) note(w http.ResponseWriter, text string) {
	http.SetCookie(w, &http.Cookie{
		Name: noteCookie, Value: url.QueryEscape(text), Path: "/", MaxAge: 30, HttpOnly: true, SameSite: http.SameSiteStrictMode,
	})
}

// render writes a page whole or not at all. With the header that our script
// sends, it is the page's inside only.
func (c *Console) render(w http.ResponseWriter, code int, r *request, data any) {
	l := layout{Who: r.who, Page: r.name, Section: section(r.URL.Path), Version: c.cfg.Version, Operator: r.who.Role >= Operator, Data: data}
	if cookie, err := r.Cookie(noteCookie); err == nil {
		l.Note, _ = url.QueryUnescape(cookie.Value) // what cannot be read is not shown
		http.SetCookie(w, &http.Cookie{Name: noteCookie, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteStrictMode})
	}
	what := "layout.html"
	if r.Header.Get("X-Loadfleet-Part") != "" {
		what = "inside"
	}
	var b bytes.Buffer
	if err := c.pages[r.name].ExecuteTemplate(&b, what, l); err != nil {
		c.log.Error("page", zap.String("page", r.name), zap.Error(err))
		http.Error(w, "the page cannot be shown", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	page := b.Bytes()
	if r.name != "edit" && r.name != "judge" { // there a title is as it will be saved
		page = []byte(bidi.Replace(b.String()))
	}
	_, _ = w.Write(page) // nobody is left to tell
}

// bidi shows the characters that turn the direction of text, with which a name
// could make its neighbours read otherwise than they are. What a browser escapes
// is escaped by the templates; these pass them.
var bidi = func() *strings.Replacer {
	var pairs []string
	for _, r := range "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069" {
		pairs = append(pairs, string(r), fmt.Sprintf("[U+%04X]", r))
	}
	return strings.NewReplacer(pairs...)
}()

func section(path string) string {
	part, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if part == "calendar" {
		return "destinations"
	}
	return part
}

func functions() template.FuncMap {
	return template.FuncMap{
		"count": count, "size": size, "age": age, "when": when, "percent": percent,
		"int": func(s string) int64 { n, _ := strconv.ParseInt(s, 10, 64); return n },
		"curve": func(name string, c Curve) map[string]string {
			return map[string]string{"Name": name, "Now": rate(c.Now), "Peak": rate(c.Peak), "Points": c.Points}
		},
		"indent": func(doc string) string {
			var b bytes.Buffer
			if json.Indent(&b, []byte(doc), "", "  ") != nil {
				return doc
			}
			return b.String()
		},
		"tone": tone, "join": strings.Join, "short": short,
		"path": func(parts ...string) string {
			escaped := make([]string, len(parts))
			for i, p := range parts {
				escaped[i] = url.PathEscape(p)
			}
			return "/" + strings.Join(escaped, "/")
		},
		"query": func(pairs ...string) string {
			v := url.Values{}
			for i := 0; i+1 < len(pairs); i += 2 {
				if pairs[i+1] != "" {
					v.Set(pairs[i], pairs[i+1])
				}
			}
			return "?" + v.Encode()
		},
	}
}

// tone is how good or bad a word is, for its color; the word itself is always
// there, too.
func tone(word any) string {
	switch fmt.Sprint(word) {
	case string(messages.Loaded), string(messages.Unchanged), string(messages.EventCompleted), "open", "ok", "running":
		return "good"
	case string(messages.DeadLettered), string(messages.EventFailed), "stuck":
		return "bad"
	case "paused", "waits for approval", "warning", "late", "parked", "draining":
		return "warn"
	}
	return "plain"
}

func count(n any) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + " " + s[i:] // a narrow no-break space
	}
	return s
}

// rate is a number with as many digits as say something.
func rate(n float64) string {
	switch {
	case n >= 0.0005 && n < 0.1:
		return fmt.Sprintf("%.3f", n)
	case n >= 0.1 && n < 10:
		return fmt.Sprintf("%.1f", n)
	}
	return count(int64(n))
}

func size(n int64) string {
	f := float64(n)
	for _, unit := range []string{"B", "KB", "MB", "GB"} {
		if f < 1000 {
			if unit == "B" {
				return fmt.Sprintf("%d B", n)
			}
			return fmt.Sprintf("%.1f %s", f, unit)
		}
		f /= 1000
	}
	return fmt.Sprintf("%.1f TB", f)
}

func when(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

func age(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	d := time.Since(t)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s ago", max(int(d.Seconds()), 0))
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	}
	return fmt.Sprintf("%d days ago", int(d.Hours()/24))
}

func percent(part, whole int64) int {
	if whole <= 0 {
		return 0
	}
	return int(min(100*part/whole, 100))
}

func short(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
