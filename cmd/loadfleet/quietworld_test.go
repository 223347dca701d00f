package main

import (
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/storage"
	"github.com/loadfleet/loadfleet/storage/storagetest"
)

// newQuietWorld is servers, a dispatcher and a destination with files per day,
// reached by a proxy. What goes wrong in it is the test's; it starts the workers.
func newQuietWorld(t *testing.T, secure bool) *chaosWorld {
	t.Helper()
	w := &chaosWorld{fleet: newFleet(t, t.TempDir()), direct: map[string]*storage.Store{}, violations: make(chan string, 10)}
	if err := w.schema.UnmarshalJSON([]byte(chaosSchema)); err != nil {
		t.Fatal(err)
	}
	w.env["LOADFLEET_LEASE"] = "1s"
	w.up("--servers-only", "--bucket", chaosBucket)
	w.access, w.secret, w.s3 = w.env["AWS_ACCESS_KEY_ID"], w.env["AWS_SECRET_ACCESS_KEY"], w.env["AWS_ENDPOINT_URL"]
	seal, err := os.ReadFile(strings.TrimPrefix(w.env["LOADFLEET_SEAL_KEY"], "file:"))
	if err != nil {
		t.Fatal(err)
	}
	if w.keyring, err = destination.ParseKeyring(string(seal)); err != nil {
		t.Fatal(err)
	}
	w.proxy = storagetest.NewProxy(t, w.s3, secure)
	w.targets = chaosTargets()[:1]
	w.oracle = &oracle{queue: w.queue(), keyring: w.keyring, stores: w.direct, targets: w.targets, orphan: func(storage.Upload) bool { return false }}
	w.apply(w.targets[0])
	settings, err := w.settings(w.targets[0], w.s3)
	if err != nil {
		t.Fatal(err)
	}
	if w.direct[w.targets[0].id], err = storage.OpenDestination(t.Context(), settings, storage.Config{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.direct[w.targets[0].id].Close)
	w.command("dispatcher")
	return w
}

// send publishes an extraction of one table.
func (w *chaosWorld) send(e *chaosExtraction) {
	w.Helper()
	e.target, e.table = w.targets[0], "ads"
	w.extractions = append(w.extractions, e)
	if err := newExtractors(w).publish(w.Context(), behaviour{e: e, batchRows: 100}); err != nil {
		w.Fatal(err)
	}
}

// await waits for an event of an extraction.
func (w *chaosWorld) await(e *chaosExtraction, kind messages.EventKind) {
	w.Helper()
	for event, err := range w.oracle.queue.Events(w.Context(), chaosWorkspace, e.id, true) {
		if err != nil {
			w.Fatal(err)
		}
		if event.Kind == kind {
			return
		}
	}
}

// prove has the oracle examine what is left, past the proxy.
func (w *chaosWorld) prove() {
	w.Helper()
	if err := w.store(w.Context(), w.targets[0], func(s *destination.Settings) { s.Endpoint = w.s3 }); err != nil {
		w.Fatal(err)
	}
	w.oracle.extractions = w.extractions
	violations, err := w.oracle.examine(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	for _, v := range violations {
		w.Error(v)
	}
}

// through is the address of the queue by way of a proxy.
func (w *chaosWorld) through(addr string) string {
	w.Helper()
	u, err := url.Parse(w.env["LOADFLEET_NATS_URL"])
	if err != nil {
		w.Fatal(err)
	}
	u.Host = addr
	return u.String()
}
