package messages

import (
	"crypto/sha256"
	"encoding/hex"
	"mime"
	"slices"
	"strconv"
	"strings"

	"github.com/loadfleet/loadfleet/encoding"
)

// Batch is one message of rows of an extraction. Body is as published, still
// packed.
type Batch struct {
	Workspace   string
	Extraction  string
	Ordinal     int   // from 1, without gaps
	Rows        int64 // -1 when the header is absent
	Format      encoding.InputFormat
	Compression encoding.Compression
	Body        []byte
}

// MsgID is the batch's Nats-Msg-Id: the server drops a second publish of the
// same batch.
func (b Batch) MsgID() string {
	return msgID(b.Workspace, b.Extraction, strconv.Itoa(b.Ordinal), b.Body)
}

// CommitMsgID is the Nats-Msg-Id of a commit, given its body.
func CommitMsgID(workspace, extraction string, body []byte) string {
	return msgID(workspace, extraction, "commit", body)
}

// msgID names the workspace because the server compares ids over a whole
// stream, and has a hash of the body in it because another workspace's
// extractor could otherwise publish under the id before its owner does: the
// owner's message would be acknowledged as a duplicate, and lost.
func msgID(workspace, extraction, part string, body []byte) string {
	sum := sha256.Sum256(body)
	return workspace + "/" + extraction + "/" + part + "/" + hex.EncodeToString(sum[:16])
}

// Header is what the batch is published with, beside its Body.
func (b Batch) Header() Header {
	h := Header{}
	h.Set(HeaderMsgID, b.MsgID())
	h.Set(HeaderVersion, strconv.Itoa(Version))
	h.Set(HeaderWorkspace, b.Workspace)
	h.Set(HeaderBatch, strconv.Itoa(b.Ordinal))
	if b.Rows >= 0 {
		h.Set(HeaderRows, strconv.FormatInt(b.Rows, 10))
	}
	h.Set(HeaderContentType, mediaType(b.Format))
	if b.Compression != encoding.Plain {
		h.Set(HeaderEncoding, string(b.Compression))
	}
	return h
}

func mediaType(f encoding.InputFormat) string {
	switch f {
	case encoding.CSVInput:
		return "text/csv"
	case encoding.ArrowInput:
		return "application/vnd.apache.arrow.stream"
	}
	return "application/x-ndjson"
}

// ParseBatch reads a batch's subject and headers; the body is kept as it is.
// It fails with a [*BatchError] that lists every mistake.
func ParseBatch(subject string, h Header, body []byte) (Batch, error) {
	found := &mistakes{reason: ReasonUndecodable}
	b := Batch{Rows: -1, Body: body}
	var ok bool
	if b.Workspace, b.Extraction, ok = Origin(subject); !ok || !strings.HasPrefix(subject, rowsRoot+".") {
		found.add("subject", "publish batches on rows.<workspace>.<extraction>", "%q is not a subject of batches", clip(subject, 200))
	}
	spelling(h, found)

	tooNew := false
	if n, ok := count(h, HeaderVersion, found); ok {
		tooNew = checkVersion(n, HeaderVersion, found)
	}
	if n, ok := count(h, HeaderBatch, found); ok && n >= 1 && n <= MaxBatches {
		b.Ordinal = int(n)
	} else if ok {
		found.add(HeaderBatch, "number the batches 1, 2, 3 and so on", "%d is outside 1 to %d", n, MaxBatches)
	} else if h.Get(HeaderBatch) == "" {
		found.add(HeaderBatch, "number the batches 1, 2, 3 and so on", "missing")
	}
	if n, ok := count(h, HeaderRows, found); ok {
		b.Rows = n
	}
	if w := h.Get(HeaderWorkspace); w != "" && w != b.Workspace {
		found.as(ReasonWorkspace, HeaderWorkspace, "leave the header out, or publish on that workspace's subject",
			"%q is not the subject's workspace %q", clip(w, 2*MaxID), b.Workspace)
	}
	b.Format = inputFormat(h.Get(HeaderContentType), found)
	b.Compression = compression(h.Get(HeaderEncoding), found)
	if len(found.list) > 0 {
		return Batch{}, &BatchError{Subject: subject, Ordinal: b.Ordinal, Mistakes: found.list, newer: tooNew}
	}
	return b, nil
}

// MaxBatches is the most batches one extraction may have: what a commit of one
// message can list.
const MaxBatches = 65536

// spelling reports headers of the contract in another case, and headers with
// two values. NATS compares header names exactly, so that a "content-encoding"
// would silently not be one.
func spelling(h Header, found *mistakes) {
	for _, name := range []string{HeaderVersion, HeaderBatch, HeaderRows, HeaderWorkspace, HeaderContentType, HeaderEncoding} {
		if len(h[name]) > 1 {
			found.add(name, "set the header once", "stands %d times", len(h[name]))
		}
		var others []string
		for other := range h {
			if other != name && strings.EqualFold(other, name) {
				others = append(others, other)
			}
		}
		slices.Sort(others)
		for _, other := range others {
			found.add(other, "write "+name+": NATS headers are case-sensitive", "unknown header")
		}
	}
}

// count reads a header of a whole number in plain digits; ok is false when it
// is absent or is not one.
func count(h Header, name string, found *mistakes) (n int64, ok bool) {
	s := h.Get(name)
	if s == "" {
		return 0, false
	}
	u, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		found.add(name, "write a whole number in digits", "%q is not a count", clip(s, 40))
		return 0, false
	}
	return int64(u), true
}

func checkVersion(n int64, field string, found *mistakes) (tooNew bool) {
	switch {
	case n > Version:
		found.add(field, "publish version "+strconv.Itoa(Version)+", or upgrade loadfleet first",
			"version %d is newer than this program, which reads up to %d", n, Version)
		return true
	case n < 1:
		found.add(field, "write "+strconv.Itoa(Version), "there is no version %d", n)
	}
	return false
}

func inputFormat(s string, found *mistakes) encoding.InputFormat {
	const remedy = "write application/x-ndjson, text/csv or application/vnd.apache.arrow.stream"
	if s == "" {
		found.add(HeaderContentType, remedy, "missing")
		return ""
	}
	media, params, err := mime.ParseMediaType(s)
	if err != nil {
		found.add(HeaderContentType, remedy, "%q is not a media type", clip(s, 80))
		return ""
	}
	if c := params["charset"]; c != "" && !strings.EqualFold(c, "utf-8") && !strings.EqualFold(c, "utf8") {
		found.add(HeaderContentType, "send UTF-8", "charset %q is not taken", clip(c, 40))
	}
	if media == "text/csv" && strings.EqualFold(params["header"], "absent") {
		found.add(HeaderContentType, "send the header row", "a CSV batch without its header row cannot be read")
	}
	switch media {
	case "application/x-ndjson", "application/ndjson", "application/jsonl":
		return encoding.NDJSONInput
	case "text/csv":
		return encoding.CSVInput
	case "application/vnd.apache.arrow.stream":
		return encoding.ArrowInput
	}
	found.add(HeaderContentType, remedy, "%q is no format of batches", clip(s, 80))
	return ""
}

func compression(s string, found *mistakes) encoding.Compression {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "", "identity":
		return encoding.Plain
	case "gzip":
		return encoding.Gzip
	case "zstd":
		return encoding.Zstd
	}
	found.add(HeaderEncoding, "write gzip or zstd, or leave the header out", "%q is no packing of batches", clip(s, 80))
	return encoding.Plain
}
