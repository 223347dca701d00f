package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/storage"
)

// asProgram makes the test binary the program itself, so that tests run real
// processes of the code they test.
const asProgram = "LOADFLEET_TEST_BINARY_IS_THE_PROGRAM"

func TestMain(m *testing.M) {
	if role := os.Getenv(asServer); role != "" {
		if err := serve(role); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(exitFailed)
		}
		os.Exit(exitOK)
	}
	if os.Getenv(asProgram) != "" {
		main()
	}
	if err := inMemory(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(exitFailed)
	}
	code := m.Run()
	if reference.dir != "" {
		if err := os.RemoveAll(reference.dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// inMemory lets temporary directories be in memory where there is room. Fleets
// make tens of thousands of small files, and no test here fails the power.
func inMemory() error {
	const dir, room = "/dev/shm", 4 << 30
	var fs syscall.Statfs_t
	if os.Getenv("TMPDIR") != "" || syscall.Statfs(dir, &fs) != nil || fs.Bavail*uint64(fs.Bsize) < room {
		return nil
	}
	return os.Setenv("TMPDIR", dir)
}

// patience bounds every wait. It is far beyond what any of them takes.
const patience = 5 * time.Minute

// fleet is what a test runs in processes of their own, on one directory. When
// the test ends, all of them have ended and no log of theirs holds a secret.
type fleet struct {
	*testing.T
	dir       string
	env       map[string]string
	mu        sync.Mutex
	processes []*process
}

func newFleet(t *testing.T, dir string) *fleet {
	f := &fleet{T: t, dir: dir, env: map[string]string{asProgram: "1"}}
	t.Cleanup(f.check)
	return f
}

// environ is the environment of the fleet's processes: ours, without what
// would set up loadfleet or the AWS command line.
func (f *fleet) environ() []string {
	var all []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "LOADFLEET_") && !strings.HasPrefix(v, "AWS_") {
			all = append(all, v)
		}
	}
	for k, v := range f.env {
		all = append(all, k+"="+v)
	}
	return all
}

// process is a command of the program that runs beside the test.
type process struct {
	name     string
	cmd      *exec.Cmd
	out, err journal
	done     chan struct{} // closed when it has ended
	ended    error         // how, after done
}

func (f *fleet) command(args ...string) *process {
	f.Helper()
	p, err := f.start(f.environ(), args...)
	if err != nil {
		f.Fatal(err)
	}
	return p
}

// start starts this binary in another environment; any goroutine may call it.
func (f *fleet) start(environ []string, args ...string) (*process, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{name: strings.Join(args, " "), done: make(chan struct{})}
	p.cmd = exec.Command(program, args...) //nolint:noctx // stop and kill end it, or check
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = environ, &p.out, &p.err
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	f.mu.Lock()
	f.processes = append(f.processes, p)
	f.mu.Unlock()
	go func() {
		defer close(p.done)
		p.ended = p.cmd.Wait()
		p.out.end()
		p.err.end()
	}()
	return p, nil
}

// wait waits for the process to end by itself and gives its exit code.
func (f *fleet) wait(p *process) int {
	f.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		f.Fatalf("%s has not ended after %s\n%s", p.name, patience, p.err.tail())
	}
	var exit *exec.ExitError
	if p.ended != nil && !errors.As(p.ended, &exit) {
		f.Fatalf("%s: %v", p.name, p.ended)
	}
	return p.cmd.ProcessState.ExitCode()
}

// run runs a command to its end, which must be good, and gives its output.
func (f *fleet) run(args ...string) string {
	f.Helper()
	p := f.command(args...)
	if code := f.wait(p); code != exitOK {
		f.Fatalf("loadfleet %s: exit code %d, want 0\n%s\n%s", p.name, code, p.out.text(), p.err.tail())
	}
	return p.out.text()
}

// stop asks the process to end, as an operator would, and it must do so well.
func (f *fleet) stop(p *process) {
	f.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		f.Fatalf("stop %s: %v", p.name, err)
	}
	if code := f.wait(p); code != exitOK {
		f.Errorf("%s stopped with exit code %d, want 0\n%s", p.name, code, p.err.tail())
	}
}

