package console_test

import (
	"context"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/console"
	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/queue/queuetest"
)

const (
	operatorToken = "operators-token-0123456789"
	viewerToken   = "viewers-token-0123456789"
	secret        = "wJalrXUtnFEMI+K7MDENG/bPxRfiCYSECRETKEY1"
	hostile       = "<script>alert(1)</script>\u202e\"'&"
)

// desk is a console on a queue with something of everything, all of it named by
// somebody who means harm.
type desk struct {
	*queuetest.Fixture
	server *httptest.Server
}

func open(t *testing.T, change func(*console.Config)) *desk {
	t.Helper()
	f := queuetest.Start(t)
	keyring, err := destination.NewKeyring(destination.NewSealKey())
	if err != nil {
		t.Fatal(err)
	}
	access, err := console.ParseTokens("operator ann " + operatorToken + "\nviewer vic " + viewerToken + " # a comment\n")
	if err != nil {
		t.Fatal(err)
	}
	cfg := console.Config{Queue: f.Queue, Keyring: keyring, Access: access, Version: "test"}
	if change != nil {
		change(&cfg)
	}
	c, err := console.New(cfg, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{Fixture: f, server: httptest.NewServer(c.Handler())}
	t.Cleanup(d.server.Close)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})

	s, err := destination.Parse(fmt.Appendf(nil, "id: acme\ntitle: %q\nconnection_option: access_keys\naccess_key_id: AKIAIOSFODNN7EXAMPLE\nsecret_access_key: %s\nregion: eu-central-1\nbucket: acme\nfolder: out\nfile_name: '{{YYYY}}-{{MM}}-{{DD}}'\nfile_format: csv\n", hostile, secret), nil)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := keyring.Seal(s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Destinations().Put(t.Context(), "acme", sealed, queue.Any); err != nil {
		t.Fatal(err)
	}
	for _, e := range []messages.Event{
		{Kind: messages.EventDispatched, Workspace: "ws", Extraction: "e1", Destination: "acme", Table: hostile, Plan: &messages.Plan{Loads: 1, Rows: 3}},
		{Kind: messages.EventOutcome, Workspace: "ws", Extraction: "e1", Destination: "acme", Outcome: &messages.Outcome{
			Load: strings.Repeat("a", 32), Result: messages.DeadLettered, Bucket: "acme", Key: hostile, Format: "csv", Rows: 3, Generation: 1, Attempts: 1, Worker: hostile,
			Ended: time.Now().UTC(), Failure: &messages.Failure{Reason: messages.ReasonBadRow, Message: hostile, Remedy: hostile},
		}},
		{Kind: messages.EventFailed, Workspace: "ws", Extraction: "e2", Destination: "acme", Failure: &messages.Failure{Reason: messages.ReasonBadRow, Message: hostile, Remedy: hostile}},
	} {
		if err := f.Publish(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	d.bury(t)
	for limit := time.Now().Add(20 * time.Second); !strings.Contains(d.body(t, d.as(t, operatorToken), "/extractions"), "e2"); {
		if time.Now().After(limit) {
			t.Fatal("the console has not heard of the extractions")
		}
	}
	return d
}

// bury leaves a commit that cannot be dispatched.
func (d *desk) bury(t *testing.T) {
	t.Helper()
	e, err := d.Extract(t.Context(), messages.Commit{WorkspaceID: "ws", Extraction: "e3", Destination: "acme", Filename: hostile, Generation: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	commits, err := d.Commits(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer commits.Close()
	delivery, err := commits.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := delivery.DeadLetter(t.Context(), messages.DeadLetter{
		Destination: "acme", Failure: messages.Failure{Reason: messages.ReasonBadRow, Message: hostile, Remedy: hostile},
		Attempts: []messages.Attempt{{Worker: hostile, Time: time.Now().UTC(), Error: hostile}},
	}); err != nil {
		t.Fatal(err)
	}
}

// as is a client that has logged in with a token.
func (d *desk) as(t *testing.T, token string) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar}
	answer, err := client.PostForm(d.server.URL+"/login", url.Values{"token": {token}, "next": {"//elsewhere.example"}})
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusOK || answer.Request.URL.Path != "/" || answer.Request.URL.Host != strings.TrimPrefix(d.server.URL, "http://") {
		t.Fatalf("the login led to %s: %s", answer.Request.URL, answer.Status)
	}
	return client
}

func (d *desk) do(t *testing.T, client *http.Client, method, path string, header http.Header) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, d.server.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		r.Header[name] = values
	}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	return answer, string(body)
}

func (d *desk) body(t *testing.T, client *http.Client, path string) string {
	t.Helper()
	answer, body := d.do(t, client, http.MethodGet, path, nil)
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", path, answer.Status)
	}
	return body
}

