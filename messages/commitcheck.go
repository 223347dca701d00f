package messages

import (
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/loadfleet/loadfleet/encoding"
)

// The fields that a reader of version 1 knows, in the order in which help
// lists them.
var (
	commitFields = []string{
		"version", "extraction", "workspace_id", "workspace_title", "destination",
		"data_source", "data_table_title", "report_type", "filename",
		"schema", "unknown_columns", "date_column", "account_column", "covers",
		"generation", "lane", "rows", "batches", "files",
	}
	columnFields   = []string{"name", "type"}
	manifestFields = []string{"rows", "sha256"}
)

// What to write where something must be written.
const (
	remedyID         = "write 1 to 64 letters, digits, dashes and underscores"
	remedyFilename   = "write the destination table's name"
	remedyGeneration = "write a number that grows with every extraction of the table, such as its start in Unix milliseconds"
	remedyRows       = "write how many rows all batches hold together"
	remedyBatches    = `list {"rows", "sha256"} of every batch in the order of their ordinals, [] when there is none`
	remedyBatchRows  = "write how many rows the batch holds"
	remedySHA256     = "write the SHA-256 of the message body as published, in 64 lower-case hex digits"
)

// MaxName bounds the names and titles of a commit, in bytes: a key, which is
// made of them, holds no more.
const MaxName = 1024

// readCommit reads the fields and reports what is missing or of a wrong type;
// what the values say is for check. Of a newer version nothing is read but the
// names that the subject is checked against: this program cannot know what the
// other fields mean.
func readCommit(body []byte, found *mistakes) (c Commit, tooNew bool) {
	unknown := &mistakes{reason: found.reason}
	o, ok := readObject(body, "", commitFields, unknown)
	var version int64
	if ok {
		version, _ = o.integer("version")
	}
	if version > Version {
		o.found = found
		c.WorkspaceID, c.Extraction = o.text("workspace_id"), o.text("extraction")
		return c, checkVersion(version, "version", found)
	}
	found.list = append(found.list, unknown.list...)
	o.found = found
	if !ok {
		return c, false
	}
	if o.need("version", "write "+strconv.Itoa(Version)) {
		c.Version = int(version)
	}
	for _, f := range []struct {
		to     *string
		name   string
		remedy string // when the field must be there
	}{
		{&c.Extraction, "extraction", "write the extraction's id, as in the subject"},
		{&c.WorkspaceID, "workspace_id", "write the workspace's id, as in the subject"},
		{&c.WorkspaceTitle, "workspace_title", ""},
		{&c.Destination, "destination", "write the id of the destination to load to"},
		{&c.DataSource, "data_source", ""},
		{&c.DataTableTitle, "data_table_title", ""},
		{&c.ReportType, "report_type", ""},
		{&c.Filename, "filename", remedyFilename},
		{&c.DateColumn, "date_column", ""},
		{&c.AccountColumn, "account_column", ""},
	} {
		if f.remedy == "" || o.need(f.name, f.remedy) {
			*f.to = o.text(f.name)
		}
	}
	c.Schema = readSchema(&o)
	c.Covers = readCovers(&o)
	c.UnknownColumns, c.Lane = UnknownColumns(o.text("unknown_columns")), Lane(o.text("lane"))
	if c.UnknownColumns == "" {
		c.UnknownColumns = RejectUnknown
	}
	if c.Lane == "" {
		c.Lane = Fresh
	}
	if o.need("generation", remedyGeneration) {
		c.Generation, _ = o.integer("generation")
	}
	if o.need("rows", remedyRows) {
		c.Rows, _ = o.integer("rows")
	}
	if o.need("batches", remedyBatches) {
		c.Batches = readManifests(&o)
	}
	c.Files = readFiles(&o)
	return c, false
}

