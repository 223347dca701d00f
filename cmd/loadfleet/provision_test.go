package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"

	natsserver "github.com/loadfleet/loadfleet/queue/embedded"
)

func TestProvisionCommand(t *testing.T) {
	s, err := natsserver.Start(natsserver.Config{Dir: t.TempDir()}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	steps := []struct {
		name   string
		args   []string
		code   int
		output string // part of what is printed or reported
	}{
		{"before", []string{"status"}, exitFailed, "run `loadfleet provision`"},
		{"provision", []string{"provision"}, exitOK, "every stream with 1 copy"},
		{"again", []string{"provision"}, exitOK, "every stream with 1 copy"},
		{"after", []string{"status"}, exitOK, "no dead letters"},
		{"two identities", []string{"status", "--nats-nkey", "a", "--nats-creds", "b"}, exitUsage, "give one of them"},
		{"no such authority", []string{"status", "--nats-ca", "no-such-file"}, exitUsage, "--nats-ca"},
	}
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			var out bytes.Buffer
			code := run(append(step.args, "--nats-url", s.URL()), strings.NewReader(""), &out, &out)
			if code != step.code || !strings.Contains(out.String(), step.output) {
				t.Errorf("got exit code %d, want %d, and %q in:\n%s", code, step.code, step.output, &out)
			}
		})
	}
}

func TestNatsKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "worker.seed")
	var out, errs bytes.Buffer
	if code := run([]string{"nats-key", "--out", path}, nil, &out, &errs); code != exitOK {
		t.Fatalf("got exit code %d: %s", code, &errs)
	}
	public := strings.TrimSpace(out.String())
	if len(public) != 56 || public[0] != 'U' {
		t.Errorf("got %q, want the public key of a user", public)
	}
	seed, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(seed, []byte("SU")) || strings.Contains(out.String()+errs.String(), strings.TrimSpace(string(seed))) {
		t.Error("the file holds no seed of a user, or the seed is printed")
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("got mode %o, want 600", mode)
	}
	if code := run([]string{"nats-key", "--out", path}, nil, &out, &errs); code != exitFailed {
		t.Errorf("over a seed that is there: got exit code %d, want %d", code, exitFailed)
	}
	if again, err := os.ReadFile(path); err != nil || !bytes.Equal(seed, again) {
		t.Errorf("the seed was overwritten (%v)", err)
	}
}

// TestInboxPrefix: deploy/nats lets each role listen on its own prefix.
func TestInboxPrefix(t *testing.T) {
	conf, err := os.ReadFile("../../deploy/nats/fleet.conf")
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"dispatcher", "worker", "console", "provision", "status", "destination", "deadletter", "extraction"} {
		if allowed := `subscribe: { allow: [ "` + inboxPrefix(command) + `.>"`; !strings.Contains(string(conf), allowed) {
			t.Errorf("%s: fleet.conf has no %s", command, allowed)
		}
	}
}
