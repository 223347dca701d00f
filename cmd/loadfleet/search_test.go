package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// shapes are the texts by which a secret could stand in something: as it is,
// escaped as JSON, Go, URLs and HTML do, in hex, and in base64 at any offset.
func shapes(secret string) [][]byte {
	text, err := json.Marshal(secret)
	if err != nil {
		panic(err) // a string always is JSON
	}
	all := []string{
		secret, string(text[1 : len(text)-1]), strings.Trim(strconv.Quote(secret), `"`), strings.Trim(strconv.QuoteToASCII(secret), `"`),
		url.QueryEscape(secret), url.PathEscape(secret), strings.ToLower(url.QueryEscape(secret)),
		hex.EncodeToString([]byte(secret)), strings.ToUpper(hex.EncodeToString([]byte(secret))),
	}
	for _, alphabet := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for offset := range 3 {
			// The characters that no neighbour's bits reach into.
			whole := alphabet.EncodeToString(append(make([]byte, offset), secret...))
			from, to := (offset*8+5)/6, (offset+len(secret))*8/6
			all = append(all, whole[from:to])
		}
	}
	out := make([][]byte, len(all))
	for i, s := range all {
		out[i] = []byte(s)
	}
	return out
}

// search looks for secrets in what a run has left.
type search struct {
	secrets map[string]string // what a secret is called, and it
	forms   map[string][][]byte
	canary  string          // what is no secret and must be found, or the search looked at nothing
	seen    map[string]bool // the places in which the canary was found
	looked  int
}

func newSearch(canary string, secrets map[string]string) *search {
	s := &search{secrets: secrets, forms: map[string][][]byte{}, canary: canary, seen: map[string]bool{}}
	for name, secret := range secrets {
		s.forms[name] = shapes(secret)
	}
	return s
}

// look searches one text of a place, except for the secrets that belong there.
func (s *search) look(t *testing.T, place, where string, text []byte, except ...string) {
	t.Helper()
	s.looked++
	if bytes.Contains(text, []byte(s.canary)) {
		s.seen[place] = true
	}
next:
	for name, forms := range s.forms {
		for _, e := range except {
			if e == name {
				continue next
			}
		}
		for _, form := range forms {
			if at := bytes.Index(text, form); at >= 0 {
				t.Errorf("%s, %s: the %s stands there as %q, after %q", place, where, name, form, text[max(0, at-80):at])
				continue next
			}
		}
	}
}

func TestShapesAreFound(t *testing.T) {
	const secret = `wJalr/XUt+nFEMI=K7&"b<P>~xRfi`
	s := newSearch("", map[string]string{"secret": secret})
	for _, tt := range []struct {
		name string
		text string
	}{
		{"plain", "key=" + secret},
		{"json", func() string { b, _ := json.Marshal(map[string]string{"a": secret}); return string(b) }()},
		{"quoted", fmt.Sprintf("%q", "x"+secret)},
		{"query", "https://host/?" + url.Values{"a": {secret}}.Encode()},
		{"path", "https://host/" + url.PathEscape(secret)},
		{"hex", fmt.Sprintf("%x", "x"+secret+"y")},
		{"HEX", fmt.Sprintf("%X", secret)},
		{"base64", base64.StdEncoding.EncodeToString([]byte(secret + "tail"))},
		{"base64 after one byte", base64.StdEncoding.EncodeToString([]byte("x" + secret + "tail"))},
		{"base64 after two bytes", base64.URLEncoding.EncodeToString([]byte("xy" + secret + "t"))},
		{"base64 after many", base64.RawURLEncoding.EncodeToString([]byte(`{"user":"a","password":"` + secret + `"}`))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			found := false
			for _, form := range s.forms["secret"] {
				found = found || strings.Contains(tt.text, string(form))
			}
			if !found {
				t.Errorf("the secret is not found in %s", tt.text)
			}
		})
	}
}

// tap hears every message that passes the server, whoever sends it.
type tap struct {
	nc  *nats.Conn
	sub *nats.Subscription
	all chan *nats.Msg
}

func startTap(t *testing.T, natsURL string) *tap {
	t.Helper()
	nc, err := nats.Connect(natsURL)
	if err != nil {
		t.Fatal(err)
	}
	w := &tap{nc: nc, all: make(chan *nats.Msg, 1<<20)}
	if w.sub, err = nc.ChanSubscribe(">", w.all); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return w
}