func readSchema(o *object) *encoding.Schema {
	list, ok := o.list("schema")
	if !ok {
		return nil
	}
	before := len(o.found.list)
	columns := make([]encoding.Column, 0, len(list))
	seen := make(map[string]int, len(list))
	for i, raw := range list {
		path := fmt.Sprintf("schema[%d].", i)
		e, ok := readObject(raw, path, columnFields, o.found)
		if !ok {
			continue
		}
		var col encoding.Column
		if e.need("name", "name the column") {
			col.Name = e.text("name")
		}
		if first, twice := seen[col.Name]; twice && col.Name != "" {
			o.found.add(path+"name", "take one of the two out", "column %q stands twice, in schema[%d] too", clip(col.Name, 80), first)
		}
		seen[col.Name] = i
		if e.need("type", "use string, int64, float64, decimal(p,s), bool, date, timestamp or json") {
			if t := e.text("type"); !o.found.about(path + "type") {
				var err error
				if col.Type, err = encoding.ParseType(t); err != nil {
					o.found.add(path+"type", "", "%s", err)
				}
			}
		}
		columns = append(columns, col)
	}
	if len(o.found.list) > before {
		return nil
	}
	s, err := encoding.NewSchema(columns)
	if err != nil {
		o.found.add("schema", "list the table's columns, or leave the schema out to have it inferred", "%s", err)
		return nil
	}
	return s
}

func readManifests(o *object) []BatchManifest {
	list, _ := o.list("batches")
	batches := make([]BatchManifest, 0, len(list))
	for i, raw := range list {
		path := fmt.Sprintf("batches[%d].", i)
		var b BatchManifest
		if e, ok := readObject(raw, path, manifestFields, o.found); ok {
			if e.need("rows", remedyBatchRows) {
				b.Rows, _ = e.integer("rows")
			}
			if e.need("sha256", remedySHA256) {
				b.SHA256 = e.text("sha256")
			}
		}
		batches = append(batches, b)
	}
	return batches
}

// check reports every value that cannot be. A field already reported is passed
// over, so that no mistake is told twice.
func (c *Commit) check(found *mistakes) {
	flaw := func(field, remedy, format string, args ...any) {
		if !found.about(field) {
			found.add(field, remedy, format, args...)
		}
	}
	if c.Version != Version {
		flaw("version", "write "+strconv.Itoa(Version), "there is no version %d", c.Version)
	}
	for _, f := range [][2]string{{"extraction", c.Extraction}, {"workspace_id", c.WorkspaceID}, {"destination", c.Destination}} {
		if !ValidID(f[1]) {
			flaw(f[0], remedyID, "%q cannot be an id", clip(f[1], 2*MaxID))
		}
	}
	if c.Filename == "" {
		flaw("filename", remedyFilename, "empty")
	}
	for _, f := range [][2]string{
		{"workspace_title", c.WorkspaceTitle}, {"data_source", c.DataSource}, {"data_table_title", c.DataTableTitle},
		{"report_type", c.ReportType}, {"filename", c.Filename}, {"date_column", c.DateColumn}, {"account_column", c.AccountColumn},
	} {
		if len(f[1]) > MaxName {
			flaw(f[0], fmt.Sprintf("write at most %d bytes", MaxName), "%d bytes long: no key can hold it", len(f[1]))
		}
		if !utf8.ValidString(f[1]) {
			flaw(f[0], "write UTF-8", "%q is not UTF-8", clip(f[1], 80))
		}
	}
	if c.UnknownColumns != "" && c.UnknownColumns != RejectUnknown && c.UnknownColumns != IgnoreUnknown {
		flaw("unknown_columns", "write reject or ignore", "%q is no policy", clip(string(c.UnknownColumns), 80))
	}
	if c.Lane != "" && c.Lane != Fresh && c.Lane != Backfill {
		flaw("lane", "write fresh or backfill", "%q is no lane of commits", clip(string(c.Lane), 80))
	}
	if c.Generation <= 0 {
		flaw("generation", remedyGeneration, "%d is not above zero", c.Generation)
	}
	c.checkColumns(flaw)
	c.checkCovers(flaw)
	c.checkFiles(flaw)
	c.checkCounts(found, flaw)
}

