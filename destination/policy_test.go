package destination

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// policySettings are settings of a cell of the matrix, as Parse gives them.
func policySettings(t *testing.T, o ConnectionOption, e Encryption, edits ...string) *Settings {
	t.Helper()
	all := append(option(o), "encryption: "+string(e))
	if e == SSEKMSCustomer {
		all = append(all, "encryption_key: "+customerKeyARN)
	}
	s, err := Parse([]byte(document(append(all, edits...)...)), nil)
	if err != nil {
		t.Fatalf("parse %s with %s: %v", o, e, err)
	}
	return s
}

func policyOf(t *testing.T, s *Settings) Policy {
	t.Helper()
	p, err := s.Policy(testFleet())
	if err != nil {
		t.Fatalf("policy: %v", err)
	}
	return p
}

func prefixOf(t *testing.T, s *Settings) string {
	t.Helper()
	n, err := s.Naming()
	if err != nil {
		t.Fatal(err)
	}
	return n.Prefix()
}

// folders are beginnings of keys, from harmless to hostile.
func folders() []string {
	return []string{
		"folder: /loads/{{workspace_id}}",
		"folder: /",
		"folder: /acme{{YYYY}}",
		"folder: '/a*b/{{workspace_id}}'",
		"folder: '/a?b/{{workspace_id}}'",
		"folder: '/$x/${*}/$${aws:username}/%{if}/{{workspace_id}}'",
		`folder: '/"quoted\"/''#{x}/{{workspace_id}}'`,
		"folder: /отчёты 📦/{{workspace_id}}",
	}
}

// TestPolicyAllowsLoadsAndNothingElse evaluates the documents of every allowed
// cell of SPEC 3's matrix against the requests that loadfleet makes and against
// their neighbours.
func TestPolicyAllowsLoadsAndNothingElse(t *testing.T) {
	for _, o := range ConnectionOptions() {
		for _, e := range Encryptions() {
			if !Allowed(o, e) {
				continue
			}
			variants := folders()
			if o == AccessKeys || o == RoleChain {
				variants = append(variants, "acl: bucket-owner-full-control")
			}
			for _, edit := range variants {
				t.Run(fmt.Sprintf("%s %s %s", o, e, edit), func(t *testing.T) {
					s := policySettings(t, o, e, edit)
					checkPolicy(t, s, policyOf(t, s))
				})
			}
		}
	}
}

func checkPolicy(t *testing.T, s *Settings, p Policy) {
	t.Helper()
	prefix := prefixOf(t, s)
	for _, op := range operations(s, prefix) {
		for _, c := range op.calls {
			for _, side := range sides(t, p) {
				if !side.allows(t, c) {
					t.Errorf("%s: the %s's documents deny %s on %s with %v", op.name, side.name, c.action, c.resource, c.context)
				}
			}
		}
	}
	for _, op := range trespasses(s, prefix) {
		for _, side := range sides(t, p) {
			// A bucket's ACL knows no prefix: there our own side confines us.
			if side.acl == nil && side.allows(t, op.calls[0]) {
				t.Errorf("the %s's documents allow %s", side.name, op.name)
			}
		}
	}
	if s.ConnectionOption != SharedAccount {
		return
	}
	for _, op := range operations(s, prefix) {
		for _, c := range op.calls {
			for _, stranger := range []string{"arn:aws:iam::" + fleetAccount + ":user/other", "arn:aws:iam::111122223333:user/loader"} {
				c.who = stranger
				if sides(t, p)[0].allows(t, c) {
					t.Errorf("%s: %s is allowed %s", op.name, stranger, c.action)
				}
			}
		}
	}
}

