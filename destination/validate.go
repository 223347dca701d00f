package destination

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxTitle is how long a title may be, in characters.
const maxTitle = 200

// judge asks every rule that the fields' types leave open.
func (c *checker) judge() {
	c.identity()
	c.access()
	c.place()
	c.templates()
	c.encryption()
	c.manifests()
	c.partitionColumns()
	c.inapplicable()
}

func (c *checker) identity() {
	s := c.s
	if c.ok("id") && !validID(s.ID) {
		c.wrong("id", shown(s.ID)+" is not a slug", "write 1 to 64 letters, digits, dashes and underscores")
	}
	if c.ok("title") && c.given["title"] {
		switch {
		case strings.TrimSpace(s.Title) == "":
			c.wrong("title", "is blank", "write the name people see, or leave the field out")
		case utf8.RuneCountInString(s.Title) > maxTitle || strings.ContainsFunc(s.Title, unicode.IsControl):
			c.wrong("title", fmt.Sprintf("is longer than %d characters or more than one line", maxTitle), "write a shorter one")
		}
	}
	seen := map[string]bool{}
	for _, w := range s.Workspaces {
		switch {
		case !c.ok("workspaces"):
		case !validID(w):
			c.wrong("workspaces", shown(w)+" is not a workspace's id", "write 1 to 64 letters, digits, dashes and underscores")
		case seen[w]:
			c.wrong("workspaces", shown(w)+" stands twice", "leave one of them")
		}
		seen[w] = true
	}
	if c.ok("workspaces") && c.given["workspaces"] && len(s.Workspaces) == 0 {
		c.wrong("workspaces", "is empty, which would admit nobody", "write the ids of those that may load here, or leave the field out")
	}
}

// validID is the rule for the ids that become tokens of subjects.
func validID(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// access judges who signs. No message repeats a key: they may be mixed up.
func (c *checker) access() {
	s := c.s
	if !c.ok("connection_option") {
		return
	}
	if s.ConnectionOption.Keys() {
		c.keys()
		return
	}
	if !c.given["assume_role_arn"] {
		c.wrong("assume_role_arn", "is missing", "write the ARN of the role that role_chain assumes")
	} else if c.ok("assume_role_arn") && !c.roleARN().MatchString(s.AssumeRoleARN) {
		c.wrong("assume_role_arn", shown(s.AssumeRoleARN)+" is not the ARN of an IAM role", "write arn:aws:iam::ACCOUNT:role/NAME")
	}
	if c.ok("external_id") && c.given["external_id"] && !(len(s.ExternalID) >= 2 && len(s.ExternalID) <= 1224 && regexp.MustCompile(`^[\w+=,.@:/-]+$`).MatchString(s.ExternalID)) {
		c.wrong("external_id", "is not what STS takes", "write 2 to 1224 letters, digits and the characters + = , . @ : / _ -")
	}
}

// roleARN is the form of a role's ARN; stores other than AWS leave the account out.
func (c *checker) roleARN() *regexp.Regexp {
	account := `\d{12}`
	if c.given["endpoint"] {
		account = `[\w-]*`
	}
	return regexp.MustCompile(`^arn:(aws|aws-[a-z-]+):iam::` + account + `:role/[\w+=,.@/-]{1,512}$`)
}

func (c *checker) keys() {
	s := c.s
	if !c.given["access_key_id"] {
		c.wrong("access_key_id", "is missing", "write the id of the access key that "+string(s.ConnectionOption)+" signs with")
	} else if c.ok("access_key_id") {
		switch {
		case !regexp.MustCompile(`^[\w.+=@/-]{1,128}$`).MatchString(s.AccessKeyID):
			c.wrong("access_key_id", "is not an access key id", "write 1 to 128 letters and digits, as AKIA...")
		case !c.given["endpoint"] && strings.ContainsAny(s.AccessKeyID, ".+=@/-"):
			// Most likely the secret, and this field is stored and shown as it is.
			c.wrong("access_key_id", "is not an access key id of AWS", "write AKIA... here, and what was issued with it in secret_access_key")
		case strings.HasPrefix(s.AccessKeyID, "ASIA") && !c.given["endpoint"]:
			c.wrong("access_key_id", "is that of temporary credentials, which end", "write the key of an IAM user (AKIA...), or use role_chain")
		}
	}
	secret := s.SecretAccessKey.Reveal()
	switch {
	case !c.given["secret_access_key"]:
		c.wrong("secret_access_key", "is missing", "write it, or env:NAME or file:PATH")
	case !c.ok("secret_access_key"):
	case secret == redacted:
		c.wrong("secret_access_key", "is the placeholder that is shown for a secret", "write the secret itself, env:NAME or file:PATH")
	case secret == "" || len(secret) > 1024 || strings.ContainsFunc(secret, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }):
		c.wrong("secret_access_key", "is empty, too long or holds white space", "write it as it was issued")
	case secret == s.AccessKeyID:
		c.wrong("secret_access_key", "is the same as access_key_id", "write the secret that was issued with the key")
	case regexp.MustCompile(`^A[KS]IA[A-Z0-9]{16}$`).MatchString(secret):
		c.wrong("secret_access_key", "is an access key id", "write the secret that was issued with it; are the two mixed up?")
	}
}

