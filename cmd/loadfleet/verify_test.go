package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/storage"
	"github.com/loadfleet/loadfleet/worker"
)

// TestP7VerifyProves loads every format by real parts and verifies what came
// of it, from memory and through temporary files.
func TestP7VerifyProves(t *testing.T) {
	p := startProving(t)
	byMonthAndAccount := "partition_by: month\npartial_month: replace\nload_by_account: true\nfolder: /%s/{{account}}\nfile_name: \"{{filename}}-{{account}}-{{YYYY}}-{{MM}}\""
	cases := []struct {
		name     string
		settings string
		commit   func(*messages.Commit)
		loads    int64
	}{
		{"day", "folder: /%s\nfile_name: \"{{filename}}-{{YYYY}}-{{MM}}-{{DD}}\"", nil, provingDays},
		{"month", byMonthAndAccount, nil, 2 * provingAccounts},
		{"hour", "folder: /%s\nfile_name: \"{{timestamp}}-{{YYYY}}{{MM}}{{DD}}\"",
			func(c *messages.Commit) { c.DateColumn = "seen" }, provingDays},
		{"load", "folder: /%s\nfile_name: \"{{filename}}-{{YYYY}}{{MM}}{{DD}}\"",
			func(c *messages.Commit) { c.DateColumn = "" }, 1},
	}
	for _, format := range encoding.Formats() {
		for _, c := range cases {
			id := strings.ReplaceAll(string(format), "+", "-") + "-" + c.name
			t.Run(id, func(t *testing.T) {
				extra := "file_format: " + string(format) + "\n" + fmt.Sprintf(c.settings, id)
				switch format {
				case encoding.CSV:
					extra += "\nseparator: semicolon"
				case encoding.CSVGzip:
					extra += "\nseparator: tab"
				case encoding.Avro:
					extra += "\navro: {compression: zstd}"
				}
				p.apply(t, id, extra)
				p.load(t, id, id, c.commit)
				for _, memory := range []int64{0, 1} {
					report := p.verify(t, id, func(v *worker.VerifyConfig) { v.MemoryBytes = memory })
					want := worker.Report{
						Workspace: provingWorkspace, Extraction: id, Destination: id, Table: "ads", State: report.State,
						Planned: messages.Plan{Loads: c.loads, Rows: provingRows}, Outcomes: c.loads, Rows: provingRows,
						Results: map[messages.Result]int64{messages.Loaded: c.loads},
						Objects: c.loads, ObjectRows: provingRows, ObjectBytes: report.ObjectBytes,
						Findings: []worker.Finding{}, Found: map[worker.FindingKind]int64{},
					}
					if diff := cmp.Diff(want, report); diff != "" {
						t.Errorf("report (-want +got):\n%s", diff)
					}
				}
			})
		}
	}
}