// Another ACL or encryption than agreed is refused in a bucket that admits us;
// parts of an upload, which say neither, are not.
func TestPolicyBucketHeaders(t *testing.T) {
	const acl, sse, key = "s3:x-amz-acl", "s3:x-amz-server-side-encryption", "s3:x-amz-server-side-encryption-aws-kms-key-id"
	tests := []struct {
		name       string
		encryption Encryption
		context    map[string][]string
		want       bool
	}{
		{"as agreed", SSES3, map[string][]string{acl: {"bucket-owner-full-control"}, sse: {"AES256"}}, true},
		{"a part", SSES3, nil, true},
		{"private", SSES3, map[string][]string{acl: {"private"}, sse: {"AES256"}}, false},
		{"public", SSES3, map[string][]string{acl: {"public-read"}, sse: {"AES256"}}, false},
		{"another encryption", SSES3, map[string][]string{acl: {"bucket-owner-full-control"}, sse: {"aws:kms"}}, false},
		{"key as agreed", SSEKMSCustomer, map[string][]string{acl: {"bucket-owner-full-control"}, sse: {"aws:kms"}, key: {customerKeyARN}}, true},
		{"another key", SSEKMSCustomer, map[string][]string{acl: {"bucket-owner-full-control"}, sse: {"aws:kms"}, key: {managedKeyARN}}, false},
		{"no key", SSEKMSCustomer, map[string][]string{acl: {"bucket-owner-full-control"}, sse: {"AES256"}}, false},
		{"the bucket's default", NoEncryption, map[string][]string{acl: {"bucket-owner-full-control"}}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := policySettings(t, SharedAccount, tt.encryption)
			c := call{who: fleetUserARN, action: "s3:PutObject", resource: "arn:aws:s3:::acme-data/loads/x", context: tt.context}
			if got := sides(t, policyOf(t, s))[0].allows(t, c); got != tt.want {
				t.Errorf("put with %v: allowed %v, want %v", tt.context, got, tt.want)
			}
		})
	}
}

func TestPolicyTrust(t *testing.T) {
	tests := []struct {
		name     string
		external string // "" is none
		who      string
		context  map[string][]string
		want     bool
	}{
		{"with the external id", "acme-42", fleetRoleARN, map[string][]string{"sts:ExternalId": {"acme-42"}}, true},
		{"without it", "acme-42", fleetRoleARN, nil, false},
		{"with another", "acme-42", fleetRoleARN, map[string][]string{"sts:ExternalId": {"acme-43"}}, false},
		{"with an empty one", "acme-42", fleetRoleARN, map[string][]string{"sts:ExternalId": {""}}, false},
		{"another role of the fleet", "acme-42", "arn:aws:iam::" + fleetAccount + ":role/other", map[string][]string{"sts:ExternalId": {"acme-42"}}, false},
		{"the fleet's user", "acme-42", fleetUserARN, map[string][]string{"sts:ExternalId": {"acme-42"}}, false},
		{"a stranger", "acme-42", "arn:aws:iam::111122223333:role/loadfleet", map[string][]string{"sts:ExternalId": {"acme-42"}}, false},
		{"none asked", "", fleetRoleARN, nil, true},
		{"none asked, a stranger", "", "arn:aws:iam::111122223333:role/loadfleet", nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var edits []string
			if tt.external != "" {
				edits = []string{"external_id: " + tt.external}
			}
			p := policyOf(t, policySettings(t, RoleChain, SSES3, edits...))
			c := call{who: tt.who, action: "sts:AssumeRole", context: tt.context}
			trusted := evaluate(t, find(t, p.Documents, TrustPolicy).Body, false, c) == allowed
			if trusted != tt.want {
				t.Errorf("assume role as %s with %v: %v, want %v", tt.who, tt.context, trusted, tt.want)
			}
			c.action = "sts:TagSession"
			if evaluate(t, find(t, p.Documents, TrustPolicy).Body, false, c) != silent {
				t.Errorf("the trust policy allows %s", c.action)
			}
			for resource, want := range map[string]verdict{customerRoleARN: allowed, customerRoleARN + "2": silent, fleetRoleARN: silent} {
				c = call{who: fleetRoleARN, action: "sts:AssumeRole", resource: resource}
				if got := evaluate(t, find(t, p.Fleet, RolePolicy).Body, true, c); got != want {
					t.Errorf("the fleet's role on %s: verdict %d, want %d", resource, got, want)
				}
			}
		})
	}
}

