package destination

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/loadfleet/loadfleet/encoding"
)

func day0(year, month, day int) int32 { return dayOf(year, month, day) }

func namesFixture() Names {
	return Names{
		WorkspaceID: "ws1", WorkspaceTitle: "main_group", DataSource: "ds1", DataTableTitle: "dt1",
		ReportType: "rt1", Filename: "some_name", Load: time.Date(2024, 6, 20, 12, 15, 17, 999, time.UTC),
	}
}

func sameNames(v string) Names {
	return Names{WorkspaceID: v, WorkspaceTitle: v, DataSource: v, DataTableTitle: v, ReportType: v, Filename: v, Load: namesFixture().Load}
}

func naming(t *testing.T, s Settings) *Naming {
	t.Helper()
	if s.FileFormat == "" {
		s.FileFormat = encoding.CSV
	}
	n, err := s.Naming()
	if err != nil {
		t.Fatalf("Naming: %v", err)
	}
	return n
}

// checkKey checks what is promised of every key.
func checkKey(t *testing.T, n *Naming, key string) {
	t.Helper()
	switch {
	case !utf8.ValidString(key):
		t.Fatalf("key %q is not UTF-8", key)
	case len(key) > MaxKey:
		t.Fatalf("key %q is %d bytes long", key, len(key))
	case !strings.HasPrefix(key, n.Prefix()):
		t.Fatalf("key %q is not under %q", key, n.Prefix())
	}
	for _, level := range strings.Split(key, "/") {
		if level == "" || level == "." || level == ".." {
			t.Fatalf("key %q has the level %q", key, level)
		}
	}
}

// The examples of SPEC 4, word for word.
func TestKeySpecExamples(t *testing.T) {
	names := namesFixture()
	names.Load = time.Date(2024, 6, 18, 12, 15, 17, 0, time.UTC)
	n := naming(t, Settings{Folder: "/{{workspace_id}}/{{workspace_title}}/{{data_source}}/{{report_type}}/{{YYYY}}/{{MM}}/{{DD_today}}", FileName: "x"})
	// The partition's date is of another year: the folder's is today's.
	if got, err := n.Key(names, day0(2023, 1, 2), ""); err != nil || got != "ws1/main_group/ds1/rt1/2024/06/18/x.csv" {
		t.Errorf("Key = %q, %v", got, err)
	}
	names.Load = time.Date(2024, 6, 20, 12, 15, 17, 0, time.UTC)
	n = naming(t, Settings{Folder: "/", FileName: "{{ filename }}-{{ YYYY }}-{{ MM }}-{{ DD_today }}T{{ H }}{{ M }}{{ S }}"})
	if got, err := n.Key(names, day0(2023, 1, 2), ""); err != nil || got != "some_name-2024-06-20T121517.csv" {
		t.Errorf("Key = %q, %v", got, err)
	}
	n = naming(t, Settings{Folder: "/", FileName: "{{filename}}{{YYYY}}{{MM}}{{DD}}"})
	if got, err := n.Key(names, day0(2024, 6, 20), ""); err != nil || got != "some_name20240620.csv" {
		t.Errorf("Key = %q, %v", got, err)
	}
}

