package destination

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/loadfleet/loadfleet/encoding"
)

func TestShow(t *testing.T) {
	s := parse(t, "title: 'yes: \"no\" # ü'", "file_format: parquet", "workspaces: [ws1, 'on']", "rate_limit: 2.5", "bucket_owner: '012345678901'", "manifest: on")
	wantYAML := `id: acme
title: "yes: \"no\" # ü"
connection_option: access_keys
access_key_id: AKIAIOSFODNN7EXAMPLE
secret_access_key: "[redacted]"
region: eu-central-1
bucket: acme-data
path_style: false
folder: "/loads/{{workspace_id}}"
file_format: parquet
file_name: "{{filename}}-{{YYYY}}-{{MM}}-{{DD}}"
partition_by: day
load_by_account: false
encryption: sse-s3
workspaces: ["ws1","on"]
parquet:
  compression: snappy
acl: none
undated_rows: reject
empty_partition: keep
schema_drift: add
schema_sidecar: "off"
partition_columns: keep
manifest: "on"
manifest_forms: ["json"]
bucket_owner: "012345678901"
checksum: "on"
write_guard: conditional_writes
rate_limit: 2.5
`
	gotYAML, err := s.YAML()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wantYAML, string(gotYAML)); diff != "" {
		t.Errorf("YAML (-want +got):\n%s", diff)
	}
	gotJSON, err := s.JSON()
	if err != nil {
		t.Fatal(err)
	}
	for name, doc := range map[string]string{"YAML": string(gotYAML), "JSON": string(gotJSON)} {
		if _, err := Parse([]byte(doc), nil); err == nil || !strings.Contains(err.Error(), "placeholder") {
			t.Errorf("%s with the secret redacted: %v", name, err)
		}
		again, err := Parse([]byte(strings.Replace(doc, redacted, testSecret, 1)), nil)
		if err != nil {
			t.Fatalf("%s is not a document: %v\n%s", name, err, doc)
		}
		if diff := cmp.Diff(s, again); diff != "" {
			t.Errorf("%s read again (-want +got):\n%s", name, diff)
		}
	}
}

// Whatever is shown can be read again, for every option and format.
func TestShowEveryKind(t *testing.T) {
	for _, o := range ConnectionOptions() {
		for _, f := range encoding.Formats() {
			for _, span := range []string{"day", "month"} {
				edits := append(option(o), "file_format: "+string(f), "partition_by: "+span, "file_name: '{{filename}}{{YYYY}}{{MM}}'")
				if o == RoleChain {
					edits = append(edits, "encryption: sse-kms", "bucket_key: false", "external_id: abc")
				}
				s := parse(t, edits...)
				doc, err := s.JSON()
				if err != nil {
					t.Fatal(err)
				}
				again, err := Parse([]byte(strings.Replace(string(doc), redacted, testSecret, 1)), nil)
				if err != nil {
					t.Fatalf("%s %s by %s: %v\n%s", o, f, span, err, doc)
				}
				if diff := cmp.Diff(s, again); diff != "" {
					t.Errorf("%s %s by %s (-want +got):\n%s", o, f, span, diff)
				}
			}
		}
	}
}

func TestFile(t *testing.T) {
	s := Settings{Separator: encoding.Tab, Parquet: Codec{"zstd"}, Avro: Codec{"snappy"}}
	tests := []struct {
		format      encoding.Format
		sep         encoding.Separator
		compression string
	}{
		{encoding.CSV, encoding.Tab, ""}, {encoding.CSVGzip, encoding.Tab, ""}, {encoding.JSON, "", ""}, {encoding.JSONGzip, "", ""},
		{encoding.Parquet, "", "zstd"}, {encoding.Avro, "", "snappy"},
	}
	for _, tt := range tests {
		s.FileFormat = tt.format
		if f, sep, c := s.File(); f != tt.format || sep != tt.sep || c != tt.compression {
			t.Errorf("File = %s, %q, %q, want %s, %q, %q", f, sep, c, tt.format, tt.sep, tt.compression)
		}
	}
}

func TestAdmits(t *testing.T) {
	if s := (Settings{}); !s.Admits("a") {
		t.Error("a destination without workspaces does not admit any")
	}
	if s := (Settings{Workspaces: []string{"a", "b"}}); !s.Admits("b") || s.Admits("c") || s.Admits("") {
		t.Error("a destination with workspaces does not admit just them")
	}
}

type warningCase struct {
	name  string
	edits []string
	want  []string // field and beginning of the message
}

