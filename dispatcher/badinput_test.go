package dispatcher

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"
	"testing"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
)

func truncatedGzip(t *testing.T, b batch) batch {
	t.Helper()
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write([]byte(b.body)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	b.body = packed.String()[:packed.Len()-12]
	b.headers = map[string]string{messages.HeaderEncoding: "gzip"}
	return b
}

// TestBadInput is the promise of SPEC 6: bad input gets an error that says
// where and why, reaches the extractor and the operator, and takes nothing
// else down.
func TestBadInput(t *testing.T) {
	w := newWorld(t)
	w.apply()
	w.apply(func(s *destination.Settings) { s.ID, s.Workspaces = "closed", []string{"other"} })
	w.apply(byAccount, func(s *destination.Settings) { s.ID = "accounts" })
	row := func(text string) batch { return batch{body: text + "\n", rows: 1} }
	tests := []struct {
		name    string
		batches []batch
		commit  func(*messages.Commit)
		raw     string // the commit's body instead
		want    messages.Failure
		says    []string // in the message
	}{
		{name: "truncated gzip", batches: []batch{lines(3), truncatedGzip(t, lines(100))},
			want: messages.Failure{Reason: messages.ReasonUndecodable, Batch: 2}, says: []string{"batch 2", "gzip"}},
		{name: "wrong count of a batch", batches: []batch{lines(3), lines(3)},
			commit: func(c *messages.Commit) { c.Batches[1].Rows, c.Rows = 4, 7 },
			want:   messages.Failure{Reason: messages.ReasonCount, Batch: 2}, says: []string{"batch 2 holds 3 rows", "says 4"}},
		{name: "wrong total", batches: []batch{lines(3)}, commit: func(c *messages.Commit) { c.Rows = 4 },
			want: messages.Failure{Reason: messages.ReasonCount}, says: []string{"rows: 4", "add up to 3"}},
		{name: "missing batch", batches: []batch{lines(3), {body: "x", rows: 1, absent: true}, lines(4)},
			want: messages.Failure{Reason: messages.ReasonIncomplete, Batch: 2}, says: []string{"batch 2 of 3 is not on rows.ws."}},
		{name: "another batch than the committed one", batches: []batch{lines(3)},
			commit: func(c *messages.Commit) { c.Batches[0].SHA256 = hash("other") },
			want:   messages.Failure{Reason: messages.ReasonIncomplete, Batch: 1}, says: []string{hash("other"), hash(lines(3).body)}},
		{name: "unknown destination", batches: []batch{lines(3)}, commit: func(c *messages.Commit) { c.Destination = "nobody" },
			want: messages.Failure{Reason: messages.ReasonUnknownDestination}, says: []string{`"nobody"`}},
		{name: "destination of others", batches: []batch{lines(3)}, commit: func(c *messages.Commit) { c.Destination = "closed" },
			want: messages.Failure{Reason: messages.ReasonUnknownDestination}, says: []string{`"closed"`}},
		{name: "unparsable date", batches: []batch{lines(3), row(`{"day":"2024-02-30","account":"a","n":1}`)},
			want: messages.Failure{Reason: messages.ReasonBadRow, Batch: 2, Row: 1, Column: "day", Value: "2024-02-30"}, says: []string{"batch 2, row 1", "2024-02-30"}},
		{name: "unparsable date, without a schema", batches: []batch{lines(3), row(`{"day":"oops","account":"a","n":1}`)},
			commit: func(c *messages.Commit) { c.Schema = nil },
			want:   messages.Failure{Reason: messages.ReasonBadRow, Batch: 2, Row: 1, Column: "day", Value: "oops"}, says: []string{"batch 2, row 1", "oops"}},
		{name: "unparsable dates first, without a schema", batches: []batch{row(`{"day":"oops","account":"a","n":1}`), lines(3)},
			commit: func(c *messages.Commit) { c.Schema = nil },
			want:   messages.Failure{Reason: messages.ReasonBadRow, Batch: 1, Row: 1, Column: "day", Value: "oops"}, says: []string{"batch 1, row 1", "oops"}},
		{name: "no date at all, without a schema", batches: []batch{row(`{"day":"oops","account":"a","n":1}`)},
			commit: func(c *messages.Commit) { c.Schema = nil },
			want:   messages.Failure{Reason: messages.ReasonInvalidCommit, Column: "day"}, says: []string{`date_column "day" is of type string`}},
		{name: "no date", batches: []batch{lines(3), row(`{"account":"a","n":1}`)},
			want: messages.Failure{Reason: messages.ReasonBadRow, Batch: 2, Row: 1, Column: "day"}, says: []string{"batch 2, row 1", "undated_rows"}},
		{name: "no account", batches: []batch{lines(3), row(`{"day":"2024-06-18","n":1}`)}, commit: func(c *messages.Commit) { c.Destination = "accounts" },
			want: messages.Failure{Reason: messages.ReasonBadRow, Batch: 2, Row: 1, Column: "account"}, says: []string{"batch 2, row 1", "no account"}},
		{name: "wrong type", batches: []batch{lines(3), {body: lines(2).body + `{"day":"2024-06-18","n":"many"}` + "\n", rows: 3}},
			want: messages.Failure{Reason: messages.ReasonBadRow, Batch: 2, Row: 3, Column: "n", Value: "many"}, says: []string{"batch 2, row 3", `"n"`}},
		{name: "unknown column", batches: []batch{row(`{"day":"2024-06-18","colour":"red"}`)},
			want: messages.Failure{Reason: messages.ReasonBadRow, Batch: 1, Row: 1, Column: "colour"}, says: []string{"batch 1, row 1", `"colour"`}},
		{name: "oversized key", batches: []batch{lines(3), row(fmt.Sprintf(`{"day":"2024-06-18","account":%q}`, strings.Repeat("x", 1100)))},
			commit: func(c *messages.Commit) { c.Destination = "accounts" },
			want:   messages.Failure{Reason: messages.ReasonKey, Batch: 2, Row: 1}, says: []string{"batch 2, row 1", "1024"}},
		{name: "a batch that is not JSON", batches: []batch{lines(3), row("day,account,n")},
			want: messages.Failure{Reason: messages.ReasonBadRow, Batch: 2, Row: 1, Value: "day,account,n"}, says: []string{"batch 2, row 1"}},
		{name: "a commit that is not JSON", batches: []batch{lines(3)}, raw: "commit please",
			want: messages.Failure{Reason: messages.ReasonInvalidCommit}, says: []string{"JSON"}},
		{name: "a batch for another workspace", batches: []batch{lines(3), {body: lines(1).body, rows: 1, headers: map[string]string{messages.HeaderWorkspace: "victim"}}},
			want: messages.Failure{Reason: messages.ReasonWorkspace, Batch: 2}, says: []string{`"victim"`, `"ws"`}},
		{name: "a commit for another workspace", batches: []batch{lines(3)}, commit: func(c *messages.Commit) { c.WorkspaceID = "victim" },
			want: messages.Failure{Reason: messages.ReasonWorkspace}, says: []string{`"victim"`, `"ws"`}},
	}
	w.start(w.Queue, quick())
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w.t = t
			defer func() {
				for _, l := range w.deadLetters() {
					if err := w.Discard(w.within(), l.Sequence, queue.Operation{}); err != nil {
						t.Error(err)
					}
				}
			}()
			bad, good := fmt.Sprintf("bad%d", i), fmt.Sprintf("good%d", i)
			for n, b := range test.batches {
				if !b.absent {
					w.publishBatch(bad, n+1, b)
				}
			}
			c := manifest(commitOf(bad), test.batches)
			if test.commit != nil {
				test.commit(&c)
			}
			if test.raw != "" {
				w.publish(messages.CommitSubject("ws", bad), nil, test.raw)
			} else {
				w.commit(c)
			}
			w.extract(commitOf(good), lines(6))
			if got := w.dispatched(good); got != (messages.Plan{Loads: 3, Rows: 6}) {
				t.Errorf("the next extraction: got %+v, want 3 loads of 6 rows", got)
			}
			e := w.await(bad, messages.EventFailed, messages.EventDispatched)
			if e.Failure == nil {
				t.Fatalf("got event %+v, want failed", e)
			}
			w.settled()
			got := *e.Failure
			for _, text := range test.says {
				if !strings.Contains(got.Message, text) {
					t.Errorf("message: got %q, want in it %q", got.Message, text)
				}
			}
			if got.Remedy == "" {
				t.Error("no remedy")
			}
			letters := w.deadLetters()
			if len(letters) != 1 || letters[0].Failure != got || letters[0].ID != bad || letters[0].Workspace != "ws" || letters[0].Stage != messages.StageDispatch {
				t.Errorf("dead letters: got %+v, want one of %s with failure %+v", letters, bad, got)
			}
			where := got
			where.Message, where.Remedy = "", ""
			if test.want.Value == "" {
				where.Value = ""
			}
			if where != test.want {
				t.Errorf("where: got %+v, want %+v", where, test.want)
			}
			if loads := w.loads(bad); len(loads) != 0 {
				t.Errorf("loads of it: got %q, want none", keys(loads))
			}
		})
	}
}
