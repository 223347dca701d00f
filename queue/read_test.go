package queue_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/queue/queuetest"
)

// TestReaderWhoseRequestIsLost loses a reader's first request for messages, as a
// cluster does whose servers have not all heard of its consumer: it asks again
// soon, whether it reads what is there or goes on.
func TestReaderWhoseRequestIsLost(t *testing.T) {
	t.Parallel()
	f := queuetest.Start(t)
	ctx := within(t, 30*time.Second)
	must(t, "publish", f.Publish(ctx, messages.Event{Kind: messages.EventAccepted, Workspace: "ws", Extraction: "e"}))
	for name, live := range map[string]bool{"what is there": false, "live": true} {
		t.Run(name, func(t *testing.T) {
			lossy := newLossy(t, f.URL(), "$JS.API.CONSUMER.MSG.NEXT.EVENTS.")
			q := f.Connect(t, func(c *queue.Config) { c.URL = lossy.url })
			began := time.Now()
			for event, err := range q.Events(ctx, "ws", "e", live) {
				must(t, "events", err)
				if event.Kind == messages.EventAccepted {
					break
				}
			}
			if took := time.Since(began); took > 4*time.Second {
				t.Errorf("it took %s", took)
			}
			if !lossy.lost() {
				t.Error("no request was lost")
			}
		})
	}
}

// lossy is the way to a server on which the first message to a subject is lost.
type lossy struct {
	url     string
	subject []byte
	mu      sync.Mutex
	done    bool
}

func newLossy(t *testing.T, server, subject string) *lossy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, "listen", err)
	u, err := url.Parse(server)
	must(t, "parse", err)
	target := u.Host
	u.Host = l.Addr().String()
	way := &lossy{url: u.String(), subject: []byte("PUB " + subject)}
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", target)
			if err != nil {
				_ = in.Close()
				return
			}
			go func() { _, _ = io.Copy(in, out); _ = in.Close() }()
			go func() { way.pass(out, in); _ = out.Close() }()
		}
	}()
	t.Cleanup(func() { _ = l.Close() })
	return way
}

func (l *lossy) lost() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.done
}

// pass passes on the client's lines and the payloads behind them.
func (l *lossy) pass(out io.Writer, in io.Reader) {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		message := line
		if words := bytes.Fields(line); bytes.HasPrefix(line, []byte("PUB ")) || bytes.HasPrefix(line, []byte("HPUB ")) {
			n, err := strconv.Atoi(string(words[len(words)-1]))
			if err != nil {
				return
			}
			body := make([]byte, n+2)
			if _, err := io.ReadFull(lines, body); err != nil {
				return
			}
			message = append(message, body...)
		}
		l.mu.Lock()
		lose := !l.done && bytes.Contains(line, l.subject)
		l.done = l.done || lose
		l.mu.Unlock()
		if lose {
			continue
		}
		if _, err := out.Write(message); err != nil {
			return
		}
	}
}
