package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/apache/arrow/go/v17/arrow/array"
	arrowmemory "github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"
	"github.com/hamba/avro/v2/ocf"

	"github.com/loadfleet/loadfleet/encoding"
)

// What a world of chaos loads: rows that can be told from each other, into
// files whose keys and content are worked out here anew, by nothing that
// loadfleet itself uses.

// chaosRow is one row. All fields take part in comparisons.
type chaosRow struct {
	Day     string `json:"day"`
	Account string `json:"account"`
	ID      string `json:"id"`
	N       int64  `json:"n"`
	Note    string `json:"note"`
}

func (r chaosRow) String() string {
	if len(r.Note) > 40 {
		r.Note = r.Note[:40] + "..."
	}
	return fmt.Sprintf("%+v", struct {
		Day, Account, ID string
		N                int64
		Note             string
	}(r))
}

const chaosSchema = `[{"name":"day","type":"date"},{"name":"account","type":"string"},{"name":"id","type":"string"},
	{"name":"n","type":"int64"},{"name":"note","type":"string"}]`

// chaosTarget is a destination: how its files are named and read.
type chaosTarget struct {
	id, bucket string
	form       string // of its document, beyond what all share
	format     encoding.Format
	key        func(table string, r chaosRow) string
	read       func([]byte) ([]chaosRow, error)
	whole      bool // its files hold several days: equal only when all of them are
	covers     bool // its extractions are complete for all days: those without rows are deleted
}

const (
	chaosWorkspace = "ws1"
	chaosBucket    = "chaos"
	shutBucket     = "shut" // denies access for a while
)

// chaosTargets is one destination per format, one whose objects are
// deleted when they have no rows any more, and one that is shut at times.
func chaosTargets() []*chaosTarget {
	day := func(folder, extension string) func(string, chaosRow) string {
		return func(table string, r chaosRow) string {
			return folder + "/" + table + "-" + r.Day + extension
		}
	}
	return []*chaosTarget{{
		id: "csv", bucket: chaosBucket, format: encoding.CSV, key: day("csv", ".csv"), read: readCSV(';'),
		form: "folder: /csv\nfile_name: \"{{filename}}-{{YYYY}}-{{MM}}-{{DD}}\"\nfile_format: csv\nseparator: semicolon",
	}, {
		id: "csv-gzip", bucket: chaosBucket, format: encoding.CSVGzip, read: unzipped(readCSV('\t')),
		key: func(table string, r chaosRow) string {
			return "gz/" + r.Account + "/" + table + "-" + r.Account + "-" + strings.ReplaceAll(r.Day, "-", "") + ".csv.gz"
		},
		form: "folder: \"/gz/{{account}}\"\nfile_name: \"{{filename}}-{{account}}-{{YYYY}}{{MM}}{{DD}}\"\nfile_format: csv+gzip\nseparator: tab\nload_by_account: true",
	}, {
		id: "json", bucket: chaosBucket, format: encoding.JSON, read: readJSON,
		key: func(table string, r chaosRow) string {
			return "json/" + r.Day[:4] + "/" + table + "_" + r.Account + "_" + r.Day[5:7] + r.Day[8:] + ".json"
		},
		form: "folder: /json/{{YYYY}}\nfile_name: \"{{filename}}_{{account}}_{{MM}}{{DD}}\"\nfile_format: json\nload_by_account: true",
	}, {
		id: "json-gzip", bucket: chaosBucket, format: encoding.JSONGzip, key: day("jgz", ".json.gz"), read: unzipped(readJSON),
		form: "folder: /jgz\nfile_name: \"{{filename}}-{{YYYY}}-{{MM}}-{{DD}}\"\nfile_format: json+gzip",
	}, {
		id: "parquet", bucket: chaosBucket, format: encoding.Parquet, read: readParquetRows, whole: true,
		key: func(table string, r chaosRow) string {
			return "pq/" + r.Day[:4] + "/" + table + "." + r.Day[5:7] + ".parquet"
		},
		form: "folder: /pq/{{YYYY}}\nfile_name: \"{{filename}}.{{MM}}\"\nfile_format: parquet\npartition_by: month\npartial_month: replace",
	}, {
		id: "avro", bucket: chaosBucket, format: encoding.Avro, key: day("avro", ".avro"), read: readAvroRows,
		form: "folder: /avro\nfile_name: \"{{filename}}-{{YYYY}}-{{MM}}-{{DD}}\"\nfile_format: avro",
	}, {
		id: "gone", bucket: chaosBucket, format: encoding.CSV, key: day("gone", ".csv"), read: readCSV(','), covers: true,
		form: "folder: /gone\nfile_name: \"{{filename}}-{{YYYY}}-{{MM}}-{{DD}}\"\nfile_format: csv\nempty_partition: delete",
	}, {
		id: "shut", bucket: shutBucket, format: encoding.CSV, key: day("in", ".csv"), read: readCSV(','),
		form: "folder: /in\nfile_name: \"{{filename}}-{{YYYY}}-{{MM}}-{{DD}}\"\nfile_format: csv",
	}}
}

// chaosDays are the days around the end of a month.
const chaosDays = 7