func messageText(subject string, header nats.Header, body []byte) []byte {
	var b bytes.Buffer
	b.WriteString(subject + "\n")
	for name, values := range header {
		for _, v := range values {
			b.WriteString(name + ": " + v + "\n")
		}
	}
	b.Write(body)
	return b.Bytes()
}

// searchTap looks at every message that was heard so far.
func (s *search) searchTap(t *testing.T, w *tap) {
	t.Helper()
	if err := w.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if dropped, err := w.sub.Dropped(); err != nil || dropped > 0 {
		t.Errorf("the tap missed %d messages (%v)", dropped, err)
	}
	for {
		select {
		case m := <-w.all:
			s.look(t, "messages on their way", m.Subject, messageText(m.Subject, m.Header, m.Data))
		default:
			return
		}
	}
}

// searchStreams looks at every message of every stream, KV histories among them.
func (s *search) searchStreams(t *testing.T, nc *nats.Conn) {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	streams := js.ListStreams(t.Context())
	for info := range streams.Info() {
		stream, err := js.Stream(t.Context(), info.Config.Name)
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(info)
		if err != nil {
			t.Fatal(err)
		}
		s.look(t, "stream settings", info.Config.Name, b)
		for seq := info.State.FirstSeq; seq <= info.State.LastSeq; seq++ {
			m, err := stream.GetMsg(t.Context(), seq)
			if err != nil {
				continue // settled or replaced
			}
			s.look(t, "stream "+info.Config.Name, fmt.Sprint(m.Subject, " ", seq), messageText(m.Subject, m.Header, m.Data))
		}
	}
	if err := streams.Err(); err != nil {
		t.Fatal(err)
	}
}

// searchBucket looks at every object's headers and body.
func (s *search) searchBucket(t *testing.T, client *s3.Client, bucket string) {
	t.Helper()
	list, err := client.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &bucket})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range list.Contents {
		got, err := client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: o.Key})
		if err != nil {
			t.Fatal(err)
		}
		var body bytes.Buffer
		if _, err := body.ReadFrom(got.Body); err != nil {
			t.Fatal(err)
		}
		got.Body = nil
		fmt.Fprintf(&body, "\n%s\n%+v\n%v", *o.Key, *got, got.Metadata)
		s.look(t, "objects", *o.Key, body.Bytes())
	}
}