func find(t *testing.T, documents []Document, kind DocumentKind) Document {
	t.Helper()
	for _, d := range documents {
		if d.Kind == kind {
			return d
		}
	}
	t.Fatalf("no document %s", kind)
	return Document{}
}

// A key may be named by ARN, id or alias; the role's account is where the last
// two are looked up.
func TestPolicyKeyNames(t *testing.T) {
	const id = "1234abcd-12ab-34cd-56ef-1234567890ab"
	tests := []struct {
		name   string
		option ConnectionOption
		key    string
		want   string // the resource of the statement
	}{
		{"ARN", AccessKeys, customerKeyARN, customerKeyARN},
		{"id in an account not known", AccessKeys, id, "arn:aws:kms:eu-central-1:*:key/" + id},
		{"id in the role's account", RoleChain, id, customerKeyARN},
		{"alias", RoleChain, "alias/loads", "arn:aws:kms:eu-central-1:" + customerAccount + ":key/*"},
		{"alias by ARN", AccessKeys, "arn:aws:kms:eu-central-1:" + customerAccount + ":alias/loads", "arn:aws:kms:eu-central-1:" + customerAccount + ":key/*"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := policySettings(t, tt.option, SSEKMSCustomer, "encryption_key: "+tt.key)
			p := policyOf(t, s)
			checkPolicy(t, s, p)
			kind := UserPolicy
			if tt.option == RoleChain {
				kind = RolePolicy
			}
			var doc struct{ Statement []struct{ Resource string } }
			if err := json.Unmarshal(find(t, p.Documents, kind).Body, &doc); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, doc.Statement[len(doc.Statement)-1].Resource); diff != "" {
				t.Errorf("key %s (-want +got)\n%s", tt.key, diff)
			}
		})
	}
}

// Which documents an option has, and which lie beyond one account.
func TestPolicyDocuments(t *testing.T) {
	tests := []struct {
		name   string
		option ConnectionOption
		sse    Encryption
		edits  []string
		want   []DocumentKind
		fleet  []DocumentKind
	}{
		{"keys", AccessKeys, SSES3, nil, []DocumentKind{UserPolicy}, nil},
		{"shared account", SharedAccount, SSES3, nil, []DocumentKind{BucketPolicy}, []DocumentKind{UserPolicy}},
		{"shared account with a key", SharedAccount, SSEKMSCustomer, nil, []DocumentKind{BucketPolicy, KeyPolicyStatement}, []DocumentKind{UserPolicy}},
		{"canonical id", CanonicalID, SSES3, nil, []DocumentKind{BucketOwnership, BucketACL}, []DocumentKind{UserPolicy}},
		{"role", RoleChain, SSEKMSCustomer, nil, []DocumentKind{TrustPolicy, RolePolicy}, []DocumentKind{RolePolicy}},
		{"role, bucket beside it", RoleChain, SSES3, []string{`bucket_owner: "` + customerAccount + `"`}, []DocumentKind{TrustPolicy, RolePolicy}, []DocumentKind{RolePolicy}},
		{"role, bucket and key elsewhere", RoleChain, SSEKMSCustomer,
			[]string{`bucket_owner: "111122223333"`, "encryption_key: arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"},
			[]DocumentKind{TrustPolicy, RolePolicy, BucketPolicy, KeyPolicyStatement}, []DocumentKind{RolePolicy}},
		{"shared account of a store", SharedAccount, SSEKMSCustomer, []string{"endpoint: https://s3.example.com"}, []DocumentKind{BucketPolicy}, []DocumentKind{UserPolicy}},
		{"canonical id of a store", CanonicalID, SSES3, []string{"endpoint: https://s3.example.com"}, []DocumentKind{BucketACL}, []DocumentKind{UserPolicy}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := policyOf(t, policySettings(t, tt.option, tt.sse, tt.edits...))
			kinds := func(documents []Document) (out []DocumentKind) {
				for _, d := range documents {
					out = append(out, d.Kind)
				}
				return out
			}
			if diff := cmp.Diff([][]DocumentKind{tt.want, tt.fleet}, [][]DocumentKind{kinds(p.Documents), kinds(p.Fleet)}); diff != "" {
				t.Errorf("documents (-want +got)\n%s", diff)
			}
		})
	}
}

