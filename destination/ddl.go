package destination

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/loadfleet/loadfleet/encoding"
)

// Table is what a reader needs to know to read a table's files.
type Table struct {
	Name      string             `json:"table"`
	Bucket    string             `json:"bucket"`
	Folder    string             `json:"folder"` // of all files, "" or ending in a slash
	Glob      string             `json:"glob"`   // of their keys
	Format    encoding.Format    `json:"format"`
	Separator encoding.Separator `json:"separator,omitempty"`
	Columns   *encoding.Schema   `json:"columns"` // in the files
	// Partitions are the columns that only the folders' names hold, in the order of
	// the folders.
	Partitions []encoding.Column `json:"partition_columns"`
}

// Dialect names who reads a table.
type Dialect string

// The dialects.
const (
	Athena    Dialect = "athena"
	Redshift  Dialect = "redshift"
	Snowflake Dialect = "snowflake"
	BigQuery  Dialect = "bigquery"
	DuckDB    Dialect = "duckdb"
)

// Dialects lists every dialect.
func Dialects() []Dialect { return []Dialect{Athena, Redshift, Snowflake, BigQuery, DuckDB} }

// TableOf describes the table of an extraction: schema is all its columns, and
// without are those that the files leave out.
func (n *Naming) TableOf(names Names, s *Settings, folder string, schema *encoding.Schema, without []string) (*Table, error) {
	t := &Table{Name: names.Filename, Bucket: s.Bucket, Partitions: []encoding.Column{}}
	t.Format, t.Separator, _ = s.File()
	var err error
	if t.Folder, t.Glob, err = n.TableFolder(names); err != nil {
		return nil, err
	}
	if t.Columns, err = schema.Without(without); err != nil {
		return nil, err
	}
	levels, err := HiveLevels(folder)
	if err != nil {
		return nil, err
	}
	for _, level := range levels {
		if i, ok := schema.Index(level.Name); ok && slices.Contains(without, level.Name) {
			t.Partitions = append(t.Partitions, schema.Column(i))
		}
	}
	return t, nil
}

// JSON is the description for programs, always the same bytes for the same table.
func (t *Table) JSON() ([]byte, error) {
	b, err := json.MarshalIndent(t, "", "  ")
	return append(b, '\n'), err
}

// DDL is what makes the table known to a reader: statements that may be run as
// they are but for what stands in capitals in angle brackets, which only the
// reader's owner knows. It never removes anything.
func (t *Table) DDL(d Dialect) (string, error) {
	switch d {
	case Athena:
		return t.athena(), nil
	case Redshift:
		return t.redshift(), nil
	case Snowflake:
		return t.snowflake(), nil
	case BigQuery:
		return t.bigquery(), nil
	case DuckDB:
		return t.duckdb(), nil
	}
	return "", fmt.Errorf("no dialect is called %q", d)
}

func (t *Table) url() string { return "s3://" + t.Bucket + "/" + t.Folder }

func (t *Table) csv() bool {
	return t.Format == encoding.CSV || t.Format == encoding.CSVGzip
}

func (t *Table) json() bool {
	return t.Format == encoding.JSON || t.Format == encoding.JSONGzip
}

func (t *Table) gzip() bool {
	return t.Format == encoding.CSVGzip || t.Format == encoding.JSONGzip
}

// columns writes a list of columns, one a line.
func columns(list []encoding.Column, one func(encoding.Column) string) string {
	var all []string
	for _, c := range list {
		all = append(all, "  "+one(c))
	}
	return strings.Join(all, ",\n")
}

