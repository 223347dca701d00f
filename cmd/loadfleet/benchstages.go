package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/storage"
)

// stagesPlan is what the stages' process reads.
type stagesPlan struct {
	Kind   kind      `json:"kind"`
	Source *source   `json:"source"`
	Dir    string    `json:"dir"` // with the node's keys
	At     serversAt `json:"at"`
}

const (
	benchStagesCommand = "bench-stages"
	benchStagesID      = "stages"

	decodeStage = "decode"
	scanStage   = "duckdb scan" // the peer's
)

// stages measures each stage of the job by itself, one after another over all
// rows: in the job they overlap, and nobody could say whose a second is.
func (b *bench) stages(ctx context.Context, k kind, s *source, dir string) (list []stage, err error) {
	t, err := b.openServers(ctx, k, dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.close()) }()
	if err := applyBenchDestination(ctx, t.node, k.Format); err != nil {
		return nil, err
	}
	plan, err := json.Marshal(stagesPlan{k, s, t.queueDir, t.at})
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := exec.CommandContext(ctx, self, benchStagesCommand)
	c.Stdin = bytes.NewReader(plan)
	return list, runPinned(c, k.Cores, &list)
}

func (p *program) benchStages() *cobra.Command {
	return &cobra.Command{
		Use:    benchStagesCommand,
		Short:  "The stages of a job, one by one: the plan on standard input, what each took on standard output",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			var plan stagesPlan
			if err := json.NewDecoder(p.in).Decode(&plan); err != nil {
				return usage(err)
			}
			n, err := openNode(cmd.Context(), p, plan.Dir, plan.At)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, n.close()) }()
			run := stageRun{stagesPlan: plan, node: n}
			if err := run.all(cmd.Context()); err != nil {
				return err
			}
			return json.NewEncoder(p.out).Encode(run.list)
		},
	}
}

// stageRun carries what one stage leaves to the next.
type stageRun struct {
	stagesPlan
	node  *node
	list  []stage
	rows  []*encoding.Rows // decoded
	parts []benchPartition
}

// benchPartition is the rows of one object on their way through the stages.
type benchPartition struct {
	key     string
	rows    []*encoding.Rows
	n       int64
	payload []byte
	file    []byte
	sum     [sha256.Size]byte
}

func (r *stageRun) all(ctx context.Context) error {
	for _, s := range []struct {
		name string
		run  func(context.Context) (bytes int64, err error)
	}{
		{decodeStage, r.decode}, {"split", r.split}, {"queue write", r.write}, {"queue read", r.read}, {"encode", r.encode}, {"put", r.put},
	} {
		if err := r.clock(ctx, s.name, s.run); err != nil {
			return fmt.Errorf("stage %s: %w", s.name, err)
		}
	}
	return nil
}

