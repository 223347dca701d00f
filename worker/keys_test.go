package worker_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/worker"
)

func TestCheckKeyring(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	newKeyring := func() *destination.Keyring {
		k, err := destination.NewKeyring(destination.NewSealKey())
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	keyOf := func(id string) string {
		stored, err := r.Destinations().Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		key, err := destination.SealedWith(stored.Document)
		if err != nil || key == "" {
			t.Fatalf("key of %s: %q, %v", id, key, err)
		}
		return key
	}
	strange := newKeyring()
	check := func(name string, k *destination.Keyring, refused bool, says ...string) {
		t.Helper()
		r.log.reset()
		err := worker.CheckKeyring(t.Context(), r.Queue, k, zap.New(r.log))
		if refused != errors.Is(err, destination.ErrUnknownKey) || !refused && err != nil {
			t.Errorf("%s: got %v, want an error: %t", name, err, refused)
		}
		said := fmt.Sprint(err) + r.log.String()
		for _, text := range says {
			if !strings.Contains(said, text) {
				t.Errorf("%s: it does not say %q: %s", name, text, said)
			}
		}
		if len(says) == 0 && r.log.String() != "" {
			t.Errorf("%s: it logs %s", name, r.log)
		}
	}
	check("its key", r.keyring, false)
	check("another key", strange, true, "acme", keyOf("acme"), "--seal-key")
	check("no key", nil, true, "acme", keyOf("acme"))

	r.apply(func(s *destination.Settings) { s.ID = "other" })
	r.seal("other", "another key")
	check("one key of two", r.keyring, false, "other", keyOf("other"), "--seal-key")
	check("neither key", strange, true, "acme, other", keyOf("acme"), keyOf("other"))

	for _, id := range []string{"acme", "other"} {
		if err := r.Destinations().Delete(t.Context(), id, "test"); err != nil {
			t.Fatal(err)
		}
	}
	check("no destination", strange, false)

	q := r.Connect(t)
	if err := q.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := worker.CheckKeyring(t.Context(), q, strange, zap.New(r.log)); err != nil {
		t.Errorf("a queue that cannot be read: got %v, want nil", err)
	}
}
