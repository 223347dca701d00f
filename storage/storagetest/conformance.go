// Package storagetest is what a store must prove before loadfleet writes to
// it: a conformance suite, faults as values, and a recorder of requests.
//
// It promises nothing about speed, and it writes only under the keys it makes
// up. It is for tests only.
package storagetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/loadfleet/loadfleet/storage"
)

// Run checks a store and bucket against what loadfleet relies on. Open is
// called once per check and gives a store and an existing bucket to it.
func Run(t *testing.T, open func(t *testing.T) (store *storage.Store, bucket string)) {
	for _, check := range []struct {
		name string
		run  func(t *testing.T, s *storage.Store, bucket string)
	}{
		{"what was put is read back", checkRoundTrip},
		{"an object in parts is read back", checkParts},
		{"an empty object is an object", checkEmpty},
		{"keys keep their characters", checkKeys},
		{"if absent refuses a second writer", checkIfAbsent},
		{"if match refuses a changed object", checkIfMatch},
		{"always replaces", checkAlways},
		{"conditions hold for objects in parts", checkPartsConditions},
		{"of many writers one wins", checkRace},
		{"a reader sees one whole object", checkReaders},
		{"restamp changes only the metadata", checkRestamp},
		{"bytes that come back have another ETag", checkRevived},
		{"delete obeys its condition", checkDelete},
		{"list gives what is under a prefix", checkList},
		{"a missing bucket is said to be missing", checkNoBucket},
	} {
		t.Run(check.name, func(t *testing.T) {
			s, bucket := open(t)
			check.run(t, s, bucket)
		})
	}
}

// NewObject is an object of size bytes that depend on seed, with metadata to
// match.
func NewObject(key, seed string, size int) storage.Object {
	body := bytes.Repeat(fmt.Appendf(nil, "%s|", seed), size/(len(seed)+1)+1)[:size]
	return storage.Object{
		Key: key, ContentType: "text/csv", Body: bytes.NewReader(body), Size: int64(size), SHA256: sha256.Sum256(body),
		Meta: storage.Meta{Load: "load-" + seed, Extraction: "extraction", Generation: 7, Rows: 42},
	}
}

// Put stores an object and fails the test when that fails.
func Put(t *testing.T, s *storage.Store, bucket string, o storage.Object, c storage.Condition) storage.Stored {
	t.Helper()
	stored, err := s.Put(t.Context(), bucket, o, c)
	if err != nil {
		t.Fatalf("put %s (%s): %v", o.Key, c, err)
	}
	return stored
}

// Expect fails the test unless the bucket holds exactly this object.
func Expect(t *testing.T, s *storage.Store, bucket string, o storage.Object) storage.Stored {
	t.Helper()
	body, stored, err := s.Get(t.Context(), bucket, o.Key)
	if err != nil {
		t.Fatalf("get %s: %v", o.Key, err)
	}
	got, err := io.ReadAll(body)
	if err := errors.Join(err, body.Close()); err != nil {
		t.Fatalf("read %s: %v", o.Key, err)
	}
	if sum := sha256.Sum256(got); sum != o.SHA256 {
		t.Errorf("%s holds %d bytes with sha256 %x, want %d with %x", o.Key, len(got), sum, o.Size, o.SHA256)
	}
	want := o.Meta
	want.SHA256 = fmt.Sprintf("%x", o.SHA256)
	if diff := cmp.Diff(want, stored.Meta); diff != "" {
		t.Errorf("metadata of %s (-want +got):\n%s", o.Key, diff)
	}
	return stored
}

// ExpectAbsent fails the test when the bucket holds an object of this key.
func ExpectAbsent(t *testing.T, s *storage.Store, bucket, key string) {
	t.Helper()
	if stored, err := s.Head(t.Context(), bucket, key); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("head %s: got %+v, %v, want %v", key, stored, err, storage.ErrNotFound)
	}
}

// ExpectError fails the test unless err is want and, where the store was
// asked, names the operation.
func ExpectError(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got error %v, want %v", what, err, want)
	}
	if _, ok := errors.AsType[*storage.Error](err); err != nil && !ok {
		t.Errorf("%s: got %T, want a *storage.Error inside", what, err)
	}
}

