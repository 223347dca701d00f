package destination

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// call is one question that AWS asks a policy. A request may need several.
type call struct {
	who      string // ARN of the user or role that signs
	action   string
	resource string
	context  map[string][]string // only what the request carries
}

// verdict of one policy: a Deny beats every Allow.
type verdict int

const (
	silent verdict = iota
	allowed
	denied
)

// evaluate judges a call by IAM's rules for the elements that our documents
// use; it fails the test at any other element, so that none goes unjudged.
// Identity policies have no Principal, and resource policies have one.
func evaluate(t *testing.T, policy []byte, identity bool, c call) verdict {
	t.Helper()
	var doc struct {
		Version   string
		Statement []map[string]json.RawMessage
	}
	if err := json.Unmarshal(policy, &doc); err != nil {
		t.Fatalf("not a policy: %v\n%s", err, policy)
	}
	if doc.Version != "2012-10-17" {
		t.Fatalf("version %q, in which variables are text", doc.Version)
	}
	out := silent
	for _, s := range doc.Statement {
		if !statementMatches(t, s, identity, c) {
			continue
		}
		switch effect := str(t, s["Effect"]); effect {
		case "Deny":
			return denied
		case "Allow":
			out = allowed
		default:
			t.Fatalf("effect %q", effect)
		}
	}
	return out
}

func statementMatches(t *testing.T, s map[string]json.RawMessage, identity bool, c call) bool {
	t.Helper()
	for element := range s {
		if !slices.Contains([]string{"Sid", "Effect", "Principal", "Action", "Resource", "Condition"}, element) {
			t.Fatalf("the evaluator does not know the element %s", element)
		}
	}
	if sid := str(t, s["Sid"]); sid == "" || alphanumeric(sid) != sid {
		t.Fatalf("sid %q", sid)
	}
	if (s["Principal"] != nil) == identity {
		t.Fatalf("a principal in an identity policy, or none in a resource policy: %v", s)
	}
	if !identity && !principalMatches(t, s["Principal"], c.who) {
		return false
	}
	action := func(pattern string) bool {
		return match(strings.ToLower(pattern), strings.ToLower(c.action), nil)
	}
	if !slices.ContainsFunc(strs(t, s["Action"]), action) {
		return false
	}
	resource := func(pattern string) bool { return match(pattern, c.resource, c.context) }
	if s["Resource"] != nil && !slices.ContainsFunc(strs(t, s["Resource"]), resource) {
		return false
	}
	return s["Condition"] == nil || conditionsHold(t, s["Condition"], c.context)
}

func principalMatches(t *testing.T, raw json.RawMessage, who string) bool {
	t.Helper()
	var p map[string]string
	if err := json.Unmarshal(raw, &p); err != nil || len(p) != 1 || p["AWS"] == "" || p["AWS"] == "*" {
		t.Fatalf("principal %s", raw)
	}
	if account, root := strings.CutSuffix(p["AWS"], ":root"); root {
		return strings.HasPrefix(who, account+":")
	}
	return p["AWS"] == who
}

func conditionsHold(t *testing.T, raw json.RawMessage, context map[string][]string) bool {
	t.Helper()
	var all map[string]map[string]json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	for operator, keys := range all {
		for key, values := range keys {
			if !conditionHolds(t, operator, context[key], strs(t, values), context) {
				return false
			}
		}
	}
	return true
}

func conditionHolds(t *testing.T, operator string, have, want []string, context map[string][]string) bool {
	t.Helper()
	operator, some := strings.CutPrefix(operator, "ForAnyValue:")
	operator, ifExists := strings.CutSuffix(operator, "IfExists")
	if len(have) > 1 && !some {
		t.Fatalf("several values under %s", operator)
	}
	if len(have) == 0 {
		return ifExists
	}
	var test func(pattern, value string) bool
	switch operator {
	case "StringEquals":
		test = func(pattern, value string) bool {
			// No character is a wildcard, but variables are replaced.
			return match(strings.NewReplacer("${*}", "${*}", "${?}", "${?}", "*", "${*}", "?", "${?}").Replace(pattern), value, context)
		}
	case "StringLike", "ArnLike", "ArnEquals":
		test = func(pattern, value string) bool { return match(pattern, value, context) }
	case "Bool":
		test = strings.EqualFold
	default:
		t.Fatalf("the evaluator does not know the operator %s", operator)
	}
	for _, value := range have {
		if slices.ContainsFunc(want, func(pattern string) bool { return test(pattern, value) }) {
			return true
		}
	}
	return false
}

// match tests a value against a pattern with the wildcards * and ?, and with
// variables: ${*}, ${?} and ${$} are those characters, and another one is what
// the context says. A variable that has no value matches nothing.
func match(pattern, value string, context map[string][]string) bool {
	const one, many = -1, -2
	var tokens []rune
	for pattern != "" {
		if rest, ok := strings.CutPrefix(pattern, "${"); ok {
			name, after, closed := strings.Cut(rest, "}")
			if closed {
				pattern = after
				if name == "*" || name == "?" || name == "$" {
					tokens = append(tokens, rune(name[0]))
					continue
				}
				if len(context[name]) != 1 {
					return false
				}
				tokens = append(tokens, []rune(context[name][0])...)
				continue
			}
		}
		runes := []rune(pattern)
		switch runes[0] {
		case '*':
			tokens = append(tokens, many)
		case '?':
			tokens = append(tokens, one)
		default:
			tokens = append(tokens, runes[0])
		}
		pattern = string(runes[1:])
	}
	return matchTokens(tokens, []rune(value))
}

