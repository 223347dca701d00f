package queuetest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/loadfleet/loadfleet/queue"
)

// The roles that deploy/nats gives credentials to, beside the system's own.
const (
	Provisioner = "provisioner"
	Dispatcher  = "dispatcher"
	Worker      = "worker"
	Operator    = "operator"
	Console     = "console"
)

// Roles is all of them.
func Roles() []string { return []string{Provisioner, Dispatcher, Worker, Operator, Console} }

// Secured is a server in this process that runs the production configuration
// of deploy/nats, with keys of its own, and keeps what clients ask of it.
type Secured struct {
	Options *server.Options
	Dir     string // a copy of deploy/nats

	server   *server.Server
	tls      *tls.Config
	seeds    map[string]string // files, by role or workspace
	public   map[string]string
	protocol protocol
}

// StartSecured starts one server as server.conf has it, and admits the
// workspaces' extractors. Nothing is provisioned.
func StartSecured(t testing.TB, workspaces ...string) *Secured {
	t.Helper()
	s := newSecured(t, workspaces...)
	t.Setenv("NATS_NAME", "secured")
	t.Cleanup(s.stop)
	s.Restart(t)
	return s
}

// Restart reads the configuration again, on the same directory; the address
// changes.
func (s *Secured) Restart(t testing.TB) {
	t.Helper()
	s.stop()
	s.Options = s.process(t, "server.conf")
	s.server = s.start(t, s.Options)
}

// Reload makes the server read its configuration again while it runs.
func (s *Secured) Reload(t testing.TB) {
	t.Helper()
	options := s.process(t, "server.conf")
	options.Port = s.Options.Port
	if err := s.server.ReloadOptions(options); err != nil {
		t.Fatalf("reload: %v", err)
	}
	s.Options = options
}

func (s *Secured) stop() {
	if s.server != nil {
		s.server.Shutdown()
		s.server.WaitForShutdown()
		s.server = nil
	}
}

// Unbind takes a workspace's extractors every limit of permissions from the
// next start on: what holds them is their account alone.
func (s *Secured) Unbind(t testing.TB, workspace string) {
	t.Helper()
	path := filepath.Join(s.Dir, "tenants", workspace+".conf")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	loose := regexp.MustCompile(`(?s), permissions: \{.*?\n  \} \} \]`).ReplaceAll(text, []byte(" } ]"))
	if bytes.Equal(loose, text) {
		t.Fatalf("%s has no permissions to take", path)
	}
	if err := os.WriteFile(path, loose, 0o600); err != nil {
		t.Fatal(err)
	}
}

func newSecured(t testing.TB, workspaces ...string) *Secured {
	t.Helper()
	s := &Secured{Dir: t.TempDir(), seeds: map[string]string{}, public: map[string]string{}}
	if err := os.CopyFS(s.Dir, os.DirFS(deployed(t))); err != nil {
		t.Fatal(err)
	}
	for _, role := range append(Roles(), "system") {
		s.identify(t, role)
		t.Setenv("NATS_NKEY_"+strings.ToUpper(role), s.public[role])
	}
	for _, workspace := range workspaces {
		s.Invite(t, workspace)
	}
	cert, key, roots := certificate(t, t.TempDir())
	s.tls = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}
	for name, value := range map[string]string{
		"NATS_STORE": t.TempDir(), "NATS_MAX_STORE": "4GB", "NATS_TLS_CERT": cert, "NATS_TLS_KEY": key,
		"NATS_ROUTE_CERT": cert, "NATS_ROUTE_KEY": key, "NATS_ROUTE_CA": cert,
	} {
		t.Setenv(name, value)
	}
	return s
}

// identify makes the keys of a role or workspace.
func (s *Secured) identify(t testing.TB, who string) {
	t.Helper()
	seed, public, err := queue.NewNKey()
	if err != nil {
		t.Fatal(err)
	}
	s.seeds[who], s.public[who] = filepath.Join(t.TempDir(), "seed"), public
	if err := os.WriteFile(s.seeds[who], []byte(seed), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Invite admits a workspace with keys of its own, from the next start or
// reload on.
func (s *Secured) Invite(t testing.TB, workspace string) {
	t.Helper()
	s.identify(t, workspace)
	if out, err := s.Admit(t, workspace, s.public[workspace]); err != nil {
		t.Fatalf("admit %s: %v\n%s", workspace, err, out)
	}
}

// deployed is the directory deploy/nats, found from the module's root.
func deployed(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "deploy", "nats")
		}
	}
	t.Fatal("no go.mod above the test")
	return ""
}

// Admit runs the script that admits a workspace; it counts at the next start.
func (s *Secured) Admit(t testing.TB, workspace, public string) (string, error) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "sh", filepath.Join(s.Dir, "tenant"), workspace, public).CombinedOutput()
	return string(out), err
}