// TestP7VerifyFinds breaks one thing at a time behind the fleet's back and
// requires that verify finds it, at the place, and nothing at any other.
func TestP7VerifyFinds(t *testing.T) {
	p := startProving(t)
	const (
		missing    = worker.FindingMissingObject
		foreign    = worker.FindingForeign
		stale      = worker.FindingStale
		unrecorded = worker.FindingUnrecorded
		metadata   = worker.FindingMetadata
		etag       = worker.FindingETag
		size       = worker.FindingSize
		content    = worker.FindingContent
		unreadable = worker.FindingUnreadable
		schema     = worker.FindingSchema
		rows       = worker.FindingRows
		partition  = worker.FindingPartition
		plan       = worker.FindingPlan
		outcome    = worker.FindingOutcome
		lost       = worker.FindingMissingOutcome
		tally      = worker.FindingTally
		record     = worker.FindingRecord
	)
	type kinds = map[worker.FindingKind]int64
	cases := []struct {
		name string
		// do breaks something at or about the outcomes at, of which there is
		// one per day in the order of days, and names those it is to show at.
		do   func(t *testing.T, b *broken) []int
		want kinds
	}{
		{"object deleted", func(t *testing.T, b *broken) []int {
			b.must(b.store.Delete(t.Context(), provingBucket, b.at[2].Key, storage.Always()))
			return []int{2}
		}, kinds{missing: 1}},
		{"object overwritten by a stranger", func(t *testing.T, b *broken) []int {
			b.put(b.at[0].Key, []byte("not a file of ours"), storage.Meta{})
			return []int{0}
		}, kinds{foreign: 1, etag: 1, size: 1, content: 1}},
		{"a byte turned", func(t *testing.T, b *broken) []int {
			body, meta := b.get(1)
			body[len(body)/2] ^= 1
			b.put(b.at[1].Key, body, meta)
			return []int{1}
		}, kinds{etag: 1, content: 1, unreadable: 1}},
		{"two objects swapped", func(t *testing.T, b *broken) []int {
			first, firstMeta := b.get(0)
			second, secondMeta := b.get(1)
			b.put(b.at[0].Key, second, secondMeta)
			b.put(b.at[1].Key, first, firstMeta)
			return []int{0, 1}
		}, kinds{foreign: 2, etag: 2, size: 2, content: 2, partition: 2, rows: 2}},
		{"object cut off", func(t *testing.T, b *broken) []int {
			body, meta := b.get(3)
			b.put(b.at[3].Key, body[:len(body)-20], meta)
			return []int{3}
		}, kinds{etag: 1, size: 1, content: 1, unreadable: 1}},
		{"row in another partition's file, all records forged to match", func(t *testing.T, b *broken) []int {
			from, to := b.rows(0), b.rows(1)
			b.forge(0, from.Slice(1, from.Len()))
			b.forge(1, encoding.Concat(to, from.Slice(0, 1)))
			return []int{0, 1}
		}, kinds{tally: 1, record: 2, partition: 1}},
		{"row twice, file and metadata forged", func(t *testing.T, b *broken) []int {
			there := b.rows(4)
			b.forge(4, encoding.Concat(there, there.Slice(0, 1)))
			return []int{4}
		}, kinds{tally: 1, record: 1, plan: 1}},
		{"row twice in the file alone", func(t *testing.T, b *broken) []int {
			there := b.rows(4)
			o := b.forge(4, encoding.Concat(there, there.Slice(0, 1)))
			o.Rows--
			b.record(o)
			return []int{4}
		}, kinds{tally: 1, record: 1, metadata: 1, rows: 1}},
		{"other columns, all records forged to match", func(t *testing.T, b *broken) []int {
			columns := b.p.schema.Columns()
			columns[2].Name = "renamed"
			renamed, err := encoding.NewSchema(columns)
			b.must(err)
			there, err := encoding.FromArrow(renamed, renameColumn(b.rows(0).Arrow(), 2, "renamed"))
			b.must(err)
			b.forge(0, there)
			return []int{0}
		}, kinds{tally: 1, record: 1, schema: 1}},
		{"metadata altered", func(t *testing.T, b *broken) []int {
			body, meta := b.get(0)
			meta.Rows++
			b.put(b.at[0].Key, body, meta)
			return []int{0}
		}, kinds{metadata: 1}},
		{"older generation put over it", func(t *testing.T, b *broken) []int {
			body, meta := b.get(0)
			meta.Load, meta.Extraction, meta.Generation = strings.Repeat("0", 32), "before", meta.Generation-1
			b.put(b.at[0].Key, append(body, '\n'), meta)
			return []int{0}
		}, kinds{stale: 1}},
		{"newer generation that nobody recorded", func(t *testing.T, b *broken) []int {
			body, meta := b.get(0)
			meta.Load, meta.Extraction, meta.Generation = strings.Repeat("0", 32), "ghost", meta.Generation+1
			b.put(b.at[0].Key, body, meta)
			return []int{0}
		}, kinds{unrecorded: 1}},
		{"outcome removed", func(t *testing.T, b *broken) []int {
			b.p.purge(t, messages.EventSubject(b.event(b.at[0])))
			return nil
		}, kinds{tally: 1, lost: 1}},
		{"record of the object lost", func(t *testing.T, b *broken) []int {
			b.p.purge(t, messages.ObjectSubject(b.id, b.at[3].Bucket, b.at[3].Key))
			return []int{3}
		}, kinds{record: 1}},
		{"outcome of another object", func(t *testing.T, b *broken) []int {
			b.at[0].Key += ".bak"
			b.record(b.at[0])
			return []int{0}
		}, kinds{outcome: 1}},
		{"larger plan forged", func(t *testing.T, b *broken) []int {
			b.must(b.p.node.queue.Publish(t.Context(), messages.Event{
				Kind: messages.EventDispatched, Workspace: provingWorkspace, Extraction: b.id, Destination: b.id,
				Plan: &messages.Plan{Loads: provingDays + 1, Rows: provingRows + 4},
			}))
			return nil
		}, kinds{plan: 2, lost: 1}},
	}
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := p.breakable(t, fmt.Sprintf("broken-%02d", i), encoding.Parquet)
			if report := p.verify(t, b.id); !report.OK() {
				t.Fatalf("before anything is broken: %v", report.Findings)
			}
			places := map[string]bool{}
			for _, at := range c.do(t, b) {
				places[b.at[at].Key] = true
			}
			report := p.verify(t, b.id)
			if diff := cmp.Diff(c.want, report.Found); diff != "" {
				t.Errorf("found (-want +got):\n%s\n%v", diff, report.Findings)
			}
			found := map[string]bool{}
			for _, f := range report.Findings {
				if f.Key != "" {
					found[f.Key] = true
				}
				if f.Message == "" || f.Remedy == "" {
					t.Errorf("finding %+v does not say what, or what to do", f)
				}
			}
			if diff := cmp.Diff(places, found); diff != "" {
				t.Errorf("found at (-want +got):\n%s", diff)
			}
		})
	}
}

