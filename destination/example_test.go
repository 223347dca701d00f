package destination_test

import (
	"fmt"
	"time"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/encoding"
)

func daysSince1970(year int, month time.Month, day int) int32 {
	return int32(time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix() / (24 * 60 * 60))
}

// A folder of today: {{YYYY}} and {{MM}} are today's because {{DD_today}} stands
// in the same template, and the file name's date is the partition's.
func ExampleNaming_Key() {
	s := destination.Settings{
		Folder:     "/{{workspace_id}}/{{workspace_title}}/{{data_source}}/{{report_type}}/{{YYYY}}/{{MM}}/{{DD_today}}",
		FileName:   "{{filename}}{{YYYY}}{{MM}}{{DD}}",
		FileFormat: encoding.CSVGzip,
	}
	n, err := s.Naming()
	if err != nil {
		fmt.Println(err)
		return
	}
	names := destination.Names{
		WorkspaceID: "ws1", WorkspaceTitle: "main_group", DataSource: "ds1", ReportType: "rt1", Filename: "some_name",
		Load: time.Date(2024, 6, 18, 12, 15, 17, 0, time.UTC),
	}
	key, err := n.Key(names, daysSince1970(2024, 6, 17), "")
	fmt.Println(key, err)
	// Output: ws1/main_group/ds1/rt1/2024/06/18/some_name20240617.csv.gz <nil>
}

// Any separator may stand between variables, and white space inside the braces is free.
func ExampleNaming_Key_timeOfTheLoad() {
	s := destination.Settings{
		Folder:     "/",
		FileName:   "{{ filename }}-{{ YYYY }}-{{ MM }}-{{ DD_today }}T{{ H }}{{ M }}{{ S }}",
		FileFormat: encoding.Parquet,
	}
	n, err := s.Naming()
	if err != nil {
		fmt.Println(err)
		return
	}
	names := destination.Names{Filename: "some_name", Load: time.Date(2024, 6, 20, 12, 15, 17, 0, time.UTC)}
	key, err := n.Key(names, 0, "")
	fmt.Println(key, err)
	// Output: some_name-2024-06-20T121517.parquet <nil>
}

// A value never adds a level and never leaves its folder.
func ExampleNaming_Key_hostileAccount() {
	s := destination.Settings{Folder: "account={{account}}", FileName: "{{account}}", FileFormat: encoding.CSV, LoadByAccount: true}
	n, err := s.Naming()
	if err != nil {
		fmt.Println(err)
		return
	}
	key, err := n.Key(destination.Names{}, 0, "../other/ws")
	fmt.Println(key, err)
	// Output: account=%2E.%2Fother%2Fws/%2E.%2Fother%2Fws.csv <nil>
}

func ExampleParseTemplate() {
	_, err := destination.ParseTemplate(destination.FileName, "{{filename}}-{{acount}}-{{ DD")
	fmt.Println(err)
	// Output:
	// 2 mistakes:
	// - file_name: at character 14: no variable is called "acount" (did you mean {{account}}?)
	// - file_name: at character 25: "{{" is not closed (write "}}" after the variable's name)
}

// Every mistake comes back at once, each with what to write instead.
func ExampleParse() {
	_, err := destination.Parse([]byte(`
id: acme
connection_option: shared_account
access_key_id: AKIAIOSFODNN7EXAMPLE
secret_access_key: env:ACME_SECRET
region: eu-central-1a
bucket: acme_data
folder: /{{workspace_id}}
file_format: parquet
file_name: "{{filename}}-{{YYYY}}-{{MM}}-{{DD}}"
partition_by: month
encryption: sse-kms
separator: comma
`), destination.OSResolver())
	fmt.Println(err)
	// Output:
	// 6 mistakes:
	// - secret_access_key: the environment variable "ACME_SECRET" is not set (write the value itself, env:NAME or file:PATH)
	// - region: "eu-central-1a" is not a region (an availability zone is not a region: write eu-central-1)
	// - bucket: "acme_data" holds a character that no bucket may have (write letters, digits, dashes and dots)
	// - file_name: {{DD}} would split the month that partition_by asks for (leave {{DD}} out, or write partition_by: day)
	// - separator: goes with csv and csv+gzip only (leave it out)
	// - encryption: sse-kms does not go with shared_account: an AWS-managed KMS key cannot be shared across accounts: its key policy cannot be edited, and objects of shared_account are put by our account and read by yours (write sse-s3, or sse-kms-customer with a key whose policy admits our account)
}

// A preview of keys before anything is loaded.
func ExampleNaming_Sample() {
	s := destination.Settings{Folder: "/{{workspace_id}}", FileName: "{{filename}}-{{YYYY}}-{{MM}}", FileFormat: encoding.JSON, PartitionBy: destination.ByMonth}
	n, err := s.Naming()
	if err != nil {
		fmt.Println(err)
		return
	}
	sample, err := n.Sample(destination.Names{WorkspaceID: "ws1", Filename: "ads", Load: time.Date(2024, 6, 20, 0, 0, 0, 0, time.UTC)})
	for _, at := range sample {
		fmt.Println(at.Key, at.Days)
	}
	fmt.Println(err)
	// Output:
	// ws1/ads-2024-05.json [2024-05-31]
	// ws1/ads-2024-06.json [2024-06-18 2024-06-19]
	// <nil>
}

// What a new version of a destination would leave behind in the bucket.
func ExampleChanges() {
	before := &destination.Settings{ID: "acme", Folder: "/a", FileName: "{{filename}}", Separator: encoding.Comma, SecretAccessKey: destination.NewSecret("one")}
	after := &destination.Settings{ID: "acme", Folder: "a/", FileName: "{{filename}}-{{DD}}", Separator: encoding.Tab, SecretAccessKey: destination.NewSecret("two")}
	for _, c := range destination.Changes(before, after) {
		fmt.Printf("%s: %s -> %s, orphans %v\n", c.Field, c.Old, c.New, c.Orphans)
	}
	// Output:
	// secret_access_key: [redacted] -> changed, orphans false
	// folder: /a -> a/, orphans false
	// file_name: {{filename}} -> {{filename}}-{{DD}}, orphans true
	// separator: comma -> tab, orphans false
}

// Sealed with the first key, opened with any: a rotation.
func ExampleKeyring() {
	oldKey, newKey := destination.NewSealKey(), destination.NewSealKey()
	before, err := destination.NewKeyring(oldKey)
	if err != nil {
		fmt.Println(err)
		return
	}
	doc, err := before.Seal(&destination.Settings{ID: "acme", SecretAccessKey: destination.NewSecret("hush")})
	if err != nil {
		fmt.Println(err)
		return
	}
	during, err := destination.ParseKeyring(newKey + "\n" + oldKey)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(during.NeedsReseal(doc))
	s, err := during.Open(doc)
	fmt.Println(s.SecretAccessKey, s.SecretAccessKey.Reveal(), err)
	// Output:
	// true <nil>
	// [redacted] hush <nil>
}
