package worker

import (
	"context"
	"fmt"
	"sync"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/storage"
)

// stores keeps one open store per destination, as of its last revision: a
// rotated key or a corrected role counts from the next load on.
type stores struct {
	destinations *queue.Destinations
	keyring      *destination.Keyring
	cfg          storage.Config

	mu   sync.Mutex
	open map[string]openStore
}

type openStore struct {
	revision uint64
	store    *storage.Store
}

func newStores(d *queue.Destinations, k *destination.Keyring, cfg storage.Config) *stores {
	return &stores{destinations: d, keyring: k, cfg: cfg, open: map[string]openStore{}}
}

func (s *stores) get(ctx context.Context, id string) (*storage.Store, error) {
	stored, err := s.destinations.Get(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("destination %s: %w", id, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if o, ok := s.open[id]; ok && o.revision == stored.Revision {
		return o.store, nil
	}
	settings, err := s.keyring.Open(stored.Document)
	if err != nil {
		return nil, fmt.Errorf("destination %s: %w", id, err)
	}
	store, err := storage.OpenDestination(ctx, settings, s.cfg)
	if err != nil {
		return nil, fmt.Errorf("destination %s: %w", id, err)
	}
	if old, ok := s.open[id]; ok {
		old.store.Close() // idle connections only: loads in work keep theirs
	}
	s.open[id] = openStore{stored.Revision, store}
	return store, nil
}

func (s *stores) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.open {
		o.store.Close()
	}
	clear(s.open)
}