// TestP7VerifyTellsNewerFromWrong: what a newer generation replaced is not
// wrong, nor what an equal one took over.
func TestP7VerifyTellsNewerFromWrong(t *testing.T) {
	p := startProving(t)
	p.apply(t, "newer", "folder: /newer\nfile_name: \"{{YYYY}}-{{MM}}-{{DD}}\"\nfile_format: avro")
	p.load(t, "newer", "old", nil)
	p.load(t, "newer", "same", func(c *messages.Commit) { c.Generation += 10 })
	p.load(t, "newer", "new", func(c *messages.Commit) { c.Generation += 20; c.ReportType = "restated" })
	p.load(t, "newer", "late", func(c *messages.Commit) { c.Generation -= 10 })
	for _, c := range []struct {
		extraction      string
		results         map[messages.Result]int64
		supersededLater int64
		objects         int64
	}{
		{"old", map[messages.Result]int64{messages.Loaded: provingDays}, provingDays, 0},
		{"same", map[messages.Result]int64{messages.Unchanged: provingDays}, provingDays, 0},
		{"new", map[messages.Result]int64{messages.Loaded: provingDays}, 0, provingDays},
		{"late", map[messages.Result]int64{messages.Superseded: provingDays}, 0, 0},
	} {
		t.Run(c.extraction, func(t *testing.T) {
			report := p.verify(t, c.extraction)
			if !report.OK() {
				t.Errorf("findings: %v", report.Findings)
			}
			if diff := cmp.Diff(c.results, report.Results); diff != "" {
				t.Errorf("results (-want +got):\n%s", diff)
			}
			if report.SupersededLater != c.supersededLater || report.Objects != c.objects {
				t.Errorf("%d superseded later and %d objects read, want %d and %d", report.SupersededLater, report.Objects, c.supersededLater, c.objects)
			}
		})
	}
}

