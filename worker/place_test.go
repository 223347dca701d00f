package worker_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/storage"
	"github.com/loadfleet/loadfleet/storage/storagetest"
	"github.com/loadfleet/loadfleet/worker"
)

// TestP4GenerationGuard is the table of ARCHITECTURE.md, "The generation
// guard": what stands under the key when a load of generation 5 arrives, and
// what the worker asks of the store.
func TestP4GenerationGuard(t *testing.T) {
	t.Parallel()
	const (
		put    = storagetest.PutObject
		head   = storagetest.HeadObject
		copied = storagetest.CopyPart
		create = storagetest.CreateUpload
		part   = storagetest.UploadPart
		done   = storagetest.CompleteUpload
		abort  = storagetest.AbortUpload
	)
	ours := rows(t, "ours", 20)
	type there struct {
		extraction string
		generation int64
		rows       *encoding.Rows // nil: ours
		foreign    bool           // without metadata
	}
	for _, test := range []struct {
		name     string
		there    *there
		fault    storagetest.Fault // of the first puts
		times    int
		denied   bool // copies
		want     messages.Result
		stays    bool // what was there
		requests map[storagetest.Operation]int
	}{
		{name: "absent", want: messages.Loaded,
			requests: map[storagetest.Operation]int{put: 1}},
		{name: "this load's own", there: &there{extraction: "e", generation: 5}, want: messages.Loaded, stays: true,
			requests: map[storagetest.Operation]int{put: 1, head: 1}},
		{name: "this load's id, other content", there: &there{extraction: "e", generation: 5, rows: rows(t, "other", 20)}, want: messages.Loaded,
			requests: map[storagetest.Operation]int{put: 2, head: 1}},
		{name: "newer", there: &there{extraction: "d", generation: 6, rows: rows(t, "newer", 20)}, want: messages.Superseded, stays: true,
			requests: map[storagetest.Operation]int{put: 1, head: 1}},
		{name: "newer, equal content", there: &there{extraction: "d", generation: 6}, want: messages.Superseded, stays: true,
			requests: map[storagetest.Operation]int{put: 1, head: 1}},
		{name: "same generation, greater extraction", there: &there{extraction: "f", generation: 5, rows: rows(t, "f", 20)}, want: messages.Superseded, stays: true,
			requests: map[storagetest.Operation]int{put: 1, head: 1}},
		{name: "same generation, lesser extraction", there: &there{extraction: "d", generation: 5, rows: rows(t, "d", 20)}, want: messages.Loaded,
			requests: map[storagetest.Operation]int{put: 2, head: 1}},
		{name: "older, equal content", there: &there{extraction: "d", generation: 4}, want: messages.Unchanged,
			requests: map[storagetest.Operation]int{put: 1, head: 1, create: 1, copied: 1, done: 1}},
		{name: "older, equal content, copies denied", there: &there{extraction: "d", generation: 4}, denied: true, want: messages.Loaded,
			requests: map[storagetest.Operation]int{put: 1, head: 1, create: 2, copied: 1, abort: 1, part: 1, done: 1}},
		{name: "older, other content", there: &there{extraction: "d", generation: 4, rows: rows(t, "older", 20)}, want: messages.Loaded,
			requests: map[storagetest.Operation]int{put: 2, head: 1}},
		{name: "not a load's", there: &there{foreign: true, rows: rows(t, "foreign", 20)}, want: messages.Loaded,
			requests: map[storagetest.Operation]int{put: 2, head: 1}},
		{name: "not a load's, equal content", there: &there{foreign: true}, want: messages.Loaded,
			requests: map[storagetest.Operation]int{put: 1, head: 1, create: 1, part: 1, done: 1}},
		{name: "changed between look and put", fault: storagetest.ConflictError, times: 3, want: messages.Loaded,
			requests: map[storagetest.Operation]int{put: 4, head: 3}},
		{name: "changed at every look of the first try", fault: storagetest.ConflictError, times: 5, want: messages.Loaded,
			requests: map[storagetest.Operation]int{put: 6, head: 4}},
		{name: "gone between look and put", there: &there{extraction: "d", generation: 4, rows: rows(t, "gone", 20)},
			fault: storagetest.Fault{Name: "condition", Status: 412, Code: "PreconditionFailed"}, times: 2, want: messages.Loaded,
			requests: map[storagetest.Operation]int{put: 3, head: 2}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			l, payload := r.load(spec{generation: 5, rows: ours})
			var before storage.Object
			if th := test.there; th != nil {
				if th.rows == nil {
					th.rows = ours
				}
				before = object(t, l, th.rows)
				before.Meta.Extraction, before.Meta.Generation = th.extraction, th.generation
				before.Meta.Load = messages.LoadID(workspace, th.extraction, l.Bucket, l.Key)
				if th.foreign {
					before.Meta = storage.Meta{}
				}
				storagetest.Put(t, r.direct, r.bucket, before, storage.Always())
			}
			if test.times > 0 {
				r.proxy.Inject(put, test.fault, test.times)
			}
			if test.denied {
				r.proxy.Inject(copied, storagetest.DeniedByPolicy, 1)
			}
			r.send(l, payload, "e")
			stop := r.start()
			got := r.outcome(l)
			stop()
			if got.Result != test.want {
				t.Errorf("result: got %s, want %s", got.Result, test.want)
			}
			if test.stays {
				storagetest.Expect(t, r.direct, r.bucket, before)
			} else if stored := r.expect(l, ours); stored.ETag != got.ETag {
				t.Errorf("etag: got %s, want %s", got.ETag, stored.ETag)
			}
			requests := map[storagetest.Operation]int{}
			for _, one := range r.proxy.Requests(storagetest.AnyOperation) {
				requests[one.Operation]++
			}
			if diff := cmp.Diff(test.requests, requests); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
			r.expectIdle()
		})
	}
}

