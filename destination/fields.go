package destination

import (
	"fmt"
	"math"
	"strconv"

	"github.com/loadfleet/loadfleet/encoding"
)

// field ties a name of the document to its place in Settings. The table of
// fields is what reading, showing and comparing go by.
type field struct {
	name     string
	required bool
	secret   bool                                           // its value is never shown
	applies  func(*Settings) bool                           // nil: always
	set      func(*Settings, node) (message, remedy string) // "" when it was taken
	get      func(*Settings) any                            // a string, bool, number or list
	options  []string                                       // its values, when there are only these
}

func fields() []field {
	parquet := func(s *Settings) bool { return s.FileFormat == encoding.Parquet }
	avro := func(s *Settings) bool { return s.FileFormat == encoding.Avro }
	return []field{
		required(textField("id", func(s *Settings) *string { return &s.ID })),
		textField("title", func(s *Settings) *string { return &s.Title }),
		required(choiceField("connection_option", ConnectionOptions(), func(s *Settings) *ConnectionOption { return &s.ConnectionOption })),
		when(textField("access_key_id", func(s *Settings) *string { return &s.AccessKeyID }), keyed),
		when(secretField("secret_access_key"), keyed),
		when(textField("assume_role_arn", func(s *Settings) *string { return &s.AssumeRoleARN }), chained),
		when(textField("external_id", func(s *Settings) *string { return &s.ExternalID }), chained),
		required(textField("region", func(s *Settings) *string { return &s.Region })),
		required(textField("bucket", func(s *Settings) *string { return &s.Bucket })),
		textField("endpoint", func(s *Settings) *string { return &s.Endpoint }),
		flagField("path_style", func(s *Settings) *bool { return &s.PathStyle }),
		required(textField("folder", func(s *Settings) *string { return &s.Folder })),
		required(choiceField("file_format", encoding.Formats(), func(s *Settings) *encoding.Format { return &s.FileFormat })),
		required(textField("file_name", func(s *Settings) *string { return &s.FileName })),
		when(choiceField("separator", separators(), func(s *Settings) *encoding.Separator { return &s.Separator }), separated),
		choiceField("partition_by", []PartitionBy{ByDay, ByMonth}, func(s *Settings) *PartitionBy { return &s.PartitionBy }),
		flagField("load_by_account", func(s *Settings) *bool { return &s.LoadByAccount }),
		choiceField("encryption", Encryptions(), func(s *Settings) *Encryption { return &s.Encryption }),
		when(textField("encryption_key", func(s *Settings) *string { return &s.EncryptionKey }), func(s *Settings) bool { return s.Encryption == SSEKMSCustomer }),
		listField("workspaces", func(s *Settings) *[]string { return &s.Workspaces }),
		when(choiceField("parquet.compression", codecs(encoding.Parquet), func(s *Settings) *string { return &s.Parquet.Compression }), parquet),
		when(choiceField("avro.compression", codecs(encoding.Avro), func(s *Settings) *string { return &s.Avro.Compression }), avro),
		when(flagField("bucket_key", func(s *Settings) *bool { return &s.BucketKey }), func(s *Settings) bool { return s.Encryption.KMS() }),
		choiceField("acl", []ACL{NoACL, Private, BucketOwnerRead, BucketOwnerFullControl}, func(s *Settings) *ACL { return &s.ACL }),
		choiceField("undated_rows", []UndatedRows{RejectUndated, DateByLoad}, func(s *Settings) *UndatedRows { return &s.UndatedRows }),
		choiceField("empty_partition", []EmptyPartition{KeepEmpty, DeleteEmpty, EmptyFile}, func(s *Settings) *EmptyPartition { return &s.EmptyPartition }),
		when(choiceField("partial_month", []PartialMonth{RejectPartial, ReplacePartial}, func(s *Settings) *PartialMonth { return &s.PartialMonth }), func(s *Settings) bool { return s.PartitionBy == ByMonth }),
		choiceField("schema_drift", []SchemaDrift{AddColumns, FreezeSchema, RejectDrift}, func(s *Settings) *SchemaDrift { return &s.SchemaDrift }),
		switchField("schema_sidecar", func(s *Settings) *bool { return &s.SchemaSidecar }),
		choiceField("partition_columns", []PartitionColumns{KeepColumns, DropColumns}, func(s *Settings) *PartitionColumns { return &s.PartitionColumns }),
		switchField("manifest", func(s *Settings) *bool { return &s.Manifest }),
		listField("manifest_forms", func(s *Settings) *[]string { return &s.ManifestForms }),
		textField("bucket_owner", func(s *Settings) *string { return &s.BucketOwner }),
		switchField("checksum", func(s *Settings) *bool { return &s.Checksum }),
		choiceField("write_guard", []WriteGuard{ByCondition, ByLease}, func(s *Settings) *WriteGuard { return &s.WriteGuard }),
		wholeField("max_concurrency", 1, maxConcurrency, func(s *Settings) *int { return &s.MaxConcurrency }),
		rateField("rate_limit", func(s *Settings) *float64 { return &s.RateLimit }),
		rateField("weight", func(s *Settings) *float64 { return &s.Weight }),
	}
}

const (
	maxConcurrency = 1000
	maxRate        = 100_000
)

func keyed(s *Settings) bool   { return s.ConnectionOption.Keys() }
func chained(s *Settings) bool { return s.ConnectionOption == RoleChain }
func separated(s *Settings) bool {
	return s.FileFormat == encoding.CSV || s.FileFormat == encoding.CSVGzip
}

