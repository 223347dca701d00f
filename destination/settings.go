package destination

import "github.com/loadfleet/loadfleet/encoding"

// Settings is one destination: the document of SPEC 2 with its defaults filled
// in. [Parse] makes it from a customer's document, [Keyring.Open] from a stored
// one. The fields' names in documents are their json tags.
type Settings struct {
	ID    string `json:"id"`
	Title string `json:"title"`

	ConnectionOption ConnectionOption `json:"connection_option"`
	AccessKeyID      string           `json:"access_key_id,omitempty"`
	SecretAccessKey  Secret           `json:"secret_access_key,omitzero"`
	AssumeRoleARN    string           `json:"assume_role_arn,omitempty"`
	ExternalID       string           `json:"external_id,omitempty"`

	Region    string `json:"region"`
	Bucket    string `json:"bucket"`
	Endpoint  string `json:"endpoint,omitempty"` // "" means AWS
	PathStyle bool   `json:"path_style,omitempty"`

	Folder        string             `json:"folder"`
	FileFormat    encoding.Format    `json:"file_format"`
	FileName      string             `json:"file_name"`
	Separator     encoding.Separator `json:"separator,omitempty"` // of csv and csv+gzip
	PartitionBy   PartitionBy        `json:"partition_by"`
	LoadByAccount bool               `json:"load_by_account"`

	Encryption    Encryption `json:"encryption"`
	EncryptionKey string     `json:"encryption_key,omitempty"`

	// Workspaces are the ids of those that may load here; empty means any.
	Workspaces []string `json:"workspaces,omitempty"`

	Parquet Codec `json:"parquet,omitzero"` // of parquet
	Avro    Codec `json:"avro,omitzero"`    // of avro

	BucketKey        bool             `json:"bucket_key"` // sent with the KMS encryptions only
	ACL              ACL              `json:"acl,omitempty"`
	UndatedRows      UndatedRows      `json:"undated_rows"`
	EmptyPartition   EmptyPartition   `json:"empty_partition"`
	PartialMonth     PartialMonth     `json:"partial_month"` // what a month's file becomes when only some days come
	Manifest         bool             `json:"manifest"`
	ManifestForms    []string         `json:"manifest_forms,omitempty"` // with manifest; see [ManifestForms]
	SchemaDrift      SchemaDrift      `json:"schema_drift,omitempty"`   // "" is add
	SchemaSidecar    bool             `json:"schema_sidecar,omitempty"`
	PartitionColumns PartitionColumns `json:"partition_columns,omitempty"` // "" is keep
	BucketOwner      string           `json:"bucket_owner,omitempty"`      // account id, sent as expected owner on every call
	Checksum         bool             `json:"checksum"`
	WriteGuard       WriteGuard       `json:"write_guard,omitempty"`     // "" is conditional_writes
	MaxConcurrency   int              `json:"max_concurrency,omitempty"` // requests at once, 0 = the fleet's default
	RateLimit        float64          `json:"rate_limit,omitempty"`      // requests per second, 0 = none
	Weight           float64          `json:"weight,omitempty"`          // share of busy workers among destinations, 0 = 1

	// Approved and Paused are the fleet's, not the customer's: operators set
	// them, they are stored with the document, and Parse never touches them.
	Approved bool `json:"-"`
	Paused   bool `json:"-"`
}

// ConnectionOption is the way into the customer's bucket (SPEC 3).
type ConnectionOption string

// The connection options.
const (
	AccessKeys    ConnectionOption = "access_keys"    // #1: the customer made a user for us
	SharedAccount ConnectionOption = "shared_account" // #2: a bucket policy admits our account
	CanonicalID   ConnectionOption = "canonical_id"   // #3: a bucket ACL admits our canonical id
	RoleChain     ConnectionOption = "role_chain"     // #4: our role assumes the customer's
)

// ConnectionOptions lists the connection options in the order of their numbers.
func ConnectionOptions() []ConnectionOption {
	return []ConnectionOption{AccessKeys, SharedAccount, CanonicalID, RoleChain}
}

// Keys reports whether the option signs with an access key of the document.
func (o ConnectionOption) Keys() bool { return o != RoleChain }

