package worker

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
)

func TestEveryFindingHasARemedy(t *testing.T) {
	seen := map[FindingKind]bool{}
	for _, kind := range FindingKinds() {
		if kind.Remedy() == "" || seen[kind] {
			t.Errorf("%s: remedy %q, seen before: %t", kind, kind.Remedy(), seen[kind])
		}
		seen[kind] = true
	}
}

// TestTallyIsBounded: a bucket that was emptied must not fill the memory too.
func TestTallyIsBounded(t *testing.T) {
	ta := tally{most: 2, report: Report{Found: map[FindingKind]int64{}}}
	for _, key := range []string{"c", "b", "a"} {
		ta.found(FindingMissingObject, &messages.Outcome{Key: key}, "gone")
	}
	r := ta.done()
	if len(r.Findings) != 2 || r.Found[FindingMissingObject] != 3 || r.Findings[0].Key != "b" || r.OK() {
		t.Errorf("%+v, want two of three findings, by key", r)
	}
}

func TestDownload(t *testing.T) {
	text := strings.Repeat("bytes of an object ", 1000)
	broke := errors.New("connection reset")
	for _, c := range []struct {
		name string
		body io.Reader
		size int64
		want error
	}{
		{"whole", strings.NewReader(text), int64(len(text)), nil},
		{"empty", strings.NewReader(""), 0, nil},
		{"shorter than its length", strings.NewReader(text[:100]), int64(len(text)), errBrokenOff},
		{"reset on the way", io.MultiReader(strings.NewReader(text[:100]), iotest.ErrReader(broke)), int64(len(text)), errBrokenOff},
	} {
		for name, memory := range map[string]int64{"memory": 1 << 20, "file": 10} {
			t.Run(c.name+"/"+name, func(t *testing.T) {
				d, err := download(c.body, c.size, memory, t.TempDir())
				if !errors.Is(err, c.want) {
					t.Fatalf("error %v, want %v", err, c.want)
				}
				if err != nil {
					return
				}
				defer d.close()
				got, err := io.ReadAll(io.NewSectionReader(d, 0, c.size))
				if err != nil || !bytes.Equal(got, []byte(text[:c.size])) || d.sum != sha256.Sum256(got) {
					t.Errorf("%d bytes, error %v, want the object's", len(got), err)
				}
				c.body = strings.NewReader(text[:c.size]) // for the other half
			})
		}
	}
}

func TestPartitionCheck(t *testing.T) {
	schema := mustSchema(t, `[{"name":"day","type":"date"},{"name":"account","type":"int64"}]`)
	const text = `{"day":"2024-02-01","account":1}
{"day":"2024-02-29","account":1}
{"day":"2024-03-01","account":1}
{"day":null,"account":1}
{"day":"2024-02-01","account":2}
{"day":"2024-02-01","account":null}
`
	for _, c := range []struct {
		name     string
		fileName string
		account  bool
		undated  string
		column   string // date_column
		key      string
		strays   int64
		first    string // of the stray rows, as its error says
	}{
		{"month and account", "{{account}}-{{YYYY}}-{{MM}}", true, "reject", "day", "1-2024-02.json", 4, "row 3: its key is 1-2024-03.json"},
		{"month", "{{YYYY}}-{{MM}}", false, "reject", "day", "2024-02.json", 2, "row 3: its key is 2024-03.json"},
		{"undated by the load", "{{YYYY}}-{{MM}}", false, "load_date", "day", "2024-06.json", 5, "row 1: its key is 2024-02.json"},
		{"no date column", "{{YYYY}}-{{MM}}-{{DD}}", false, "reject", "", "2024-06-20.json", 0, ""},
		{"keys without dates", "all-{{H}}", false, "reject", "day", "all-12.json", 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			check, err := newPartitionCheck(
				&messages.Commit{WorkspaceID: "w", Filename: "ads", DateColumn: c.column, AccountColumn: "account"},
				&messages.PinnedPlan{
					Folder: "/", FileName: c.fileName, File: messages.FileSpec{Format: encoding.JSON}, By: "day", Account: c.account,
					Undated: c.undated, Schema: schema, Time: time.Date(2024, 6, 20, 12, 0, 0, 0, time.UTC),
				})
			if err != nil {
				t.Fatal(err)
			}
			var strays int64
			var first string
			d := encoding.NewDecoder(schema, encoding.DecodeOptions{}, func(rows *encoding.Rows) error {
				n, err := check.strays(rows, c.key)
				if strays = n; err != nil {
					first = err.Error()
				}
				return nil
			})
			if _, err := d.Decode(1, encoding.NDJSONInput, encoding.Plain, strings.NewReader(text)); err != nil {
				t.Fatal(err)
			}
			if err := d.Flush(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]any{c.strays, c.first}, []any{strays, first}); diff != "" {
				t.Errorf("strays and the first's reason (-want +got):\n%s", diff)
			}
		})
	}
}

func mustSchema(t *testing.T, columns string) *encoding.Schema {
	t.Helper()
	var s encoding.Schema
	if err := s.UnmarshalJSON([]byte(columns)); err != nil {
		t.Fatal(err)
	}
	return &s
}
