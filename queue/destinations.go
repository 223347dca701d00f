package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/messages"
)

// Destinations stores destinations' documents, sealed by their keyring: what is
// stored are bytes.
type Destinations struct{ q *Queue }

// Destinations is the store of destinations; it is there after Provision.
func (q *Queue) Destinations() *Destinations { return &Destinations{q: q} }

// StoredDestination is one revision of a destination.
type StoredDestination struct {
	ID       string
	Document []byte // nil when this revision deleted it
	Revision uint64
	Time     time.Time
	Deleted  bool
}

// Any is the revision that stands for whatever is stored.
const Any = ^uint64(0)

// Put stores a destination, without a word to the audit, over the revision last read; 0 says that there is
// none yet and [Any] takes what there is. It fails with [ErrRevision] when
// someone else was faster.
func (d *Destinations) Put(ctx context.Context, id string, document []byte, last uint64) (revision uint64, err error) {
	if !messages.ValidID(id) {
		return 0, fmt.Errorf("put destination %q: not 1 to %d letters, digits, dashes or underscores", id, messages.MaxID)
	}
	err = d.do(ctx, "put destination "+id, func(ctx context.Context, kv jetstream.KeyValue) error {
		switch last {
		case Any:
			revision, err = kv.Put(ctx, id, document)
		case 0:
			revision, err = kv.Create(ctx, id, document)
		default:
			revision, err = kv.Update(ctx, id, document, last)
		}
		if errors.Is(err, jetstream.ErrKeyExists) || outrun(err) {
			return errors.Join(ErrRevision, err)
		}
		return err
	})
	if errors.Is(err, ErrRevision) {
		// Our own write, whose answer was lost?
		if stands, getErr := d.Get(ctx, id); getErr == nil && stands.Revision > last && bytes.Equal(stands.Document, document) {
			return stands.Revision, nil
		}
	}
	return revision, err
}

// Get fetches a destination; [ErrNotFound] when there is none.
func (d *Destinations) Get(ctx context.Context, id string) (*StoredDestination, error) {
	if !messages.ValidID(id) {
		return nil, fmt.Errorf("destination %q: %w", id, ErrNotFound)
	}
	var stored *StoredDestination
	err := d.do(ctx, "get destination "+id, func(ctx context.Context, kv jetstream.KeyValue) error {
		entry, err := kv.Get(ctx, id)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			return errors.Join(ErrNotFound, err)
		}
		if err == nil {
			stored = storedDestination(entry)
		}
		return err
	})
	return stored, err
}

// Open fetches a destination with its secret; the revision is for Save. Its errors
// are Get's and [destination.Keyring.Open]'s.
func (d *Destinations) Open(ctx context.Context, k *destination.Keyring, id string) (*destination.Settings, uint64, error) {
	stored, err := d.Get(ctx, id)
	if err != nil {
		return nil, 0, err
	}
	s, err := k.Open(stored.Document)
	return s, stored.Revision, err
}

// Describe is Open without the secret, which no key is needed for.
func (d *Destinations) Describe(ctx context.Context, id string) (*destination.Settings, uint64, error) {
	stored, err := d.Get(ctx, id)
	if err != nil {
		return nil, 0, err
	}
	s, err := destination.Describe(stored.Document)
	return s, stored.Revision, err
}

// Save seals a destination and stores it as Put does, after the audit knows.
func (d *Destinations) Save(ctx context.Context, k *destination.Keyring, s *destination.Settings, over uint64, edit Edit) (uint64, error) {
	sealed, err := k.Seal(s)
	if err != nil {
		return 0, err
	}
	return d.audited(ctx, s.ID, edit, fieldChanges(edit.From, s), func() (uint64, error) { return d.Put(ctx, s.ID, sealed, over) })
}

// LeftBehind is what [destination.LeftBehind] says of changes to a stored
// destination, as far as the ledger of objects knows.
func (d *Destinations) LeftBehind(ctx context.Context, old *destination.Settings, changes []destination.Change) (string, error) {
	if destination.LeftBehind(changes, old.Bucket, 0, false) == "" {
		return "", nil // whatever there is
	}
	there := map[string]bool{} // a record that changes meanwhile comes twice
	for o, err := range d.q.Objects().All(ctx, old.ID) {
		if err != nil {
			return "", fmt.Errorf("count the objects that would be left behind: %w", err)
		}
		there[o.Bucket+"\x00"+o.Key] = o.Result != messages.Deleted
	}
	known := 0
	for _, is := range there {
		if is {
			known++
		}
	}
	history, err := d.History(ctx, old.ID)
	if err != nil {
		return "", err
	}
	all := len(history) == 0 || time.Since(history[0].Time) < KeepObjects
	return destination.LeftBehind(changes, old.Bucket, known, all), nil
}