// Stores other than AWS parse few conditions and have no KMS of AWS's: what they
// would refuse is left out, and the prefix still holds.
func TestPolicyOfAStore(t *testing.T) {
	for _, o := range []ConnectionOption{AccessKeys, SharedAccount, RoleChain} {
		p := policyOf(t, policySettings(t, o, SSEKMSCustomer, "endpoint: https://s3.example.com"))
		for _, d := range append(p.Documents, p.Fleet...) {
			for _, foreign := range []string{"kms:", "IfExists", "x-amz-server-side"} {
				if strings.Contains(string(d.Body), foreign) {
					t.Errorf("%s: %s holds %s:\n%s", o, d.Kind, foreign, d.Body)
				}
			}
			if d.Kind != TrustPolicy && !strings.Contains(string(d.Body), "loads/*") && !strings.Contains(string(d.Body), "sts:AssumeRole") {
				t.Errorf("%s: %s is not confined:\n%s", o, d.Kind, d.Body)
			}
		}
	}
}

func TestPolicyPartitions(t *testing.T) {
	f := testFleet()
	f.RoleARN = "arn:aws-cn:iam::" + fleetAccount + ":role/loadfleet"
	s := policySettings(t, RoleChain, SSEKMS, "region: cn-north-1", "assume_role_arn: arn:aws-cn:iam::123456789012:role/loads")
	p, err := s.Policy(f)
	if err != nil {
		t.Fatal(err)
	}
	text := string(find(t, p.Documents, RolePolicy).Body)
	for _, want := range []string{"arn:aws-cn:s3:::acme-data/loads/*", "arn:aws-cn:kms:cn-north-1:123456789012:key/*", "s3.cn-north-1.amazonaws.com.cn"} {
		if !strings.Contains(text, want) {
			t.Errorf("the role's policy lacks %s:\n%s", want, text)
		}
	}
	if strings.Contains(text, "arn:aws:") {
		t.Errorf("the role's policy names another partition:\n%s", text)
	}
}

