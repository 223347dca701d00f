//go:build chaoscluster

package main

import (
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// routing is the network among the servers: a route for each pair, in each
// direction. Servers do not tell each other of other ways.
type routing struct{ routes []*route }

func (r *routing) servers(w *chaosWorld) []natsServer {
	const size = 3
	ports := freePorts(w.T, 2*size)
	var all []natsServer
	for i := range size {
		var ways []string
		for j := range size {
			if i != j {
				way := newRoute(w.T, i, j, ports[size+j])
				r.routes = append(r.routes, way)
				ways = append(ways, fmt.Sprintf("%q", "nats-route://"+way.listener.Addr().String()))
			}
		}
		name := fmt.Sprint("n", i)
		cluster := fmt.Sprintf("cluster { name: chaos, listen: \"127.0.0.1:%d\", no_advertise: true, connect_retries: 1000000, routes: [%s] }",
			ports[size+i], strings.Join(ways, ", "))
		all = append(all, natsConfig(w.T, w.dir, filepath.Join(w.dir, name), name, w.token, ports[i], alwaysSync, cluster))
	}
	return all
}

// cut parts a server from the others: silently, as a network that drops
// everything, or so that both sides see their connections reset.
func (r *routing) cut(server int, silent bool) (heal func()) {
	for _, way := range r.routes {
		if way.from == server || way.to == server {
			way.cut(silent)
		}
	}
	return func() {
		for _, way := range r.routes {
			way.heal()
		}
	}
}

// route passes on the bytes of connections to one server's port for routes.
type route struct {
	from, to int
	listener net.Listener
	target   string

	mu    sync.Mutex
	open  chan struct{} // closed while bytes pass
	reset bool          // connections are refused
	conns map[net.Conn]bool
}

func newRoute(t *testing.T, from, to, port int) *route {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &route{from: from, to: to, listener: l, target: fmt.Sprintf("127.0.0.1:%d", port), open: make(chan struct{}), conns: map[net.Conn]bool{}}
	close(r.open)
	var passing sync.WaitGroup
	passing.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			passing.Go(func() { r.pass(in) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		r.heal()
		r.mu.Lock()
		r.reset = true // for a connection that came just now
		r.mu.Unlock()
		r.drop()
		passing.Wait()
	})
	return r
}

func (r *route) pass(in net.Conn) {
	defer func() { _ = in.Close() }()
	out, err := net.Dial("tcp", r.target)
	if err != nil {
		return // that server is down
	}
	defer func() { _ = out.Close() }()
	r.mu.Lock()
	refused := r.reset
	r.conns[in], r.conns[out] = true, true
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.conns, in)
		delete(r.conns, out)
	}()
	if refused {
		return
	}
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
		both.Go(func() {
			_, _ = io.Copy(gated{r, way[1]}, way[0])
			_ = way[0].Close()
			_ = way[1].Close()
		})
	}
	both.Wait()
}

// gated writes when the route is open.
type gated struct {
	route *route
	to    net.Conn
}

func (g gated) Write(b []byte) (int, error) {
	g.route.mu.Lock()
	open := g.route.open
	g.route.mu.Unlock()
	<-open
	return g.to.Write(b)
}

func (r *route) cut(silent bool) {
	r.mu.Lock()
	select {
	case <-r.open:
		r.open = make(chan struct{})
	default: // cut already
	}
	r.reset = r.reset || !silent
	r.mu.Unlock()
	if !silent {
		r.drop()
	}
}

func (r *route) heal() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reset = false
	select {
	case <-r.open:
	default:
		close(r.open)
	}
}

func (r *route) drop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.conns {
		_ = c.Close()
	}
}
