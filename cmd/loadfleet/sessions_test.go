package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"sync"
	"testing"

	"github.com/loadfleet/loadfleet/storage/embedded"
)

// sessions overhears what STS hands out.
type sessions struct {
	mu      sync.Mutex
	secrets map[string]string
}

var handedOut = regexp.MustCompile(`<(SecretAccessKey|SessionToken)>([^<]+)<`)

// overhear stands in front of a store's STS and passes everything on.
func overhear(t *testing.T, endpoint string) (*sessions, string) {
	t.Helper()
	target, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	s := &sessions{secrets: map[string]string{}}
	front := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // it is signed
		},
		ModifyResponse: func(r *http.Response) error {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return err
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, m := range handedOut.FindAllSubmatch(body, -1) {
				s.secrets[fmt.Sprintf("%s %d of a session", m[1], len(s.secrets))] = string(m[2])
			}
			return nil
		},
	})
	t.Cleanup(front.Close)
	return s, front.URL
}

// TestP10RoleSessions has roles assumed, with and without the right to put,
// verifies what the one put, and looks for the sessions' secrets in everything
// that is left.
func TestP10RoleSessions(t *testing.T) {
	const (
		process = "arn:aws:iam::999988887777:user/process"
		fleet   = "arn:aws:iam::999988887777:role/loadfleet"
		roles   = "arn:aws:iam::444455556666:role/"
		secret  = "process/SECRET+key=Lk3jH5gF7dS"
	)
	objects := func(actions ...string) []embedded.Statement {
		return []embedded.Statement{
			{Actions: actions, Resources: []string{"arn:aws:s3:::umbrella-data/*"}},
			{Actions: []string{"s3:ListBucket"}, Resources: []string{"arn:aws:s3:::umbrella-data"}},
		}
	}
	store, err := embedded.Start(t.Context(), embedded.Config{
		Dir: t.TempDir(), AccessKey: "root", SecretKey: "root-secret-of-the-store", AccountID: "444455556666", Buckets: []string{"umbrella-data"},
		Users: []embedded.User{{ARN: process, AccessKey: "AKIAPROCESSPROCESSPR", SecretKey: secret}},
		Roles: []embedded.Role{
			{ARN: fleet, Trust: []string{process}},
			{ARN: roles + "writer", Trust: []string{fleet}, ExternalID: "umbrella-1", Policy: objects("s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload")},
			{ARN: roles + "reader", Trust: []string{fleet}, ExternalID: "umbrella-1", Policy: objects("s3:GetObject")},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	overheard, sts := overhear(t, store.Endpoint())

	h := startHome(t, "--servers-only")
	h.set("AWS_ACCESS_KEY_ID", "AKIAPROCESSPROCESSPR")
	h.set("AWS_SECRET_ACCESS_KEY", secret)
	h.set("LOADFLEET_FLEET_ROLE_ARN", fleet)
	h.set("LOADFLEET_STS_ENDPOINT", sts)
	wire := startTap(t, h.variable("LOADFLEET_NATS_URL"))
	// Only who puts objects needs the seal key.
	key := h.variable("LOADFLEET_SEAL_KEY")
	h.set("LOADFLEET_SEAL_KEY", "")
	spans := startCollector(t)
	h.set("OTEL_EXPORTER_OTLP_ENDPOINT", spans.url)
	dispatcher := h.terminal.start(t, "dispatcher", "--log-level", "debug")
	dispatcher.await(t, "dispatcher ready")
	h.set("LOADFLEET_SEAL_KEY", key)
	worker := h.terminal.start(t, "worker", "--log-level", "debug", "--park-limit", "1ms")
	worker.await(t, "worker ready")
	for role, code := range map[string]int{"writer": exitOK, "reader": exitBad} {
		h.run(t, exitOK, fmt.Sprintf(`
id: %[1]s
connection_option: role_chain
assume_role_arn: %[2]s%[1]s
external_id: umbrella-1
region: us-east-1
endpoint: %[3]s
path_style: true
bucket: umbrella-data
folder: /%[1]s
file_name: "{{filename}}-{{YYYY}}-{{MM}}-{{DD}}"
file_format: csv
separator: comma
partition_by: day
load_by_account: false
encryption: sse-s3
workspaces: [default]
`, role, roles, store.Endpoint()), "destination", "apply", "-f", "-")
		h.run(t, exitOK, "", "destination", "approve", role)
		h.run(t, code, `{"date":"2024-06-18","note":"canary-of-the-run"}`+"\n",
			"publish", "--destination", role, "--table", "t", "--date-column", "date", "--format", "ndjson", "--wait", "-")
		h.run(t, code, "", "destination", "check", role, "-o", "json")
	}
	h.run(t, exitOK, "", "deadletter", "list", "-o", "json")
	h.run(t, exitOK, "", "verify", "--all", "--destination", "writer")

	if overheard.secrets["SecretAccessKey 0 of a session"] == "" {
		t.Fatalf("no session was handed out: %d secrets", len(overheard.secrets))
	}
	overheard.secrets["secret of the process"] = secret
	found := newSearch("canary-of-the-run", overheard.secrets)
	found.searchTap(t, wire)
	found.searchStreams(t, wire.nc)
	worker.stop(t) // it sends what is left of its spans
	dispatcher.stop(t)
	found.searchSpans(t, spans)
	h.up.stop(t)
	found.searchFiles(t, "files of the node", h.data, func(string) []string { return nil })
	for _, u := range h.said {
		found.look(t, "output", u.command, []byte(u.text.String()))
	}
	if !found.seen["messages on their way"] || !found.seen["files of the node"] {
		t.Errorf("the search has not even found %q: %v", found.canary, found.seen)
	}
	t.Logf("%d texts searched for %d secrets", found.looked, len(found.secrets))
}
