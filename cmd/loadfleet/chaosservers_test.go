package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	s3server "github.com/loadfleet/loadfleet/storage/embedded"
)

// asServer makes the test binary one of the network's servers: nats with a
// configuration file, or s3 with a JSON document.
const asServer = "LOADFLEET_TEST_BINARY_IS_A_SERVER"

func serve(role string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch role {
	case "nats":
		options, err := server.ProcessConfigFile(os.Args[1])
		if err != nil {
			return err
		}
		options.NoSigs = true
		s, err := server.NewServer(options)
		if err != nil {
			return err
		}
		s.ConfigureLogger()
		s.Start()
		if !s.ReadyForConnections(time.Minute) {
			return fmt.Errorf("%s takes no connections", options.ServerName)
		}
		<-ctx.Done()
		s.Shutdown()
		s.WaitForShutdown()
		return nil
	case "s3":
		var cfg s3server.Config
		if err := json.Unmarshal([]byte(os.Args[1]), &cfg); err != nil {
			return err
		}
		s, err := s3server.Start(ctx, cfg)
		if err != nil {
			return err
		}
		fmt.Println("s3 is up")
		<-ctx.Done()
		return s.Close()
	}
	return fmt.Errorf("there is no server %q", role)
}

// natsServer is where a NATS server of a process of its own lives.
type natsServer struct {
	name   string
	port   int
	config string // file
}

// natsConfig writes the configuration of a server: alone, or one of a cluster
// that it reaches by routes.
func natsConfig(t *testing.T, dir, storeDir, name, token string, port int, sync, cluster string) natsServer {
	t.Helper()
	s := natsServer{name: name, port: port, config: filepath.Join(dir, name+".conf")}
	text := fmt.Sprintf(`server_name: %s
listen: "127.0.0.1:%d"
max_payload: 8MB
authorization { token: %q }
jetstream { store_dir: %q%s }
%s
`, name, port, token, storeDir, sync, cluster)
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// alwaysSync is what production configures: what is acknowledged is on disk.
const alwaysSync = ", sync_interval: always"

// freePorts finds ports that nobody listens on.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

func natsURLs(token string, servers []natsServer) string {
	var all []string
	for _, s := range servers {
		all = append(all, fmt.Sprintf("nats://%s@127.0.0.1:%d", token, s.port))
	}
	return strings.Join(all, ",")
}
