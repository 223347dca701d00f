package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestExamplesLoadTheirRows runs each example of messages/README.md, in its own
// language with its own client, against a running fleet: to the object.
func TestExamplesLoadTheirRows(t *testing.T) {
	t.Parallel()
	needForeignReaders(t)
	foreign, err := filepath.Abs("../../testdata/foreign")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../../messages/README.md")
	if err != nil {
		t.Fatal(err)
	}
	block := func(fence string) string {
		_, rest, _ := strings.Cut(string(readme), "```"+fence+"\n")
		code, _, ok := strings.Cut(rest, "```")
		if !ok {
			t.Fatalf("messages/README.md has no block of %s", fence)
		}
		return code
	}
	python, err := os.ReadFile("../../messages/examples/publish.py")
	if err != nil {
		t.Fatal(err)
	}
	h := startHome(t)
	doc, err := os.ReadFile("../../testdata/destinations/acme-lake.yaml")
	if err != nil {
		t.Fatal(err)
	}
	here := strings.Replace(string(doc), "http://127.0.0.1:9000", h.variable("AWS_ENDPOINT_URL"), 1)
	h.run(t, exitOK, "", "destination", "apply", "-f", h.write(t, "acme-lake.yaml", here))
	token, err := os.ReadFile(filepath.Join(h.data, "nats.token"))
	if err != nil {
		t.Fatal(err)
	}
	for _, example := range []struct {
		language, extraction, code, file string
		command                          []string
	}{
		{"shell", "x1", block("sh"), "publish.sh", []string{"sh", "-eu"}},
		{"javascript", "x2", strings.ReplaceAll(block("js"), `"x1"`, `"x2"`), "publish.mjs", []string{"node"}},
		{"python", "x3", string(python), "publish.py", []string{"python3"}},
	} {
		t.Run(example.language, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, example.file), []byte(example.code), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(filepath.Join(foreign, "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), example.command[0], append(example.command[1:], example.file)...)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "PATH="+filepath.Join(foreign, "bin")+string(os.PathListSeparator)+os.Getenv("PATH"), "HOME="+dir,
				"NATS_URL="+h.variable("LOADFLEET_NATS_URL"), "NATS_TOKEN="+strings.TrimSpace(string(token)))
			cmd.WaitDelay = time.Second
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "completed") {
				t.Fatalf("%v\n%s", err, out)
			}
			var account struct {
				State string `json:"state"`
				Rows  int64  `json:"rows_loaded"`
			}
			h.read(t, &account, "extraction", "show", example.extraction, "--workspace", "acme")
			if account.State != "completed" || account.Rows != 2 {
				t.Errorf("extraction %s: got %+v, want 2 rows, completed", example.extraction, account)
			}
			for key, want := range map[string]string{
				"acme/spend/acme%2Feu-2024-06-18.csv": "day,account,spend\n2024-06-18,acme/eu,12.500000\n",
				"acme/spend/acme%2Fus-2024-06-19.csv": "day,account,spend\n2024-06-19,acme/us,7.000000\n",
			} {
				if diff := cmp.Diff(want, h.object(t, key)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", key, diff)
				}
			}
		})
	}
}
