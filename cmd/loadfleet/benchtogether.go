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
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap/zapcore"
)

// togetherPlan is what a process that does everything is to measure.
type togetherPlan struct {
	Kind    kind    `json:"kind"`
	Source  *source `json:"source"`
	Data    string  `json:"data"`  // the buckets
	Queue   string  `json:"queue"` // JetStream and the node's keys
	Profile string  `json:"profile,omitempty"`
}

const benchTogetherCommand = "bench-together"

// together measures the whole job in one process, as `loadfleet up` runs it:
// the servers' share is in its figures.
func (b *bench) together(ctx context.Context, k kind, s *source, dir string) (list []measurement, err error) {
	queueDir, err := os.MkdirTemp(b.queueData, "loadfleet-bench-queue-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(queueDir)) }()
	plan := togetherPlan{Kind: k, Source: s, Data: filepath.Join(dir, "s3"), Queue: queueDir}
	defer func() { err = errors.Join(err, os.RemoveAll(plan.Data)) }()
	if b.profile != "" {
		plan.Profile = filepath.Join(b.profile, "together.pprof")
	}
	text, err := json.Marshal(plan)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := exec.CommandContext(ctx, self, benchTogetherCommand)
	c.Stdin = bytes.NewReader(text)
	list = make([]measurement, 1)
	return list, runPinned(c, k.Cores, &list[0])
}

func (p *program) benchTogether() *cobra.Command {
	return &cobra.Command{
		Use:    benchTogetherCommand,
		Short:  "One measurement in one process: its plan on standard input, what it took on standard output",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var plan togetherPlan
			if err := json.NewDecoder(p.in).Decode(&plan); err != nil {
				return usage(err)
			}
			m, err := p.carryOut(cmd.Context(), &plan)
			if err != nil {
				return err
			}
			return json.NewEncoder(p.out).Encode(m)
		},
	}
}

// carryOut runs the job in this process.
func (p *program) carryOut(ctx context.Context, t *togetherPlan) (m *measurement, err error) {
	n, err := startNode(ctx, nodeConfig{
		dir: t.Queue, s3Dir: t.Data, buckets: []string{benchBucket},
		quiet: t.Kind.Endpoint == endpointQuiet, unsynced: t.Kind.Sync == syncDefault,
	}, p.logger(zapcore.ErrorLevel))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, n.close()) }()
	if err := applyBenchDestination(ctx, n, t.Kind.Format); err != nil {
		return nil, err
	}
	if t.Profile != "" {
		stop, failed := profileTo(t.Profile)
		if failed != nil {
			return nil, failed
		}
		defer func() { err = errors.Join(err, stop()) }()
	}
	began, cpu := time.Now(), cpuSeconds()
	if err := t.Source.publish(ctx, n.queue, benchExtraction); err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	ended, cpuPublished := time.Now(), cpuSeconds()
	var cpuDispatched float64
	e, err := followEvents(ctx, n.queue.Milestones, benchWorkspace, benchExtraction, func(_, of int64) {
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
	if m, err = accountBench(ctx, n.queue, t.Kind, t.Source, e); err != nil {
		return nil, err
	}
	dispatched := e.dispatched
	if dispatched.After(e.ended) {
		dispatched = e.ended
	}
	m.Wall, m.CPU, m.PeakRSS = e.ended.Sub(began).Seconds(), cpuEnded-cpu, peak
	m.Stages = []stage{
		{Name: "publish", Wall: ended.Sub(began).Seconds(), CPU: cpuPublished - cpu},
		{Name: "dispatch", Wall: dispatched.Sub(ended).Seconds(), CPU: cpuDispatched - cpuPublished},
		{Name: "load", Wall: e.ended.Sub(dispatched).Seconds(), CPU: cpuEnded - cpuDispatched},
	}
	return m, nil
}
