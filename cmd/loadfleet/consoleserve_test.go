package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/console"
	"github.com/loadfleet/loadfleet/queue/queuetest"
)

// TestConsoleStopsWithAStalledClient: whoever stops the console waits a moment for a
// form that never ends, and then it has stopped well.
func TestConsoleStopsWithAStalledClient(t *testing.T) {
	t.Parallel()
	made, err := console.New(console.Config{Queue: queuetest.Start(t).Queue}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- serveConsole(ctx, listener, made) }()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprint(conn, "POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	// The server says so when the page begins to read the form.
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") {
		t.Fatalf("%q, %v", line, err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
}

// piped is a listener whose connections are pipes, which keep a bubble's time.
type piped struct {
	net.Listener
	conns chan net.Conn
}

func (l piped) Accept() (net.Conn, error) {
	if c, ok := <-l.conns; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (l piped) Close() error { return nil }

func TestTimedBodies(t *testing.T) {
	for _, tt := range []struct {
		name, body string // of 4 bytes; what is missing never comes
		want       error
		after      time.Duration
	}{
		{"stalled", "a", os.ErrDeadlineExceeded, bodyTime},
		{"whole", "abcd", nil, time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				page := func(_ http.ResponseWriter, r *http.Request) {
					begun := time.Now()
					_, err := io.ReadAll(r.Body)
					if !errors.Is(err, tt.want) {
						t.Errorf("the body is read with %v, want %v", err, tt.want)
					}
					if err == nil {
						select {
						case <-time.After(tt.after):
						case <-r.Context().Done():
						}
					}
					if took := time.Since(begun); took != tt.after {
						t.Errorf("the page took %s, want %s", took, tt.after)
					}
				}
				l := piped{conns: make(chan net.Conn, 1)}
				server := &http.Server{Handler: timedBodies(http.HandlerFunc(page))} //nolint:gosec // no header of it is slow
				ended := make(chan error, 1)
				go func() { ended <- server.Serve(l) }()
				near, far := net.Pipe()
				l.conns <- far
				if _, err := fmt.Fprintf(near, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n%s", tt.body); err != nil {
					t.Fatal(err)
				}
				a, err := http.ReadResponse(bufio.NewReader(near), nil)
				if err != nil {
					t.Fatal(err)
				}
				_ = a.Body.Close()
				_ = near.Close()
				close(l.conns)
				<-ended
			})
		})
	}
}
