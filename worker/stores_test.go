package worker

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/storage"
)

// slowStores say when a destination is looked up, which ends when it is told to.
type slowStores struct {
	*stores
	began chan struct{}
	end   chan error
}

func newSlowStores(t *testing.T) *slowStores {
	t.Helper()
	l := &slowStores{stores: newStores(nil, nil, storage.Config{}, zap.NewNop()), began: make(chan struct{}), end: make(chan error)}
	l.followed = true
	l.look = func(ctx context.Context, id string) (*openStore, error) {
		l.began <- struct{}{}
		if err := <-l.end; err != nil {
			return nil, err
		}
		settings := &destination.Settings{ID: id, Endpoint: "http://127.0.0.1:9", ConnectionOption: "access_keys", AccessKeyID: "AKIAACMEACMEACMEACME", SecretAccessKey: destination.NewSecret("secret")}
		store, err := storage.OpenDestination(ctx, settings, storage.Config{})
		if err != nil {
			return nil, err
		}
		return &openStore{Store: store, settings: settings, revision: 1}, nil
	}
	return l
}

// got is what a load was given.
type got struct {
	store *openStore
	err   error
}

// want asks for the destination for n loads, each of which says what it was given.
func (l *slowStores) want(ctx context.Context, n int) <-chan got {
	all := make(chan got, n)
	for range n {
		go func() {
			o, err := l.get(ctx, "acme")
			all <- got{o, err}
		}()
	}
	return all
}

// wanted waits until n loads want the destination.
func (l *slowStores) wanted(t *testing.T, n int) {
	t.Helper()
	for limit := time.Now().Add(time.Minute); time.Now().Before(limit); runtime.Gosched() {
		l.mu.Lock()
		p := l.opening["acme"]
		is := p != nil && p.wanted == n
		l.mu.Unlock()
		if is {
			return
		}
	}
	t.Fatalf("within a minute: no %d loads that want the destination", n)
}

// TestStoresOpenOnce wants a destination for many loads at once: it is opened for
// all of them by one, and closed behind the last, whether it is kept or not.
func TestStoresOpenOnce(t *testing.T) {
	t.Parallel()
	for _, followed := range []bool{true, false} {
		l := newSlowStores(t)
		l.followed = followed
		all := l.want(t.Context(), 20)
		<-l.began
		l.wanted(t, 20)
		l.end <- nil
		var first *openStore
		for range 20 {
			g := <-all
			if g.err != nil {
				t.Fatal(g.err)
			}
			if first == nil {
				first = g.store
			}
			if g.store != first {
				t.Error("two loads have stores of their own")
			}
		}
		if first.users != 20 || first.outdated == followed {
			t.Errorf("followed %v: %d users, outdated %v; want 20", followed, first.users, first.outdated)
		}
		for range 20 {
			l.giveBack(first, false)
		}
		if first.users != 0 || len(l.opening) != 0 || (l.open["acme"] != nil) != followed {
			t.Errorf("followed %v: %d users, %d opening, %d open when all is over", followed, first.users, len(l.opening), len(l.open))
		}
	}
}

// TestStoresOpeningFails lets an opening fail: all loads that wait hear why, and
// the next one looks again.
func TestStoresOpeningFails(t *testing.T) {
	t.Parallel()
	l := newSlowStores(t)
	all := l.want(t.Context(), 5)
	<-l.began
	l.wanted(t, 5)
	damaged := errors.New("damaged")
	l.end <- damaged
	for range 5 {
		if g := <-all; !errors.Is(g.err, damaged) {
			t.Errorf("got %v, want that it is damaged", g.err)
		}
	}
	next := l.want(t.Context(), 1)
	<-l.began
	l.end <- nil
	if g := <-next; g.err != nil {
		t.Error(g.err)
	}
}

// TestStoresOpenerStopped stops the load that opens the destination, and one that
// waits: the others do not notice.
func TestStoresOpenerStopped(t *testing.T) {
	t.Parallel()
	l := newSlowStores(t)
	stopping, stop := context.WithCancel(t.Context())
	opener := l.want(stopping, 1)
	<-l.began
	impatient, leave := context.WithCancel(t.Context())
	waiting := l.want(impatient, 1)
	all := l.want(t.Context(), 3)
	l.wanted(t, 5)
	leave()
	if g := <-waiting; !errors.Is(g.err, context.Canceled) {
		t.Errorf("a load that was stopped while it waited has %v", g.err)
	}
	l.wanted(t, 4)
	stop()
	l.end <- stopping.Err()
	if g := <-opener; !errors.Is(g.err, context.Canceled) {
		t.Errorf("the load that was stopped has %v", g.err)
	}
	<-l.began // another opens it
	l.wanted(t, 3)
	l.end <- nil
	for range 3 {
		g := <-all
		if g.err != nil {
			t.Fatal(g.err)
		}
		l.giveBack(g.store, false)
	}
	if o := l.open["acme"]; o == nil || o.users != 0 {
		t.Errorf("open is %+v, want a store nobody uses", o)
	}
}
