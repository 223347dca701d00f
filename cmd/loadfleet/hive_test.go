package main

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestHiveFoldersReadBack leaves the partition columns out of the files, and
// DuckDB and Polars read them from the folders' names, as they were.
func TestHiveFoldersReadBack(t *testing.T) {
	t.Parallel()
	needForeignReaders(t)
	h := startHome(t)
	rows := `{"date":"2024-06-18","account":"acme/eu ü","n":1}
{"date":"2024-06-18","account":"007","n":2}
{"date":"2024-06-19","account":"acme/eu ü","n":3}
{"date":"2024-06-19","account":"a=b","n":null}
`
	schema := h.write(t, "schema.json", `[{"name":"date","type":"date"},{"name":"account","type":"string"},{"name":"n","type":"int64"}]`)
	want := [][]any{{"2024-06-18", "007", "2"}, {"2024-06-18", "acme/eu ü", "1"}, {"2024-06-19", "a=b", nil}, {"2024-06-19", "acme/eu ü", "3"}}
	for _, format := range []string{"parquet", "csv", "json"} {
		h.applyHive(t, format)
		h.run(t, exitOK, rows, "publish", "-", "--format", "ndjson", "--destination", format, "--table", "ads", "--schema", schema,
			"--date-column", "date", "--account-column", "account", "--extraction", "hive-"+format, "--wait")
		h.run(t, exitOK, "", "verify", "hive-"+format)
		got := h.readHive(t, map[string]any{
			"folder": h.download(t, format+"/"), "glob": "ads/date=*/account=*/*." + format, "format": format,
			"types": map[string]string{"date": "DATE", "account": "VARCHAR"}, "columns": []string{"date", "account", "n"},
		})
		for reader, rows := range got {
			if diff := cmp.Diff(want, rows); diff != "" {
				t.Errorf("%s by %s (-want +got):\n%s", format, reader, diff)
			}
		}
		if format == "csv" {
			if text := h.object(t, "csv/ads/date=2024-06-18/account=007/007.csv"); text != "n\n2\n" {
				t.Errorf("the file holds %q, want the columns of no folder only", text)
			}
		}
	}
}

// applyHive stores a destination of Hive-style folders that leaves their columns
// out of the files.
func (h *home) applyHive(t *testing.T, format string, lines ...string) {
	t.Helper()
	h.applyAcme(t, format, append([]string{
		"file_format: " + format, "load_by_account: true", "file_name: '{{account}}'", "partition_columns: drop",
		"folder: '" + format + "/{{filename}}/date={{YYYY}}-{{MM}}-{{DD}}/account={{account}}'",
	}, lines...)...)
}

// download copies all that lies under a prefix of the home's bucket.
func (h *home) download(t *testing.T, prefix string) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "aws", "s3", "cp", "--recursive", "--only-show-errors", "--endpoint-url", h.variable("AWS_ENDPOINT_URL"), "s3://acme/"+prefix, dir)
	cmd.Env = append(h.env, "LC_ALL=C.UTF-8", "PYTHONIOENCODING=utf-8")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("aws s3 cp: %v\n%s", err, out)
	}
	return dir
}

func (h *home) readHive(t *testing.T, plan map[string]any) map[string][][]any {
	t.Helper()
	text, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	script, err := filepath.Abs("../../testdata/foreign/hive.mjs")
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd := exec.CommandContext(t.Context(), "node", script, h.write(t, "plan.json", string(text)))
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("hive.mjs: %v\n%s", err, stderr.String())
	}
	var got map[string][][]any
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("hive.mjs: %v in %s", err, out)
	}
	return got
}
