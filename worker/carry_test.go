package worker_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/storage/storagetest"
	"github.com/loadfleet/loadfleet/worker"
)

// TestP5Formats carries out loads of every format, small ones inside their
// message and large ones from slices, through the temporary file and in parts.
func TestP5Formats(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start()
	small, large := rows(t, "small", 200), rows(t, "large", 40_000)
	for _, format := range encoding.Formats() {
		for _, test := range []struct {
			name   string
			rows   *encoding.Rows
			slices int
		}{{"inline", small, 0}, {"slices", large, 5}} {
			t.Run(string(format)+" "+test.name, func(t *testing.T) {
				before := len(r.proxy.Requests(storagetest.CreateUpload))
				l := r.publish(spec{
					name: string(format) + " " + test.name, format: format, rows: test.rows, slices: test.slices,
				})
				got := r.outcome(l)
				stored := r.expect(l, test.rows)
				o := object(t, l, test.rows)
				want := messages.Outcome{
					Load: l.ID, Result: messages.Loaded, Bucket: r.bucket, Key: l.Key, Format: string(format), Rows: l.Rows,
					Bytes: o.Size, SHA256: o.Meta.SHA256, ETag: stored.ETag, Generation: 1, Attempts: 1, Worker: "w",
				}
				if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(messages.Outcome{}, "Started", "Ended")); diff != "" {
					t.Errorf("outcome (-want +got):\n%s", diff)
				}
				if got.Started.IsZero() || got.Ended.Before(got.Started) {
					t.Errorf("outcome started %s and ended %s", got.Started, got.Ended)
				}
				inParts := len(r.proxy.Requests(storagetest.CreateUpload)) > before
				if want := o.Size > quick().MultipartThreshold; inParts != want {
					t.Errorf("%d bytes in parts: %t, want %t", o.Size, inParts, want)
				}
			})
		}
	}
	r.expectNoUploads()
}

// TestP11RejectsBadLoads gives the worker loads that no retry can mend.
func TestP11RejectsBadLoads(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	stop := r.start()
	const good = `{"day":"2024-06-18","account":"acct-1"}` + "\n"
	for _, test := range []struct {
		name   string
		spec   spec
		gone   bool // purge the slices
		reason messages.Reason
		says   string
	}{
		{name: "row of another day", spec: spec{rows: decode(t, good+`{"day":"2024-06-19","account":"acct-1"}`)}, reason: messages.ReasonUndecodable, says: "row 2: the row's day"},
		{name: "row of another account", spec: spec{rows: decode(t, good+`{"day":"2024-06-18","account":"acct-2"}`)}, reason: messages.ReasonUndecodable, says: "row 2: the row's account"},
		{name: "row without a day", spec: spec{rows: decode(t, good+`{"account":"acct-1"}`)}, reason: messages.ReasonUndecodable, says: "row 2: the row's day"},
		{name: "row without an account", spec: spec{rows: decode(t, good+`{"day":"2024-06-18"}`)}, reason: messages.ReasonUndecodable, says: "row 2: the row's account"},
		{name: "row of another day in the last slice", spec: spec{rows: decode(t, strings.Repeat(good, 9)+`{"day":"2024-06-17","account":"acct-1"}`), slices: 5}, reason: messages.ReasonUndecodable, says: "row 2: the row's day"},
		{name: "no such date column", spec: spec{change: func(l *messages.Load) { l.Part.DateColumn = "date" }}, reason: messages.ReasonUndecodable, says: `no column "date"`},
		{name: "wrong hash", spec: spec{payload: func(b []byte) []byte { return append(bytes.Clone(b), 0) }}, reason: messages.ReasonUndecodable, says: "SHA-256"},
		{name: "fewer rows than said", spec: spec{change: func(l *messages.Load) { l.Rows++ }}, reason: messages.ReasonUndecodable, says: "carries 20 rows and says 21"},
		{name: "neither rows nor schema", spec: spec{change: func(l *messages.Load) { l.Rows, l.Inline = 0, nil }}, reason: messages.ReasonUndecodable, says: "no rows"},
		{name: "slices gone", spec: spec{slices: 2}, gone: true, reason: messages.ReasonUndecodable, says: "slices missing or damaged"},
		{name: "slices of another hash", spec: spec{slices: 2, change: func(l *messages.Load) { l.Slices[0].SHA256 = strings.Repeat("0", 64) }}, reason: messages.ReasonUndecodable, says: "slices missing or damaged"},
		{name: "codec of a newer dispatcher", spec: spec{format: encoding.Parquet, change: func(l *messages.Load) { l.File.Compression = "brotli" }}, reason: messages.ReasonUndecodable, says: `unknown compression "brotli"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.spec.name = test.name
			l, payload := r.load(test.spec)
			if test.gone {
				if err := r.PurgeSlices(t.Context(), l.Slices[0]); err != nil {
					t.Fatal(err)
				}
			}
			r.send(l, payload, l.Extraction)
			got := r.outcome(l)
			if got.Result != messages.DeadLettered || got.Attempts != 1 || got.Failure.Reason != test.reason || !strings.Contains(got.Failure.Message, test.says) || got.Failure.Remedy == "" {
				t.Errorf("outcome: got %+v of %+v, want it dead-lettered at once, %s, saying %q", got, got.Failure, test.reason, test.says)
			}
			if dead := r.deadLetters(queue.DeadLetterFilter{ID: l.ID}); len(dead) != 1 || dead[0].Failure.Reason != test.reason {
				t.Errorf("dead letters: got %+v, want one of %s", dead, l.ID)
			}
		})
	}
	stop()
	if n := len(r.proxy.Requests(storagetest.AnyOperation)); n != 0 {
		t.Errorf("requests to the store: got %d, want none", n)
	}
	r.expectEmpty()
	r.expectIdle()
}

// TestUnreadableMessages gives the worker messages that are no loads: one
// damaged, and one of a newer version, which waits for a newer worker.
func TestUnreadableMessages(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	js := r.jetStream()
	send := func(id, header string) {
		t.Helper()
		m := message("load.fresh.acme.e."+id, header)
		if _, err := js.PublishMsg(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	send("damaged", `{"version":1,`)
	send("newer", `{"version":2}`)
	send("none", "")
	stop := r.start(func(c *worker.Config) { c.Slots = 1 })
	r.log.await(t, 2, "reject")
	r.log.await(t, 2, "park")
	stop()
	reasons := map[string]messages.Reason{}
	for _, d := range r.deadLetters(queue.DeadLetterFilter{}) {
		reasons[d.ID] = d.Failure.Reason
	}
	want := map[string]messages.Reason{"damaged": messages.ReasonUndecodable, "none": messages.ReasonUndecodable}
	if diff := cmp.Diff(want, reasons); diff != "" {
		t.Errorf("dead letters (-want +got):\n%s", diff)
	}
	r.expectEmpty()
}
