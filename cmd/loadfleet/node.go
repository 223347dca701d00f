package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/console"
	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/dispatcher"
	"github.com/loadfleet/loadfleet/queue"
	natsserver "github.com/loadfleet/loadfleet/queue/embedded"
	s3server "github.com/loadfleet/loadfleet/storage/embedded"
	"github.com/loadfleet/loadfleet/storage/quiet"
	"github.com/loadfleet/loadfleet/worker"
)

// node is the whole fleet in one process: NATS JetStream, an S3 server, a
// dispatcher and a worker, all on loopback, all data in one directory; or only
// the two servers, for dispatchers and workers in processes of their own.
type node struct {
	dir       string
	nats      *natsserver.Server
	s3        s3Endpoint
	queue     *queue.Queue
	stage     staging
	stageURL  string
	keyring   *destination.Keyring
	accessKey string
	secretKey string
	token     string

	console string // where to log in to it, once; "" when there is none

	stop context.CancelFunc
	done sync.WaitGroup
	errs chan error // the first of an actor that could not go on
}

// s3Endpoint is the node's S3 server: one that keeps objects, or the benchmark's
// quiet one.
type s3Endpoint interface {
	Endpoint() string
	Close() error
}

// nodeConfig says where a node lives and listens.
type nodeConfig struct {
	dir         string
	s3Dir       string // the buckets; "": in dir
	natsPort    int    // 0: any
	s3Addr      string // "": any
	buckets     []string
	lease       time.Duration
	consoleAddr string // "": no console
	serversOnly bool
	stageURL    string // "": a folder of dir
	quiet       bool   // an S3 endpoint that judges requests and keeps nothing
	unsynced    bool   // leave JetStream's syncs to its default, to measure what they cost
	dispatcher  dispatcher.Config
	worker      worker.Config
}

// startNode starts the parts in the order in which they need each other. What
// was started is closed again when a later part fails.
func startNode(ctx context.Context, cfg nodeConfig, log *zap.Logger) (n *node, err error) {
	// The embedded S3 server changes the working directory.
	if cfg.dir, err = filepath.Abs(cfg.dir); err != nil {
		return nil, err
	}
	if cfg.s3Dir == "" {
		cfg.s3Dir = filepath.Join(cfg.dir, "s3")
	}
	if cfg.s3Dir, err = filepath.Abs(cfg.s3Dir); err != nil {
		return nil, err
	}
	n = &node{dir: cfg.dir, errs: make(chan error, 3)}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.close())
			n = nil
		}
	}()
	if err := os.MkdirAll(cfg.dir, 0o700); err != nil {
		return n, err
	}
	if err := n.secrets(); err != nil {
		return n, err
	}
	if n.nats, err = natsserver.Start(natsserver.Config{
		Dir: filepath.Join(cfg.dir, "nats"), Port: cfg.natsPort, Token: n.token, Unsynced: cfg.unsynced,
	}, log.Named("nats")); err != nil {
		return n, err
	}
	if err := n.startS3(ctx, cfg); err != nil {
		return n, err
	}
	if n.queue, err = queue.Connect(ctx, queue.Config{
		URL: n.nats.URL(), Token: n.token, Name: "loadfleet node", AckWait: cfg.lease, Topology: queue.Topology{Replicas: 1},
	}, log); err != nil {
		return n, err
	}
	if err := n.queue.Provision(ctx); err != nil {
		return n, err
	}
	if cfg.stageURL == "" {
		cfg.stageURL = filepath.Join(cfg.dir, "stage")
	}
	n.stageURL = cfg.stageURL
	if cfg.serversOnly {
		return n, nil
	}
	if n.stage, err = openStage(ctx, cfg.stageURL, n.queue); err != nil {
		return n, err
	}
	cfg.dispatcher.Stage = n.stage
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	n.stop = stop
	actors := []func(context.Context) error{
		dispatcher.New(n.queue, cfg.dispatcher, log).Run,
		worker.New(n.queue, n.keyring, cfg.worker, log).Run,
	}
	if cfg.consoleAddr != "" {
		serve, err := n.openConsole(ctx, cfg, log)
		if err != nil {
			return n, err
		}
		actors = append(actors, serve)
	}
	for _, actor := range actors {
		n.done.Go(func() {
			if err := actor(run); err != nil {
				n.errs <- err
			}
		})
	}
	return n, nil
}

