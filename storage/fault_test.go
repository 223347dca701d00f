package storage_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/loadfleet/loadfleet/storage"
	"github.com/loadfleet/loadfleet/storage/storagetest"
)

// behind opens a store that reaches the server through a proxy.
func behind(t *testing.T, change func(*storage.Access, *storage.Config)) (*storage.Store, *storagetest.Proxy) {
	t.Helper()
	proxy := storagetest.NewProxy(t, server.Endpoint(), false)
	a, cfg := rootAccess(), quick()
	a.Endpoint = proxy.Endpoint()
	if change != nil {
		change(&a, &cfg)
	}
	return open(t, a, cfg), proxy
}

const (
	small = 10_000
	large = 12 << 20 // three parts
)

// TestFaults puts an object on a key that must be free while requests fail.
// The truth is asked of the server itself, past the proxy.
func TestFaults(t *testing.T) {
	for _, test := range []struct {
		fault     storagetest.Fault
		operation storagetest.Operation
		times     int
		size      int
		want      error // nil: stored
		stored    bool  // the object is there although want is not nil
	}{
		{storagetest.SlowDown, storagetest.PutObject, 2, small, nil, true},
		{storagetest.SlowDown.ButApplied(), storagetest.PutObject, 1, small, nil, true},
		{storagetest.SlowDown, storagetest.PutObject, storagetest.Always, small, storage.ErrThrottled, false},
		{storagetest.InternalError, storagetest.PutObject, 2, small, nil, true},
		{storagetest.InternalError.ButApplied(), storagetest.PutObject, 1, small, nil, true},
		{storagetest.InternalError.ButApplied(), storagetest.PutObject, storagetest.Always, small, storage.ErrUnavailable, true},
		{storagetest.ServiceIsClosed, storagetest.PutObject, storagetest.Always, small, storage.ErrUnavailable, false},
		{storagetest.ConflictError, storagetest.PutObject, 1, small, storage.ErrConflict, false},
		{storagetest.ConflictError.ButApplied(), storagetest.PutObject, 1, small, storage.ErrConflict, true},
		{storagetest.ExpiredToken, storagetest.PutObject, 1, small, storage.ErrCredentials, false},
		{storagetest.DeniedByPolicy, storagetest.PutObject, 1, small, storage.ErrDenied, false},
		{storagetest.WrongRegionReply, storagetest.PutObject, 1, small, storage.ErrRegion, false},
		{storagetest.BodyCameTooLate, storagetest.PutObject, storagetest.Always, small, storage.ErrUnavailable, false},
		{storagetest.DroppedReply, storagetest.PutObject, 2, small, nil, true},
		{storagetest.DroppedReply.ButApplied(), storagetest.PutObject, 1, small, nil, true},
		{storagetest.DroppedReply.ButApplied(), storagetest.PutObject, storagetest.Always, small, storage.ErrUnavailable, true},
		{storagetest.CutRequest, storagetest.PutObject, 2, small, nil, true},
		{storagetest.CutRequest, storagetest.PutObject, storagetest.Always, small, storage.ErrUnavailable, false},

		{storagetest.SlowDown, storagetest.CreateUpload, 2, large, nil, true},
		{storagetest.DeniedByPolicy, storagetest.CreateUpload, 1, large, storage.ErrDenied, false},
		{storagetest.SlowDown, storagetest.UploadPart, 2, large, nil, true},
		{storagetest.CutRequest, storagetest.UploadPart, 2, large, nil, true},
		{storagetest.DroppedReply.ButApplied(), storagetest.UploadPart, 2, large, nil, true},
		{storagetest.InternalError, storagetest.UploadPart, storagetest.Always, large, storage.ErrUnavailable, false},
		{storagetest.DeniedByPolicy, storagetest.UploadPart, 1, large, storage.ErrDenied, false},
		{storagetest.UploadHasGone, storagetest.UploadPart, storagetest.Always, large, storage.ErrConflict, false},

		{storagetest.SlowDown, storagetest.CompleteUpload, 2, large, nil, true},
		{storagetest.ConflictError, storagetest.CompleteUpload, 1, large, storage.ErrConflict, false},
		{storagetest.ErrorAfterOK, storagetest.CompleteUpload, 1, large, nil, true},
		{storagetest.ErrorAfterOK, storagetest.CompleteUpload, storagetest.Always, large, storage.ErrUnavailable, false},
		{storagetest.ErrorAfterOK.ButApplied(), storagetest.CompleteUpload, storagetest.Always, large, nil, true},
		{storagetest.EmptyOK, storagetest.CompleteUpload, 1, large, storage.ErrUnavailable, false},
		{storagetest.EmptyOK.ButApplied(), storagetest.CompleteUpload, 1, large, nil, true},
		{storagetest.DroppedReply, storagetest.CompleteUpload, 2, large, nil, true},
		{storagetest.DroppedReply, storagetest.CompleteUpload, storagetest.Always, large, storage.ErrUnavailable, false},
		{storagetest.DroppedReply.ButApplied(), storagetest.CompleteUpload, 1, large, nil, true},
		{storagetest.DroppedReply.ButApplied(), storagetest.CompleteUpload, storagetest.Always, large, nil, true},
	} {
		t.Run(name(test.fault, test.operation, test.times), func(t *testing.T) {
			t.Parallel()
			s, proxy := behind(t, nil)
			bucket, direct := newBucket(t), open(t, rootAccess(), quick())
			o := storagetest.NewObject("faults.csv", "fault", test.size)
			proxy.Inject(test.operation, test.fault, test.times)
			_, err := s.Put(t.Context(), bucket, o, storage.IfAbsent())
			if test.want == nil && err != nil {
				t.Fatalf("put: %v", err)
			}
			if test.want != nil {
				storagetest.ExpectError(t, "put", err, test.want)
			}
			if test.stored {
				storagetest.Expect(t, direct, bucket, o)
			} else {
				storagetest.ExpectAbsent(t, direct, bucket, o.Key)
			}
			storagetest.ExpectNoUploads(t, direct, bucket)
		})
	}
}

