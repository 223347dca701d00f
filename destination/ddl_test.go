package destination

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/loadfleet/loadfleet/encoding"
)

// tableOf is a table of awkward names with every type.
func tableOf(t *testing.T, format encoding.Format, partitions bool) *Table {
	t.Helper()
	var columns []encoding.Column
	for _, c := range [][2]string{{"date", "date"}, {"account", "string"}, {"n", "int64"}, {"x", "float64"}, {"spend", "decimal(18,6)"},
		{"ok", "bool"}, {"at", "timestamp"}, {"it's `a` \"name\"", "json"}} {
		of, err := encoding.ParseType(c[1])
		if err != nil {
			t.Fatal(err)
		}
		columns = append(columns, encoding.Column{Name: c[0], Type: of})
	}
	schema, err := encoding.NewSchema(columns)
	if err != nil {
		t.Fatal(err)
	}
	s := &Settings{Bucket: "acme", Folder: "out/{{filename}}/{{YYYY}}", FileName: "{{account}}", FileFormat: format, Separator: encoding.Tab, LoadByAccount: true}
	var without []string
	if partitions {
		s.Folder = "out/{{filename}}/date={{YYYY}}-{{MM}}-{{DD}}/account={{account}}"
		if without, err = PartitionColumnsIn(s.Folder, schema, "date", "account"); err != nil {
			t.Fatal(err)
		}
	}
	n, err := s.Naming()
	if err != nil {
		t.Fatal(err)
	}
	table, err := n.TableOf(Names{Filename: "ads"}, s, s.Folder, schema, without)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestTableOf(t *testing.T) {
	table := tableOf(t, encoding.CSV, true)
	if table.Folder != "out/ads/" || table.Glob != "out/ads/date=*-*-*/account=*/*.csv" || table.Columns.Len() != 6 || len(table.Partitions) != 2 {
		t.Errorf("got %+v", table)
	}
	text, err := table.JSON()
	if err != nil {
		t.Fatal(err)
	}
	var read Table
	if err := json.Unmarshal(text, &read); err != nil || !read.Columns.Equal(table.Columns) {
		t.Errorf("JSON: %v\n%s", err, text)
	}
	flat := tableOf(t, encoding.Parquet, false)
	if flat.Folder != "out/ads/" || flat.Glob != "out/ads/*/*.parquet" || len(flat.Partitions) != 0 {
		t.Errorf("got %+v", flat)
	}
}

// What each dialect must be told, for each kind of file.
func TestDDL(t *testing.T) {
	for _, test := range []struct {
		format     encoding.Format
		partitions bool
		dialect    Dialect
		says       []string
	}{
		{encoding.Parquet, true, Athena, []string{"CREATE EXTERNAL TABLE IF NOT EXISTS `ads` (\n  `n` bigint", "`spend` decimal(18,6)", "`at` timestamp", "`it's ``a`` \"name\"` string",
			"PARTITIONED BY (\n  `date` date,\n  `account` string\n)", "STORED AS PARQUET", "LOCATION 's3://acme/out/ads/'", "MSCK REPAIR TABLE `ads`"}},
		{encoding.CSV, false, Athena, []string{"`n` string", "OpenCSVSerde", `'separatorChar' = '\t'`, "skip.header.line.count", `CREATE OR REPLACE VIEW "ads_typed"`, `CAST(NULLIF("n", '') AS bigint) AS "n"`, `from_iso8601_timestamp(NULLIF("at", ''))`}},
		{encoding.JSONGzip, false, Athena, []string{"JsonSerDe", "`at` string", "`n` bigint"}},
		{encoding.Avro, false, Athena, []string{"avro.schema.literal", "STORED AS AVRO", `it''s`}},
		{encoding.Parquet, false, Redshift, []string{`CREATE TABLE IF NOT EXISTS "ads"`, `"at" timestamp`, "COPY \"ads\" FROM 's3://acme/out/ads/'", "FORMAT AS PARQUET"}},
		{encoding.CSVGzip, false, Redshift, []string{`DELIMITER '\t' IGNOREHEADER 1`, " GZIP"}},
		{encoding.Parquet, true, Redshift, []string{"CREATE EXTERNAL TABLE <SCHEMA>.\"ads\"", "PARTITIONED BY", "STORED AS PARQUET"}},
		{encoding.Parquet, true, Snowflake, []string{"CREATE EXTERNAL TABLE IF NOT EXISTS", `"n" NUMBER(19,0) AS (VALUE:"n"::NUMBER(19,0))`, `REGEXP_SUBSTR(METADATA$FILENAME, 'account=([^/]*)/', 1, 1, 'e')::VARCHAR`, `PARTITION BY ("date", "account")`, "PATTERN = '(.*/)?date=[^/]*-[^/]*-[^/]*/account=[^/]*/[^/]*[.]parquet'"}},
		{encoding.CSV, false, Snowflake, []string{"VALUE:c3::NUMBER(19,0)", "SKIP_HEADER = 1"}},
		{encoding.JSON, true, BigQuery, []string{"NEWLINE_DELIMITED_JSON", "WITH PARTITION COLUMNS (\n  `date` DATE", "uris = ['s3://acme/out/ads/date=*']", "hive_partition_uri_prefix = 's3://acme/out/ads'"}},
		{encoding.CSVGzip, false, BigQuery, []string{"format = 'CSV'", "compression = 'GZIP'", "skip_leading_rows = 1"}},
		{encoding.Parquet, true, DuckDB, []string{"read_parquet('s3://acme/out/ads/date=*-*-*/account=*/*.parquet'", "hive_types = {'date': DATE, 'account': VARCHAR}", `CAST("spend" AS DECIMAL(18,6)) AS "spend"`}},
		{encoding.Avro, false, DuckDB, []string{"read_avro("}},
	} {
		text, err := tableOf(t, test.format, test.partitions).DDL(test.dialect)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range test.says {
			if !strings.Contains(text, want) {
				t.Errorf("%s for %s: lacks %q:\n%s", test.format, test.dialect, want, text)
			}
		}
	}
	if _, err := tableOf(t, encoding.CSV, false).DDL("oracle"); err == nil {
		t.Error("an unknown dialect: got no error")
	}
}

// A sidecar lies beside the table's files.
func TestSidecarKey(t *testing.T) {
	for _, test := range [][3]string{
		{"out/{{filename}}/{{YYYY}}", "out/a%2Fb/_schema/a%2Fb.schema", "out/a%2Fb/*/*.json"},
		{"/", "_schema/a%2Fb.schema", "*.json"},
		{"{{YYYY}}", "_schema/a%2Fb.schema", "*/*.json"},
		{"{{workspace_id}}/x", "ws/x/_schema/a%2Fb.schema", "ws/x/*.json"},
	} {
		s := Settings{Folder: test[0], FileName: "{{account}}", FileFormat: encoding.JSON, LoadByAccount: true}
		n, err := s.Naming()
		if err != nil {
			t.Fatal(err)
		}
		names := Names{WorkspaceID: "ws", Filename: "a/b"}
		key, err := n.SidecarKey(names, "schema")
		if err != nil {
			t.Fatal(err)
		}
		_, glob, err := n.TableFolder(names)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{test[1], test[2]}, []string{key, glob}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test[0], diff)
		}
	}
}
