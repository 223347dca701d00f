package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/dispatcher"
	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/storage"
	"github.com/loadfleet/loadfleet/worker"
)

// What the tests of verify load: days around the end of a month, each with
// another number of rows, an equal number per account.
const (
	provingWorkspace = "ws1"
	provingBucket    = "proving"
	provingDays      = 5
	provingAccounts  = 2
	provingRows      = provingAccounts * (4 + 5 + 6 + 7 + 8)
)

// proving is a fleet in this process whose work is verified.
type proving struct {
	node   *node
	schema *encoding.Schema
}

func startProving(t *testing.T, changes ...func(*nodeConfig)) *proving {
	t.Helper()
	cfg := nodeConfig{
		dir: t.TempDir(), buckets: []string{provingBucket},
		worker: worker.Config{ParkLimit: time.Nanosecond}, // what a destination refuses is dead at once
	}
	for _, change := range changes {
		change(&cfg)
	}
	n := startNodeFor(t, cfg)
	var schema encoding.Schema
	if err := schema.UnmarshalJSON([]byte(`[{"name":"day","type":"date"},{"name":"account","type":"string"},{"name":"name","type":"string"},
		{"name":"clicks","type":"int64"},{"name":"cost","type":"decimal(12,2)"},{"name":"rate","type":"float64"},
		{"name":"seen","type":"timestamp"},{"name":"active","type":"bool"},{"name":"tags","type":"json"}]`)); err != nil {
		t.Fatal(err)
	}
	return &proving{node: n, schema: &schema}
}

// text is the rows as NDJSON; of another variant they are others.
func (p *proving) text(variant string) string {
	var b strings.Builder
	first := time.Date(2024, 1, 30, 0, 0, 0, 0, time.UTC)
	for d := range provingDays {
		day := first.AddDate(0, 0, d)
		for i := range provingAccounts * (4 + d) {
			fmt.Fprintf(&b, `{"day":%q,"account":"acc/%d","name":"%s, \"row\" %d","clicks":%d,"cost":%d.25,"rate":0.%d,"seen":%q,"active":%t,"tags":{"n":[%d]}}`+"\n",
				day.Format(time.DateOnly), i%provingAccounts, variant, i, i*d, i, i+1, day.Add(time.Duration(i)*time.Hour).Format(time.RFC3339), i%2 == 0, i)
		}
	}
	return b.String()
}

func (p *proving) apply(t *testing.T, id, extra string) *destination.Settings {
	t.Helper()
	return p.applyTo(t, id, provingBucket, extra)
}