// TestFaultsOfCopies restamps an object while requests fail: by a copy onto
// itself in one request, or in parts where the bytes stood there whole lately.
// It has the new metadata or the old, and its bytes in either case.
func TestFaultsOfCopies(t *testing.T) {
	const once, always = 1, storagetest.Always
	for _, test := range []struct {
		fault     storagetest.Fault
		operation storagetest.Operation
		times     int
		want      error // nil: restamped
		applied   bool  // the metadata is the new although want is not nil
	}{
		{storagetest.SlowDown, storagetest.CopyObject, 2, nil, true},
		{storagetest.SlowDown, storagetest.CopyObject, always, storage.ErrThrottled, false},
		{storagetest.InternalError.ButApplied(), storagetest.CopyObject, once, nil, true},
		{storagetest.InternalError.ButApplied(), storagetest.CopyObject, always, storage.ErrUnavailable, true},
		{storagetest.ErrorAfterOK, storagetest.CopyObject, once, nil, true},
		{storagetest.ErrorAfterOK, storagetest.CopyObject, always, storage.ErrUnavailable, false},
		{storagetest.ErrorAfterOK.ButApplied(), storagetest.CopyObject, once, nil, true},
		{storagetest.EmptyOK, storagetest.CopyObject, always, storage.ErrUnavailable, false},
		{storagetest.EmptyOK.ButApplied(), storagetest.CopyObject, always, nil, true},
		{storagetest.DroppedReply, storagetest.CopyObject, 2, nil, true},
		{storagetest.DroppedReply.ButApplied(), storagetest.CopyObject, once, nil, true},
		{storagetest.DeniedByPolicy, storagetest.CopyObject, once, storage.ErrDenied, false},
		{storagetest.ConflictError, storagetest.CopyObject, once, storage.ErrConflict, false},

		{storagetest.SlowDown, storagetest.CopyPart, 2, nil, true},
		{storagetest.InternalError, storagetest.CopyPart, always, storage.ErrUnavailable, false},
		{storagetest.InternalError.ButApplied(), storagetest.CopyPart, once, nil, true},
		{storagetest.InternalError.ButApplied(), storagetest.CopyPart, always, storage.ErrUnavailable, false},
		{storagetest.ErrorAfterOK, storagetest.CopyPart, once, nil, true},
		{storagetest.ErrorAfterOK, storagetest.CopyPart, always, storage.ErrUnavailable, false},
		{storagetest.ErrorAfterOK.ButApplied(), storagetest.CopyPart, once, nil, true},
		{storagetest.EmptyOK, storagetest.CopyPart, once, storage.ErrUnavailable, false},
		{storagetest.EmptyOK.ButApplied(), storagetest.CopyPart, once, storage.ErrUnavailable, false},
		{storagetest.DroppedReply.ButApplied(), storagetest.CopyPart, 2, nil, true},
		{storagetest.DeniedByPolicy, storagetest.CopyPart, once, storage.ErrDenied, false},
		{storagetest.DroppedReply.ButApplied(), storagetest.CompleteUpload, once, nil, true},
		{storagetest.ErrorAfterOK.ButApplied(), storagetest.CompleteUpload, always, nil, true},
		{storagetest.ErrorAfterOK, storagetest.CompleteUpload, always, storage.ErrUnavailable, false},
	} {
		t.Run(name(test.fault, test.operation, test.times), func(t *testing.T) {
			t.Parallel()
			s, proxy := behind(t, nil)
			bucket, direct := newBucket(t), open(t, rootAccess(), quick())
			o := storagetest.NewObject("copies.csv", "copy", small)
			stands := storagetest.Put(t, direct, bucket, o, storage.IfAbsent())
			o.Meta = stands.Meta // with the hash
			after := o
			after.Meta.Generation++
			if test.operation == storagetest.CopyObject {
				// In one request only what stands there in parts.
				var err error
				if stands, err = direct.Restamp(t.Context(), bucket, o.Key, stands, o.Meta); err != nil {
					t.Fatalf("restamp before: %v", err)
				}
				stands.History = ""
			}
			proxy.Inject(test.operation, test.fault, test.times)
			_, err := s.Restamp(t.Context(), bucket, o.Key, stands, after.Meta)
			if test.want == nil && err != nil {
				t.Fatalf("restamp: %v", err)
			}
			if test.want != nil {
				storagetest.ExpectError(t, "restamp", err, test.want)
			}
			if test.applied {
				storagetest.Expect(t, direct, bucket, after)
			} else {
				storagetest.Expect(t, direct, bucket, o)
			}
			if n := len(proxy.Requests(test.operation)); n == 0 {
				t.Errorf("no request %s was sent", test.operation)
			}
			storagetest.ExpectNoUploads(t, direct, bucket)
		})
	}
}

