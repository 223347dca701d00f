package queue_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/queue/embedded"
	"github.com/loadfleet/loadfleet/queue/queuetest"
)

func TestConnect(t *testing.T) {
	s, err := embedded.Start(embedded.Config{Dir: t.TempDir(), Token: "s3cret"}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	address := strings.TrimPrefix(s.URL(), "nats://")
	seed := filepath.Join(t.TempDir(), "seed")
	if err := os.WriteFile(seed, []byte("no seed"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		config queue.Config
		ok     bool
	}{
		{"token", queue.Config{URL: s.URL(), Token: "s3cret"}, true},
		{"token in the URL", queue.Config{URL: "nats://s3cret@" + address}, true},
		{"no token", queue.Config{URL: s.URL()}, false},
		{"wrong token", queue.Config{URL: "nats://s3cretive@" + address}, false},
		{"wrong password", queue.Config{URL: "nats://user:s3cret@" + address}, false},
		{"unreadable URL", queue.Config{URL: "nats://s3cret@ %%"}, false},
		{"unreadable seed", queue.Config{URL: s.URL(), NKey: seed}, false},
		{"credentials missing", queue.Config{URL: s.URL(), Credentials: seed + "-not"}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			q, err := queue.Connect(within(t, 10*time.Second), test.config, zap.NewNop())
			if (err == nil) != test.ok {
				t.Fatalf("got %v, want success %v", err, test.ok)
			}
			if err != nil {
				if strings.Contains(err.Error(), "s3cret") { // P10
					t.Errorf("the error shows the secret: %v", err)
				}
				return
			}
			if !q.Healthy() {
				t.Error("connected, but not healthy")
			}
			if err := q.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// Roles of one account have inboxes of their own, so that none hears what
// another was answered.
func TestP11InboxPrefix(t *testing.T) {
	f := queuetest.Start(t, func(c *queue.Config) { c.InboxPrefix = "_INBOX_worker" })
	nc, err := nats.Connect(f.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	others, err := nc.SubscribeSync("_INBOX.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	extract(t, f.Queue, "ws", "e", 2)
	ordinals(t, f.Queue, "ws", "e")
	dispatch(t, f.Queue, "e", 3, messages.Fresh)
	carryOut(t, f.Queue, 3)
	if _, err := f.Destinations().List(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if n, _, err := others.Pending(); err != nil || n != 0 {
		t.Errorf("answers in the common inbox: got %d, %v, want none", n, err)
	}
}

func TestCloseEndsWaiting(t *testing.T) {
	f := queuetest.Start(t)
	q := f.Connect(t)
	commits, err := q.Commits(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := commits.Next(t.Context())
		ended <- err
	}()
	if err := q.Close(within(t, 10*time.Second)); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, queue.ErrClosed) {
		t.Errorf("next: got %v, want ErrClosed", err)
	}
	if err := q.Publish(t.Context(), messages.Event{Kind: messages.EventAccepted, Workspace: "ws", Extraction: "e"}); err == nil {
		t.Error("publish after close: got no error")
	}
}
