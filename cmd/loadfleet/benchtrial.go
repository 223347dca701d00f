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
	"runtime/pprof"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
)

// trial is what one process is to measure: the whole job, once.
type trial struct {
	Source  source          `json:"source"`
	Format  encoding.Format `json:"format"`
	Data    string          `json:"data"`  // the buckets
	Queue   string          `json:"queue"` // JetStream and the node's keys
	Profile string          `json:"profile,omitempty"`
}

// measurement is what one trial took.
type measurement struct {
	Side        string          `json:"side"`
	Format      encoding.Format `json:"format"`
	Cores       int             `json:"cores"`
	Rows        int64           `json:"rows"`
	Objects     int64           `json:"objects"`
	BytesOut    int64           `json:"bytes_out"`
	Wall        float64         `json:"wall_seconds"` // first publish to last object
	CPU         float64         `json:"cpu_seconds"`  // of the process in that time
	PeakRSS     int64           `json:"peak_rss"`     // of the process since its start
	LoadAverage float64         `json:"load_average"` // of the machine, before
	Stages      []stage         `json:"stages,omitempty"`
	Version     string          `json:"version,omitempty"` // of a peer
}

// stage is a part of a trial by the clock. Stages do not overlap; what is done
// in them may: workers start while an extraction is still being dispatched.
type stage struct {
	Name string  `json:"name"`
	Wall float64 `json:"wall_seconds"`
	CPU  float64 `json:"cpu_seconds"` // of the whole process meanwhile
}

// benchTrialCommand is the hidden command by which bench starts itself.
const benchTrialCommand = "bench-trial"

// trial starts a process for one measurement and reads what it took.
func (b *bench) trial(ctx context.Context, format encoding.Format, cores, run int, dir string) (m *measurement, err error) {
	queueDir, err := os.MkdirTemp(b.queueData, "loadfleet-bench-queue-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(queueDir)) }()
	t := trial{Source: b.source, Format: format, Data: filepath.Join(dir, "s3"), Queue: queueDir}
	defer func() { err = errors.Join(err, os.RemoveAll(t.Data)) }()
	if b.profile != "" {
		t.Profile = filepath.Join(b.profile, fmt.Sprintf("%s-%d-%d.pprof", strings.ReplaceAll(string(format), "+", "-"), cores, run+1))
	}
	plan, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := exec.CommandContext(ctx, self, benchTrialCommand)
	c.Stdin = bytes.NewReader(plan)
	m = &measurement{}
	return m, runPinned(c, cores, m)
}

// runPinned runs a command on so many cores and reads the JSON that it prints.
func runPinned(c *exec.Cmd, cores int, into any) error {
	var out, said bytes.Buffer
	c.Stdout, c.Stderr = &out, &said
	c.Env = append(os.Environ(), fmt.Sprintf("GOMAXPROCS=%d", cores))
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

func (p *program) benchTrial() *cobra.Command {
	return &cobra.Command{
		Use:    benchTrialCommand,
		Short:  "One measurement of bench: its plan on standard input, what it took on standard output",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var t trial
			if err := json.NewDecoder(p.in).Decode(&t); err != nil {
				return usage(err)
			}
			m, err := p.carryOut(cmd.Context(), &t, p.logger(zapcore.ErrorLevel))
			if err != nil {
				return err
			}
			return json.NewEncoder(p.out).Encode(m)
		},
	}
}

const benchBucket = "bench"

// carryOut runs the job of a trial in this process.
func (p *program) carryOut(ctx context.Context, t *trial, log *zap.Logger) (m *measurement, err error) {
	n, err := startNode(ctx, nodeConfig{dir: t.Queue, s3Dir: t.Data, buckets: []string{benchBucket}}, log)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, n.close()) }()
	if err := t.apply(ctx, n); err != nil {
		return nil, err
	}
	rows, err := os.Open(t.Source.Path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	pub := &publication{
		commit: messages.Commit{
			Extraction: "bench", Destination: benchBucket, WorkspaceID: "ws1", Filename: "rows", Schema: t.Source.Schema,
			DateColumn: t.Source.DateColumn, AccountColumn: t.Source.AccountColumn, Generation: 1,
		},
		format: t.Source.Format, packed: t.Source.Packed, read: rows,
	}
	if t.Profile != "" {
		f, err := os.Create(t.Profile)
		if err != nil {
			return nil, err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		defer func() {
			pprof.StopCPUProfile()
			err = errors.Join(err, f.Close())
		}()
	}
	return p.clock(ctx, n, pub)
}

// apply stores the destination: a file per day and account.
func (t *trial) apply(ctx context.Context, n *node) error {
	document, err := json.Marshal(map[string]any{
		"id": benchBucket, "title": "bench", "connection_option": "access_keys",
		"access_key_id": n.accessKey, "secret_access_key": n.secretKey,
		"region": "us-east-1", "endpoint": n.s3.Endpoint(), "path_style": true, "bucket": benchBucket,
		"folder": "/date={{YYYY}}-{{MM}}-{{DD}}", "file_name": "{{account}}", "file_format": t.Format,
		"partition_by": "day", "load_by_account": true, "encryption": "sse-s3", "workspaces": []string{"ws1"},
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

// clock publishes, waits for the last object, and checks what is in the bucket
// by the loads' outcomes.
func (p *program) clock(ctx context.Context, n *node, pub *publication) (*measurement, error) {
	started, cpu := time.Now(), cpuSeconds()
	rows, err := p.send(ctx, n.queue, pub)
	if err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	published, cpuPublished := time.Now(), cpuSeconds()
	var cpuDispatched float64
	e, err := follow(ctx, n.queue, pub.commit.WorkspaceID, pub.commit.Extraction, func(_, of int64) {
		if of > 0 && cpuDispatched == 0 {
			cpuDispatched = cpuSeconds()
		}
	})
	cpuEnded := cpuSeconds()
	if err != nil {
		return nil, fmt.Errorf("wait for the loads: %w", err)
	}
	if e.failure != nil {
		return nil, fmt.Errorf("%s: %s", e.failure.Reason, e.failure.Message)
	}
	peak, err := peakRSS()
	if err != nil {
		return nil, err
	}
	a, err := accountFor(ctx, n.queue, pub.commit.WorkspaceID, pub.commit.Extraction)
	if err != nil {
		return nil, err
	}
	loads := int64(len(a.Outcomes))
	if loads != e.plan.Loads || a.Results[messages.Loaded] != loads || a.Rows != rows || e.plan.Rows != rows {
		return nil, fmt.Errorf("%d rows published; %d rows in %d loads planned; %d rows in %d outcomes, %v",
			rows, e.plan.Rows, e.plan.Loads, a.Rows, loads, a.Results)
	}
	// The last object of few may be there before it is known that all were dispatched.
	dispatched := e.dispatched
	if dispatched.After(e.ended) {
		dispatched = e.ended
	}
	return &measurement{
		Rows: rows, Objects: loads, BytesOut: a.Bytes, PeakRSS: peak,
		Wall: e.ended.Sub(started).Seconds(), CPU: cpuEnded - cpu,
		Stages: []stage{
			{"publish", published.Sub(started).Seconds(), cpuPublished - cpu},
			{"dispatch", dispatched.Sub(published).Seconds(), cpuDispatched - cpuPublished},
			{"load", e.ended.Sub(dispatched).Seconds(), cpuEnded - cpuDispatched},
		},
	}, nil
}

// cpuSeconds is what this process has used, in user and system.
func cpuSeconds() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // RUSAGE_SELF is never refused
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