func TestKey(t *testing.T) {
	tests := []struct {
		name    string
		s       Settings
		day     int32
		account string
		want    string
	}{
		{"root", Settings{Folder: "/", FileName: "{{filename}}"}, 0, "", "some_name.csv"},
		{"folder", Settings{Folder: "/a/b/", FileName: "{{filename}}"}, 0, "", "a/b/some_name.csv"},
		{"every name", Settings{Folder: "{{workspace_id}}.{{workspace_title}}.{{data_source}}.{{data_table_title}}.{{report_type}}.{{filename}}", FileName: "x"}, 0, "", "ws1.main_group.ds1.dt1.rt1.some_name/x.csv"},
		{"date", Settings{Folder: "{{YYYY}}/{{MM}}", FileName: "{{DD}}"}, day0(2024, 2, 29), "", "2024/02/29.csv"},
		{"before 1970", Settings{Folder: "/", FileName: "{{YYYY}}{{MM}}{{DD}}"}, -1, "", "19691231.csv"},
		{"first year", Settings{Folder: "/", FileName: "{{YYYY}}{{MM}}{{DD}}"}, day0(1, 1, 1), "", "00010101.csv"},
		{"last year", Settings{Folder: "/", FileName: "{{YYYY}}{{MM}}{{DD}}"}, day0(9999, 12, 31), "", "99991231.csv"},
		{"timestamp", Settings{Folder: "/", FileName: "{{timestamp}}"}, 0, "", "20240620T121517Z.csv"},
		{"today in the file name leaves the folder alone", Settings{Folder: "{{YYYY}}/{{MM}}", FileName: "{{YYYY}}{{MM}}{{DD_today}}"}, day0(2023, 1, 2), "", "2023/01/20240620.csv"},
		{"today in the folder leaves the file name alone", Settings{Folder: "{{YYYY}}/{{MM}}/{{DD_today}}", FileName: "{{YYYY}}{{MM}}{{DD}}"}, day0(2023, 1, 2), "", "2024/06/20/20230102.csv"},
		{"the partition's day beside today", Settings{Folder: "/", FileName: "{{DD}}-{{YYYY}}{{MM}}{{DD_today}}"}, day0(2023, 1, 2), "", "02-20240620.csv"},
		{"account", Settings{Folder: "account={{account}}", FileName: "{{account}}", LoadByAccount: true}, 0, "a/b=1", "account=a%2Fb%3D1/a%2Fb%3D1.csv"},
		{"account of dots", Settings{Folder: "{{account}}", FileName: "x", LoadByAccount: true}, 0, "..", "%2E%2E/x.csv"},
		{"account beside literal dots", Settings{Folder: ".{{account}}", FileName: "x", LoadByAccount: true}, 0, ".", ".%2E/x.csv"},
		{"csv+gzip", Settings{Folder: "/", FileName: "x", FileFormat: encoding.CSVGzip}, 0, "", "x.csv.gz"},
		{"json", Settings{Folder: "/", FileName: "x", FileFormat: encoding.JSON}, 0, "", "x.json"},
		{"json+gzip", Settings{Folder: "/", FileName: "x", FileFormat: encoding.JSONGzip}, 0, "", "x.json.gz"},
		{"parquet", Settings{Folder: "/", FileName: "x", FileFormat: encoding.Parquet}, 0, "", "x.parquet"},
		{"avro", Settings{Folder: "/", FileName: "x", FileFormat: encoding.Avro}, 0, "", "x.avro"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := naming(t, tt.s)
			got, err := n.Key(namesFixture(), tt.day, tt.account)
			if err != nil || got != tt.want {
				t.Fatalf("Key(%d, %q) = %q, %v, want %q", tt.day, tt.account, got, err, tt.want)
			}
			checkKey(t, n, got)
		})
	}
}

// The load's instant counts in UTC, whatever zone it came in.
func TestKeyTodayIsUTC(t *testing.T) {
	n := naming(t, Settings{Folder: "/", FileName: "{{YYYY}}{{MM}}{{DD_today}}{{H}}"})
	names := namesFixture()
	names.Load = time.Date(2024, 7, 1, 1, 0, 0, 0, time.FixedZone("east", 2*60*60))
	if got, err := n.Key(names, 0, ""); err != nil || got != "2024063023.csv" {
		t.Errorf("Key = %q, %v, want 2024063023.csv", got, err)
	}
}