func TestP7VerifyDeadLetters(t *testing.T) {
	p := startProving(t)
	const plain = "folder: /dead\nfile_name: \"{{YYYY}}-{{MM}}-{{DD}}\"\nfile_format: json"
	for _, c := range []struct {
		name, bucket string
		commit       func(*messages.Commit)
		dead         int
		state        messages.EventKind
	}{
		{"loads", "no-such-bucket", nil, provingDays, ""},
		{"extraction", provingBucket, func(c *messages.Commit) { c.Destination = "nowhere" }, 1, messages.EventFailed},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.applyTo(t, "dead-"+c.name, c.bucket, plain)
			p.load(t, "dead-"+c.name, c.name, c.commit)
			report := p.verify(t, c.name)
			if !report.OK() || c.state != "" && report.State != c.state {
				t.Errorf("with its dead letters: state %s, findings %v", report.State, report.Findings)
			}
			letters := p.deadLetters(t, c.name)
			if len(letters) != c.dead {
				t.Fatalf("%d dead letters, want %d", len(letters), c.dead)
			}
			op := queue.NewOperation("ann@desk", "")
			if err := p.node.queue.Discard(t.Context(), letters[0].Sequence, op); err != nil {
				t.Fatal(err)
			}
			report = p.verify(t, c.name)
			if !report.OK() {
				t.Errorf("with one discarded: %v", report.Findings)
			}
			want := []worker.Discarded{{Operation: op.ID, By: op.By, DeadLetters: 1}}
			if diff := cmp.Diff(want, report.Discarded, cmpopts.IgnoreFields(worker.Discarded{}, "Time")); diff != "" {
				t.Errorf("discarded (-want +got):\n%s", diff)
			}
			if at := report.Discarded[0].Time; time.Since(at).Abs() > time.Minute {
				t.Errorf("discarded at %s, want now", at)
			}
			var out strings.Builder
			if err := showReport(&out, &report); err != nil || !strings.Contains(out.String(), "1 dead letter by ann@desk, ") {
				t.Errorf("error %v, and it does not say who discarded one:\n%s", err, out.String())
			}
		})
	}
}

// TestP7VerifyDeadLetterRemoved: a dead letter is gone, and no decision that is
// on record explains it.
func TestP7VerifyDeadLetterRemoved(t *testing.T) {
	p := startProving(t)
	p.applyTo(t, "removed", "no-such-bucket", "folder: /dead\nfile_name: \"{{YYYY}}-{{MM}}-{{DD}}\"\nfile_format: json")
	for _, c := range []struct {
		name   string
		commit func(*messages.Commit)
	}{
		{"loads", nil},
		{"extraction", func(c *messages.Commit) { c.Destination = "nowhere" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.load(t, "removed", c.name, c.commit)
			letter := p.deadLetters(t, c.name)[0]
			p.remove(t, "DEAD", letter.Sequence)
			want := map[worker.FindingKind]int64{worker.FindingDeadLetter: 1}
			report := p.verify(t, c.name)
			if diff := cmp.Diff(want, report.Found); diff != "" || report.Discarded != nil {
				t.Errorf("found with one of them removed (-want +got):\n%s\n%v, discarded %v", diff, report.Findings, report.Discarded)
			}
			// Of an extraction that had the id before: the audit outlives it.
			p.audit(t, messages.VerbDiscard, &letter, time.Now().Add(-60*24*time.Hour))
			if report := p.verify(t, c.name); !maps.Equal(report.Found, want) {
				t.Errorf("found with a discard of another time: %v", report.Findings)
			}
			// Somebody was stopped while discarding it, then it was replayed.
			p.audit(t, messages.VerbDiscard, &letter, time.Now())
			p.audit(t, messages.VerbReplay, &letter, time.Now())
			if report := p.verify(t, c.name); !maps.Equal(report.Found, want) {
				t.Errorf("found with a replay behind the discard: %v", report.Findings)
			}
		})
	}
}

