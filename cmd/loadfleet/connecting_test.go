package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/loadfleet/loadfleet/storage/embedded"
)

// chapter is a part of the guide under one heading.
type chapter struct {
	title     string
	documents map[string]string // the YAML documents, by file name
	additions []string          // the YAML that is none
	pasted    []json.RawMessage // the JSON documents
	commands  []string          // from sh blocks, and from the text
	steps     []string          // of a check, that its table explains
}

// readGuide takes the guide apart.
func readGuide(t *testing.T) []chapter {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "connecting.md"))
	if err != nil {
		t.Fatal(err)
	}
	inText := regexp.MustCompile("`(loadfleet [^`]+)`")
	step := regexp.MustCompile("`([a-z ]+)`")
	var all []chapter
	for i, part := range strings.Split("\n"+string(b), "\n## ") {
		c := chapter{documents: map[string]string{}}
		if i > 0 {
			c.title, part, _ = strings.Cut(part, "\n")
		}
		for n, piece := range strings.Split(part, "```") {
			if n%2 == 0 {
				for _, m := range inText.FindAllStringSubmatch(piece, -1) {
					c.commands = append(c.commands, m[1])
				}
				_, rows, _ := strings.Cut(piece, "| step that fails |")
				for line := range strings.Lines(rows) {
					if cells := strings.Split(line, "|"); len(cells) > 1 {
						for _, m := range step.FindAllStringSubmatch(cells[1], -1) {
							c.steps = append(c.steps, m[1])
						}
					}
				}
				continue
			}
			language, text, _ := strings.Cut(piece, "\n")
			switch language {
			case "yaml":
				if name, ok := strings.CutPrefix(text, "# "); ok {
					name, _, _ = strings.Cut(name, "\n")
					c.documents[name] = text
				} else {
					c.additions = append(c.additions, text)
				}
			case "json":
				c.pasted = append(c.pasted, json.RawMessage(text))
			case "sh":
				for line := range strings.Lines(text) {
					c.commands = append(c.commands, strings.TrimSpace(line))
				}
			default:
				t.Errorf("the guide has a block of %q, which no test runs", language)
			}
		}
		all = append(all, c)
	}
	return all
}

// canonical is JSON that can be compared.
func canonical(t *testing.T, doc json.RawMessage) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(doc, &v); err != nil {
		t.Fatalf("%v in %s", err, doc)
	}
	return v
}

// granted reads an IAM policy as the embedded server takes it, and whom a trust
// policy trusts on which condition.
func granted(t *testing.T, doc json.RawMessage) (rights []embedded.Statement, trusted, externalID string) {
	t.Helper()
	var policy struct {
		Statement []struct {
			Action, Resource any
			Principal        struct{ AWS string }
			Condition        struct {
				StringEquals map[string]string
			}
		}
	}
	if err := json.Unmarshal(doc, &policy); err != nil {
		t.Fatalf("%v in %s", err, doc)
	}
	texts := func(v any) []string {
		switch v := v.(type) {
		case string:
			return []string{v}
		case []any:
			var out []string
			for _, one := range v {
				out = append(out, fmt.Sprint(one))
			}
			return out
		}
		return nil
	}
	for _, s := range policy.Statement {
		rights = append(rights, embedded.Statement{Actions: texts(s.Action), Resources: texts(s.Resource)})
		trusted, externalID = s.Principal.AWS, s.Condition.StringEquals["sts:ExternalId"]
	}
	return rights, trusted, externalID
}

// policyOf is what `destination policy -o json` says.
type policyOf struct {
	Documents []struct {
		Body json.RawMessage `json:"body"`
	} `json:"documents"`
	Fleet []struct {
		Body json.RawMessage `json:"body"`
	} `json:"fleet_documents"`
}

