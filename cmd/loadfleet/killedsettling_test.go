package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/loadfleet/loadfleet/messages"
)

// TestP1KilledWhileSettling kills a worker's process with -9 at each message by
// which it settles loads and completes an extraction: before the message
// leaves, and when it is stored and the answer is not there. Whoever comes next
// ends every load once, counted once, and completes the extraction once.
func TestP1KilledWhileSettling(t *testing.T) {
	t.Parallel()
	w := newQuietWorld(t, false)
	nc, err := nats.Connect(w.env["LOADFLEET_NATS_URL"])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stands := func(ctx context.Context, subject string) bool {
		s, err := js.Stream(ctx, "EVENTS")
		if err != nil {
			return false
		}
		_, err = s.GetLastMsgForSubject(ctx, subject)
		return err == nil
	}
	const event = "event." + chaosWorkspace + "."
	for _, step := range []struct {
		name, subject string // of the message; @ is the extraction
		armed         string // by this one, before it
		stored        string // where it stands then; "" for an acknowledgement
	}{
		{"record of the object", "object.csv.", "", "#"}, // of one of the keys
		{"outcome", event + "@.outcome.", "", event + "@.outcome.*"},
		{"tally", "tally." + chaosWorkspace + ".@.", "", "tally." + chaosWorkspace + ".@.*"},
		{"acknowledgement", "$JS.ACK.LOADS.", "tally." + chaosWorkspace + ".@.", ""},
		{"completed", event + "@.completed", "", event + "@.completed"},
	} {
		for _, after := range []bool{false, true} {
			name := step.name + " before"
			if after {
				name = step.name + " after"
			}
			t.Run(name, func(t *testing.T) {
				e := &chaosExtraction{id: strings.ReplaceAll(name, " ", "-"), generation: int64(len(w.extractions) + 1), content: uint64(len(w.extractions))}
				for n := range 3 { // days of its own
					e.days = append(e.days, 3*len(w.extractions)+n)
				}
				of := func(s string) string { return strings.ReplaceAll(s, "@", e.id) }
				tap := newWireTap(t, nc.ConnectedAddr(), of(step.armed), of(step.subject), after)
				victim, err := w.start(append(w.environ(), "LOADFLEET_NATS_URL="+w.through(tap.listener.Addr().String())), "worker")
				if err != nil {
					t.Fatal(err)
				}
				w.send(e)
				select {
				case <-tap.met:
				case <-t.Context().Done():
					t.Fatalf("the worker did not come so far\n%s", victim.err.tail())
				}
				if after {
					w.eventually("the "+step.name+" to be stored", func() error {
						switch {
						case step.stored == "#":
							for key := range e.byKey() {
								if stands(t.Context(), messages.ObjectSubject(e.target.id, e.target.bucket, key)) {
									return nil
								}
							}
						case step.stored != "" && stands(t.Context(), of(step.stored)):
							return nil
						case step.stored == "":
							waiting, err := w.oracle.queue.Waiting(t.Context(), e.target.id, e.id)
							if err == nil && len(waiting) < len(e.days) {
								return nil
							}
						}
						return errors.New("not yet")
					})
				}
				w.kill(victim)
				tap.close()
				pulls := func(what string, right func(open int) bool) {
					w.eventually(what, func() error {
						status, err := w.oracle.queue.Status(t.Context())
						if err == nil && !right(status.Lanes[0].Waiting) {
							err = fmt.Errorf("%d pulls are open", status.Lanes[0].Waiting)
						}
						return err
					})
				}
				pulls("the server to miss the worker", func(open int) bool { return open == 0 })
				next := w.command("worker")
				w.await(e, messages.EventCompleted)
				pulls("the next worker to be at work", func(open int) bool { return open > 0 })
				w.stop(next)
			})
		}
	}
	completed := map[string]int{}
	for event, err := range w.oracle.queue.Events(t.Context(), chaosWorkspace, "", false) {
		if err != nil {
			t.Fatal(err)
		}
		if event.Kind == messages.EventCompleted {
			completed[event.Extraction]++
		}
	}
	w.oracle.completed, w.oracle.once = completed, true
	w.prove()
}

// wireTap passes on a client's connections to a NATS server until the client
// publishes on a subject. From then on it passes on nothing, from before that
// message; or everything to the server and no answer.
type wireTap struct {
	listener net.Listener
	met      chan struct{} // closed when it did
	once     sync.Once
	armed    []byte // nothing counts before this was published
	subject  []byte
	after    bool

	mu      sync.Mutex
	conns   []net.Conn
	passing sync.WaitGroup
}

func newWireTap(t *testing.T, server, armed, subject string, after bool) *wireTap {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &wireTap{listener: l, met: make(chan struct{}), subject: []byte("PUB " + subject), after: after}
	if armed != "" {
		p.armed = []byte("PUB " + armed)
	}
	p.passing.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", server)
			if err != nil {
				_ = in.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, in, out)
			p.mu.Unlock()
			p.passing.Go(func() { p.requests(in, out) })
			p.passing.Go(func() { p.answers(in, out) })
		}
	})
	t.Cleanup(p.close)
	return p
}

// close ends every connection; more than once is well.
func (p *wireTap) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.passing.Wait()
}

func (p *wireTap) requests(in, out net.Conn) {
	var kept []byte // what was read and not passed on: it may end within a subject
	b := make([]byte, 64<<10)
	for {
		n, err := in.Read(b)
		if err != nil {
			return // out stays open: the server is to read all that it was sent
		}
		kept = append(kept, b[:n]...)
		if at := bytes.Index(kept, p.armed); p.armed != nil && at >= 0 {
			if _, err := out.Write(kept[:at+len(p.armed)]); err != nil {
				return
			}
			kept, p.armed = kept[at+len(p.armed):], nil
		}
		if at := bytes.Index(kept, p.subject); p.armed == nil && at >= 0 {
			p.once.Do(func() { close(p.met) })
			if !p.after {
				// The letter before a PUB may be the H of an HPUB.
				_, _ = out.Write(kept[:bytes.LastIndexByte(kept[:at], '\n')+1])
				return
			}
			p.subject = []byte("PUB nothing more")
		}
		pass := len(kept)
		if last := bytes.LastIndexByte(kept, '\n'); last >= 0 && pass-last < 256 && !bytes.HasSuffix(kept, []byte("\n")) {
			pass = last + 1
		}
		if _, err := out.Write(kept[:pass]); err != nil {
			return
		}
		kept = kept[pass:]
	}
}

func (p *wireTap) answers(in, out net.Conn) {
	b := make([]byte, 64<<10)
	for {
		n, err := out.Read(b)
		if err != nil {
			return
		}
		select {
		case <-p.met:
			continue
		default:
		}
		if _, err := in.Write(b[:n]); err != nil {
			return
		}
	}
}
