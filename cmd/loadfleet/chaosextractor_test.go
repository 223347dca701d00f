package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
)

// extractors publish extractions until they are told to stop. Which ones, and
// how they misbehave, is the seed's.
type extractors struct {
	world  *chaosWorld
	done   sync.WaitGroup
	mu     sync.Mutex
	random *rand.Rand
	made   int
	last   map[string][]*chaosExtraction // by destination and table
}

// behaviour is what happens to an extractor on its way.
type behaviour struct {
	e         *chaosExtraction
	crashes   []int // batches after which it dies, one a try; the next begins again
	abandon   bool  // nobody begins again after the last crash
	restart   bool  // after the first crash it comes with other rows
	again     bool  // it publishes all of it once more when it is committed
	contrary  bool  // and once more with other rows, which must count for nothing
	process   bool  // it is the command of the program, and dies by kill -9
	dies      time.Duration
	holds     time.Duration // before it commits, so that newer ones overtake it
	batchRows int
}

func newExtractors(w *chaosWorld) *extractors {
	return &extractors{world: w, random: rand.New(rand.NewPCG(w.seed, 2)), last: map[string][]*chaosExtraction{}}
}

// run starts n extractors; they end when more does, and end what they began
// unless ctx ends.
func (x *extractors) run(ctx, more context.Context, n int) {
	for range n {
		x.done.Go(func() {
			for more.Err() == nil {
				if err := x.publish(ctx, x.next()); err != nil && ctx.Err() == nil {
					x.world.violations <- fmt.Sprintf("P1: an extractor gave up: %v", err)
				}
			}
		})
	}
}

// next makes up the next extraction.
func (x *extractors) next() behaviour {
	x.mu.Lock()
	defer x.mu.Unlock()
	r := x.random
	x.made++
	t := x.world.targets[r.IntN(len(x.world.targets))]
	e := &chaosExtraction{target: t, table: []string{"ads", "costs"}[r.IntN(2)], content: r.Uint64()}
	e.id = fmt.Sprintf("x%d-%s-%s", r.IntN(1000), t.id, e.table) + fmt.Sprint("-", x.made)
	series := t.id + "/" + e.table
	before := x.last[series]
	e.generation = int64(1 + len(before))
	e.days = r.Perm(chaosDays)[:1+r.IntN(chaosDays)]
	if t.whole {
		e.days = r.Perm(chaosDays)
	}
	if len(before) > 0 {
		other := before[r.IntN(len(before))]
		switch p := r.Float64(); {
		case p < 0.25: // restates what stands there or stood there before
			other.mu.Lock()
			e.content, e.large, e.days = other.content, other.large, slices.Clone(other.days)
			other.mu.Unlock()
		case p < 0.30:
			e.generation = other.generation
		}
	}
	if r.Float64() < 0.04 {
		e.large, e.days = true, e.days[:1]
	}
	e.poison = !e.large && r.Float64() < 0.04
	b := behaviour{e: e, batchRows: 1 + r.IntN(30)}
	for r.Float64() < 0.25 {
		b.crashes = append(b.crashes, r.IntN(4))
	}
	if len(b.crashes) > 0 {
		b.abandon, b.restart = r.Float64() < 0.1, !e.large && r.Float64() < 0.2
	}
	b.again, b.contrary = r.Float64() < 0.1, r.Float64() < 0.05
	if b.process = !e.poison && !b.restart && r.Float64() < 0.06; b.process {
		b.dies = time.Duration(r.IntN(600)) * time.Millisecond
	}
	if r.Float64() < 0.25 {
		b.holds = time.Duration(r.IntN(2500)) * time.Millisecond
	}
	if e.large {
		b.batchRows = 300 + r.IntN(300)
	}
	x.last[series] = append(before, e)
	x.world.mu.Lock()
	x.world.extractions = append(x.world.extractions, e)
	x.world.mu.Unlock()
	return b
}