func checkRoundTrip(t *testing.T, s *storage.Store, bucket string) {
	o := NewObject("round/trip.csv", t.Name(), 100_000)
	stored := Put(t, s, bucket, o, storage.IfAbsent())
	head, err := s.Head(t.Context(), bucket, o.Key)
	if err != nil {
		t.Fatalf("head: %v", err)
	}
	if diff := cmp.Diff(head, stored, cmpopts.IgnoreFields(storage.Stored{}, "Modified", "Looked", "Encryption")); diff != "" {
		t.Errorf("head and put disagree (-head +put):\n%s", diff)
	}
	if got := Expect(t, s, bucket, o); got.ContentType != o.ContentType || got.Size != o.Size {
		t.Errorf("get: content type %q, size %d, want %q, %d", got.ContentType, got.Size, o.ContentType, o.Size)
	}
}

func checkParts(t *testing.T, s *storage.Store, bucket string) {
	o := NewObject("parts.csv", t.Name(), 20<<20+17)
	stored := Put(t, s, bucket, o, storage.IfAbsent())
	if got := Expect(t, s, bucket, o); got.ETag != stored.ETag || got.Size != o.Size {
		t.Errorf("get: ETag %s, size %d, want %s, %d", got.ETag, got.Size, stored.ETag, o.Size)
	}
}

func checkEmpty(t *testing.T, s *storage.Store, bucket string) {
	o := NewObject("empty.csv", t.Name(), 0)
	Put(t, s, bucket, o, storage.IfAbsent())
	Expect(t, s, bucket, o)
}

func checkKeys(t *testing.T, s *storage.Store, bucket string) {
	for i, key := range []string{"a b/c+d.csv", "ünï/%2F%25.csv", "a=1/b&c?d#e.csv", "quote'\"/~tilde.csv", "comma,semi;colon:at@.csv"} {
		o := NewObject(key, fmt.Sprint("key", i), 100)
		stored := Put(t, s, bucket, o, storage.IfAbsent())
		Expect(t, s, bucket, o)
		o.Meta.Generation++
		o.Meta.SHA256 = fmt.Sprintf("%x", o.SHA256)
		if _, err := s.Restamp(t.Context(), bucket, key, stored, o.Meta); err != nil {
			t.Errorf("restamp %q: %v", key, err)
		}
		Expect(t, s, bucket, o)
	}
}

func checkIfAbsent(t *testing.T, s *storage.Store, bucket string) {
	first, second := NewObject("absent.csv", "first", 1000), NewObject("absent.csv", "second", 1000)
	Put(t, s, bucket, first, storage.IfAbsent())
	_, err := s.Put(t.Context(), bucket, second, storage.IfAbsent())
	ExpectError(t, "put on an existing key", err, storage.ErrPrecondition)
	Expect(t, s, bucket, first)
}

func checkIfMatch(t *testing.T, s *storage.Store, bucket string) {
	first, second, third := NewObject("match.csv", "first", 1000), NewObject("match.csv", "second", 1000), NewObject("match.csv", "third", 1000)
	_, err := s.Put(t.Context(), bucket, first, storage.IfMatch(`"d41d8cd98f00b204e9800998ecf8427e"`))
	ExpectError(t, "put if match on a missing key", err, storage.ErrPrecondition)
	old := Put(t, s, bucket, first, storage.IfAbsent())
	Put(t, s, bucket, second, storage.IfMatch(old.ETag))
	_, err = s.Put(t.Context(), bucket, third, storage.IfMatch(old.ETag))
	ExpectError(t, "put if match on a changed object", err, storage.ErrPrecondition)
	Expect(t, s, bucket, second)
}

func checkAlways(t *testing.T, s *storage.Store, bucket string) {
	Put(t, s, bucket, NewObject("always.csv", "first", 1000), storage.Always())
	second := NewObject("always.csv", "second", 10)
	Put(t, s, bucket, second, storage.Always())
	Expect(t, s, bucket, second)
}

func checkPartsConditions(t *testing.T, s *storage.Store, bucket string) {
	const size = 11 << 20
	first, second, third := NewObject("p.csv", "first", 1000), NewObject("p.csv", "second", size), NewObject("p.csv", "third", size)
	old := Put(t, s, bucket, first, storage.IfAbsent())
	_, err := s.Put(t.Context(), bucket, second, storage.IfAbsent())
	ExpectError(t, "put in parts on an existing key", err, storage.ErrPrecondition)
	Put(t, s, bucket, second, storage.IfMatch(old.ETag))
	_, err = s.Put(t.Context(), bucket, third, storage.IfMatch(old.ETag))
	ExpectError(t, "put in parts on a changed object", err, storage.ErrPrecondition)
	Expect(t, s, bucket, second)
	ExpectNoUploads(t, s, bucket)
}