// sqlText is a string literal, sqlName a quoted name; both double their quotes.
func sqlText(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
func sqlName(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

// backquoted is a name of Athena and BigQuery.
func backquoted(s string) string { return "`" + strings.ReplaceAll(s, "`", "``") + "`" }

// sqlTypes are the names of a dialect's types by kind; a decimal's has %d,%d.
type sqlTypes map[encoding.Kind]string

func (m sqlTypes) of(t encoding.Type) string {
	if name := m[t.Kind]; t.Kind != encoding.Decimal || !strings.Contains(name, "%d") {
		return name
	}
	return fmt.Sprintf(m[encoding.Decimal], t.Precision, t.Scale)
}

var athenaTypes = sqlTypes{
	encoding.String: "string", encoding.Int64: "bigint", encoding.Float64: "double", encoding.Decimal: "decimal(%d,%d)",
	encoding.Bool: "boolean", encoding.Date: "date", encoding.Timestamp: "timestamp", encoding.JSONText: "string",
}

// athenaType is how Athena reads a column of the files: text formats have no
// timestamps in the form that it parses, and its reader of CSV knows text only.
func (t *Table) athenaType(c encoding.Column) string {
	if t.csv() || t.json() && c.Type.Kind == encoding.Timestamp {
		return "string"
	}
	return athenaTypes.of(c.Type)
}

func (t *Table) athena() string {
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE EXTERNAL TABLE IF NOT EXISTS %s (\n%s\n)\n", backquoted(t.Name),
		columns(t.Columns.Columns(), func(c encoding.Column) string { return backquoted(c.Name) + " " + t.athenaType(c) }))
	if len(t.Partitions) > 0 {
		fmt.Fprintf(&b, "PARTITIONED BY (\n%s\n)\n", columns(t.Partitions, func(c encoding.Column) string { return backquoted(c.Name) + " " + athenaTypes.of(c.Type) }))
	}
	properties := ""
	switch {
	case t.csv():
		fmt.Fprintf(&b, "ROW FORMAT SERDE 'org.apache.hadoop.hive.serde2.OpenCSVSerde'\nWITH SERDEPROPERTIES ('separatorChar' = '%s', 'quoteChar' = '\"', 'escapeChar' = '\"')\n", escapedSeparator(t.Separator))
		properties = "TBLPROPERTIES ('skip.header.line.count' = '1')\n"
	case t.json():
		b.WriteString("ROW FORMAT SERDE 'org.openx.data.jsonserde.JsonSerDe'\n")
	case t.Format == encoding.Avro:
		fmt.Fprintf(&b, "ROW FORMAT SERDE 'org.apache.hadoop.hive.serde2.avro.AvroSerDe'\nWITH SERDEPROPERTIES ('avro.schema.literal' = %s)\nSTORED AS AVRO\n",
			sqlText(string(encoding.AvroSchema(t.Columns))))
	default:
		b.WriteString("STORED AS PARQUET\n")
	}
	fmt.Fprintf(&b, "LOCATION %s\n%s;\n", sqlText(t.url()), properties)
	if len(t.Partitions) > 0 {
		fmt.Fprintf(&b, "\n-- After each load that brings new folders:\nMSCK REPAIR TABLE %s;\n", backquoted(t.Name))
	}
	if t.csv() {
		fmt.Fprintf(&b, "\n-- The reader of CSV gives text: this view gives the types.\nCREATE OR REPLACE VIEW %s AS\nSELECT\n%s\nFROM %s;\n", sqlName(t.Name+"_typed"),
			columns(append(t.Columns.Columns(), t.Partitions...), t.athenaCast), sqlName(t.Name))
	}
	return b.String()
}

func (t *Table) athenaCast(c encoding.Column) string {
	name := sqlName(c.Name)
	if _, inFile := t.Columns.Index(c.Name); !inFile {
		return name
	}
	text := "NULLIF(" + name + ", '')"
	switch c.Type.Kind {
	case encoding.String, encoding.JSONText:
		return name
	case encoding.Timestamp:
		return "from_iso8601_timestamp(" + text + ") AS " + name
	}
	return "CAST(" + text + " AS " + athenaTypes.of(c.Type) + ") AS " + name
}

func escapedSeparator(s encoding.Separator) string {
	if s == encoding.Tab {
		return `\t`
	}
	return string(s.Byte())
}

var redshiftTypes = sqlTypes{
	encoding.String: "varchar(65535)", encoding.Int64: "bigint", encoding.Float64: "double precision", encoding.Decimal: "decimal(%d,%d)",
	encoding.Bool: "boolean", encoding.Date: "date", encoding.Timestamp: "timestamp", encoding.JSONText: "varchar(65535)",
}

// redshift is a table and the COPY that fills it; where folders hold columns,
// which COPY does not read, a table of Spectrum.
func (t *Table) redshift() string {
	typed := func(c encoding.Column) string { return sqlName(c.Name) + " " + redshiftTypes.of(c.Type) }
	if len(t.Partitions) > 0 {
		format := "STORED AS PARQUET"
		switch {
		case t.csv():
			format = fmt.Sprintf("ROW FORMAT SERDE 'org.apache.hadoop.hive.serde2.OpenCSVSerde'\nWITH SERDEPROPERTIES ('separatorChar' = '%s', 'quoteChar' = '\"')\nSTORED AS TEXTFILE", escapedSeparator(t.Separator))
		case t.json():
			format = "ROW FORMAT SERDE 'org.openx.data.jsonserde.JsonSerDe'\nSTORED AS TEXTFILE"
		case t.Format == encoding.Avro:
			format = "STORED AS AVRO"
		}
		tail := ";\n"
		if t.csv() {
			tail = "\nTABLE PROPERTIES ('skip.header.line.count' = '1');\n"
		}
		return fmt.Sprintf("-- Redshift Spectrum: add each folder with ALTER TABLE ... ADD PARTITION, or through the Glue catalog.\nCREATE EXTERNAL TABLE <SCHEMA>.%s (\n%s\n)\nPARTITIONED BY (\n%s\n)\n%s\nLOCATION %s%s",
			sqlName(t.Name), columns(t.Columns.Columns(), typed), columns(t.Partitions, typed), format, sqlText(t.url()), tail)
	}
	format := "FORMAT AS PARQUET"
	switch {
	case t.csv():
		format = fmt.Sprintf("CSV DELIMITER '%s' IGNOREHEADER 1 DATEFORMAT 'auto' TIMEFORMAT 'auto' EMPTYASNULL", escapedSeparator(t.Separator))
	case t.json():
		format = "FORMAT AS JSON 'auto' DATEFORMAT 'auto' TIMEFORMAT 'auto'"
	case t.Format == encoding.Avro:
		format = "FORMAT AS AVRO 'auto'"
	}
	if t.gzip() {
		format += " GZIP"
	}
	return fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s (\n%s\n);\n\nCOPY %s FROM %s\nIAM_ROLE '<ROLE ARN>'\n%s;\n", sqlName(t.Name),
		columns(t.Columns.Columns(), typed), sqlName(t.Name), sqlText("s3://"+t.Bucket+"/"+t.prefix()), format)
}