// searchFiles looks at every file under a directory. Belongs says which
// secrets a file is there to hold.
func (s *search) searchFiles(t *testing.T, place, dir string, belongs func(path string) []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		except := belongs(name)
		if len(except) > 0 {
			info, err := e.Info()
			if err != nil {
				return err
			}
			if info.Mode().Perm() != 0o600 {
				t.Errorf("%s holds a secret and has mode %v, want 0600", name, info.Mode().Perm())
			}
		}
		s.look(t, place, name, append([]byte(name+"\n"), b...), except...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// p10Document is a destination's document for TestP10.
func p10Document(id, accessKey, secret, endpoint, folder string) string {
	return fmt.Sprintf(`
id: %s
title: canary-of-the-run %s
connection_option: access_keys
access_key_id: %s
secret_access_key: %s
region: us-east-1
endpoint: %s
path_style: true
bucket: acme
folder: %s/{{workspace_id}}
file_name: "{{filename}}-{{YYYY}}-{{MM}}-{{DD}}"
file_format: json
workspaces: [default]
`, id, id, accessKey, secret, endpoint, folder)
}

// P10: no secret leaves the sealed store. A run with everything that can go
// wrong with secrets, and then a search of all that it has left behind.
func TestP10(t *testing.T) {
	t.Parallel()
	const (
		wrong       = `wrong/SECRET+access=key&Zq9~"x<y>`
		unreachable = "unreachable/SECRET+key=Zq8rT5vW2"
		replaced    = "replaced/SECRET+key=Zq7mN4bV6cX"
		external    = "env-given/SECRET+key=Hj4kL9pO1iU"
		collectors  = "collector/SECRET+key~Tr6wE2qA8zX"
	)
	spans := startCollector(t)
	h := &home{terminal: newTerminal(t), data: filepath.Join(t.TempDir(), "data")}
	h.set("OTEL_EXPORTER_OTLP_ENDPOINT", spans.url)
	h.set("OTEL_EXPORTER_OTLP_HEADERS", "authorization="+url.PathEscape("Bearer "+collectors))
	h.start(t, "--log-level", "debug", "--max-attempts", "1")
	secret := func(file string) string {
		b, err := os.ReadFile(filepath.Join(h.data, file))
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(b))
	}
	root, token, sealKey := secret("s3.secret-key"), secret("nats.token"), secret(sealKeyFile)
	rawKey, err := base64.StdEncoding.DecodeString(sealKey)
	if err != nil {
		t.Fatal(err)
	}
	found := newSearch("canary-of-the-run", map[string]string{
		"S3 secret": root, "NATS token": token, "seal key": sealKey, "seal key's bytes": string(rawKey), "wrong secret": wrong,
		"secret of an unreachable store": unreachable, "replaced secret": replaced, "secret from the environment": external,
		"collector's token": collectors,
	})
	wire := startTap(t, h.variable("LOADFLEET_NATS_URL"))
	endpoint, accessKey := h.variable("AWS_ENDPOINT_URL"), h.variable("AWS_ACCESS_KEY_ID")
	// Processes of their own, beside those of the node.
	processes := []*running{
		h.terminal.start(t, "worker", "--log-level", "debug", "--max-attempts", "1"), h.terminal.start(t, "dispatcher", "--log-level", "debug"),
	}
	processes[0].await(t, "worker ready")
	processes[1].await(t, "dispatcher ready")

	// Destinations, their secrets given in every way.
	h.set("P10_SECRET", external)
	inline := func(s string) string { b, _ := json.Marshal(s); return string(b) }
	apply := func(code int, doc string, flags ...string) finished {
		t.Helper()
		return h.run(t, code, doc, append([]string{"destination", "apply", "-f", "-"}, flags...)...)
	}
	apply(exitOK, p10Document("by-env", accessKey, "env:AWS_SECRET_ACCESS_KEY", endpoint, "by-env"))
	apply(exitOK, p10Document("by-file", accessKey, "file:"+filepath.Join(h.data, "s3.secret-key"), endpoint, "by-file"))
	apply(exitOK, p10Document("inline", accessKey, inline(replaced), endpoint, "inline"))
	apply(exitOK, p10Document("inline", accessKey, inline(root), endpoint, "inline"), "-o", "json")
	apply(exitOK, p10Document("denied", accessKey, inline(wrong), endpoint, "denied"))
	apply(exitOK, p10Document("denied-too", accessKey, "env:P10_SECRET", endpoint, "denied-too"))
	apply(exitOK, p10Document("away", accessKey, inline(unreachable), "http://127.0.0.1:1", "away"))

	// Mistakes, which repeat what they are about.
	for _, doc := range []string{
		p10Document("mistakes", accessKey, inline(wrong), "http://user:"+url.QueryEscape(wrong)+"@"+strings.TrimPrefix(endpoint, "http://"), "x"),
		p10Document("mistakes", inline(wrong), inline(wrong), endpoint, "{{nonsense}}"),
		p10Document("mistakes", accessKey, "["+inline(wrong)+"]", endpoint, "{{"),
		p10Document("mistakes", accessKey, "{plain: "+inline(wrong)+"}", endpoint, "x"),
		p10Document("mistakes", accessKey, inline(wrong+" "), endpoint, "x"),
		p10Document("mistakes", accessKey, inline(wrong)+"\nsecret_access_key: "+inline(unreachable), endpoint, "x"),
		p10Document("mistakes", accessKey, inline(wrong), endpoint, "x") + "bucket_owner: " + inline(wrong) + "\n",
		p10Document("mistakes", accessKey, inline(wrong), endpoint, "x") + "secret_acces_key: " + inline(unreachable) + "\n",
		p10Document("mistakes", accessKey, inline(wrong), endpoint, "x") + "title: " + inline(wrong) + "\n",
		strings.ReplaceAll(p10Document("mistakes", accessKey, inline(wrong), endpoint, "x"), "region: us-east-1", "region: "+inline(wrong)),
		strings.ReplaceAll(p10Document("mistakes", accessKey, inline(wrong), endpoint, "x"), "access_keys", "role_chain"),
		p10Document("mistakes", accessKey, wrong+`" : [`, endpoint, "x"),
		p10Document("mistakes", accessKey, "env:P10_SECRET", endpoint, external),
		p10Document("mistakes", accessKey, "env:P10_SECRET", endpoint, "x") + "encryption: " + external + "\n",
		`{"id": "mistakes", "secret_access_key": ` + inline(wrong) + `, }`,
		`{"id": "mistakes", "secret_access_key": ` + inline(wrong) + `, "secret_access_key": ` + inline(unreachable) + `}`,
		`{"id": ` + inline(wrong) + `, "secret_access_key": ` + inline(wrong) + `}`,
	} {
		apply(exitUsage, doc)
	}

	doc := p10Document(wrong, accessKey, inline(wrong), endpoint, "x")
	apply(exitUsage, doc, "-o", "json")
	h.run(t, exitUsage, doc, "destination", "preview", "-f", "-")
	h.run(t, exitUsage, doc, "destination", "policy", "-f", "-")

	// Extractions that succeed, that carry a bad row, that are denied, whose
	// store is away.
	publish := func(code int, extraction, destination, rows string, flags ...string) finished {
		t.Helper()
		return h.run(t, code, rows, append([]string{"publish", "-", "--format", "ndjson", "--destination", destination, "--table", "ads",
			"--date-column", "date", "--extraction", extraction}, flags...)...)
	}
	schema := h.write(t, "ads.schema.json", `[{"name":"date","type":"date"},{"name":"ad","type":"string"},{"name":"spend","type":"float64"}]`)
	publish(exitOK, "good-env", "by-env", adDays(3), "--wait")
	publish(exitOK, "good-file", "by-file", adDays(2), "--wait", "-o", "json")
	publish(exitOK, "good-inline", "inline", adDays(2), "--wait")
	publish(exitBad, "bad-row", "by-env", adDays(1)+`{"date":"canary-of-the-run","ad":"x","spend":1}`+"\n", "--schema", schema, "--check=false", "--wait")
	publish(exitBad, "away", "away", adDays(1), "--wait")
	publish(exitOK, "denied", "denied", adDays(1))
	publish(exitOK, "denied-too", "denied-too", adDays(1))
	publish(exitBad, "nowhere", "nowhere", adDays(1), "--wait")
	h.awaitLoad(t, "denied", "park")
	h.awaitLoad(t, "denied-too", "park")

	// What people look at, and what they get wrong.
	var dead []struct {
		Sequence uint64 `json:"sequence"`
	}
	h.read(t, &dead, "deadletter", "list")
	if len(dead) != 3 {
		t.Errorf("%d dead letters, want those of the bad row, the unreachable store and the unknown destination", len(dead))
	}
	for _, format := range []string{"human", "json"} {
		for _, id := range []string{"by-env", "denied"} {
			h.run(t, exitOK, "", "destination", "show", id, "-o", format)
			h.run(t, exitOK, "", "destination", "policy", id, "-o", format)
			h.run(t, exitOK, "", "destination", "preview", id, "-o", format)
		}
		for _, id := range []string{"good-env", "bad-row", "away", "denied"} {
			h.run(t, exitOK, "", "extraction", "show", id, "-o", format)
		}
		for _, d := range dead {
			h.run(t, exitOK, "", "deadletter", "show", fmt.Sprint(d.Sequence), "-o", format)
		}
		h.run(t, exitOK, "", "destination", "list", "-o", format)
		h.run(t, exitOK, "", "deadletter", "list", "-o", format)
		h.run(t, exitOK, "", "extraction", "list", "-o", format)
		h.run(t, exitOK, "", "status", "-o", format)
	}
	h.run(t, exitNotFound, "", "destination", "show", "nowhere")
	h.run(t, exitOK, "", "destination", "pause", "by-env")
	h.run(t, exitOK, "", "destination", "resume", "by-env")
	h.run(t, exitOK, "", "destination", "reseal")
	h.run(t, exitFailed, "", "status", "--nats-url", "nats://"+token+"@127.0.0.1:1")
	h.run(t, exitFailed, "", "status", "--nats-url", "nats://"+token+"@%zz:1")
	h.run(t, exitFailed, "", "status", "--nats-url", strings.Replace(h.variable("LOADFLEET_NATS_URL"), token, token[1:], 1))
	h.run(t, exitUsage, "", "destination", "show", "by-env", "--seal-key", sealKey[1:])
	h.run(t, exitUsage, "", "destination", "show", "by-env", "--seal-key", sealKey+"\n"+sealKey[:20])
	h.run(t, exitOK, "", "destination", "check", "by-env")
	h.run(t, exitBad, "", "destination", "check", "denied")
	h.run(t, exitBad, "", "destination", "check", "denied", "-o", "json")
	h.run(t, exitBad, "", "destination", "check", "away")
	found.searchTap(t, wire)

	// The same denied load once more, given up at once: dead letter, replay, discard.
	for _, p := range processes { // they send what is left of their spans
		p.stop(t)
	}
	h.up.stop(t)
	h.start(t, "--log-level", "debug", "--max-attempts", "1", "--park-limit", "1ms")
	wire = startTap(t, h.variable("LOADFLEET_NATS_URL"))
	apply(exitOK, p10Document("denied", accessKey, inline(wrong), h.variable("AWS_ENDPOINT_URL"), "denied"))
	publish(exitBad, "denied-for-good", "denied", adDays(1), "--wait")
	h.read(t, &dead, "deadletter", "list", "--extraction", "denied-for-good")
	if len(dead) != 1 {
		t.Fatalf("%d dead letters of a denied load, want 1", len(dead))
	}
	h.run(t, exitOK, "", "deadletter", "show", fmt.Sprint(dead[0].Sequence))
	h.run(t, exitOK, "", "extraction", "show", "denied-for-good")
	h.run(t, exitOK, "", "extraction", "show", "denied-for-good", "-o", "json")
	h.run(t, exitOK, "", "deadletter", "discard", fmt.Sprint(dead[0].Sequence))
	h.run(t, exitOK, "", "destination", "delete", "denied", "--yes")
	for _, format := range []string{"human", "json"} {
		h.run(t, exitOK, "", "destination", "audit", "-o", format)
	}

	found.searchTap(t, wire)
	found.searchStreams(t, wire.nc)
	client := s3.New(s3.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(h.variable("AWS_ENDPOINT_URL")), UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(accessKey, root, ""),
	})
	found.searchBucket(t, client, "acme")
	h.up.stop(t)
	found.searchSpans(t, spans)
	if !spans.allowed["Bearer "+collectors] {
		t.Errorf("the collector was not told its token: %d others", len(spans.allowed))
	}
	found.searchFiles(t, "files of the node", h.data, func(path string) []string {
		switch path {
		case "nats.token":
			return []string{"NATS token"}
		case "s3.secret-key":
			return []string{"S3 secret"}
		case sealKeyFile:
			return []string{"seal key", "seal key's bytes"}
		case envFile: // for `. env`: the other commands' and the AWS command line's
			return []string{"NATS token", "S3 secret"}
		}
		return nil
	})
	found.searchFiles(t, "files of the commands", h.terminal.dir, func(string) []string { return nil })
	for _, u := range h.said {
		found.look(t, "output", u.command, []byte(u.text.String()))
	}
	for _, place := range []string{"messages on their way", "stream KV_destinations", "stream EVENTS", "stream DEAD", "spans", "files of the node", "output"} {
		if !found.seen[place] {
			t.Errorf("the search of %q has not even found %q", place, found.canary)
		}
	}
	t.Logf("%d texts searched for %d secrets in %d forms each", found.looked, len(found.secrets), len(shapes(root)))
}

// awaitLoad waits until some worker of the home has logged a load of the
// extraction with this verdict, and gives its line.
func (h *home) awaitLoad(t *testing.T, extraction, verdict string) string {
	t.Helper()
	want := []string{`"extraction":"` + extraction + `"`, `"msg":"load"`, `"verdict":"` + verdict + `"`}
	lines := make(chan string, 16)
	h.mu.Lock()
	said := append([]utterance{}, h.said...)
	h.mu.Unlock()
	stop := make(chan struct{})
	defer close(stop)
	for _, u := range said {
		if !strings.HasPrefix(u.command, "up") && !strings.HasPrefix(u.command, "worker") {
			continue
		}
		go func() {
			for {
				more := u.text.more()
				for line := range strings.Lines(u.text.String()) {
					if holdsAll(line, want) {
						select {
						case lines <- line:
						case <-stop:
						}
						return
					}
				}
				select {
				case <-more:
				case <-stop:
					return
				}
			}
		}()
	}
	select {
	case line := <-lines:
		return line
	case <-time.After(30 * time.Second):
		t.Fatalf("no load of extraction %s with verdict %s", extraction, verdict)
		return ""
	}
}
