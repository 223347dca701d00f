package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/storage"
)

// applyAcme stores a destination of csv files on the home's S3 server.
func (h *home) applyAcme(t *testing.T, id string, lines ...string) {
	t.Helper()
	doc := fmt.Sprintf(`id: %s
connection_option: access_keys
access_key_id: env:AWS_ACCESS_KEY_ID
secret_access_key: env:AWS_SECRET_ACCESS_KEY
region: us-east-1
endpoint: %s
path_style: true
bucket: acme
`, id, h.variable("AWS_ENDPOINT_URL"))
	if joined := strings.Join(lines, "\n"); !strings.Contains(joined, "folder:") {
		lines = append(lines, "folder: "+id+"/{{filename}}")
	}
	if joined := strings.Join(lines, "\n"); !strings.Contains(joined, "file_format") {
		lines = append(lines, "file_format: csv")
	}
	if joined := strings.Join(lines, "\n"); !strings.Contains(joined, "file_name") {
		lines = append(lines, `file_name: "{{YYYY}}-{{MM}}-{{DD}}"`)
	}
	h.run(t, exitOK, "", "destination", "apply", "-f", h.write(t, id+".yaml", doc+strings.Join(lines, "\n")+"\n"))
}

// object is what lies in the bucket of the home's S3 server.
func (h *home) object(t *testing.T, key string) string {
	t.Helper()
	store, err := storage.Open(t.Context(), storage.Access{
		Destination: "test", ConnectionOption: "access_keys", AccessKeyID: h.variable("AWS_ACCESS_KEY_ID"),
		SecretAccessKey: h.variable("AWS_SECRET_ACCESS_KEY"), Endpoint: h.variable("AWS_ENDPOINT_URL"), PathStyle: true, Encryption: "sse-s3", Checksum: true,
	}, storage.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	body, _, err := store.Get(t.Context(), "acme", key)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(body)
	if err := errors.Join(err, body.Close()); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// inEveryShape is three rows as each kind of file that publish takes.
func inEveryShape(t *testing.T) map[string][]byte {
	t.Helper()
	schema, err := encoding.NewSchema([]encoding.Column{
		{Name: "day", Type: encoding.Type{Kind: encoding.Date}}, {Name: "n", Type: encoding.Type{Kind: encoding.Int64}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ndjson := "{\"day\":\"2024-06-18\",\"n\":1}\n{\"day\":\"2024-06-18\",\"n\":2}\n{\"day\":\"2024-06-18\",\"n\":3}\n"
	var rows *encoding.Rows
	d := encoding.NewDecoder(schema, encoding.DecodeOptions{}, func(r *encoding.Rows) error { rows = r; return nil })
	if _, err := d.Decode(1, encoding.NDJSONInput, encoding.Plain, strings.NewReader(ndjson)); err != nil {
		t.Fatal(err)
	}
	if err := d.Flush(); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"rows.ndjson": []byte(ndjson), "rows.csv": []byte("day,n\n2024-06-18,1\n2024-06-18,2\n2024-06-18,3\n")}
	var stream, parquet bytes.Buffer
	out := ipc.NewWriter(&stream, ipc.WithSchema(rows.Arrow().Schema()))
	if err := out.Write(rows.Arrow()); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	file, err := ipc.NewFileWriter(f, ipc.WithSchema(rows.Arrow().Schema()))
	if err != nil {
		t.Fatal(err)
	}
	if err := file.Write(rows.Arrow()); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if files["file.arrow"], err = os.ReadFile(f.Name()); err != nil {
		t.Fatal(err)
	}
	w, err := encoding.NewWriter(&parquet, schema, encoding.FileOptions{Format: encoding.Parquet})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	files["stream.arrow"], files["rows.parquet"] = stream.Bytes(), parquet.Bytes()
	var gz bytes.Buffer
	z := gzip.NewWriter(&gz)
	if _, err := z.Write([]byte(ndjson)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	files["rows.json.gz"], files["packed-without-saying"] = gz.Bytes(), gz.Bytes()
	e, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	files["rows.csv.zst"] = e.EncodeAll(files["rows.csv"], nil)
	files["rows.parquet.zst"] = e.EncodeAll(files["rows.parquet"], nil)
	return files
}

// TestPublishFiles publishes every kind of file, alone, by a pattern, a
// directory and standard input, in batches and staged, on a real fleet; each
// ends in the same object.
func TestPublishFiles(t *testing.T) {
	t.Parallel()
	h := startHome(t)
	h.applyAcme(t, "acme")
	const want = "day,n\n2024-06-18,1\n2024-06-18,2\n2024-06-18,3\n"
	publish := func(code int, stdin, table string, args ...string) finished {
		t.Helper()
		return h.run(t, code, stdin, append([]string{"publish", "--destination", "acme", "--table", table, "--date-column", "day", "--wait"}, args...)...)
	}
	files := inEveryShape(t)
	for name, body := range files {
		path := h.write(t, name, string(body))
		table := "of-" + strings.ReplaceAll(name, ".", "-")
		if f := publish(exitOK, "", table, path); !strings.Contains(f.out, ": 3 rows in 1 load: 1 loaded") {
			t.Errorf("%s: got %q", name, f.out)
		}
		if diff := cmp.Diff(want, h.object(t, "acme/"+table+"/2024-06-18.csv")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if name == "rows.ndjson" || name == "rows.csv.zst" || name == "stream.arrow" || name == "packed-without-saying" {
			publish(exitOK, "", table+"-staged", "--stage", path)
			if diff := cmp.Diff(want, h.object(t, "acme/"+table+"-staged/2024-06-18.csv")); diff != "" {
				t.Errorf("%s staged (-want +got):\n%s", name, diff)
			}
		}
	}
	publish(exitOK, string(files["rows.parquet"]), "stdin", "-")
	publish(exitOK, string(files["rows.csv"]), "stdin", "-")
	if got := h.object(t, "acme/stdin/2024-06-18.csv"); got != want {
		t.Errorf("standard input: got %q", got)
	}
	dir := filepath.Join(h.dir, "in", "date=1", "_ignored")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for n, name := range []string{"in/b.csv", "in/a.ndjson", "in/date=1/c.csv", "in/date=1/_ignored/d.csv", "in/.hidden.csv", "in/notes.txt"} {
		h.write(t, name, fmt.Sprintf("day,n\n2024-06-18,%d\n", n+1))
	}
	h.write(t, "in/a.ndjson", "{\"day\":\"2024-06-18\",\"n\":2}\n")
	for _, args := range [][]string{{"in"}, {"in/*.ndjson", "in/*.csv", "in/date=1"}, {"--stage", "in"}} {
		publish(exitOK, "", "several", args...)
		if diff := cmp.Diff("day,n\n2024-06-18,2\n2024-06-18,1\n2024-06-18,3\n", h.object(t, "acme/several/2024-06-18.csv")); diff != "" {
			t.Errorf("%v (-want +got):\n%s", args, diff)
		}
	}
	h.refusals(t, publish)

	// Started again under the same id, it publishes nothing twice and tells the end.
	again := []string{"--extraction", "again", filepath.Join(h.dir, "rows.csv")}
	publish(exitOK, "", "again", again...)
	if f := publish(exitOK, "", "again", again...); !strings.Contains(f.out, "was committed before") || !strings.Contains(f.out, "3 rows in 1 load: 1 loaded") {
		t.Errorf("again: got %q", f.out)
	}
	// Under its id nothing of another table is taken for published.
	if f := publish(exitUsage, "", "other", again...); !strings.Contains(f.err, "was committed before, for table again and destination acme") {
		t.Errorf("the id of another table: got %q", f.err)
	}
	// A failure that only a dispatcher finds ends with its reason and 4.
	f := h.run(t, exitBad, "", "publish", "--destination", "nowhere", "--table", "t", "--wait", filepath.Join(h.dir, "rows.csv"))
	if !strings.Contains(f.err, "unknown-destination") {
		t.Errorf("no destination: got %q", f.err)
	}
}

// refusals are mistakes that are named, with their place, before anything is
// committed.
func (h *home) refusals(t *testing.T, publish func(code int, stdin, table string, args ...string) finished) {
	t.Helper()
	schema := h.write(t, "schema.json", `[{"name":"day","type":"date"},{"name":"n","type":"int64"}]`)
	for _, test := range []struct {
		name, text string
		args       []string
		says       []string
	}{
		{"bad.ndjson", "{\"day\":\"2024-06-18\",\"n\":1}\n\n{\"day\":\"2024-06-18\",\"n\":\"many\"}\n", []string{"--schema", schema}, []string{"bad.ndjson: line 3", `"n"`, "many"}},
		{"bad.csv", "day,n\n2024-06-18,\"1\n\"\n2024-06-18,x\n", []string{"--schema", schema}, []string{"bad.csv: line 2"}},
		{"broken.ndjson", "{\"day\":\"2024-06-18\"}\n{\"day\":\n", nil, []string{"broken.ndjson: line 2"}},
		{"columns.csv", "day,m\n2024-06-18,1\n", []string{"--schema", schema}, []string{"columns.csv", `"m"`}},
		{"array.json", "[\n{\"day\":\"2024-06-18\"}]", nil, []string{"array.json", "one object a line"}},
		{"not.parquet", "day,n\n", nil, []string{"is no parquet file"}},
		{"not.csv.gz", "day,n\n", nil, []string{"is not packed with gzip"}},
		{"good.csv", "day,n\n2024-06-18,1\n", []string{"--format", "xml"}, []string{"use ndjson, csv, arrow or parquet"}},
		{"good.csv", "day,n\n2024-06-18,1\n", []string{"none-*.csv"}, []string{"there is no file of rows"}},
		{"good.csv", "day,n\n2024-06-18,1\n", []string{"--account-column", "day"}, []string{"account_column"}},
		{"good.csv", "day,n\n2024-06-18,1\n", []string{"--stage", "--stage-url", "s3://b?regoin=x"}, []string{`"regoin" is no option`}},
		{"staged.parquet", "PAR1", []string{"--stage"}, []string{"without --stage"}},
	} {
		path := h.write(t, test.name, test.text)
		f := publish(exitUsage, "", "refused", append(test.args, path)...)
		for _, text := range test.says {
			if !strings.Contains(f.err, text) {
				t.Errorf("%s %v: got %q, want in it %q", test.name, test.args, f.err, text)
			}
		}
	}
	var list []map[string]any
	h.read(t, &list, "extraction", "list")
	for _, e := range list {
		if e["table"] == "refused" {
			t.Errorf("a refused file was committed: %v", e)
		}
	}
}
