package storage

import (
	"bytes"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRoots reads the bundle once for two stores, again when the file was replaced,
// and names the variable when it cannot be read.
func TestRoots(t *testing.T) {
	server := httptest.NewTLSServer(nil)
	t.Cleanup(server.Close)
	bundle := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	path := filepath.Join(t.TempDir(), "ca.pem")
	write := func(b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	shared := &Roots{}
	access := Access{Destination: "acme", ConnectionOption: optionAccessKeys, AccessKeyID: "AKIAACMEACMEACMEACME", SecretAccessKey: "secret", Endpoint: server.URL}
	opened := func() *Store {
		t.Helper()
		s, err := Open(t.Context(), access, Config{Roots: shared})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		return s
	}
	t.Setenv(bundleVariable, "")
	if pool := opened().transport.TLSClientConfig.RootCAs; pool != nil {
		t.Error("without the variable: a pool of our own, want the system's")
	}
	t.Setenv(bundleVariable, path)
	refused := func(want string) {
		t.Helper()
		if _, err := Open(t.Context(), access, Config{Roots: shared}); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), bundleVariable) {
			t.Errorf("got %v, want %s and %q", err, bundleVariable, want)
		}
	}
	refused("no such file")
	write([]byte("certificate"))
	refused("has no certificate in PEM")
	write(bundle)
	first, second := opened().transport.TLSClientConfig.RootCAs, opened().transport.TLSClientConfig.RootCAs
	if first == nil || first != second {
		t.Error("two stores do not share the bundle")
	}
	reply, err := opened().observer.next.RoundTrip(httptest.NewRequest("GET", server.URL, nil))
	if err != nil {
		t.Fatalf("a server that the bundle trusts: %v", err)
	}
	_ = reply.Body.Close()
	write(bytes.Repeat(bundle, 2))
	if opened().transport.TLSClientConfig.RootCAs == first {
		t.Error("the bundle was replaced, and a new store has the old one")
	}
}