func chaosDay(n int) string {
	return time.Date(2024, 1, 29, 0, 0, 0, 0, time.UTC).AddDate(0, 0, n).Format(time.DateOnly)
}

// rowsOf makes the rows of some days. Equal arguments give equal rows: that is
// how content is restated.
func rowsOf(content uint64, table string, days []int, large bool) []chaosRow {
	var all []chaosRow
	for _, d := range days {
		random := rand.New(rand.NewPCG(content, uint64(d)))
		n := 1 + random.IntN(12)
		if large {
			n = 1400
		}
		for i := range n {
			r := chaosRow{
				Day: chaosDay(d), Account: fmt.Sprintf("acc%d", random.IntN(3)), ID: fmt.Sprintf("%s/%x/%d/%d", table, content, d, i),
				N: random.Int64N(1 << 40), Note: notes[random.IntN(len(notes))],
			}
			if large {
				r.Account = "acc0"
				b := make([]byte, 3000)
				for j := range b {
					b[j] = byte(random.Uint32())
				}
				r.Note = base64.StdEncoding.EncodeToString(b)
			}
			all = append(all, r)
		}
	}
	return all
}

var notes = []string{"plain", `"quoted", and; separated`, "two\nlines", "tab\there", "ünïcode ☃", "", " spaces ", "0", "=1+1", "{}"}

// ndjson is the rows as an extractor sends them.
func ndjson(rows []chaosRow) []byte {
	var b bytes.Buffer
	for _, r := range rows {
		line, err := json.Marshal(r)
		if err != nil {
			panic(err) // strings and numbers
		}
		b.Write(line)
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// The readers of files. Each fails on a column that is not of a chaosRow.

func unzipped(read func([]byte) ([]chaosRow, error)) func([]byte) ([]chaosRow, error) {
	return func(b []byte) ([]chaosRow, error) {
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, err
		}
		text, err := io.ReadAll(z)
		if err != nil {
			return nil, err
		}
		return read(text)
	}
}

func readCSV(comma rune) func([]byte) ([]chaosRow, error) {
	return func(b []byte) ([]chaosRow, error) {
		r := csv.NewReader(bytes.NewReader(b))
		r.Comma = comma
		lines, err := r.ReadAll()
		if err != nil {
			return nil, err
		}
		if len(lines) == 0 || strings.Join(lines[0], ",") != "day,account,id,n,note" {
			return nil, errors.New("no header row of the columns")
		}
		var all []chaosRow
		for _, l := range lines[1:] {
			row := chaosRow{Day: l[0], Account: l[1], ID: l[2], Note: l[4]}
			if _, err := fmt.Sscan(l[3], &row.N); err != nil {
				return nil, err
			}
			all = append(all, row)
		}
		return all, nil
	}
}

func readJSON(b []byte) ([]chaosRow, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var all []chaosRow
	for {
		var r chaosRow
		if err := d.Decode(&r); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
}

func readParquetRows(b []byte) ([]chaosRow, error) {
	f, err := file.NewParquetReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := pqarrow.NewFileReader(f, pqarrow.ArrowReadProperties{BatchSize: 1 << 20}, arrowmemory.DefaultAllocator)
	if err != nil {
		return nil, err
	}
	records, err := r.GetRecordReader(context.Background(), nil, nil)
	if err != nil {
		return nil, err
	}
	defer records.Release()
	var all []chaosRow
	for records.Next() {
		rec := records.Record()
		day, ok1 := rec.Column(0).(*array.Date32)
		account, ok2 := rec.Column(1).(*array.String)
		id, ok3 := rec.Column(2).(*array.String)
		n, ok4 := rec.Column(3).(*array.Int64)
		note, ok5 := rec.Column(4).(*array.String)
		if rec.NumCols() != 5 || !ok1 || !ok2 || !ok3 || !ok4 || !ok5 {
			return nil, fmt.Errorf("its columns are %s", rec.Schema())
		}
		for i := range int(rec.NumRows()) {
			all = append(all, chaosRow{
				Day: day.Value(i).FormattedString(), Account: strings.Clone(account.Value(i)), ID: strings.Clone(id.Value(i)),
				N: n.Value(i), Note: strings.Clone(note.Value(i)),
			})
		}
	}
	if err := records.Err(); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return all, nil
}

func readAvroRows(b []byte) ([]chaosRow, error) {
	d, err := ocf.NewDecoder(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	var all []chaosRow
	for d.HasNext() {
		var record map[string]any
		if err := d.Decode(&record); err != nil {
			return nil, err
		}
		for name, v := range record {
			if union, ok := v.(map[string]any); ok {
				for _, v := range union {
					record[name] = v
				}
			}
		}
		var row chaosRow
		day, ok1 := record["day"].(time.Time)
		n, ok2 := record["n"].(int64)
		row.Account, _ = record["account"].(string)
		row.ID, _ = record["id"].(string)
		row.Note, _ = record["note"].(string)
		if !ok1 || !ok2 || len(record) != 5 {
			return nil, fmt.Errorf("a record is %v", record)
		}
		row.Day, row.N = day.Format(time.DateOnly), n
		all = append(all, row)
	}
	return all, d.Error()
}
