package destination

import (
	"net/netip"
	"net/url"
	"strings"
	"unicode/utf8"
)

// Warnings lists what is allowed but rarely meant, in the order of the fields.
func (s *Settings) Warnings() []Problem {
	var w Problems
	s.warnAccess(&w)
	s.warnNames(&w)
	if s.Encryption == NoEncryption {
		w.add("encryption", "objects are encrypted only if the bucket encrypts by default", "write sse-s3 unless the bucket's policy forbids the header")
	}
	if len(s.Workspaces) == 0 {
		w.add("workspaces", "every workspace of the fleet may load here", "write the ids of those that may")
	}
	if s.UndatedRows == DateByLoad {
		w.add("undated_rows", "rows whose date does not parse are filed under the day of the load", "write reject to have them reported")
	}
	if s.EmptyPartition == DeleteEmpty {
		w.add("empty_partition", "an object is deleted when its partition comes back empty", "write keep or empty_file if readers rely on it")
	}
	if s.WriteGuard == ByLease {
		w.add("write_guard", "the store does not guard its objects: a lease per key of this fleet alone keeps older files from replacing newer ones, and after a worker's death its keys wait for up to half an hour",
			"write conditional_writes unless `destination check` says that the store has none")
	}
	if !s.Checksum {
		w.add("checksum", "uploads are not checked end to end", "write on unless the store breaks on it")
	}
	return w
}