// openConsole listens for the console, which one person may log in to by a link. It
// checks destinations with the worker's access.
func (n *node) openConsole(ctx context.Context, cfg nodeConfig, log *zap.Logger) (serve func(context.Context) error, err error) {
	var access console.Access
	once := access.Once()
	made, err := console.New(console.Config{
		Queue: n.queue, Keyring: n.keyring, Access: access, Version: programVersion(),
		Fleet: destination.Fleet{RoleARN: cfg.worker.Storage.FleetRoleARN}, Storage: cfg.worker.Storage,
	}, log)
	if err != nil {
		return nil, err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.consoleAddr)
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	n.console = fmt.Sprintf("http://%s/login?once=%s", listener.Addr(), once)
	return func(ctx context.Context) error { return serveConsole(ctx, listener, made) }, nil
}

// consoleLine says where the console is.
func (n *node) consoleLine() string {
	if n.console == "" {
		return ""
	}
	return "\nThe console, for one login:  " + n.console + "\n"
}

func (n *node) startS3(ctx context.Context, cfg nodeConfig) error {
	if cfg.quiet {
		e, err := quiet.Start(ctx, quiet.Config{Addr: cfg.s3Addr, AccessKey: n.accessKey, SecretKey: n.secretKey})
		if err != nil {
			return err
		}
		n.s3 = e
		return nil
	}
	s, err := s3server.Start(ctx, s3server.Config{
		Dir: cfg.s3Dir, Addr: cfg.s3Addr, Buckets: cfg.buckets,
		AccessKey: n.accessKey, SecretKey: n.secretKey,
	})
	if err != nil {
		return err
	}
	n.s3 = s
	return nil
}

// close stops the parts in the reverse order; what is in work is given back.
func (n *node) close() error {
	var errs []error
	if n.stop != nil {
		n.stop()
		n.done.Wait()
	}
	if n.stage != nil {
		errs = append(errs, n.stage.close())
	}
	if n.queue != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		errs = append(errs, n.queue.Close(ctx))
	}
	if n.s3 != nil {
		errs = append(errs, n.s3.Close())
	}
	if n.nats != nil {
		errs = append(errs, n.nats.Close())
	}
	return errors.Join(errs...)
}

// The files of a node's directory that its other processes read.
const (
	sealKeyFile = "seal.key"
	envFile     = "env"
)

// secrets reads the node's keys from its directory, or makes them on first start.
func (n *node) secrets() error {
	for _, s := range []struct {
		file string
		make func() string
		to   *string
	}{
		{"nats.token", rand.Text, &n.token},
		{"s3.access-key", func() string { return "LOADFLEET" + rand.Text()[:11] }, &n.accessKey},
		{"s3.secret-key", func() string { return rand.Text() + rand.Text()[:14] }, &n.secretKey},
	} {
		text, err := readOrMake(filepath.Join(n.dir, s.file), s.make)
		if err != nil {
			return err
		}
		*s.to = text
	}
	key, err := readOrMake(filepath.Join(n.dir, sealKeyFile), destination.NewSealKey)
	if err != nil {
		return err
	}
	n.keyring, err = destination.ParseKeyring(key)
	return err
}

// readOrMake reads a secret's file, or writes a new one that only its owner may read.
// An empty one is refused: NATS would admit everybody without a token.
func readOrMake(path string, fresh func() string) (string, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		text := fresh()
		return text, writeSecret(path, text+"\n")
	}
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(string(b))
	if text == "" {
		return "", fmt.Errorf("%s: is empty, as a full disk or a power cut leaves files: put its copy back, or remove it for a new secret (after a new %s apply every destination again)", path, sealKeyFile)
	}
	return text, nil
}

// writeSecret writes a file that is there with all of its text or not at all.
func writeSecret(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+"-*") // its owner's alone
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return os.Rename(f.Name(), path)
}

// natsURL is where other processes reach the node's queue, the token inside.
func (n *node) natsURL() string {
	return strings.Replace(n.nats.URL(), "nats://", "nats://"+n.token+"@", 1)
}

// writeEnv leaves a file for `. DIR/env`, so that every command and the AWS
// command line speak to this node.
func (n *node) writeEnv() (string, error) {
	path := filepath.Join(n.dir, envFile)
	var text strings.Builder
	for _, v := range [][2]string{
		{"LOADFLEET_NATS_URL", n.natsURL()},
		{"LOADFLEET_SEAL_KEY", "file:" + filepath.Join(n.dir, sealKeyFile)},
		{"LOADFLEET_STAGE_URL", n.stageURL},
		{"AWS_ENDPOINT_URL", n.s3.Endpoint()},
		{"AWS_ACCESS_KEY_ID", n.accessKey},
		{"AWS_SECRET_ACCESS_KEY", n.secretKey},
		{"AWS_DEFAULT_REGION", "us-east-1"},
	} {
		fmt.Fprintf(&text, "export %s='%s'\n", v[0], strings.ReplaceAll(v[1], "'", `'\''`))
	}
	return path, os.WriteFile(path, []byte(text.String()), 0o600)
}
