// Package embedded runs a NATS server with JetStream inside this process: for
// the single-node edition, for demonstrations and for tests.
//
// It promises that what the server acknowledges is on disk (every write is
// synced), and that no second server opens the same directory. It does not
// replicate: a fleet that must outlive its machine runs three servers of its
// own.
package embedded

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/zap"
)

// MaxPayload is the largest message the server takes, in bytes. Above it
// NATS itself warns of trouble.
const MaxPayload = 8 << 20

// Config says where and for whom the server runs. Only Dir is required.
type Config struct {
	Dir  string // where the streams live; made when absent
	Name string // the server's name, "loadfleet" when empty
	Host string // the address it listens on, 127.0.0.1 when empty
	Port int    // 0 chooses a free one

	// Token, or User and Password, admit clients; without any of them
	// everyone who reaches the port is let in.
	Token          string
	User, Password string

	// Unsynced leaves syncs to the server's own schedule of minutes: what it
	// acknowledges is then lost with the machine's power. It is for measuring
	// what the syncs cost, and for nothing else.
	Unsynced bool

	MaxStore  int64         // bytes that all streams may hold; 0 is what the disk has
	StartWait time.Duration // how long a start may take, 30 s when zero: recovery of large streams takes a while
}

// Server is a running server. It is stopped with Close.
type Server struct {
	server *server.Server
	lock   *os.File
}

// Start starts a server and returns when it takes connections. It fails with
// [ErrInUse] when another process, or this one, already serves cfg.Dir.
func Start(cfg Config, log *zap.Logger) (*Server, error) {
	if cfg.Dir == "" {
		return nil, errors.New("start embedded server: no directory given")
	}
	if cfg.Name == "" {
		cfg.Name = "loadfleet"
	}
	if cfg.Host == "" {
		cfg.Host = "127.0.0.1"
	}
	port := cfg.Port
	if port == 0 {
		port = server.RANDOM_PORT
	}
	if cfg.StartWait == 0 {
		cfg.StartWait = 30 * time.Second
	}
	lock, err := lockDirectory(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("start embedded server: %w", err)
	}
	s, err := server.NewServer(&server.Options{
		ServerName:        cfg.Name,
		Host:              cfg.Host,
		Port:              port,
		Authorization:     cfg.Token,
		Username:          cfg.User,
		Password:          cfg.Password,
		JetStream:         true,
		StoreDir:          cfg.Dir,
		JetStreamMaxStore: cfg.MaxStore,
		// SyncInterval alone would leave up to two minutes of acknowledged
		// messages in the page cache.
		SyncAlways: !cfg.Unsynced,
		MaxPayload: MaxPayload,
		MaxPending: 64 << 20,
		NoSigs:     true,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start embedded server: %w", err), lock.Close())
	}
	s.SetLogger(&logger{log.Sugar()}, false, false)
	s.Start()
	if !s.ReadyForConnections(cfg.StartWait) {
		s.Shutdown()
		s.WaitForShutdown()
		return nil, errors.Join(fmt.Errorf("start embedded server: not ready on %s within %s", net.JoinHostPort(cfg.Host, fmt.Sprint(cfg.Port)), cfg.StartWait), lock.Close())
	}
	return &Server{server: s, lock: lock}, nil
}

// URL is where clients of this machine connect.
func (s *Server) URL() string { return s.server.ClientURL() }

// Port is the port it listens on.
func (s *Server) Port() int {
	if a, ok := s.server.Addr().(*net.TCPAddr); ok {
		return a.Port
	}
	return 0
}

// Close stops the server and gives its directory free. What was acknowledged
// stays; clients reconnect when a server listens on the same port again.
func (s *Server) Close() error {
	s.server.Shutdown()
	s.server.WaitForShutdown()
	return s.lock.Close()
}

// logger passes what the server says to zap. Its notices are chatty, so they
// count as debugging.
type logger struct{ log *zap.SugaredLogger }

func (l *logger) Noticef(format string, v ...any) { l.log.Debugf(format, v...) }
func (l *logger) Warnf(format string, v ...any)   { l.log.Warnf(format, v...) }
func (l *logger) Errorf(format string, v ...any)  { l.log.Errorf(format, v...) }
func (l *logger) Fatalf(format string, v ...any)  { l.log.Errorf(format, v...) }
func (l *logger) Debugf(format string, v ...any)  { l.log.Debugf(format, v...) }
func (l *logger) Tracef(format string, v ...any)  {}
