package destination

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
)

// everyPolicy calls do with the policy of every allowed cell and folder.
func everyPolicy(t *testing.T, do func(*testing.T, *Settings, Policy)) {
	t.Helper()
	for _, o := range ConnectionOptions() {
		for _, e := range Encryptions() {
			if !Allowed(o, e) {
				continue
			}
			for _, folder := range folders() {
				t.Run(fmt.Sprintf("%s %s %s", o, e, folder), func(t *testing.T) {
					s := policySettings(t, o, e, folder)
					do(t, s, policyOf(t, s))
				})
			}
		}
	}
}

func decoded(t *testing.T, d Document) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(d.Body, &v); err != nil {
		t.Fatalf("%s is not JSON: %v\n%s", d.Kind, err, d.Body)
	}
	return v
}

func TestPolicyJSON(t *testing.T) {
	everyPolicy(t, func(t *testing.T, s *Settings, p Policy) {
		files := map[string]bool{}
		for _, d := range append(p.Documents, p.Fleet...) {
			decoded(t, d)
			if strings.ContainsFunc(string(d.Body), func(r rune) bool { return r > 0x7E }) {
				t.Errorf("%s is not ASCII:\n%s", d.Kind, d.Body)
			}
			if files[d.File] {
				t.Errorf("two documents are called %s", d.File)
			}
			files[d.File] = true
			if d.Title == "" || d.Paste == "" || !strings.Contains(d.Command, d.File) {
				t.Errorf("%s: title %q, paste %q, command %q", d.Kind, d.Title, d.Paste, d.Command)
			}
		}
		whole, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var back Policy
		if err := json.Unmarshal(whole, &back); err != nil {
			t.Fatal(err)
		}
		for i, d := range p.Documents {
			if diff := cmp.Diff(decoded(t, d), decoded(t, back.Documents[i])); diff != "" {
				t.Errorf("%s through JSON (-want +got)\n%s", d.Kind, diff)
			}
		}
		for _, text := range []string{string(whole), p.Text(), p.Terraform()} {
			if secret := s.SecretAccessKey.Reveal(); secret != "" && strings.Contains(text, secret) {
				t.Error("the secret access key is shown")
			}
		}
	})
}

// TestPolicyTerraform parses what is rendered: the documents must come back as they were.
func TestPolicyTerraform(t *testing.T) {
	argument := map[DocumentKind]struct{ resource, name string }{
		UserPolicy: {"aws_iam_policy", "policy"}, RolePolicy: {"aws_iam_role_policy", "policy"},
		TrustPolicy: {"aws_iam_role", "assume_role_policy"}, BucketPolicy: {"aws_s3_bucket_policy", "policy"},
	}
	everyPolicy(t, func(t *testing.T, s *Settings, p Policy) {
		text := p.Terraform()
		blocks, err := parseHCL(text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		resource := map[string]block{}
		for _, b := range blocks {
			name := b.kind
			if b.kind == "resource" {
				name = b.labels[0]
			}
			if _, twice := resource[name]; twice {
				t.Fatalf("%s stands twice\n%s", name, text)
			}
			resource[name] = b
		}
		for _, d := range p.Documents {
			switch d.Kind {
			case KeyPolicyStatement:
				if diff := cmp.Diff(decoded(t, d), resource["locals"].args["loadfleet_acme_key"]); diff != "" {
					t.Errorf("%s (-want +got)\n%s", d.Kind, diff)
				}
			case BucketOwnership:
				if got := resource["aws_s3_bucket_ownership_controls"].blocks[0].args["object_ownership"]; got != "ObjectWriter" {
					t.Errorf("ownership %v", got)
				}
			case BucketACL:
				checkTerraformACL(t, resource["aws_s3_bucket_acl"])
			default:
				at := argument[d.Kind]
				if diff := cmp.Diff(decoded(t, d), resource[at.resource].args[at.name]); diff != "" {
					t.Errorf("%s (-want +got)\n%s", d.Kind, diff)
				}
			}
		}
		if role, ok := resource["aws_iam_role"]; ok && (role.args["name"] != "loads" || role.args["path"] != "/") {
			t.Errorf("role %v with path %v", role.args["name"], role.args["path"])
		}
	})
}

// checkTerraformACL: the owner keeps all rights, and we get ours.
func checkTerraformACL(t *testing.T, b block) {
	t.Helper()
	var got []string
	for _, grant := range b.blocks[0].blocks {
		if grant.kind == "grant" {
			got = append(got, fmt.Sprintf("%v %v", grant.args["permission"], grant.blocks[0].args["id"]))
		}
	}
	us := testFleet().CanonicalID
	want := []string{"FULL_CONTROL data.aws_canonical_user_id.loadfleet_acme.id", "READ " + us, "WRITE " + us}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("grants (-want +got)\n%s", diff)
	}
}

