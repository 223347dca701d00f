package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/storage/quiet"
)

// trial measures the whole job once, with the servers, the extractor, the
// dispatcher and each worker in processes of their own on the same cores.
func (b *bench) trial(ctx context.Context, k kind, s *source, dir string) (list []measurement, err error) {
	t, err := b.openServers(ctx, k, dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.close()) }()
	if err := applyBenchDestination(ctx, t.node, k.Format); err != nil {
		return nil, err
	}
	m, err := t.measure(ctx, k, s)
	if err != nil {
		return nil, err
	}
	list = []measurement{*m}
	if k.Endpoint != endpointStore {
		return list, nil
	}
	files := filepath.Join(t.data, "objects", benchBucket)
	if b.peers {
		if list[0].Same, err = b.fingerprint(ctx, k.Format, files, s); err != nil {
			return nil, err
		}
		put, err := t.putAgain(ctx, k, files)
		if err != nil {
			return nil, err
		}
		list = append(list, *put)
	}
	return list, nil
}

// servedTrial is a trial whose servers are up.
type servedTrial struct {
	*bench
	cores     int
	queueDir  string
	data      string
	at        serversAt
	servers   *benchPart
	node      *node
	parts     []*benchPart
	extractor *benchPart
}

func (b *bench) openServers(ctx context.Context, k kind, dir string) (t *servedTrial, err error) {
	t = &servedTrial{bench: b, cores: k.Cores, data: filepath.Join(dir, "s3")}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.close())
		}
	}()
	if t.queueDir, err = os.MkdirTemp(b.queueData, "loadfleet-bench-queue-"); err != nil {
		return t, err
	}
	if t.servers, err = startPart(ctx, k.Cores, b.profileEnvironment("servers"), "servers", benchServersCommand); err != nil {
		return t, err
	}
	if err = t.servers.tell(serversPlan{
		Dir: t.queueDir, Data: t.data, Buckets: []string{benchBucket, benchBucket + "-again"},
		Quiet: k.Endpoint == endpointQuiet, Unsynced: k.Sync == syncDefault,
	}); err != nil {
		return t, err
	}
	if err = t.servers.answer(&t.at); err != nil {
		return t, err
	}
	t.node, err = openNode(ctx, b.program, t.queueDir, t.at)
	return t, err
}

// profileEnvironment lets a process write its profile under a name.
func (b *bench) profileEnvironment(name string) []string {
	if b.profile == "" {
		return nil
	}
	return []string{"LOADFLEET_CPU_PROFILE=" + filepath.Join(b.profile, name+".pprof")}
}

// close ends every process and removes what they kept.
func (t *servedTrial) close() error {
	var errs []error
	for _, p := range append([]*benchPart{t.extractor}, t.parts...) {
		if p != nil {
			errs = append(errs, p.stop())
		}
	}
	if t.node != nil {
		errs = append(errs, t.node.close())
	}
	if t.servers != nil {
		errs = append(errs, t.servers.stop())
	}
	return errors.Join(append(errs, os.RemoveAll(t.queueDir), os.RemoveAll(t.data))...)
}

// start starts the fleet and the extractor, and waits until each is at its post.
func (t *servedTrial) start(ctx context.Context, s *source) (err error) {
	env := partEnvironment(t.queueDir, t.at)
	commands := [][]string{append([]string{"dispatcher"}, t.dispatcherArgs...)}
	for range t.workers {
		commands = append(commands, append([]string{"worker"}, t.workerArgs...))
	}
	for i, args := range commands {
		own := t.profileEnvironment(fmt.Sprintf("%s-%d", args[0], i))
		p, err := startPart(ctx, t.cores, append(own, env...), args[0], args...)
		if err != nil {
			return err
		}
		t.parts = append(t.parts, p)
	}
	for _, p := range t.parts {
		if err := p.waitReady(ctx); err != nil {
			return err
		}
	}
	if t.extractor, err = startPart(ctx, t.cores, env, "extractor", benchExtractorCommand); err != nil {
		return err
	}
	if err := t.extractor.tell(s); err != nil {
		return err
	}
	var connected string
	return t.extractor.answer(&connected)
}

// used is the CPU of loadfleet's processes, one by one, and of the servers.
func (t *servedTrial) used() (own []processUse, servers processUse, err error) {
	for _, p := range append([]*benchPart{t.extractor}, t.parts...) {
		u, err := processUsage(p.cmd.Process.Pid)
		if err != nil {
			return nil, servers, err
		}
		u.Name = p.name
		own = append(own, u)
	}
	servers, err = processUsage(t.servers.cmd.Process.Pid)
	return own, servers, err
}

func sumCPU(list []processUse) (cpu float64) {
	for _, p := range list {
		cpu += p.CPU
	}
	return cpu
}