// clock measures one stage. What the stage before left to the collector is
// collected before.
func (r *stageRun) clock(ctx context.Context, name string, run func(context.Context) (int64, error)) error {
	runtime.GC()
	if err := resetPeakRSS(); err != nil {
		return err
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began, cpu := time.Now(), cpuSeconds()
	n, err := run(ctx)
	if err != nil {
		return err
	}
	s := stage{Name: name, Wall: time.Since(began).Seconds(), CPU: cpuSeconds() - cpu, Bytes: n}
	runtime.ReadMemStats(&after)
	s.Allocs, s.AllocBytes = after.Mallocs-before.Mallocs, after.TotalAlloc-before.TotalAlloc
	if s.PeakRSS, err = peakRSS(); err != nil {
		return err
	}
	r.list = append(r.list, s)
	return nil
}

// decode unpacks the batches and scans them into columns, on one core.
func (r *stageRun) decode(context.Context) (int64, error) {
	f, err := os.ReadFile(r.Source.Packed)
	if err != nil {
		return 0, err
	}
	d := encoding.NewDecoder(r.Source.Schema, encoding.DecodeOptions{}, func(rows *encoding.Rows) error {
		r.rows = append(r.rows, rows)
		return nil
	})
	for i, piece := range r.Source.Pieces {
		if _, err := d.Decode(i+1, r.Source.Format, encoding.Zstd, bytes.NewReader(f[:piece.Bytes])); err != nil {
			return 0, err
		}
		f = f[piece.Bytes:]
	}
	return r.Source.Bytes, d.Flush()
}

// split groups the rows by rendered key and gathers each group's.
func (r *stageRun) split(context.Context) (size int64, err error) {
	date, _ := r.Source.Schema.Index(r.Source.DateColumn)
	account, _ := r.Source.Schema.Index(r.Source.AccountColumn)
	naming, err := (&destination.Settings{
		Folder: "/date={{YYYY}}-{{MM}}-{{DD}}", FileName: "{{account}}", FileFormat: r.Kind.Format,
		PartitionBy: destination.ByDay, LoadByAccount: true,
	}).Naming()
	if err != nil {
		return 0, err
	}
	ids := map[string]int32{}
	for _, rows := range r.rows {
		group, err := rows.Group(date, account, func(day int32, _ bool, account string, _ bool) (int32, error) {
			key, err := naming.Key(destination.Names{Filename: "rows"}, day, account)
			if err != nil {
				return 0, err
			}
			id, ok := ids[key]
			if !ok {
				id = int32(len(r.parts))
				ids[key] = id
				r.parts = append(r.parts, benchPartition{key: key})
			}
			return id, nil
		})
		if err != nil {
			return 0, err
		}
		for id, part := range rows.Split(group, len(r.parts)) {
			if part != nil {
				r.parts[id].rows = append(r.parts[id].rows, part)
				r.parts[id].n += int64(part.Len())
			}
		}
		size += rows.Size()
	}
	r.rows = nil
	return size, nil
}

// write packs each partition's rows and dispatches its load.
func (r *stageRun) write(ctx context.Context) (size int64, err error) {
	out := r.node.queue.Dispatch(ctx, benchWorkspace, benchStagesID, "plan")
	var packer encoding.RowsPacker
	for i := range r.parts {
		p := &r.parts[i]
		packed, unpacked, err := packer.Pack(encoding.Concat(p.rows...))
		if err != nil {
			return 0, err
		}
		p.payload, p.rows = bytes.Clone(packed), nil
		size += int64(len(p.payload))
		sum := sha256.Sum256(p.payload)
		load := &messages.Load{
			Version: messages.Version, ID: messages.LoadID(benchWorkspace, benchStagesID, benchBucket, p.key),
			Workspace: benchWorkspace, Destination: benchBucket, Extraction: benchStagesID, Lane: messages.Fresh, Generation: 1,
			Bucket: benchBucket, Key: p.key, File: messages.FileSpec{Format: r.Kind.Format, Separator: r.separator()}, Rows: p.n, Time: time.Now().UTC(),
			Inline: &messages.RowsRef{Bytes: int64(len(p.payload)), Packed: encoding.PackedColumns, Unpacked: int64(unpacked), SHA256: hex.EncodeToString(sum[:])},
		}
		if err := out.Add(ctx, load, p.payload); err != nil {
			return 0, err
		}
	}
	return size, out.Close(ctx)
}

func (r *stageRun) separator() encoding.Separator {
	if r.Kind.Format == encoding.CSV || r.Kind.Format == encoding.CSVGzip {
		return encoding.Comma
	}
	return ""
}

// read takes every load back and settles it with an outcome.
func (r *stageRun) read(ctx context.Context) (size int64, err error) {
	loads, err := r.node.queue.Loads(ctx, queue.LoadsConfig{})
	if err != nil {
		return 0, err
	}
	defer loads.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	unpackers := sync.Pool{New: func() any { return new(encoding.RowsUnpacker) }}
	var mu sync.Mutex
	left := len(r.parts)
	r.each(r.Kind.slots(), func() bool {
		mu.Lock()
		left--
		ours := left >= 0
		mu.Unlock()
		if !ours {
			return false
		}
		d, err := loads.Next(ctx)
		if err == nil {
			unpacker := unpackers.Get().(*encoding.RowsUnpacker)
			_, err = unpacker.Unpack(d.Load.Inline.Packed, d.Payload)
			unpackers.Put(unpacker)
		}
		if err == nil {
			err = d.Done(ctx, messages.Outcome{
				Load: d.ID, Result: messages.Loaded, Bucket: benchBucket, Key: d.Load.Key, Format: string(r.Kind.Format),
				Rows: d.Load.Rows, Generation: 1, Attempts: 1, Worker: "bench", Started: time.Now().UTC(), Ended: time.Now().UTC(),
			})
		}
		if err != nil {
			cancel(err)
			return false
		}
		mu.Lock()
		size += int64(len(d.Payload))
		mu.Unlock()
		return true
	})
	return size, context.Cause(ctx)
}

// each runs do on so many goroutines until it says that there is no more.
func (r *stageRun) each(n int, do func() bool) {
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for do() {
			}
		})
	}
	wg.Wait()
}

// encode writes each load's file, on one core.
func (r *stageRun) encode(context.Context) (size int64, err error) {
	var out bytes.Buffer
	var unpacker encoding.RowsUnpacker
	for i := range r.parts {
		p := &r.parts[i]
		rows, err := unpacker.Unpack(encoding.PackedColumns, p.payload)
		if err != nil {
			return 0, err
		}
		out.Reset()
		w, err := encoding.NewWriter(&out, rows.Schema(), encoding.FileOptions{Format: r.Kind.Format, Separator: r.separator()})
		if err != nil {
			return 0, err
		}
		if err := errors.Join(w.Write(rows), w.Close()); err != nil {
			return 0, err
		}
		p.payload, p.file = nil, bytes.Clone(out.Bytes())
		p.sum = sha256.Sum256(p.file)
		size += int64(len(p.file))
	}
	return size, nil
}

// put puts the finished files, as many at a time as a worker does.
func (r *stageRun) put(ctx context.Context) (size int64, err error) {
	s, err := r.settings(ctx)
	if err != nil {
		return 0, err
	}
	store, err := storage.OpenDestination(ctx, s, storage.Config{Connections: r.Kind.slots()})
	if err != nil {
		return 0, err
	}
	defer store.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex
	next := 0
	r.each(r.Kind.slots(), func() bool {
		mu.Lock()
		i := next
		next++
		mu.Unlock()
		if i >= len(r.parts) {
			return false
		}
		p := &r.parts[i]
		_, err := store.Put(ctx, benchBucket, storage.Object{
			Key: p.key, ContentType: r.Kind.Format.ContentType(), Body: bytes.NewReader(p.file), Size: int64(len(p.file)), SHA256: p.sum,
			Meta: storage.Meta{Load: messages.LoadID(benchWorkspace, benchStagesID, benchBucket, p.key), Extraction: benchStagesID, Generation: 1, Rows: p.n},
		}, storage.IfAbsent())
		if err != nil {
			cancel(err)
			return false
		}
		mu.Lock()
		size += int64(len(p.file))
		mu.Unlock()
		return true
	})
	return size, context.Cause(ctx)
}

func (r *stageRun) settings(ctx context.Context) (*destination.Settings, error) {
	stored, err := r.node.queue.Destinations().Get(ctx, benchBucket)
	if err != nil {
		return nil, err
	}
	return r.node.keyring.Open(stored.Document)
}
