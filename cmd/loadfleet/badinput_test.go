package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/loadfleet/loadfleet/messages"
)

// extractor publishes by the contract alone, as one in another language does,
// so that it can make every mistake.
type extractor struct {
	*testing.T
	js jetstream.JetStream
}

func (p *proving) extractor(t *testing.T) *extractor {
	t.Helper()
	nc, err := nats.Connect(p.node.natsURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return &extractor{T: t, js: js}
}

// rawBatch is a batch as it is sent, with the rows that the commit claims.
type rawBatch struct {
	body    string
	rows    int64
	headers map[string]string
	absent  bool // in the commit only
}

func (e *extractor) publish(subject string, headers map[string]string, body []byte) {
	e.Helper()
	m := &nats.Msg{Subject: subject, Header: nats.Header{}, Data: body}
	for name, value := range headers {
		m.Header.Set(name, value)
	}
	if _, err := e.js.PublishMsg(e.Context(), m); err != nil {
		e.Fatal(err)
	}
}

// extract publishes batches and a commit that says so.
func (e *extractor) extract(c messages.Commit, batches ...rawBatch) {
	e.Helper()
	c.Batches = []messages.BatchManifest{}
	for i, b := range batches {
		sum := sha256.Sum256([]byte(b.body))
		c.Batches = append(c.Batches, messages.BatchManifest{Rows: b.rows, SHA256: hex.EncodeToString(sum[:])})
		c.Rows += b.rows
		if b.absent {
			continue
		}
		headers := map[string]string{messages.HeaderBatch: fmt.Sprint(i + 1), messages.HeaderContentType: "application/x-ndjson"}
		for name, value := range b.headers {
			headers[name] = value
		}
		e.publish(messages.RowsSubject(provingWorkspace, c.Extraction), headers, []byte(b.body))
	}
	body, err := json.Marshal(c)
	if err != nil {
		e.Fatal(err)
	}
	e.publish(messages.CommitSubject(provingWorkspace, c.Extraction), nil, body)
}

// Ten kinds of bad input, one after the other, through dispatcher, worker and
// bucket: of each there are one dead letter and one event that say where and
// why, and no object; the extraction after each loads the bytes that it would
// have loaded before. What each message says, and more kinds, stand in
// dispatcher's TestBadInput.
func TestBadInputThenGood(t *testing.T) {
	p := startProving(t)
	p.apply(t, "days", "folder: /{{report_type}}\nfile_name: \"{{YYYY}}-{{MM}}-{{DD}}\"\nfile_format: csv")
	p.apply(t, "accounts", "folder: /accounts\nfile_name: \"{{account}}-{{YYYY}}-{{MM}}-{{DD}}\"\nload_by_account: true\nfile_format: csv")
	e := p.extractor(t)
	good := func(n int) rawBatch {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `{"day":"2024-01-3%d","account":"a%d","clicks":%d}`+"\n", i%2, i%2, i)
		}
		return rawBatch{body: b.String(), rows: int64(n)}
	}
	row := func(text string) rawBatch { return rawBatch{body: text + "\n", rows: 1} }
	commit := func(extraction string) messages.Commit {
		return messages.Commit{
			Version: messages.Version, WorkspaceID: provingWorkspace, Extraction: extraction, Destination: "days", Filename: "ads",
			ReportType: extraction, Schema: p.schema, DateColumn: "day", AccountColumn: "account", Generation: 1000,
		}
	}
	tests := []struct {
		name        string
		destination string
		bad         []rawBatch
		want        messages.Failure // where; with no value when it is not checked
		says        string
	}{
		{name: "truncated gzip", bad: []rawBatch{good(3), cutGzip(t, good(100))},
			want: messages.Failure{Reason: messages.ReasonUndecodable, Batch: 2}, says: "gzip"},
		{name: "wrong count", bad: []rawBatch{good(3), {body: good(3).body, rows: 4}},
			want: messages.Failure{Reason: messages.ReasonCount, Batch: 2}, says: "says 4"},
		{name: "missing batch", bad: []rawBatch{good(3), {body: "x", rows: 1, absent: true}},
			want: messages.Failure{Reason: messages.ReasonIncomplete, Batch: 2}, says: "batch 2 of 2"},
		{name: "unknown destination", destination: "nobody", bad: []rawBatch{good(3)},
			want: messages.Failure{Reason: messages.ReasonUnknownDestination}, says: `"nobody"`},
		{name: "unparsable date", bad: []rawBatch{good(3), row(`{"day":"2024-02-30","account":"a"}`)},
			want: messages.Failure{Reason: messages.ReasonBadRow, Batch: 2, Row: 1, Column: "day"}, says: "2024-02-30"},
		{name: "wrong type", bad: []rawBatch{good(3), row(`{"day":"2024-01-30","clicks":"many"}`)},
			want: messages.Failure{Reason: messages.ReasonBadRow, Batch: 2, Row: 1, Column: "clicks"}, says: "many"},
		{name: "unknown column", bad: []rawBatch{good(3), row(`{"day":"2024-01-30","colour":"red"}`)},
			want: messages.Failure{Reason: messages.ReasonBadRow, Batch: 2, Row: 1, Column: "colour"}, says: "colour"},
		{name: "oversized key", destination: "accounts", bad: []rawBatch{good(3), row(fmt.Sprintf(`{"day":"2024-01-30","account":%q}`, strings.Repeat("x", 1100)))},
			want: messages.Failure{Reason: messages.ReasonKey, Batch: 2, Row: 1}, says: "1024"},
		{name: "not JSON", bad: []rawBatch{good(3), row("day,account,clicks")},
			want: messages.Failure{Reason: messages.ReasonBadRow, Batch: 2, Row: 1}, says: "row 1"},
		{name: "batch for another workspace", bad: []rawBatch{good(3), {body: good(1).body, rows: 1, headers: map[string]string{messages.HeaderWorkspace: "victim"}}},
			want: messages.Failure{Reason: messages.ReasonWorkspace, Batch: 2}, says: `"victim"`},
	}
	// loaded is the SHA-256 of an extraction's files, by the end of the key.
	loaded := func(t *testing.T, extraction string) map[string]string {
		t.Helper()
		if end := ended(t, p, extraction); end.failure != nil {
			t.Fatalf("extraction %s: %+v", extraction, *end.failure)
		}
		a, err := accountFor(t.Context(), p.node.queue, provingWorkspace, extraction)
		if err != nil {
			t.Fatal(err)
		}
		oneOutcomeEach(t, a)
		files := map[string]string{}
		for _, o := range a.Outcomes {
			files[strings.TrimPrefix(o.Key, extraction)] = o.SHA256
		}
		if report := p.verify(t, extraction); len(report.Findings) != 0 {
			t.Errorf("verify %s: %+v", extraction, report.Findings)
		}
		return files
	}
	e.extract(commit("before"), good(50))
	want := loaded(t, "before")
	if len(want) != 2 {
		t.Fatalf("%d objects, want 2", len(want))
	}
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bad, after := fmt.Sprintf("bad%d", i), fmt.Sprintf("after%d", i)
			c := commit(bad)
			if test.destination != "" {
				c.Destination = test.destination
			}
			e.extract(c, test.bad...)
			e.extract(commit(after), good(50))
			if diff := cmp.Diff(want, loaded(t, after)); diff != "" {
				t.Errorf("the next extraction (-before +now):\n%s", diff)
			}
			end := ended(t, p, bad)
			if end.failure == nil {
				t.Fatalf("%s ended as %+v, want failed", bad, end.results)
			}
			where := *end.failure
			where.Message, where.Remedy, where.Value = "", "", ""
			if where != test.want || !strings.Contains(end.failure.Message, test.says) || end.failure.Remedy == "" {
				t.Errorf("the event says %+v, want %+v, %q and a remedy", *end.failure, test.want, test.says)
			}
			letters := p.deadLetters(t, bad)
			if len(letters) != 1 || letters[0].Failure != *end.failure || letters[0].Stage != messages.StageDispatch {
				t.Errorf("dead letters: %+v, want one with %+v", letters, *end.failure)
			}
			a, err := accountFor(t.Context(), p.node.queue, provingWorkspace, bad)
			if err != nil {
				t.Fatal(err)
			}
			if len(a.Outcomes) != 0 {
				t.Errorf("outcomes of %s: %+v, want none", bad, a.Outcomes)
			}
		})
	}
}

// ended waits until an extraction has.
func ended(t *testing.T, p *proving, extraction string) *ending {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	e, err := follow(ctx, p.node.queue, provingWorkspace, extraction, func(int64, int64) {})
	if err != nil {
		t.Fatalf("follow %s: %v", extraction, err)
	}
	return e
}

// cutGzip is a batch that ends early.
func cutGzip(t *testing.T, b rawBatch) rawBatch {
	t.Helper()
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write([]byte(b.body)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	b.body, b.headers = packed.String()[:packed.Len()-12], map[string]string{messages.HeaderEncoding: "gzip"}
	return b
}