// kill ends the process as a power failure would.
func (f *fleet) kill(p *process) {
	f.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		f.Fatalf("kill %s: %v", p.name, err)
	}
	f.wait(p)
}

var exported = regexp.MustCompile(`(?m)^export (\w+)='([^']*)'$`)

// up starts the fleet's node and points the other commands at it.
func (f *fleet) up(args ...string) *process {
	f.Helper()
	p := f.command(append([]string{"up", "--data", f.dir, "--nats-port", "0", "--s3-addr", "127.0.0.1:0", "--console-addr", "127.0.0.1:0"}, args...)...)
	if err := p.out.await(f.Context(), "loadfleet is up"); err != nil {
		f.Fatalf("up: %v\n%s", err, p.err.tail())
	}
	text, err := os.ReadFile(filepath.Join(f.dir, envFile))
	if err != nil {
		f.Fatal(err)
	}
	for _, m := range exported.FindAllStringSubmatch(string(text), -1) {
		f.env[m[1]] = m[2]
	}
	f.env["DEMO_ACCESS_KEY"], f.env["DEMO_SECRET_KEY"] = f.env["AWS_ACCESS_KEY_ID"], f.env["AWS_SECRET_ACCESS_KEY"]
	return p
}

// demoSettings is the demo's destinations by id, as they are on this fleet, in
// the order of the demo.
func (f *fleet) demoSettings() []*destination.Settings {
	f.Helper()
	names, err := fs.Glob(demoDocuments, "demo/*.yaml")
	if err != nil || len(names) == 0 {
		f.Fatalf("the demo's documents: %d, %v", len(names), err)
	}
	var all []*destination.Settings
	for _, name := range names {
		s, err := destination.Parse(f.document(name), fleetResolver(f.env))
		if err != nil {
			f.Fatalf("%s: %v", name, err)
		}
		all = append(all, s)
	}
	return all
}

func (f *fleet) document(name string) []byte {
	f.Helper()
	doc, err := demoDocuments.ReadFile(name)
	if err != nil {
		f.Fatal(err)
	}
	return bytes.ReplaceAll(doc, []byte("$DEMO_ENDPOINT"), []byte(f.env["AWS_ENDPOINT_URL"]))
}

type fleetResolver map[string]string

func (r fleetResolver) Env(name string) (string, bool) { v, ok := r[name]; return v, ok }
func (fleetResolver) File(path string) ([]byte, error) { return os.ReadFile(path) }

// applyDemo applies the demo's destinations by the command for it.
func (f *fleet) applyDemo() {
	f.Helper()
	names, err := fs.Glob(demoDocuments, "demo/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		file := filepath.Join(f.TempDir(), filepath.Base(name))
		if err := os.WriteFile(file, f.document(name), 0o600); err != nil {
			f.Fatal(err)
		}
		f.run("destination", "apply", "-f", file)
	}
}

// publishDemo publishes what the demo publishes to a destination, under a
// given name.
func (f *fleet) publishDemo(destination, extraction string) {
	f.Helper()
	f.run("publish", "--destination", destination, "--extraction", extraction, "--workspace", "ws1", "--workspace-title", "main_group",
		"--data-source", "ad_platform", "--data-table-title", "Ads daily", "--report-type", "ads", "--table", "ads",
		"--schema", "../../testdata/ads.schema.json", "--date-column", "date", "--account-column", "account_id",
		"--generation", "1719705600000", "../../testdata/ads.ndjson.zst")
}

// queue connects the test itself.
func (f *fleet) queue() *queue.Queue {
	f.Helper()
	q, err := queue.Connect(f.Context(), queue.Config{URL: f.env["LOADFLEET_NATS_URL"], Name: "test"}, zap.NewNop())
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := q.Close(context.WithoutCancel(f.Context())); err != nil {
			f.Error(err)
		}
	})
	return q
}

// objects is the SHA-256 of every object of the demo's bucket, by key.
func (f *fleet) objects() map[string]string {
	f.Helper()
	store, err := storage.OpenDestination(f.Context(), f.demoSettings()[0], storage.Config{})
	if err != nil {
		f.Fatal(err)
	}
	defer store.Close()
	sums := map[string]string{}
	for o, err := range store.List(f.Context(), demoBucket, "") {
		if err != nil {
			f.Fatal(err)
		}
		body, _, err := store.Get(f.Context(), demoBucket, o.Key)
		if err != nil {
			f.Fatal(err)
		}
		h := sha256.New()
		_, err = io.Copy(h, body)
		if err := errors.Join(err, body.Close()); err != nil {
			f.Fatalf("read %s: %v", o.Key, err)
		}
		sums[o.Key] = hex.EncodeToString(h.Sum(nil))
	}
	return sums
}