func (s *Settings) warnAccess(w *Problems) {
	switch {
	case s.ConnectionOption == RoleChain && s.ExternalID == "":
		w.add("external_id", "without it whoever learns the role's ARN may try to have it assumed for him", "write one and require it in the role's trust policy")
	case s.ConnectionOption == CanonicalID:
		w.add("connection_option", "buckets made since April 2023 ignore ACL grants unless their owner turned ACLs on", "prefer shared_account or role_chain")
	}
	if strings.ToLower(s.Bucket) != s.Bucket {
		w.add("bucket", "only buckets made before March 2018 have upper-case letters", "write lower-case letters if it is newer")
	}
	u, err := url.Parse(s.Endpoint)
	secure := s.Endpoint == "" || err == nil && u.Scheme == "https"
	if strings.Contains(s.Bucket, ".") && secure && !s.PathStyle {
		w.add("bucket", "the certificate of the store does not cover a bucket name with dots", "write path_style: true")
	}
	if !secure && err == nil && !loopback(u.Hostname()) {
		w.add("endpoint", "files travel unencrypted over http", "write https://")
	}
	if s.foreignWriter() && s.BucketOwner == "" {
		w.add("bucket_owner", "if the bucket is deleted, whoever takes its name gets the files", "write the account id of the bucket's owner")
	}
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// warnNames looks for names that are valid and lose or hide files.
func (s *Settings) warnNames(w *Problems) {
	folder, err := ParseTemplate(Folder, s.Folder)
	if err != nil {
		return
	}
	name, err := ParseTemplate(FileName, s.FileName)
	if err != nil {
		return
	}
	n, err := s.Naming()
	if err != nil {
		return
	}
	if !n.has[filename] {
		w.add(string(FileName), "lacks {{filename}}: two tables would write to one key", "write {{filename}} in it or in folder")
	}
	if !n.has[workspaceID] && len(s.Workspaces) != 1 {
		w.add(string(Folder), "lacks {{workspace_id}}: two workspaces with a table of one name would write to one key", "write {{workspace_id}} in it, or name the one workspace in workspaces")
	}
	s.warnSpan(w, n)
	if s.SchemaSidecar && !folder.hasTableLevel() {
		w.add(string(Folder), "gives tables no folder of their own: the statements of schema_sidecar for a table ads also read the files of ads_daily",
			"write {{filename}} in it as a level, before dates and accounts")
	}
	alone := map[value]bool{}
	for _, t := range []*Template{folder, name} {
		t.standAlone(alone)
	}
	for _, t := range []*Template{folder, name} {
		t.warn(w, alone)
	}
	if ext := s.FileFormat.Extension(); strings.HasSuffix(strings.ToLower(s.FileName), ext) {
		w.add(string(FileName), "ends in "+ext+", which is added anyway", "leave it out")
	}
}

// warnSpan looks for files that hold other days than one thinks.
func (s *Settings) warnSpan(w *Problems, n *Naming) {
	if n.timed {
		if !n.BySecond() {
			w.add(string(FileName), "tells loads apart by the day, hour or minute only: a second extraction within it replaces the file of the first, whatever days that had",
				"write {{timestamp}} if each extraction is to have a file of its own")
		}
		return
	}
	_, _, run := n.Span(0)
	y, m, d := n.has[year], n.has[month], n.has[day]
	switch {
	case !run:
		w.add(string(FileName), "days of different months or years share a file", "write {{YYYY}} and {{MM}} in it or in folder")
	case !n.Dated():
		w.add(string(FileName), "is undated: every extraction replaces the whole file", "write {{YYYY}}, {{MM}} and {{DD}} in it or in folder")
	case s.PartitionBy == ByDay && !d, s.PartitionBy == ByMonth && (!y || !m):
		w.add(string(FileName), "a file holds more days than partition_by says: an extraction of some of them replaces all of it", "write {{YYYY}}, {{MM}} and, by day, {{DD}} in it or in folder")
	}
}

// hasTableLevel reports whether a level of the folder is the table's name alone, and
// none before it hangs on a row or a load.
func (t *Template) hasTableLevel() bool {
	for i, p := range t.pieces {
		begins := i == 0 || strings.HasSuffix(t.pieces[i-1].text, "/")
		ends := i+1 == len(t.pieces) || strings.HasPrefix(t.pieces[i+1].text, "/")
		switch {
		case p.value > filename:
			return false
		case p.value == filename && begins && ends:
			return true
		}
	}
	return false
}

// standAlone finds the values that a key shows for themselves: on both sides there is
// its level's end or a character that values never have.
func (t *Template) standAlone(alone map[value]bool) {
	for i, p := range t.pieces {
		var before, behind string
		if i > 0 {
			before = t.pieces[i-1].text
		}
		if i+1 < len(t.pieces) {
			behind = t.pieces[i+1].text
		}
		begins := i == 0 || before != "" && special(before[len(before)-1])
		ends := i+1 == len(t.pieces) || behind != "" && special(behind[0])
		alone[p.value] = alone[p.value] || begins && ends
	}
}

// warn looks for values that can stand for others, unless one of them stands alone
// somewhere, and at the literal text.
func (t *Template) warn(w *Problems, alone map[value]bool) {
	levelStart := true
	name, between := literal, "" // the value before, if it is one of free text, and what stands behind it
	for _, p := range t.pieces {
		if p.value != literal {
			if p.value >= year { // of a fixed width
				name = literal
			} else {
				separated := strings.ContainsFunc(between, func(r rune) bool { return r < utf8.RuneSelf && special(byte(r)) })
				if name != literal && !separated && !alone[name] && !alone[p.value] {
					t.warnNeighbours(w, name, between, p.value)
				}
				name, between = p.value, ""
			}
			levelStart = false
			continue
		}
		between += p.text
		if strings.ContainsAny(p.text, "\\{}^%`[]\"<>~#|?*:") {
			w.add(string(t.place), "holds characters that S3 advises against or readers take for patterns", `leave out \ { } ^ % [ ] " < > ~ # | ? * :`)
		}
		for j, level := range strings.Split(p.text, "/") {
			if (j > 0 || levelStart) && level != "" && (level[0] == '.' || level[0] == '_') {
				w.add(string(t.place), "a name that begins with . or _ is hidden from Hadoop, Spark and Athena", "begin it with another character")
			}
		}
		levelStart = false
	}
}

// warnNeighbours warns of two values between which no character stands that values
// never have: other ones of the two can give one name.
func (t *Template) warnNeighbours(w *Problems, first value, between string, second value) {
	both := "{{" + first.name() + "}} and {{" + second.name() + "}}"
	if between == "" {
		w.add(string(t.place), both+" stand side by side: different values can give one name", "write a separator between them, best a / or a =")
		return
	}
	w.add(string(t.place), both+" have only "+shown(between)+" between them, which values may have, too: a"+between+"b and c give the name of a and b"+between+"c",
		"write a / or a = between them, unless no value has "+shown(between))
}