func separators() []encoding.Separator {
	return []encoding.Separator{encoding.Comma, encoding.Semicolon, encoding.Tab}
}

// codecs lists what may compress the inside of a format's files, its default first.
func codecs(f encoding.Format) []string {
	switch f {
	case encoding.Parquet:
		return []string{"snappy", "zstd", "gzip", "none"}
	case encoding.Avro:
		return []string{"deflate", "snappy", "zstd", "none"}
	}
	return nil
}

// grouped reports whether fields stand under this name.
func grouped(name string) bool { return name == "parquet" || name == "avro" }

func required(f field) field { f.required = true; return f }

func when(f field, applies func(*Settings) bool) field { f.applies = applies; return f }

func mismatch(want string, n node) (message, remedy string) {
	remedy = "write " + want
	if want == string(text) && (n.kind == number || n.kind == flag) {
		remedy = "put it in quotes"
	}
	return fmt.Sprintf("is %s, not %s", n.kind, want), remedy
}

func textField(name string, at func(*Settings) *string) field {
	return field{
		name: name,
		set: func(s *Settings, n node) (string, string) {
			if n.kind != text {
				return mismatch(string(text), n)
			}
			*at(s) = n.text
			return "", ""
		},
		get: func(s *Settings) any { return *at(s) },
	}
}

// secretField holds the reference or the text itself until Parse resolves it.
func secretField(name string) field {
	return field{
		name:   name,
		secret: true,
		set: func(s *Settings, n node) (string, string) {
			if n.kind != text {
				return mismatch(string(text), n)
			}
			s.SecretAccessKey = NewSecret(n.text)
			return "", ""
		},
		get: func(s *Settings) any {
			if s.SecretAccessKey.IsZero() {
				return ""
			}
			return redacted
		},
	}
}

func choiceField[T ~string](name string, values []T, at func(*Settings) *T) field {
	var options []string
	for _, v := range values {
		options = append(options, string(v))
	}
	return field{
		name: name, options: options,
		set: func(s *Settings, n node) (string, string) {
			if n.kind != text {
				message, _ := mismatch(string(text), n)
				return message, oneOf(values)
			}
			for _, v := range values {
				if n.text == string(v) {
					*at(s) = v
					return "", ""
				}
			}
			names := make([]string, len(values))
			for i, v := range values {
				names[i] = string(v)
			}
			remedy := oneOf(values)
			if near := nearest(n.text, names); near != "" {
				remedy = fmt.Sprintf("did you mean %s? %s", near, remedy)
			}
			return shown(n.text) + " is not one of its values", remedy
		},
		get: func(s *Settings) any { return string(*at(s)) },
	}
}

func flagField(name string, at func(*Settings) *bool) field {
	return field{
		name: name,
		set: func(s *Settings, n node) (string, string) {
			if n.kind != flag {
				return mismatch(string(flag), n)
			}
			*at(s) = n.text == "true"
			return "", ""
		},
		get: func(s *Settings) any { return *at(s) },
	}
}

// switchField takes on and off, and true and false, which YAML 1.1 reads for them.
func switchField(name string, at func(*Settings) *bool) field {
	return field{
		name: name, options: []string{"on", "off"},
		set: func(s *Settings, n node) (string, string) {
			switch {
			case n.kind == flag:
				*at(s) = n.text == "true"
			case n.kind == text && (n.text == "on" || n.text == "off"):
				*at(s) = n.text == "on"
			case n.kind == text:
				return shown(n.text) + " is not one of its values", "write on or off"
			default:
				return fmt.Sprintf("is %s, not on or off", n.kind), "write on or off"
			}
			return "", ""
		},
		get: func(s *Settings) any {
			if *at(s) {
				return "on"
			}
			return "off"
		},
	}
}

func wholeField(name string, least, most int, at func(*Settings) *int) field {
	return field{
		name: name,
		set: func(s *Settings, n node) (string, string) {
			v, err := strconv.Atoi(n.text)
			if n.kind != number || err != nil || v < least || v > most {
				return fmt.Sprintf("is not a whole number from %d to %d", least, most), "write one, or leave the field out"
			}
			*at(s) = v
			return "", ""
		},
		get: func(s *Settings) any { return *at(s) },
	}
}

func rateField(name string, at func(*Settings) *float64) field {
	return field{
		name: name,
		set: func(s *Settings, n node) (string, string) {
			v, err := strconv.ParseFloat(n.text, 64)
			if n.kind != number || err != nil || !(v > 0) || v > maxRate || math.IsInf(v, 0) {
				return fmt.Sprintf("is not a number above 0 and up to %d", maxRate), "write requests per second, or leave the field out"
			}
			*at(s) = v
			return "", ""
		},
		get: func(s *Settings) any { return *at(s) },
	}
}

func listField(name string, at func(*Settings) *[]string) field {
	return field{
		name: name,
		set: func(s *Settings, n node) (string, string) {
			if n.kind != list {
				return mismatch(string(list), n)
			}
			var out []string
			for _, item := range n.items {
				if item.kind != text {
					return fmt.Sprintf("holds %s", item.kind), "write texts only, in quotes where they look like numbers"
				}
				out = append(out, item.text)
			}
			*at(s) = out
			return "", ""
		},
		get: func(s *Settings) any { return *at(s) },
	}
}