func matchTokens(tokens, value []rune) bool {
	for len(tokens) > 0 {
		if tokens[0] == -2 {
			for i := range len(value) + 1 {
				if matchTokens(tokens[1:], value[i:]) {
					return true
				}
			}
			return false
		}
		if len(value) == 0 || tokens[0] != -1 && tokens[0] != value[0] {
			return false
		}
		tokens, value = tokens[1:], value[1:]
	}
	return len(value) == 0
}

func str(t *testing.T, raw json.RawMessage) string {
	t.Helper()
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatalf("%s is not a string", raw)
	}
	return s
}

// strs is a list, or the one string that stands for it.
func strs(t *testing.T, raw json.RawMessage) []string {
	t.Helper()
	var list []string
	if json.Unmarshal(raw, &list) == nil {
		return list
	}
	return []string{str(t, raw)}
}

// The judge is judged first: what it gets wrong, no other test would show.
func TestPolicyEvaluator(t *testing.T) {
	tests := []struct {
		name    string
		policy  string
		context map[string][]string
		want    verdict
	}{
		{"plain", `{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/x"}`, nil, allowed},
		{"action in other letters", `{"Effect":"Allow","Action":"S3:getobject","Resource":"*"}`, nil, allowed},
		{"action pattern", `{"Effect":"Allow","Action":"s3:Get*","Resource":"arn:aws:s3:::b/?"}`, nil, allowed},
		{"other action", `{"Effect":"Allow","Action":"s3:GetObjectAcl","Resource":"*"}`, nil, silent},
		{"question mark is one character", `{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/x?"}`, nil, silent},
		{"resource in other letters", `{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/X"}`, nil, silent},
		{"escaped star", `{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/${*}"}`, nil, silent},
		{"variable", `{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/${aws:username}"}`, map[string][]string{"aws:username": {"x"}}, allowed},
		{"variable without value", `{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/${aws:username}"}`, nil, silent},
		{"variable with a star in it", `{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/${aws:username}"}`, map[string][]string{"aws:username": {"*"}}, silent},
		{"equals takes no pattern", `{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"StringEquals":{"k":"a*"}}}`, map[string][]string{"k": {"ab"}}, silent},
		{"equals takes an escape", `{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"StringEquals":{"k":"a${*}*"}}}`, map[string][]string{"k": {"a**"}}, allowed},
		{"like takes a pattern", `{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"StringLike":{"k":["z","a*"]}}}`, map[string][]string{"k": {"ab"}}, allowed},
		{"missing key", `{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"StringLike":{"k":"*"}}}`, nil, silent},
		{"missing key if it exists", `{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"StringLikeIfExists":{"k":"a"}}}`, nil, allowed},
		{"wrong key if it exists", `{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"StringLikeIfExists":{"k":"a"}}}`, map[string][]string{"k": {"b"}}, silent},
		{"both keys", `{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"StringEquals":{"k":"a","l":"b"}}}`, map[string][]string{"k": {"a"}}, silent},
		{"any value", `{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"ForAnyValue:StringEquals":{"k":"b"}}}`, map[string][]string{"k": {"a", "b"}}, allowed},
		{"no value", `{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"ForAnyValue:StringEquals":{"k":"b"}}}`, nil, silent},
		{"bool", `{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"Bool":{"k":"true"}}}`, map[string][]string{"k": {"true"}}, allowed},
		{"deny wins", `{"Effect":"Allow","Action":"s3:*","Resource":"*"},{"Effect":"Deny","Action":"s3:*","Resource":"*"}`, nil, denied},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			policy := `{"Version":"2012-10-17","Statement":[` + strings.ReplaceAll(tt.policy, `{"Effect"`, `{"Sid":"S","Effect"`) + `]}`
			c := call{action: "s3:GetObject", resource: "arn:aws:s3:::b/x", context: tt.context}
			if got := evaluate(t, []byte(policy), true, c); got != tt.want {
				t.Errorf("verdict %d, want %d: %s", got, tt.want, policy)
			}
		})
	}
	for _, tt := range []struct {
		principal, who string
		want           verdict
	}{
		{"arn:aws:iam::111111111111:root", "arn:aws:iam::111111111111:user/a", allowed},
		{"arn:aws:iam::111111111111:root", "arn:aws:iam::222222222222:user/a", silent},
		{"arn:aws:iam::111111111111:user/a", "arn:aws:iam::111111111111:user/a", allowed},
		{"arn:aws:iam::111111111111:user/a", "arn:aws:iam::111111111111:user/ab", silent},
	} {
		policy := `{"Version":"2012-10-17","Statement":{"Sid":"S","Effect":"Allow","Principal":{"AWS":"` + tt.principal + `"},"Action":"s3:*","Resource":"*"}}`
		policy = strings.Replace(strings.Replace(policy, `"Statement":{`, `"Statement":[{`, 1), `"*"}}`, `"*"}]}`, 1)
		if got := evaluate(t, []byte(policy), false, call{who: tt.who, action: "s3:GetObject", resource: "x"}); got != tt.want {
			t.Errorf("principal %s, caller %s: verdict %d, want %d", tt.principal, tt.who, got, tt.want)
		}
	}
}