// Every command and every document of docs/connecting.md: the documents are
// those that policy prints, and a store that grants exactly what they say
// passes the check.
func TestConnectingGuide(t *testing.T) {
	const (
		secret     = "guide/SECRET+access=key"
		processARN = "arn:aws:iam::999988887777:user/process"
		processKey = "AKIAPROCESSPROCESSPR"
		account    = "arn:aws:iam::123456789012:role/"
	)
	guide := readGuide(t)
	h := startHome(t)
	for _, c := range guide {
		for name, doc := range c.documents {
			h.write(t, name, doc)
		}
	}

	// What needs no store, and who the fleet is.
	policies := map[string]policyOf{}
	for _, c := range guide {
		for _, command := range c.commands {
			words := strings.Fields(command)
			switch {
			case words[0] == "export":
				name, value, _ := strings.Cut(words[1], "=")
				h.set(name, value)
			case words[0] != "loadfleet":
				t.Errorf("the guide has the command %q, which no test runs", command)
			case words[2] == "policy" || words[2] == "preview" || words[2] == "new-key":
				h.run(t, exitOK, "", words[1:]...)
			}
		}
		for name := range c.documents {
			var p policyOf
			h.read(t, &p, "destination", "policy", "-f", name)
			policies[name] = p
			var got, want []any
			for _, d := range c.pasted {
				got = append(got, canonical(t, d))
			}
			for _, d := range p.Documents {
				want = append(want, canonical(t, d.Body))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the documents under %q are not those of policy -f %s (-policy +guide):\n%s", c.title, name, diff)
			}
		}
	}
	if t.Failed() {
		return
	}

	// By now there are the keys that the guide has had placeholders for.
	for _, name := range []string{"ACME_SECRET", "FLEET_SECRET", "AWS_SECRET_ACCESS_KEY"} {
		if name != "AWS_SECRET_ACCESS_KEY" && h.variable(name) == "" {
			t.Errorf("the guide has no placeholder for %s", name)
		}
		h.set(name, secret)
	}
	h.set("AWS_ACCESS_KEY_ID", processKey)

	// A store that grants what the documents say, and others who lack a part.
	acme, _, _ := granted(t, policies["acme.yaml"].Documents[0].Body)
	globex, _, _ := granted(t, policies["globex.yaml"].Fleet[0].Body)
	initech, _, _ := granted(t, policies["initech.yaml"].Fleet[0].Body)
	fleetRole, _, _ := granted(t, policies["umbrella.yaml"].Fleet[0].Body)
	_, trusted, externalID := granted(t, policies["umbrella.yaml"].Documents[0].Body)
	umbrella, _, _ := granted(t, policies["umbrella.yaml"].Documents[1].Body)
	user := func(name, key string, rights ...embedded.Statement) embedded.User {
		return embedded.User{ARN: "arn:aws:iam::444455556666:user/" + name, AccessKey: key, SecretKey: secret, Policy: rights}
	}
	role := func(name, trusted, externalID string, rights ...embedded.Statement) embedded.Role {
		return embedded.Role{ARN: account + name, Trust: []string{trusted}, ExternalID: externalID, Policy: rights}
	}
	noPut := embedded.Statement{Deny: true, Actions: []string{"s3:PutObject"}}
	store, err := embedded.Start(t.Context(), embedded.Config{
		Dir: t.TempDir(), AccessKey: "root", SecretKey: "root-secret-of-the-store", Region: "eu-central-1", AccountID: "444455556666",
		Buckets: []string{"acme-data", "globex-data", "initech-data", "umbrella-data"},
		Users: []embedded.User{
			user("acme", "AKIAIOSFODNN7EXAMPLE", acme...),
			user("fleet", "AKIAI44QH8DHBEXAMPLE", slices.Concat(globex, initech)...),
			user("nothing", "AKIANOTHINGNOTHINGNO"),
			user("no-put", "AKIANOPUTNOPUTNOPUTN", append(slices.Concat(acme, globex), noPut)...),
			{ARN: processARN, AccessKey: processKey, SecretKey: secret},
		},
		Roles: []embedded.Role{
			{ARN: h.variable("LOADFLEET_FLEET_ROLE_ARN"), Trust: []string{processARN}, Policy: fleetRole},
			role("loadfleet-writer", trusted, externalID, umbrella...),
			role("no-trust", account+"somebody", externalID, umbrella...),
			role("other-id", trusted, "another", umbrella...),
			role("no-id", trusted, "", umbrella...),
			role("nothing", trusted, externalID),
		},
		Keys: []embedded.Key{{ARN: "arn:aws:kms:eu-central-1:444455556666:key/1234abcd-12ab-34cd-56ef-1234567890ab"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	h.set("LOADFLEET_STS_ENDPOINT", store.Endpoint())
	// The one thing that is not as in the guide: the store is not AWS.
	there := "endpoint: " + store.Endpoint() + "\npath_style: true\n"
	documents := map[string]string{}
	for _, c := range guide {
		for name, doc := range c.documents {
			h.run(t, exitOK, "", "destination", "apply", "-f", name) // as it stands
			documents[name] = doc + there
			h.write(t, name, doc+there)
		}
	}

	for _, c := range guide {
		for _, command := range c.commands {
			words := strings.Fields(command)
			if words[0] == "export" || words[2] == "policy" || words[2] == "preview" || words[2] == "new-key" {
				continue
			}
			f := h.run(t, exitOK, "", words[1:]...)
			if words[2] == "check" && !strings.Contains(f.out, "Loads will work") {
				t.Errorf("%s says\n%s", command, f.out)
			}
		}
	}
	var all []struct{ ID, State string }
	h.read(t, &all, "destination", "list")
	for _, d := range all {
		if d.State != "open" {
			t.Errorf("after the guide's commands destination %s is %q", d.ID, d.State)
		}
	}

	// What the tables say of a step that fails.
	const anyRole = "role/loadfleet-writer"
	explained, failed := map[string][]string{}, map[string][]string{}
	for _, c := range guide {
		for name := range c.documents {
			explained[name] = c.steps
		}
	}
	for _, tt := range []struct {
		name, document string
		old, new       string // an edit of the document, or of the environment
		code           int
		want           map[string]string // steps that fail, by cause; nil: list and put
	}{
		{"the secret of another key", "acme.yaml", "env:ACME_SECRET", "another/SECRET+access=key", exitBad, map[string]string{"credentials": "wrong_secret"}},
		{"no policy", "acme.yaml", "AKIAIOSFODNN7EXAMPLE", "AKIANOTHINGNOTHINGNO", exitBad, nil},
		{"put denied", "acme.yaml", "AKIAIOSFODNN7EXAMPLE", "AKIANOPUTNOPUTNOPUTN", exitBad, map[string]string{"put": "denied_put"}},
		{"no bucket policy", "globex.yaml", "AKIAI44QH8DHBEXAMPLE", "AKIANOTHINGNOTHINGNO", exitBad, nil},
		{"put denied by the bucket", "globex.yaml", "AKIAI44QH8DHBEXAMPLE", "AKIANOPUTNOPUTNOPUTN", exitBad, map[string]string{"put": "denied_put"}},
		{"somebody else's bucket", "globex.yaml", "444455556666", "444455557777", exitBad, map[string]string{"bucket": "foreign_bucket"}},
		{"no grants", "initech.yaml", "AKIAI44QH8DHBEXAMPLE", "AKIANOTHINGNOTHINGNO", exitBad, nil},
		{"our role is not trusted", "umbrella.yaml", anyRole, "role/no-trust", exitBad, map[string]string{"customer role": "role_denied_with_external_id"}},
		{"another external id", "umbrella.yaml", anyRole, "role/other-id", exitBad, map[string]string{"customer role": "role_denied_with_external_id"}},
		{"no external id asked", "umbrella.yaml", anyRole, "role/no-id", exitOK, map[string]string{"external id": "external_id_not_demanded"}},
		{"the fleet's own key is wrong", "umbrella.yaml", "AWS_SECRET_ACCESS_KEY", "another/SECRET+access=key", exitBad, map[string]string{"own credentials": "wrong_secret"}},
		{"the fleet's role is not ours", "umbrella.yaml", "LOADFLEET_FLEET_ROLE_ARN", account + "no-trust", exitBad, map[string]string{"fleet role": "role_denied"}},
		{"a role without a policy", "umbrella.yaml", anyRole, "role/nothing", exitBad, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			doc := documents[tt.document]
			if before := h.variable(tt.old); before != "" {
				h.set(tt.old, tt.new)
				defer h.set(tt.old, before)
			} else if !strings.Contains(doc, tt.old) {
				t.Fatalf("%s has no %q", tt.document, tt.old)
			}
			f := h.run(t, tt.code, strings.Replace(doc, tt.old, tt.new, 1), "destination", "check", "-f", "-", "-o", "json")
			var report struct {
				Probes []struct {
					Name, Result string
					Cause        *struct{ ID string }
				}
			}
			if err := json.Unmarshal([]byte(f.out), &report); err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for _, p := range report.Probes {
				if p.Cause != nil {
					got[p.Name] = p.Cause.ID
				}
			}
			if tt.want == nil { // list and put, with whatever else follows from it
				if got["list"] == "" || got["put"] == "" {
					t.Errorf("%v fail, want list and put", got)
				}
			} else {
				for step, cause := range tt.want {
					if got[step] != cause {
						t.Errorf("%v fail, want %s: %s", got, step, cause)
					}
				}
			}
			if tt.want["put"] != "" && got["list"] != "" {
				t.Errorf("%v fail, want put alone", got)
			}
			steps := slices.Collect(maps.Keys(tt.want))
			if tt.want == nil {
				steps = []string{"list", "put"}
			}
			for _, step := range steps {
				if !slices.Contains(explained[tt.document], step) {
					t.Errorf("the guide's table for %s explains %v, not %s", tt.document, explained[tt.document], step)
				}
				failed[tt.document] = append(failed[tt.document], step)
			}
		})
	}
	for name, steps := range explained {
		for _, step := range steps {
			if !slices.Contains(failed[name], step) {
				t.Errorf("the guide's table for %s explains %s, and no case here makes it fail", name, step)
			}
		}
	}

	// With a key.
	defer func() {
		found := newSearch("umbrella", map[string]string{"secret": secret, "other secret": "another/SECRET+access=key"})
		for _, u := range h.said {
			found.look(t, "output", u.command, []byte(u.text.String()))
		}
		if !found.seen["output"] {
			t.Error("the search of outputs has not even found a destination")
		}
	}()
	for _, c := range guide {
		for _, addition := range c.additions {
			for _, name := range []string{"acme.yaml", "globex.yaml", "umbrella.yaml"} {
				doc := strings.Replace(documents[name], "encryption: sse-s3\n", addition, 1)
				f := h.run(t, exitOK, doc, "destination", "check", "-f", "-")
				if !strings.Contains(f.out, "sse-kms-customer") {
					t.Errorf("check of %s with a key says %s", name, f.out)
				}
				// The key belongs to policies on AWS only.
				var p policyOf
				out := h.run(t, exitOK, strings.Replace(doc, there, "", 1), "destination", "policy", "-f", "-", "-o", "json").out
				if err := json.Unmarshal([]byte(out), &p); err != nil {
					t.Fatal(err)
				}
				key := false
				for _, d := range p.Documents {
					key = key || strings.Contains(string(d.Body), "kms:GenerateDataKey")
				}
				if !key {
					t.Errorf("policy of %s with a key grants no right to it", name)
				}
			}
		}
	}
}
