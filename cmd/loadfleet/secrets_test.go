package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/loadfleet/loadfleet/queue"
)

// secrets is what no log may hold, by name.
func (f *fleet) secrets() map[string]string {
	f.Helper()
	all := map[string]string{}
	for name, file := range map[string]string{"S3 secret key": "s3.secret-key", "NATS token": "nats.token", "seal key": sealKeyFile} {
		b, err := os.ReadFile(filepath.Join(f.dir, file))
		if err != nil {
			f.Fatal(err)
		}
		all[name] = strings.TrimSpace(string(b))
	}
	return all
}

// leaks names the secrets that a text holds, plain or in one of the forms that
// programs put things in: base64 (also amid other text), URL encoding, hex.
func leaks(text string, secrets map[string]string) []string {
	var found []string
	for name, secret := range secrets {
		for form, s := range forms(secret) {
			if strings.Contains(text, s) {
				found = append(found, name+" ("+form+")")
			}
		}
	}
	slices.Sort(found)
	return found
}

func forms(secret string) map[string]string {
	all := map[string]string{
		"plain": secret, "hex": hex.EncodeToString([]byte(secret)),
		"query": url.QueryEscape(secret), "path": url.PathEscape(secret), "user": url.UserPassword("", secret).String()[1:],
	}
	// Amid other text, as in the header of basic authentication, base64 has one
	// of three shapes; what its ends share with the neighbours is cut off.
	for shift := range 3 {
		padded := make([]byte, shift, shift+len(secret))
		padded = append(padded, secret...)
		whole := padded[:len(padded)-len(padded)%3]
		for form, e := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
			all[form+string(rune('0'+shift))] = e.EncodeToString(whole)[(shift*8+5)/6:]
		}
	}
	if raw, err := base64.StdEncoding.DecodeString(secret); err == nil {
		all["bytes"], all["bytes in hex"] = string(raw), hex.EncodeToString(raw)
	}
	return all
}

