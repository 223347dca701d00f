package destination

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// FormField is a field of a document as people fill it in.
type FormField struct {
	Name     string
	Group    string
	Label    string
	Help     string
	Required bool
	Secret   bool
	Options  []string // the only values; nil: free text
	Default  string   // what an empty value means
}

// labels are the fields of the form in its order: name, group, label, help.
var labels = [][4]string{
	{"id", "Name", "Id", "Letters, digits, dashes and underscores; it cannot be changed later."},
	{"title", "Name", "Title", "What people see."},
	{"workspaces", "Name", "Workspaces", "Who may load here, separated by commas; empty lets all."},
	{"connection_option", "Connection", "Connection", "How the fleet gets into the bucket."},
	{"access_key_id", "Connection", "Access key id", ""},
	{"secret_access_key", "Connection", "Secret access key", "Sealed at once, never shown again. Left empty it stays as it is."},
	{"assume_role_arn", "Connection", "Role to assume", "arn:aws:iam::ACCOUNT:role/NAME"},
	{"external_id", "Connection", "External id", "What the role's trust policy demands."},
	{"region", "Bucket", "Region", ""},
	{"bucket", "Bucket", "Bucket", ""},
	{"endpoint", "Bucket", "Endpoint", "Of a store other than AWS."},
	{"path_style", "Bucket", "Path style", "The bucket's name in the path, not in the host."},
	{"bucket_owner", "Bucket", "Bucket owner", "The account id, expected on every call."},
	{"folder", "Files", "Folder", "A template, such as {{workspace_id}}/{{filename}}/{{YYYY}}."},
	{"file_name", "Files", "File name", "A template without extension, such as {{filename}}-{{YYYY}}-{{MM}}-{{DD}}."},
	{"file_format", "Files", "Format", ""},
	{"separator", "Files", "Separator", "Of csv."},
	{"partition_by", "Files", "A file per", ""},
	{"load_by_account", "Files", "A file per account", ""},
	{"parquet.compression", "Files", "Parquet compression", ""},
	{"avro.compression", "Files", "Avro compression", ""},
	{"encryption", "Encryption", "Encryption", ""},
	{"encryption_key", "Encryption", "KMS key", "Of sse-kms-customer."},
	{"bucket_key", "Encryption", "Bucket key", ""},
	{"acl", "Encryption", "ACL", ""},
	{"empty_partition", "Restating", "A partition that became empty", ""},
	{"partial_month", "Restating", "Some days of a month", ""},
	{"undated_rows", "Restating", "Rows without a date", ""},
	{"schema_drift", "Restating", "Other columns than before", ""},
	{"write_guard", "Restating", "Guard", "What keeps an older file from replacing a newer one."},
	{"partition_columns", "Beside the files", "Partition columns", ""},
	{"manifest", "Beside the files", "Manifest", ""},
	{"manifest_forms", "Beside the files", "Manifest forms", "Separated by commas."},
	{"schema_sidecar", "Beside the files", "Schema sidecar", ""},
	{"checksum", "Limits", "Checksums", "Off only for stores that break on them."},
	{"max_concurrency", "Limits", "Requests at a time", ""},
	{"rate_limit", "Limits", "Requests a second", ""},
	{"weight", "Limits", "Share of busy workers", ""},
}

// FormFields are the fields of a document, in the order and groups in which
// people fill them in.
func FormFields() []FormField {
	table := map[string]field{}
	for _, f := range fields() {
		table[f.name] = f
	}
	usual := FormDefaults()
	all := make([]FormField, 0, len(labels))
	for _, l := range labels {
		f := table[l[0]]
		field := FormField{
			Name: l[0], Group: l[1], Label: l[2], Help: l[3], Required: f.required, Secret: f.secret,
			Options: f.options, Default: usual[l[0]],
		}
		if _, flag := f.get(&Settings{}).(bool); flag {
			field.Options = []string{"true", "false"}
		}
		all = append(all, field)
	}
	return all
}

// FormDefaults is what a form begins with.
func FormDefaults() map[string]string { return defaults().FormValues() }

// FormValues are the settings as people would have filled them in; the secret is
// left out.
func (s *Settings) FormValues() map[string]string {
	values := map[string]string{}
	for _, f := range fields() {
		if f.secret || f.applies != nil && !f.applies(s) {
			continue
		}
		value := f.get(s)
		switch v := value.(type) {
		case bool:
			values[f.name] = strconv.FormatBool(v)
		case []string:
			values[f.name] = strings.Join(v, ", ")
		default:
			if !unset(value) {
				values[f.name] = fmt.Sprint(v)
			}
		}
	}
	return values
}

// FromForm reads a filled-in form as Parse reads a document; references to the
// process's environment and files are mistakes. Over an old version the id stays,
// an empty secret is the old one, and what operators decided is kept.
func FromForm(values map[string]string, old *Settings) (*Settings, *Problems) {
	doc := map[string]any{}
	for _, f := range fields() {
		written := strings.TrimSpace(values[f.name])
		switch {
		case old != nil && f.name == "id":
			written = old.ID
		case old != nil && f.secret && written == "" && ConnectionOption(strings.TrimSpace(values["connection_option"])).Keys():
			written = old.SecretAccessKey.Reveal()
		}
		if written == "" {
			continue
		}
		var value any = written
		switch f.get(&Settings{}).(type) {
		case bool:
			value = written == "true"
		case int, float64:
			if json.Valid([]byte(written)) {
				value = json.RawMessage(written)
			}
		case []string:
			value = strings.FieldsFunc(written, func(r rune) bool { return r == ',' || unicode.IsSpace(r) })
		}
		doc[f.name] = value
	}
	leaveDefaults(doc)
	body, err := json.Marshal(doc)
	if err != nil {
		return nil, &Problems{{Message: err.Error(), Remedy: "write it as text"}}
	}
	s, err := Parse(body, nil)
	var wrong *Problems
	if errors.As(err, &wrong) {
		return nil, wrong
	}
	if err != nil {
		return nil, &Problems{{Message: err.Error()}}
	}
	if old != nil {
		s.Inherit(old)
	}
	return s, nil
}

// leaveDefaults takes out what has no effect beside the other values and says
// nothing: a form sends all of its fields.
func leaveDefaults(doc map[string]any) {
	s, usual := defaults(), defaults()
	for _, f := range fields() {
		if written, ok := doc[f.name].(string); ok {
			f.set(s, node{kind: text, text: written})
		}
	}
	for _, f := range fields() {
		if f.applies == nil || f.applies(s) {
			continue
		}
		if value, there := doc[f.name]; there && (fmt.Sprint(value) == fmt.Sprint(f.get(usual)) || len(f.options) > 0 && value == f.options[0] || value == false) {
			delete(doc, f.name)
		}
	}
}
