package embedded_test

import (
	"errors"
	"testing"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/queue/embedded"
)

func TestOneServerPerDirectory(t *testing.T) {
	dir := t.TempDir()
	s, err := embedded.Start(embedded.Config{Dir: dir}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	if second, err := embedded.Start(embedded.Config{Dir: dir}, zap.NewNop()); !errors.Is(err, embedded.ErrInUse) {
		t.Errorf("second server: got %v, %v, want ErrInUse", second, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err = embedded.Start(embedded.Config{Dir: dir, Port: s.Port(), Token: "secret"}, zap.NewNop())
	if err != nil {
		t.Fatalf("after close: %v", err)
	}
	defer s.Close()
	if nc, err := nats.Connect(s.URL()); err == nil {
		nc.Close()
		t.Error("without the token: connected")
	}
	nc, err := nats.Connect(s.URL(), nats.Token("secret"))
	if err != nil {
		t.Fatalf("with the token: %v", err)
	}
	if nc.MaxPayload() != embedded.MaxPayload {
		t.Errorf("largest payload: got %d, want %d", nc.MaxPayload(), embedded.MaxPayload)
	}
	nc.Close()
}
