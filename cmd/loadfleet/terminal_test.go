package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// programVariable tells this test binary to be the program.
const programVariable = "LOADFLEET_TEST_PROGRAM"

// TestProgram is the program itself when a [terminal] runs this binary, and
// nothing otherwise: real processes, without a build of their own.
func TestProgram(*testing.T) {
	if os.Getenv(programVariable) == "" {
		return
	}
	for i, a := range os.Args {
		if a == "--" {
			os.Exit(run(os.Args[i+1:], os.Stdin, os.Stdout, os.Stderr))
		}
	}
	os.Exit(exitUsage)
}

// terminal runs the program's commands as processes with one environment, and
// remembers everything they said.
type terminal struct {
	dir string // where they run
	env []string

	mu   sync.Mutex
	said []utterance
}

// utterance is all that one process wrote.
type utterance struct {
	command string
	text    *heard
}

// finished is a command that has ended.
type finished struct {
	code     int
	out, err string
}

func newTerminal(t *testing.T, env ...string) *terminal {
	t.Helper()
	c := &terminal{dir: t.TempDir()}
	// Only what a process needs, and nothing of this machine's AWS settings.
	for _, name := range []string{"PATH", "HOME", "TMPDIR"} {
		c.set(name, os.Getenv(name))
	}
	c.set(programVariable, "1")
	c.set("AWS_EC2_METADATA_DISABLED", "true")
	c.set("AWS_CONFIG_FILE", filepath.Join(c.dir, "none"))
	c.set("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(c.dir, "none"))
	c.env = append(c.env, env...)
	return c
}

func (c *terminal) set(name, value string) { c.env = append(c.env, name+"="+value) }

// write leaves a file in the directory of the commands and gives its path.
func (c *terminal) write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(c.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (c *terminal) command(ctx context.Context, args []string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		panic(err) // no test of this file can run
	}
	cmd := exec.CommandContext(ctx, self, append([]string{"-test.run=^TestProgram$", "--"}, args...)...)
	cmd.Env, cmd.Dir = c.env, c.dir
	return cmd
}

func (c *terminal) remember(args []string) *heard {
	h := newHeard()
	c.mu.Lock()
	c.said = append(c.said, utterance{strings.Join(args, " "), h})
	c.mu.Unlock()
	return h
}

// try runs a command with a standard input until it ends.
func (c *terminal) try(t *testing.T, stdin string, args ...string) finished {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := c.command(ctx, args)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("loadfleet %s: %v\n%s", strings.Join(args, " "), errors.Join(err, ctx.Err()), errs.String())
	}
	h := c.remember(args)
	_, _ = h.Write(out.Bytes())
	_, _ = h.Write(errs.Bytes())
	return finished{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// run is try for a command that must end with this exit code.
func (c *terminal) run(t *testing.T, code int, stdin string, args ...string) finished {
	t.Helper()
	f := c.try(t, stdin, args...)
	if f.code != code {
		t.Fatalf("loadfleet %s: exit code %d, want %d\nstdout: %s\nstderr: %s", strings.Join(args, " "), f.code, code, f.out, f.err)
	}
	return f
}

// read runs a command with -o json and decodes what it prints.
func (c *terminal) read(t *testing.T, to any, args ...string) {
	t.Helper()
	f := c.run(t, exitOK, "", append(args, "-o", "json")...)
	if err := json.Unmarshal([]byte(f.out), to); err != nil {
		t.Fatalf("loadfleet %s -o json: %v in\n%s", strings.Join(args, " "), err, f.out)
	}
}

// running is a command that stays.
type running struct {
	name   string
	cmd    *exec.Cmd
	heard  *heard
	ended  chan struct{}
	result error // after ended
}

// start starts a command that stays until the test ends or stop.
func (c *terminal) start(t *testing.T, args ...string) *running {
	t.Helper()
	cmd := c.command(context.WithoutCancel(t.Context()), args)
	p := &running{name: strings.Join(args, " "), cmd: cmd, heard: c.remember(args), ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.heard, p.heard
	if err := cmd.Start(); err != nil {
		t.Fatalf("start loadfleet %s: %v", p.name, err)
	}
	go func() {
		p.result = cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() { p.stop(t) })
	return p
}

// stop ends the process as an operator does; stopping it twice is fine.
func (p *running) stop(t *testing.T) {
	t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.ended:
	case <-time.After(30 * time.Second):
		t.Errorf("loadfleet %s does not stop on SIGTERM", p.name)
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
	if p.result != nil {
		t.Errorf("loadfleet %s: %v\n%s", p.name, p.result, p.heard)
	}
}

// await waits until the process has said a line that holds all these texts,
// and gives that line.
func (p *running) await(t *testing.T, texts ...string) string {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	for {
		more := p.heard.more()
		for line := range strings.Lines(p.heard.String()) {
			if holdsAll(line, texts) {
				return line
			}
		}
		select {
		case <-more:
		case <-p.ended:
			t.Fatalf("loadfleet %s ended (%v) before it said %q:\n%s", p.name, p.result, texts, p.heard)
		case <-deadline.C:
			t.Fatalf("loadfleet %s has not said %q:\n%s", p.name, texts, p.heard)
		}
	}
}

func holdsAll(s string, texts []string) bool {
	for _, text := range texts {
		if !strings.Contains(s, text) {
			return false
		}
	}
	return true
}

// heard collects what is written, and tells when there is more.
type heard struct {
	mu   sync.Mutex
	text bytes.Buffer
	next chan struct{}
}

func newHeard() *heard { return &heard{next: make(chan struct{})} }

func (h *heard) Write(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.next)
	h.next = make(chan struct{})
	return h.text.Write(b)
}

// more is closed when something is written after this call.
func (h *heard) more() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.next
}

func (h *heard) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.String()
}

// home is a running `loadfleet up`, and the terminal that its env file sets.
type home struct {
	*terminal
	data string
	up   *running
}

// startHome starts a node on free ports.
func startHome(t *testing.T, flags ...string) *home {
	t.Helper()
	h := &home{terminal: newTerminal(t), data: filepath.Join(t.TempDir(), "data")}
	h.start(t, flags...)
	return h
}

// start starts the node, again after a stop: its environment then has the new ports.
func (h *home) start(t *testing.T, flags ...string) {
	t.Helper()
	h.up = h.terminal.start(t, append([]string{"up", "--data", h.data, "--nats-port", "0", "--s3-addr", "127.0.0.1:0", "--console-addr", "127.0.0.1:0"}, flags...)...)
	h.up.await(t, "loadfleet is up")
	text, err := os.ReadFile(filepath.Join(h.data, envFile))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		name, value, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
		if !ok {
			t.Fatalf("env file: %q", line)
		}
		h.set(name, strings.Trim(value, "'"))
	}
}

// variable is the last value that the environment has for a name.
func (c *terminal) variable(name string) string {
	value := ""
	for _, v := range c.env {
		if n, x, _ := strings.Cut(v, "="); n == name {
			value = x
		}
	}
	return value
}

// adDays is a table of n days with two rows each.
func adDays(n int) string {
	var b strings.Builder
	for day := range n {
		for ad := range 2 {
			fmt.Fprintf(&b, `{"date":"2024-06-%02d","ad":"ad-%d","spend":%d.25}`+"\n", day+1, ad, day)
		}
	}
	return b.String()
}
