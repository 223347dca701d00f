package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/testdata"
	"github.com/loadfleet/loadfleet/testdata/adrows"
)

// Programs that nobody here wrote list, copy and read every object of the demo
// and find in each of the six formats the rows of the source: all of them,
// once, in the object whose key names their partition.
func TestForeignReadersAgree(t *testing.T) {
	t.Parallel()
	needForeignReaders(t)
	dir, _ := theDemo(t)
	f := newFleet(t, dir)
	f.up("--bucket", demoBucket)
	truth, err := testdata.Truth()
	if err != nil {
		t.Fatal(err)
	}
	tables := f.tables(truth.Ads)

	copied := t.TempDir()
	f.aws("s3", "cp", "--recursive", "--only-show-errors", "s3://"+demoBucket, copied)
	var want []string
	for _, table := range tables {
		want = append(want, slices.Collect(maps.Keys(table.rows))...)
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, f.listed()); diff != "" {
		t.Errorf("the keys that the AWS command line lists (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, filesIn(t, copied)); diff != "" {
		t.Fatalf("the objects that the AWS command line copies (-want +got):\n%s", diff)
	}
	for _, table := range tables {
		f.inspect(table, copied)
	}
	for _, c := range compareFiles(t, tables, copied) {
		t.Run(c.Table+" by "+c.Reader, func(t *testing.T) { c.check(t, tables[c.Table], truth.Ads, copied) })
	}
}

// needForeignReaders fails the test when they are not installed.
func needForeignReaders(t *testing.T) {
	t.Helper()
	_, err := os.Stat("../../testdata/foreign/node_modules/.installed")
	for _, program := range []string{"node", "aws", "chromium"} {
		_, missing := exec.LookPath(program)
		err = errors.Join(err, missing)
	}
	if err != nil {
		t.Fatalf("the readers that this test compares with are not installed: run `make setup` (%v)", err)
	}
}

// expected is a destination of the demo and what is true of its objects.
type expected struct {
	*destination.Settings
	rows  map[string]int64  // by key
	parts map[part][]string // rows and sums of a partition in an object, as text
}

// part is an account's day in the object that must hold it.
type part struct{ key, day, account string }

// sums are the columns whose sums the truth knows, in its order.
var sums = []string{"impressions", "clicks", "video_views", "spend", "revenue"}

// tables renders the key of every partition of the truth by each of the demo's
// destinations.
func (f *fleet) tables(truth *adrows.Truth) map[string]*expected {
	f.Helper()
	tables := map[string]*expected{}
	for _, s := range f.demoSettings() {
		naming, err := s.Naming()
		if err != nil {
			f.Fatal(err)
		}
		tb := &expected{Settings: s, rows: map[string]int64{}, parts: map[part][]string{}}
		for _, p := range truth.Partitions {
			at, err := time.Parse(time.DateOnly, p.Date)
			if err != nil {
				f.Fatal(err)
			}
			key, err := naming.Key(destination.Names{
				WorkspaceID: "ws1", WorkspaceTitle: "main_group", DataSource: "ad_platform", DataTableTitle: "Ads daily",
				ReportType: "ads", Filename: "ads",
			}, int32(at.Unix()/86400), p.AccountID)
			if err != nil {
				f.Fatal(err)
			}
			tb.rows[key] += p.Rows
			tb.parts[part{key, p.Date, p.AccountID}] = []string{
				strconv.FormatInt(p.Rows, 10), p.Impressions, p.Clicks, p.VideoViews, p.Spend, p.Revenue,
			}
		}
		tables[s.ID] = tb
	}
	return tables
}

// aws runs the AWS command line on the fleet's store.
func (f *fleet) aws(args ...string) string {
	f.Helper()
	cmd := exec.CommandContext(f.Context(), "aws", append(args, "--endpoint-url", f.env["AWS_ENDPOINT_URL"])...)
	nowhere := filepath.Join(f.TempDir(), "none")
	cmd.Env = append(f.environ(), "AWS_CONFIG_FILE="+nowhere, "AWS_SHARED_CREDENTIALS_FILE="+nowhere, "AWS_PAGER=",
		"LC_ALL=C.UTF-8", "PYTHONIOENCODING=utf-8")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		f.Fatalf("aws %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

var listedLine = regexp.MustCompile(`^\S+ \S+ +[0-9]+ (.+)$`)

// listed is every key that `aws s3 ls` shows.
func (f *fleet) listed() []string {
	f.Helper()
	var keys []string
	for line := range strings.Lines(f.aws("s3", "ls", "--recursive", "s3://"+demoBucket)) {
		m := listedLine.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if m == nil {
			f.Fatalf("aws s3 ls: unexpected line %q", line)
		}
		keys = append(keys, m[1])
	}
	slices.Sort(keys)
	return keys
}

// filesIn is every file below dir, as keys.
func filesIn(t *testing.T, dir string) []string {
	t.Helper()
	var keys []string
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			keys = append(keys, keyOf(t, dir, path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(keys)
	return keys
}

func keyOf(t *testing.T, dir, path string) string {
	t.Helper()
	key, err := filepath.Rel(dir, path)
	if err != nil {
		t.Fatal(err)
	}
	return filepath.ToSlash(key)
}

// inspect asks for the headers of a destination's first object.
func (f *fleet) inspect(tb *expected, copied string) {
	f.Helper()
	key := slices.Min(slices.Collect(maps.Keys(tb.rows)))
	type head struct {
		ContentType, ServerSideEncryption string
		Metadata                          map[string]string
	}
	var got head
	if err := json.Unmarshal([]byte(f.aws("s3api", "head-object", "--bucket", demoBucket, "--key", key)), &got); err != nil {
		f.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(copied, filepath.FromSlash(key)))
	if err != nil {
		f.Fatal(err)
	}
	sum := sha256.Sum256(b)
	extraction := got.Metadata["loadfleet-extraction"] // it ends in the time of the demo
	if !strings.HasPrefix(extraction, tb.ID+"-") {
		f.Errorf("%s was made by extraction %q, want one of %s", key, extraction, tb.ID)
	}
	want := head{
		ContentType: tb.FileFormat.ContentType(),
		ServerSideEncryption: map[destination.Encryption]string{
			destination.SSES3: "AES256", destination.SSEKMS: "aws:kms",
			destination.NoEncryption: "AES256", // by the bucket's default
		}[tb.Encryption],
		Metadata: map[string]string{
			"loadfleet-load":       messages.LoadID("ws1", extraction, demoBucket, key),
			"loadfleet-extraction": extraction,
			"loadfleet-generation": strconv.Itoa(testdata.Generation),
			"loadfleet-rows":       strconv.FormatInt(tb.rows[key], 10),
			"loadfleet-sha256":     hex.EncodeToString(sum[:]),
		},
	}
	// How it is put together, and what stood there lately: see storage's forms.
	if got.Metadata["loadfleet-history"] == "" {
		f.Errorf("%s does not say how it is put together", key)
	}
	delete(got.Metadata, "loadfleet-history")
	delete(got.Metadata, "loadfleet-accounts")
	if diff := cmp.Diff(want, got); diff != "" {
		f.Errorf("the headers of %s (-want +got):\n%s", key, diff)
	}
}

// compared is what compare.mjs says of a table as a reader read it.
type compared struct {
	Table, Reader        string
	Rows, Missing, Extra int64
	Example              json.RawMessage
	Nulls                []int64
	Partitions           []struct {
		File string
		By   []string
		Rows int64
		Sums []*string
	}
}

// compareFiles lets the foreign readers read every file.
func compareFiles(t *testing.T, tables map[string]*expected, copied string) []compared {
	t.Helper()
	type planned struct {
		Name      string             `json:"name"`
		Format    encoding.Format    `json:"format"`
		Separator encoding.Separator `json:"separator,omitempty"`
		Files     []string           `json:"files"`
	}
	dir := t.TempDir()
	plan := struct {
		Source    string          `json:"source"`
		Schema    json.RawMessage `json:"schema"`
		Partition []string        `json:"partition"`
		Sums      []string        `json:"sums"`
		Tables    []planned       `json:"tables"`
	}{Source: filepath.Join(dir, "source.ndjson"), Schema: testdata.Schema, Partition: []string{"date", "account_id"}, Sums: sums}
	for _, id := range slices.Sorted(maps.Keys(tables)) {
		tb := tables[id]
		p := planned{Name: id, Format: tb.FileFormat, Separator: tb.Separator}
		for _, key := range slices.Sorted(maps.Keys(tb.rows)) {
			p.Files = append(p.Files, filepath.Join(copied, filepath.FromSlash(key)))
		}
		plan.Tables = append(plan.Tables, p)
	}
	rows, err := io.ReadAll(testdata.Ads())
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	planFile := filepath.Join(dir, "plan.json")
	if err := errors.Join(os.WriteFile(plan.Source, rows, 0o600), os.WriteFile(planFile, text, 0o600)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", "../../testdata/foreign/compare.mjs", planFile)
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("compare.mjs: %v\n%s", err, stderr.String())
	}
	var results []compared
	if err := json.Unmarshal(out, &results); err != nil {
		t.Fatalf("compare.mjs: %v", err)
	}
	var said []string
	for _, c := range results {
		said = append(said, c.Table+" "+c.Reader)
	}
	want := []string{
		"demo-avro avsc", "demo-avro polars", "demo-csv duckdb", "demo-csv-gzip duckdb", "demo-json duckdb", "demo-json node",
		"demo-json-gzip duckdb", "demo-json-gzip node", "demo-parquet duckdb", "demo-parquet polars",
	}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Fatalf("the readers that compare.mjs used (-want +got):\n%s", diff)
	}
	return results
}

// check holds what a reader read against the source and the truth.
func (c compared) check(t *testing.T, tb *expected, truth *adrows.Truth, copied string) {
	if c.Rows != truth.Rows || c.Missing != 0 || c.Extra != 0 {
		t.Errorf("%d rows, %d of the source missing, %d that it has not; want %d, 0, 0; for example %s",
			c.Rows, c.Missing, c.Extra, truth.Rows, c.Example)
	}
	for i, n := range truth.Nulls {
		if c.Nulls[i] != n.Nulls {
			t.Errorf("column %s has %d nulls, want %d", n.Column, c.Nulls[i], n.Nulls)
		}
	}
	// DuckDB's own reading of JSON makes doubles of decimals: their sums come
	// from the other reading of the same files.
	doubles := c.Reader == "duckdb" && (tb.FileFormat == encoding.JSON || tb.FileFormat == encoding.JSONGzip)
	wrong := 0
	for _, p := range c.Partitions {
		at := part{keyOf(t, copied, p.File), p.By[0], p.By[1]}
		want, ok := tb.parts[at]
		got := []string{strconv.FormatInt(p.Rows, 10)}
		for i, sum := range p.Sums {
			switch {
			case sum != nil:
				got = append(got, *sum)
			case doubles && ok && (sums[i] == "spend" || sums[i] == "revenue"):
				got = append(got, want[i+1])
			default:
				got = append(got, "none")
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			if wrong++; wrong <= 5 {
				t.Errorf("%s holds rows of %s, %q with these counts and sums (-want +got):\n%s", at.key, at.day, at.account, diff)
			}
		}
	}
	if len(c.Partitions) != len(tb.parts) || wrong > 0 {
		t.Errorf("%d account days in the files, %d of them wrong; want %d, 0", len(c.Partitions), wrong, len(tb.parts))
	}
}
