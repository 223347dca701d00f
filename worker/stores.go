package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/storage"
)

// errPaused and errUnapproved say that an operator holds the destination back.
var (
	errPaused     = errors.New("the destination is paused")
	errUnapproved = errors.New("the destination awaits an operator's approval")
)

// errNotAdmitted says that the destination's owner took back what the
// dispatcher had still found.
var errNotAdmitted = errors.New("the workspace may not load into this destination any more")

// openError is a stored destination that this worker cannot make a store of.
type openError struct{ err error }

func (e *openError) Error() string { return e.err.Error() }
func (e *openError) Unwrap() error { return e.err }

// stores keeps one open store per destination, as of its last revision: a
// rotated key or a corrected role counts for the loads that begin after it. It
// hears of changes by a watch, since to ask for the revision would cost each
// load a round trip; what a store refuses is looked up all the same.
type stores struct {
	destinations *queue.Destinations
	keyring      *destination.Keyring
	cfg          storage.Config
	log          *zap.Logger

	changes func(id string)                                          // hears of destinations that were changed
	opened  func(*destination.Settings)                              // and of those that are opened
	look    func(ctx context.Context, id string) (*openStore, error) // lookUp, except in tests

	mu        sync.Mutex
	open      map[string]*openStore
	opening   map[string]*opening
	followed  bool              // whether changes are heard of: without, nothing is kept
	revisions map[string]uint64 // the last heard of, by destination
}

// openStore is a destination at one revision. It is closed when it is out of
// date and no load uses it.
type openStore struct {
	*storage.Store
	settings *destination.Settings
	revision uint64
	users    int
	outdated bool
}

func newStores(d *queue.Destinations, k *destination.Keyring, cfg storage.Config, log *zap.Logger) *stores {
	s := &stores{
		destinations: d, keyring: k, cfg: cfg, log: log,
		open: map[string]*openStore{}, opening: map[string]*opening{}, revisions: map[string]uint64{},
		changes: func(string) {}, opened: func(*destination.Settings) {},
	}
	s.look = s.lookUp
	return s
}

// opening is a destination that is being opened for the loads that want it.
type opening struct {
	wanted int           // by so many loads
	done   chan struct{} // closed behind what follows
	store  *openStore
	err    error
	left   bool // who was to open it was stopped: somebody else may
}

// get is the destination's store; the caller gives it back. Of the loads that
// want it at once, the first opens it, and the others take what it found: after a
// worker's start that are all of its slots, and each would ask the queue, unseal the
// key and connect. What they get may be some milliseconds old; so may what the watch
// has kept.
func (s *stores) get(ctx context.Context, id string) (*openStore, error) {
	for {
		s.mu.Lock()
		if o := s.open[id]; o != nil {
			o.users++
			s.mu.Unlock()
			return o, nil
		}
		p, begun := s.opening[id]
		if !begun {
			p = &opening{done: make(chan struct{})}
			s.opening[id] = p
		}
		p.wanted++
		s.mu.Unlock()
		if !begun {
			s.fetch(ctx, id, p)
			return p.store, p.err
		}
		select {
		case <-p.done:
		case <-ctx.Done():
			s.leave(p)
			return nil, fmt.Errorf("destination %s: %w", id, context.Cause(ctx))
		}
		if !p.left {
			return p.store, p.err
		}
	}
}

// fetch opens the destination for all who want it.
func (s *stores) fetch(ctx context.Context, id string, p *opening) {
	o, err := s.look(ctx, id)
	if err == nil {
		s.opened(o.settings)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	defer close(p.done)
	delete(s.opening, id)
	if err != nil {
		p.err, p.left = err, ctx.Err() != nil
		return
	}
	o.users = p.wanted
	o.outdated = !s.followed || o.revision < s.revisions[id]
	if !o.outdated {
		s.drop(id)
		s.open[id] = o
	}
	p.store = o
}

// leave is for a load that was stopped before it had its store.
func (s *stores) leave(p *opening) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.wanted--
	if p.store != nil {
		p.store.users--
		p.store.closeUnused()
	}
}

