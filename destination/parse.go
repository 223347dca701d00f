package destination

import (
	"sort"
	"strings"
	"unicode"

	"github.com/loadfleet/loadfleet/encoding"
)

// Parse reads a destination's document, YAML or JSON, and judges it as a whole.
// The error is a [*Problems] with every mistake: fields that are unknown, given
// twice, of a wrong type or missing, values out of their lists, and all rules
// of SPEC 2 to 4. Fields of the nested maps may be written with a dot
// ("parquet.compression: zstd").
//
// access_key_id and secret_access_key may be env:NAME or file:PATH, which env
// looks up; nil refuses them. Approved and Paused stay false.
func Parse(doc []byte, env Resolver) (*Settings, error) {
	root, err := read(doc)
	if err == nil && root.kind != mapping {
		root.kind = nothing
	}
	var found Problems
	if err != nil {
		found.add("", err.Error(), "write the fields of a destination as YAML or JSON")
		return nil, &found
	}
	if root.kind != mapping {
		found.add("", "the document is not a mapping", `write one "field: value" per line`)
		return nil, &found
	}
	c := checker{s: defaults(), given: map[string]bool{}, bad: map[string]bool{}}
	entries := flatten(root)
	c.take(c.strayed(entries))
	c.s.fill(c.given)
	c.resolve(env)
	c.strayedReference()
	c.judge()
	c.sort()
	if err := c.problems.err(); err != nil {
		return nil, err
	}
	return c.s, nil
}

// defaults are the settings of an empty document.
func defaults() *Settings {
	return &Settings{
		PartitionBy: ByDay, Encryption: SSES3, BucketKey: true, UndatedRows: RejectUndated,
		EmptyPartition: KeepEmpty, PartialMonth: RejectPartial, Checksum: true, PartitionColumns: KeepColumns, SchemaDrift: AddColumns, WriteGuard: ByCondition,
	}
}

// fill sets the defaults that hang on other fields.
func (s *Settings) fill(given map[string]bool) {
	if s.Title == "" {
		s.Title = s.ID
	}
	if separated(s) && s.Separator == "" {
		s.Separator = encoding.Comma
	}
	if s.FileFormat == encoding.Parquet && s.Parquet.Compression == "" {
		s.Parquet.Compression = codecs(encoding.Parquet)[0]
	}
	if s.FileFormat == encoding.Avro && s.Avro.Compression == "" {
		s.Avro.Compression = codecs(encoding.Avro)[0]
	}
	if s.Manifest && !given["manifest_forms"] {
		s.ManifestForms = []string{string(ManifestJSON)}
	}
	if !given["acl"] {
		s.ACL = NoACL
		if s.foreignWriter() {
			s.ACL = BucketOwnerFullControl
		}
	}
}

// foreignWriter reports whether objects are put by a user of our own account,
// so that the bucket's owner needs an ACL to read them.
func (s *Settings) foreignWriter() bool {
	return s.ConnectionOption == SharedAccount || s.ConnectionOption == CanonicalID
}

// checker gathers the problems of one document.
type checker struct {
	s        *Settings
	given    map[string]bool // fields that hold a value
	bad      map[string]bool // fields that have a problem already: their rules are not asked
	problems Problems
}

func (c *checker) wrong(field, message, remedy string) {
	c.bad[field] = true
	c.problems.add(field, message, remedy)
}

// ok reports whether rules may rely on all these fields.
func (c *checker) ok(fields ...string) bool {
	for _, f := range fields {
		if c.bad[f] {
			return false
		}
	}
	return true
}

// minStrayed is the length from which a secret is looked for in other fields;
// a shorter one may be there by chance.
const minStrayed = 16

const (
	strayedMessage = "holds the secret access key, which would be shown with it"
	strayedRemedy  = "write the secret in secret_access_key only"
)

// strayed refuses the fields that the secret was pasted into as well, before
// any message can repeat them, and gives the others.
func (c *checker) strayed(entries []entry) []entry {
	var secrets []string
	for _, e := range entries {
		if e.name == "secret_access_key" && e.value.kind == text && len(e.value.text) >= minStrayed {
			secrets = append(secrets, e.value.text)
		}
	}
	var rest []entry
	for _, e := range entries {
		in := false
		for _, secret := range secrets {
			in = in || !keyField(e.name) && e.value.holds(secret)
		}
		if !in {
			rest = append(rest, e)
			continue
		}
		c.given[e.name] = true
		c.wrong(e.name, strayedMessage, strayedRemedy)
	}
	return rest
}