func TestKeyRefuses(t *testing.T) {
	long := strings.Repeat("x", MaxKey)
	tests := []struct {
		name    string
		s       Settings
		names   Names
		day     int32
		account string
		want    string // the reason
	}{
		{"too long", Settings{Folder: "/", FileName: "{{filename}}"}, Names{Filename: long}, 0, "", "it is 1028 bytes long, and S3 takes no more than 1024"},
		{"too long when escaped", Settings{Folder: "/", FileName: "{{filename}}"}, Names{Filename: strings.Repeat("/", 341)}, 0, "", "it is 1027 bytes long, and S3 takes no more than 1024"},
		{"no account", Settings{Folder: "a", FileName: "{{account}}"}, Names{}, 0, "", "{{account}} is empty, and a key cannot hold an empty name"},
		{"no title", Settings{Folder: "{{workspace_title}}", FileName: "x"}, Names{}, 0, "", "{{workspace_title}} is empty, and a key cannot hold an empty name"},
		{"year 10000", Settings{Folder: "/", FileName: "{{YYYY}}"}, Names{}, day0(10000, 1, 1), "", "the date 2932897 days from 1970-01-01 is outside of the years 1 to 9999"},
		{"year 0", Settings{Folder: "/", FileName: "{{DD}}"}, Names{}, day0(0, 12, 31), "", "the date -719163 days from 1970-01-01 is outside of the years 1 to 9999"},
		{"no load", Settings{Folder: "/", FileName: "{{timestamp}}"}, Names{}, 0, "", "the load's start is not known or outside of the years 1 to 9999"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			key, err := naming(t, tt.s).Key(tt.names, tt.day, tt.account)
			var got *KeyError
			if !errors.As(err, &got) || got.Reason != tt.want || key != "" {
				t.Fatalf("Key = %q, %v, want *KeyError %q", key, err, tt.want)
			}
			if empty := strings.Contains(tt.want, "empty name"); empty != (got.Empty != "") || !strings.Contains(tt.want, got.Empty) {
				t.Errorf("the empty variable is %q, want that of %q", got.Empty, tt.want)
			}
			if len(err.Error()) > 300 {
				t.Errorf("the message is %d bytes long", len(err.Error()))
			}
		})
	}
	n := naming(t, Settings{Folder: "/", FileName: "{{filename}}"})
	if key, err := n.Key(Names{Filename: long[:MaxKey-4]}, math.MaxInt32, ""); err != nil || len(key) != MaxKey {
		t.Errorf("a key of exactly %d bytes: %d bytes, %v", MaxKey, len(key), err)
	}
}

// P11: within one extraction two partitions share a key only if they agree in
// every variable of the templates, with whatever separator, or none.
func TestKeysOfPartitionsNeverMeet(t *testing.T) {
	templates := []Settings{
		{Folder: "/", FileName: "{{account}}{{DD}}"},
		{Folder: "/", FileName: "{{DD}}{{account}}"},
		{Folder: "/", FileName: "{{YYYY}}{{account}}{{MM}}{{account}}{{DD}}"},
		{Folder: "{{account}}{{MM}}", FileName: "{{DD}}{{account}}{{filename}}"},
		{Folder: "{{DD}}/{{account}}", FileName: "{{account}}-{{YYYY}}"},
		{Folder: "/", FileName: "{{account}}{{timestamp}}{{account}}"},
		{Folder: "1{{account}}1/1", FileName: "1{{account}}1{{MM}}1"},
	}
	random := rand.New(rand.NewPCG(1, 2))
	letters := []string{"0", "1", "12", "/", "%", ".", "_", "-", " ", "2F", "\xFF", "ä", "%2F", "A", "a"}
	accounts := make([]string, 300)
	for i := range accounts {
		for range 1 + random.IntN(4) {
			accounts[i] += letters[random.IntN(len(letters))]
		}
	}
	names := namesFixture()
	names.Filename = "1"
	for _, s := range templates {
		n := naming(t, s)
		seen := map[string]string{}
		for _, a := range accounts {
			for range 40 {
				d := int32(random.IntN(1000))
				key, err := n.Key(names, d, a)
				if err != nil {
					t.Fatalf("%s/%s: Key(%d, %q): %v", s.Folder, s.FileName, d, a, err)
				}
				checkKey(t, n, key)
				if levels := strings.Count(strings.Trim(s.Folder, "/")+"/x", "/"); s.Folder != "/" && strings.Count(key, "/") != levels {
					t.Fatalf("%s/%s: Key(%d, %q) = %q has another number of levels", s.Folder, s.FileName, d, a, key)
				}
				date := civil(d)
				partition := fmt.Sprintf("%q", a)
				for i, v := range []value{year, month, day} {
					if n.has[v] {
						partition += fmt.Sprintf(" %d", []int{date.year, date.month, date.day}[i])
					}
				}
				if other, taken := seen[key]; taken && other != partition {
					t.Fatalf("%s/%s: the partitions %s and %s share the key %q", s.Folder, s.FileName, partition, other, key)
				}
				seen[key] = partition
			}
		}
	}
}