// lookUp opens the destination as it is stored now.
func (s *stores) lookUp(ctx context.Context, id string) (*openStore, error) {
	stored, err := s.destinations.Get(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("destination %s: %w", id, err)
	}
	settings, err := s.keyring.Open(stored.Document)
	if err != nil {
		return nil, fmt.Errorf("destination %s: %w", id, &openError{err})
	}
	store, err := storage.OpenDestination(ctx, settings, s.cfg)
	if err != nil {
		return nil, fmt.Errorf("destination %s: %w", id, &openError{err})
	}
	return &openStore{Store: store, settings: settings, revision: stored.Revision}, nil
}

// admit refuses a load that the destination does not take as it is now.
func (o *openStore) admit(workspace string) error {
	switch {
	case o.settings.Paused:
		return errPaused
	case o.settings.NeedsApproval() && !o.settings.Approved:
		return errUnapproved
	case !o.settings.Admits(workspace):
		return errNotAdmitted
	}
	return nil
}

// leftBehind is the error of a load whose bucket refuses it, when the destination
// has another bucket by now: it is the load's then. A load keeps the bucket that it
// was made for, and nothing that is done to the destination would let it pass, but
// its refusal would keep the loads of the new bucket back.
func (s *stores) leftBehind(ctx context.Context, o *openStore, l *messages.Load, err error) error {
	if l.Bucket == o.settings.Bucket || !oneOf(storage.ErrNoBucket, storage.ErrDenied, storage.ErrRegion)(err) {
		return err
	}
	// The store may be older than the load, and its bucket the one that was left.
	stored, failed := s.destinations.Get(ctx, l.Destination)
	if failed != nil {
		return err
	}
	now, failed := destination.Describe(stored.Document)
	if failed != nil || now.Bucket == l.Bucket {
		return err
	}
	return &LoadError{
		Reason: messages.ReasonDestination, Err: err,
		Remedy: fmt.Sprintf("the load was made for the bucket %s, and the destination loads into %s now: extract again and discard this; or let %s take it, then replay",
			l.Bucket, now.Bucket, l.Bucket),
	}
}

// giveBack ends the use of a store. One that refused a load is looked up anew
// for the next: a change of it may have passed the watch by.
func (s *stores) giveBack(o *openStore, refused bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id := o.settings.ID; refused && s.open[id] == o {
		s.drop(id)
	}
	o.users--
	o.closeUnused()
}

// drop takes a store out of use. The lock is held.
func (s *stores) drop(id string) {
	if o := s.open[id]; o != nil {
		delete(s.open, id)
		o.outdated = true
		o.closeUnused()
	}
}

func (o *openStore) closeUnused() {
	if o.outdated && o.users == 0 {
		o.Close()
	}
}

// follow hears of changes until ctx ends.
func (s *stores) follow(ctx context.Context) {
	for ctx.Err() == nil {
		for changed, err := range s.destinations.Watch(ctx) {
			if err != nil {
				if ctx.Err() == nil {
					s.log.Warn("destinations", zap.Error(err))
				}
				break
			}
			s.changed(changed)
		}
		s.mu.Lock()
		s.followed = false
		for id := range s.open {
			s.drop(id)
		}
		s.mu.Unlock()
		_ = wait(ctx, time.Second)
	}
}

func (s *stores) changed(d *queue.StoredDestination) {
	s.changes(d.ID)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.followed = true
	s.revisions[d.ID] = max(s.revisions[d.ID], d.Revision)
	if o := s.open[d.ID]; o != nil && o.revision < d.Revision {
		s.drop(d.ID)
	}
}

// close closes every store; none is in use any more.
func (s *stores) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.open {
		s.drop(id)
	}
}
