package queue

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

// Config says where the queue is and how to speak to it. The zero value
// reaches a server on this machine.
type Config struct {
	URL  string // one or more, separated by commas; nats://127.0.0.1:4222 when empty
	Name string // of this client, as operators see it

	// How the client shows who it is; at most one of them.
	Credentials    string // file of a user's JWT and seed
	NKey           string // file of a seed
	Token          string
	User, Password string

	TLS *tls.Config // nil: what the server asks for, with the system's roots

	// InboxPrefix is where answers to this client go: one per role, so that
	// roles of one account cannot read each other's answers. "_INBOX" when empty.
	InboxPrefix string

	AckWait        time.Duration // how long a delivery stays ours unheard; 60 s when zero
	RequestTimeout time.Duration // of one request, before it is repeated; 5 s when zero

	Topology Topology // what Provision makes
}

func (c Config) withDefaults() Config {
	if c.URL == "" {
		c.URL = nats.DefaultURL
	}
	if c.Name == "" {
		c.Name = "loadfleet"
	}
	if c.AckWait == 0 {
		c.AckWait = 60 * time.Second
	}
	if c.RequestTimeout == 0 {
		c.RequestTimeout = 5 * time.Second
	}
	return c
}

// Queue is a connection to the fleet's streams. It is safe for concurrent use
// and reconnects for ever; calls made meanwhile wait until their context ends.
type Queue struct {
	nc   *nats.Conn
	js   jetstream.JetStream
	cfg  Config
	log  *zap.Logger
	life context.Context // ends with Close, cause ErrClosed
	end  context.CancelCauseFunc
	held sync.WaitGroup // goroutines that Close waits for

	settler *settler
	broken  func(step) error // where a test breaks off; nil but there

	lookedInVain atomic.Int64 // when objects could not be looked up together, in Unix nanoseconds

	roomAsked atomic.Int64 // when it was last looked how full the dead letters are, in Unix nanoseconds

	mu      sync.Mutex
	streams map[string]jetstream.Stream
	back    chan struct{} // closed and replaced at every reconnect
}

// Connect connects to the queue. It tries once: a caller that would rather
// wait calls it again. Nothing is made on the server; see Provision.
func Connect(ctx context.Context, cfg Config, log *zap.Logger) (*Queue, error) {
	cfg = cfg.withDefaults()
	q := &Queue{cfg: cfg, log: log, streams: map[string]jetstream.Stream{}, back: make(chan struct{})}
	q.life, q.end = context.WithCancelCause(context.Background())
	q.settler = newSettler(q)
	where, err := redacted(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("connect to queue: %w", err)
	}
	options, err := q.options(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to queue: %w", err)
	}
	if q.nc, err = nats.Connect(cfg.URL, options...); err != nil {
		return nil, fmt.Errorf("connect to queue at %s: %w", where, err)
	}
	if q.js, err = jetstream.New(q.nc, jetstream.WithDefaultTimeout(cfg.RequestTimeout),
		jetstream.WithPublishAsyncTimeout(cfg.RequestTimeout)); err != nil {
		q.nc.Close()
		return nil, fmt.Errorf("connect to queue: %w", err)
	}
	return q, nil
}

// redacted is a list of URLs without the users and tokens in them.
func redacted(list string) (string, error) {
	var all []string
	for one := range strings.SplitSeq(list, ",") {
		one = strings.TrimSpace(one)
		if !strings.Contains(one, "://") {
			one = "nats://" + one
		}
		u, err := url.Parse(one)
		if err != nil {
			return "", errors.New("its URL cannot be read: write nats://host:4222, several separated by commas")
		}
		u.User = nil
		all = append(all, u.String())
	}
	return strings.Join(all, ","), nil
}

func (q *Queue) options(ctx context.Context) ([]nats.Option, error) {
	cfg := q.cfg
	dial := 5 * time.Second
	if until, ok := ctx.Deadline(); ok {
		dial = min(dial, max(time.Until(until), time.Millisecond))
	}
	options := []nats.Option{
		nats.Name(cfg.Name),
		nats.Timeout(dial),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(), // credentials may be rotated under us: keep trying
		nats.ReconnectWait(100 * time.Millisecond),
		nats.ReconnectJitter(400*time.Millisecond, 900*time.Millisecond),
		nats.PingInterval(10 * time.Second),
		nats.MaxPingsOutstanding(2),
		// Nothing is buffered while disconnected: a publish fails at once and
		// is repeated by the one loop that knows whether it still matters.
		nats.ReconnectBufSize(-1),
		nats.NoCallbacksAfterClientClose(),
		nats.ErrorHandler(func(_ *nats.Conn, s *nats.Subscription, err error) {
			subject := ""
			if s != nil {
				subject = s.Subject
			}
			q.log.Warn("queue connection", zap.Error(err), zap.String("subject", subject))
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			q.log.Warn("queue disconnected", zap.Error(err))
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			// Not its URL: a token there stands in place of the user's name, which
			// nats.ConnectedUrlRedacted shows.
			q.log.Info("queue reconnected", zap.String("server", nc.ConnectedAddr()))
			q.mu.Lock()
			close(q.back)
			q.back = make(chan struct{})
			q.mu.Unlock()
		}),
	}
	if cfg.InboxPrefix != "" {
		options = append(options, nats.CustomInboxPrefix(cfg.InboxPrefix))
	}
	if cfg.TLS != nil {
		options = append(options, nats.Secure(cfg.TLS))
	}
	switch {
	case cfg.Credentials != "":
		options = append(options, nats.UserCredentials(cfg.Credentials))
	case cfg.NKey != "":
		key, err := nats.NkeyOptionFromSeed(cfg.NKey)
		if err != nil {
			return nil, fmt.Errorf("read nkey seed: %w", err)
		}
		options = append(options, key)
	case cfg.Token != "":
		options = append(options, nats.Token(cfg.Token))
	case cfg.User != "":
		options = append(options, nats.UserInfo(cfg.User, cfg.Password))
	}
	return options, nil
}