func TestSpan(t *testing.T) {
	d := day0(2024, 2, 10)
	tests := []struct {
		name     string
		fileName string
		from, to int32
		ok       bool
	}{
		{"day", "{{YYYY}}{{MM}}{{DD}}", d, d, true},
		{"month", "{{YYYY}}{{MM}}", day0(2024, 2, 1), day0(2024, 2, 29), true},
		{"year", "{{YYYY}}", day0(2024, 1, 1), day0(2024, 12, 31), true},
		{"all", "x", day0(1, 1, 1), day0(9999, 12, 31), true},
		{"all with today", "{{YYYY}}{{MM}}{{DD_today}}", day0(1, 1, 1), day0(9999, 12, 31), true},
		{"days of many months", "{{DD}}", 0, 0, false},
		{"months of many years", "{{MM}}", 0, 0, false},
		{"no month", "{{YYYY}}{{DD}}", 0, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := naming(t, Settings{Folder: "/", FileName: tt.fileName})
			from, to, ok := n.Span(d)
			if from != tt.from || to != tt.to || ok != tt.ok {
				t.Fatalf("Span = %v, %v, %v, want %v, %v, %v", civil(from), civil(to), ok, civil(tt.from), civil(tt.to), tt.ok)
			}
			if !ok {
				return
			}
			key := func(day int32) string {
				k, err := n.Key(namesFixture(), day, "")
				if err != nil {
					return ""
				}
				return k
			}
			if key(from) != key(d) || key(to) != key(d) {
				t.Errorf("the ends of the span have other keys")
			}
			if n.Dated() && (key(from-1) == key(d) || key(to+1) == key(d)) {
				t.Errorf("days beyond the span have the same key")
			}
		})
	}
	if _, _, ok := naming(t, Settings{Folder: "/", FileName: "x"}).Span(math.MaxInt32); ok {
		t.Error("a day without a year of four digits has a span")
	}
}

func TestNamingAnswers(t *testing.T) {
	tests := []struct {
		name                            string
		s                               Settings
		prefix                          string
		dated, timed, byAccount, byMnth bool
	}{
		{"constant folder", Settings{Folder: "/a/b", FileName: "{{filename}}"}, "a/b/", false, false, false, false},
		{"constant head", Settings{Folder: "/a/b-{{MM}}", FileName: "x", PartitionBy: ByMonth}, "a/b-", true, false, false, true},
		{"constant name", Settings{Folder: "/", FileName: "x-{{account}}", LoadByAccount: true}, "x-", false, false, true, false},
		{"all constant", Settings{Folder: "a", FileName: "x"}, "a/x.csv", false, false, false, false},
		{"nothing constant", Settings{Folder: "{{workspace_id}}/a", FileName: "x"}, "", false, false, false, false},
		{"today is no date of the partition", Settings{Folder: "/", FileName: "{{YYYY}}{{DD_today}}"}, "", false, true, false, false},
		{"day beside today", Settings{Folder: "/", FileName: "{{DD}}{{DD_today}}"}, "", true, true, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := naming(t, tt.s)
			if n.Prefix() != tt.prefix || n.Dated() != tt.dated || n.Timed() != tt.timed || n.ByAccount() != tt.byAccount || n.ByMonth() != tt.byMnth {
				t.Errorf("prefix %q, dated %v, timed %v, by account %v, by month %v", n.Prefix(), n.Dated(), n.Timed(), n.ByAccount(), n.ByMonth())
			}
		})
	}
}

