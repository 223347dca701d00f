package destination

import (
	"fmt"
	"strings"
)

// Terraform is the customer's side as resources of Terraform's aws provider.
// The policy of a KMS key is not replaced: its statement is a local value to add
// to the resource that manages the key.
func (p Policy) Terraform() string {
	t := terraform{policy: p, name: "loadfleet_" + hclName(p.Destination)}
	t.b.WriteString(comment(fmt.Sprintf("What destination %s (%s) needs in the account of the bucket.", p.Destination, p.Option)))
	for _, note := range p.Notes {
		t.b.WriteString(comment("Note: " + note))
	}
	for _, d := range p.Documents {
		t.b.WriteByte('\n')
		if d.Kind != TrustPolicy { // it is part of the role
			t.b.WriteString(comment(d.Title + "."))
		}
		t.resource(d)
	}
	return t.b.String()
}

type terraform struct {
	b      strings.Builder
	policy Policy
	name   string // of every resource
}

func (t *terraform) line(format string, args ...any) { fmt.Fprintf(&t.b, format+"\n", args...) }

// encoded is the document's body as an argument that must be JSON text.
func encoded(d Document) string { return "jsonencode(" + hclValue(body(d), 1) + ")" }

// block writes one block with its arguments.
func (t *terraform) block(kind, label, name string, args ...[2]string) {
	t.b.WriteString(kind)
	if label != "" {
		t.b.WriteString(" " + hclQuoted(label))
	}
	t.b.WriteString(" " + hclQuoted(name) + " {\n" + aligned("  ", args...) + "}\n")
}

// aligned writes arguments as "terraform fmt" does: those of one line that stand
// together have their signs under each other.
func aligned(indent string, args ...[2]string) string {
	var b strings.Builder
	for from := 0; from < len(args); {
		to, width := from, 0
		for to < len(args) && !strings.Contains(args[to][1], "\n") {
			width = max(width, len(args[to][0]))
			to++
		}
		to = max(to, from+1)
		for _, a := range args[from:to] {
			fmt.Fprintf(&b, "%s%-*s = %s\n", indent, width, a[0], a[1])
		}
		from = to
	}
	return b.String()
}

func (t *terraform) resource(d Document) {
	scope, policyName := t.policy.scope, hclQuoted("loadfleet-"+t.policy.Destination)
	switch d.Kind {
	case UserPolicy:
		t.block("variable", "", t.name+"_user", [2]string{"type", "string"}, [2]string{"description", hclQuoted("Name of the IAM user whose access key the destination has")})
		t.b.WriteByte('\n')
		t.block("resource", "aws_iam_policy", t.name, [2]string{"name", policyName}, [2]string{"policy", encoded(d)})
		t.b.WriteByte('\n')
		t.block("resource", "aws_iam_user_policy_attachment", t.name, [2]string{"user", "var." + t.name + "_user"}, [2]string{"policy_arn", "aws_iam_policy." + t.name + ".arn"})
	case TrustPolicy:
		t.block("resource", "aws_iam_role", t.name, [2]string{"name", hclQuoted(scope.roleName)}, [2]string{"path", hclQuoted(scope.rolePath)}, [2]string{"assume_role_policy", encoded(d)})
	case RolePolicy:
		t.block("resource", "aws_iam_role_policy", t.name, [2]string{"name", policyName}, [2]string{"role", "aws_iam_role." + t.name + ".name"}, [2]string{"policy", encoded(d)})
	case BucketPolicy:
		t.b.WriteString(comment("A bucket has one policy: if it is managed already, add these statements there."))
		t.block("resource", "aws_s3_bucket_policy", t.name, [2]string{"bucket", hclQuoted(scope.bucketName)}, [2]string{"policy", encoded(d)})
	case KeyPolicyStatement:
		t.b.WriteString(comment("A key has one policy, and aws_kms_key_policy replaces it whole. Add this to the list Statement"))
		t.b.WriteString(comment("of the policy you manage, as in: Statement = concat(local.own, [local." + t.name + "_key])"))
		t.line("locals {\n  %s_key = %s\n}", t.name, hclValue(body(d), 1))
	case BucketOwnership:
		t.line("resource \"aws_s3_bucket_ownership_controls\" %q {\n  bucket = %s\n  rule {\n    object_ownership = \"ObjectWriter\"\n  }\n}", t.name, hclQuoted(scope.bucketName))
	case BucketACL:
		t.acl(d)
	}
}

// acl is the whole ACL: the provider manages no single grants.
func (t *terraform) acl(d Document) {
	t.b.WriteString(comment("This is the whole ACL: add the grants that the bucket has besides the owner's."))
	t.line("data \"aws_canonical_user_id\" %q {}\n", t.name)
	t.line("resource \"aws_s3_bucket_acl\" %q {", t.name)
	var args [][2]string
	if t.policy.has(BucketOwnership) {
		args = append(args, [2]string{"depends_on", "[aws_s3_bucket_ownership_controls." + t.name + "]"})
	}
	t.b.WriteString(aligned("  ", append(args, [2]string{"bucket", hclQuoted(t.policy.scope.bucketName)})...))
	t.line("  access_control_policy {")
	owner := "data.aws_canonical_user_id." + t.name + ".id"
	t.line("    owner {\n      id = %s\n    }", owner)
	grant := func(id, permission string) {
		t.line("    grant {\n      permission = %s\n      grantee {\n        id   = %s\n        type = \"CanonicalUser\"\n      }\n    }", hclQuoted(permission), id)
	}
	grant(owner, "FULL_CONTROL")
	for _, g := range body(d).at("Grants").items {
		grant(hclQuoted(g.at("Grantee").at("ID").text), g.at("Permission").text)
	}
	t.line("  }\n}")
}

// has reports whether the customer's side has a document of the kind.
func (p Policy) has(kind DocumentKind) bool {
	for _, d := range p.Documents {
		if d.Kind == kind {
			return true
		}
	}
	return false
}

// body is the document taken apart, with its fields in order.
func body(d Document) node {
	n, err := readJSON(d.Body)
	if err != nil {
		panic("destination: a document that is no JSON: " + err.Error()) // Policy made it
	}
	return n
}

// at is a field of a mapping, nothing when there is none.
func (n node) at(name string) node {
	for _, e := range n.entries {
		if e.name == name {
			return e.value
		}
	}
	return node{kind: nothing}
}

// hclValue writes texts, lists and mappings as an expression of HCL. Field
// names are quoted: most have a colon.
func hclValue(n node, depth int) string {
	indent := strings.Repeat("  ", depth+1)
	var b strings.Builder
	switch n.kind {
	case list:
		b.WriteString("[\n")
		for _, item := range n.items {
			b.WriteString(indent + hclValue(item, depth+1) + ",\n")
		}
		b.WriteString(indent[2:] + "]")
	case mapping:
		b.WriteString("{\n")
		var args [][2]string
		for _, e := range n.entries {
			args = append(args, [2]string{hclQuoted(e.name), hclValue(e.value, depth+1)})
		}
		b.WriteString(aligned(indent, args...) + indent[2:] + "}")
	default:
		b.WriteString(hclQuoted(n.text))
	}
	return b.String()
}
