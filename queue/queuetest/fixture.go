// Package queuetest gives tests a queue of their own: a real server in this
// process, on a directory that goes with the test.
package queuetest

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/queue/embedded"
)

// Fixture is a server and a queue that is connected to it and provisioned.
type Fixture struct {
	*queue.Queue
	Server *embedded.Server // nil while stopped

	dir    string
	port   int
	config queue.Config
}

// Start starts a server for the test and stops it at its end. Each change is
// applied to the configuration of the fixture's queues.
func Start(t testing.TB, changes ...func(*queue.Config)) *Fixture {
	t.Helper()
	f := &Fixture{dir: t.TempDir(), config: queue.Config{RequestTimeout: 2 * time.Second}}
	for _, change := range changes {
		change(&f.config)
	}
	f.StartServer(t)
	t.Cleanup(func() { f.StopServer(t) })
	f.Queue = f.Connect(t)
	if err := f.Queue.Provision(t.Context()); err != nil {
		t.Fatalf("provision: %v", err)
	}
	return f
}

// URL is where the server listens; the same after a restart.
func (f *Fixture) URL() string { return f.config.URL }

// StartServer starts the server again after StopServer, on the same directory
// and port.
func (f *Fixture) StartServer(t testing.TB) {
	t.Helper()
	s, err := embedded.Start(embedded.Config{Dir: f.dir, Port: f.port}, zap.NewNop())
	if err != nil {
		t.Fatalf("start server: %v", err)
	}
	f.Server, f.port, f.config.URL = s, s.Port(), s.URL()
}

// Bury stores dead letters as they are, without anything that died.
func (f *Fixture) Bury(t testing.TB, letters ...messages.DeadLetter) {
	t.Helper()
	all := make([]*nats.Msg, len(letters))
	for i, letter := range letters {
		letter.Version = messages.Version
		text, err := messages.EncodeDeadLetter(&letter)
		if err != nil {
			t.Fatal(err)
		}
		all[i] = &nats.Msg{Subject: messages.DeadLetterSubject(&letter), Header: nats.Header{messages.HeaderDeadLetter: {text}}}
	}
	f.store(t, all)
}

// Record stores records of objects as they are, without the objects.
func (f *Fixture) Record(t testing.TB, objects ...messages.Object) {
	t.Helper()
	all := make([]*nats.Msg, len(objects))
	for i, o := range objects {
		o.Version = messages.Version
		body, err := messages.EncodeObject(&o)
		if err != nil {
			t.Fatal(err)
		}
		all[i] = &nats.Msg{Subject: messages.ObjectSubject(o.Destination, o.Bucket, o.Key), Data: body}
	}
	f.store(t, all)
}

func (f *Fixture) store(t testing.TB, all []*nats.Msg) {
	t.Helper()
	nc, err := nats.Connect(f.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	for len(all) > 0 {
		some := all[:min(len(all), 500)]
		all = all[len(some):]
		for _, m := range some {
			if _, err := js.PublishMsgAsync(m); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case <-js.PublishAsyncComplete():
		case <-t.Context().Done():
			t.Fatal("the queue does not acknowledge")
		}
	}
}

// StopServer stops the server; its clients keep trying.
func (f *Fixture) StopServer(t testing.TB) {
	t.Helper()
	if f.Server == nil {
		return
	}
	if err := f.Server.Close(); err != nil {
		t.Errorf("stop server: %v", err)
	}
	f.Server = nil
}

// Connect connects another queue, as another process would, and closes it at
// the end of the test.
func (f *Fixture) Connect(t testing.TB, changes ...func(*queue.Config)) *queue.Queue {
	t.Helper()
	config := f.config
	for _, change := range changes {
		change(&config)
	}
	return connect(t, config)
}

func connect(t testing.TB, config queue.Config) *queue.Queue {
	t.Helper()
	q, err := queue.Connect(t.Context(), config, zap.NewNop())
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := q.Close(ctx); err != nil {
			t.Errorf("close queue: %v", err)
		}
	})
	return q
}
