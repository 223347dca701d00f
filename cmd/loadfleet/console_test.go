package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browser is a Chromium of its own; what its pages log as errors fails the test.
func browser(t *testing.T) context.Context {
	t.Helper()
	ctx, err := startBrowser(t)
	for range 2 { // now and then it dies as it starts, which is not what is tested
		if err == nil {
			break
		}
		t.Logf("once more: %v", err)
		ctx, err = startBrowser(t)
	}
	if err != nil {
		t.Fatal(err)
	}
	chromedp.ListenTarget(ctx, func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			t.Errorf("a script failed: %s", e.ExceptionDetails.Error())
		case *runtime.EventConsoleAPICalled:
			if e.Type == runtime.APITypeError {
				t.Errorf("a page says: %s", e.Args[0].Value)
			}
		}
	})
	return ctx
}

func startBrowser(t *testing.T) (context.Context, error) {
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath("/usr/bin/chromium"), chromedp.NoSandbox, chromedp.WindowSize(1280, 900))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	return ctx, chromedp.Run(ctx) // the browser lives as long as the first context it is run with
}

// consoleStage is a fleet with something of everything: a good destination, one that is
// refused, extractions of both, one that failed, and dead letters.
func consoleStage(t *testing.T) (h *home, login string) {
	t.Helper()
	h = startHome(t, "--bucket", "acme", "--park-limit", "1ms")
	login = regexp.MustCompile(`http://\S+`).FindString(h.up.await(t, "/login?once="))
	h.applyAcme(t, "acme", "title: Acme Europe", "load_by_account: true", `file_name: "{{account}}-{{YYYY}}-{{MM}}-{{DD}}"`)
	h.set("WRONG", "not+the/secret/of+anybody+at+all")
	h.run(t, exitOK, fmt.Sprintf("id: refused\ntitle: A bucket that refuses us\nconnection_option: access_keys\naccess_key_id: env:AWS_ACCESS_KEY_ID\nsecret_access_key: env:WRONG\nregion: us-east-1\nendpoint: %s\npath_style: true\nbucket: acme\nfolder: out\nfile_name: \"{{YYYY}}-{{MM}}-{{DD}}\"\nfile_format: csv\n",
		h.variable("AWS_ENDPOINT_URL")), "destination", "apply", "-f", "-")
	var rows strings.Builder
	for day := 1; day <= 28; day++ {
		for _, account := range []string{"acme/eu", "acme/us", "<b>bold & co</b>"} {
			if day%7 != 0 || account != "acme/us" {
				fmt.Fprintf(&rows, `{"date":"2024-06-%02d","account":%q,"spend":%d.5}`+"\n", day, account, day)
			}
		}
	}
	publish := func(code int, rows, destination, extraction string, more ...string) {
		t.Helper()
		h.run(t, code, rows, append([]string{"publish", "-", "--format", "ndjson", "--destination", destination, "--table", "ads", "--workspace", "acme",
			"--date-column", "date", "--account-column", "account", "--wait", "--extraction", extraction}, more...)...)
	}
	publish(exitOK, rows.String(), "acme", "ads-2024-06")
	publish(exitBad, strings.ReplaceAll(adDays(3), `"ad":`, `"account":`), "refused", "ads-refused")
	publish(exitBad, `{"date":"junk","account":"a"}`, "acme", "ads-broken", "--check=false", "--schema",
		h.write(t, "schema.json", `[{"name":"date","type":"date"},{"name":"account","type":"string"}]`))
	return h, login
}

// pagesOf the console, by what they are called in docs/console.
func consolePages() [][2]string {
	return [][2]string{
		{"extractions", "/extractions"}, {"extraction", "/extractions/acme/ads-2024-06"}, {"failed", "/extractions/acme/ads-broken"}, {"loads", "/loads"},
		{"destinations", "/destinations"}, {"destination", "/destinations/acme"}, {"connect", "/destinations/new/edit"}, {"change", "/destinations/acme/edit"},
		{"calendar", "/calendar/acme"}, {"deadletters", "/deadletters"}, {"deadletter", "/deadletters/1"}, {"fleet", "/"}, {"login", "/login"}, // the fleet late: its curves have something to show
	}
}