func warningCases() []warningCase {
	const names = "file_name: '{{filename}}{{YYYY}}{{MM}}{{DD}}'"
	return []warningCase{
		{"none", nil, nil},
		{"no encryption", []string{"encryption: none"}, []string{"encryption: objects are encrypted only if"}},
		{"any workspace", []string{"-workspaces"}, []string{"workspaces: every workspace of the fleet"}},
		{"any workspace, one key", []string{"-workspaces", "folder: /"}, []string{"folder: lacks {{workspace_id}}", "workspaces: every workspace"}},
		{"undated rows", []string{"undated_rows: load_date"}, []string{"undated_rows: rows whose date"}},
		{"deleted partitions", []string{"empty_partition: delete"}, []string{"empty_partition: an object is deleted"}},
		{"a lease", []string{"write_guard: lease"}, []string{"write_guard: the store does not guard its objects"}},
		{"no checksum", []string{"checksum: off"}, []string{"checksum: uploads are not checked"}},
		{"role without external id", option(RoleChain), []string{"external_id: without it"}},
		{"canonical id", append(option(CanonicalID), "bucket_owner: '111122223333'"), []string{"connection_option: buckets made since April 2023"}},
		{"foreign bucket without owner", option(SharedAccount), []string{"bucket_owner: if the bucket is deleted"}},
		{"upper case", []string{"bucket: Acme"}, []string{"bucket: only buckets made before"}},
		{"dots", []string{"bucket: a.cme"}, []string{"bucket: the certificate"}},
		{"dots, path style", []string{"bucket: a.cme", "path_style: true"}, nil},
		{"http", []string{"endpoint: http://s3.example.com"}, []string{"endpoint: files travel unencrypted"}},
		{"http on this machine", []string{"endpoint: http://127.0.0.1:9000"}, nil},
		{"no table", []string{"file_name: 'x{{YYYY}}{{MM}}{{DD}}'"}, []string{"file_name: lacks {{filename}}"}},
		{"table in the folder", []string{"file_name: 'x{{YYYY}}{{MM}}{{DD}}'", "folder: '{{filename}}'"}, nil},
		{"undated", []string{"file_name: '{{filename}}'"}, []string{"file_name: is undated"}},
		{"accumulating", []string{"file_name: '{{filename}}{{timestamp}}'"}, nil},
		{"accumulating by time", []string{"file_name: '{{filename}}-{{DD_today}}T{{H}}{{M}}{{S}}'"}, nil},
		{"accumulating by day", []string{"file_name: '{{filename}}-{{YYYY}}-{{MM}}-{{DD_today}}'"}, []string{"file_name: tells loads apart by the day"}},
		{"sidecars of tables in one folder", []string{"schema_sidecar: on", "folder: 'out/{{YYYY}}/{{filename}}'"}, []string{"folder: gives tables no folder of their own"}},
		{"sidecars of tables that begin alike", []string{"schema_sidecar: on", "folder: 'out/x-{{filename}}'"}, []string{"folder: gives tables no folder of their own"}},
		{"sidecars of tables apart", []string{"schema_sidecar: on", "folder: 'out/{{filename}}/{{YYYY}}'"}, nil},
		{"a month by day", []string{"file_name: '{{filename}}{{YYYY}}{{MM}}'"}, []string{"file_name: a file holds more days"}},
		{"a month by month", []string{"file_name: '{{filename}}{{YYYY}}{{MM}}'", "partition_by: month"}, nil},
		{"a year by month", []string{"file_name: '{{filename}}{{YYYY}}'", "partition_by: month"}, []string{"file_name: a file holds more days"}},
		{"day without month", []string{"file_name: '{{filename}}{{DD}}'"}, []string{"file_name: days of different months"}},
		{"side by side", []string{"folder: '{{data_source}}{{report_type}}'", names}, []string{"folder: {{data_source}} and {{report_type}} stand side by side"}},
		{"a separator that values may have", []string{"folder: '{{data_source}}-{{report_type}}'", names}, []string{`folder: {{data_source}} and {{report_type}} have only "-" between them`}},
		{"an account behind the table", []string{"load_by_account: true", "file_name: '{{filename}}-{{account}}-{{YYYY}}{{MM}}{{DD}}'"}, []string{`file_name: {{filename}} and {{account}} have only "-" between them`}},
		{"a separator that values never have", []string{"load_by_account: true", "file_name: '{{filename}}-account={{account}}-{{YYYY}}{{MM}}{{DD}}'"}, nil},
		{"an account that the folder shows alone", []string{"load_by_account: true", "folder: 'account={{account}}/x'", "file_name: '{{filename}}-{{account}}-{{YYYY}}{{MM}}{{DD}}'"}, nil},
		{"an account that the folder hides", []string{"load_by_account: true", "folder: 'account-{{account}}/x'", "file_name: '{{filename}}-{{account}}-{{YYYY}}{{MM}}{{DD}}'"}, []string{`file_name: {{filename}} and {{account}} have only`}},
		{"a date between", []string{"load_by_account: true", "file_name: '{{filename}}-{{YYYY}}{{MM}}{{DD}}-{{account}}'"}, nil},
		{"apart", []string{"folder: '{{data_source}}/{{report_type}}'", names}, nil},
		{"hidden folder", []string{"folder: 'a/_b'"}, []string{"folder: a name that begins with"}},
		{"hidden file", []string{"file_name: '.{{filename}}{{YYYY}}{{MM}}{{DD}}'"}, []string{"file_name: a name that begins with"}},
		{"underscore inside", []string{"file_name: '{{filename}}_{{YYYY}}{{MM}}{{DD}}'", "folder: '{{data_source}}_x'"}, nil},
		{"patterns", []string{"folder: 'a*b'"}, []string{"folder: holds characters"}},
		{"extension twice", []string{"file_name: '{{filename}}{{YYYY}}{{MM}}{{DD}}.csv'"}, []string{"file_name: ends in .csv"}},
	}
}

func TestWarnings(t *testing.T) {
	for _, tt := range warningCases() {
		t.Run(tt.name, func(t *testing.T) {
			edits := append([]string{"workspaces: [ws1]"}, tt.edits...)
			got := parse(t, edits...).Warnings()
			if len(got) != len(tt.want) {
				t.Fatalf("warnings %v, want %q", got, tt.want)
			}
			for i, p := range got {
				if !strings.HasPrefix(p.String(), tt.want[i]) || p.Remedy == "" {
					t.Errorf("warning %s, want %s", p, tt.want[i])
				}
			}
		})
	}
}