// TestP7VerifyInWork stops the actors: what they have not done is unfinished.
func TestP7VerifyInWork(t *testing.T) {
	p := startProving(t)
	p.apply(t, "work", "folder: /work\nfile_name: \"{{YYYY}}-{{MM}}-{{DD}}\"\nfile_format: json")
	p.stopActors(t)
	p.send(t, "work", "work", nil)
	unfinished := map[worker.FindingKind]int64{worker.FindingUnfinished: 1}
	if report := p.verify(t, "work"); !maps.Equal(report.Found, unfinished) {
		t.Errorf("before its dispatch: %v", report.Findings)
	}
	p.dispatchAlone(t, "work")
	report := p.verify(t, "work")
	if !maps.Equal(report.Found, unfinished) || !strings.Contains(report.Findings[0].Message, "5 of 5 loads") {
		t.Errorf("before its loads: %v", report.Findings)
	}
}

func TestVerifyCommand(t *testing.T) {
	p := startProving(t)
	b := p.breakable(t, "command", encoding.CSVGzip)
	p.apply(t, "other", "folder: /other\nfile_name: \"{{YYYY}}-{{MM}}-{{DD}}\"\nfile_format: json")
	p.load(t, "other", "other", nil)
	for _, c := range []struct {
		name   string
		args   []string
		broken bool
		code   int
		out    []string // in what it says
	}{
		{"proved", []string{"verify", "command"}, false, exitOK, []string{"proved", "5 objects, 60 rows"}},
		{"json", []string{"verify", "command", "--workspace", provingWorkspace, "-o", "json"}, false, exitOK, []string{`"findings": []`}},
		{"unknown", []string{"verify", "nothing"}, false, exitNotFound, nil},
		{"unknown in the workspace", []string{"verify", "nothing", "--workspace", "w"}, false, exitNotFound, nil},
		{"nothing asked", []string{"verify"}, false, exitUsage, nil},
		{"too much asked", []string{"verify", "command", "--all"}, false, exitUsage, nil},
		{"all", []string{"verify", "--all"}, false, exitOK, []string{"2 extractions verified"}},
		{"broken", []string{"verify", "command"}, true, exitBad, []string{"NOT PROVED", "missing-object", "What to do:", "s3://" + provingBucket + "/"}},
		{"broken, json", []string{"verify", "command", "-o", "json"}, true, exitBad, []string{`"kind": "missing-object"`}},
		{"all of another destination", []string{"verify", "--all", "--destination", "other"}, true, exitOK, []string{"1 extraction verified"}},
		{"all", []string{"verify", "--all", "-o", "json"}, true, exitBad, []string{`"kind": "missing-object"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.broken {
				b.must(b.store.Delete(t.Context(), provingBucket, b.at[0].Key, storage.Always()))
			}
			var out, errs bytes.Buffer
			args := append(c.args, "--nats-url", p.node.natsURL(), "--seal-key", "file:"+p.node.dir+"/"+sealKeyFile)
			if code := run(args, strings.NewReader(""), &out, &errs); code != c.code {
				t.Errorf("exit code %d, want %d\n%s", code, c.code, errs.String())
			}
			for _, want := range c.out {
				if !strings.Contains(out.String(), want) {
					t.Errorf("it does not say %q:\n%s", want, out.String())
				}
			}
			if slices.Contains(c.args, "json") && !json.Valid(out.Bytes()) {
				t.Errorf("no JSON:\n%s", out.String())
			}
		})
	}
}

// TestUnknownExtraction: what nobody has dispatched yet is told from what
// nobody committed.
func TestUnknownExtraction(t *testing.T) {
	p := startProving(t)
	p.apply(t, "work", "folder: /work\nfile_name: \"{{YYYY}}-{{MM}}-{{DD}}\"\nfile_format: json")
	p.stopActors(t)
	p.send(t, "work", "waits", nil)
	const taken, nothing = "no dispatcher has taken it yet", "nothing was committed under the id"
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"extraction", "show", "waits"}, taken},
		{[]string{"extraction", "show", "waits", "--workspace", provingWorkspace}, taken},
		{[]string{"extraction", "show", "waits", "--workspace", "other"}, nothing},
		{[]string{"extraction", "show", "none"}, nothing},
		{[]string{"verify", "waits"}, taken},
		{[]string{"verify", "none"}, nothing},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			var out, errs bytes.Buffer
			args := append(c.args, "--nats-url", p.node.natsURL(), "--seal-key", "file:"+p.node.dir+"/"+sealKeyFile)
			code := run(args, strings.NewReader(""), &out, &errs)
			if code != exitNotFound || !strings.Contains(errs.String(), c.want) || !strings.Contains(errs.String(), "loadfleet status") {
				t.Errorf("exit code %d, want %d and %q:\n%s", code, exitNotFound, c.want, errs.String())
			}
		})
	}
}

// TestVerifyCommandOfWhatFailed: what is not in the bucket is not called proved.
func TestVerifyCommandOfWhatFailed(t *testing.T) {
	p := startProving(t)
	p.applyTo(t, "dead", "no-such-bucket", "folder: /dead\nfile_name: \"{{YYYY}}-{{MM}}-{{DD}}\"\nfile_format: json")
	p.load(t, "dead", "loads", nil)
	p.load(t, "dead", "whole", func(c *messages.Commit) { c.Destination = "nowhere" })
	const (
		waits  = "proved, but for 5 dead-lettered loads still to be replayed or discarded"
		failed = "FAILED, nothing of it is loaded\nreason       unknown-destination: "
	)
	verify := func(code int, want, not []string, args ...string) {
		t.Helper()
		var out, errs bytes.Buffer
		args = append([]string{"verify", "--nats-url", p.node.natsURL(), "--seal-key", "file:" + p.node.dir + "/" + sealKeyFile}, args...)
		if got := run(args, strings.NewReader(""), &out, &errs); got != code {
			t.Errorf("%v: exit code %d, want %d\n%s", args, got, code, errs.String())
		}
		said := out.String() + errs.String()
		for _, text := range want {
			if !strings.Contains(said, text) {
				t.Errorf("%v: it does not say %q:\n%s", args, text, said)
			}
		}
		for _, text := range not {
			if strings.Contains(said, text) {
				t.Errorf("%v: it says %q:\n%s", args, text, said)
			}
		}
	}
	verify(exitOK, []string{waits}, nil, "loads")
	verify(exitBad, []string{failed, "extraction whole failed (unknown-destination)"}, []string{"proved", "finding"}, "whole")
	verify(exitBad, []string{`"reason": "unknown-destination"`}, nil, "whole", "-o", "json")
	verify(exitOK, []string{waits, failed, "2 extractions verified, of which 1 failed"}, nil, "--all")

	letters := append(p.deadLetters(t, "whole"), p.deadLetters(t, "loads")...)
	for _, d := range letters[:len(letters)-1] {
		if err := p.node.queue.Discard(t.Context(), d.Sequence, queue.Operation{ID: "op", By: "ann@desk"}); err != nil {
			t.Fatal(err)
		}
	}
	verify(exitOK, []string{"proved, but for 1 dead-lettered load still", "4 dead letters by ann@desk"}, nil, "loads")
	verify(exitBad, []string{failed, "1 dead letter by ann@desk"}, []string{"proved"}, "whole")
}

// broken is a verified extraction that a test breaks, a file per day.
type broken struct {
	*testing.T
	p      *proving
	id     string
	format encoding.Format
	store  *storage.Store
	at     []messages.Outcome // by key
}

func (b *broken) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *broken) put(key string, body []byte, meta storage.Meta) storage.Stored {
	b.Helper()
	stored, err := b.store.Put(b.Context(), provingBucket, storage.Object{
		Key: key, Body: bytes.NewReader(body), Size: int64(len(body)), SHA256: sha256.Sum256(body), Meta: meta,
	}, storage.Always())
	b.must(err)
	return stored
}

func (b *broken) get(at int) ([]byte, storage.Meta) {
	b.Helper()
	body, stored, err := b.store.Get(b.Context(), provingBucket, b.at[at].Key)
	b.must(err)
	defer body.Close()
	var all bytes.Buffer
	_, err = all.ReadFrom(body)
	b.must(err)
	return all.Bytes(), stored.Meta
}

// rows is what an object's file holds.
func (b *broken) rows(at int) *encoding.Rows {
	b.Helper()
	file, _ := b.get(at)
	var all []*encoding.Rows
	b.must(encoding.ReadFile(bytes.NewReader(file), int64(len(file)), b.p.schema, encoding.FileOptions{Format: b.format}, func(rows *encoding.Rows) error {
		all = append(all, rows)
		return nil
	}))
	if len(all) != 1 {
		b.Fatalf("%d chunks of a small file", len(all))
	}
	return all[0]
}

// forge puts a valid file of other rows at an object's key, and has metadata
// and outcome say that it is what the load made.
func (b *broken) forge(at int, rows *encoding.Rows) messages.Outcome {
	b.Helper()
	var file bytes.Buffer
	w, err := encoding.NewWriter(&file, rows.Schema(), encoding.FileOptions{Format: b.format})
	b.must(err)
	b.must(w.Write(rows))
	b.must(w.Close())
	o := b.at[at]
	sum := sha256.Sum256(file.Bytes())
	o.Rows, o.Bytes, o.SHA256 = int64(rows.Len()), int64(file.Len()), hex.EncodeToString(sum[:])
	o.ETag = b.put(o.Key, file.Bytes(), storage.Meta{
		Load: o.Load, Extraction: b.id, Generation: o.Generation, Rows: o.Rows, SHA256: o.SHA256,
	}).ETag
	b.record(o)
	return o
}

func (b *broken) event(o messages.Outcome) *messages.Event {
	return &messages.Event{Kind: messages.EventOutcome, Workspace: provingWorkspace, Extraction: b.id, Destination: b.id, Time: time.Now().UTC(), Outcome: &o}
}

func (b *broken) record(o messages.Outcome) {
	b.Helper()
	b.must(b.p.node.queue.Publish(b.Context(), *b.event(o)))
}

// TestP7VerifyDeletedTwice: a day that had rows has none any more, in one
// extraction after the other. What the first one deleted stays on record.
func TestP7VerifyDeletedTwice(t *testing.T) {
	p := startProving(t)
	settings := p.apply(t, "gone", "folder: /gone\nfile_name: \"{{YYYY}}-{{MM}}-{{DD}}\"\nfile_format: csv\nempty_partition: delete")
	store, err := storage.OpenDestination(t.Context(), settings, storage.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	b := &broken{T: t, p: p, id: "gone", format: encoding.CSV, store: store}
	was := b.put("gone/2024-01-29.csv", []byte("day\n2024-01-29\n"), storage.Meta{Load: "before", Extraction: "before", Generation: 1, Rows: 1})
	for i, id := range []string{"first", "second"} {
		p.load(t, "gone", id, func(c *messages.Commit) {
			c.Generation += int64(10 * i)
			c.Covers = &messages.Covers{From: "2024-01-29", To: "2024-02-03"}
		})
		report := p.verify(t, id)
		if !report.OK() || report.Results[messages.Deleted] != 1 {
			t.Errorf("%s: results %v, findings %v", id, report.Results, report.Findings)
		}
		record, err := p.node.queue.Objects().Get(t.Context(), "gone", provingBucket, "gone/2024-01-29.csv")
		if err != nil || record.Extraction != id || record.Result != messages.Deleted || record.ETag != was.ETag {
			t.Errorf("record after %s: %+v, %v, want the deletion of ETag %s", id, record, err, was.ETag)
		}
	}
}
