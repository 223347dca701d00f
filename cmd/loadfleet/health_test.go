package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestHealth(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ready\n")) })
	mux.HandleFunc("/draining", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "drai\x1b[31mning", http.StatusServiceUnavailable)
	})
	mux.Handle("/moved", http.RedirectHandler("/readyz", http.StatusFound))
	release := make(chan struct{})
	mux.HandleFunc("/hangs", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(release) })
	gone := httptest.NewServer(mux)
	gone.Close()
	tests := []struct {
		name   string
		args   []string
		code   int
		output string // part of what is printed or reported
	}{
		{"ready", []string{server.URL + "/readyz"}, exitOK, "ready\n"},
		{"not ready", []string{server.URL + "/draining"}, exitBad, "503 Service Unavailable: drai"},
		{"redirected: not the process's own answer", []string{server.URL + "/moved"}, exitBad, "302 Found"},
		{"no such page", []string{server.URL + "/nothing"}, exitBad, "404"},
		{"nobody listens", []string{gone.URL + "/readyz"}, exitBad, "refused"},
		{"no answer in time", []string{server.URL + "/hangs", "--timeout", "50ms"}, exitBad, "deadline exceeded"},
		{"no address", nil, exitUsage, "arg"},
		{"no URL", []string{"127.0.0.1:9090"}, exitUsage, "http://"},
		{"no time", []string{server.URL + "/readyz", "--timeout", "0s"}, exitUsage, "--timeout"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			code := run(append([]string{"health"}, test.args...), strings.NewReader(""), &out, &out)
			if code != test.code || !strings.Contains(out.String(), test.output) {
				t.Errorf("got exit code %d, want %d, and %q in:\n%s", code, test.code, test.output, &out)
			}
			if strings.Contains(out.String(), "\x1b") {
				t.Errorf("an answer reaches the terminal as it is: %q", &out)
			}
		})
	}
	t.Run("json", func(t *testing.T) {
		t.Parallel()
		var out, errs bytes.Buffer
		code := run([]string{"health", server.URL + "/readyz", "-o", "json"}, strings.NewReader(""), &out, &errs)
		var got struct {
			OK     bool
			Answer string
		}
		if err := json.Unmarshal(out.Bytes(), &got); err != nil || code != exitOK || !got.OK || got.Answer != "ready" {
			t.Errorf("got exit code %d, %v, %s%s", code, err, &out, &errs)
		}
	})
}