// prefix is the constant part of the table's keys, up to the first "*".
func (t *Table) prefix() string {
	prefix, _, _ := strings.Cut(t.Glob, "*")
	return prefix
}

var snowflakeTypes = sqlTypes{
	encoding.String: "VARCHAR", encoding.Int64: "NUMBER(19,0)", encoding.Float64: "DOUBLE", encoding.Decimal: "NUMBER(%d,%d)",
	encoding.Bool: "BOOLEAN", encoding.Date: "DATE", encoding.Timestamp: "TIMESTAMP_NTZ", encoding.JSONText: "VARIANT",
}

func (t *Table) snowflake() string {
	format := "TYPE = PARQUET"
	switch {
	case t.csv():
		format = fmt.Sprintf("TYPE = CSV FIELD_DELIMITER = '%s' SKIP_HEADER = 1 FIELD_OPTIONALLY_ENCLOSED_BY = '\"' EMPTY_FIELD_AS_NULL = TRUE", escapedSeparator(t.Separator))
	case t.json():
		format = "TYPE = JSON"
	case t.Format == encoding.Avro:
		format = "TYPE = AVRO"
	}
	at := 0
	column := func(c encoding.Column) string {
		at++
		value := "VALUE:" + sqlName(c.Name)
		if t.csv() {
			value = fmt.Sprintf("VALUE:c%d", at)
		}
		if c.Type.Kind == encoding.JSONText {
			return fmt.Sprintf("%s VARIANT AS (PARSE_JSON(%s::VARCHAR))", sqlName(c.Name), value)
		}
		kind := snowflakeTypes.of(c.Type)
		return fmt.Sprintf("%s %s AS (%s::%s)", sqlName(c.Name), kind, value, kind)
	}
	partition := func(c encoding.Column) string {
		kind := snowflakeTypes.of(c.Type)
		return fmt.Sprintf("%s %s AS (REGEXP_SUBSTR(METADATA$FILENAME, %s, 1, 1, 'e')::%s)", sqlName(c.Name), kind, sqlText(c.Name+"=([^/]*)/"), kind)
	}
	all := columns(t.Columns.Columns(), column)
	by := ""
	if len(t.Partitions) > 0 {
		all += ",\n" + columns(t.Partitions, partition)
		var names []string
		for _, c := range t.Partitions {
			names = append(names, sqlName(c.Name))
		}
		by = "PARTITION BY (" + strings.Join(names, ", ") + ")\n"
	}
	stage := sqlName(t.Name + "_files")
	return fmt.Sprintf(`CREATE STAGE IF NOT EXISTS %s
  URL = %s
  STORAGE_INTEGRATION = <INTEGRATION>;

CREATE EXTERNAL TABLE IF NOT EXISTS %s (
%s
)
%sLOCATION = @%s
PATTERN = %s
AUTO_REFRESH = FALSE
FILE_FORMAT = (%s);

-- After each load:
ALTER EXTERNAL TABLE %s REFRESH;
`, stage, sqlText(t.url()), sqlName(t.Name), all, by, stage, sqlText("(.*/)?"+t.pattern()), format, sqlName(t.Name))
}

