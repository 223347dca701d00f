package dispatcher

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
)

var nasty = []string{"a", "A", "..", ".", "a/b", `a\b`, "50%", "%2F", "a b ", " a", "Müller", "😀", "x\ny", "'", "a,b", "_a", "日本", "0", "00"}

// randomChunks is rows of random days and accounts, cut at random. n counts
// all of them, so that a row tells its place in the extraction.
func randomChunks(t *testing.T, rng *rand.Rand, rows int) (whole *encoding.Rows, chunks []*encoding.Rows) {
	t.Helper()
	var text []byte
	for i := range rows {
		day, account := fmt.Sprintf("%q", fmt.Sprintf("2024-%02d-%02d", 1+rng.IntN(3), 1+rng.IntN(28))), fmt.Sprintf("%q", nasty[rng.IntN(len(nasty))])
		if rng.IntN(10) == 0 {
			day = "null"
		}
		text = fmt.Appendf(text, `{"day":%s,"account":%s,"n":%d}`+"\n", day, account, i)
	}
	var all []*encoding.Rows
	d := encoding.NewDecoder(commitOf("e").Schema, encoding.DecodeOptions{}, func(r *encoding.Rows) error { all = append(all, r); return nil })
	if _, err := d.Decode(1, encoding.NDJSONInput, encoding.Plain, bytes.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	if err := d.Flush(); err != nil {
		t.Fatal(err)
	}
	whole = encoding.Concat(all...)
	for from := 0; from < rows; {
		to := min(from+1+rng.IntN(rows/20+1), rows)
		chunks = append(chunks, whole.Slice(from, to))
		from = to
	}
	return whole, chunks
}

// made is a load as it would be dispatched: its key and the bytes of its file.
type made struct{ Key, File string }

func makeAll(t *testing.T, p *plan, onDisk scratch, chunks []*encoding.Rows) []made {
	t.Helper()
	c := commitOf("e")
	ps, err := newPartitions(&c, p, onDisk)
	if err != nil {
		t.Fatal(err)
	}
	add(t, ps, chunks)
	var all []made
	for part, rows := range ps.all() {
		var merger encoding.Merger
		for r, err := range rows {
			if err != nil {
				t.Fatal(err)
			}
			merger.Add(r.from, r.row, r.end)
		}
		whole := merger.Merged()
		if int64(whole.Len()) != part.rows {
			t.Errorf("%s: got %d rows, and it counts %d", part.key, whole.Len(), part.rows)
		}
		all = append(all, made{part.key, file(t, whole)})
	}
	if left, err := os.ReadDir(onDisk.dir); err != nil || len(left) != 0 {
		t.Errorf("scratch: got %v, %v, want no file", left, err)
	}
	if err := ps.close(); err != nil {
		t.Fatal(err)
	}
	return all
}

// add arranges chunks and keeps them, all but the last two on disk.
func add(t *testing.T, ps *partitions, chunks []*encoding.Rows) {
	t.Helper()
	for i, rows := range chunks {
		a, err := ps.arrange(rows)
		if err != nil {
			t.Fatal(err)
		}
		r := ps.scratch.inMemory(a)
		if i < len(chunks)-2 {
			if r, err = ps.scratch.onDisk(a); err != nil {
				t.Fatal(err)
			}
		}
		if err := ps.keep([]*run{r}); err != nil {
			t.Fatal(err)
		}
	}
}

// arranged is rows of one group.
func arranged(rows *encoding.Rows) *encoding.Arrangement {
	return rows.Arrange(make([]int32, rows.Len()), []int32{0})
}

// However rows are cut into chunks and blocks, and whether they are spilled:
// the same keys in order, each with the same rows in extraction order.
func TestP5PartitionsDoNotDependOnMemory(t *testing.T) {
	for seed := range uint64(12) {
		rng := rand.New(rand.NewPCG(seed, 1))
		p := &plan{PinnedPlan: messages.PinnedPlan{
			Bucket: "b", Folder: "/f", FileName: "{{account}}-{{YYYY}}{{MM}}{{DD}}", File: messages.FileSpec{Format: encoding.JSON}, By: string(destination.ByDay),
			Account: true, Undated: string(destination.DateByLoad), Schema: commitOf("e").Schema, Time: time.Unix(1718712917, 0),
		}}
		whole, chunks := randomChunks(t, rng, 1+rng.IntN(4000))
		want := makeAll(t, p, scratch{dir: t.TempDir()}, []*encoding.Rows{whole})
		if !slices.IsSortedFunc(want, func(a, b made) int { return strings.Compare(a.Key, b.Key) }) {
			t.Errorf("seed %d: keys are not in order", seed)
		}
		for _, blockBytes := range []int64{1, 300, 1 << 20} {
			for _, textBytes := range []int64{0, 2000, 1 << 20} {
				got := makeAll(t, p, scratch{dir: t.TempDir(), blockBytes: blockBytes, textBytes: textBytes}, chunks)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatalf("seed %d, %d chunks, blocks of %d, texts of %d (-want +got):\n%s", seed, len(chunks), blockBytes, textBytes, diff)
				}
			}
		}
	}
}

// Runs are merged, so that few files are open however many chunks there are.
func TestScratchStaysSmall(t *testing.T) {
	_, chunks := randomChunks(t, rand.New(rand.NewPCG(1, 2)), 300)
	s := scratch{dir: t.TempDir(), blockBytes: 100, book: encoding.NewCodebook(chunks[0].Schema(), 0)}
	defer s.close()
	for i := range 600 {
		r, err := s.onDisk(arranged(chunks[i%len(chunks)]))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.keep([]int32{0}, r); err != nil {
			t.Fatal(err)
		}
		if len(s.runs) > 3*fanIn {
			t.Fatalf("after %d chunks: got %d runs", i, len(s.runs))
		}
	}
}

func TestScratchErrors(t *testing.T) {
	_, chunks := randomChunks(t, rand.New(rand.NewPCG(1, 2)), 300)
	none := scratch{dir: t.TempDir() + "/none", blockBytes: 1}
	if _, err := none.onDisk(arranged(chunks[0])); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: got %v, want ErrNotExist", err)
	}
	s := scratch{dir: t.TempDir(), blockBytes: 1, book: encoding.NewCodebook(chunks[0].Schema(), 0)}
	r, err := s.onDisk(arranged(chunks[0]))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.keep([]int32{0}, r); err != nil {
		t.Fatal(err)
	}
	if err := s.runs[0].file.Truncate(10); err != nil {
		t.Fatal(err)
	}
	var last error
	for _, err := range s.rows(0) {
		last = err
	}
	if last == nil {
		t.Error("a truncated file: got no error")
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
}