func TestSample(t *testing.T) {
	n := naming(t, Settings{Folder: "{{workspace_id}}", FileName: "{{account}}-{{YYYY}}{{MM}}", LoadByAccount: true})
	got, err := n.Sample(Names{WorkspaceID: "ws9"}, "a", "b/c")
	if err != nil {
		t.Fatal(err)
	}
	want := []Sampled{
		{Key: "ws9/a-202405.csv", Days: []string{"2024-05-31"}, Account: "a"},
		{Key: "ws9/a-202406.csv", Days: []string{"2024-06-18", "2024-06-19"}, Account: "a"},
		{Key: "ws9/b%2Fc-202405.csv", Days: []string{"2024-05-31"}, Account: "b/c"},
		{Key: "ws9/b%2Fc-202406.csv", Days: []string{"2024-06-18", "2024-06-19"}, Account: "b/c"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Sample (-want +got):\n%s", diff)
	}
	names := namesFixture()
	names.Load = time.Date(2024, 3, 1, 0, 0, 0, 0, time.UTC) // yesterday is the last of the month before
	got, err = naming(t, Settings{Folder: "/", FileName: "{{MM}}{{DD}}"}).Sample(names)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Sampled{{Key: "0228.csv", Days: []string{"2024-02-28"}}, {Key: "0229.csv", Days: []string{"2024-02-29"}}}, got); diff != "" {
		t.Errorf("Sample (-want +got):\n%s", diff)
	}
}

// A sample is of a workspace that may load.
func TestSampleWorkspace(t *testing.T) {
	for _, tt := range []struct {
		name       string
		workspaces []string
		asked      string
		want       string
	}{
		{"any may load", nil, "", "ws1/x.csv"},
		{"ws1 may not load", []string{"emea", "apac"}, "", "emea/x.csv"},
		{"one is asked for", []string{"emea", "apac"}, "apac", "apac/x.csv"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := Settings{Folder: "{{workspace_id}}", FileName: "x", FileFormat: encoding.CSV, Workspaces: tt.workspaces}
			got, err := s.Sample(Names{WorkspaceID: tt.asked})
			if err != nil || len(got) != 1 || got[0].Key != tt.want {
				t.Errorf("Sample = %v, %v, want the key %s", got, err, tt.want)
			}
		})
	}
}

func TestKeyAllocatesOnlyItsResult(t *testing.T) {
	n := naming(t, Settings{Folder: "{{workspace_id}}/{{data_source}}", FileName: "{{account}}-{{YYYY}}{{MM}}{{DD}}-{{timestamp}}"})
	names := namesFixture()
	if got := testing.AllocsPerRun(100, func() {
		if _, err := n.Key(names, 19894, "a/b"); err != nil {
			t.Error(err)
		}
	}); got != 1 {
		t.Errorf("Key allocates %v times, want 1", got)
	}
}

func BenchmarkKey(b *testing.B) {
	s := Settings{Folder: "{{workspace_id}}/{{data_source}}", FileName: "{{filename}}-{{account}}-{{YYYY}}-{{MM}}-{{DD}}", FileFormat: encoding.Parquet}
	n, err := s.Naming()
	if err != nil {
		b.Fatal(err)
	}
	names := namesFixture()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := n.Key(names, 19894, "123-456-7890"); err != nil {
			b.Fatal(err)
		}
	}
}