func TestPolicyProblems(t *testing.T) {
	none := func(*Fleet) {}
	tests := []struct {
		name  string
		s     *Settings
		fleet func(*Fleet)
		want  []string
	}{
		{"no account", policySettings(t, SharedAccount, SSES3), func(f *Fleet) { f.AccountID, f.UserARN = "", "" }, []string{
			"fleet.account_id: is not configured, and shared_account admits the fleet's account (" + accountSetting + ", or " + userSetting + ")"}},
		{"account form", policySettings(t, SharedAccount, SSES3), func(f *Fleet) { f.AccountID, f.UserARN = "99998888777", "" }, []string{
			`fleet.account_id: "99998888777" is not an account id (` + accountSetting + ")"}},
		{"user of another account", policySettings(t, SharedAccount, SSES3), func(f *Fleet) { f.AccountID = "111122223333" }, []string{
			`fleet.user_arn: is a user of account "999988887777", and fleet.account_id is "111122223333" (` + userSetting + ")"}},
		{"role as user", policySettings(t, SharedAccount, SSES3), func(f *Fleet) { f.UserARN = fleetRoleARN }, []string{
			`fleet.user_arn: "` + fleetRoleARN + `" is not the ARN of an IAM user (` + userSetting + ")"}},
		{"no canonical id", policySettings(t, CanonicalID, SSES3), func(f *Fleet) { f.CanonicalID = "" }, []string{
			"fleet.canonical_id: is not configured, and canonical_id grants rights to it (" + canonicalSetting + ")"}},
		{"canonical id form", policySettings(t, CanonicalID, SSES3), func(f *Fleet) { f.CanonicalID = "999988887777" }, []string{
			`fleet.canonical_id: "999988887777" is not a canonical user id (` + canonicalSetting + ")"}},
		{"no role", policySettings(t, RoleChain, SSES3), func(f *Fleet) { f.RoleARN = "" }, []string{
			"fleet.role_arn: is not configured, and role_chain lets it assume the customer's role (" + roleSetting + ")"}},
		{"session as role", policySettings(t, RoleChain, SSES3), func(f *Fleet) { f.RoleARN = "arn:aws:sts::999988887777:assumed-role/loadfleet/x" }, []string{
			`fleet.role_arn: "arn:aws:sts::999988887777:assumed-role/loadfleet/x" is not the ARN of an IAM role (` + roleSetting + ")"}},
		{"role of another partition", policySettings(t, RoleChain, SSES3), func(f *Fleet) { f.RoleARN = "arn:aws-cn:iam::999988887777:role/x" }, []string{
			"fleet.role_arn: is in partition aws-cn, and no identity of it reaches a bucket of aws (give the destination a connection option that signs with the customer's own identity, access_keys)"}},
		{"a fleet without anything will do for keys", policySettings(t, AccessKeys, SSES3), func(f *Fleet) { *f = Fleet{} }, nil},
		{"folder too long for IAM", policySettings(t, AccessKeys, SSEKMSCustomer, "folder: '/"+strings.Repeat("*", 800)+"/{{workspace_id}}'"), none, []string{
			"folder: its constant part makes the user_policy 10291 characters long, and AWS takes no more than 6144 (write a shorter one)"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := testFleet()
			tt.fleet(&f)
			_, err := tt.s.Policy(f)
			var got []string
			if problems := (*Problems)(nil); errors.As(err, &problems) {
				for _, p := range *problems {
					got = append(got, p.String())
				}
			} else if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("problems (-want +got)\n%s", diff)
			}
		})
	}
}

// Cells of the matrix that are refused have no documents, however the settings came to be.
func TestPolicyOfRefusedCells(t *testing.T) {
	for _, o := range ConnectionOptions() {
		for _, e := range Encryptions() {
			if Allowed(o, e) {
				continue
			}
			s := policySettings(t, o, SSES3)
			s.Encryption, s.EncryptionKey = e, customerKeyARN
			if p, err := s.Policy(testFleet()); err == nil || !strings.Contains(err.Error(), "does not go with") {
				t.Errorf("%s with %s: %d documents, error %v", o, e, len(p.Documents), err)
			}
		}
	}
}

func TestPolicyNotes(t *testing.T) {
	tests := []struct {
		name string
		s    *Settings
		want string
	}{
		{"root", policySettings(t, AccessKeys, SSES3, "folder: /", "file_name: '{{filename}}-{{DD}}'"), "cover the whole bucket"},
		{"half a name", policySettings(t, AccessKeys, SSES3, "folder: /acme{{YYYY}}"), "acme, does not end with a slash"},
		{"ACL on new buckets", policySettings(t, CanonicalID, SSES3), "BucketOwnerEnforced"},
		{"ACL and prefixes", policySettings(t, CanonicalID, SSES3), "hold for the whole bucket"},
		{"no external id", policySettings(t, RoleChain, SSES3), "no external_id"},
		{"alias", policySettings(t, RoleChain, SSEKMSCustomer, "encryption_key: alias/loads"), "whoever may move the alias"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := policyOf(t, tt.s)
			if !strings.Contains(strings.Join(p.Notes, "\n"), tt.want) {
				t.Errorf("notes %q, want one with %q", p.Notes, tt.want)
			}
			if !strings.Contains(p.Text(), tt.want) {
				t.Errorf("the text lacks the note:\n%s", p.Text())
			}
		})
	}
}