func name(f storagetest.Fault, o storagetest.Operation, times int) string {
	switch times {
	case storagetest.Always:
		return string(o) + " always: " + f.String()
	case 1:
		return string(o) + " once: " + f.String()
	}
	return string(o) + " twice: " + f.String()
}

// TestLostReplyOfCompleteThenNoSuchUpload is a store that forgets an upload
// with its completion.
func TestLostReplyOfCompleteThenNoSuchUpload(t *testing.T) {
	s, proxy := behind(t, nil)
	bucket := newBucket(t)
	o := storagetest.NewObject("complete.csv", "x", large)
	proxy.Inject(storagetest.CompleteUpload, storagetest.DroppedReply.ButApplied(), 1)
	proxy.Inject(storagetest.CompleteUpload, storagetest.UploadHasGone, 1)
	if _, err := s.Put(t.Context(), bucket, o, storage.IfAbsent()); err != nil {
		t.Fatalf("put: %v", err)
	}
	storagetest.Expect(t, s, bucket, o)
}

// TestLostReplyIsNotMistaken has another load's object appear behind a lost
// reply: that is a failed condition, not our success.
// TestP3AnEarlierAttemptCameAfterAll: while an upload is completed, the object of
// an earlier attempt of the same load appears, which the store carried out late.
// The load is done, and its second upload is not left behind.
func TestP3AnEarlierAttemptCameAfterAll(t *testing.T) {
	for _, answer := range []storagetest.Fault{storagetest.DroppedReply, storagetest.EmptyOK, storagetest.ErrorAfterOK} {
		t.Run(answer.Name, func(t *testing.T) {
			s, proxy := behind(t, nil)
			bucket := newBucket(t)
			direct, o := open(t, rootAccess(), quick()), storagetest.NewObject("twice.csv", "x", large)
			var completed atomic.Int32
			proxy.SetJudge(func(op storagetest.Operation, _ *http.Request) (storagetest.Fault, bool) {
				if op != storagetest.CompleteUpload || completed.Add(1) > 1 {
					return storagetest.Fault{}, false
				}
				storagetest.Put(t, direct, bucket, o, storage.IfAbsent())
				return answer, true
			})
			if _, err := s.Put(t.Context(), bucket, o, storage.IfAbsent()); err != nil {
				t.Errorf("put: %v, want it done by the earlier attempt", err)
			}
			storagetest.Expect(t, direct, bucket, o)
			storagetest.ExpectNoUploads(t, direct, bucket)
		})
	}
}

