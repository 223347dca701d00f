package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/storage"
	"github.com/loadfleet/loadfleet/storage/embedded"
	"github.com/loadfleet/loadfleet/worker"
)

// startNodeFor is a node that ends with the test.
func startNodeFor(t *testing.T, cfg nodeConfig) *node {
	t.Helper()
	n, err := startNode(t.Context(), cfg, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// TestUpChecksAsItsWorker: the console of up reaches a bucket behind the fleet's role
// and an STS of its own, as the worker beside it does.
func TestUpChecksAsItsWorker(t *testing.T) {
	const (
		process = "arn:aws:iam::999988887777:user/process"
		fleet   = "arn:aws:iam::999988887777:role/loadfleet"
		writer  = "arn:aws:iam::444455556666:role/writer"
	)
	store, err := embedded.Start(t.Context(), embedded.Config{
		Dir: t.TempDir(), AccessKey: "root", SecretKey: "root-secret-of-the-store", AccountID: "444455556666", Buckets: []string{"umbrella-data"},
		Users: []embedded.User{{ARN: process, AccessKey: "AKIAPROCESSPROCESSPR", SecretKey: "secret-of-the-process"}},
		Roles: []embedded.Role{
			{ARN: fleet, Trust: []string{process}},
			{ARN: writer, Trust: []string{fleet}, Policy: []embedded.Statement{{Actions: []string{"s3:*"}, Resources: []string{"*"}}}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAPROCESSPROCESSPR")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret-of-the-process")
	n := startNodeFor(t, nodeConfig{
		dir: t.TempDir(), consoleAddr: "127.0.0.1:0", quiet: true,
		worker: worker.Config{Storage: storage.Config{FleetRoleARN: fleet, STSEndpoint: store.Endpoint()}},
	})
	s, err := destination.Parse(fmt.Appendf(nil, `
id: umbrella
connection_option: role_chain
assume_role_arn: %s
region: us-east-1
endpoint: %s
path_style: true
bucket: umbrella-data
folder: /out
file_name: "{{YYYY}}-{{MM}}-{{DD}}"
file_format: csv
`, writer, store.Endpoint()), nil)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := n.keyring.Seal(s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.queue.Destinations().Put(t.Context(), s.ID, sealed, queue.Any); err != nil {
		t.Fatal(err)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	operator := &http.Client{Jar: jar}
	page := func(method, url string) string {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		a, err := operator.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		body, err := io.ReadAll(a.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	page(http.MethodGet, n.console)
	base := n.console[:strings.Index(n.console, "/login")]
	if got := page(http.MethodPost, base+"/destinations/umbrella/check"); !strings.Contains(got, `<span class="badge good">passed</span>`) {
		t.Errorf("the check has not passed:\n%s", got)
	}
	if got := page(http.MethodGet, base+"/destinations/umbrella"); !strings.Contains(got, fleet) {
		t.Errorf("the policy does not name the fleet's role:\n%s", got)
	}
}

// TestUpRefusesAnEmptySecret: a node whose file of a secret was cut off does not start
// without it.
func TestUpRefusesAnEmptySecret(t *testing.T) {
	for _, file := range []string{"nats.token", "s3.access-key", "s3.secret-key", sealKeyFile} {
		t.Run(file, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), file)
			if err := os.WriteFile(path, []byte("\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			n, err := startNode(t.Context(), nodeConfig{dir: filepath.Dir(path), serversOnly: true, quiet: true}, zap.NewNop())
			if err == nil {
				t.Errorf("it started on an empty file: %v", n.close())
			} else if !holdsAll(err.Error(), []string{path, "is empty", "remove it"}) {
				t.Errorf("it says %q", err)
			}
		})
	}
}

// TestUpKeepsItsSecrets: a second start reads what the first wrote, for its owner alone,
// and nothing is left beside it.
func TestUpKeepsItsSecrets(t *testing.T) {
	dir := t.TempDir()
	first, second := &node{dir: dir}, &node{dir: dir}
	if err := errors.Join(first.secrets(), second.secrets()); err != nil {
		t.Fatal(err)
	}
	if first.token == "" || first.token != second.token || first.accessKey != second.accessKey || first.secretKey != second.secretKey {
		t.Error("the second start has other secrets than the first")
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 4 {
		t.Errorf("%d files, want 4: %v", len(files), files)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: mode %s, want 0600; %v", f.Name(), info.Mode(), err)
		}
	}
}

// TestUpWritesAnEnvThatShellsRead: also in a directory whose name has a quote.
func TestUpWritesAnEnvThatShellsRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), `it's "$HOME" \`)
	n := startNodeFor(t, nodeConfig{dir: dir, serversOnly: true, quiet: true})
	path, err := n.writeEnv()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "sh", "-c", `. "$1" && printf '%s\n' "$LOADFLEET_SEAL_KEY" "$LOADFLEET_STAGE_URL" "$LOADFLEET_NATS_URL" "$AWS_SECRET_ACCESS_KEY"`, "sh", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{"file:" + filepath.Join(dir, sealKeyFile), filepath.Join(dir, "stage"), n.natsURL(), n.secretKey}, "\n") + "\n"
	if diff := cmp.Diff(want, string(out)); diff != "" {
		t.Errorf("what a shell reads (-want +got):\n%s", diff)
	}
}