// TestPolicyCloudFormation parses what is rendered: the documents must come back as they were.
func TestPolicyCloudFormation(t *testing.T) {
	everyPolicy(t, func(t *testing.T, s *Settings, p Policy) {
		text, err := p.CloudFormation()
		if s.ConnectionOption == CanonicalID {
			if !errors.Is(err, ErrNoTemplate) {
				t.Fatalf("error %v, want ErrNoTemplate", err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		type tree = map[string]any
		var template tree
		if err := yaml.UnmarshalWithOptions([]byte(text), &template, yaml.Strict()); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		at := func(path ...any) any {
			var v any = template
			for _, step := range path {
				switch step := step.(type) {
				case string:
					m, ok := v.(tree)
					if !ok || m[step] == nil {
						t.Fatalf("nothing at %v\n%s", path, text)
					}
					v = m[step]
				case int:
					v = v.([]any)[step]
				}
			}
			return v
		}
		if at("AWSTemplateFormatVersion") != "2010-09-09" {
			t.Errorf("version %v", at("AWSTemplateFormatVersion"))
		}
		places := map[DocumentKind][]any{
			UserPolicy:         {"Resources", "LoadfleetUserPolicy", "Properties", "PolicyDocument"},
			TrustPolicy:        {"Resources", "LoadfleetRole", "Properties", "AssumeRolePolicyDocument"},
			RolePolicy:         {"Resources", "LoadfleetRole", "Properties", "Policies", 0, "PolicyDocument"},
			BucketPolicy:       {"Resources", "LoadfleetBucketPolicy", "Properties", "PolicyDocument"},
			KeyPolicyStatement: {"Metadata", "LoadfleetKeyPolicyStatement", "Statement"},
		}
		for _, d := range p.Documents {
			if diff := cmp.Diff(decoded(t, d), at(places[d.Kind]...)); diff != "" {
				t.Errorf("%s (-want +got)\n%s", d.Kind, diff)
			}
		}
	})
}

func TestQuoting(t *testing.T) {
	texts := []string{
		"", "plain", `a"b\c`, "${x}", "$${x}", "$$${x}", "%{if}", "%%{if}", "$%{", "${${", "a\nb\tc", "\x00\x7f\u0085\u2028\ufeff", "📦 ü", "$", "{", "yes", "- a: #b", "'",
		"${$}${*}", "$$$$${${$${",
	}
	for _, text := range texts {
		blocks, err := parseHCL("x {\n  a = " + hclQuoted(text) + "\n}\n")
		if err != nil || blocks[0].args["a"] != text {
			t.Errorf("HCL: %q became %s, %v", text, hclQuoted(text), err)
		}
		var back map[string]string
		if err := yaml.Unmarshal([]byte("a: "+quoted(text)+"\n"), &back); err != nil || back["a"] != text {
			t.Errorf("YAML: %q became %s and %q, %v", text, quoted(text), back["a"], err)
		}
		var plain string
		if body, _ := documentJSON(text); json.Unmarshal(body, &plain) != nil || plain != text {
			t.Errorf("JSON: %q became %s", text, body)
		}
	}
	for text, want := range map[string]string{
		"": "''", "acme-data": "acme-data", "a b": "'a b'", "$(rm)": "'$(rm)'", "it's": `'it'\''s'`, "a\nb": "'a\nb'", "*": "'*'", "ü": "'ü'",
	} {
		if got := shell(text); got != want {
			t.Errorf("shell(%q) = %s, want %s", text, got, want)
		}
	}
	if got := comment("a\nresource {}\u2028"); got != "# a resource {} \n" {
		t.Errorf("comment %q", got)
	}
	for _, pair := range [][2]string{{"a-b", "ab"}, {"a-b", "a_b"}, {"a-", "a"}} {
		if a, b := alphanumeric(pair[0]), alphanumeric(pair[1]); a == b {
			t.Errorf("the ids %q share the sid %s", pair, a)
		}
	}
}

func FuzzPolicyQuoting(f *testing.F) {
	f.Add("${*}$${\"\\\n")
	f.Fuzz(func(t *testing.T, text string) {
		text = strings.ToValidUTF8(text, "")
		blocks, err := parseHCL("x {\n  a = " + hclQuoted(text) + "\n}\n")
		if err != nil || blocks[0].args["a"] != text {
			t.Errorf("%q became %s, %v", text, hclQuoted(text), err)
		}
		if strings.Contains(comment(text)[2:len(comment(text))-1], "\n") {
			t.Errorf("the comment of %q has two lines", text)
		}
		if !match(literally(text), text, nil) {
			t.Errorf("%q as a pattern, %q, does not match itself", text, literally(text))
		}
	})
}
