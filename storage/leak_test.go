package storage_test

import (
	"bytes"
	"runtime/pprof"
	"testing"

	"github.com/loadfleet/loadfleet/storage"
	"github.com/loadfleet/loadfleet/storage/storagetest"
)

// TestCloseLeavesNoGoroutine compares the goroutines of net/http clients and
// of this package before a store is used and after it is closed.
func TestCloseLeavesNoGoroutine(t *testing.T) {
	a, bucket := rootAccess(), newBucket(t)
	s, err := storage.Open(t.Context(), a, quick())
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	for range 3 {
		storagetest.Put(t, s, bucket, storagetest.NewObject("leak.csv", "x", large), storage.Always())
	}
	s.Close()
	for attempt := 0; ; attempt++ {
		var stacks bytes.Buffer
		if err := pprof.Lookup("goroutine").WriteTo(&stacks, 1); err != nil {
			t.Fatalf("read goroutines: %v", err)
		}
		left := bytes.Count(stacks.Bytes(), []byte("net/http.(*persistConn)")) + bytes.Count(stacks.Bytes(), []byte("storage.(*upload)"))
		if left == 0 {
			return
		}
		if attempt == 100 {
			t.Fatalf("goroutines left behind:\n%s", stacks.String())
		}
		// The connections close by themselves; reading the stacks again is
		// the only event there is.
	}
}
