package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/loadfleet/loadfleet/destination"
)

// The rotation of the seal key as an operator does it, and what happens to
// those who have not got the key.
func TestSealKeyRotation(t *testing.T) {
	t.Parallel()
	h := startHome(t)
	keyFile := filepath.Join(h.data, sealKeyFile)
	read := func(file string) string {
		b, err := os.ReadFile(filepath.Join(h.data, file))
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(b))
	}
	restart := func(key string, flags ...string) {
		t.Helper()
		h.up.stop(t)
		if err := os.WriteFile(keyFile, []byte(key+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		// The store where it was, so that the destination need not be applied.
		store := strings.TrimPrefix(h.variable("AWS_ENDPOINT_URL"), "http://")
		h.start(t, append(flags, "--s3-addr", store)...)
	}
	publish := func(code int, extraction string, flags ...string) {
		t.Helper()
		h.run(t, code, adDays(1), append([]string{"publish", "-", "--format", "ndjson", "--destination", "kept", "--table", extraction,
			"--date-column", "date", "--extraction", extraction}, flags...)...)
	}
	document := func() string {
		return p10Document("kept", h.variable("AWS_ACCESS_KEY_ID"), "env:AWS_SECRET_ACCESS_KEY", h.variable("AWS_ENDPOINT_URL"), "kept")
	}
	oldKey := read(sealKeyFile)
	newKey := strings.TrimSpace(h.run(t, exitOK, "", "destination", "new-key").out)
	strangeKey := strings.TrimSpace(h.run(t, exitOK, "", "destination", "new-key").out)
	found := newSearch("kept", map[string]string{"S3 secret": read("s3.secret-key"), "old key": oldKey})

	h.run(t, exitOK, document(), "destination", "apply", "-f", "-")
	publish(exitOK, "before", "--wait")

	restart(newKey + "\n" + oldKey)
	if f := h.run(t, exitOK, "", "destination", "reseal"); f.out != "1 of 1 destinations resealed\n" {
		t.Errorf("reseal says %q", f.out)
	}
	if f := h.run(t, exitOK, "", "destination", "reseal"); f.out != "0 of 1 destinations resealed\n" {
		t.Errorf("the second reseal says %q", f.out)
	}
	restart(newKey)
	publish(exitOK, "after", "--wait")

	// The history keeps revisions of the old key's time; the current one is
	// the new key's alone.
	if f := h.run(t, exitFailed, "", "destination", "show", "kept", "--seal-key", oldKey); !holdsAll(f.err, []string{"key id", "--seal-key"}) {
		t.Errorf("show with the old key says %q", f.err)
	}

	// A process with another key.
	restart(strangeKey)
	publish(exitOK, "parked")
	line := h.awaitLoad(t, "parked", "park")
	if !holdsAll(line, []string{`"reason":"destination"`, "lacks the key", "start it with the key", "key id"}) {
		t.Errorf("a load without the key is parked with %s", line)
	}
	for _, command := range [][]string{{"show", "kept"}, {"pause", "kept"}, {"apply", "-f", "-"}, {"reseal"}} {
		f := h.run(t, exitFailed, document(), append([]string{"destination"}, command...)...)
		if !holdsAll(f.err, []string{"kept", "--seal-key", "if it is lost"}) {
			t.Errorf("destination %s without the key says %q", command[0], f.err)
		}
	}
	for _, none := range [][]string{nil, {"--seal-key", ""}} {
		if f := h.run(t, exitOK, "", append([]string{"destination", "list"}, none...)...); !strings.Contains(f.out, "kept") {
			t.Errorf("destination list %q without the key says %q", none, f.out)
		}
	}
	restart(strangeKey, "--park-limit", "1ms")
	publish(exitBad, "dead", "--wait")
	var dead []struct {
		Failure struct{ Reason, Message, Remedy string } `json:"failure"`
	}
	h.read(t, &dead, "deadletter", "list", "--extraction", "dead")
	if len(dead) != 1 || dead[0].Failure.Reason != "destination" || !strings.Contains(dead[0].Failure.Remedy, "start it with the key, then replay") {
		t.Errorf("the dead letters of a load without the key are %+v", dead)
	}

	// With the key again.
	restart(newKey)
	if f := h.run(t, exitOK, "", "deadletter", "replay", "--extraction", "dead"); !strings.HasPrefix(f.out, "1 dead letter replayed\n") {
		t.Errorf("replay says %q", f.out)
	}
	h.awaitLoad(t, "dead", "loaded")

	// The key is lost for good: the secret is given anew.
	restart(strangeKey)
	h.run(t, exitOK, document(), "destination", "apply", "-f", "-", "--yes")
	publish(exitOK, "anew", "--wait")
	h.run(t, exitOK, "", "destination", "delete", "kept", "--yes", "--seal-key", newKey)

	for _, u := range h.said {
		if !strings.Contains(u.command, "new-key") {
			found.look(t, "output", u.command, []byte(u.text.String()))
		}
	}
	if !found.seen["output"] {
		t.Error("the search of outputs has not even found the destination")
	}
}

// TestWorkerWithAnotherSealKey: a worker that could open no destination ends
// before it is ready, and takes no load.
func TestWorkerWithAnotherSealKey(t *testing.T) {
	p := startProving(t)
	p.apply(t, "sealed", "folder: /sealed\nfile_name: \"{{YYYY}}-{{MM}}-{{DD}}\"\nfile_format: json")
	var out, errs bytes.Buffer
	code := run([]string{"worker", "--nats-url", p.node.natsURL(), "--seal-key", destination.NewSealKey()}, strings.NewReader(""), &out, &errs)
	said := out.String() + errs.String()
	if code != exitFailed || !holdsAll(said, []string{"--seal-key opens none", "sealed", "the key of id"}) || strings.Contains(said, "worker ready") {
		t.Errorf("exit code %d, want %d, the key's id, and not that it is ready:\n%s", code, exitFailed, said)
	}
}