// ExpectNoUploads fails the test when the bucket holds parts of an unfinished
// upload.
func ExpectNoUploads(t *testing.T, s *storage.Store, bucket string) {
	t.Helper()
	for upload, err := range s.Uploads(t.Context(), bucket, "") {
		if err != nil {
			t.Fatalf("list uploads: %v", err)
		}
		t.Errorf("upload %s of %s was left behind", upload.ID, upload.Key)
	}
}

func checkRace(t *testing.T, s *storage.Store, bucket string) {
	const writers, rounds = 8, 16
	for round := range rounds {
		key := fmt.Sprintf("race/%d.csv", round)
		condition := storage.IfAbsent()
		if round%2 == 1 {
			condition = storage.IfMatch(Put(t, s, bucket, NewObject(key, "before", 500), storage.IfAbsent()).ETag)
		}
		winners := race(t.Context(), writers, func(ctx context.Context, writer int) error {
			_, err := s.Put(ctx, bucket, NewObject(key, fmt.Sprint("writer", writer), 2000+writer), condition)
			if err != nil && !errors.Is(err, storage.ErrPrecondition) && !errors.Is(err, storage.ErrConflict) {
				t.Errorf("round %d, writer %d (%s): %v", round, writer, condition, err)
			}
			return err
		})
		if len(winners) != 1 {
			t.Fatalf("round %d (%s): writers %v won, want exactly one", round, condition, winners)
		}
		Expect(t, s, bucket, NewObject(key, fmt.Sprint("writer", winners[0]), 2000+winners[0]))
	}
}

// race runs write for each writer at once and gives those without error.
func race(ctx context.Context, writers int, write func(ctx context.Context, writer int) error) []int {
	var (
		mu      sync.Mutex
		winners []int
		group   sync.WaitGroup
		start   = make(chan struct{})
	)
	for writer := range writers {
		group.Go(func() {
			<-start
			if write(ctx, writer) == nil {
				mu.Lock()
				defer mu.Unlock()
				winners = append(winners, writer)
			}
		})
	}
	close(start)
	group.Wait()
	return winners
}

// checkReaders reads an object while it is replaced again and again: bytes and
// metadata must belong together each time.
func checkReaders(t *testing.T, s *storage.Store, bucket string) {
	const key, readers, writes = "readers.csv", 3, 40
	versions := map[string]storage.Object{}
	for i := range 4 {
		o := NewObject(key, fmt.Sprint("version", i), 3000+1000*i)
		versions[fmt.Sprintf("%x", o.SHA256)] = o
	}
	Put(t, s, bucket, NewObject(key, "version0", 3000), storage.IfAbsent())
	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for range readers {
		group.Go(func() {
			for ctx.Err() == nil {
				readWhole(t, s, bucket, key, versions)
			}
		})
	}
	for i := range writes {
		if _, err := s.Put(t.Context(), bucket, NewObject(key, fmt.Sprint("version", i%4), 3000+1000*(i%4)), storage.Always()); err != nil {
			t.Errorf("put: %v", err)
		}
	}
	stop()
	group.Wait()
}

func readWhole(t *testing.T, s *storage.Store, bucket, key string, versions map[string]storage.Object) {
	body, stored, err := s.Get(t.Context(), bucket, key)
	if err != nil {
		t.Errorf("get: %v", err)
		return
	}
	got, err := io.ReadAll(body)
	if err := errors.Join(err, body.Close()); err != nil {
		t.Errorf("read: %v", err)
		return
	}
	if sum := fmt.Sprintf("%x", sha256.Sum256(got)); versions[sum].Meta.Load != stored.Meta.Load || sum != stored.Meta.SHA256 {
		t.Errorf("read %d bytes of %q, metadata is of %q", len(got), versions[sum].Meta.Load, stored.Meta.Load)
	}
}

func checkRestamp(t *testing.T, s *storage.Store, bucket string) {
	o := NewObject("stamp.csv", t.Name(), 5000)
	stored := Put(t, s, bucket, o, storage.IfAbsent())
	o.Meta.Load, o.Meta.Generation = "another-load", 8
	o.Meta.SHA256 = fmt.Sprintf("%x", o.SHA256)
	stamped, err := s.Restamp(t.Context(), bucket, o.Key, stored, o.Meta)
	if err != nil {
		t.Fatalf("restamp: %v", err)
	}
	got := Expect(t, s, bucket, o)
	if got.ETag != stamped.ETag || got.ContentType != o.ContentType {
		t.Errorf("after restamp: ETag %s, content type %q, want %s, %q", got.ETag, got.ContentType, stamped.ETag, o.ContentType)
	}
	replaced := NewObject(o.Key, "replaced", 6000)
	Put(t, s, bucket, replaced, storage.IfMatch(stamped.ETag))
	_, err = s.Restamp(t.Context(), bucket, o.Key, stamped, o.Meta)
	ExpectError(t, "restamp of a replaced object", err, storage.ErrPrecondition)
	Expect(t, s, bucket, replaced)
	if err := s.Delete(t.Context(), bucket, o.Key, storage.Always()); err != nil {
		t.Fatalf("delete: %v", err)
	}
	_, err = s.Restamp(t.Context(), bucket, o.Key, stamped, o.Meta)
	ExpectError(t, "restamp of a deleted object", err, storage.ErrPrecondition)
}