// pattern is the table's glob below its folder as a regular expression.
func (t *Table) pattern() string {
	rest := strings.TrimPrefix(t.Glob, t.Folder)
	var b strings.Builder
	for _, r := range rest {
		switch {
		case r == '*':
			b.WriteString("[^/]*")
		case r == '^' || r == '\\': // in brackets they are no letters
			b.WriteByte('.')
		case strings.ContainsRune(`.+?()[]{}|$`, r):
			b.WriteString(`[` + string(r) + `]`)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

var bigqueryTypes = sqlTypes{
	encoding.String: "STRING", encoding.Int64: "INT64", encoding.Float64: "FLOAT64", encoding.Decimal: "BIGNUMERIC(%d,%d)",
	encoding.Bool: "BOOL", encoding.Date: "DATE", encoding.Timestamp: "TIMESTAMP", encoding.JSONText: "STRING",
}

func (t *Table) bigquery() string {
	typed := func(c encoding.Column) string { return backquoted(c.Name) + " " + bigqueryTypes.of(c.Type) }
	options := []string{"format = 'PARQUET'"}
	switch {
	case t.csv():
		options = []string{"format = 'CSV'", "skip_leading_rows = 1", fmt.Sprintf("field_delimiter = '%s'", escapedSeparator(t.Separator)), "allow_quoted_newlines = TRUE"}
	case t.json():
		options = []string{"format = 'NEWLINE_DELIMITED_JSON'"}
	case t.Format == encoding.Avro:
		options = []string{"format = 'AVRO'", "enable_logical_types = TRUE"}
	}
	if t.gzip() {
		options = append(options, "compression = 'GZIP'")
	}
	prefix, _, _ := strings.Cut(t.Glob, "*")
	options = append(options, fmt.Sprintf("uris = [%s]", bigqueryText("s3://"+t.Bucket+"/"+prefix+"*")))
	by := ""
	if len(t.Partitions) > 0 {
		by = "WITH PARTITION COLUMNS (\n" + columns(t.Partitions, typed) + "\n)\n"
		options = append(options, fmt.Sprintf("hive_partition_uri_prefix = %s", bigqueryText(strings.TrimSuffix(t.url(), "/"))))
	}
	return fmt.Sprintf("-- BigQuery Omni: the dataset is in the bucket's region, and the connection may read the bucket.\nCREATE EXTERNAL TABLE IF NOT EXISTS `<DATASET>`.%s (\n%s\n)\n%sWITH CONNECTION `<REGION.CONNECTION>`\nOPTIONS (\n  %s\n);\n",
		backquoted(t.Name), columns(t.Columns.Columns(), typed), by, strings.Join(options, ",\n  "))
}

func bigqueryText(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

var duckdbTypes = sqlTypes{
	encoding.String: "VARCHAR", encoding.Int64: "BIGINT", encoding.Float64: "DOUBLE", encoding.Decimal: "DECIMAL(%d,%d)",
	encoding.Bool: "BOOLEAN", encoding.Date: "DATE", encoding.Timestamp: "TIMESTAMPTZ", encoding.JSONText: "JSON",
}

func (t *Table) duckdb() string {
	list := func(of []encoding.Column) string {
		var all []string
		for _, c := range of {
			all = append(all, sqlText(c.Name)+": "+sqlText(duckdbTypes.of(c.Type)))
		}
		return "{" + strings.Join(all, ", ") + "}"
	}
	options := ""
	read := "read_parquet"
	switch {
	case t.csv():
		read = "read_csv"
		options = fmt.Sprintf(", header = true, delim = '%s', quote = '\"', escape = '\"', nullstr = '', allow_quoted_nulls = false, union_by_name = true, types = %s", escapedSeparator(t.Separator), list(t.Columns.Columns()))
	case t.json():
		read, options = "read_json", ", format = 'newline_delimited', columns = "+list(t.Columns.Columns())
	case t.Format == encoding.Avro:
		read = "read_avro"
	default:
		options = ", union_by_name = true"
	}
	if len(t.Partitions) > 0 {
		var hive []string
		for _, c := range t.Partitions {
			hive = append(hive, sqlText(c.Name)+": "+duckdbTypes.of(c.Type))
		}
		options += ", hive_partitioning = true, hive_types = {" + strings.Join(hive, ", ") + "}"
	}
	return fmt.Sprintf("CREATE OR REPLACE VIEW %s AS\nSELECT\n%s\nFROM %s(%s%s);\n", sqlName(t.Name),
		columns(append(t.Columns.Columns(), t.Partitions...), func(c encoding.Column) string {
			return fmt.Sprintf("CAST(%s AS %s) AS %s", sqlName(c.Name), duckdbTypes.of(c.Type), sqlName(c.Name))
		}), read, sqlText("s3://"+t.Bucket+"/"+t.Glob), options)
}
