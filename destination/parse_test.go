package destination

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/loadfleet/loadfleet/encoding"
)

const testSecret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"

// baseDocument is what table tests start from.
const baseDocument = `
id: acme
connection_option: access_keys
access_key_id: AKIAIOSFODNN7EXAMPLE
secret_access_key: ` + testSecret + `
region: eu-central-1
bucket: acme-data
folder: /loads/{{workspace_id}}
file_format: csv
file_name: "{{filename}}-{{YYYY}}-{{MM}}-{{DD}}"
`

// document is the base document with lines replaced, added, or, as
// "-field", taken out.
func document(edits ...string) string {
	lines := strings.Split(strings.TrimSpace(baseDocument), "\n")
	for _, edit := range edits {
		name, _, _ := strings.Cut(strings.TrimPrefix(edit, "-"), ":")
		at := -1
		for i, line := range lines {
			if strings.HasPrefix(line, name+":") {
				at = i
			}
		}
		switch {
		case strings.HasPrefix(edit, "-"):
			lines = append(lines[:at], lines[at+1:]...)
		case at >= 0:
			lines[at] = edit
		default:
			lines = append(lines, edit)
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

// option gives the edits that make the document one of a connection option.
func option(o ConnectionOption) []string {
	if o == RoleChain {
		return []string{"connection_option: role_chain", "-access_key_id", "-secret_access_key", "assume_role_arn: arn:aws:iam::123456789012:role/loads"}
	}
	return []string{"connection_option: " + string(o)}
}

type resolverFixture map[string]string

func (r resolverFixture) Env(name string) (string, bool) { v, ok := r["env:"+name]; return v, ok }
func (r resolverFixture) File(path string) ([]byte, error) {
	v, ok := r["file:"+path]
	if !ok {
		return nil, &os.PathError{Op: "open", Path: path, Err: os.ErrNotExist}
	}
	return []byte(v), nil
}

func TestParseDefaults(t *testing.T) {
	got, err := Parse([]byte(document()), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := &Settings{
		ID: "acme", Title: "acme", ConnectionOption: AccessKeys, AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: NewSecret(testSecret),
		Region: "eu-central-1", Bucket: "acme-data", Folder: "/loads/{{workspace_id}}", FileFormat: encoding.CSV,
		FileName: "{{filename}}-{{YYYY}}-{{MM}}-{{DD}}", Separator: encoding.Comma, PartitionBy: ByDay, Encryption: SSES3,
		BucketKey: true, ACL: NoACL, UndatedRows: RejectUndated, EmptyPartition: KeepEmpty, PartialMonth: RejectPartial, Checksum: true,
		SchemaDrift: AddColumns, PartitionColumns: KeepColumns, WriteGuard: ByCondition,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Parse (-want +got):\n%s", diff)
	}
	for _, o := range []ConnectionOption{SharedAccount, CanonicalID} {
		if got := parse(t, option(o)...); got.ACL != BucketOwnerFullControl || !got.NeedsApproval() {
			t.Errorf("%s: acl %s, needs approval %v", o, got.ACL, got.NeedsApproval())
		}
	}
	if got := parse(t, option(RoleChain)...); got.ACL != NoACL || !got.NeedsApproval() {
		t.Errorf("role_chain: acl %s, needs approval %v", got.ACL, got.NeedsApproval())
	}
	if parse(t).NeedsApproval() {
		t.Error("access_keys needs approval")
	}
}

func parse(t *testing.T, edits ...string) *Settings {
	t.Helper()
	s, err := Parse([]byte(document(edits...)), nil)
	if err != nil {
		t.Fatalf("Parse(%q): %v", edits, err)
	}
	return s
}

// Every field of SPEC 2, with a value other than its default.
func TestParseEveryField(t *testing.T) {
	got := parse(t, "title: Acme, Inc. — daily", "endpoint: https://s3.example.com", "path_style: true", "file_format: parquet", "file_name: '{{filename}}{{account}}'",
		"partition_by: month", "load_by_account: true", "encryption: sse-kms-customer", "encryption_key: my-key", "workspaces: [ws1, ws2]",
		"parquet: {compression: zstd}", "bucket_key: false", "acl: bucket-owner-read", "undated_rows: load_date", "empty_partition: delete",
		"partial_month: replace", "schema_drift: freeze", "schema_sidecar: on", "partition_columns: drop", "folder: '{{filename}}/account={{account}}'", "manifest: on", "bucket_owner: someone", "checksum: off", "write_guard: lease", "max_concurrency: 4", "rate_limit: 2.5")
	want := &Settings{
		ID: "acme", Title: "Acme, Inc. — daily", ConnectionOption: AccessKeys, AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: NewSecret(testSecret),
		Region: "eu-central-1", Bucket: "acme-data", Endpoint: "https://s3.example.com", PathStyle: true, Folder: "{{filename}}/account={{account}}",
		SchemaDrift: FreezeSchema, SchemaSidecar: true, PartitionColumns: DropColumns, WriteGuard: ByLease,
		FileFormat: encoding.Parquet, FileName: "{{filename}}{{account}}", PartitionBy: ByMonth, LoadByAccount: true, Encryption: SSEKMSCustomer,
		EncryptionKey: "my-key", Workspaces: []string{"ws1", "ws2"}, Parquet: Codec{"zstd"}, ACL: BucketOwnerRead, UndatedRows: DateByLoad,
		EmptyPartition: DeleteEmpty, PartialMonth: ReplacePartial, Manifest: true, ManifestForms: []string{"json"}, BucketOwner: "someone", MaxConcurrency: 4, RateLimit: 2.5,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Parse (-want +got):\n%s", diff)
	}
	got = parse(t, append(option(RoleChain), "external_id: x-1", "file_format: avro", "avro.compression: zstd", "manifest: false", "checksum: true")...)
	if got.ExternalID != "x-1" || got.AssumeRoleARN != "arn:aws:iam::123456789012:role/loads" || got.Avro.Compression != "zstd" || got.Manifest || !got.Checksum {
		t.Errorf("Parse = %+v", got)
	}
	for _, sep := range separators() {
		if got := parse(t, "separator: "+string(sep)); got.Separator != sep {
			t.Errorf("separator %s is read as %s", sep, got.Separator)
		}
	}
}

func TestParseAccepts(t *testing.T) {
	tests := []struct {
		name  string
		edits []string
	}{
		{"root folder", []string{"folder: /"}},
		{"no account id needed", []string{"bucket_owner: '012345678901'"}},
		{"shortest bucket", []string{"bucket: a-1"}},
		{"longest bucket", []string{"bucket: " + strings.Repeat("a", 63)}},
		{"dots in a bucket", []string{"bucket: a.b.c"}},
		{"upper-case bucket", []string{"bucket: Legacy"}},
		{"government region", []string{"region: us-gov-west-1"}},
		{"sovereign region", []string{"region: eusc-de-east-1"}},
		{"region of a store", []string{"endpoint: http://127.0.0.1:9000", "region: auto"}},
		{"month without a day", []string{"partition_by: month", "file_name: '{{filename}}{{YYYY}}{{MM}}'"}},
		{"month and today", []string{"partition_by: month", "file_name: '{{filename}}{{YYYY}}{{MM}}{{DD_today}}'"}},
		{"account in both", []string{"load_by_account: true", "folder: '{{account}}'", "file_name: '{{account}}'"}},
		{"key by id", []string{"encryption: sse-kms-customer", "encryption_key: 1234abcd-12ab-34cd-56ef-1234567890ab"}},
		{"multi-region key", []string{"encryption: sse-kms-customer", "encryption_key: mrk-1234abcd12ab34cd56ef1234567890ab"}},
		{"key by alias", []string{"encryption: sse-kms-customer", "encryption_key: alias/loads"}},
		{"key by ARN", []string{"encryption: sse-kms-customer", "encryption_key: arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"}},
		{"role in China", append(option(RoleChain), "assume_role_arn: arn:aws-cn:iam::123456789012:role/path/loads")},
		{"role of a store", append(option(RoleChain), "endpoint: https://s3.example.com", "assume_role_arn: arn:aws:iam:::role/loads")},
		{"empty field", []string{"separator:"}},
		{"on as a truth", []string{"manifest: true"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			doc := document(tt.edits...)
			for _, doc := range []string{doc, "---\n# a comment\n" + doc, strings.ReplaceAll(doc, "\n", "\r\n")} {
				if _, err := Parse([]byte(doc), nil); err != nil {
					t.Errorf("Parse:\n%s%v", doc, err)
				}
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	const strayed = strayedMessage + " (" + strayedRemedy + ")"
	tests := []struct {
		name  string
		edits []string
		want  []string // Problem.String
	}{
		// What SPEC 2 says field by field.
		{"id", []string{"id: a.b"}, []string{`id: "a.b" is not a slug (write 1 to 64 letters, digits, dashes and underscores)`}},
		{"long id", []string{"id: " + strings.Repeat("a", 65)}, []string{`id: "` + strings.Repeat("a", 65) + `" is not a slug (write 1 to 64 letters, digits, dashes and underscores)`}},
		{"blank title", []string{"title: ' '"}, []string{"title: is blank (write the name people see, or leave the field out)"}},
		{"title of two lines", []string{`title: "a\nb"`}, []string{"title: is longer than 200 characters or more than one line (write a shorter one)"}},
		{"connection option", []string{"connection_option: access-keys"}, []string{`connection_option: "access-keys" is not one of its values (did you mean access_keys? write one of access_keys, shared_account, canonical_id, role_chain)`}},
		{"no key id", []string{"-access_key_id"}, []string{"access_key_id: is missing (write the id of the access key that access_keys signs with)"}},
		{"no secret", []string{"-secret_access_key"}, []string{"secret_access_key: is missing (write it, or env:NAME or file:PATH)"}},
		{"secret as key id", []string{"access_key_id: 'a b'"}, []string{"access_key_id: is not an access key id (write 1 to 128 letters and digits, as AKIA...)"}},
		{"temporary key", []string{"access_key_id: ASIAIOSFODNN7EXAMPLE"}, []string{"access_key_id: is that of temporary credentials, which end (write the key of an IAM user (AKIA...), or use role_chain)"}},
		{"placeholder", []string{"secret_access_key: '[redacted]'"}, []string{"secret_access_key: is the placeholder that is shown for a secret (write the secret itself, env:NAME or file:PATH)"}},
		{"secret with a space", []string{"secret_access_key: 'a b'"}, []string{"secret_access_key: is empty, too long or holds white space (write it as it was issued)"}},
		{"secret is the id", []string{"secret_access_key: AKIAIOSFODNN7EXAMPLE"}, []string{"secret_access_key: is the same as access_key_id (write the secret that was issued with the key)"}},
		{"key id and secret mixed up", []string{"access_key_id: " + testSecret, "secret_access_key: AKIAIOSFODNN7EXAMPLE"}, []string{
			"access_key_id: is not an access key id of AWS (write AKIA... here, and what was issued with it in secret_access_key)",
			"secret_access_key: is an access key id (write the secret that was issued with it; are the two mixed up?)"}},
		{"secret in other fields", []string{"region: " + testSecret, "folder: /" + testSecret, "encryption: " + testSecret, "workspaces: [ws1, " + testSecret + "]", "nonsense: {a: " + testSecret + "}"}, []string{
			"nonsense: " + strayed, "region: " + strayed, "folder: " + strayed, "encryption: " + strayed, "workspaces: " + strayed}},
		{"role with keys", []string{"assume_role_arn: arn:aws:iam::123456789012:role/x", "external_id: xx"}, []string{
			"assume_role_arn: goes with role_chain only (leave it out, or write connection_option: role_chain)",
			"external_id: goes with role_chain only (leave it out, or write connection_option: role_chain)"}},
		{"keys with a role", []string{"connection_option: role_chain", "assume_role_arn: arn:aws:iam::123456789012:role/x"}, []string{
			"access_key_id: role_chain signs with the fleet's own role (leave it out)",
			"secret_access_key: role_chain signs with the fleet's own role (leave it out)"}},
		{"no role", append(option(RoleChain), "-assume_role_arn"), []string{"assume_role_arn: is missing (write the ARN of the role that role_chain assumes)"}},
		{"user as role", append(option(RoleChain), "assume_role_arn: arn:aws:iam::123456789012:user/x"), []string{`assume_role_arn: "arn:aws:iam::123456789012:user/x" is not the ARN of an IAM role (write arn:aws:iam::ACCOUNT:role/NAME)`}},
		{"external id", append(option(RoleChain), "external_id: x"), []string{"external_id: is not what STS takes (write 2 to 1224 letters, digits and the characters + = , . @ : / _ -)"}},
		{"region", []string{"region: Frankfurt"}, []string{`region: "Frankfurt" is not a region (write it as eu-central-1)`}},
		{"zone", []string{"region: eu-central-1a"}, []string{`region: "eu-central-1a" is not a region (an availability zone is not a region: write eu-central-1)`}},
		{"bucket too short", []string{"bucket: ab"}, []string{"bucket: its length is 2 (write 3 to 63 characters)"}},
		{"bucket too long", []string{"bucket: " + strings.Repeat("a", 64)}, []string{"bucket: its length is 64 (write 3 to 63 characters)"}},
		{"bucket begins with a dash", []string{"bucket: -abc"}, []string{`bucket: "-abc" begins or ends with a dash or a dot (begin and end with a letter or a digit)`}},
		{"bucket ends with a dot", []string{"bucket: abc."}, []string{`bucket: "abc." begins or ends with a dash or a dot (begin and end with a letter or a digit)`}},
		{"bucket with an underscore", []string{"bucket: a_bc"}, []string{`bucket: "a_bc" holds a character that no bucket may have (write letters, digits, dashes and dots)`}},
		{"bucket with two dots", []string{"bucket: a..b"}, []string{`bucket: "a..b" holds two dots side by side (write one)`}},
		{"bucket as an address", []string{"bucket: 10.0.0.1"}, []string{`bucket: "10.0.0.1" is an IP address (write a name)`}},
		{"bucket as a URL", []string{"bucket: s3://acme/x"}, []string{`bucket: "s3://acme/x" is a URL (write the name alone: acme)`}},
		{"bucket as an ARN", []string{"bucket: arn:aws:s3:::acme"}, []string{`bucket: "arn:aws:s3:::acme" is an ARN (write the name alone: acme)`}},
		{"endpoint without a scheme", []string{"endpoint: s3.example.com"}, []string{"endpoint: is not a URL that begins with https:// or http:// (write https://HOST or https://HOST:PORT, or leave the field out for AWS)"}},
		{"endpoint with a password", []string{"endpoint: https://u:p@s3.example.com"}, []string{"endpoint: holds a user or password (write https://HOST or https://HOST:PORT, or leave the field out for AWS)"}},
		{"endpoint with a path", []string{"endpoint: https://s3.example.com/bucket"}, []string{"endpoint: holds more than a host (write https://HOST or https://HOST:PORT, or leave the field out for AWS)"}},
		{"endpoint without a host", []string{"endpoint: 'https://:9000'"}, []string{"endpoint: names no host (write https://HOST or https://HOST:PORT, or leave the field out for AWS)"}},
		{"file format", []string{"file_format: csv.gz"}, []string{`file_format: "csv.gz" is not one of its values (write one of csv, csv+gzip, json, json+gzip, parquet, avro)`}},
		{"separator", []string{"separator: ';'"}, []string{`separator: ";" is not one of its values (write one of comma, semicolon, tab)`}},
		{"separator of json", []string{"file_format: json", "separator: tab"}, []string{"separator: goes with csv and csv+gzip only (leave it out)"}},
		{"partition_by", []string{"partition_by: week"}, []string{`partition_by: "week" is not one of its values (write one of day, month)`}},
		{"day in a month's name", []string{"partition_by: month"}, []string{"file_name: {{DD}} would split the month that partition_by asks for (leave {{DD}} out, or write partition_by: day)"}},
		{"day in a month's folder", []string{"partition_by: month", "folder: '{{ DD }}'", "file_name: '{{filename}}'"}, []string{"folder: {{DD}} would split the month that partition_by asks for (leave {{DD}} out, or write partition_by: day)"}},
		{"account missing", []string{"load_by_account: true"}, []string{"file_name: lacks {{account}}, which load_by_account needs (write {{account}} in it, or load_by_account: false)"}},
		{"account in folder only", []string{"load_by_account: true", "folder: '{{account}}'"}, []string{"file_name: lacks {{account}}, which load_by_account needs (write {{account}} in it, or load_by_account: false)"}},
		{"account unasked", []string{"folder: '{{account}}'", "file_name: '{{account}}'"}, []string{
			"folder: {{account}} needs load_by_account (leave {{account}} out, or write load_by_account: true)",
			"file_name: {{account}} needs load_by_account (leave {{account}} out, or write load_by_account: true)"}},
		{"template", []string{"folder: '{{yyyy}}'", "file_name: '{{report_type}}'"}, []string{
			`folder: at character 1: no variable is called "yyyy" (did you mean {{YYYY}}?)`,
			`file_name: at character 1: {{report_type}} cannot stand in file_name (it may stand in folder only)`}},
		{"encryption", []string{"encryption: aws:kms"}, []string{`encryption: "aws:kms" is not one of its values (write one of sse-s3, sse-kms, sse-kms-customer, none)`}},
		{"key missing", []string{"encryption: sse-kms-customer"}, []string{"encryption_key: is missing (write the KMS key's ARN or id)"}},
		{"key unasked", []string{"encryption_key: alias/x"}, []string{"encryption_key: goes with sse-kms-customer only (leave it out, or write encryption: sse-kms-customer)"}},
		{"key form", []string{"encryption: sse-kms-customer", "encryption_key: my key"}, []string{`encryption_key: "my key" is not a KMS key (write arn:aws:kms:REGION:ACCOUNT:key/ID or the key's id)`}},
		{"AWS-managed key", []string{"encryption: sse-kms-customer", "encryption_key: alias/aws/s3"}, []string{"encryption_key: is an AWS-managed key (write encryption: sse-kms without encryption_key, or a key of your own)"}},
		{"key of another region", []string{"encryption: sse-kms-customer", "encryption_key: arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"},
			[]string{"encryption_key: is in us-east-1, and a key must be in its bucket's region eu-central-1 (write a key of eu-central-1)"}},
		{"shared account, key by id", append(option(SharedAccount), "encryption: sse-kms-customer", "encryption_key: 1234abcd-12ab-34cd-56ef-1234567890ab"),
			[]string{"encryption_key: with shared_account a key id or alias would be looked up in our account (write the full ARN, arn:aws:kms:REGION:ACCOUNT:key/ID)"}},
		{"shared account, key by alias", append(option(SharedAccount), "encryption: sse-kms-customer", "encryption_key: arn:aws:kms:eu-central-1:111122223333:alias/x"),
			[]string{"encryption_key: with shared_account a key id or alias would be looked up in our account (write the full ARN, arn:aws:kms:REGION:ACCOUNT:key/ID)"}},
		// The optional fields.
		{"empty workspaces", []string{"workspaces: []"}, []string{"workspaces: is empty, which would admit nobody (write the ids of those that may load here, or leave the field out)"}},
		{"workspace twice", []string{"workspaces: [a, a]"}, []string{`workspaces: "a" stands twice (leave one of them)`}},
		{"workspace", []string{"workspaces: [a b]"}, []string{`workspaces: "a b" is not a workspace's id (write 1 to 64 letters, digits, dashes and underscores)`}},
		{"workspace of a wrong type", []string{"workspaces: [1]"}, []string{"workspaces: holds a number (write texts only, in quotes where they look like numbers)"}},
		{"workspaces of a wrong type", []string{"workspaces: ws1"}, []string{"workspaces: is text, not a list (write a list)"}},
		{"parquet codec", []string{"file_format: parquet", "parquet: {compression: lz4}"}, []string{`parquet.compression: "lz4" is not one of its values (write one of snappy, zstd, gzip, none)`}},
		{"avro codec", []string{"file_format: avro", "avro: {compression: gzip}"}, []string{`avro.compression: "gzip" is not one of its values (write one of deflate, snappy, zstd, none)`}},
		{"codec of another format", []string{"parquet: {compression: zstd}", "avro: {compression: zstd}"}, []string{"parquet.compression: goes with parquet only (leave it out)", "avro.compression: goes with avro only (leave it out)"}},
		{"codec not nested", []string{"file_format: parquet", "parquet: zstd"}, []string{"parquet: is not a mapping (write parquet: {compression: snappy})"}},
		{"bucket key without KMS", []string{"bucket_key: true"}, []string{"bucket_key: goes with sse-kms and sse-kms-customer only (leave it out)"}},
		{"public acl", []string{"acl: public-read"}, []string{`acl: "public-read" is not one of its values (write one of none, private, bucket-owner-read, bucket-owner-full-control)`}},
		{"acl of a shared account", append(option(SharedAccount), "acl: private"), []string{"acl: objects of shared_account belong to our account unless they are given to yours (write bucket-owner-full-control, or leave the field out)"}},
		{"acl of a canonical id", append(option(CanonicalID), "acl: none"), []string{"acl: objects of canonical_id belong to our account unless they are given to yours (write bucket-owner-full-control, or leave the field out)"}},
		{"undated rows", []string{"undated_rows: drop"}, []string{`undated_rows: "drop" is not one of its values (write one of reject, load_date)`}},
		{"empty partition", []string{"empty_partition: remove"}, []string{`empty_partition: "remove" is not one of its values (write one of keep, delete, empty_file)`}},
		{"partial month", []string{"partition_by: month", "file_name: x", "partial_month: merge"}, []string{`partial_month: "merge" is not one of its values (write one of reject, replace)`}},
		{"partial month by day", []string{"partial_month: replace"}, []string{"partial_month: goes with partition_by: month only (leave it out)"}},
		{"no columns to leave out", []string{"partition_columns: drop"}, []string{
			"partition_columns: would leave out columns that the folder names, and it names none (write a folder such as {{filename}}/date={{YYYY}}-{{MM}}-{{DD}}, with the column's name before the =, or partition_columns: keep)"}},
		{"schema policies", []string{"schema_drift: frozen", "schema_sidecar: maybe"}, []string{
			`schema_drift: "frozen" is not one of its values (write one of add, freeze, reject)`, `schema_sidecar: "maybe" is not one of its values (write on or off)`}},
		{"forms of no manifest", []string{"manifest_forms: [json]"}, []string{`manifest_forms: says what manifests look like, and there are none (write manifest: on, or leave the field out)`}},
		{"forms of manifests", []string{"manifest: on", "manifest_forms: [json, xml, json]"}, []string{
			`manifest_forms: "xml" is not one of its values (write one of json, redshift, athena, success)`, `manifest_forms: "json" stands twice (leave one of them)`}},
		{"no form of manifests", []string{"manifest: on", "manifest_forms: []"}, []string{`manifest_forms: is empty (name one form or more, or write manifest: off)`}},
		{"manifest", []string{"manifest: yes please"}, []string{`manifest: "yes please" is not one of its values (write on or off)`}},
		{"checksum", []string{"checksum: 1"}, []string{"checksum: is a number, not on or off (write on or off)"}},
		{"bucket owner", []string{"bucket_owner: '12345'"}, []string{`bucket_owner: "12345" is not an account id (write the 12 digits of the account, in quotes)`}},
		{"bucket owner as a number", []string{"bucket_owner: 111122223333"}, []string{"bucket_owner: is a number, not text (put it in quotes)"}},
		{"max concurrency", []string{"max_concurrency: 0"}, []string{"max_concurrency: is not a whole number from 1 to 1000 (write one, or leave the field out)"}},
		{"max concurrency as text", []string{"max_concurrency: '4'"}, []string{"max_concurrency: is not a whole number from 1 to 1000 (write one, or leave the field out)"}},
		{"rate limit", []string{"rate_limit: -1"}, []string{"rate_limit: is not a number above 0 and up to 100000 (write requests per second, or leave the field out)"}},
		{"endless rate limit", []string{"rate_limit: .inf"}, []string{"rate_limit: is not a number above 0 and up to 100000 (write requests per second, or leave the field out)"}},
		{"rate limit that is none", []string{"rate_limit: .nan"}, []string{"rate_limit: is not a number above 0 and up to 100000 (write requests per second, or leave the field out)"}},
		// The document.
		{"unknown field", []string{"buckets: x"}, []string{"buckets: is not a field of a destination (did you mean bucket?)"}},
		{"unknown field in a map", []string{"file_format: parquet", "parquet: {compresion: zstd}"}, []string{"parquet.compresion: is not a field of a destination (did you mean parquet.compression?)"}},
		{"unknown field that would not print", []string{`"a\e[2J": x`}, []string{`"a\x1b[2J": is not a field of a destination (leave it out)`}},
		{"nothing like it", []string{"colour: red"}, []string{"colour: is not a field of a destination (leave it out)"}},
		{"approved", []string{"approved: true"}, []string{"approved: is not the document's to say (leave it out: operators of the fleet set it)"}},
		{"wrong type", []string{"load_by_account: 'true'"}, []string{"load_by_account: is text, not true or false (write true or false)"}},
		{"wrong type of a text", []string{"folder: true"}, []string{"folder: is true or false, not text (put it in quotes)"}},
		{"mapping for a text", []string{"folder: {a: b}"}, []string{"folder: is a mapping, not text (write text)"}},
		{"mapping for a codec", []string{"file_format: avro", "avro: {compression: {a: b}}"}, []string{"avro.compression: is a mapping, not text (write one of deflate, snappy, zstd, none)"}},
		{"wrong type of a choice", []string{"encryption: [sse-s3]"}, []string{"encryption: is a list, not text (write one of sse-s3, sse-kms, sse-kms-customer, none)"}},
		{"wrong type of the secret", []string{"secret_access_key: 12345"}, []string{"secret_access_key: is a number, not text (put it in quotes)"}},
		{"anchor", []string{"title: &a x"}, []string{"title: is an anchor, alias or tag, not text (write text)"}},
		{"twice", []string{"title: x\ntitle: y"}, []string{"title: is given twice (leave one of them)"}},
		{"missing", []string{"-id", "-connection_option", "-region", "-bucket", "-folder", "-file_format", "-file_name"}, []string{
			"id: is missing (write it)", "connection_option: is missing (write it)", "region: is missing (write it)", "bucket: is missing (write it)",
			"folder: is missing (write it)", "file_format: is missing (write it)", "file_name: is missing (write it)"}},
		{"all at once", []string{"id: a b", "bucket: x", "file_name: '{{'", "encryption: kms", "max_concurrency: x", "colour: red"}, []string{
			"colour: is not a field of a destination (leave it out)",
			`id: "a b" is not a slug (write 1 to 64 letters, digits, dashes and underscores)`,
			"bucket: its length is 1 (write 3 to 63 characters)",
			`file_name: at character 1: "{{" is not closed (write "}}" after the variable's name)`,
			`encryption: "kms" is not one of its values (write one of sse-s3, sse-kms, sse-kms-customer, none)`,
			"max_concurrency: is not a whole number from 1 to 1000 (write one, or leave the field out)"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			doc := document(tt.edits...)
			_, err := Parse([]byte(doc), nil)
			var found *Problems
			if !errors.As(err, &found) {
				t.Fatalf("Parse: %v, want *Problems:\n%s", err, doc)
			}
			var got []string
			for _, p := range *found {
				got = append(got, p.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Parse (-want +got):\n%s\n%s", diff, doc)
			}
			if strings.Contains(err.Error(), testSecret) {
				t.Errorf("the error holds the secret: %v", err)
			}
		})
	}
}

func TestParseRefusesDocuments(t *testing.T) {
	tests := []struct{ name, doc, want string }{
		{"empty", " \n", "the document is empty (write the fields of a destination as YAML or JSON)"},
		{"comment", "# nothing\n", "the document is empty (write the fields of a destination as YAML or JSON)"},
		{"text", "hello", `the document is not a mapping (write one "field: value" per line)`},
		{"list", "- id: x", `the document is not a mapping (write one "field: value" per line)`},
		{"two documents", "id: a\n---\nid: b\n", "there is more than one document (write the fields of a destination as YAML or JSON)"},
		{"too long", strings.Repeat("#", MaxDocument+1), "the document is 32769 bytes long, and more than 32768 are not read (write the fields of a destination as YAML or JSON)"},
		{"cut JSON", `{"id": "a",` + "\n" + `"secret_access_key": "` + testSecret, "not valid JSON near line 2 (write the fields of a destination as YAML or JSON)"},
		{"JSON and more", `{"id": "a"} x`, "not valid JSON near line 1 (write the fields of a destination as YAML or JSON)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse([]byte(tt.doc), nil)
			if err == nil || err.Error() != tt.want {
				t.Errorf("Parse = %v, want %s", err, tt.want)
			}
		})
	}
	_, err := Parse([]byte("id: a\nsecret_access_key: \""+testSecret+"\nregion: [\n"), nil)
	if err == nil || strings.Contains(err.Error(), testSecret) || !strings.HasPrefix(err.Error(), "not valid YAML near line") {
		t.Errorf("Parse of broken YAML = %v", err)
	}
}

// JSON and YAML of the same settings are the same.
func TestParseJSON(t *testing.T) {
	got, err := Parse([]byte(`{
	"id": "acme", "connection_option": "access_keys", "access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret_access_key": "`+testSecret+`",
	"region": "eu-central-1", "bucket": "acme-data", "folder": "/loads/{{workspace_id}}", "file_format": "parquet", "title": null,
	"file_name": "{{filename}}-{{YYYY}}-{{MM}}-{{DD}}", "parquet": {"compression": "zstd"}, "workspaces": ["ws1"], "max_concurrency": 3, "manifest": true}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := parse(t, "file_format: parquet", "parquet: {compression: zstd}", "workspaces: [ws1]", "max_concurrency: 3", "manifest: on")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("JSON and YAML differ (-yaml +json):\n%s", diff)
	}
	_, err = Parse([]byte(`{"id": "acme", "id": "b", "parquet": {"compression": 1}}`), nil)
	if err == nil || !strings.Contains(err.Error(), "id: is given twice") || !strings.Contains(err.Error(), "parquet.compression: is a number") {
		t.Errorf("Parse = %v", err)
	}
}

// Every cell of the matrix of SPEC 3.
func TestMatrix(t *testing.T) {
	yes := map[ConnectionOption]map[Encryption]bool{
		AccessKeys:    {SSES3: true, SSEKMS: true, SSEKMSCustomer: true, NoEncryption: true},
		SharedAccount: {SSES3: true, SSEKMS: false, SSEKMSCustomer: true, NoEncryption: true},
		CanonicalID:   {SSES3: true, SSEKMS: false, SSEKMSCustomer: false, NoEncryption: true},
		RoleChain:     {SSES3: true, SSEKMS: true, SSEKMSCustomer: true, NoEncryption: true},
	}
	reasons := map[ConnectionOption]map[Encryption]string{
		SharedAccount: {SSEKMS: "encryption: sse-kms does not go with shared_account: an AWS-managed KMS key cannot be shared across accounts"},
		CanonicalID: {SSEKMS: "encryption: sse-kms does not go with canonical_id: an AWS-managed KMS key cannot be shared across accounts",
			SSEKMSCustomer: "encryption: sse-kms-customer does not go with canonical_id: a bucket ACL that admits our canonical id carries no right on a KMS key"},
	}
	for _, o := range ConnectionOptions() {
		for _, e := range Encryptions() {
			t.Run(fmt.Sprintf("%s with %s", o, e), func(t *testing.T) {
				edits := append(option(o), "encryption: "+string(e))
				if e == SSEKMSCustomer {
					edits = append(edits, "encryption_key: arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab")
				}
				_, err := Parse([]byte(document(edits...)), nil)
				if (err == nil) != yes[o][e] || Allowed(o, e) != yes[o][e] {
					t.Fatalf("Parse: %v; Allowed %v, want %v", err, Allowed(o, e), yes[o][e])
				}
				if err == nil {
					return
				}
				var found *Problems
				if want := reasons[o][e]; !errors.As(err, &found) || len(*found) != 1 || !strings.HasPrefix(err.Error(), want) || (*found)[0].Remedy == "" {
					t.Errorf("Parse: %v, want one problem: %s", err, want)
				}
			})
		}
	}
}

func TestParseResolves(t *testing.T) {
	env := resolverFixture{"env:KEY": "AKIAFROMENV", "env:EMPTY": "", "file:/run/secret": testSecret + "\n", "file:/empty": "\n", "env:SPACED": "a b"}
	s, err := Parse([]byte(document("access_key_id: env:KEY", "secret_access_key: file:/run/secret")), env)
	if err != nil {
		t.Fatal(err)
	}
	if s.AccessKeyID != "AKIAFROMENV" || s.SecretAccessKey.Reveal() != testSecret {
		t.Errorf("access key id %q, secret as it should be: %v", s.AccessKeyID, s.SecretAccessKey.Reveal() == testSecret)
	}
	const remedy = " (write the value itself, env:NAME or file:PATH)"
	tests := []struct{ name, value, want string }{
		{"not set", "env:NONE", `the environment variable "NONE" is not set` + remedy},
		{"set to nothing", "env:EMPTY", `the environment variable "EMPTY" is not set` + remedy},
		{"no file", "file:/none", `cannot read the file "/none": file does not exist` + remedy},
		{"empty file", "file:/empty", `the file "/empty" is empty` + remedy},
		{"not as issued", "env:SPACED", "is empty, too long or holds white space (write it as it was issued)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse([]byte(document("secret_access_key: "+tt.value)), env)
			if err == nil || err.Error() != "secret_access_key: "+tt.want {
				t.Errorf("Parse = %v, want %s", err, tt.want)
			}
		})
	}
	_, err = Parse([]byte(document("secret_access_key: file:/run/secret", "title: was "+testSecret, "encryption: "+testSecret)), env)
	if err == nil || strings.Contains(err.Error(), testSecret) || !strings.Contains(err.Error(), "title: "+strayedMessage) || !strings.Contains(err.Error(), "encryption: "+strayedMessage) {
		t.Errorf("Parse of a document that holds a file's secret = %v", err)
	}
	_, err = Parse([]byte(document("secret_access_key: env:KEY")), nil)
	if err == nil || err.Error() != "secret_access_key: env: and file: are not looked up here"+remedy {
		t.Errorf("Parse without a resolver = %v", err)
	}
}

func TestOSResolver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte("from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("LOADFLEET_TEST_SECRET", "from the environment")
	for reference, want := range map[string]string{"env:LOADFLEET_TEST_SECRET": "from the environment", "file:" + path: "from a file", "as it is": "as it is"} {
		if got, err := resolve(reference, OSResolver()); err != nil || got != want {
			t.Errorf("resolve(%q) = %q, %v, want %q", reference, got, err, want)
		}
	}
	if err := os.WriteFile(path, make([]byte, maxSecretFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := resolve("file:"+path, OSResolver()); err == nil {
		t.Error("a file of any length is read")
	}
}

// The examples that come with the product are valid and give rise to no warning
// but the ones they are about.
func TestExampleDocuments(t *testing.T) {
	env := resolverFixture{"env:ACME_SECRET_ACCESS_KEY": testSecret, "file:/run/secrets/globex": testSecret, "env:INITECH_SECRET_ACCESS_KEY": testSecret,
		"env:LAB_SECRET": testSecret, "env:AWS_ACCESS_KEY_ID": "LOADFLEETEXAMPLE", "env:AWS_SECRET_ACCESS_KEY": testSecret, "env:HOOLI_SECRET_ACCESS_KEY": testSecret}
	expected := map[string]int{"canonical_id.yaml": 1, "store.yaml": 2}
	paths, err := filepath.Glob("../testdata/destinations/*")
	if err != nil || len(paths) < 6 {
		t.Fatalf("%d examples, %v", len(paths), err)
	}
	options, formats := map[ConnectionOption]bool{}, map[encoding.Format]bool{}
	for _, path := range paths {
		doc, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		s, err := Parse(doc, env)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		options[s.ConnectionOption], formats[s.FileFormat] = true, true
		if w := s.Warnings(); len(w) != expected[filepath.Base(path)] {
			t.Errorf("%s: warnings %v", path, w)
		}
		n, err := s.Naming()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.Sample(Names{}); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	if len(options) != len(ConnectionOptions()) || len(formats) != len(encoding.Formats()) {
		t.Errorf("the examples show %v and %v only", options, formats)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(document()))
	f.Add([]byte(`{"id": "a", "parquet": {"compression": "zstd"}, "workspaces": [1, "a"]}`))
	f.Add([]byte("a: &x [1]\nb: *x\n<<: *x\n? {a: b}\n: c\n"))
	f.Add([]byte("secret_access_key: |\n  " + testSecret + "\n"))
	f.Fuzz(func(t *testing.T, doc []byte) {
		s, err := Parse(doc, nil)
		if err != nil {
			var p *Problems
			if !errors.As(err, &p) || len(*p) == 0 {
				t.Fatalf("Parse: %v is not *Problems", err)
			}
			return
		}
		if _, err := s.Naming(); err != nil {
			t.Fatalf("settings that Parse took have no naming: %v", err)
		}
		secret, err := json.Marshal(s.SecretAccessKey.Reveal())
		if err != nil {
			t.Fatal(err)
		}
		for name, show := range map[string]func() ([]byte, error){`secret_access_key: `: s.YAML, `"secret_access_key": `: s.JSON} {
			shown, err := show()
			if err != nil {
				t.Fatal(err)
			}
			again, err := Parse(bytes.Replace(shown, []byte(name+`"[redacted]"`), append([]byte(name), secret...), 1), nil)
			if err != nil {
				t.Fatalf("what is shown cannot be read: %v\n%s", err, shown)
			}
			if diff := cmp.Diff(s, again); diff != "" {
				t.Fatalf("what is shown reads otherwise (-want +got):\n%s\n%s", diff, shown)
			}
		}
	})
}

// A document built to hurt takes neither the stack nor the time.
func TestParseHostileDocuments(t *testing.T) {
	deep := MaxDocument / 2
	for name, doc := range map[string]string{
		"deep YAML lists":    "a: " + strings.Repeat("[", deep),
		"deep YAML maps":     strings.Repeat("{a: ", deep/4),
		"closed YAML lists":  "a: " + strings.Repeat("[", deep) + strings.Repeat("]", deep-3),
		"deep YAML dashes":   strings.Repeat("- ", deep),
		"deep JSON":          `{"a": ` + strings.Repeat("[", deep),
		"closed JSON":        `{"a": ` + strings.Repeat("[", deep) + strings.Repeat("]", deep-8) + "}",
		"nested JSON maps":   strings.Repeat(`{"a":`, deep/6) + "1" + strings.Repeat("}", deep/6),
		"many fields":        strings.Repeat("a: 1\n", MaxDocument/5),
		"many unknown names": "title: x\n" + strings.Repeat("access_key_idx: 1\n", MaxDocument/20),
		"aliases":            "a: &a [x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n",
		"open quote":         "a: \"" + strings.Repeat("\\", deep),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(doc), nil)
			if err == nil {
				t.Fatal("taken")
			}
			if len(err.Error()) > 20_000 {
				t.Errorf("the error is %d bytes long", len(err.Error()))
			}
		})
	}
}
