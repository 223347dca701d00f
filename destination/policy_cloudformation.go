package destination

import (
	"errors"
	"strings"
)

// ErrNoTemplate says that CloudFormation has no resource for what a connection
// option needs.
var ErrNoTemplate = errors.New("CloudFormation cannot grant an existing bucket's ACL to a canonical id: use the JSON documents or Terraform, or prefer shared_account")

// CloudFormation is the customer's side as a template in YAML. The statement
// for a KMS key's policy stands in its Metadata, because a key's policy belongs
// to the stack that made the key. For canonical_id the error is [ErrNoTemplate].
func (p Policy) CloudFormation() (string, error) {
	if p.has(BucketACL) {
		return "", ErrNoTemplate
	}
	var parameters, resources, metadata []entry
	policyName := "loadfleet-" + p.Destination
	documents := map[DocumentKind]node{}
	for _, d := range p.Documents {
		documents[d.Kind] = body(d)
	}
	if policy, ok := documents[UserPolicy]; ok {
		parameters = append(parameters, entryOf("UserName", fieldsOf("Type", "String", "Description", "Name of the IAM user whose access key the destination has")))
		resources = append(resources, entryOf("LoadfleetUserPolicy", fieldsOf("Type", "AWS::IAM::ManagedPolicy", "Properties",
			fieldsOf("ManagedPolicyName", policyName, "Users", listOf(fieldsOf("Ref", "UserName")), "PolicyDocument", policy))))
	}
	if trusted, ok := documents[TrustPolicy]; ok {
		resources = append(resources, entryOf("LoadfleetRole", fieldsOf("Type", "AWS::IAM::Role", "Properties",
			fieldsOf("RoleName", p.scope.roleName, "Path", p.scope.rolePath, "AssumeRolePolicyDocument", trusted,
				"Policies", listOf(fieldsOf("PolicyName", policyName, "PolicyDocument", documents[RolePolicy]))))))
	}
	if policy, ok := documents[BucketPolicy]; ok {
		resources = append(resources, entryOf("LoadfleetBucketPolicy", fieldsOf("Type", "AWS::S3::BucketPolicy", "Properties",
			fieldsOf("Bucket", p.scope.bucketName, "PolicyDocument", policy))))
	}
	if statement, ok := documents[KeyPolicyStatement]; ok {
		metadata = append(metadata, entryOf("LoadfleetKeyPolicyStatement", fieldsOf(
			"Paste", "Into the list Statement of the policy of "+p.scope.key+", in the stack or place that manages the key", "Statement", statement)))
	}
	var b strings.Builder
	for _, note := range p.Notes {
		b.WriteString(comment("Note: " + note))
	}
	template := []entry{
		entryOf("AWSTemplateFormatVersion", node{kind: text, text: "2010-09-09"}),
		entryOf("Description", node{kind: text, text: "What loadfleet destination " + p.Destination + " needs in the account of the bucket"}),
	}
	for _, section := range []struct {
		name    string
		entries []entry
	}{{"Metadata", metadata}, {"Parameters", parameters}, {"Resources", resources}} {
		if len(section.entries) > 0 {
			template = append(template, entryOf(section.name, node{kind: mapping, entries: section.entries}))
		}
	}
	writeBlock(&b, node{kind: mapping, entries: template}, 0)
	return b.String(), nil
}

func entryOf(name string, value node) entry { return entry{name: name, value: value} }

func listOf(items ...node) node { return node{kind: list, items: items} }

// fieldsOf is a mapping of names and values, which are strings or nodes.
func fieldsOf(pairs ...any) node {
	n := node{kind: mapping}
	for i := 0; i+1 < len(pairs); i += 2 {
		name, _ := pairs[i].(string)
		value, ok := pairs[i+1].(node)
		if !ok {
			said, _ := pairs[i+1].(string)
			value = node{kind: text, text: said}
		}
		n.entries = append(n.entries, entryOf(name, value))
	}
	return n
}

// writeBlock writes a mapping or list as a YAML block. Every value is quoted,
// and so is every name that is not plainly a word: YAML finds dates, tags and
// aliases in bare text.
func writeBlock(b *strings.Builder, n node, depth int) {
	indent := strings.Repeat("  ", depth)
	value := func(v node) {
		if v.kind == list || v.kind == mapping {
			b.WriteByte('\n')
			writeBlock(b, v, depth+1)
			return
		}
		b.WriteString(" " + quoted(v.text) + "\n")
	}
	for _, item := range n.items {
		b.WriteString(indent + "-")
		value(item)
	}
	for _, e := range n.entries {
		name := e.name
		if name == "" || hclName(name) != name || alphanumeric(name) != name {
			name = quoted(name)
		}
		b.WriteString(indent + name + ":")
		value(e.value)
	}
}
