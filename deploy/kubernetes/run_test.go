package kubernetes

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// TestRolesRunAsTheManifestsSay starts each role with the arguments and the environment of its pod, in place of NATS
// with TLS and keys the embedded one, asks for what its probes ask for, and stops it as the kubelet does.
func TestRolesRunAsTheManifestsSay(t *testing.T) {
	m, err := read(render(t, base))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	up := start(t, nil, "up", "--servers-only", "--data", filepath.Join(dir, "up"), "--nats-port", "0", "--s3-addr", "127.0.0.1:0")
	up.says(t, `loadfleet is (up)`)
	url := regexp.MustCompile(`LOADFLEET_NATS_URL='([^']+)'`).FindStringSubmatch(readText(t, filepath.Join(dir, "up/env")))[1]
	tokens := filepath.Join(dir, "console.tokens")
	if err := os.WriteFile(tokens, []byte("viewer ann 0123456789abcdef0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, p := range m.pods() {
		t.Run(p.role, func(t *testing.T) {
			c := p.spec.Containers[0]
			env := m.env(c, t.Errorf)
			instead := map[string]string{
				"LOADFLEET_NATS_URL": url, "LOADFLEET_NATS_CA": "", "LOADFLEET_NATS_NKEY": "", "LOADFLEET_REPLICAS": "1",
				"LOADFLEET_NAME": "loadfleet-" + p.role + "-5d4f9c7b8-x2x9z", "LOADFLEET_SEAL_KEY": "file:" + filepath.Join(dir, "up/seal.key"),
				"LOADFLEET_SCRATCH": dir, "LOADFLEET_DISPATCH_SCRATCH": dir, "LOADFLEET_TOKEN_FILE": tokens,
				"LOADFLEET_METRICS": "127.0.0.1:0", "LOADFLEET_ADDR": "127.0.0.1:0",
			}
			for name := range env {
				if value, ok := instead[name]; ok {
					env[name] = value
				}
			}
			role := start(t, env, c.Args...)
			if len(c.Ports) == 0 {
				role.ends(t, time.Minute)
				return
			}
			addr := role.says(t, `(?:"address":"|console is on http://)([0-9.:]+)`)
			paths := []string{}
			for _, probe := range []*corev1.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
				paths = append(paths, probe.HTTPGet.Path)
			}
			for _, d := range m.deployments {
				if d.Labels["app.kubernetes.io/component"] == p.role && d.Spec.Template.Annotations["prometheus.io/scrape"] == "true" {
					paths = append(paths, d.Spec.Template.Annotations["prometheus.io/path"])
				}
			}
			for _, path := range paths {
				answer(t, "http://"+addr+path)
			}
			if err := role.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			role.ends(t, time.Duration(*p.spec.TerminationGracePeriodSeconds)*time.Second)
		})
	}
}

func answer(t *testing.T, url string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("GET %s: %s", url, response.Status)
	}
}

// process is a running loadfleet, and what it has said.
type process struct {
	cmd   *exec.Cmd
	ended chan error

	mu    sync.Mutex
	said  bytes.Buffer
	heard chan struct{} // something was said
}

// Write keeps what the process says.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case p.heard <- struct{}{}:
	default:
	}
	return p.said.Write(b)
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.String()
}

func start(t *testing.T, env map[string]string, args ...string) *process {
	t.Helper()
	p := &process{ended: make(chan error, 1), heard: make(chan struct{}, 1)}
	p.cmd = exec.Command(loadfleet(t), args...)
	p.cmd.Stdout, p.cmd.Stderr = p, p
	for name, value := range env {
		p.cmd.Env = append(p.cmd.Env, name+"="+value)
	}
	if env == nil {
		p.cmd.Env = os.Environ()
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waited := make(chan struct{})
	go func() {
		defer close(waited)
		p.ended <- p.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-waited
	})
	return p
}

// says waits for what the pattern names.
func (p *process) says(t *testing.T, pattern string) string {
	t.Helper()
	re, patience := regexp.MustCompile(pattern), time.After(time.Minute)
	for {
		if found := re.FindStringSubmatch(p.text()); found != nil {
			return found[1]
		}
		select {
		case <-p.heard:
		case err := <-p.ended:
			t.Fatalf("%s ended (%v) and never said %s:\n%s", strings.Join(p.cmd.Args[1:], " "), err, pattern, p.text())
		case <-patience:
			t.Fatalf("%s never said %s:\n%s", strings.Join(p.cmd.Args[1:], " "), pattern, p.text())
		}
	}
}

// ends waits for a good end.
func (p *process) ends(t *testing.T, within time.Duration) {
	t.Helper()
	select {
	case err := <-p.ended:
		if err != nil {
			t.Errorf("%s: %v\n%s", fmt.Sprint(p.cmd.Args[1:]), err, p.text())
		}
	case <-time.After(within):
		t.Errorf("%s has not ended within %s", fmt.Sprint(p.cmd.Args[1:]), within)
	}
}