// checkRevived puts bytes at a key where they stood a moment ago: a writer that
// waits with the ETag of then must be refused.
func checkRevived(t *testing.T, s *storage.Store, bucket string) {
	for _, size := range []int{5000, 6 << 20, 11 << 20} {
		first := NewObject(fmt.Sprintf("revived-%d.csv", size), "a", size)
		between := NewObject(first.Key, "b", size)
		late := NewObject(first.Key, "late", 100) // small: a large one may be cut off before it is refused
		was := Put(t, s, bucket, first, storage.IfAbsent())
		between.Over = &was
		b := Put(t, s, bucket, between, storage.IfMatch(was.ETag))
		again := first
		again.Over = &b
		revived := Put(t, s, bucket, again, storage.IfMatch(b.ETag))
		head, err := s.Head(t.Context(), bucket, first.Key)
		if err != nil {
			t.Fatal(err)
		}
		if head.ETag == was.ETag || head.ETag != revived.ETag || head.History != revived.History {
			t.Errorf("%d bytes: ETag %s, history %q, want another than %s, and those of the put: %s, %q",
				size, head.ETag, head.History, was.ETag, revived.ETag, revived.History)
		}
		stamped, err := s.Restamp(t.Context(), bucket, first.Key, head, head.Meta)
		if err != nil {
			t.Fatalf("restamp %d bytes: %v", size, err)
		}
		_, err = s.Put(t.Context(), bucket, late, storage.IfMatch(was.ETag))
		if stamped.ETag != was.ETag {
			ExpectError(t, "put of a writer that waited", err, storage.ErrPrecondition)
		}
		Expect(t, s, bucket, first)
	}
}

func checkDelete(t *testing.T, s *storage.Store, bucket string) {
	o := NewObject("delete.csv", "first", 100)
	old := Put(t, s, bucket, o, storage.IfAbsent())
	changed := NewObject("delete.csv", "second", 100)
	stored := Put(t, s, bucket, changed, storage.IfMatch(old.ETag))
	ExpectError(t, "delete of a changed object", s.Delete(t.Context(), bucket, o.Key, storage.IfMatch(old.ETag)), storage.ErrPrecondition)
	Expect(t, s, bucket, changed)
	if err := s.Delete(t.Context(), bucket, o.Key, storage.IfMatch(stored.ETag)); err != nil {
		t.Errorf("delete if match: %v", err)
	}
	ExpectAbsent(t, s, bucket, o.Key)
	if err := s.Delete(t.Context(), bucket, o.Key, storage.Always()); err != nil {
		t.Errorf("delete of a missing key: %v", err)
	}
	ExpectError(t, "delete if absent", s.Delete(t.Context(), bucket, o.Key, storage.IfAbsent()), storage.ErrInvalid)
}

func checkList(t *testing.T, s *storage.Store, bucket string) {
	want := []string{"list/a.csv", "list/b/c.csv", "list/d.csv"}
	for _, key := range append([]string{"listed.csv"}, want...) {
		Put(t, s, bucket, NewObject(key, key, 10), storage.Always())
	}
	var got []string
	for stored, err := range s.List(t.Context(), bucket, "list/") {
		if err != nil {
			t.Fatalf("list: %v", err)
		}
		got = append(got, stored.Key)
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	for _, err := range s.List(t.Context(), bucket, "list/") {
		if err != nil {
			t.Fatalf("List: %v", err)
		}
		break // an iterator that is left early must not go on
	}
}

func checkNoBucket(t *testing.T, s *storage.Store, bucket string) {
	missing := bucket + "-missing"
	_, err := s.Put(t.Context(), missing, NewObject("k.csv", "k", 10), storage.IfAbsent())
	ExpectError(t, "put", err, storage.ErrNoBucket)
	ExpectError(t, "ping", s.Ping(t.Context(), missing), storage.ErrNoBucket)
	if err := s.Ping(t.Context(), bucket); err != nil {
		t.Errorf("ping: %v", err)
	}
}