// keyField reports whether a field is of the access key: no message repeats
// those, and rules of their own tell when they are mixed up.
func keyField(name string) bool { return name == "access_key_id" || name == "secret_access_key" }

// holds reports whether a text stands anywhere in a part of a document.
func (n node) holds(part string) bool {
	if strings.Contains(n.text, part) {
		return true
	}
	for _, item := range n.items {
		if item.holds(part) {
			return true
		}
	}
	for _, e := range n.entries {
		if e.value.holds(part) {
			return true
		}
	}
	return false
}

// strayedReference is strayed for a secret that a reference named.
func (c *checker) strayedReference() {
	secret := c.s.SecretAccessKey.Reveal()
	if len(secret) < minStrayed {
		return
	}
	for i, p := range c.problems {
		if strings.Contains(p.Message, shown(secret)) || strings.Contains(p.Message, secret) {
			c.problems[i].Message, c.problems[i].Remedy = strayedMessage, strayedRemedy
		}
	}
	for _, f := range fields() {
		if !keyField(f.name) && c.ok(f.name) && strings.Contains(showValue(f.get(c.s)), secret) {
			c.wrong(f.name, strayedMessage, strayedRemedy)
		}
	}
}

// maxProblems is how many fields are called wrong before a document is taken for
// something else than a destination.
const maxProblems = 100

// take sets the fields that are given and refuses those that do not exist.
func (c *checker) take(entries []entry) {
	known := map[string]field{}
	names := make([]string, 0, len(fields()))
	for _, f := range fields() {
		known[f.name] = f
		names = append(names, f.name)
	}
	for _, e := range entries {
		if len(c.problems) >= maxProblems {
			c.problems.add("", "there are more mistakes than these", "")
			break
		}
		f, ok := known[e.name]
		switch {
		case !ok:
			c.unknown(e.name, names)
		case e.value.kind == nothing: // "field:" is as good as not written
		case c.given[e.name]:
			c.wrong(e.name, "is given twice", "leave one of them")
		default:
			c.given[e.name] = true
			if message, remedy := f.set(c.s, e.value); message != "" {
				c.wrong(e.name, message, remedy)
			}
		}
	}
	for _, f := range fields() {
		if f.required && !c.given[f.name] {
			c.wrong(f.name, "is missing", "write it")
		}
	}
}

func (c *checker) unknown(name string, names []string) {
	if grouped(name) {
		c.wrong(name, "is not a mapping", "write "+name+": {compression: "+codecs(encoding.Format(name))[0]+"}")
		return
	}
	if name == "approved" || name == "paused" {
		c.wrong(name, "is not the document's to say", "leave it out: operators of the fleet set it")
		return
	}
	remedy := "leave it out"
	if near := nearest(name, names); near != "" {
		remedy = "did you mean " + near + "?"
	}
	if len(name) > maxShown || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		name = shown(name)
	}
	c.wrong(name, "is not a field of a destination", remedy)
}

// resolve looks up the references of the access key.
func (c *checker) resolve(env Resolver) {
	if !c.s.ConnectionOption.Keys() {
		return // they are refused, so nothing is looked up for them
	}
	const remedy = "write the value itself, env:NAME or file:PATH"
	if c.ok("access_key_id") && c.given["access_key_id"] {
		v, err := resolve(c.s.AccessKeyID, env)
		if err != nil {
			c.wrong("access_key_id", err.Error(), remedy)
		}
		c.s.AccessKeyID = v
	}
	if c.ok("secret_access_key") && c.given["secret_access_key"] {
		v, err := resolve(c.s.SecretAccessKey.Reveal(), env)
		if err != nil {
			c.wrong("secret_access_key", err.Error(), remedy)
		}
		c.s.SecretAccessKey = NewSecret(v)
	}
}

// sort puts the problems in the order of the fields, unknown fields first.
func (c *checker) sort() {
	order := map[string]int{}
	for i, f := range fields() {
		order[f.name] = i + 1
	}
	sort.SliceStable(c.problems, func(i, j int) bool {
		return order[c.problems[i].Field] < order[c.problems[j].Field]
	})
}
