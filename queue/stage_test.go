package queue_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"testing"
	"time"

	"github.com/loadfleet/loadfleet/queue/queuetest"
)

func TestStageHoldsStagedFiles(t *testing.T) {
	f := queuetest.Start(t)
	ctx := within(t, 20*time.Second)
	stage, err := f.OpenStage(ctx)
	must(t, "open", err)
	if _, err := stage.Open(ctx, "ws/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: got %v, want ErrNotExist", err)
	}
	for _, body := range [][]byte{nil, bytes.Repeat([]byte("0123456789abcdef"), 200<<10), []byte("short")} {
		must(t, "put", stage.Put(ctx, "ws/e/1.csv", bytes.NewReader(body)))
		again, err := f.Connect(t).OpenStage(ctx)
		must(t, "open again", err)
		r, err := again.Open(ctx, "ws/e/1.csv")
		must(t, "open file", err)
		got, err := io.ReadAll(r)
		must(t, "read", errors.Join(err, r.Close()))
		if !bytes.Equal(got, body) {
			t.Errorf("got %d bytes, want %d", len(got), len(body))
		}
	}
}