// Close ends every delivery's context with [ErrClosed], waits for what runs
// in the background and closes the connection. Deliveries not settled by then
// come again when their lease ends; release them first.
func (q *Queue) Close(ctx context.Context) error {
	q.mu.Lock()
	q.end(ErrClosed)
	q.mu.Unlock()
	idle := make(chan struct{})
	go func() {
		q.held.Wait()
		close(idle)
	}()
	var err error
	select {
	case <-idle:
	case <-ctx.Done():
		err = fmt.Errorf("close queue: %w", context.Cause(ctx))
	}
	if q.nc.IsConnected() {
		_ = q.nc.FlushTimeout(time.Second) // what was given back at the last moment
	}
	q.nc.Close()
	return err
}

// Healthy reports whether the connection stands.
func (q *Queue) Healthy() bool { return q.nc.IsConnected() }

// spawn runs f in a goroutine that Close waits for; false when it is too late.
func (q *Queue) spawn(f func()) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.life.Err() != nil {
		return false
	}
	q.held.Go(f)
	return true
}

// step is a line of the settling of a load after which the power may fail
// (ARCHITECTURE.md, steps 11 to 15).
type step string

const (
	stepCarried step = "object put"
	stepBuried  step = "dead letter stored"
	stepStored  step = "outcome or object stored, unheard"
	stepCounted step = "tally stored, unheard"
	stepSettled step = "outcome counted"
)

func (q *Queue) at(s step) error {
	if q.broken == nil {
		return nil
	}
	return q.broken(s)
}

// stream is the handle of a stream, asked for once.
func (q *Queue) stream(ctx context.Context, name string) (jetstream.Stream, error) {
	q.mu.Lock()
	s := q.streams[name]
	q.mu.Unlock()
	if s != nil {
		return s, nil
	}
	s, err := q.js.Stream(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", name, err)
	}
	q.mu.Lock()
	q.streams[name] = s
	q.mu.Unlock()
	return s, nil
}

// The pauses between repetitions of a request.
const (
	firstPause = 20 * time.Millisecond
	lastPause  = 2 * time.Second
)

// retry repeats a request that must succeed in the end until it does, fails
// for good, or ctx ends. Each try has RequestTimeout.
func (q *Queue) retry(ctx context.Context, what string, request func(context.Context) error) error {
	pause := firstPause
	for n := 1; ; n++ {
		try, cancel := context.WithTimeout(ctx, q.cfg.RequestTimeout)
		err := request(try)
		cancel()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("%s: %w (last answer: %w)", what, context.Cause(ctx), err)
		case q.life.Err() != nil:
			return fmt.Errorf("%s: %w", what, ErrClosed)
		case !transient(err):
			return fmt.Errorf("%s: %w", what, err)
		}
		if n == 3 {
			q.log.Warn("queue request keeps failing", zap.String("request", what), zap.Error(err))
		}
		if err := q.pause(ctx, pause); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		pause = min(2*pause, lastPause)
	}
}

// pause waits for about d, or less when the connection comes back.
func (q *Queue) pause(ctx context.Context, d time.Duration) error {
	q.mu.Lock()
	back := q.back
	q.mu.Unlock()
	timer := time.NewTimer(d/2 + rand.N(d))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-back:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-q.life.Done():
		return ErrClosed
	}
	return nil
}

// publish stores one message, repeating until it is acknowledged. Only
// messages for which a second copy is refused or harmless may go through it.
func (q *Queue) publish(ctx context.Context, m *nats.Msg, options ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	var ack *jetstream.PubAck
	options = append(options, jetstream.WithRetryAttempts(0))
	err := q.retry(ctx, "publish on "+m.Subject, func(ctx context.Context) error {
		var err error
		ack, err = q.js.PublishMsg(ctx, m, options...)
		return err
	})
	return ack, err
}

// message is one message by its sequence.
func (q *Queue) message(ctx context.Context, stream string, sequence uint64) (*jetstream.RawStreamMsg, error) {
	var m *jetstream.RawStreamMsg
	err := q.retry(ctx, fmt.Sprintf("message %d of %s", sequence, stream), func(ctx context.Context) error {
		s, err := q.stream(ctx, stream)
		if err != nil {
			return err
		}
		m, err = s.GetMsg(ctx, sequence)
		if missing(err) {
			return errors.Join(ErrNotFound, err)
		}
		return err
	})
	return m, err
}

// lastOn is the last message on a subject. Of a replicated stream a replica may
// answer that lags behind: who decides on it writes on condition that it stands.
func (q *Queue) lastOn(ctx context.Context, stream, subject string) (*jetstream.RawStreamMsg, error) {
	var m *jetstream.RawStreamMsg
	err := q.retry(ctx, "last message on "+subject, func(ctx context.Context) error {
		s, err := q.stream(ctx, stream)
		if err != nil {
			return err
		}
		m, err = s.GetLastMsgForSubject(ctx, subject)
		if missing(err) {
			return errors.Join(ErrNotFound, err)
		}
		return err
	})
	return m, err
}
