package queue_test

import (
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/queue/embedded"
)

// A token in the URL stands where a user's name does, which is not hidden when
// passwords are.
func TestP10ReconnectTellsNoToken(t *testing.T) {
	t.Parallel()
	const token = "a-token-that-nobody-sees"
	cfg := embedded.Config{Dir: t.TempDir(), Token: token}
	s, err := embedded.Start(cfg, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zap.DebugLevel)
	q, err := queue.Connect(t.Context(), queue.Config{URL: strings.Replace(s.URL(), "nats://", "nats://"+token+"@", 1)}, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close(t.Context())
	cfg.Port = s.Port()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = embedded.Start(cfg, zap.NewNop()); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	limit := time.After(time.Minute)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for logs.FilterMessage("queue reconnected").Len() == 0 {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("it did not reconnect")
		}
	}
	for _, e := range logs.All() {
		for name, v := range e.ContextMap() {
			if text, ok := v.(string); ok && strings.Contains(text, token) {
				t.Errorf("%q shows the token in %s: %s", e.Message, name, text)
			}
		}
	}
}
