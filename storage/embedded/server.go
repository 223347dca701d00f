package embedded

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/gofiber/fiber/v3"
	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
	"github.com/versity/versitygw/s3api"
	"github.com/versity/versitygw/s3err"
)

// Config says what the server holds and who may use it. Dir, AccessKey and
// SecretKey are required.
type Config struct {
	Dir       string // created when absent; data survives a restart
	Addr      string // "127.0.0.1:0" when empty; port 0 picks a free one
	AccessKey string // of the root user, who may do everything
	SecretKey string
	Region    string   // "us-east-1" when empty
	AccountID string   // owner of the buckets; "111111111111" when empty
	Buckets   []string // created when absent

	Users []User
	Roles []Role
	Keys  []Key // the KMS keys this server knows

	// Quirks are what single buckets demand, or what they get wrong as other
	// stores do, by the bucket's name.
	Quirks map[string]Quirk

	// Now is the clock that STS sessions expire by; time.Now when nil.
	Now func() time.Time
}

// Server is a running store. Close ends it.
type Server struct {
	endpoint string
	previous string // working directory before Start
	cancel   context.CancelFunc
	done     chan struct{}
	err      error // of the gateway; read after done
	close    sync.Once
}

// portAttempts bounds how often a free port may be taken by someone else
// between its choice and its use. The gateway cannot report a port that the
// kernel chose.
const portAttempts = 5

// Start brings the server up and returns when it accepts requests.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.Dir == "" || cfg.AccessKey == "" || cfg.SecretKey == "" {
		return nil, errors.New("start embedded store: Dir, AccessKey and SecretKey are required")
	}
	cfg.setDefaults()
	fixed, err := hasPort(cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("start embedded store: %w", err)
	}
	for attempt := 1; ; attempt++ {
		s, err := start(ctx, cfg)
		if err == nil || fixed || attempt == portAttempts || ctx.Err() != nil {
			return s, err
		}
	}
}

func (c *Config) setDefaults() {
	if c.Addr == "" {
		c.Addr = "127.0.0.1:0"
	}
	if c.Region == "" {
		c.Region = "us-east-1"
	}
	if c.AccountID == "" {
		c.AccountID = "111111111111"
	}
	if c.Now == nil {
		c.Now = time.Now
	}
}

func hasPort(addr string) (bool, error) {
	_, port, err := net.SplitHostPort(addr)
	return port != "0", err
}

func start(ctx context.Context, cfg Config) (*Server, error) {
	previous, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("start embedded store: %w", err)
	}
	addr, err := pickAddr(ctx, cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("start embedded store: %w", err)
	}
	store, err := openDirectory(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("start embedded store: %w", err)
	}
	gate := &gate{Backend: store, keys: cfg.Keys, quirks: cfg.Quirks, account: cfg.AccountID, region: cfg.Region}
	people := newIdentities(cfg)
	for _, name := range cfg.Buckets {
		if err := createBucket(ctx, store, name, cfg.AccountID); err != nil {
			store.Shutdown()
			return nil, fmt.Errorf("start embedded store: create bucket %s: %w", name, err)
		}
	}

	// The server outlives the start's context: it ends with Close.
	runCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s := &Server{endpoint: "http://" + addr, previous: previous, cancel: cancel, done: make(chan struct{})}
	listening := make(chan struct{})
	var once sync.Once
	tokens := &tokenService{people: people, region: cfg.Region, now: cfg.Now}
	go func() {
		defer close(s.done)
		s.err = embedgw.RunVersityGW(runCtx, gate, &embedgw.Config{
			RootUserAccess: cfg.AccessKey, RootUserSecret: cfg.SecretKey, Region: cfg.Region,
			Ports: []string{addr}, MaxConnections: 4096, MaxRequests: 4096, MultipartMaxParts: 10000,
			KeepAlive: true, Quiet: true, IAMService: people,
			S3Options: []s3api.Option{
				s3api.WithRoute(fiber.MethodPost, "/", tokens.handle),
				s3api.WithMiddleware("/", gate.headers),
				s3api.WithOnListen(func() { once.Do(func() { close(listening) }) }),
			},
		})
	}()
	select {
	case <-listening:
		return s, nil
	case <-s.done:
		cancel()
		_ = os.Chdir(previous)
		return nil, fmt.Errorf("start embedded store on %s: %w", addr, s.err)
	case <-ctx.Done():
		_ = s.Close()
		return nil, fmt.Errorf("start embedded store: %w", context.Cause(ctx))
	}
}

// Endpoint is the address for S3 and for STS, "http://127.0.0.1:1234".
// Buckets are addressed by path.
func (s *Server) Endpoint() string { return s.endpoint }

// Done is closed when the server has ended, by Close or by itself.
func (s *Server) Done() <-chan struct{} { return s.done }

// Close stops the server, waits for requests in flight and gives the process
// its working directory back.
func (s *Server) Close() error {
	var err error
	s.close.Do(func() {
		s.cancel()
		<-s.done
		err = errors.Join(s.err, os.Chdir(s.previous))
	})
	return err
}

func pickAddr(ctx context.Context, addr string) (string, error) {
	if fixed, err := hasPort(addr); fixed || err != nil {
		return addr, err
	}
	var listen net.ListenConfig
	l, err := listen.Listen(ctx, "tcp", addr)
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// storeLimit is the largest object that S3 copies in one request.
const storeLimit = 5 << 30

// openDirectory keeps metadata beside the objects rather than in extended
// attributes, which are too small for bucket policies on some file systems
// and absent on others.
func openDirectory(dir string) (*posix.Posix, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	objects, attributes := filepath.Join(dir, "objects"), filepath.Join(dir, "attributes")
	for _, d := range []string{objects, attributes} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, err
		}
	}
	sidecar, err := meta.NewSideCar(attributes)
	if err != nil {
		return nil, err
	}
	// PosixOpts.SideCarDir would only print the path to stdout.
	return posix.New(objects, sidecar, posix.PosixOpts{NewDirPerm: 0o755, CopyObjectThreshold: storeLimit})
}

func createBucket(ctx context.Context, store *posix.Posix, name, owner string) error {
	acl, err := ownerACL(owner)
	if err != nil {
		return err
	}
	ctx = bucketOwner{ctx, auth.Account{Access: owner}}
	err = store.CreateBucket(ctx, &s3.CreateBucketInput{
		Bucket: &name, CreateBucketConfiguration: &types.CreateBucketConfiguration{},
		ObjectOwnership: types.ObjectOwnershipBucketOwnerEnforced,
	}, acl)
	if e, ok := errors.AsType[s3err.S3Error](err); ok && e.BaseError().Code == "BucketAlreadyOwnedByYou" {
		return nil
	}
	return err
}
