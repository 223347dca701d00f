package destination

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// Policy is what must be put in place so that a destination can be loaded: the
// documents of its connection option, filled in. [Settings.Policy] makes it;
// Terraform and CloudFormation render it for those tools.
//
// The documents allow the calls that loads, checks and verifications make, on
// keys under the constant leading part of the destination's folder, and nothing
// else. They hold no secret.
type Policy struct {
	Destination string           `json:"destination"`
	Option      ConnectionOption `json:"connection_option"`

	// Documents are the bucket's side: the customer puts them in place.
	Documents []Document `json:"documents"`

	// Fleet are the fleet's side: its operator puts them in place, once per
	// destination. Between two accounts S3, KMS and STS ask both sides.
	Fleet []Document `json:"fleet_documents,omitempty"`

	// Notes say what the documents cannot do or take for granted.
	Notes []string `json:"notes,omitempty"`

	scope scope
}

// Document is one paste: valid JSON in ASCII letters, with the place it belongs to.
type Document struct {
	Kind    DocumentKind    `json:"kind"`
	Title   string          `json:"title"`
	Paste   string          `json:"paste"`   // where, in words
	File    string          `json:"file"`    // the file that Command reads, with Body in it
	Command string          `json:"command"` // a shell's, to do the same with the AWS CLI
	Body    json.RawMessage `json:"body"`
}

// DocumentKind says what a document is.
type DocumentKind string

// The kinds of documents.
const (
	UserPolicy         DocumentKind = "user_policy"          // an IAM policy of the user whose keys sign
	RolePolicy         DocumentKind = "role_policy"          // an IAM policy of the role that is assumed
	TrustPolicy        DocumentKind = "trust_policy"         // who may assume the role
	BucketPolicy       DocumentKind = "bucket_policy"        // a policy of the bucket
	KeyPolicyStatement DocumentKind = "key_policy_statement" // one statement to add to a KMS key's policy
	BucketOwnership    DocumentKind = "bucket_ownership"     // ownership controls, which turn ACLs on
	BucketACL          DocumentKind = "bucket_acl"           // grants to add to the bucket's ACL
)

// Policy makes the documents of the destination's connection option for this
// fleet. The error is a [*Problems] that names what the fleet's operator has to
// configure first, or what makes the settings unfit; settings that Parse took
// and a fleet that is fully configured have none, save a folder whose constant
// part is too long for an IAM policy.
//
//	access_keys     user policy
//	shared_account  bucket policy; with sse-kms-customer a key policy statement
//	canonical_id    bucket ownership, ACL grants
//	role_chain      trust policy, role policy; a bucket policy and a key policy
//	                statement when bucket or key are known to be in another
//	                account than the role
func (s *Settings) Policy(f Fleet) (Policy, error) {
	var found Problems
	if reason, remedy := refusal(s.ConnectionOption, s.Encryption); reason != "" {
		found.add("encryption", fmt.Sprintf("%s does not go with %s: %s", s.Encryption, s.ConnectionOption, reason), remedy)
	}
	f.judge(s, &found)
	prefix, err := s.Prefix()
	if err != nil {
		return Policy{}, err
	}
	if err := found.err(); err != nil {
		return Policy{}, err
	}
	w := policyWriter{scope: newScope(s, f, prefix), s: s, fleet: f, problems: &found}
	w.policy = Policy{Destination: s.ID, Option: s.ConnectionOption, scope: w.scope}
	switch s.ConnectionOption {
	case AccessKeys:
		w.accessKeys()
	case SharedAccount:
		w.sharedAccount()
	case CanonicalID:
		w.canonicalID()
	case RoleChain:
		w.roleChain()
	default:
		found.add("connection_option", shown(string(s.ConnectionOption))+" has no documents", oneOf(ConnectionOptions()))
	}
	w.notes()
	if err := found.err(); err != nil {
		return Policy{}, err
	}
	return w.policy, nil
}

// Text is the policy for people: each document with its title, its place and
// its command.
func (p Policy) Text() string {
	var b strings.Builder
	section := func(documents []Document) {
		for i, d := range documents {
			fmt.Fprintf(&b, "\n%d. %s\n   Paste it into: %s\n\n%s\n\n   Or save it as %s and run:\n\n", i+1, d.Title, d.Paste, d.Body, d.File)
			for line := range strings.Lines(d.Command) {
				b.WriteString("   " + line)
			}
			b.WriteByte('\n')
		}
	}
	fmt.Fprintf(&b, "Destination %s, %s. In the account of the bucket:\n", p.Destination, p.Option)
	section(p.Documents)
	if len(p.Fleet) > 0 {
		b.WriteString("\nIn the account of the fleet, by its operator:\n")
		section(p.Fleet)
	}
	for i, note := range p.Notes {
		if i == 0 {
			b.WriteString("\nNote:\n")
		}
		b.WriteString("- " + note + "\n")
	}
	return b.String()
}

// policyWriter gathers the documents of one policy.
type policyWriter struct {
	scope    scope
	s        *Settings
	fleet    Fleet
	policy   Policy
	problems *Problems
}

// add appends a document to one side, if it is not over AWS's limit, which
// counts no white space.
func (w *policyWriter) add(side *[]Document, kind DocumentKind, limit int, title, paste string, body any, command func(file string) string) {
	text, size := documentJSON(body)
	if limit > 0 && size > limit {
		w.problems.add("folder", fmt.Sprintf("its constant part makes the %s %d characters long, and AWS takes no more than %d", kind, size, limit), "write a shorter one")
	}
	name := "loadfleet-" + w.s.ID + "-" + strings.ReplaceAll(string(kind), "_", "-") + ".json"
	if side == &w.policy.Fleet {
		name = "loadfleet-" + w.s.ID + "-fleet-" + strings.ReplaceAll(string(kind), "_", "-") + ".json"
	}
	*side = append(*side, Document{Kind: kind, Title: title, Paste: paste, File: name, Command: command(shell(name)), Body: text})
}

// documentJSON is the indented body and its length without white space between
// the tokens. Characters beyond ASCII are escaped: IAM refuses documents that
// hold characters above U+00FF.
func documentJSON(body any) (text json.RawMessage, size int) {
	compact := compactJSON(body)
	var indented bytes.Buffer
	if err := json.Indent(&indented, compact, "", "  "); err != nil {
		panic("destination: a document that is no JSON: " + err.Error())
	}
	return indented.Bytes(), len(compact)
}

// compactJSON is body in one line, in ASCII.
func compactJSON(body any) json.RawMessage {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(body); err != nil {
		panic("destination: a document that is no JSON: " + err.Error()) // strings, lists and maps of them always are
	}
	return escapeNonASCII(bytes.TrimSpace(b.Bytes()))
}

// policyName names the policies that are made for the destination.
func (w *policyWriter) policyName() string { return "loadfleet-" + w.s.ID }
