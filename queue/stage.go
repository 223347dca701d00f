package queue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/nats-io/nats.go/jetstream"
)

// bucketStage is the object store of staged files.
const bucketStage = "stage"

// Stage is a stage in an object store of JetStream, for fleets without a
// bucket of their own. Whoever may write it may write every workspace's files:
// an object store cannot tell them apart, so that deploy/nats gives no extractor
// a right to it.
type Stage struct {
	q     *Queue
	store jetstream.ObjectStore
}

// OpenStage opens the object store, and makes it when it is not there. What is
// staged stays for 7 days, like rows.
func (q *Queue) OpenStage(ctx context.Context) (*Stage, error) {
	o := &Stage{q: q}
	err := q.retry(ctx, "open object store "+bucketStage, func(ctx context.Context) (err error) {
		o.store, err = q.js.CreateOrUpdateObjectStore(ctx, jetstream.ObjectStoreConfig{
			Bucket: bucketStage, Description: "files of staged extractions", TTL: keepRows,
			Storage: jetstream.FileStorage, Replicas: max(q.cfg.Topology.Replicas, 1),
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	return o, nil
}

// Put stores a file, over one of the same name.
func (o *Stage) Put(ctx context.Context, name string, body io.Reader) error {
	meta := jetstream.ObjectMeta{Name: name, Opts: &jetstream.ObjectMetaOptions{ChunkSize: 1 << 20}}
	if _, err := o.store.Put(ctx, meta, body); err != nil {
		return fmt.Errorf("stage %s: %w", name, err)
	}
	return nil
}

// Open opens a file for reading from its start to its end, a megabyte at a time;
// the error wraps [fs.ErrNotExist] when there is none. The caller closes it.
func (o *Stage) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	object, err := o.store.Get(ctx, name)
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return nil, fmt.Errorf("staged %s: %w: %w", name, fs.ErrNotExist, err)
	}
	if err != nil {
		return nil, fmt.Errorf("staged %s: %w", name, err)
	}
	return object, nil
}