// measure runs the job and checks what became of it.
func (t *servedTrial) measure(ctx context.Context, k kind, s *source) (*measurement, error) {
	if err := t.start(ctx, s); err != nil {
		return nil, err
	}
	before, serversBefore, err := t.used()
	if err != nil {
		return nil, err
	}
	if err := t.extractor.tell("begin"); err != nil {
		return nil, err
	}
	var pub published
	if err := t.extractor.answer(&pub); err != nil {
		return nil, err
	}
	atPublished, _, err := t.used()
	if err != nil {
		return nil, err
	}
	var atDispatched []processUse
	// Its milestones only: to hear each load end is work that the job has none of.
	e, err := followEvents(ctx, t.node.queue.Milestones, benchWorkspace, benchExtraction, func(_, of int64) {
		if of > 0 && atDispatched == nil {
			atDispatched, _, _ = t.used() // a process that is gone shows below
		}
	})
	if err != nil {
		return nil, fmt.Errorf("wait for the loads: %w", err)
	}
	after, serversAfter, err := t.used()
	if err != nil {
		return nil, err
	}
	if e.failure != nil {
		return nil, fmt.Errorf("%s: %s", e.failure.Reason, e.failure.Message)
	}
	m, err := accountBench(ctx, t.node.queue, k, s, e)
	if err != nil {
		return nil, err
	}
	dispatched := e.dispatched
	if dispatched.After(e.ended) {
		dispatched = e.ended // the last object of few may be there before it is known that all were dispatched
	}
	m.Wall, m.CPU = e.ended.Sub(pub.Began).Seconds(), sumCPU(after)-sumCPU(before)
	m.ServerCPU = serversAfter.CPU - serversBefore.CPU
	for i, p := range after {
		p.CPU -= before[i].CPU
		m.Processes = append(m.Processes, p)
		if i > 0 { // the extractor is not loadfleet's to bound
			m.PeakRSS = max(m.PeakRSS, p.PeakRSS)
		}
	}
	m.Stages = []stage{
		{Name: "publish", Wall: pub.Ended.Sub(pub.Began).Seconds(), CPU: sumCPU(atPublished) - sumCPU(before)},
		{Name: "dispatch", Wall: dispatched.Sub(pub.Ended).Seconds(), CPU: sumCPU(atDispatched) - sumCPU(atPublished)},
		{Name: "load", Wall: e.ended.Sub(dispatched).Seconds(), CPU: sumCPU(after) - sumCPU(atDispatched)},
	}
	return m, nil
}

// accountBench checks the loads' outcomes: every row once, every load loaded. It
// finds out when the last one ended.
func accountBench(ctx context.Context, q *queue.Queue, k kind, s *source, e *ending) (*measurement, error) {
	a, err := accountFor(ctx, q, benchWorkspace, benchExtraction)
	if err != nil {
		return nil, err
	}
	loads := int64(len(a.Outcomes))
	if loads != e.plan.Loads || a.Results[messages.Loaded] != loads || a.Rows != s.Rows || e.plan.Rows != s.Rows {
		return nil, fmt.Errorf("%d rows published; %d rows in %d loads planned; %d rows in %d outcomes, %v",
			s.Rows, e.plan.Rows, e.plan.Loads, a.Rows, loads, a.Results)
	}
	var d quiet.Digest
	for _, o := range a.Outcomes {
		var sum [32]byte
		if n, err := hex.Decode(sum[:], []byte(o.SHA256)); err != nil || n != len(sum) {
			return nil, fmt.Errorf("the outcome of %s has no SHA-256", o.Key)
		}
		d.Add(o.Key, sum)
		if o.Ended.After(e.ended) {
			e.ended = o.Ended
		}
	}
	return &measurement{kind: k, Rows: s.Rows, Objects: loads, BytesOut: a.Bytes, Digest: d.String()}, nil
}

// applyBenchDestination stores the destination: a file per day and account.
func applyBenchDestination(ctx context.Context, n *node, format encoding.Format) error {
	document, err := json.Marshal(map[string]any{
		"id": benchBucket, "title": "bench", "connection_option": "access_keys",
		"access_key_id": n.accessKey, "secret_access_key": n.secretKey,
		"region": "us-east-1", "endpoint": n.s3.Endpoint(), "path_style": true, "bucket": benchBucket,
		"folder": "/date={{YYYY}}-{{MM}}-{{DD}}", "file_name": "{{account}}", "file_format": format,
		"partition_by": "day", "load_by_account": true, "encryption": "sse-s3", "workspaces": []string{benchWorkspace},
	})
	if err != nil {
		return err
	}
	s, err := destination.Parse(document, destination.OSResolver())
	if err != nil {
		return err
	}
	sealed, err := n.keyring.Seal(s)
	if err != nil {
		return err
	}
	_, err = n.queue.Destinations().Put(ctx, s.ID, sealed, 0)
	return err
}

// runPinned runs a command on so many cores and reads the JSON that it prints.
func runPinned(c *exec.Cmd, cores int, into any) error {
	var out, said bytes.Buffer
	c.Stdout, c.Stderr = &out, &said
	c.Env = append(os.Environ(), fmt.Sprintf("GOMAXPROCS=%d", cores), fmt.Sprintf("POLARS_MAX_THREADS=%d", cores))
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.WaitDelay = 30 * time.Second
	if err := startPinned(c, cores); err != nil {
		return err
	}
	if err := c.Wait(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(said.String()))
	}
	if err := json.Unmarshal(out.Bytes(), into); err != nil {
		return fmt.Errorf("read what %s measured: %w", filepath.Base(c.Path), err)
	}
	return nil
}

// cpuSeconds is what this process has used, in user and system.
func cpuSeconds() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // RUSAGE_SELF is never refused
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