type flawFunc func(field, remedy, format string, args ...any)

func (c *Commit) checkColumns(flaw flawFunc) {
	if c.DateColumn != "" && c.DateColumn == c.AccountColumn {
		flaw("account_column", "name two different columns", "%q is the date_column", clip(c.AccountColumn, 80))
	}
	if c.Schema == nil {
		return
	}
	names := make([]string, 0, c.Schema.Len())
	for _, col := range c.Schema.Columns() {
		names = append(names, col.Name)
	}
	for _, f := range []struct {
		field, column string
		kinds         [2]encoding.Kind
	}{
		{"date_column", c.DateColumn, [2]encoding.Kind{encoding.Date, encoding.Timestamp}},
		{"account_column", c.AccountColumn, [2]encoding.Kind{encoding.String, encoding.Int64}},
	} {
		if f.column == "" {
			continue
		}
		i, ok := c.Schema.Index(f.column)
		if !ok {
			remedy := "name a column of the schema"
			if near := nearest(f.column, names); near != "" {
				remedy = "did you mean " + near + "?"
			}
			flaw(f.field, remedy, "the schema has no column %q", clip(f.column, 80))
		} else if k := c.Schema.Column(i).Type.Kind; k != f.kinds[0] && k != f.kinds[1] {
			flaw(f.field, fmt.Sprintf("declare it %s or %s in the schema", f.kinds[0], f.kinds[1]),
				"column %q is of type %s", clip(f.column, 80), c.Schema.Column(i).Type)
		}
	}
}

func (c *Commit) checkCounts(found *mistakes, flaw flawFunc) {
	if c.Rows < 0 {
		flaw("rows", remedyRows, "%d is below zero", c.Rows)
	}
	if len(c.Batches) > MaxBatches {
		flaw("batches", "publish larger batches: 1 to 4 MB each", "%d batches: at most %d are taken", len(c.Batches), MaxBatches)
		return
	}
	list, one := "batches", "batch"
	if len(c.Files) > 0 {
		list, one = "files", "file"
	}
	var sum int64
	countable := !found.about("rows") && !found.about(list)
	for i, b := range c.Parts() {
		field := list + "[" + strconv.Itoa(i) + "]"
		if b.Rows < 0 {
			flaw(field+".rows", "write how many rows the "+one+" holds", "%s %d: %d is below zero", one, i+1, b.Rows)
		}
		if !validSHA256(b.SHA256) && !found.about(field) {
			remedy := remedySHA256
			if list == "files" {
				remedy = remedyStagedSum
			}
			flaw(field+".sha256", remedy, "%s %d: %q is not a SHA-256", one, i+1, clip(b.SHA256, 80))
		}
		countable = countable && b.Rows >= 0 && !found.about(field+".rows") && !found.about(field)
		if countable && b.Rows > math.MaxInt64-sum {
			found.as(ReasonCount, list, "write how many rows each "+one+" holds", "the rows of all %s add up to more than 64 bits hold", list)
			return
		}
		if countable {
			sum += b.Rows
		}
	}
	if countable && sum != c.Rows {
		found.as(ReasonCount, "rows", "make rows the sum of the "+list+"' rows", "%d, but the %s add up to %d", c.Rows, list, sum)
	}
}

func validSHA256(s string) bool {
	if len(s) != 64 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// foreign reports a name that is not the subject's. The subject is what the
// server let this publisher write; the body is only a claim.
func foreign(found *mistakes, field, claimed, subject string) {
	if subject != "" && claimed != "" && claimed != subject {
		found.as(ReasonWorkspace, field, "write "+strconv.Quote(subject)+", or publish on the other's subject",
			"%q is not the subject's, which is %q", clip(claimed, 2*MaxID), subject)
	}
}
