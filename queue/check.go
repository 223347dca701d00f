package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// ErrNotProvisioned says that the server lacks a stream, consumer or bucket
// that this program uses. Provision makes it.
var ErrNotProvisioned = errors.New("the queue is not provisioned for this version: run `loadfleet provision` with a provisioner's credentials")

// metadataProvisioned is where the bucket of destinations says what Provision
// made. The bucket is made last: when it says so, everything is there.
const metadataProvisioned = "loadfleet.provisioned"

// provisioned is the names of all that Provision makes.
func (c Config) provisioned() []string {
	var names []string
	for _, s := range c.streamConfigs() {
		names = append(names, s.Name)
	}
	for stream, consumers := range c.consumerConfigs() {
		for _, consumer := range consumers {
			names = append(names, stream+"/"+consumer.Durable)
		}
	}
	// EVENTS was made by older versions, and took less.
	names = append(names, streamEvents+".tallies", streamEvents+".control")
	slices.Sort(names)
	return names
}

// Check finds out whether Provision, of this program's version or a later one,
// has made what is used here; [ErrNotProvisioned] when it has not. It waits
// for a server that is away, asks for one thing that every role may see, and
// needs none of Provision's rights.
func (q *Queue) Check(ctx context.Context) error {
	return q.retry(ctx, "check the queue", func(ctx context.Context) error {
		kv, err := q.js.KeyValue(ctx, bucketDestinations)
		if errors.Is(err, jetstream.ErrBucketNotFound) {
			return fmt.Errorf("%w (there is no bucket %s)", ErrNotProvisioned, bucketDestinations)
		}
		if err != nil {
			return err
		}
		status, err := kv.Status(ctx)
		if err != nil {
			return err
		}
		made := strings.Split(status.Metadata()[metadataProvisioned], " ")
		for _, name := range q.cfg.provisioned() {
			if !slices.Contains(made, name) {
				return fmt.Errorf("%w (there is no %s)", ErrNotProvisioned, name)
			}
		}
		return nil
	})
}