// TestConsoleInABrowser goes through every page in both themes: no script fails,
// axe finds nothing serious, and nothing of others' names is markup. With
// LOADFLEET_SCREENSHOTS it leaves a picture of each.
func TestConsoleInABrowser(t *testing.T) {
	t.Parallel()
	needForeignReaders(t)
	axe, err := os.ReadFile("../../testdata/foreign/node_modules/axe-core/axe.min.js")
	if err != nil {
		t.Fatal(err)
	}
	_, login := consoleStage(t)
	base := login[:strings.Index(login, "/login")]
	ctx := browser(t)
	if err := chromedp.Run(ctx, chromedp.Navigate(login), chromedp.WaitVisible("nav")); err != nil {
		t.Fatal(err)
	}
	for _, theme := range []string{"light", "dark"} {
		if err := chromedp.Run(ctx, emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}})); err != nil {
			t.Fatal(err)
		}
		for _, page := range consolePages() {
			var found []string
			var markup int
			err := chromedp.Run(ctx,
				chromedp.Navigate(base+page[1]), chromedp.WaitVisible("h1"),
				chromedp.Evaluate(`document.querySelectorAll("td b, th b").length`, &markup),
				chromedp.Evaluate(string(axe)+";0", nil),
				chromedp.Evaluate(`axe.run().then(r => r.violations.filter(v => ["serious", "critical"].includes(v.impact)).map(v => v.id + ": " + v.nodes.map(n => n.html).slice(0, 3).join(" | ")))`, &found,
					func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }),
			)
			if err != nil {
				t.Fatalf("%s: %v", page[1], err)
			}
			for _, violation := range found {
				t.Errorf("%s, %s: %s", page[1], theme, violation)
			}
			if markup > 0 {
				t.Errorf("%s: an account's name became markup", page[1])
			}
			if dir := os.Getenv("LOADFLEET_SCREENSHOTS"); dir != "" {
				picture(ctx, t, filepath.Join(dir, page[0]+"-"+theme+".png"))
			}
		}
	}
}

// emptied makes a field empty, as selecting all and typing over it does.
func emptied(field string) chromedp.Action {
	return chromedp.Evaluate(fmt.Sprintf(`document.querySelector(%q).value = ""`, field), nil)
}

