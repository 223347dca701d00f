package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/loadfleet/loadfleet/console"
)

func (p *program) console() *cobra.Command {
	cfg := console.Config{}
	var addr, tokenFile string
	var proxies []string
	c := &cobra.Command{
		Use:   "console",
		Short: "Serve the operators' pages",
		Long: `Console serves pages that show what the fleet does, what is stuck and why, and
what to press. People come in with a token of --token-file, a line each: a role
(viewer or operator), a name and the token; or a proxy signs them in, and says who
they are in X-Forwarded-User and X-Forwarded-Role, from an address of
--trust-proxy. It speaks HTTP: put a proxy with TLS before it where others listen.

Viewers look. Operators also replay and discard dead letters, pause and check
destinations, and, with --seal-key, connect and change them.`,
		Example: `  loadfleet console --addr 127.0.0.1:8080 --token-file console.tokens --seal-key file:seal.key`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if cfg.Access, err = consoleAccess(tokenFile, proxies); err != nil {
				return usage(err)
			}
			if p.settings.sealKey != "" {
				if cfg.Keyring, err = p.settings.keyring(); err != nil {
					return err
				}
			}
			cfg.Storage.FleetRoleARN = cfg.Fleet.RoleARN
			return p.actor(cmd.Context(), "console", func(ctx context.Context, a *actor) error {
				cfg.Queue, cfg.Version = a.queue, programVersion()
				made, err := console.New(cfg, a.log)
				if err != nil {
					return err
				}
				listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
				if err != nil {
					return fmt.Errorf("console: %w", err)
				}
				fmt.Fprintf(p.out, "The console is on http://%s\n", listener.Addr())
				return serveConsole(ctx, listener, made)
			})
		},
	}
	f := c.Flags()
	f.StringVar(&addr, "addr", "127.0.0.1:8080", "address to listen on")
	f.StringVar(&tokenFile, "token-file", "", "file of who may come in: role, name, token, a line each")
	f.StringSliceVar(&proxies, "trust-proxy", nil, "addresses (CIDR) of proxies that sign people in")
	bindFleet(f, &cfg.Fleet)
	bindSTS(f, &cfg.Storage.STSEndpoint)
	return c
}

// consoleAccess reads who may come in.
func consoleAccess(tokenFile string, proxies []string) (console.Access, error) {
	var access console.Access
	if tokenFile == "" && len(proxies) == 0 {
		return access, errors.New("nobody could come in: give --token-file, --trust-proxy or both")
	}
	if tokenFile != "" {
		text, err := os.ReadFile(tokenFile)
		if err != nil {
			return access, fmt.Errorf("--token-file: %w", err)
		}
		if access, err = console.ParseTokens(string(text)); err != nil {
			return access, fmt.Errorf("--token-file %s: %w", tokenFile, err)
		}
	}
	for _, text := range proxies {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return access, fmt.Errorf("--trust-proxy %q: write addresses as 10.0.0.0/8 or 127.0.0.1/32", text)
		}
		access.Proxies = append(access.Proxies, prefix)
	}
	return access, nil
}

// serveConsole serves until ctx ends, then lets requests end for a moment. Those that
// do not are cut off, and that is no error: a client alone could make it one.
func serveConsole(ctx context.Context, listener net.Listener, c *console.Console) error {
	server := &http.Server{
		Handler: timedBodies(c.Handler()), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx }, // live pages end with it
	}
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() error {
		if err := c.Run(ctx); ctx.Err() == nil {
			return err
		}
		return nil // also when it was stopped before it was ready
	})
	both.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("console: %w", err)
		}
		return nil
	})
	both.Go(func() error {
		<-ctx.Done()
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if server.Shutdown(ending) != nil {
			_ = server.Close()
		}
		return nil
	})
	return both.Wait()
}

// bodyTime is how long a request's body may take: forms are small.
const bodyTime = 30 * time.Second

// timedBodies cuts off clients whose request does not end. What comes after the body
// takes as long as it likes, as live pages and checks of destinations do.
func timedBodies(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != http.NoBody {
			body := &timedBody{r.Body, http.NewResponseController(w)}
			if err := body.conn.SetReadDeadline(time.Now().Add(bodyTime)); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			r.Body = body
		}
		next.ServeHTTP(w, r)
	})
}

// timedBody ends its deadline at its end: the server goes on to read, to hear of a
// client that goes, and takes a deadline for that.
type timedBody struct {
	io.ReadCloser
	conn *http.ResponseController
}

func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		if err := b.conn.SetReadDeadline(time.Time{}); err != nil {
			return n, err
		}
	}
	return n, err
}
