package storage_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/loadfleet/loadfleet/storage"
	"github.com/loadfleet/loadfleet/storage/storagetest"
)

// chained opens a store by way of two roles, STS behind a proxy that counts.
func chained(t *testing.T) (s *storage.Store, tokens *storagetest.Proxy, objects *storagetest.Proxy) {
	t.Helper()
	fleetEnvironment(t)
	tokens, objects = storagetest.NewProxy(t, server.Endpoint(), false), storagetest.NewProxy(t, server.Endpoint(), false)
	a, cfg := chainAccess(), quick()
	a.Endpoint, cfg.FleetRoleARN, cfg.STSEndpoint = objects.Endpoint(), fleetRoleARN, tokens.Endpoint()
	return open(t, a, cfg), tokens, objects
}

// sessionsAsked is how many sessions STS was asked for. A request that is sent once
// more, because a connection was lost on a busy machine, is the same one.
func sessionsAsked(tokens *storagetest.Proxy) int {
	asked := map[string]bool{}
	for _, r := range tokens.Requests(storagetest.TokenCall) {
		asked[r.Header.Get("Amz-Sdk-Invocation-Id")] = true
	}
	return len(asked)
}

// TestSessionsAreCached has many puts at once share the sessions of one pass
// through the chain.
func TestSessionsAreCached(t *testing.T) {
	s, tokens, _ := chained(t)
	bucket := newBucket(t)
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() {
			o := storagetest.NewObject("cached/"+strings.Repeat("k", i+1), "x", small)
			if _, err := s.Put(t.Context(), bucket, o, storage.IfAbsent()); err != nil {
				t.Errorf("put: %v", err)
			}
		})
	}
	group.Wait()
	if n := sessionsAsked(tokens); n != 2 {
		t.Errorf("%d calls to STS, want one for each of two roles", n)
	}
}

// TestSessionsAreRenewedBeforeTheyExpire moves the clock by which STS grants
// sessions, so that they have more or less than the window left.
func TestSessionsAreRenewedBeforeTheyExpire(t *testing.T) {
	ahead := time.Duration(now.ahead.Load())
	t.Cleanup(func() { now.ahead.Store(int64(ahead)) })
	for _, test := range []struct {
		name  string
		left  time.Duration // of a session that is granted now
		calls int           // of two puts
	}{
		{"ten minutes left", 10 * time.Minute, 2},
		{"four minutes left", 4 * time.Minute, 4},
	} {
		t.Run(test.name, func(t *testing.T) {
			now.ahead.Store(int64(test.left - time.Hour))
			s, tokens, _ := chained(t)
			bucket := newBucket(t)
			for _, key := range []string{"first.csv", "second.csv"} {
				storagetest.Put(t, s, bucket, storagetest.NewObject(key, key, small), storage.IfAbsent())
			}
			if n := sessionsAsked(tokens); n != test.calls {
				t.Errorf("%d calls to STS, want %d", n, test.calls)
			}
		})
	}
}

// TestExpiredTokenInTheMiddle has the store refuse the session in the middle
// of an upload in parts.
func TestExpiredTokenInTheMiddle(t *testing.T) {
	s, tokens, objects := chained(t)
	bucket := newBucket(t)
	objects.Inject(storagetest.UploadPart, storagetest.ExpiredToken, 1)
	objects.Inject(storagetest.CompleteUpload, storagetest.ExpiredToken, 1)
	o := storagetest.NewObject("large.csv", "x", large)
	storagetest.Put(t, s, bucket, o, storage.IfAbsent())
	storagetest.Expect(t, s, bucket, o)
	if n := sessionsAsked(tokens); n != 6 {
		t.Errorf("%d calls to STS, want two to begin with and two for each renewal", n)
	}
}

// TestUserAgentNamesTheLoad is how a customer's access log and audit trail
// tell loads apart: the session names the destination only.
func TestUserAgentNamesTheLoad(t *testing.T) {
	s, _, objects := chained(t)
	bucket := newBucket(t)
	for _, size := range []int{small, large} {
		o := storagetest.NewObject("agent.csv", "agent", size)
		stored := storagetest.Put(t, s, bucket, o, storage.Always())
		if _, err := s.Restamp(t.Context(), bucket, o.Key, stored, o.Meta); err != nil {
			t.Fatalf("restamp: %v", err)
		}
	}
	for _, op := range []storagetest.Operation{
		storagetest.PutObject, storagetest.CreateUpload, storagetest.UploadPart, storagetest.CompleteUpload, storagetest.CopyObject, storagetest.CopyPart,
	} {
		for _, r := range objects.Requests(op) {
			agent := r.Header.Get("User-Agent")
			if !strings.Contains(agent, "app/loadfleet") || !strings.Contains(agent, "load/load-agent") {
				t.Errorf("%s: user agent %q", op, agent)
			}
		}
	}
}