// SelfService reports whether loads may flow without an operator's approval.
func (o ConnectionOption) SelfService() bool { return o == AccessKeys }

// Encryption is what S3 is asked to encrypt an object with.
type Encryption string

// The encryptions.
const (
	SSES3          Encryption = "sse-s3"
	SSEKMS         Encryption = "sse-kms" // with the AWS-managed key
	SSEKMSCustomer Encryption = "sse-kms-customer"
	NoEncryption   Encryption = "none" // no header is sent: the bucket's default applies
)

// Encryptions lists the encryptions, the recommended one first.
func Encryptions() []Encryption {
	return []Encryption{SSES3, SSEKMS, SSEKMSCustomer, NoEncryption}
}

// KMS reports whether a KMS key is used.
func (e Encryption) KMS() bool { return e == SSEKMS || e == SSEKMSCustomer }

// PartitionBy is the span of days a file is meant for.
type PartitionBy string

// The spans.
const (
	ByDay   PartitionBy = "day"
	ByMonth PartitionBy = "month"
)

// ACL is the canned ACL sent with every object.
type ACL string

// The ACLs. Those that would open objects to strangers are not offered.
const (
	NoACL                  ACL = "none" // no header is sent
	Private                ACL = "private"
	BucketOwnerRead        ACL = "bucket-owner-read"
	BucketOwnerFullControl ACL = "bucket-owner-full-control"
)

// UndatedRows says what becomes of a row whose date does not parse.
type UndatedRows string

// The policies for undated rows.
const (
	RejectUndated UndatedRows = "reject"
	DateByLoad    UndatedRows = "load_date"
)

// EmptyPartition says what becomes of an object whose partition has no rows any more.
type EmptyPartition string

// The policies for empty partitions.
const (
	KeepEmpty   EmptyPartition = "keep"
	DeleteEmpty EmptyPartition = "delete"
	EmptyFile   EmptyPartition = "empty_file"
)

// WriteGuard says what keeps an older file from replacing a newer one.
type WriteGuard string

// The guards.
const (
	ByCondition WriteGuard = "conditional_writes" // the store judges If-None-Match and If-Match, atomically with the write
	ByLease     WriteGuard = "lease"              // the fleet's queue gives each key to one worker at a time; for stores without conditions
)

// SchemaDrift says what becomes of an extraction whose columns are not those
// that its table had so far.
type SchemaDrift string

// The policies for schemas that drift.
const (
	AddColumns   SchemaDrift = "add"    // the files have the extraction's columns
	FreezeSchema SchemaDrift = "freeze" // the files keep the table's; others are left out
	RejectDrift  SchemaDrift = "reject" // the extraction fails when it has others
)

// PartialMonth says what becomes of a month's file when an extraction covers
// only some of its days.
type PartialMonth string

// The policies for partial months.
const (
	RejectPartial  PartialMonth = "reject"
	ReplacePartial PartialMonth = "replace"
)

// Codec is the compression inside a Parquet or Avro file; "" is the format's default.
type Codec struct {
	Compression string `json:"compression,omitempty"`
}

// NeedsApproval reports whether an operator of the fleet must approve the
// destination before loads flow: the option is not self-service (SPEC 3).
func (s *Settings) NeedsApproval() bool { return !s.ConnectionOption.SelfService() }

// File is what the destination's files are; compression is that of Parquet
// pages or Avro blocks, "" for the other formats.
func (s *Settings) File() (format encoding.Format, sep encoding.Separator, compression string) {
	switch s.FileFormat {
	case encoding.CSV, encoding.CSVGzip:
		sep = s.Separator
	case encoding.Parquet:
		compression = s.Parquet.Compression
	case encoding.Avro:
		compression = s.Avro.Compression
	}
	return s.FileFormat, sep, compression
}

// Admits reports whether the workspace may load here.
func (s *Settings) Admits(workspace string) bool {
	for _, w := range s.Workspaces {
		if w == workspace {
			return true
		}
	}
	return len(s.Workspaces) == 0
}

// Flow is whether loads flow to the destination, in words: open, paused or waits
// for approval.
func (s *Settings) Flow() string {
	switch {
	case s.Paused:
		return "paused"
	case s.NeedsApproval() && !s.Approved:
		return "waits for approval"
	}
	return "open"
}
