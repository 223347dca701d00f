package main

import (
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/storage/storagetest"
)

// TestP4StoppedBeforeItsRequest stops a worker's process when it has asked
// whether its lease holds, and before the request that this allows is with the
// store. Its lease runs out; another worker loads the same load, and a newer
// generation. Then the process wakes, and the request arrives, if it still does.
func TestP4StoppedBeforeItsRequest(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		// arrange has the first connection, or request, say that it is there and
		// wait for the other channel.
		arrange func(p *storagetest.Proxy, there chan<- struct{}, goOn <-chan struct{})
		stays   bool // until the process wakes
		least   int  // puts that arrive of it
	}{
		// Signed, and without a connection: the store's side of the handshake
		// comes when the process is stopped. When it wakes, it sends the request
		// or finds that its lease is lost, whichever it does first.
		{"not sent", func(p *storagetest.Proxy, there chan<- struct{}, goOn <-chan struct{}) {
			var met atomic.Bool
			p.OnHandshake(func() {
				if !met.Swap(true) {
					close(there)
					<-goOn
				}
			})
		}, false, 0},
		{"on its way", func(p *storagetest.Proxy, there chan<- struct{}, goOn <-chan struct{}) {
			var met atomic.Bool
			p.SetJudge(func(o storagetest.Operation, _ *http.Request) (storagetest.Fault, bool) {
				if o == storagetest.PutObject && !met.Swap(true) {
					close(there)
					<-goOn
				}
				return storagetest.Fault{}, false
			})
		}, true, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newQuietWorld(t, true)
			trust := filepath.Join(w.dir, "proxy.pem")
			certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.proxy.Certificate().Raw})
			if err := os.WriteFile(trust, certificate, 0o600); err != nil {
				t.Fatal(err)
			}
			w.env["AWS_CA_BUNDLE"] = trust
			there, goOn := make(chan struct{}), make(chan struct{})
			test.arrange(w.proxy, there, goOn)

			first := w.command("worker", "--slots", "1")
			older := &chaosExtraction{id: "older", generation: 1, content: 1, days: []int{1}}
			w.send(older)
			<-there
			if err := first.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			if !test.stays {
				close(goOn)
			}
			second := w.command("worker")
			w.await(older, messages.EventCompleted)
			newer := &chaosExtraction{id: "newer", generation: 2, content: 2, days: []int{1}}
			w.send(newer)
			w.await(newer, messages.EventCompleted)
			w.stop(second)

			var puts atomic.Int32
			w.proxy.SetJudge(func(o storagetest.Operation, _ *http.Request) (storagetest.Fault, bool) {
				if o == storagetest.PutObject {
					puts.Add(1)
				}
				return storagetest.Fault{}, false
			})
			if test.stays {
				puts.Add(1)
				close(goOn)
			}
			if err := first.cmd.Process.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			if err := first.err.await(t.Context(), `"verdict":"release"`); err != nil {
				t.Errorf("the worker that lost its lease: %v\n%s", err, first.err.tail())
			}
			w.stop(first)
			if err := w.proxy.AwaitIdle(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n := int(puts.Load()); n < test.least || n > 1 {
				t.Errorf("%d puts of the worker that woke, want the one that was allowed", n)
			}
			w.prove()
		})
	}
}