// Commands and actors that fail say so without a secret, and nothing on the
// queue holds one.
func TestP10NoSecretLeaves(t *testing.T) {
	t.Parallel()
	f := newFleet(t, t.TempDir())
	f.env["LOADFLEET_LOG_LEVEL"] = "debug"
	f.up("--servers-only", "--bucket", demoBucket)
	f.applyDemo()
	workers := []*process{f.command("dispatcher", "--metrics", "127.0.0.1:0"), f.command("worker", "--metrics", "127.0.0.1:0")}

	csv := string(f.document("demo/1-csv.yaml"))
	file := filepath.Join(t.TempDir(), "document.yaml")
	apply := func(edits ...string) *process {
		t.Helper()
		if err := os.WriteFile(file, []byte(strings.NewReplacer(edits...).Replace(csv)), 0o600); err != nil {
			t.Fatal(err)
		}
		return f.command("destination", "apply", "-f", file)
	}
	f.fails(exitUsage, apply("env:DEMO_SECRET_KEY", f.env["DEMO_SECRET_KEY"], "bucket: demo", "bucket: -", "id: demo-csv", "id: Demo"))
	f.fails(exitUsage, apply("secret_access_key: env:DEMO_SECRET_KEY", "secret_access_kye: "+f.env["DEMO_SECRET_KEY"]))
	f.fails(exitUsage, apply("secret_access_key: env:DEMO_SECRET_KEY", "secret_access_key: ["+f.env["DEMO_SECRET_KEY"]))
	f.run("destination", "show", "demo-csv", "-o", "json")
	f.run("destination", "list", "-o", "json")

	// The store refuses these credentials; the load waits.
	if p := apply("env:DEMO_ACCESS_KEY", "AKIAIOSFODNN7EXAMPLE", "id: demo-csv", "id: refused"); f.wait(p) != exitOK {
		t.Fatalf("apply: %s", p.err.tail())
	}
	small := filepath.Join(t.TempDir(), "rows.ndjson")
	if err := os.WriteFile(small, []byte(`{"date":"2024-06-20","n":1}`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	publish := []string{"publish", "--workspace", "ws1", "--data-source", "d", "--report-type", "r", "--table", "t", "--date-column", "date"}
	f.run(append(publish, "--destination", "refused", small)...)
	if err := workers[1].err.await(t.Context(), `"verdict":"park"`); err != nil {
		t.Fatalf("%v\n%s", err, workers[1].err.tail())
	}
	f.run(append(publish, "--destination", "demo-csv", "--wait", small)...)
	f.fails(exitBad, f.command(append(publish, "--destination", "nowhere", "--wait", small)...))
	f.run("deadletter", "list")
	f.run("status", "-o", "json")
	var dead []queue.DeadLetter
	if err := json.Unmarshal([]byte(f.run("deadletter", "list", "-o", "json")), &dead); err != nil || len(dead) != 1 {
		f.Fatalf("%d dead letters, %v", len(dead), err)
	}
	pages, token := f.pages("refused", dead[0])
	never := f.secrets()
	never["console token"] = token
	if !strings.Contains(pages["/destinations/refused"], "AKIAIOSFODNN7EXAMPLE") {
		t.Error("not even the access key id, which is no secret, is on its destination's page: does this test still read it?")
	}
	for path, text := range pages {
		for _, name := range leaks(text, never) {
			t.Errorf("the page %s holds the %s", path, name)
		}
	}

	url, key := f.env["LOADFLEET_NATS_URL"], f.env["LOADFLEET_SEAL_KEY"]
	for _, broken := range []string{
		strings.Replace(url, "@", "x@", 1),       // refused
		url[:strings.LastIndex(url, ":")] + ":1", // nobody there
		strings.Replace(url, "@", "@[", 1),       // no URL
	} {
		f.env["LOADFLEET_NATS_URL"] = broken
		f.fails(exitFailed, f.command("status"))
	}
	f.env["LOADFLEET_NATS_URL"] = url
	f.env["LOADFLEET_SEAL_KEY"] = f.secrets()["seal key"] + "x"
	f.fails(exitUsage, f.command("destination", "show", "demo-csv"))
	f.env["LOADFLEET_SEAL_KEY"] = key

	secrets, read := f.secrets(), false
	for n, p := range workers {
		code, text := f.asked(p, "/metrics")
		if want := []string{"loadfleet_extractions_total", `destination="refused"`}[n]; code != http.StatusOK || !strings.Contains(text, want) {
			t.Errorf("the metrics of %q: %d, without %s: does this test still read them?", p.name, code, want)
		}
		for _, name := range leaks(text, secrets) {
			t.Errorf("the metrics of %q hold the %s", p.name, name)
		}
		f.stop(p)
	}
	err := filepath.WalkDir(filepath.Join(f.dir, "nats"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		read = read || bytes.Contains(b, []byte(f.env["DEMO_ACCESS_KEY"]))
		for _, name := range leaks(string(b), secrets) {
			t.Errorf("%s on the queue holds the %s", filepath.Base(path), name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if !read {
		t.Error("not even the access key id, which is no secret, was found on the queue: does this test still read it?")
	}
}

// fails waits for a command that must end with the code, and say why.
func (f *fleet) fails(code int, p *process) {
	f.Helper()
	if got := f.wait(p); got != code || p.err.text() == "" {
		f.Errorf("loadfleet %s: exit code %d, want %d; it said %q", p.name, got, code, p.err.tail())
	}
}

func TestLeaksAreFound(t *testing.T) {
	const secret = "s3cr+t/KEY=="
	for _, tt := range []struct {
		name, text string
		want       bool
	}{
		{"nothing", "load done", false},
		{"a part only", "s3cr+t/KEX==", false},
		{"plain", "connect to nats://s3cr+t/KEY==@host", true},
		{"query", "?token=s3cr%2Bt%2FKEY%3D%3D&x=1", true},
		{"path", "/s3cr+t%2FKEY==", true},
		{"hex", hex.EncodeToString([]byte("x" + secret)), true},
		{"base64", base64.StdEncoding.EncodeToString([]byte(secret)), true},
		{"base64 after one byte", base64.StdEncoding.EncodeToString([]byte(":" + secret + "\n")), true},
		{"base64 after two bytes", base64.StdEncoding.EncodeToString([]byte("u:" + secret)), true},
		{"base64 for URLs", base64.URLEncoding.EncodeToString([]byte("user:" + secret)), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := leaks(tt.text, map[string]string{"secret": secret})
			if (len(got) > 0) != tt.want {
				t.Error(cmp.Diff(tt.want, got))
			}
		})
	}
}