// check ends what still runs and looks for secrets in everything that the
// fleet's processes wrote.
func (f *fleet) check() {
	for _, p := range f.processes {
		select {
		case <-p.done:
		default:
			f.kill(p)
		}
	}
	secrets := f.secrets()
	for _, p := range f.processes {
		for stream, text := range map[string]string{"output": p.out.text(), "log": p.err.text()} {
			for _, name := range leaks(text, secrets) {
				f.Errorf("the %s of %q holds the %s", stream, p.name, name)
			}
		}
	}
}

// reference is the single process that everything is compared with: the demo,
// kept, and the bytes of its objects.
var reference struct {
	once    sync.Once
	dir     string
	objects map[string]string
}

// theDemo runs the demo once for all tests and gives its directory and objects.
func theDemo(t *testing.T) (dir string, objects map[string]string) {
	t.Helper()
	reference.once.Do(func() {
		dir, err := os.MkdirTemp("", "loadfleet-test-demo-") //nolint:usetesting // it outlives this test
		if err != nil {
			t.Fatal(err)
		}
		reference.dir = dir
		f := newFleet(t, filepath.Join(dir, "kept"))
		f.run("demo", "--keep", f.dir)
		servers := f.up("--servers-only", "--bucket", demoBucket)
		reference.objects = f.objects()
		f.stop(servers)
	})
	if reference.objects == nil {
		t.Fatal("the demo failed, see the test that ran it")
	}
	return filepath.Join(reference.dir, "kept"), reference.objects
}

// sameObjects compares objects with the reference's, those of some
// destinations or all.
func sameObjects(t *testing.T, got, want map[string]string) {
	t.Helper()
	wrong := 0
	for key, sum := range want {
		if got[key] == sum {
			continue
		}
		if wrong++; wrong > 5 {
			continue
		}
		if got[key] == "" {
			t.Errorf("object %s is missing", key)
		} else {
			t.Errorf("object %s has SHA-256 %s, want %s as from one process", key, got[key], sum)
		}
	}
	for key := range got {
		if want[key] == "" {
			wrong++
			t.Errorf("object %s should not be there", key)
		}
	}
	if wrong > 0 {
		t.Errorf("%d of %d objects are wrong", wrong, len(want))
	}
}

// ofFormats is the objects whose key ends in one of the formats' extensions.
func ofFormats(objects map[string]string, formats ...encoding.Format) map[string]string {
	some := map[string]string{}
	for key, sum := range objects {
		for _, format := range formats {
			if strings.HasSuffix(key, format.Extension()) {
				some[key] = sum
			}
		}
	}
	return some
}

// journal keeps what a process writes and lets others wait for it.
type journal struct {
	mu    sync.Mutex
	b     bytes.Buffer
	more  chan struct{} // closed and replaced when there is more, or no more
	ended bool
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.signal()
	return j.b.Write(b)
}

func (j *journal) end() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ended = true
	j.signal()
}

func (j *journal) signal() {
	if j.more != nil {
		close(j.more)
		j.more = nil
	}
}

func (j *journal) text() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

// tail is the last of it, for the failure of a test.
func (j *journal) tail() string {
	text := j.text()
	return text[max(0, len(text)-4000):]
}

// await waits until the text was written.
func (j *journal) await(ctx context.Context, text string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		j.mu.Lock()
		found, ended := bytes.Contains(j.b.Bytes(), []byte(text)), j.ended
		if j.more == nil {
			j.more = make(chan struct{})
		}
		more := j.more
		j.mu.Unlock()
		switch {
		case found:
			return nil
		case ended:
			return fmt.Errorf("the process ended and did not say %q", text)
		}
		select {
		case <-more:
		case <-ctx.Done():
			return fmt.Errorf("waiting for %q: %w", text, context.Cause(ctx))
		}
	}
}