// pages are those that look, and acts those that only operators may ask for.
var (
	pages = []string{"/", "/extractions", "/extractions/ws/e1", "/extractions/ws/e2", "/loads", "/deadletters", "/deadletters/1", "/destinations", "/destinations/acme", "/calendar/acme"}
	acts  = []string{"GET /destinations/acme/edit", "GET /destinations/new/edit", "POST /destinations/acme/edit", "POST /destinations/judge", "POST /destinations/acme/check", "POST /destinations/acme/pause", "POST /deadletters", "POST /fleet/w/pause"}
)

func TestNobodyComesIn(t *testing.T) {
	d := open(t, nil)
	stranger := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	asked := append([]string(nil), acts...)
	for _, p := range pages {
		asked = append(asked, "GET "+p)
	}
	for _, one := range asked {
		method, path, _ := strings.Cut(one, " ")
		answer, body := d.do(t, stranger, method, path, http.Header{"X-Forwarded-User": {"ann"}, "X-Forwarded-Role": {"operator"}})
		if answer.StatusCode != http.StatusSeeOther || !strings.HasPrefix(answer.Header.Get("Location"), "/login") || strings.Contains(body, "acme") && !strings.Contains(path, "acme") {
			t.Errorf("%s: %s to %s", one, answer.Status, answer.Header.Get("Location"))
		}
	}
	if answer, _ := d.do(t, stranger, http.MethodGet, "/live", nil); answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("live: %s", answer.Status)
	}
	answer, err := stranger.PostForm(d.server.URL+"/login", url.Values{"token": {viewerToken + "x"}})
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusUnauthorized || len(answer.Cookies()) > 0 {
		t.Errorf("a wrong token: %s, %v", answer.Status, answer.Cookies())
	}
}

func TestViewerLooksOnly(t *testing.T) {
	d := open(t, nil)
	viewer := d.as(t, viewerToken)
	for _, path := range pages {
		body := d.body(t, viewer, path)
		if strings.Contains(body, `name="do"`) || strings.Contains(body, "/pause") || strings.Contains(body, "/edit") {
			t.Errorf("%s shows a viewer what to press", path)
		}
	}
	for _, one := range acts {
		method, path, _ := strings.Cut(one, " ")
		if answer, body := d.do(t, viewer, method, path, nil); answer.StatusCode != http.StatusForbidden || !strings.Contains(body, "operator") {
			t.Errorf("%s: %s, want 403", one, answer.Status)
		}
	}
}

// TestAnotherSiteCannotAct: a page elsewhere that posts here in the name of who
// is logged in.
func TestAnotherSiteCannotAct(t *testing.T) {
	d := open(t, nil)
	operator := d.as(t, operatorToken)
	for _, header := range []http.Header{{"Sec-Fetch-Site": {"cross-site"}}, {"Origin": {"https://elsewhere.example"}}} {
		if answer, _ := d.do(t, operator, http.MethodPost, "/destinations/acme/pause", header); answer.StatusCode != http.StatusForbidden {
			t.Errorf("%v: %s, want 403", header, answer.Status)
		}
	}
	login, err := (&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).PostForm(d.server.URL+"/login", url.Values{"token": {operatorToken}})
	if err != nil {
		t.Fatal(err)
	}
	_ = login.Body.Close()
	if c := login.Cookies(); len(c) != 1 || !c[0].HttpOnly || c[0].SameSite != http.SameSiteStrictMode {
		t.Errorf("the session's cookie: %v, want it for this site and no script", c)
	}
}

