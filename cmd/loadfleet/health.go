package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func (p *program) health() *cobra.Command {
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "health URL",
		Short: "Ask a process of the fleet whether it is alive or ready",
		Long: `Health asks URL for a process's word on itself, and ends with 0 when the answer
is 200, with 4 when it is another or none. It is the health check of containers
that have no shell.

Dispatchers and workers answer where --metrics says: at /healthz while they are
alive (restart them when they do not), at /readyz while they take work (they do
not while they drain, or while NATS is away: no reason to restart them). The
console answers at /healthz where it listens.`,
		Example: `  loadfleet health http://127.0.0.1:9090/readyz
  loadfleet health http://127.0.0.1:8080/healthz --timeout 1s`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if u, err := url.Parse(args[0]); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
				return usage(fmt.Errorf("%q: write a whole address, such as http://127.0.0.1:9090/readyz", args[0]))
			}
			if timeout <= 0 {
				return usage(fmt.Errorf("--timeout %s: use more than 0s", timeout))
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			answer, err := askHealth(ctx, args[0])
			if err != nil {
				return &codedError{exitBad, err}
			}
			if p.settings.json() {
				return printJSON(p.out, map[string]any{"ok": true, "answer": answer})
			}
			fmt.Fprintln(p.out, answer)
			return nil
		},
	}
	c.Flags().DurationVar(&timeout, "timeout", 3*time.Second, "how long to wait for the answer")
	return c
}

// askHealth is the answer at an address, an error unless it is 200.
func askHealth(ctx context.Context, address string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return "", err
	}
	// No proxy of the environment, no redirect: another's answer says nothing of the process.
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close() //nolint:errcheck // it was only read
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<10))
	if err != nil {
		return "", err
	}
	answer := printable(strings.TrimSpace(string(text)))
	if response.StatusCode != http.StatusOK {
		return "", errors.New(response.Status + ": " + answer)
	}
	return answer, nil
}
