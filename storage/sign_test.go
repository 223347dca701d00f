package storage_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/loadfleet/loadfleet/storage"
	"github.com/loadfleet/loadfleet/storage/storagetest"
)

// TestP4OldDecisionsAreRefused: a write is signed as of the look that it is
// based on, so that the store refuses it 15 minutes later, however it was held
// up.
func TestP4OldDecisionsAreRefused(t *testing.T) {
	s := open(t, rootAccess(), quick())
	bucket := newBucket(t)
	o := storagetest.NewObject("old.csv", "x", small)
	_, err := s.Put(t.Context(), bucket, o, storage.IfAbsent().Since(time.Now().Add(-16*time.Minute)))
	storagetest.ExpectError(t, "put", err, storage.ErrUnavailable)
	storagetest.ExpectAbsent(t, s, bucket, o.Key)
	stored := storagetest.Put(t, s, bucket, o, storage.IfAbsent().Since(time.Now().Add(-10*time.Minute)))
	large := storagetest.NewObject(o.Key, "y", large)
	old := storage.IfMatch(stored.ETag).Since(time.Now().Add(-16 * time.Minute))
	_, err = s.Put(t.Context(), bucket, large, old)
	storagetest.ExpectError(t, "completion", err, storage.ErrUnavailable)
	storagetest.ExpectError(t, "delete", s.Delete(t.Context(), bucket, o.Key, old), storage.ErrUnavailable)
	stale := stored
	stale.Looked = time.Now().Add(-16 * time.Minute)
	_, err = s.Restamp(t.Context(), bucket, o.Key, stale, o.Meta)
	storagetest.ExpectError(t, "restamp", err, storage.ErrUnavailable)
	storagetest.Expect(t, s, bucket, o)
	storagetest.ExpectNoUploads(t, s, bucket)
}

// TestP4EachRequestAsks: a writer that lost its load sends not one request
// more, in the middle of an upload neither.
func TestP4EachRequestAsks(t *testing.T) {
	s := open(t, rootAccess(), quick())
	bucket := newBucket(t)
	lost := errors.New("the lease is lost")
	for n := range 5 {
		var asked atomic.Int64 // parts ask at the same time
		ctx := storage.WithPermit(t.Context(), func() error {
			if asked.Add(1) > int64(n) {
				return lost
			}
			return nil
		})
		o := storagetest.NewObject("asked.csv", "x", 11<<20) // created, two or three parts, completed
		if _, err := s.Put(ctx, bucket, o, storage.IfAbsent()); !errors.Is(err, lost) {
			t.Errorf("lost before request %d: got %v, want %v", n+1, err, lost)
		}
		if more := int(asked.Load()) - n; more > 3 {
			t.Errorf("asked %d times after it was lost", more)
		}
		storagetest.ExpectAbsent(t, s, bucket, o.Key)
		storagetest.ExpectNoUploads(t, s, bucket)
	}
}