// TestLargeFilesLookFirst has a newer generation in place of a file that is
// dear to send: nothing of it is sent.
func TestLargeFilesLookFirst(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	large := rows(t, "large", 20_000)
	l, payload := r.load(spec{generation: 5, rows: large, slices: 3})
	newer := object(t, l, rows(t, "newer", 20))
	newer.Meta.Extraction, newer.Meta.Generation, newer.Meta.Load = "f", 6, "other"
	storagetest.Put(t, r.direct, r.bucket, newer, storage.Always())
	r.send(l, payload, "e")
	r.start()
	if got := r.outcome(l); got.Result != messages.Superseded || got.ETag != "" {
		t.Errorf("outcome: got %+v, want it superseded, without an etag", got)
	}
	storagetest.Expect(t, r.direct, r.bucket, newer)
	if n := len(r.proxy.Requests(storagetest.AnyOperation)); n != 1 {
		t.Errorf("requests: got %d, want one look", n)
	}
}

// TestEncryptionIsPartOfBeingInPlace has the store keep an object under
// another encryption than the destination asks for: a later look must not
// take it for done, and puts it right when it can.
func TestEncryptionIsPartOfBeingInPlace(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.applyEncryption(disabled)
	content := rows(t, "e", 20)
	l, payload := r.load(spec{rows: content})
	storagetest.Put(t, r.direct, r.bucket, object(t, l, content), storage.IfAbsent())
	r.send(l, payload, "e")
	r.start()
	r.log.await(t, 2, "park")
	r.applyEncryption(kmsKey)
	if got := r.outcome(l); got.Result != messages.Loaded || got.Attempts != 1 {
		t.Errorf("outcome: got %+v, want it loaded at the first attempt", got)
	}
	if stored := r.expect(l, content); stored.Encryption.KeyID != kmsKey {
		t.Errorf("encryption: got %+v, want it by %s", stored.Encryption, kmsKey)
	}
}

