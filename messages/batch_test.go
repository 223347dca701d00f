package messages

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/loadfleet/loadfleet/encoding"
)

func TestParseBatchTakesEveryFormatAndPacking(t *testing.T) {
	for _, c := range []struct {
		contentType, contentEncoding string
		format                       encoding.InputFormat
		packing                      encoding.Compression
	}{
		{"application/x-ndjson", "", encoding.NDJSONInput, encoding.Plain},
		{"application/ndjson", "identity", encoding.NDJSONInput, encoding.Plain},
		{"application/jsonl; charset=utf-8", "gzip", encoding.NDJSONInput, encoding.Gzip},
		{"text/csv", "zstd", encoding.CSVInput, encoding.Zstd},
		{"Text/CSV; header=present; charset=UTF-8", "GZIP", encoding.CSVInput, encoding.Gzip},
		{"application/vnd.apache.arrow.stream", "", encoding.ArrowInput, encoding.Plain},
	} {
		t.Run(c.contentType, func(t *testing.T) {
			h := Header{HeaderBatch: {"3"}, HeaderContentType: {c.contentType}}
			if c.contentEncoding != "" {
				h.Set(HeaderEncoding, c.contentEncoding)
			}
			want := Batch{Workspace: "acme", Extraction: "x1", Ordinal: 3, Rows: -1, Format: c.format, Compression: c.packing, Body: []byte("b")}
			got, err := ParseBatch("rows.acme.x1", h, []byte("b"))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("ParseBatch (-want +got):\n%s", d)
			}
			again, err := ParseBatch("rows.acme.x1", got.Header(), got.Body)
			if err != nil || !cmp.Equal(got, again) {
				t.Errorf("its own Header gives %v (%v)", cmp.Diff(got, again), err)
			}
		})
	}
}

func TestParseBatchNamesEveryMistake(t *testing.T) {
	for _, c := range []struct {
		name    string
		subject string
		change  Header // over a good one; an empty list takes the header out
		fields  []string
		reason  Reason
		says    string
	}{
		{"wrong subject", "commit.acme.x1", nil, []string{"subject"}, ReasonUndecodable, "rows.<workspace>.<extraction>"},
		{"bad id in subject", "rows.a%2Eb.x1", nil, []string{"subject"}, ReasonUndecodable, "not a subject of batches"},
		{"no ordinal", "", Header{HeaderBatch: {}}, []string{HeaderBatch}, ReasonUndecodable, "missing"},
		{"ordinal zero", "", Header{HeaderBatch: {"0"}}, []string{HeaderBatch}, ReasonUndecodable, "0 is outside 1 to 65536"},
		{"ordinal beyond", "", Header{HeaderBatch: {"65537"}}, []string{HeaderBatch}, ReasonUndecodable, "outside"},
		{"signed ordinal", "", Header{HeaderBatch: {"+1"}}, []string{HeaderBatch}, ReasonUndecodable, "not a count"},
		{"ordinal twice", "", Header{HeaderBatch: {"1", "2"}}, []string{HeaderBatch}, ReasonUndecodable, "stands 2 times"},
		{"negative rows", "", Header{HeaderRows: {"-1"}}, []string{HeaderRows}, ReasonUndecodable, "not a count"},
		{"another workspace", "", Header{HeaderWorkspace: {"rival"}}, []string{HeaderWorkspace}, ReasonWorkspace, `"rival" is not the subject's workspace "acme"`},
		{"no content type", "", Header{HeaderContentType: {}}, []string{HeaderContentType}, ReasonUndecodable, "missing"},
		{"json", "", Header{HeaderContentType: {"application/json"}}, []string{HeaderContentType}, ReasonUndecodable, "write application/x-ndjson"},
		{"no media type", "", Header{HeaderContentType: {"/;"}}, []string{HeaderContentType}, ReasonUndecodable, "not a media type"},
		{"latin-1", "", Header{HeaderContentType: {"text/csv; charset=iso-8859-1"}}, []string{HeaderContentType}, ReasonUndecodable, "send UTF-8"},
		{"csv without header", "", Header{HeaderContentType: {"text/csv; header=absent"}}, []string{HeaderContentType}, ReasonUndecodable, "send the header row"},
		{"brotli", "", Header{HeaderEncoding: {"br"}}, []string{HeaderEncoding}, ReasonUndecodable, "gzip or zstd"},
		{"packed twice", "", Header{HeaderEncoding: {"gzip, zstd"}}, []string{HeaderEncoding}, ReasonUndecodable, "gzip or zstd"},
		{"lower case", "", Header{"content-encoding": {"gzip"}}, []string{"content-encoding"}, ReasonUndecodable, "write Content-Encoding: NATS headers are case-sensitive"},
		{"version zero", "", Header{HeaderVersion: {"0"}}, []string{HeaderVersion}, ReasonUndecodable, "no version 0"},
		{"all at once", "", Header{HeaderBatch: {"x"}, HeaderRows: {"y"}, HeaderWorkspace: {"rival"}, HeaderContentType: {"z"}},
			[]string{HeaderBatch, HeaderRows, HeaderWorkspace, HeaderContentType}, ReasonWorkspace, "rival"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := Header{HeaderVersion: {"1"}, HeaderBatch: {"1"}, HeaderContentType: {"text/csv"}}
			for name, v := range c.change {
				h[name] = v
			}
			subject := c.subject
			if subject == "" {
				subject = "rows.acme.x1"
			}
			_, err := ParseBatch(subject, h, nil)
			var e *BatchError
			if !errors.As(err, &e) {
				t.Fatalf("got %v, want a *BatchError", err)
			}
			var fields []string
			for _, m := range e.Mistakes {
				fields = append(fields, m.Field)
			}
			if d := cmp.Diff(c.fields, fields); d != "" {
				t.Errorf("fields of the mistakes (-want +got):\n%s%v", d, err)
			}
			if e.Reason() != c.reason || e.Failure().Reason != c.reason {
				t.Errorf("reason %q, want %q: %v", e.Reason(), c.reason, err)
			}
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %q does not say %q", err, c.says)
			}
		})
	}
}

func TestNewerBatchIsGivenBack(t *testing.T) {
	h := Header{HeaderVersion: {"2"}, HeaderBatch: {"4"}, HeaderContentType: {"text/csv"}}
	if _, err := ParseBatch("rows.acme.x1", h, nil); !errors.Is(err, ErrNewer) {
		t.Errorf("got %v, want ErrNewer", err)
	}
}
