package kubernetes

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
)

func readText(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// program is loadfleet, built once, into folder.
var (
	folder  string
	program = sync.OnceValues(func() (string, error) {
		dir, err := os.MkdirTemp("", "loadfleet-manifests-*")
		if err != nil {
			return "", err
		}
		folder = dir
		file := filepath.Join(dir, "loadfleet")
		cmd := exec.Command("go", "build", "-buildvcs=false", "-o", file, "./cmd/loadfleet")
		cmd.Dir = "../.." // its module, not this one
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("go build: %w\n%s", err, out)
		}
		return file, nil
	})
)

func TestMain(m *testing.M) {
	code := m.Run()
	if folder != "" {
		_ = os.RemoveAll(folder)
	}
	os.Exit(code)
}

func loadfleet(t *testing.T) string {
	t.Helper()
	file, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

var (
	flagLine  = regexp.MustCompile(`(?m)^\s+(?:-\w, |    )--([a-z-]+)`)
	flagsRead sync.Map // role: map[string]bool
)

// flags is what `loadfleet ROLE --help` names.
func flags(t *testing.T, role string) map[string]bool {
	t.Helper()
	if known, ok := flagsRead.Load(role); ok {
		return known.(map[string]bool)
	}
	out, err := exec.CommandContext(t.Context(), loadfleet(t), role, "--help").Output()
	if err != nil {
		t.Fatalf("loadfleet %s --help: %v", role, err)
	}
	known := map[string]bool{}
	for _, found := range flagLine.FindAllStringSubmatch(string(out), -1) {
		known[found[1]] = true
	}
	flagsRead.Store(role, known)
	return known
}
