package queuetest

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/queue/embedded"
)

// Cluster is three servers in this process, as a fleet that must survive the
// loss of one has them.
type Cluster struct {
	*queue.Queue
	config  queue.Config
	options []*server.Options
	servers []*server.Server
}

// StartCluster starts three servers for the test, with a queue that is
// connected to all of them and provisioned with three replicas.
func StartCluster(t testing.TB, changes ...func(*queue.Config)) *Cluster {
	t.Helper()
	const size = 3
	c := &Cluster{servers: make([]*server.Server, size)}
	ports := freePorts(t, 2*size)
	var routes []*url.URL
	var urls []string
	for i := range size {
		routes = append(routes, &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", ports[size+i])})
		urls = append(urls, fmt.Sprintf("nats://127.0.0.1:%d", ports[i]))
	}
	for i := range size {
		c.options = append(c.options, &server.Options{
			ServerName: fmt.Sprintf("s%d", i), Host: "127.0.0.1", Port: ports[i],
			Cluster: server.ClusterOpts{Name: "loadfleet", Host: "127.0.0.1", Port: ports[size+i]}, Routes: routes,
			JetStream: true, StoreDir: t.TempDir(), SyncAlways: true, MaxPayload: embedded.MaxPayload, NoSigs: true, NoLog: true,
		})
		c.StartServer(t, i)
	}
	t.Cleanup(func() {
		for i := range c.servers {
			c.StopServer(i)
		}
	})
	c.await(t, "a leader of the cluster", func() bool {
		for _, s := range c.servers {
			if s.JetStreamIsLeader() && len(s.JetStreamClusterPeers()) == size {
				return true
			}
		}
		return false
	})
	c.config = queue.Config{URL: strings.Join(urls, ","), RequestTimeout: 2 * time.Second}
	c.config.Topology.Replicas = size
	for _, change := range changes {
		change(&c.config)
	}
	c.Queue = c.Connect(t)
	if err := c.Provision(t.Context()); err != nil {
		t.Fatalf("provision: %v", err)
	}
	return c
}

// Connect connects another queue to the cluster.
func (c *Cluster) Connect(t testing.TB) *queue.Queue {
	t.Helper()
	return connect(t, c.config)
}

// URL is where one of the servers takes clients.
func (c *Cluster) URL(i int) string { return strings.Split(c.config.URL, ",")[i] }

// Leader is the server that leads a stream.
func (c *Cluster) Leader(t testing.TB, stream string) (leader int) {
	t.Helper()
	c.await(t, "a leader of "+stream, func() bool {
		leader = slices.IndexFunc(c.servers, func(s *server.Server) bool {
			return s.JetStreamIsStreamLeader(server.DEFAULT_GLOBAL_ACCOUNT, stream)
		})
		return leader >= 0
	})
	return leader
}

// StartServer starts one of the servers, 0 to 2, again.
func (c *Cluster) StartServer(t testing.TB, i int) {
	t.Helper()
	s, err := server.NewServer(c.options[i].Clone())
	if err != nil {
		t.Fatalf("server %d: %v", i, err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatalf("server %d takes no connections", i)
	}
	c.servers[i] = s
}

// StopServer stops one of the servers.
func (c *Cluster) StopServer(i int) {
	if s := c.servers[i]; s != nil {
		s.Shutdown()
		s.WaitForShutdown()
		c.servers[i] = nil
	}
}

// AwaitHealthy waits until a server that was started again has caught up.
func (c *Cluster) AwaitHealthy(t testing.TB, i int) {
	t.Helper()
	c.await(t, fmt.Sprintf("server %d to be healthy", i), func() bool {
		h := c.servers[i].Healthz(nil)
		return h.Error == "" && h.StatusCode == 200
	})
}

func (c *Cluster) await(t testing.TB, what string, there func() bool) {
	t.Helper()
	limit := time.After(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !there() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("waited 20 s for %s", what)
		}
	}
}

// freePorts finds ports that nobody listens on.
func freePorts(t testing.TB, n int) []int {
	t.Helper()
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}