// TestNamesAreText: what others named is on every page as text, and no page needs
// a script or style of its own.
func TestNamesAreText(t *testing.T) {
	d := open(t, nil)
	operator := d.as(t, operatorToken)
	inline := regexp.MustCompile(`(?i)<script(?:[^>]*)>[^<]|<style|\sstyle=|\son[a-z]+=|javascript:`)
	for _, path := range append(append([]string(nil), pages...), "/destinations/acme/edit", "/destinations/new/edit", "/deadletters?reason="+url.QueryEscape(hostile), "/extractions?find="+url.QueryEscape(hostile)) {
		answer, body := d.do(t, operator, http.MethodGet, path, nil)
		if answer.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", path, answer.Status)
		}
		if strings.Contains(body, "<script>alert") || strings.Contains(body, "ZgotmplZ") {
			t.Errorf("%s: a name became markup", path)
		}
		if strings.Contains(body, "\u202e") && !strings.HasSuffix(path, "/edit") {
			t.Errorf("%s: a name turns the direction of text", path)
		}
		if found := inline.FindString(body); found != "" {
			t.Errorf("%s: %q is not allowed by the policy", path, found)
		}
		if csp := answer.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", path, csp)
		}
	}
}

// TestP10NoSecretOnAnyPage: not in forms, not in what is posted and judged wrong.
func TestP10NoSecretOnAnyPage(t *testing.T) {
	d := open(t, nil)
	operator := d.as(t, operatorToken)
	forms := []string{secret, url.QueryEscape(secret), strings.ReplaceAll(secret, "+", "&#43;"), operatorToken, viewerToken}
	look := func(what, body string) {
		t.Helper()
		for _, form := range forms {
			if strings.Contains(body, form) {
				t.Errorf("%s shows %s", what, form)
			}
		}
	}
	for _, path := range append(append([]string(nil), pages...), "/destinations/acme/edit") {
		look(path, d.body(t, operator, path))
	}
	for _, path := range []string{"/destinations/judge", "/destinations/acme/edit"} {
		answer, err := operator.PostForm(d.server.URL+path, url.Values{"id": {"acme"}, "secret_access_key": {secret}, "title": {secret}, "folder": {"{{nobody}}"}})
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if err != nil || answer.StatusCode != http.StatusOK || !strings.Contains(string(body), "nobody") {
			t.Fatalf("%s: %s, %v", path, answer.Status, err)
		}
		_, withoutTitle, _ := strings.Cut(string(body), "f-workspaces")
		look(path, withoutTitle)
	}
}