// publish sees an extraction through all that happens to its extractor.
func (x *extractors) publish(ctx context.Context, b behaviour) error {
	if b.process {
		return x.command(ctx, b)
	}
	pause(ctx, b.holds)
	for i, after := range b.crashes {
		x.world.counts.add("extractor died between batches")
		if err := x.attempt(ctx, b, after); err != nil {
			return err
		}
		if i == 0 && b.restart {
			x.world.counts.add("extractor began again with other rows")
			b.e.mu.Lock()
			b.e.content++
			b.e.mu.Unlock()
		}
	}
	if b.abandon {
		x.world.counts.add("extraction abandoned")
		return nil
	}
	if err := x.attempt(ctx, b, -1); err != nil {
		return err
	}
	b.e.mu.Lock()
	b.e.acked = true
	b.e.mu.Unlock()
	if b.again {
		x.world.counts.add("extraction published twice")
		if err := x.attempt(ctx, b, -1); err != nil {
			return err
		}
	}
	if b.contrary {
		x.world.counts.add("committed extraction published with other rows")
		b.e = &chaosExtraction{
			id: b.e.id, target: b.e.target, table: b.e.table, generation: b.e.generation + 1, days: b.e.days, content: b.e.content + 7,
		}
		return x.attempt(ctx, b, -1)
	}
	return nil
}

func (x *extractors) commit(e *chaosExtraction) messages.Commit {
	c := messages.Commit{
		WorkspaceID: chaosWorkspace, Extraction: e.id, Destination: e.target.id, Filename: e.table,
		Schema: &x.world.schema, DateColumn: "day", Generation: e.generation, Lane: messages.Fresh,
	}
	if strings.Contains(e.target.form, "load_by_account") {
		c.AccountColumn = "account"
	}
	if e.target.covers {
		c.Covers = &messages.Covers{From: chaosDay(0), To: chaosDay(chaosDays - 1)}
	}
	if e.generation%5 == 0 {
		c.Lane = messages.Backfill
	}
	return c
}

// attempt publishes an extraction from its first batch, with a connection of
// its own. It dies after some batches, or never (-1).
func (x *extractors) attempt(ctx context.Context, b behaviour, dies int) error {
	life, die := context.WithCancel(ctx)
	defer die()
	q, err := x.world.connect(life, "extractor")
	if err != nil {
		return err
	}
	defer func() { _ = q.Close(life) }()
	extraction, err := q.Extract(life, x.commit(b.e))
	if err != nil {
		return err
	}
	rows := b.e.rows()
	n := 0
	for part := range slices.Chunk(rows, b.batchRows) {
		if n == dies {
			die()
			return nil
		}
		body, count := ndjson(part), int64(len(part))
		if b.e.poison && n == 0 {
			body = append(body, `{"day":"2024-01-31","account":"acc0","id":"poison","n":"not a number","note":""}`+"\n"...)
			count++
		}
		batch := messages.Batch{Rows: count, Format: encoding.NDJSONInput, Body: body}
		if n%2 == 1 {
			var packer encoding.Packer
			packed, err := packer.Pack(encoding.Zstd, body)
			if err != nil {
				return err
			}
			batch.Compression, batch.Body = encoding.Zstd, bytes.Clone(packed)
		}
		if err := extraction.Append(life, batch); err != nil {
			return err
		}
		n++
	}
	if dies >= 0 {
		die()
		return nil
	}
	return extraction.Commit(life)
}

// command publishes by the program's own command, in a process that may be
// killed at any moment and is then begun again.
func (x *extractors) command(ctx context.Context, b behaviour) error {
	w, e := x.world, b.e
	file := filepath.Join(w.dir, e.id+".ndjson")
	schema := filepath.Join(w.dir, e.id+".schema.json")
	if err := os.WriteFile(file, ndjson(e.rows()), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(schema, []byte(chaosSchema), 0o600); err != nil {
		return err
	}
	args := []string{"publish", "--destination", e.target.id, "--extraction", e.id, "--workspace", chaosWorkspace, "--table", e.table,
		"--schema", schema, "--date-column", "day", "--generation", fmt.Sprint(e.generation)}
	if c := x.commit(e); c.AccountColumn != "" {
		args = append(args, "--account-column", c.AccountColumn)
	}
	if e.target.covers {
		args = append(args, "--covers-from", chaosDay(0), "--covers-to", chaosDay(chaosDays-1))
	}
	for try := 0; ; try++ {
		p, err := w.start(w.environ(), append(args, file)...)
		if err != nil {
			return err
		}
		life, cancel := context.WithTimeout(ctx, time.Minute)
		if try == 0 && b.dies > 0 {
			cancel()
			life, cancel = context.WithTimeout(ctx, b.dies)
		}
		select {
		case <-p.done:
		case <-life.Done():
			w.counts.add("kill -9 of an extractor")
			_ = p.cmd.Process.Kill()
			<-p.done
		}
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if p.cmd.ProcessState.ExitCode() == exitOK {
			break
		}
		pause(ctx, 300*time.Millisecond) // NATS may be away
	}
	e.mu.Lock()
	e.acked = true
	e.mu.Unlock()
	return nil
}
