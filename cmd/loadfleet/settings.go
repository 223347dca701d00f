package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/queue"
)

// settings are the flags that all commands share.
type settings struct {
	natsURL   string
	natsCreds string
	natsNKey  string
	natsCA    string
	natsInbox string
	sealKey   string
	replicas  int
	lease     time.Duration
	deadBytes int64 // of provision
	output    string
	logLevel  string
	profile   string
}

func (s *settings) bind(f *pflag.FlagSet) {
	f.StringVar(&s.natsURL, "nats-url", "nats://127.0.0.1:4222", "NATS servers, separated by commas")
	f.StringVar(&s.natsCreds, "nats-creds", "", "NATS credentials file")
	f.StringVar(&s.natsNKey, "nats-nkey", "", "file of an NKey seed that says who we are to NATS (make one with loadfleet nats-key)")
	f.StringVar(&s.natsCA, "nats-ca", "", "file of the authorities that NATS' certificate may be of; default: the system's")
	f.StringVar(&s.natsInbox, "nats-inbox", "", "prefix of the subjects that NATS answers on; default: the role's, such as _INBOX_worker")
	f.StringVar(&s.sealKey, "seal-key", "", "key that seals destinations' secrets: env:NAME, file:PATH or the key; several keys, newest first, one a line")
	f.IntVar(&s.replicas, "replicas", 1, "copies that JetStream keeps of everything (1, 3 or 5); for provision")
	f.DurationVar(&s.lease, "lease", time.Minute, "how long a load stays with a process that is not heard of; the same for the whole fleet")
	f.StringVarP(&s.output, "output", "o", "human", "human or json")
	f.StringVar(&s.logLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&s.profile, "cpu-profile", "", "dispatcher and worker: write a CPU profile of their whole run to this file")
}

// resolve fills flags that were not given from the environment and checks all
// of them; every mistake is reported at once.
func (s *settings) resolve(f *pflag.FlagSet, lookup func(string) (string, bool)) error {
	var errs []error
	f.VisitAll(func(flag *pflag.Flag) {
		name := "LOADFLEET_" + strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))
		if v, ok := lookup(name); ok && !flag.Changed {
			if err := f.Set(flag.Name, v); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", name, err))
			}
		}
	})
	if s.output != "human" && s.output != "json" {
		errs = append(errs, fmt.Errorf("--output %q: use human or json", s.output))
	}
	if s.replicas != 1 && s.replicas != 3 && s.replicas != 5 {
		errs = append(errs, fmt.Errorf("--replicas %d: use 1, 3 or 5", s.replicas))
	}
	if s.lease < time.Second {
		errs = append(errs, fmt.Errorf("--lease %s: use 1s or more", s.lease))
	}
	if s.natsCreds != "" && s.natsNKey != "" {
		errs = append(errs, errors.New("--nats-creds and --nats-nkey: give one of them"))
	}
	if _, err := zapcore.ParseLevel(s.logLevel); err != nil {
		errs = append(errs, fmt.Errorf("--log-level %q: use debug, info, warn or error", s.logLevel))
	}
	if len(errs) > 0 {
		return usage(errors.Join(errs...))
	}
	return nil
}

func (s *settings) level() zapcore.Level {
	level, err := zapcore.ParseLevel(s.logLevel)
	if err != nil {
		return zapcore.InfoLevel // resolve has refused it
	}
	return level
}

func (s *settings) json() bool { return s.output == "json" }

// connect opens the queue for a command. Its owner closes it.
func (s *settings) connect(ctx context.Context, command string, log *zap.Logger) (*queue.Queue, error) {
	secured, err := s.tls()
	if err != nil {
		return nil, err
	}
	inbox := s.natsInbox
	if inbox == "" {
		inbox = inboxPrefix(command)
	}
	return queue.Connect(ctx, queue.Config{
		URL: s.natsURL, Credentials: s.natsCreds, NKey: s.natsNKey, TLS: secured, InboxPrefix: inbox,
		Name: "loadfleet " + command, AckWait: s.lease, Topology: queue.Topology{Replicas: s.replicas, DeadBytes: s.deadBytes},
	}, log)
}

// inboxPrefix is where NATS answers a command: deploy/nats lets each role
// listen on its own prefix only.
func inboxPrefix(command string) string {
	switch command {
	case "dispatcher", "worker", "console":
		return "_INBOX_" + command
	case "provision":
		return "_INBOX_provisioner"
	case "publish":
		return "_INBOX" // an extractor, alone in its workspace's account
	}
	return "_INBOX_operator"
}

// tls is how NATS' certificate is checked, nil for the system's way.
func (s *settings) tls() (*tls.Config, error) {
	if s.natsCA == "" {
		return nil, nil
	}
	text, err := os.ReadFile(s.natsCA)
	if err != nil {
		return nil, usage(fmt.Errorf("--nats-ca: %w", err))
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, usage(fmt.Errorf("--nats-ca %s: there is no certificate in it", s.natsCA))
	}
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, nil
}

// keyring reads the keys that seal destinations' secrets.
func (s *settings) keyring() (*destination.Keyring, error) {
	text := s.sealKey
	switch {
	case text == "":
		return nil, usage(errors.New("no seal key: give --seal-key env:NAME or file:PATH (make one with `loadfleet destination new-key`)"))
	case strings.HasPrefix(text, "env:"):
		v, ok := os.LookupEnv(strings.TrimPrefix(text, "env:"))
		if !ok {
			return nil, usage(fmt.Errorf("--seal-key %s: the variable is not set", text))
		}
		text = v
	case strings.HasPrefix(text, "file:"):
		b, err := os.ReadFile(strings.TrimPrefix(text, "file:"))
		if err != nil {
			return nil, usage(fmt.Errorf("--seal-key: %w", err))
		}
		text = string(b)
	}
	k, err := destination.ParseKeyring(text)
	if err != nil {
		return nil, usage(fmt.Errorf("--seal-key: %w", err))
	}
	return k, nil
}