// applyTo stores a destination into a bucket.
func (p *proving) applyTo(t *testing.T, id, bucket, extra string) *destination.Settings {
	t.Helper()
	doc := fmt.Sprintf(`id: %s
title: proving
connection_option: access_keys
access_key_id: %s
secret_access_key: %s
region: us-east-1
endpoint: %s
path_style: true
bucket: %s
encryption: sse-s3
workspaces: [%s]
%s
`, id, p.node.accessKey, p.node.secretKey, p.node.s3.Endpoint(), bucket, provingWorkspace, extra)
	s, err := destination.Parse([]byte(doc), destination.OSResolver())
	if err != nil {
		t.Fatalf("%v\n%s", err, extra)
	}
	sealed, err := p.node.keyring.Seal(s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.node.queue.Destinations().Put(t.Context(), id, sealed, queue.Any); err != nil {
		t.Fatal(err)
	}
	return s
}

// send publishes an extraction of the rows, in batches of a few.
func (p *proving) send(t *testing.T, destinationID, extraction string, change func(*messages.Commit)) {
	t.Helper()
	p.sendWithin(t.Context(), t, destinationID, extraction, change)
}

// sendWithin is send within ctx, whose trace the commit is in.
func (p *proving) sendWithin(ctx context.Context, t *testing.T, destinationID, extraction string, change func(*messages.Commit)) {
	t.Helper()
	commit := messages.Commit{
		WorkspaceID: provingWorkspace, Extraction: extraction, Destination: destinationID, Filename: "ads",
		Schema: p.schema, DateColumn: "day", AccountColumn: "account", Generation: 1000, Lane: messages.Fresh,
	}
	if change != nil {
		change(&commit)
	}
	e, err := p.node.queue.Extract(t.Context(), commit)
	if err != nil {
		t.Fatal(err)
	}
	for lines := range slices.Chunk(strings.SplitAfter(strings.TrimSpace(p.text(commit.ReportType)), "\n"), 7) {
		body := strings.Join(lines, "")
		if err := e.Append(t.Context(), messages.Batch{Rows: int64(len(lines)), Format: encoding.NDJSONInput, Body: []byte(body)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Commit(ctx); err != nil {
		t.Fatal(err)
	}
}

// load publishes an extraction and waits until every load of it has ended.
func (p *proving) load(t *testing.T, destinationID, extraction string, change func(*messages.Commit)) {
	t.Helper()
	p.send(t, destinationID, extraction, change)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := follow(ctx, p.node.queue, provingWorkspace, extraction, func(int64, int64) {}); err != nil {
		t.Fatalf("follow %s: %v", extraction, err)
	}
}

func (p *proving) verify(t *testing.T, extraction string, changes ...func(*worker.VerifyConfig)) worker.Report {
	t.Helper()
	cfg := worker.VerifyConfig{
		Queue: p.node.queue, Keyring: p.node.keyring, Workspace: provingWorkspace, Extraction: extraction, ScratchDir: t.TempDir(),
	}
	for _, change := range changes {
		change(&cfg)
	}
	report, err := worker.Verify(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// breakable loads an extraction, a file per day, for the test to break.
func (p *proving) breakable(t *testing.T, id string, format encoding.Format) *broken {
	t.Helper()
	s := p.apply(t, id, fmt.Sprintf("folder: /%s\nfile_name: \"{{YYYY}}-{{MM}}-{{DD}}\"\nfile_format: %s", id, format))
	p.load(t, id, id, nil)
	for event, err := range p.node.queue.Events(t.Context(), provingWorkspace, id, true) {
		if err != nil {
			t.Fatal(err)
		}
		if event.Kind == messages.EventCompleted {
			break
		}
	}
	b := &broken{T: t, p: p, id: id, format: format}
	var err error
	b.store, err = storage.OpenDestination(t.Context(), s, storage.Config{})
	b.must(err)
	t.Cleanup(b.store.Close)
	for o, err := range p.node.queue.Outcomes(t.Context(), provingWorkspace, id) {
		b.must(err)
		b.at = append(b.at, o)
	}
	slices.SortFunc(b.at, func(x, y messages.Outcome) int { return strings.Compare(x.Key, y.Key) })
	if len(b.at) != provingDays {
		t.Fatalf("%d outcomes, want %d", len(b.at), provingDays)
	}
	return b
}

func (p *proving) deadLetters(t *testing.T, extraction string) []queue.DeadLetter {
	t.Helper()
	var all []queue.DeadLetter
	for d, err := range p.node.queue.DeadLetters(t.Context(), queue.DeadLetterFilter{Extraction: extraction}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, d)
	}
	return all
}

// purge removes an event, as nobody of the fleet ever does.
func (p *proving) purge(t *testing.T, subject string) {
	t.Helper()
	if err := p.stream(t, "EVENTS").Purge(t.Context(), jetstream.WithPurgeSubject(subject)); err != nil {
		t.Fatal(err)
	}
}

// remove removes a message, of which nobody keeps a record.
func (p *proving) remove(t *testing.T, stream string, sequence uint64) {
	t.Helper()
	if err := p.stream(t, stream).DeleteMsg(t.Context(), sequence); err != nil {
		t.Fatal(err)
	}
}

// audit puts a decision on record that was not carried out.
func (p *proving) audit(t *testing.T, verb messages.Verb, d *queue.DeadLetter, at time.Time) {
	t.Helper()
	a := &messages.Audit{
		Version: messages.Version, Operation: fmt.Sprintf("op-%s-%d", verb, at.Unix()), Verb: verb, By: "bob@desk", Time: at.UTC(),
		Sequence: d.Sequence, ID: d.ID, Stage: d.Stage, Workspace: d.Workspace, Destination: d.Destination, Extraction: d.Extraction,
		Reason: d.Failure.Reason, Died: d.Time, Replays: d.Replays,
	}
	body, err := messages.EncodeAudit(a)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.jetstream(t).Publish(t.Context(), messages.AuditSubject(a), body); err != nil {
		t.Fatal(err)
	}
}

func (p *proving) stream(t *testing.T, name string) jetstream.Stream {
	t.Helper()
	s, err := p.jetstream(t).Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// jetstream speaks to the queue past the fleet.
func (p *proving) jetstream(t *testing.T) jetstream.JetStream {
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
	return js
}

// stopActors leaves the queue and the store without dispatcher and worker.
func (p *proving) stopActors(t *testing.T) {
	t.Helper()
	p.node.stop()
	p.node.done.Wait()
}

// dispatchAlone runs a dispatcher until the extraction's loads are on the queue.
func (p *proving) dispatchAlone(t *testing.T, extraction string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		done <- dispatcher.New(p.node.queue, dispatcher.Config{}, zap.NewNop()).Run(ctx)
	}()
	for event, err := range p.node.queue.Events(ctx, provingWorkspace, extraction, true) {
		if err != nil {
			t.Fatal(err)
		}
		if event.Kind == messages.EventDispatched {
			break
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// renameColumn is the record with a column under another name.
func renameColumn(rec arrow.Record, column int, name string) arrow.Record {
	fields := rec.Schema().Fields()
	fields[column].Name = name
	return array.NewRecord(arrow.NewSchema(fields, nil), rec.Columns(), rec.NumRows())
}
