package messages

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/loadfleet/loadfleet/encoding"
)

var update = flag.Bool("update", false, "write the golden messages of the current version")

const goldenRoot = "../testdata/messages"

// wire is a message as it lies in a golden file: the subject, the headers as
// NATS writes them (with plain line feeds), an empty line, the payload.
type wire struct {
	subject string
	header  Header
	body    []byte
}

func (w wire) bytes() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "HPUB %s\nNATS/1.0\n", w.subject)
	names := make([]string, 0, len(w.header))
	for name := range w.header {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		for _, v := range w.header[name] {
			fmt.Fprintf(&b, "%s: %s\n", name, v)
		}
	}
	b.WriteByte('\n')
	b.Write(w.body)
	return b.Bytes()
}

func readWire(b []byte) (w wire, err error) {
	head, body, ok := bytes.Cut(b, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if !ok || len(lines) < 2 || !strings.HasPrefix(lines[0], "HPUB ") || lines[1] != "NATS/1.0" {
		return w, fmt.Errorf("no golden message: %.80q", b)
	}
	w = wire{subject: strings.TrimPrefix(lines[0], "HPUB "), header: Header{}, body: body}
	for _, line := range lines[2:] {
		name, value, ok := strings.Cut(line, ": ")
		if !ok {
			return w, fmt.Errorf("no header: %q", line)
		}
		w.header[name] = append(w.header[name], value)
	}
	return w, nil
}

// decode reads a message of any kind, by its subject.
func (w wire) decode() (any, error) {
	root, _, _ := strings.Cut(w.subject, ".")
	switch root {
	case rowsRoot:
		return ParseBatch(w.subject, w.header, w.body)
	case commitRoot, recommitRoot:
		return ParseCommit(w.subject, w.body)
	case loadRoot:
		return ParseLoad(w.header.Get(HeaderLoad))
	case eventRoot:
		return ParseEvent(w.body)
	case deadRoot:
		return ParseDeadLetter(w.header.Get(HeaderDeadLetter))
	}
	return nil, fmt.Errorf("no message of the contract stands on %q", w.subject)
}

// encode writes a value of any kind as its message. rest is what the value
// does not say: the payload beside a load or a dead letter, and its headers.
func encode(t *testing.T, v any, rest wire) wire {
	t.Helper()
	w := wire{subject: rest.subject, header: Header{}, body: rest.body}
	for name, values := range rest.header {
		w.header[name] = values
	}
	var s string
	var err error
	switch v := v.(type) {
	case Batch:
		w.subject, w.header, w.body = RowsSubject(v.Workspace, v.Extraction), v.Header(), v.Body
	case Commit:
		if w.subject == "" {
			w.subject = CommitSubject(v.WorkspaceID, v.Extraction)
		}
		w.body, err = v.Encode()
	case *Load:
		s, err = EncodeLoad(v)
		w.subject = LoadSubject(v)
		w.header.Set(HeaderLoad, s)
	case *Event:
		w.subject = EventSubject(v)
		w.body, err = EncodeEvent(v)
	case *DeadLetter:
		s, err = EncodeDeadLetter(v)
		w.subject = DeadLetterSubject(v)
		w.header.Set(HeaderDeadLetter, s)
	}
	if err != nil {
		t.Fatalf("encode %T: %v", v, err)
	}
	return w
}

// golden is one message of a version: what its file must decode to, for ever.
type golden struct {
	value any
	rest  wire
}

// goldens holds the messages of every version there ever was. A new version
// adds a function here and a directory there; neither is ever changed again.
func goldens(t *testing.T) map[string]map[string]golden {
	return map[string]map[string]golden{"v1": goldensV1(t)}
}

// goldenPayload stands for the rows of a load: this package carries them and
// never looks inside (the encoding package has their golden bytes).
const goldenPayload = "rows as encoding.MarshalRows writes them"

func goldensV1(t *testing.T) map[string]golden {
	at := time.Date(2024, 6, 20, 12, 15, 17, 250_000_000, time.UTC)
	commit := Commit{
		Version: 1, Extraction: "x-2024-06-20", WorkspaceID: "acme", WorkspaceTitle: "Acme & Söhne", Destination: "acme-lake",
		DataSource: "facebook/ads", DataTableTitle: "Daily", ReportType: "campaigns", Filename: "ads",
		Schema:         testSchema(t, "day date", "account string", "campaign_id int64", "ctr float64", "spend decimal(18,6)", "active bool", "at timestamp", "extra json"),
		UnknownColumns: RejectUnknown, DateColumn: "day", AccountColumn: "account", Generation: 1718886917250, Lane: Fresh, Rows: 5,
		Batches: []BatchManifest{{Rows: 2, SHA256: hashA}, {Rows: 3, SHA256: hashB}},
	}
	restating := commit
	restating.Extraction = "x-2024-06-21"
	restating.Covers = &Covers{From: "2024-06-01", To: "2024-06-20", Accounts: []string{"ünï ..", "123-456"}}
	smallest := Commit{
		Version: 1, Extraction: "x2", WorkspaceID: "acme", Destination: "acme-lake", Filename: "empty",
		UnknownColumns: RejectUnknown, Generation: 1, Lane: Fresh, Batches: []BatchManifest{},
	}
	inline := &Load{
		Version: 1, ID: "9225eba0c2463615fdde063f7c239d09", Workspace: "acme", Destination: "acme-lake", Extraction: "x-2024-06-20",
		Lane: Fresh, Generation: 1718886917250, Bucket: "acme-bucket", Key: "acme/ünï %2E%2E/ads-2024-06-18.csv.gz",
		File: FileSpec{Format: encoding.CSVGzip, Separator: encoding.Semicolon},
		Part: Partition{From: "2024-06-18", To: "2024-06-18", Account: "ünï ..", DateColumn: "day", AccountColumn: "account"},
		Rows: 5, Inline: &RowsRef{Bytes: int64(len(goldenPayload)), SHA256: "1d1aecc1a8f2836bbe2db9ef6afcc4d959d2635be20cd81c5be0d0f53f5fd2c5"},
		Time: at,
	}
	sliced := &Load{
		Version: 1, ID: "7424a3d6a2592e5eca6f7ff96925c48a", Workspace: "acme", Destination: "acme-lake", Extraction: "x-2024-06-20",
		Lane: Replay, Generation: 1718886917250, Bucket: "acme-bucket", Key: "acme/ads-2024-06.parquet",
		File: FileSpec{Format: encoding.Parquet, Compression: "zstd"},
		Part: Partition{From: "2024-06-01", To: "2024-06-30", DateColumn: "day"},
		Rows: 1_000_000, Slices: []SliceRef{{Subject: "slice.x-2024-06-20.7424a3d6a2592e5eca6f7ff96925c48a.t1", Count: 25, Rows: 1_000_000, Bytes: 99_000_000, SHA256: hashB}},
		Time: at, Replay: &ReplayMark{Count: 2, At: at.Add(24 * time.Hour)},
	}
	shared := *inline
	shared.ID, shared.Key = "5c2ac3cc0b0a0d0f2f0ff0d5a3ad9a41", "acme/all-2024-06-18.csv.gz"
	shared.Part.Account, shared.Part.AccountColumn = "", ""
	shared.Part.Holds, shared.Part.Covers = setOf("a", "b"), AllAccounts
	gone := *inline
	gone.ID, gone.Key, gone.Delete, gone.Rows, gone.Inline = "0d0f2f0ff0d5a3ad9a415c2ac3cc0b0a", "acme/ads-2024-06-19.csv.gz", true, 0, nil
	listing := gone
	listing.ID, listing.Key, listing.Delete, listing.Part = "2f0ff0d5a3ad9a415c2ac3cc0b0a0d0f", "acme/_manifests/ads/_x-2024-06-20.json", false, Partition{}
	listing.Manifest = &Manifest{Form: ManifestJSON, Loads: 2}
	event := func(kind EventKind) *Event {
		return &Event{Version: 1, Kind: kind, Time: at, Workspace: "acme", Extraction: "x-2024-06-20", Destination: "acme-lake", Table: "ads"}
	}
	dispatched, outcome, dead, failed := event(EventDispatched), event(EventOutcome), event(EventOutcome), event(EventFailed)
	dispatched.Plan = &Plan{Loads: 2, Rows: 1_000_005}
	outcome.Outcome = &Outcome{
		Load: inline.ID, Result: Loaded, Bucket: inline.Bucket, Key: inline.Key, Format: "csv+gzip", Rows: 5, Bytes: 321, SHA256: hashA,
		ETag: `"9f86d081884c7d65"`, Generation: inline.Generation, Attempts: 1, Worker: "worker-7", Started: at, Ended: at.Add(40 * time.Millisecond),
	}
	denied := Failure{Reason: ReasonDestination, Message: "put acme/ads-2024-06.parquet: access denied", Remedy: ReasonDestination.Remedy()}
	badRow := Failure{Reason: ReasonBadRow, Message: `"2024-02-30" is no date`, Remedy: ReasonBadRow.Remedy(), Batch: 2, Row: 3, Column: "day", Value: "2024-02-30"}
	dead.Outcome = &Outcome{
		Load: sliced.ID, Result: DeadLettered, Bucket: sliced.Bucket, Key: sliced.Key, Format: "parquet", Rows: 1_000_000,
		Generation: sliced.Generation, Attempts: 3, Worker: "worker-7", Started: at, Ended: at.Add(time.Hour), Failure: &denied,
	}
	failed.Failure = &badRow
	deadCommit := &DeadLetter{
		Version: 1, ID: commit.Extraction, Stage: StageDispatch, Workspace: "acme", Destination: "acme-lake", Extraction: commit.Extraction,
		Failure: badRow, Subject: CommitSubject("acme", commit.Extraction), Time: at,
	}
	deadLoad := &DeadLetter{
		Version: 1, ID: sliced.ID, Stage: StageLoad, Workspace: "acme", Destination: "acme-lake", Extraction: sliced.Extraction, Failure: denied,
		Attempts: []Attempt{{Worker: "worker-7", Time: at, Error: "service unavailable"}, {Worker: "worker-8", Time: at.Add(time.Minute), Error: "access denied"}},
		Subject:  LoadSubject(sliced), Time: at.Add(time.Hour), Replays: 2,
	}
	commitBody, err := commit.Encode()
	if err != nil {
		t.Fatal(err)
	}
	loadHeader, err := EncodeLoad(sliced)
	if err != nil {
		t.Fatal(err)
	}
	staged := commit
	staged.Extraction, staged.Batches, staged.Rows = "x-2024-06-22", []BatchManifest{}, 7
	staged.Files = []StagedFile{
		{Name: "x-2024-06-22/1.ndjson.zst", Rows: 3, Bytes: 1 << 33, SHA256: strings.Repeat("0f", 32), Format: encoding.NDJSONInput, Compression: encoding.Zstd},
		{Name: "date=2024-06-22/2.csv", Rows: 4, Bytes: 20, SHA256: strings.Repeat("a0", 32), Format: encoding.CSVInput},
	}
	described := *inline
	described.Key, described.ID = "out/ads/_schema/ads.schema", LoadID("acme", inline.Extraction, inline.Bucket, "out/ads/_schema/ads.schema")
	described.Sidecar, described.Rows, described.Part = "application/json", 0, Partition{}
	narrow := *inline
	narrow.File.Without = []string{"day"}
	batch := func(n int, rows int64, f encoding.InputFormat, c encoding.Compression, body string) golden {
		return golden{value: Batch{Workspace: "acme", Extraction: "x-2024-06-20", Ordinal: n, Rows: rows, Format: f, Compression: c, Body: []byte(body)}}
	}
	return map[string]golden{
		"batch-ndjson.msg": batch(1, 2, encoding.NDJSONInput, encoding.Plain,
			"{\"day\":\"2024-06-18\",\"account\":\"ünï ..\",\"spend\":1.5}\n{\"day\":\"2024-06-18\",\"account\":null,\"spend\":\"0.000001\"}\n"),
		"batch-csv.msg":         batch(2, -1, encoding.CSVInput, encoding.Plain, "day,account,spend\n2024-06-18,\"a,\n\"\"b\",2\n2024-06-18,,\n2024-06-18,\"\",3\n"),
		"batch-gzip.msg":        batch(3, 0, encoding.NDJSONInput, encoding.Gzip, "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff\x01\x00\x00\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00"),
		"batch-arrow-zstd.msg":  batch(4, 1<<40, encoding.ArrowInput, encoding.Zstd, "\x28\xb5\x2f\xfd (a frame)"),
		"commit.msg":            {value: commit},
		"commit-smallest.msg":   {value: smallest},
		"commit-covers.msg":     {value: restating},
		"commit-staged.msg":     {value: staged},
		"recommit.msg":          {value: commit, rest: wire{subject: RecommitSubject("acme", commit.Extraction, 42), header: Header{HeaderCommittedAt: {"2024-06-20T12:15:17.25Z"}}}},
		"load-inline.msg":       {value: inline, rest: wire{body: []byte(goldenPayload)}},
		"load-slices.msg":       {value: sliced},
		"load-manifest.msg":     {value: &listing},
		"load-sidecar.msg":      {value: &described, rest: wire{body: []byte(goldenPayload)}},
		"load-without.msg":      {value: &narrow, rest: wire{body: []byte(goldenPayload)}},
		"load-delete.msg":       {value: &gone},
		"load-shared.msg":       {value: &shared, rest: wire{body: []byte(goldenPayload)}},
		"event-accepted.msg":    {value: event(EventAccepted)},
		"event-dispatched.msg":  {value: dispatched},
		"event-outcome.msg":     {value: outcome},
		"event-dead-letter.msg": {value: dead},
		"event-completed.msg":   {value: event(EventCompleted)},
		"event-failed.msg":      {value: failed},
		"dead-commit.msg":       {value: deadCommit, rest: wire{body: commitBody}},
		"dead-load.msg":         {value: deadLoad, rest: wire{header: Header{HeaderLoad: {loadHeader}}}},
	}
}

// TestEveryMessageEverWrittenDecodes reads every file of every version.
func TestEveryMessageEverWrittenDecodes(t *testing.T) {
	want := goldens(t)
	if *update {
		dir := filepath.Join(goldenRoot, fmt.Sprintf("v%d", Version))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, g := range want[filepath.Base(dir)] {
			if err := os.WriteFile(filepath.Join(dir, name), encode(t, g.value, g.rest).bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	var versions, listed []string
	for n := range Version {
		versions = append(versions, fmt.Sprintf("v%d", n+1))
	}
	dirs, err := os.ReadDir(goldenRoot)
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		listed = append(listed, dir.Name())
	}
	if !slices.Equal(versions, listed) {
		t.Fatalf("%s holds %v, want a directory per version: %v", goldenRoot, listed, versions)
	}
	for _, version := range versions {
		files, err := os.ReadDir(filepath.Join(goldenRoot, version))
		if err != nil {
			t.Fatal(err)
		}
		if len(files) != len(want[version]) {
			t.Errorf("%s holds %d files, want %d", version, len(files), len(want[version]))
		}
		for _, file := range files {
			t.Run(version+"/"+file.Name(), func(t *testing.T) {
				b, err := os.ReadFile(filepath.Join(goldenRoot, version, file.Name()))
				if err != nil {
					t.Fatal(err)
				}
				w, err := readWire(b)
				if err != nil {
					t.Fatal(err)
				}
				g, ok := want[version][file.Name()]
				if !ok {
					t.Fatal("no value is written down for this file")
				}
				got, err := w.decode()
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(g.value, got, schemas); d != "" {
					t.Errorf("decoded (-want +got):\n%s", d)
				}
				if version == versions[len(versions)-1] {
					if d := cmp.Diff(string(b), string(encode(t, g.value, g.rest).bytes())); d != "" {
						t.Errorf("encoded (-golden +got):\n%s", d)
					}
				}
			})
		}
	}
}
