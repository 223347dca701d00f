package queuetest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// StartSecuredCluster starts three servers as cluster.conf has them and waits
// until they have a leader. Nothing is provisioned.
func StartSecuredCluster(t testing.TB, workspaces ...string) *Secured {
	t.Helper()
	const size = 3
	s := newSecured(t, workspaces...)
	ports := freePorts(t, size)
	var routes []string
	for _, port := range ports {
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", port))
	}
	t.Setenv("NATS_ROUTES", "["+strings.Join(routes, ",")+"]")
	var servers []*server.Server
	for i, port := range ports {
		t.Setenv("NATS_NAME", fmt.Sprintf("nats-%d", i))
		t.Setenv("NATS_STORE", t.TempDir())
		s.Options = s.process(t, "cluster.conf")
		s.Options.Cluster.Host, s.Options.Cluster.Port = "127.0.0.1", port
		servers = append(servers, s.launch(t, s.Options))
	}
	s.server = servers[0]
	t.Cleanup(func() {
		for _, one := range servers {
			one.Shutdown()
			one.WaitForShutdown()
		}
	})
	limit := time.After(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		for _, one := range servers {
			if one.JetStreamIsLeader() && len(one.JetStreamClusterPeers()) == size {
				return s
			}
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("waited 20 s for a leader of the cluster")
		}
	}
}
