package worker_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// logbook keeps what is logged, and lets tests wait for it.
type logbook struct {
	zapcore.Core
	mu      sync.Mutex
	lines   []line
	written chan struct{} // closed and replaced at every line
}

type line struct {
	message string
	fields  map[string]any
	text    string // as a log file has it
}

func newLogbook() *logbook {
	return &logbook{Core: zapcore.NewNopCore(), written: make(chan struct{})}
}

func (b *logbook) Enabled(zapcore.Level) bool { return true }

func (b *logbook) Check(e zapcore.Entry, c *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	return c.AddCore(e, b)
}

func (b *logbook) Write(e zapcore.Entry, fields []zapcore.Field) error {
	text, err := zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()).EncodeEntry(e, fields)
	if err != nil {
		return err
	}
	encoder := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(encoder)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, line{e.Message, encoder.Fields, text.String()})
	close(b.written)
	b.written = make(chan struct{})
	return nil
}

func (b *logbook) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var text strings.Builder
	for _, l := range b.lines {
		text.WriteString(l.text)
	}
	return text.String()
}

// loads gives the loads' lines so far.
func (b *logbook) loads() []line {
	b.mu.Lock()
	defer b.mu.Unlock()
	var found []line
	for _, l := range b.lines {
		if l.message == "load" {
			found = append(found, l)
		}
	}
	return found
}

// verdicts counts the loads' lines by verdict.
func (b *logbook) verdicts() map[string]int {
	n := map[string]int{}
	for _, l := range b.loads() {
		n[fmt.Sprint(l.fields["verdict"])]++
	}
	return n
}

// await waits until n loads' lines have one of the verdicts.
func (b *logbook) await(t testing.TB, n int, verdicts ...string) {
	t.Helper()
	ctx := within(t, 20*time.Second)
	for {
		b.mu.Lock()
		written := b.written
		b.mu.Unlock()
		found := 0
		for _, v := range verdicts {
			found += b.verdicts()[v]
		}
		if found >= n {
			return
		}
		select {
		case <-written:
		case <-ctx.Done():
			t.Fatalf("%d lines %v, want %d: %v; log:\n%s", found, verdicts, n, context.Cause(ctx), b)
		}
	}
}

// reset forgets what was logged.
func (b *logbook) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = nil
}
