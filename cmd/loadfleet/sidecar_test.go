package main

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSidecarIsReadyForDuckDB loads a table that grows, with Hive folders and
// without, and DuckDB runs the statements beside it: every row of both loads comes
// back, typed. A second load of the same columns leaves the sidecars as they are.
func TestSidecarIsReadyForDuckDB(t *testing.T) {
	t.Parallel()
	needForeignReaders(t)
	h := startHome(t)
	schema := func(name, more string) string {
		return h.write(t, name, `[{"name":"date","type":"date"},{"name":"account","type":"string"},{"name":"n","type":"int64"},
			{"name":"spend","type":"decimal(18,6)"},{"name":"at","type":"timestamp"},{"name":"ok","type":"bool"}`+more+`]`)
	}
	first, second := schema("first.json", ""), schema("second.json", `,{"name":"extra","type":"json"}`)
	const row = `{"date":"2024-06-18","account":"acme/eu","n":1,"spend":"12.5","at":"2024-06-18T12:15:17.25Z","ok":true}` + "\n"
	const later = `{"date":"2024-06-19","account":"007","n":null,"spend":"0.000001","at":null,"ok":false,"extra":{"a":[1]}}` + "\n"
	columns := []string{"date", "account", "n", "spend", "at", "ok", "extra"}
	want := map[string]any{
		"types": []any{"DATE", "VARCHAR", "BIGINT", "DECIMAL(18,6)", "TIMESTAMP WITH TIME ZONE", "BOOLEAN", "JSON"},
		"rows": []any{
			[]any{"2024-06-18", "acme/eu", "1", "12.500000", "2024-06-18 12:15:17.25+00", "true", nil},
			[]any{"2024-06-19", "007", nil, "0.000001", nil, "false", `{"a":[1]}`},
		},
	}
	for _, test := range []struct {
		id, folder string
		lines      []string
	}{
		{"parquet", "parquet/{{filename}}/date={{YYYY}}-{{MM}}-{{DD}}/account={{account}}", []string{"file_format: parquet", "partition_columns: drop"}},
		{"flat", "flat/{{filename}}/{{YYYY}}", []string{"file_format: json", "manifest: on", "manifest_forms: [success]"}},
		{"csv", "csv/{{filename}}/account={{account}}", []string{"file_format: csv+gzip", "separator: tab", "partition_columns: drop"}},
	} {
		h.applyAcme(t, test.id, append(test.lines, "load_by_account: true", "file_name: '{{account}}-{{YYYY}}{{MM}}{{DD}}'", "schema_sidecar: on", "folder: '"+test.folder+"'")...)
		publish := func(extraction, rows, schema string) string {
			return h.run(t, exitOK, rows, "publish", "-", "--format", "ndjson", "--destination", test.id, "--table", "ads", "--schema", schema,
				"--date-column", "date", "--account-column", "account", "--extraction", test.id+extraction, "--wait").out
		}
		publish("-1", row, first)
		publish("-2", later, second)
		if out := publish("-3", later, second); !strings.Contains(out, "7 unchanged") && !strings.Contains(out, "1 loaded, 7 unchanged") {
			t.Errorf("%s: the same again: got %q, want every object unchanged", test.id, out)
		}
		h.run(t, exitOK, "", "verify", test.id+"-3")
		for _, file := range []string{"schema", "athena.sql", "redshift.sql", "snowflake.sql", "bigquery.sql"} {
			if text := h.object(t, test.id+"/ads/_schema/ads."+file); !strings.Contains(text, "extra") || !strings.Contains(text, "ads") {
				t.Errorf("%s: %s does not describe the table:\n%s", test.id, file, text)
			}
		}
		dir := h.download(t, "")
		script, err := filepath.Abs("../../testdata/foreign/ddl.mjs")
		if err != nil {
			t.Fatal(err)
		}
		var stderr strings.Builder
		sql := filepath.Join(dir, test.id, "ads", "_schema", "ads.duckdb.sql")
		cmd := exec.CommandContext(t.Context(), "node", append([]string{script, sql, "s3://acme/", dir + "/", "ads"}, columns...)...)
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s\n%s", test.id, err, stderr.String(), h.object(t, test.id+"/ads/_schema/ads.duckdb.sql"))
		}
		var got map[string]any
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("%v in %s", err, out)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.id, diff)
		}
	}
}