// place judges where the bucket is.
func (c *checker) place() {
	s := c.s
	if c.ok("bucket") {
		if message, remedy := bucketMistake(s.Bucket); message != "" {
			c.wrong("bucket", message, remedy)
		}
	}
	if c.ok("endpoint") && c.given["endpoint"] {
		if message := endpointMistake(s.Endpoint); message != "" {
			c.wrong("endpoint", message, "write https://HOST or https://HOST:PORT, or leave the field out for AWS")
		}
	}
	if c.ok("region") {
		form, example := `^[a-z]{2,5}(-[a-z]+)+-\d{1,2}$`, "write it as eu-central-1"
		if c.given["endpoint"] {
			form, example = `^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`, "write what the store calls it; many take us-east-1"
		}
		if !regexp.MustCompile(form).MatchString(s.Region) {
			if zone := regexp.MustCompile(`^(.*\d)[a-z]$`).FindStringSubmatch(s.Region); zone != nil {
				example = "an availability zone is not a region: write " + zone[1]
			}
			c.wrong("region", shown(s.Region)+" is not a region", example)
		}
	}
	if c.ok("bucket_owner") && c.given["bucket_owner"] {
		form, remedy := `^\d{12}$`, `write the 12 digits of the account, in quotes`
		if c.given["endpoint"] {
			form, remedy = `^[\w.@-]{1,128}$`, "write the owner as the store calls it"
		}
		if !regexp.MustCompile(form).MatchString(s.BucketOwner) {
			c.wrong("bucket_owner", shown(s.BucketOwner)+" is not an account id", remedy)
		}
	}
	if c.ok("acl", "connection_option") && s.foreignWriter() && s.ACL != BucketOwnerFullControl {
		c.wrong("acl", fmt.Sprintf("objects of %s belong to our account unless they are given to yours", s.ConnectionOption),
			"write bucket-owner-full-control, or leave the field out")
	}
}

// bucketMistake is the rule of SPEC 2 and, beyond it, what no S3 takes.
func bucketMistake(b string) (message, remedy string) {
	edge := func(c byte) bool {
		return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
	}
	if uri, ok := strings.CutPrefix(b, "s3://"); ok {
		name, _, _ := strings.Cut(uri, "/")
		return shown(b) + " is a URL", "write the name alone: " + name
	}
	if strings.HasPrefix(b, "arn:") {
		return shown(b) + " is an ARN", "write the name alone: " + b[strings.LastIndexByte(b, ':')+1:]
	}
	if len(b) < 3 || len(b) > 63 {
		return fmt.Sprintf("its length is %d", len(b)), "write 3 to 63 characters"
	}
	for i := range len(b) {
		if !edge(b[i]) && b[i] != '-' && b[i] != '.' {
			return fmt.Sprintf("%s holds a character that no bucket may have", shown(b)), "write letters, digits, dashes and dots"
		}
	}
	if !edge(b[0]) || !edge(b[len(b)-1]) {
		return shown(b) + " begins or ends with a dash or a dot", "begin and end with a letter or a digit"
	}
	if strings.Contains(b, "..") {
		return shown(b) + " holds two dots side by side", "write one"
	}
	if _, err := netip.ParseAddr(b); err == nil {
		return shown(b) + " is an IP address", "write a name"
	}
	return "", ""
}

// endpointMistake does not repeat the URL: it may hold a password.
func endpointMistake(e string) string {
	u, err := url.Parse(e)
	switch {
	case err != nil:
		return "is not a URL"
	case u.Scheme != "https" && u.Scheme != "http":
		return "is not a URL that begins with https:// or http://"
	case u.User != nil:
		return "holds a user or password"
	case u.Hostname() == "":
		return "names no host"
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Path != "" && u.Path != "/":
		return "holds more than a host"
	}
	return ""
}

