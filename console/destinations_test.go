package console_test

import (
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestSaveUndoesNobodysChange: of two forms that are open at once the second to be
// saved is refused, however often, and shows what was typed; one that is opened
// anew is saved.
func TestSaveUndoesNobodysChange(t *testing.T) {
	d := open(t, nil)
	operator := d.as(t, operatorToken)
	opened := func() url.Values {
		t.Helper()
		s, _, err := d.Destinations().Describe(t.Context(), "acme")
		if err != nil {
			t.Fatal(err)
		}
		form := url.Values{}
		for name, value := range s.FormValues() {
			form.Set(name, value)
		}
		hidden := regexp.MustCompile(`type="hidden" name="([^"]+)" value="([^"]*)"`)
		for _, m := range hidden.FindAllStringSubmatch(d.body(t, operator, "/destinations/acme/edit"), -1) {
			form.Set(m[1], m[2])
		}
		return form
	}
	save := func(form url.Values) (path, body string) {
		t.Helper()
		answer, err := operator.PostForm(d.server.URL+"/destinations/acme/edit", form)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Fatalf("%s, %v", answer.Status, err)
		}
		return answer.Request.URL.Path, string(text)
	}
	saved := func(what string, form url.Values) {
		t.Helper()
		if path, body := save(form); path != "/destinations/acme" {
			t.Fatalf("%s is not saved:\n%s", what, body)
		}
	}
	refused := func(what string, form url.Values) (body string) {
		t.Helper()
		path, body := save(form)
		if path != "/destinations/acme/edit" || !strings.Contains(body, "It is not saved") || !strings.Contains(body, `value="Acme Europe"`) {
			t.Errorf("%s led to %s, want it refused with what was typed:\n%s", what, path, body)
		}
		return body
	}

	first, second := opened(), opened()
	first.Set("workspaces", "ws1")
	second.Set("title", "Acme Europe")
	saved("the first form", first)
	body := refused("the second form", second)
	if m := regexp.MustCompile(`name="revision" value="(\d+)"`).FindStringSubmatch(body); m == nil || m[1] != second.Get("revision") {
		t.Errorf("the refused form is of revision %q, want %s: it is saved by pressing twice", m, second.Get("revision"))
	}
	refused("the second form, again", second)
	second.Del("revision")
	refused("a form of no revision", second)

	third := opened()
	third.Set("title", "Acme Europe")
	saved("a form that was opened anew", third)
	s, _, err := d.Destinations().Describe(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(s.Workspaces, []string{"ws1"}) || s.Title != "Acme Europe" {
		t.Errorf("workspaces %q, title %q: want both changes", s.Workspaces, s.Title)
	}
}