// TestChangesAreAudited: what is pressed and saved is on record with who did it,
// and on the destination's page; the new secret is not.
func TestChangesAreAudited(t *testing.T) {
	d := open(t, nil)
	operator := d.as(t, operatorToken)
	const fresh = "another+SECRETKEY/0123456789abcdefghijklmn"
	s, revision, err := d.Destinations().Describe(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	form := url.Values{"id": {"acme"}, "revision": {fmt.Sprint(revision)}, "leave": {"1"}}
	for name, value := range s.FormValues() {
		form.Set(name, value)
	}
	form.Set("title", "Acme Europe")
	form.Set("secret_access_key", fresh)
	for _, path := range []string{"/destinations/acme/edit", "/destinations/acme/pause"} {
		answer, err := operator.PostForm(d.server.URL+path, form)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusOK || answer.Request.URL.Path != "/destinations/acme" {
			t.Fatalf("%s led to %s: %s", path, answer.Request.URL, answer.Status)
		}
	}
	var record []string
	for a, err := range d.Destinations().Audit(t.Context(), "acme") {
		if err != nil {
			t.Fatal(err)
		}
		if a.By != "ann@console" || a.End != messages.DestinationDone || a.Revision == 0 {
			t.Errorf("record: %+v", a)
		}
		record = append(record, fmt.Sprint(a.Action, a.Changes))
	}
	slices.Sort(record)
	want := []string{fmt.Sprintf("apply[{title %s Acme Europe} {secret_access_key [redacted] changed}]", hostile), "pause[{paused false true}]"}
	if d := cmp.Diff(want, record); d != "" {
		t.Errorf("record (-want +got):\n%s", d)
	}
	page := d.body(t, operator, "/destinations/acme")
	for _, want := range []string{"Who changed it", "ann@console", "secret_access_key: [redacted] → changed", "paused: false → true"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	for _, form := range []string{fresh, url.QueryEscape(fresh), strings.ReplaceAll(fresh, "+", "&#43;")} {
		if strings.Contains(page, form) || strings.Contains(fmt.Sprint(record), form) {
			t.Errorf("the page or the record shows %s", form)
		}
	}
}

// TestPagesAreBounded: of 3,000 dead letters a page shows its own, says how many are
// older and leads there; and all that the filter matches still means all.
func TestPagesAreBounded(t *testing.T) {
	d := open(t, nil)
	operator := d.as(t, operatorToken)
	dead := make([]messages.DeadLetter, 3000)
	for i := range dead {
		dead[i] = messages.DeadLetter{ID: fmt.Sprint("l", i), Stage: messages.StageLoad, Workspace: "ws", Destination: "many", Extraction: "e",
			Failure: messages.Failure{Reason: []messages.Reason{messages.ReasonKey, messages.ReasonBadRow}[i%2]}, Time: time.Now().UTC()}
	}
	d.Bury(t, dead...)
	older := regexp.MustCompile(`href="([^"]+)" rel="next"`)
	for query, want := range map[string]struct{ all, pages int }{"destination=many": {3000, 30}, "destination=many&reason=key": {1500, 15}} {
		path, pages, rows := "/deadletters?"+query, 0, 0
		for {
			body := d.body(t, operator, path)
			n := strings.Count(body, `name="seq"`)
			if n > 100 {
				t.Fatalf("%s lists %d", path, n)
			}
			if left := want.all - rows - n; left > 0 && !strings.Contains(strings.ReplaceAll(body, " ", ""), fmt.Sprintf("%dolder", left)) {
				t.Fatalf("%s does not say that %d are older", path, left)
			}
			pages, rows = pages+1, rows+n
			next := older.FindStringSubmatch(body)
			if next == nil {
				break
			}
			path = html.UnescapeString(next[1])
		}
		if pages != want.pages || rows != want.all {
			t.Errorf("%s: %d on %d pages, want %d on %d", query, rows, pages, want.all, want.pages)
		}
	}
	if body := d.body(t, operator, "/deadletters?destination=many&reason=key&dry=discard&before=500"); !strings.Contains(strings.ReplaceAll(body, " ", ""), "Discardall1500<") {
		t.Error("the dry run of a later page is not about all")
	}
	answer, err := operator.PostForm(d.server.URL+"/deadletters", url.Values{"destination": {"many"}, "reason": {"key"}, "before": {"500"}, "all": {"1"}, "do": {"discard"}})
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	left := map[messages.Reason]int{}
	for l, err := range d.DeadLetters(t.Context(), queue.DeadLetterFilter{Destination: "many"}) {
		if err != nil {
			t.Fatal(err)
		}
		left[l.Failure.Reason]++
	}
	if left[messages.ReasonKey] != 0 || left[messages.ReasonBadRow] != 1500 {
		t.Errorf("left: %v, want what the filter does not choose", left)
	}
}

// TestCalendarIsBounded: of 3,000 objects the calendar shows its days and accounts,
// and leads to the others.
func TestCalendarIsBounded(t *testing.T) {
	d := open(t, nil)
	operator := d.as(t, operatorToken)
	objects := make([]messages.Object, 3000) // of 150 accounts, on every fifth of 100 days
	for i := range objects {
		day := time.Date(2024, 1, 1+i/150*5, 0, 0, 0, 0, time.UTC).Format(time.DateOnly)
		objects[i] = messages.Object{Workspace: "ws", Destination: "acme", Extraction: "e", Load: fmt.Sprint("l", i), Table: "ads", Bucket: "acme", Key: fmt.Sprint(i), Format: "csv",
			From: day, To: day, Account: fmt.Sprintf("account %03d", i%150), Generation: 1, Result: messages.Loaded, Rows: 7, Time: time.Now().UTC()}
	}
	d.Record(t, objects...)
	link := func(body, text string) string {
		t.Helper()
		m := regexp.MustCompile(`href="([^"]+)"[^>]*>` + text + `<`).FindStringSubmatch(body)
		if m == nil {
			t.Fatalf("there is no link %q", text)
		}
		return html.UnescapeString(m[1])
	}
	look := func(path string, rows, loaded int, says string) string {
		t.Helper()
		body := d.body(t, operator, path)
		if r, n := strings.Count(body, `<tr><th scope="row">`), strings.Count(body, `<td class="cell fresh"`); r != rows || n != loaded || !strings.Contains(body, says) {
			t.Errorf("%s: %d accounts with %d objects, want %d with %d and %q", path, r, n, rows, loaded, says)
		}
		return body
	}
	body := look("/calendar/acme", 100, 100*12, "… and 50 more accounts")
	look(link(body, "Further accounts"), 50, 50*12, "account 100")
	before := look(link(body, "Days before"), 100, 100*8, "2023-12-08 to 2024-02-05")
	look(link(before, "Further accounts"), 50, 50*8, "account 149")
	look(link(before, "The latest days"), 100, 100*12, "2024-02-06 to 2024-04-05")
	if answer, _ := d.do(t, operator, http.MethodGet, "/calendar/acme?until=soon", nil); answer.StatusCode != http.StatusBadRequest {
		t.Errorf("until soon: %s", answer.Status)
	}
}

// TestCalendarShowsTheDead: a load that died is on its days though nothing newer is
// on record, also when it would have been the first of its account or destination.
func TestCalendarShowsTheDead(t *testing.T) {
	d := open(t, nil)
	operator := d.as(t, operatorToken)
	look := func(want ...string) {
		t.Helper()
		body := d.body(t, operator, "/calendar/acme")
		if n := strings.Count(body, `<td class="cell failed"`); n != len(want) {
			t.Errorf("%d cells are dead, want %d", n, len(want))
		}
		for _, day := range want {
			if says := day + ": dead letter, destination"; !strings.Contains(body, says) {
				t.Errorf("the calendar does not say %q:\n%s", says, body)
			}
		}
	}
	look()
	d.kill(t, messages.Partition{From: "2024-06-17", To: "2024-06-18", Account: "a"})
	look("2024-06-17", "2024-06-18")
	d.Record(t, messages.Object{Workspace: "ws", Destination: "acme", Extraction: "e", Load: "l", Table: "ads", Bucket: "acme", Key: "k", Format: "csv",
		From: "2024-06-16", To: "2024-06-16", Account: "a", Generation: 1, Result: messages.Loaded, Rows: 7, Time: time.Now().UTC()})
	d.kill(t, messages.Partition{From: "2024-06-19", To: "2024-06-19", Account: "b"})
	look("2024-06-17", "2024-06-18", "2024-06-19")
}

// kill leaves a dead load of a partition.
func (d *desk) kill(t *testing.T, part messages.Partition) {
	t.Helper()
	extraction := "dead-" + part.From
	out := d.Dispatch(t.Context(), "ws", extraction, "plan")
	if err := out.Add(t.Context(), &messages.Load{
		Version: messages.Version, ID: messages.LoadID("ws", extraction, "acme", "k"), Workspace: "ws", Destination: "acme", Extraction: extraction, Lane: messages.Fresh,
		Generation: 1, Table: "ads", Bucket: "acme", Key: "k", File: messages.FileSpec{Format: "json"}, Part: part, Time: time.Now().UTC(), Delete: true,
	}, nil); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	loads, err := d.Loads(t.Context(), queue.LoadsConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer loads.Close()
	delivery, err := loads.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := delivery.DeadLetter(t.Context(), messages.DeadLetter{Failure: messages.Failure{Reason: messages.ReasonDestination}}); err != nil {
		t.Fatal(err)
	}
}

// TestProxySignsIn: headers count from a proxy that is trusted.
func TestProxySignsIn(t *testing.T) {
	d := open(t, func(c *console.Config) { c.Access.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")} })
	plain := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, c := range []struct {
		user, role string
		want       int
	}{
		{"ann", "operator", http.StatusOK}, {"vic", "viewer", http.StatusForbidden}, {"vic", "", http.StatusForbidden}, {"", "operator", http.StatusSeeOther},
	} {
		answer, _ := d.do(t, plain, http.MethodGet, "/destinations/acme/edit", http.Header{"X-Forwarded-User": {c.user}, "X-Forwarded-Role": {c.role}})
		if answer.StatusCode != c.want {
			t.Errorf("%s as %q: %d, want %d", c.user, c.role, answer.StatusCode, c.want)
		}
	}
}

func TestParseTokens(t *testing.T) {
	if _, err := console.ParseTokens("operator ann short\nroot bob 01234567890123456789\nviewer 01234567890123456789\n"); err == nil ||
		!strings.Contains(err.Error(), "line 1") || !strings.Contains(err.Error(), "line 2") || !strings.Contains(err.Error(), "line 3") {
		t.Errorf("got %v, want every mistake with its line", err)
	}
	access, err := console.ParseTokens("operator ann " + operatorToken)
	if err != nil || strings.Contains(fmt.Sprintf("%v %+v %#v %s", access, access, access, access), operatorToken) {
		t.Errorf("%v: an access prints its tokens", err)
	}
}