// templates judges folder, file_name and what they need (SPEC 2 and 4).
func (c *checker) templates() {
	s := c.s
	for _, place := range []Place{Folder, FileName} {
		if !c.ok(string(place)) {
			continue
		}
		source := s.Folder
		if place == FileName {
			source = s.FileName
		}
		t, err := ParseTemplate(place, source)
		if err != nil {
			c.bad[string(place)] = true
			var found *Problems
			if errors.As(err, &found) {
				c.problems = append(c.problems, *found...)
			}
			continue
		}
		if c.ok("partition_by") && s.PartitionBy == ByMonth && t.Has("DD") {
			c.wrong(string(place), "{{DD}} would split the month that partition_by asks for", "leave {{DD}} out, or write partition_by: day")
		}
		if !c.ok("load_by_account") {
			continue
		}
		if !s.LoadByAccount && t.Has("account") {
			c.wrong(string(place), "{{account}} needs load_by_account", "leave {{account}} out, or write load_by_account: true")
		}
		if s.LoadByAccount && place == FileName && !t.Has("account") {
			c.wrong(string(place), "lacks {{account}}, which load_by_account needs", "write {{account}} in it, or load_by_account: false")
		}
	}
}

// encryption judges the encryption, its key and the matrix of SPEC 3.
func (c *checker) encryption() {
	s := c.s
	if !c.ok("encryption") {
		return
	}
	if c.ok("connection_option") {
		if reason, remedy := refusal(s.ConnectionOption, s.Encryption); reason != "" {
			c.wrong("encryption", fmt.Sprintf("%s does not go with %s: %s", s.Encryption, s.ConnectionOption, reason), remedy)
			return
		}
	}
	if s.Encryption != SSEKMSCustomer {
		return // a key is then inapplicable
	}
	if !c.given["encryption_key"] {
		c.wrong("encryption_key", "is missing", "write the KMS key's ARN or id")
		return
	}
	if c.ok("encryption_key") {
		c.key()
	}
}

func (c *checker) key() {
	s := c.s
	const id = `([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|mrk-[0-9a-f]{32})`
	arn := regexp.MustCompile(`^arn:aws[a-z-]*:kms:([a-z0-9-]+):\d{12}:(key/` + id + `|alias/[\w/-]{1,250})$`).FindStringSubmatch(s.EncryptionKey)
	alias := strings.HasPrefix(s.EncryptionKey, "alias/") || arn != nil && strings.HasPrefix(arn[2], "alias/")
	switch {
	case strings.Contains(s.EncryptionKey, "alias/aws/"):
		c.wrong("encryption_key", "is an AWS-managed key", "write encryption: sse-kms without encryption_key, or a key of your own")
	case s.ConnectionOption == SharedAccount && c.ok("connection_option") && (arn == nil || alias):
		c.wrong("encryption_key", "with shared_account a key id or alias would be looked up in our account", "write the full ARN, arn:aws:kms:REGION:ACCOUNT:key/ID")
	case arn != nil && arn[1] != s.Region && c.ok("region") && !c.given["endpoint"]:
		c.wrong("encryption_key", fmt.Sprintf("is in %s, and a key must be in its bucket's region %s", arn[1], s.Region), "write a key of "+s.Region)
	case arn != nil:
	case c.given["endpoint"] && regexp.MustCompile(`^[\w:/.+=@-]{1,256}$`).MatchString(s.EncryptionKey):
		// A store other than AWS names its keys as it likes.
	case !regexp.MustCompile(`^(` + id + `|alias/[\w/-]{1,250})$`).MatchString(s.EncryptionKey):
		c.wrong("encryption_key", shown(s.EncryptionKey)+" is not a KMS key", "write arn:aws:kms:REGION:ACCOUNT:key/ID or the key's id")
	}
}

// inapplicable refuses fields that would have no effect: their author believes
// otherwise.
func (c *checker) inapplicable() {
	reasons := map[string]struct{ needs, message, remedy string }{
		"access_key_id":       {"connection_option", "role_chain signs with the fleet's own role", "leave it out"},
		"secret_access_key":   {"connection_option", "role_chain signs with the fleet's own role", "leave it out"},
		"assume_role_arn":     {"connection_option", "goes with role_chain only", "leave it out, or write connection_option: role_chain"},
		"external_id":         {"connection_option", "goes with role_chain only", "leave it out, or write connection_option: role_chain"},
		"separator":           {"file_format", "goes with csv and csv+gzip only", "leave it out"},
		"parquet.compression": {"file_format", "goes with parquet only", "leave it out"},
		"avro.compression":    {"file_format", "goes with avro only", "leave it out"},
		"encryption_key":      {"encryption", "goes with sse-kms-customer only", "leave it out, or write encryption: sse-kms-customer"},
		"bucket_key":          {"encryption", "goes with sse-kms and sse-kms-customer only", "leave it out"},
		"partial_month":       {"partition_by", "goes with partition_by: month only", "leave it out"},
	}
	for _, f := range fields() {
		r, ok := reasons[f.name]
		if ok && c.given[f.name] && c.ok(f.name, r.needs) && !f.applies(c.s) {
			c.wrong(f.name, r.message, r.remedy)
		}
	}
}