// process reads a configuration and moves it to this process: any port of
// loopback, no signals, no monitoring.
func (s *Secured) process(t testing.TB, file string) *server.Options {
	t.Helper()
	options, err := server.ProcessConfigFile(filepath.Join(s.Dir, file))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	options.Host, options.Port, options.HTTPPort, options.NoSigs = "127.0.0.1", server.RANDOM_PORT, 0, true
	return options
}

func (s *Secured) start(t testing.TB, options *server.Options) *server.Server {
	t.Helper()
	srv := s.launch(t, options)
	if !srv.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server takes no connections")
	}
	return srv
}

func (s *Secured) launch(t testing.TB, options *server.Options) *server.Server {
	t.Helper()
	srv, err := server.NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	srv.SetLogger(&s.protocol, false, true)
	srv.Start()
	return srv
}

// Config is how a role, or a workspace's extractor, connects.
func (s *Secured) Config(who string) queue.Config {
	c := queue.Config{URL: s.server.ClientURL(), Name: who, NKey: s.seeds[who], TLS: s.tls, RequestTimeout: 2 * time.Second}
	if slices.Contains(Roles(), who) {
		c.InboxPrefix = "_INBOX_" + who
	}
	return c
}

// Connect connects a queue as a role or as a workspace's extractor.
func (s *Secured) Connect(t testing.TB, who string, changes ...func(*queue.Config)) *queue.Queue {
	t.Helper()
	config := s.Config(who)
	for _, change := range changes {
		change(&config)
	}
	return connect(t, config)
}

// Attack connects a bare client with the credentials of a role or workspace:
// one that asks for what package queue never would. It is not kept by [Secured.Asked].
func (s *Secured) Attack(t testing.TB, who string, options ...nats.Option) *nats.Conn {
	t.Helper()
	key, err := nats.NkeyOptionFromSeed(s.seeds[who])
	if err != nil {
		t.Fatal(err)
	}
	options = append([]nats.Option{key, nats.Secure(s.tls.Clone()), nats.Name("attack " + who)}, options...)
	if prefix := s.Config(who).InboxPrefix; prefix != "" {
		options = append(options, nats.CustomInboxPrefix(prefix))
	}
	nc, err := nats.Connect(s.server.ClientURL(), options...)
	if err != nil {
		t.Fatalf("attack as %s: %v", who, err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// Asked is every subject that the role's queues published on or subscribed to.
func (s *Secured) Asked(who string) (published, subscribed []string) {
	s.protocol.mu.Lock()
	defer s.protocol.mu.Unlock()
	return slices.Sorted(maps.Keys(s.protocol.asked[ask{who, "PUB"}])), slices.Sorted(maps.Keys(s.protocol.asked[ask{who, "SUB"}]))
}

// Violations is what the server refused, a line each.
func (s *Secured) Violations() []string {
	s.protocol.mu.Lock()
	defer s.protocol.mu.Unlock()
	return slices.Clone(s.protocol.violations)
}

// Permissions is what the configuration allows a role or workspace.
func (s *Secured) Permissions(t testing.TB, who string) *server.Permissions {
	t.Helper()
	for _, user := range s.Options.Nkeys {
		if user.Nkey == s.public[who] {
			return user.Permissions
		}
	}
	t.Fatalf("the configuration has no user %s", who)
	return nil
}

type ask struct{ who, verb string }

// protocol is a server's log, of which it keeps what clients ask for.
type protocol struct {
	mu         sync.Mutex
	asked      map[ask]map[string]bool
	violations []string
}

// operation is a line of the server's trace: the client's name, the verb and
// the subject.
var operation = regexp.MustCompile(`"v[^:"]*:go:([^"]*)".* - <<- \[(H?PUB|SUB) ([^ \]]+)`)

func (p *protocol) Tracef(format string, v ...any) {
	if strings.Contains(format, "MSG_PAYLOAD") {
		return // megabytes of them
	}
	found := operation.FindStringSubmatch(fmt.Sprintf(format, v...))
	if found == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.asked == nil {
		p.asked = map[ask]map[string]bool{}
	}
	by := ask{found[1], strings.TrimPrefix(found[2], "H")}
	if p.asked[by] == nil {
		p.asked[by] = map[string]bool{}
	}
	p.asked[by][found[3]] = true
}

func (p *protocol) Errorf(format string, v ...any) {
	if line := fmt.Sprintf(format, v...); strings.Contains(line, "Violation") {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.violations = append(p.violations, line)
	}
}

func (p *protocol) Noticef(string, ...any) {}
func (p *protocol) Warnf(string, ...any)   {}
func (p *protocol) Debugf(string, ...any)  {}
func (p *protocol) Fatalf(string, ...any)  {}

// certificate makes a certificate of loopback that is its own authority.
func certificate(t testing.TB, dir string) (cert, key string, roots *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "loadfleet test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IsCA:        true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	roots = x509.NewCertPool()
	cert, key = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		text := pem.EncodeToMemory(block)
		roots.AppendCertsFromPEM(text)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key, roots
}
