package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap/zapcore"
)

// benchPart is a process of a measurement. It says a line when it is ready and
// ends when its standard input does, or by a signal.
type benchPart struct {
	name  string
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
	ready chan struct{} // closed when standard error says so
	said  sync.WaitGroup
	last  string // of standard error, when it has ended
}

// benchReady is in the line of an actor's log that says it works.
const benchReady = ` ready"`

// startPart starts a command of this program on so many cores.
func startPart(ctx context.Context, cores int, env []string, name string, args ...string) (*benchPart, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &benchPart{name: name, cmd: exec.CommandContext(ctx, self, args...), ready: make(chan struct{})}
	p.cmd.Env = append(append(os.Environ(), fmt.Sprintf("GOMAXPROCS=%d", cores)), env...)
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(os.Interrupt) }
	p.cmd.WaitDelay = 30 * time.Second
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	said, err := p.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := startPinned(p.cmd, cores); err != nil {
		return nil, err
	}
	p.said.Go(func() { p.listen(said) })
	return p, nil
}

// listen reads the log: a process that nobody listens to stops.
func (p *benchPart) listen(r io.Reader) {
	ready := sync.OnceFunc(func() { close(p.ready) })
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if strings.Contains(line, benchReady) {
			ready()
		}
		if !strings.Contains(line, `"level":"info"`) {
			p.last = line
		}
	}
	_, _ = io.Copy(io.Discard, r) // a line too long; the process must not be held up by it
}

// answer reads one line of JSON.
func (p *benchPart) answer(into any) error {
	line, err := p.out.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, into)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%s: %w", p.name, err), p.stop())
	}
	return nil
}

// tell writes one line of JSON.
func (p *benchPart) tell(v any) error {
	if err := json.NewEncoder(p.in).Encode(v); err != nil {
		return errors.Join(fmt.Errorf("%s: %w", p.name, err), p.stop())
	}
	return nil
}

// stop ends the process and says how it ended.
func (p *benchPart) stop() error {
	_ = p.in.Close() // it may have ended by itself
	_ = p.cmd.Process.Signal(os.Interrupt)
	p.said.Wait()
	err := p.cmd.Wait()
	if err == nil || err.Error() == "signal: interrupt" {
		return nil // the signal met it at its own end
	}
	return fmt.Errorf("%s: %w: %s", p.name, err, p.last)
}

// waitReady waits for the log line of an actor that works.
func (p *benchPart) waitReady(ctx context.Context) error {
	select {
	case <-p.ready:
		return nil
	case <-time.After(time.Minute):
	case <-ctx.Done():
	}
	return errors.Join(fmt.Errorf("%s is not ready", p.name), p.stop())
}

// serversPlan is what the servers' process reads.
type serversPlan struct {
	Dir      string   `json:"dir"`
	Data     string   `json:"data"`
	Buckets  []string `json:"buckets"`
	Quiet    bool     `json:"quiet"`
	Unsynced bool     `json:"unsynced"`
}

// serversAt is what it answers.
type serversAt struct {
	NATS     string `json:"nats"`
	Endpoint string `json:"endpoint"`
}

const benchServersCommand = "bench-servers"

// benchServers is the hidden command that runs NATS and an S3 endpoint apart
// from everything that is measured.
func (p *program) benchServers() *cobra.Command {
	return &cobra.Command{
		Use:    benchServersCommand,
		Short:  "The servers of a measurement: their plan on standard input, whose end ends them",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			in := bufio.NewReader(p.in)
			var plan serversPlan
			line, err := in.ReadBytes('\n')
			if err == nil {
				err = json.Unmarshal(line, &plan)
			}
			if err != nil {
				return usage(err)
			}
			n, err := startNode(cmd.Context(), nodeConfig{
				dir: plan.Dir, s3Dir: plan.Data, buckets: plan.Buckets, serversOnly: true, quiet: plan.Quiet, unsynced: plan.Unsynced,
			}, p.logger(zapcore.ErrorLevel))
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, n.close()) }()
			if p.settings.profile != "" {
				stop, failed := profileTo(p.settings.profile)
				if failed != nil {
					return failed
				}
				defer func() { err = errors.Join(err, stop()) }()
			}
			if err := json.NewEncoder(p.out).Encode(serversAt{NATS: n.natsURL(), Endpoint: n.s3.Endpoint()}); err != nil {
				return err
			}
			_, err = in.ReadBytes('\n')
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return err
		},
	}
}

// openNode is the coordinator's and a stage's view of servers in another process.
func openNode(ctx context.Context, p *program, dir string, at serversAt) (*node, error) {
	n := &node{dir: dir}
	if err := n.secrets(); err != nil {
		return nil, err
	}
	n.s3 = foreignEndpoint(at.Endpoint)
	var s settings
	s.natsURL, s.lease, s.replicas = at.NATS, p.settings.lease, 1
	q, err := s.connect(ctx, "bench", p.logger(zapcore.ErrorLevel))
	if err != nil {
		return nil, err
	}
	n.queue = q
	return n, nil
}

// foreignEndpoint is one that another process runs.
type foreignEndpoint string

func (e foreignEndpoint) Endpoint() string { return string(e) }
func (foreignEndpoint) Close() error       { return nil }

// partEnvironment lets parts reach the servers.
func partEnvironment(dir string, at serversAt) []string {
	return []string{"LOADFLEET_NATS_URL=" + at.NATS, "LOADFLEET_SEAL_KEY=file:" + filepath.Join(dir, sealKeyFile)}
}
