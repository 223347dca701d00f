package console

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// Role is what somebody may do; a greater one may all that a lesser may.
type Role int

// The roles.
const (
	Nobody   Role = iota
	Viewer        // looks
	Operator      // acts, too
)

func (r Role) String() string { return [...]string{"nobody", "viewer", "operator"}[r] }

// Person is who asks, as the audit will name him.
type Person struct {
	Name string
	Role Role
}

// Access says how people prove who they are: by a token of their own, or by the
// word of a proxy that has signed them in.
type Access struct {
	tokens []token
	once   string // hash of a token that is good for one login

	// Proxies may say who somebody is, in the headers X-Forwarded-User and
	// X-Forwarded-Role (viewer or operator; viewer when it is missing), as proxies
	// for OpenID Connect do. From other addresses the headers mean nothing.
	Proxies []netip.Prefix
}

// token is a token's hash, so that no dump of us tells a token.
type token struct {
	person Person
	hash   [sha256.Size]byte
}

// ParseTokens reads who may come in: a line is a role, a name and a token of at
// least 20 characters; what follows a '#' is a comment.
func ParseTokens(text string) (Access, error) {
	var a Access
	var errs []error
	n := 0
	for line := range strings.Lines(text) {
		n++
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		role := Role(slices.Index([]string{"nobody", "viewer", "operator"}, words[0]))
		switch {
		case len(words) != 3:
			errs = append(errs, fmt.Errorf("line %d: write a role, a name and a token", n))
		case role < Viewer:
			errs = append(errs, fmt.Errorf("line %d: the role is viewer or operator", n))
		case len(words[2]) < 20:
			errs = append(errs, fmt.Errorf("line %d: the token is shorter than 20 characters", n))
		default:
			a.tokens = append(a.tokens, token{Person{words[1], role}, sha256.Sum256([]byte(words[2]))})
		}
	}
	return a, errors.Join(errs...)
}

// Once makes a token with which one login as an operator is possible.
func (a *Access) Once() string {
	text := rand.Text()
	sum := sha256.Sum256([]byte(text))
	a.once = string(sum[:])
	return text
}

// Format answers every verb without the tokens.
func (a Access) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "access of %d tokens and %d proxies", len(a.tokens), len(a.Proxies))
}

// sessions are the logins of this process.
type sessions struct {
	mu   sync.Mutex
	open map[string]session // by the hash of the cookie
	used bool               // the token that is good once
}

type session struct {
	person Person
	until  time.Time
}

const (
	sessionCookie = "loadfleet_session"
	sessionTime   = 12 * time.Hour
	maxSessions   = 10_000
)

// who tells who asks.
func (c *Console) who(r *http.Request) (Person, bool) {
	if p, ok := c.forwarded(r); ok {
		return p, true
	}
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return Person{}, false
	}
	sum := sha256.Sum256([]byte(cookie.Value))
	c.sessions.mu.Lock()
	defer c.sessions.mu.Unlock()
	s, ok := c.sessions.open[string(sum[:])]
	if !ok || time.Now().After(s.until) {
		return Person{}, false
	}
	return s.person, true
}

// forwarded is who a trusted proxy says it is.
func (c *Console) forwarded(r *http.Request) (Person, bool) {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return Person{}, false
	}
	from, err := netip.ParseAddr(host)
	if err != nil || !slices.ContainsFunc(c.cfg.Access.Proxies, func(p netip.Prefix) bool { return p.Contains(from.Unmap()) }) {
		return Person{}, false
	}
	p := Person{Name: r.Header.Get("X-Forwarded-User"), Role: Viewer}
	if r.Header.Get("X-Forwarded-Role") == Operator.String() {
		p.Role = Operator
	}
	return p, p.Name != ""
}

func (c *Console) loginPage(w http.ResponseWriter, r *http.Request) {
	if text := r.URL.Query().Get("once"); text != "" {
		if p, ok := c.byToken(text); ok {
			c.begin(w, r, p, "/")
			return
		}
	}
	c.render(w, http.StatusOK, &request{Request: r, name: "login"}, map[string]string{"Next": r.URL.Query().Get("next")})
}

func (c *Console) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	next := r.PostFormValue("next")
	p, ok := c.byToken(strings.TrimSpace(r.PostFormValue("token")))
	if !ok {
		c.render(w, http.StatusUnauthorized, &request{Request: r, name: "login"},
			map[string]string{"Next": next, "Wrong": "There is no such token. It stands in the console's --token-file."})
		return
	}
	c.begin(w, r, p, local(next))
}

// local is a path of ours; whatever else is the first page. Browsers drop tabs and
// line ends before they read an address, and take a backslash for a slash.
func local(path string) string {
	foreign := func(r rune) bool { return r < ' ' || r == 0x7F || r == '\\' }
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || strings.ContainsFunc(path, foreign) {
		return "/"
	}
	return path
}

// byToken looks at every token, so that the time it takes tells nothing.
func (c *Console) byToken(text string) (found Person, ok bool) {
	sum := sha256.Sum256([]byte(text))
	for _, t := range c.cfg.Access.tokens {
		if subtle.ConstantTimeCompare(t.hash[:], sum[:]) == 1 {
			found, ok = t.person, true
		}
	}
	if once := c.cfg.Access.once; once != "" && subtle.ConstantTimeCompare([]byte(once), sum[:]) == 1 {
		c.sessions.mu.Lock()
		defer c.sessions.mu.Unlock()
		if c.sessions.used {
			return Person{}, false
		}
		c.sessions.used = true
		return Person{Name: "operator", Role: Operator}, true
	}
	return found, ok
}

// begin opens a session.
func (c *Console) begin(w http.ResponseWriter, r *http.Request, p Person, next string) {
	cookie := rand.Text()
	sum := sha256.Sum256([]byte(cookie))
	now := time.Now()
	c.sessions.mu.Lock()
	if c.sessions.open == nil || len(c.sessions.open) >= maxSessions {
		c.sessions.open = map[string]session{}
	}
	c.sessions.open[string(sum[:])] = session{p, now.Add(sessionTime)}
	c.sessions.mu.Unlock()
	http.SetCookie(w, &http.Cookie{
		Name: sessionCookie, Value: cookie, Path: "/", MaxAge: int(sessionTime.Seconds()), HttpOnly: true,
		Secure: r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https", SameSite: http.SameSiteStrictMode,
	})
	http.Redirect(w, r, next, http.StatusSeeOther)
}

func (c *Console) logout(w http.ResponseWriter, r *http.Request) {
	if cookie, err := r.Cookie(sessionCookie); err == nil {
		sum := sha256.Sum256([]byte(cookie.Value))
		c.sessions.mu.Lock()
		delete(c.sessions.open, string(sum[:]))
		c.sessions.mu.Unlock()
	}
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteStrictMode})
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}