func TestLostReplyIsNotMistaken(t *testing.T) {
	s, proxy := behind(t, nil)
	bucket := newBucket(t)
	theirs, ours := storagetest.NewObject("lost.csv", "theirs", small), storagetest.NewObject("lost.csv", "ours", small)
	storagetest.Put(t, open(t, rootAccess(), quick()), bucket, theirs, storage.IfAbsent())
	proxy.Inject(storagetest.PutObject, storagetest.DroppedReply, 1)
	_, err := s.Put(t.Context(), bucket, ours, storage.IfAbsent())
	storagetest.ExpectError(t, "put", err, storage.ErrPrecondition)
	storagetest.Expect(t, s, bucket, theirs)
}

func TestLostReplyOfDeleteAndRestamp(t *testing.T) {
	s, proxy := behind(t, nil)
	bucket := newBucket(t)
	o := storagetest.NewObject("delete.csv", "x", small)
	stored := storagetest.Put(t, s, bucket, o, storage.IfAbsent())
	o.Meta.Generation, o.Meta.SHA256 = 9, stored.Meta.SHA256
	proxy.Inject(storagetest.CopyPart, storagetest.DroppedReply.ButApplied(), 1)
	stamped, err := s.Restamp(t.Context(), bucket, o.Key, stored, o.Meta)
	if err != nil {
		t.Fatalf("restamp: %v", err)
	}
	storagetest.Expect(t, s, bucket, o)
	proxy.Inject(storagetest.DeleteObject, storagetest.DroppedReply.ButApplied(), 1)
	if err := s.Delete(t.Context(), bucket, o.Key, storage.IfMatch(stamped.ETag)); err != nil {
		t.Errorf("delete: %v", err)
	}
	storagetest.ExpectAbsent(t, s, bucket, o.Key)
}

// TestAbortOutlivesTheCaller cancels in the middle of the parts.
func TestAbortOutlivesTheCaller(t *testing.T) {
	s, proxy := behind(t, nil)
	bucket := newBucket(t)
	cause := errors.New("the worker stops")
	ctx, cancel := context.WithCancelCause(t.Context())
	o := storagetest.NewObject("cancelled.csv", "x", large)
	proxy.Inject(storagetest.UploadPart, storagetest.AnswersTooLate, storagetest.Always)
	o.Body = &cancelling{o.Body, func() { cancel(cause) }}
	if _, err := s.Put(ctx, bucket, o, storage.IfAbsent()); !errors.Is(err, cause) {
		t.Errorf("put: got %v, want %v", err, cause)
	}
	direct := open(t, rootAccess(), quick())
	storagetest.ExpectAbsent(t, direct, bucket, o.Key)
	storagetest.ExpectNoUploads(t, direct, bucket)
	// The second finds that the first was enough: a part that got no answer
	// may have arrived in between.
	if aborts := proxy.Requests(storagetest.AbortUpload); len(aborts) != 2 {
		t.Errorf("aborts: %d, want 2", len(aborts))
	}
}

