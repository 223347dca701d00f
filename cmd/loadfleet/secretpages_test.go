package main

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/loadfleet/loadfleet/queue"
)

// pages is the text of every page of a console of this fleet, by its path, as an
// operator sees them, and the token that he came in with.
func (f *fleet) pages(destination string, dead queue.DeadLetter) (pages map[string]string, token string) {
	f.Helper()
	token = "an+operator's/token-0123456789"
	tokens := filepath.Join(f.TempDir(), "tokens")
	if err := os.WriteFile(tokens, []byte("operator ann "+token+"\n"), 0o600); err != nil {
		f.Fatal(err)
	}
	p := f.command("console", "--addr", "127.0.0.1:0", "--token-file", tokens)
	if err := p.out.await(f.Context(), "The console is on "); err != nil {
		f.Fatalf("%v\n%s", err, p.err.tail())
	}
	base := regexp.MustCompile(`http://\S+`).FindString(p.out.text())
	jar, err := cookiejar.New(nil)
	if err != nil {
		f.Fatal(err)
	}
	client := &http.Client{Jar: jar}
	read := func(answer *http.Response, err error) string {
		f.Helper()
		if err != nil {
			f.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode != http.StatusOK {
			f.Fatalf("%s: %s, %v", answer.Request.URL, answer.Status, err)
		}
		return string(text)
	}
	pages = map[string]string{"/login": read(client.PostForm(base+"/login", url.Values{"token": {token}, "next": {"/"}}))}
	for limit := time.Now().Add(patience); !strings.Contains(read(client.Get(base+"/extractions")), dead.Extraction); { //nolint:noctx // of a test
		if time.Now().After(limit) {
			f.Fatal("the console has not heard of the extraction")
		}
	}
	for _, path := range []string{
		"/", "/extractions", "/extractions/" + dead.Workspace + "/" + dead.Extraction, "/loads", "/destinations", "/destinations/new/edit",
		"/destinations/" + destination, "/destinations/" + destination + "/edit", "/calendar/" + destination, "/deadletters", "/deadletters/1",
	} {
		pages[path] = read(client.Get(base + path)) //nolint:noctx // of a test
	}
	pages["check"] = read(client.PostForm(base+"/destinations/"+destination+"/check", nil))
	f.stop(p)
	pages["what it logs"] = p.err.text() + strings.TrimSpace(p.out.text())
	return pages, token
}
