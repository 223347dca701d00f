package dispatcher

import (
	"fmt"
	"runtime/metrics"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
)

// BenchmarkMemory gathers and walks 300 MB of columns within 64 MiB, and
// reports the highest heap seen:
//
//	go test ./dispatcher -run '^$' -bench Memory -benchtime 1x
func BenchmarkMemory(b *testing.B) {
	const columnBytes = 300 << 20
	cfg := Config{MemoryBytes: 64 << 20, ScratchDir: b.TempDir()}.withDefaults()
	c := commitOf("e")
	columns := append(c.Schema.Columns(), encoding.Column{Name: "text", Type: encoding.Type{Kind: encoding.String}})
	schema, err := encoding.NewSchema(columns)
	if err != nil {
		b.Fatal(err)
	}
	var text strings.Builder
	b.ReportAllocs()
	for b.Loop() {
		peak := watchHeap()
		p := &plan{PinnedPlan: messages.PinnedPlan{Folder: "/f", FileName: "{{account}}-{{YYYY}}{{MM}}{{DD}}", By: "day", Account: true, Schema: schema, Time: time.Unix(0, 0)}}
		ps, err := newPartitions(&c, p, cfg.scratch())
		if err != nil {
			b.Fatal(err)
		}
		var size int64
		chunks := 0
		d := encoding.NewDecoder(schema, encoding.DecodeOptions{ChunkBytes: cfg.chunkBytes(), Recycle: true}, func(r *encoding.Rows) error {
			size += r.Size()
			chunks++
			a, err := ps.arrange(r)
			if err != nil {
				return err
			}
			on, err := ps.scratch.onDisk(a)
			if err != nil {
				return err
			}
			return ps.keep([]*run{on})
		})
		for n := 0; size < columnBytes; {
			text.Reset()
			for range 5000 {
				n++
				fmt.Fprintf(&text, `{"day":"2024-06-%02d","account":"a%d","n":%d,"text":"%d and some more of it, %d"}`+"\n", 1+n%28, n%40, n, n*7919, n)
			}
			if _, err := d.Decode(1, encoding.NDJSONInput, encoding.Plain, strings.NewReader(text.String())); err != nil {
				b.Fatal(err)
			}
		}
		if err := d.Flush(); err != nil {
			b.Fatal(err)
		}
		gathered := peak()
		peak = watchHeap()
		for _, rows := range ps.all() {
			for _, err := range rows {
				if err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(float64(gathered)/(1<<20), "gather-peak-MiB")
		b.ReportMetric(float64(peak())/(1<<20), "walk-peak-MiB")
		b.ReportMetric(float64(size)/(1<<20), "columns-MiB")
		b.ReportMetric(float64(chunks), "chunks")
		if err := ps.close(); err != nil {
			b.Fatal(err)
		}
	}
}

// watchHeap samples the heap, dead objects included, until the returned func
// is called, which gives the highest value.
func watchHeap() (peak func() uint64) {
	var highest uint64
	stop := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			metrics.Read(sample)
			highest = max(highest, sample[0].Value.Uint64())
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	})
	return func() uint64 {
		close(stop)
		done.Wait()
		return highest
	}
}