// List fetches every destination, by id.
func (d *Destinations) List(ctx context.Context) ([]*StoredDestination, error) {
	var all []*StoredDestination
	err := d.do(ctx, "list destinations", func(ctx context.Context, kv jetstream.KeyValue) error {
		watcher, err := kv.WatchAll(ctx, jetstream.IgnoreDeletes())
		if err != nil {
			return err
		}
		defer stopWatching(watcher)
		all = nil
		for {
			select {
			case entry, ok := <-watcher.Updates():
				if !ok || entry == nil {
					return nil
				}
				all = append(all, storedDestination(entry))
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	slices.SortFunc(all, func(a, b *StoredDestination) int { return strings.Compare(a.ID, b.ID) })
	return all, err
}

// Delete deletes a destination, after the audit knows; its history stays.
// Deleting one that is not there succeeds.
func (d *Destinations) Delete(ctx context.Context, id, by string) error {
	if !messages.ValidID(id) {
		return fmt.Errorf("delete destination %q: %w", id, ErrNotFound)
	}
	_, err := d.audited(ctx, id, Edit{Action: messages.DestinationDelete, By: by}, []messages.FieldChange{}, func() (uint64, error) {
		return 0, d.do(ctx, "delete destination "+id, func(ctx context.Context, kv jetstream.KeyValue) error {
			return kv.Delete(ctx, id)
		})
	})
	return err
}

// History fetches the last 64 revisions of a destination, the oldest first.
func (d *Destinations) History(ctx context.Context, id string) ([]*StoredDestination, error) {
	if !messages.ValidID(id) {
		return nil, fmt.Errorf("destination %q: %w", id, ErrNotFound)
	}
	var all []*StoredDestination
	err := d.do(ctx, "history of destination "+id, func(ctx context.Context, kv jetstream.KeyValue) error {
		entries, err := kv.History(ctx, id)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			return errors.Join(ErrNotFound, err)
		}
		all = nil
		for _, entry := range entries {
			all = append(all, storedDestination(entry))
		}
		return err
	})
	return all, err
}

// Watch yields every destination as it is now and then each change, until ctx
// ends; the last thing it yields is ctx's cause or what went wrong.
func (d *Destinations) Watch(ctx context.Context) iter.Seq2[*StoredDestination, error] {
	return func(yield func(*StoredDestination, error) bool) {
		var watcher jetstream.KeyWatcher
		// The watcher lives as long as its context: not that of one try.
		err := d.do(ctx, "watch destinations", func(_ context.Context, kv jetstream.KeyValue) (err error) {
			watcher, err = kv.WatchAll(ctx)
			return err
		})
		if err != nil {
			yield(nil, err)
			return
		}
		defer stopWatching(watcher)
		for {
			select {
			case entry, ok := <-watcher.Updates():
				if ok {
					if entry != nil && !yield(storedDestination(entry), nil) {
						return
					}
					continue
				}
			case <-ctx.Done():
			case <-d.q.life.Done():
			}
			// The updates end with ctx as well as with the connection.
			cause := ErrClosed
			if ctx.Err() != nil {
				cause = context.Cause(ctx)
			}
			yield(nil, fmt.Errorf("watch destinations: %w", cause))
			return
		}
	}
}

func (d *Destinations) do(ctx context.Context, what string, f func(context.Context, jetstream.KeyValue) error) error {
	return d.q.retry(ctx, what, func(ctx context.Context) error {
		kv, err := d.q.js.KeyValue(ctx, bucketDestinations)
		if err != nil {
			return err
		}
		return f(ctx, kv)
	})
}

func storedDestination(e jetstream.KeyValueEntry) *StoredDestination {
	s := &StoredDestination{ID: e.Key(), Document: e.Value(), Revision: e.Revision(), Time: e.Created().UTC()}
	if e.Operation() != jetstream.KeyValuePut {
		s.Document, s.Deleted = nil, true
	}
	return s
}

// stopWatching ends a watcher. It fails when the connection is gone, and then
// the server ends the watcher by itself.
func stopWatching(w jetstream.KeyWatcher) { _ = w.Stop() }