func picture(ctx context.Context, t *testing.T, path string) {
	t.Helper()
	var png []byte
	if err := chromedp.Run(ctx, chromedp.CaptureScreenshot(&png)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, png, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestConsoleActs does in the browser what an operator does: sees why loads are
// dead, mends the destination, and replays them, by hand and keyboard.
func TestConsoleActs(t *testing.T) {
	t.Parallel()
	needForeignReaders(t)
	h, login := consoleStage(t)
	ctx := browser(t)
	step := func(what string, actions ...chromedp.Action) {
		t.Helper()
		within, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		if err := chromedp.Run(within, actions...); err != nil {
			var text string
			_ = chromedp.Run(ctx, chromedp.Text("main", &text))
			t.Fatalf("%s: %v; the page says:\n%s", what, err, text)
		}
	}
	var text string
	step("log in", chromedp.Navigate(login), chromedp.WaitVisible("nav"))
	step("the fleet tells of dead letters", chromedp.WaitVisible(`//li[contains(@class, "bad")]//strong[text()="4"]`))
	step("which died and why", chromedp.Click(`a[href="/deadletters"]`), chromedp.WaitVisible("table"), chromedp.Text("table", &text))
	if !strings.Contains(text, "refused") || !strings.Contains(text, "bad-row") {
		t.Errorf("the dead letters are %q", text)
	}
	step("check the destination", chromedp.Click(`//td[text()="refused"]`), chromedp.Click(`a[href="/destinations"]`), chromedp.WaitVisible(`a[href="/destinations/refused"]`),
		chromedp.Click(`a[href="/destinations/refused"]`), chromedp.WaitVisible(`form[action$="/check"] button`), chromedp.Click(`form[action$="/check"] button`),
		chromedp.WaitVisible("#check"), chromedp.Text(`section[aria-labelledby="check"]`, &text))
	if !strings.Contains(text, "failed") || !strings.Contains(text, "credentials") {
		t.Errorf("the check says %q", text)
	}
	step("a mistake is said while it is written", chromedp.Click(`a[href="/destinations/refused/edit"]`), chromedp.WaitVisible("#f-folder"),
		emptied("#f-folder"), chromedp.SendKeys("#f-folder", "out/{{nobody}}"), chromedp.WaitVisible(`[data-problem="folder"]`), chromedp.Text(`[data-problem="folder"]`, &text))
	if !strings.Contains(text, "nobody") {
		t.Errorf("the mistake is said as %q", text)
	}
	step("the keys are shown while it is written", emptied("#f-folder"), chromedp.SendKeys("#f-folder", "elsewhere"), chromedp.WaitVisible(`//li[contains(., "elsewhere/2024")]`))
	step("the right secret", emptied("#f-folder"), chromedp.SendKeys("#f-folder", "out"), chromedp.SendKeys("#f-secret_access_key", h.variable("AWS_SECRET_ACCESS_KEY")),
		chromedp.Click(".connection button"), chromedp.WaitVisible(".note"))
	step("a dry run first", chromedp.Navigate(login[:strings.Index(login, "/login")]+"/deadletters?destination=refused"), chromedp.WaitVisible(`button[value="dry-replay"]`), chromedp.Click(`button[value="dry-replay"]`),
		chromedp.WaitVisible(`button[value="replay"]`), chromedp.Text(".note", &text))
	if !strings.Contains(text, "3 dead letters would be replayed") {
		t.Errorf("the dry run says %q", text)
	}
	step("replay", chromedp.Click(`button[value="replay"]`), chromedp.WaitVisible(".empty"), chromedp.Text(".note", &text))
	if !strings.Contains(text, "3 of 3") {
		t.Errorf("the replay says %q", text)
	}
	step("and they are loaded, live", chromedp.Navigate(login[:strings.Index(login, "/login")]+"/extractions/acme/ads-refused"), chromedp.WaitVisible(`//ul[@class="tabs"]//a[contains(., "loaded")]/strong[text()="3"]`))
	if f := h.run(t, exitOK, "", "deadletter", "audit", "-o", "json"); strings.Count(f.out, `"by": "operator@console"`) != 3 {
		t.Errorf("the audit is %s", f.out)
	}
	base := login[:strings.Index(login, "/login")]
	step("what a change leaves behind is asked for", chromedp.Navigate(base+"/destinations/refused/edit"), chromedp.WaitVisible("#f-folder"), emptied("#f-folder"), chromedp.SendKeys("#f-folder", "moved"),
		chromedp.Click(".connection > p > button"), chromedp.WaitVisible(`input[name="leave"]`), chromedp.Text(`p[role="alert"]`, &text))
	if !strings.Contains(text, "a change of folder leaves 3 objects") {
		t.Errorf("the change is asked for as %q", text)
	}
	step("and left", chromedp.Click(`input[name="leave"]`), chromedp.Click(".connection > p > button"), chromedp.WaitVisible(".note"))
	if f := h.run(t, exitOK, "", "destination", "orphans", "refused"); !strings.Contains(f.out, "3 orphans") {
		t.Errorf("destination orphans says %s", f.out)
	}
	step("pause", chromedp.Navigate(login[:strings.Index(login, "/login")]+"/destinations/refused"), chromedp.WaitVisible(`form[action$="/pause"] button`), chromedp.Click(`form[action$="/pause"] button`), chromedp.WaitVisible(`form[action$="/resume"] button`))
	if f := h.run(t, exitOK, "", "destination", "list"); !strings.Contains(f.out, "paused") {
		t.Errorf("destination list says %s", f.out)
	}
	step("pause the worker", chromedp.Navigate(base+"/"), chromedp.WaitVisible(`//button[text()="Pause"]`), chromedp.Click(`//button[text()="Pause"]`), chromedp.WaitVisible(`//span[text()="paused"]`))
	step("and resume it", chromedp.Click(`//button[text()="Resume"]`), chromedp.WaitVisible(`//button[text()="Pause"]`))
	step("keys", chromedp.KeyEvent("g"), chromedp.KeyEvent("e"), chromedp.WaitVisible(`//h1[text()="Extractions"]`))
	// The link is good for one login.
	answer, err := http.Get(login) //nolint:noctx // of a test
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.Request.URL.Path != "/login" {
		t.Errorf("the second use of the link led to %s", answer.Request.URL)
	}
}