// TestPartUnderWayWhenAnotherIsRefused has a store work on one part while it
// refuses the other: an abort that does not wait for the first is outlived by it.
func TestPartUnderWayWhenAnotherIsRefused(t *testing.T) {
	s, proxy := behind(t, nil)
	bucket := newBucket(t)
	var parts atomic.Int32
	working, refused, aborting := make(chan struct{}), make(chan struct{}), make(chan struct{})
	proxy.SetJudge(func(op storagetest.Operation, _ *http.Request) (storagetest.Fault, bool) {
		switch {
		case op == storagetest.AbortUpload:
			close(aborting)
			return storagetest.Fault{}, false
		case op != storagetest.UploadPart:
			return storagetest.Fault{}, false
		case parts.Add(1) == 1:
			close(working)
			<-refused
			select {
			case <-aborting:
				t.Error("the upload was aborted while the store worked on a part")
			case <-time.After(200 * time.Millisecond): // time enough to do it wrong
			}
			return storagetest.Fault{}, false
		default:
			<-working
			close(refused)
			return storagetest.DeniedByPolicy, true
		}
	})
	_, err := s.Put(t.Context(), bucket, storagetest.NewObject("refused.csv", "x", 10<<20), storage.IfAbsent())
	storagetest.ExpectError(t, "put", err, storage.ErrDenied)
	storagetest.ExpectNoUploads(t, open(t, rootAccess(), quick()), bucket)
}

// TestNoPartIsBegunOrRepeatedAfterARefusal: what is refused once is not asked
// for every part.
func TestNoPartIsBegunOrRepeatedAfterARefusal(t *testing.T) {
	s, proxy := behind(t, func(_ *storage.Access, c *storage.Config) { c.PartConcurrency = 1 })
	bucket := newBucket(t)
	proxy.Inject(storagetest.UploadPart, storagetest.DeniedByPolicy, 1)
	_, err := s.Put(t.Context(), bucket, storagetest.NewObject("refused.csv", "x", large), storage.IfAbsent())
	storagetest.ExpectError(t, "put", err, storage.ErrDenied)
	if n := len(proxy.Requests(storagetest.UploadPart)); n != 1 {
		t.Errorf("parts sent: %d, want the one that was refused", n)
	}
}

// cancelling calls cancel when the object's last part is read.
type cancelling struct {
	body interface {
		ReadAt([]byte, int64) (int, error)
	}
	cancel func()
}

func (c *cancelling) ReadAt(b []byte, at int64) (int, error) {
	if at >= 10<<20 {
		c.cancel()
	}
	return c.body.ReadAt(b, at)
}

func TestAbortThatFailsIsSaid(t *testing.T) {
	s, proxy := behind(t, nil)
	bucket := newBucket(t)
	proxy.Inject(storagetest.UploadPart, storagetest.DeniedByPolicy, storagetest.Always)
	proxy.Inject(storagetest.AbortUpload, storagetest.InternalError, storagetest.Always)
	_, err := s.Put(t.Context(), bucket, storagetest.NewObject("left.csv", "x", large), storage.IfAbsent())
	storagetest.ExpectError(t, "put", err, storage.ErrDenied)
	left, ok := errors.AsType[*storage.LeftoverError](err)
	if !ok {
		t.Fatalf("put: got %v, want a *storage.LeftoverError", err)
	}
	if errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("put: %v counts as the abort's failure, want only the upload's", err)
	}
	for upload, err := range s.Uploads(t.Context(), bucket, "") {
		if err != nil || upload.ID != left.UploadID {
			t.Errorf("uploads: got %q, %v, want %q", upload.ID, err, left.UploadID)
		}
	}
}

func TestNoAnswer(t *testing.T) {
	s, proxy := behind(t, func(_ *storage.Access, c *storage.Config) { c.ReplyTimeout = 50 * time.Millisecond })
	proxy.Inject(storagetest.PutObject, storagetest.AnswersTooLate, storagetest.Always)
	_, err := s.Put(t.Context(), newBucket(t), storagetest.NewObject("late.csv", "x", small), storage.IfAbsent())
	storagetest.ExpectError(t, "put", err, storage.ErrUnavailable)
	if n := len(proxy.Requests(storagetest.PutObject)); n != 3 {
		t.Errorf("attempts: %d, want 3", n)
	}
}
