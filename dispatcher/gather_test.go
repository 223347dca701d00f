package dispatcher

import (
	"testing"

	"github.com/loadfleet/loadfleet/messages"
)

// The last spans of an extraction are small ones: a reader that is done waits for
// the others no longer than one of those takes. There are a few of them, since each
// becomes a run.
func TestLastSpansAreSmall(t *testing.T) {
	t.Parallel()
	const batch, perBatch = 600_000, 7_000
	for _, readers := range []int{1, 2, 4} {
		for _, batches := range []int64{1, 40, 137, 1_000} {
			g := &gathering{d: &Dispatcher{cfg: Config{MemoryBytes: 256 << 20, Readers: readers}.withDefaults()}, e: &extraction{commit: &messages.Commit{Rows: batches * perBatch}}}
			chunk := g.d.cfg.chunkBytes()
			g.grows.Store(2 * 1024) // bytes of columns for each of bodies
			full := chunk / 2 * 9 / 10
			var spans []int
			size := 0
			for n := range batches {
				size += batch
				if size >= g.spanBytes(size, (n+1)*batch, (n+1)*perBatch) || n == batches-1 {
					spans = append(spans, size)
					size = 0
				}
			}
			if most := batches*batch/full + 3*int64(readers); int64(len(spans)) > most+1 {
				t.Errorf("%d readers, %d batches: %d spans, want at most %d", readers, batches, len(spans), most)
			}
			if last := spans[len(spans)-1]; batches*batch > full && int64(last) > full/3+batch {
				t.Errorf("%d readers, %d batches: the last span has %d bytes, a full one %d", readers, batches, last, full)
			}
		}
	}
}