// TestP4AnyOrder delivers the generations of one partition in random order,
// each up to three times, to two workers, through a store that fails now and
// then in every way. The newest generation's bytes are what stays.
func TestP4AnyOrder(t *testing.T) {
	t.Parallel()
	const generations = 6
	for range 4 {
		seed := rand.Uint64()
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 0))
			// Of two deliveries of a load that end together one may stay unsettled,
			// and comes again after its lease.
			r := newRig(t, func(c *queue.Config) { c.AckWait = 2 * time.Second })
			for range 6 {
				faults := []storagetest.Fault{
					storagetest.SlowDown, storagetest.DroppedReply, storagetest.DroppedReply.ButApplied(),
					storagetest.InternalError.ButApplied(), storagetest.ConflictError, storagetest.CutRequest,
				}
				r.proxy.Inject(storagetest.PutObject, faults[random.IntN(len(faults))], 1+random.IntN(4))
			}
			contents := make([]*encoding.Rows, generations)
			var deliveries []func()
			var newest *messages.Load
			for g := range generations {
				contents[g] = rows(t, fmt.Sprint("generation ", g), 10+g)
				l, payload := r.load(spec{extraction: fmt.Sprint("e", random.IntN(100), "-", g), generation: int64(g + 1), rows: contents[g]})
				newest = l
				for n := range 1 + random.IntN(3) {
					deliveries = append(deliveries, func() { r.send(l, payload, fmt.Sprint(l.Extraction, "-", n)) })
				}
			}
			random.Shuffle(len(deliveries), func(i, j int) { deliveries[i], deliveries[j] = deliveries[j], deliveries[i] })
			many := func(c *worker.Config) { c.Slots, c.MaxAttempts = 4, 100 }
			stops := []func(){r.start(many), r.start(many)}
			for _, deliver := range deliveries {
				deliver()
			}
			r.log.await(t, len(deliveries), "loaded", "superseded")
			for _, stop := range stops {
				stop()
			}
			r.expect(newest, contents[generations-1])
			r.expectIdle()
			if got := r.outcome(newest).Result; got != messages.Loaded {
				t.Errorf("outcome of the newest: got %s, want loaded", got)
			}
			if dead := r.deadLetters(queue.DeadLetterFilter{}); len(dead) > 0 {
				t.Errorf("dead letters: got %d, want none", len(dead))
			}
			if t.Failed() {
				t.Log(r.log)
			}
		})
	}
}

// TestP4NewerComesBetweenLookAndWrite has a newer generation arrive after the
// worker has looked and before it writes: the write is refused and the
// decision made anew.
func TestP4NewerComesBetweenLookAndWrite(t *testing.T) {
	t.Parallel()
	ours := rows(t, "ours", 20)
	taken := storagetest.Fault{Name: "key taken", Status: 412, Code: "PreconditionFailed"}
	for _, test := range []struct {
		name  string
		there *encoding.Rows
		write storagetest.Operation
		nth   int
	}{
		{"put", rows(t, "older", 20), storagetest.PutObject, 2},
		{"copy", ours, storagetest.CopyPart, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			l, payload := r.load(spec{generation: 5, rows: ours})
			older, newer := object(t, l, test.there), object(t, l, rows(t, "newer", 20))
			older.Meta.Extraction, older.Meta.Generation, older.Meta.Load = "d", 4, "older"
			newer.Meta.Extraction, newer.Meta.Generation, newer.Meta.Load = "f", 6, "newer"
			storagetest.Put(t, r.direct, r.bucket, older, storage.Always())
			r.proxy.Inject(storagetest.PutObject, taken, 1)
			// The write is held, refused and sent again: time for the newer one.
			r.proxy.Inject(test.write, storagetest.SlowDown.After(500*time.Millisecond), 1)
			r.send(l, payload, "e")
			stop := r.start()
			r.proxy.Await(within(t, 10*time.Second), t, test.write, test.nth)
			storagetest.Put(t, r.direct, r.bucket, newer, storage.Always())
			got := r.outcome(l)
			stop()
			if got.Result != messages.Superseded {
				t.Errorf("result: got %s, want superseded", got.Result)
			}
			storagetest.Expect(t, r.direct, r.bucket, newer)
		})
	}
}
