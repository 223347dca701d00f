package queue

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/loadfleet/loadfleet/messages"
)

// The streams.
const (
	streamRows    = "ROWS"
	streamCommits = "COMMITS"
	streamLoads   = "LOADS"
	streamSlices  = "SLICES"
	streamEvents  = "EVENTS"
	streamPast    = "PAST"
	streamDead    = "DEAD"
	streamSchemas = "SCHEMAS"

	bucketDestinations = "destinations"
)

const consumerDispatcher = "dispatcher"

// laneConsumer is the durable consumer of a lane.
func laneConsumer(lane messages.Lane) string { return "loads-" + string(lane) }

// KeepEvents is how long the queue knows how a load ended, and KeepObjects how
// long it knows an object, who replayed or discarded what, and who paused whom.
const (
	KeepEvents  = 30 * 24 * time.Hour
	KeepObjects = 400 * 24 * time.Hour
)

// How long messages stay when nothing removes them earlier, and how long a
// repeated Nats-Msg-Id is recognised.
const (
	keepRows    = 7 * 24 * time.Hour
	keepCommits = 30 * 24 * time.Hour
	keepSlices  = 30 * 24 * time.Hour
	keepPast    = 30 * 24 * time.Hour
	// A marker must outlive every delivery of its commit, or the extraction
	// could be dispatched again.
	keepMarkers = keepCommits + 7*24*time.Hour

	recallRows    = 24 * time.Hour // an extractor that died is started again within it
	recallCommits = 24 * time.Hour
	recall        = 10 * time.Minute
)

// Topology is what an operator chooses about the streams.
type Topology struct {
	Replicas int // 1 when zero; 3 for a fleet that survives the loss of a server

	// The most bytes a stream may hold; 0 is no limit. A full stream refuses
	// publishers, who wait.
	RowsBytes, LoadsBytes, SlicesBytes int64
	// DeadBytes is the same of dead letters, which nothing removes but people;
	// 0 is [DefaultDeadBytes], -1 no limit. JetStream sets it aside on its disk.
	// From [NearlyFull] of it on, logs and status warn; when it is full, what
	// dies stays on the queue and is tried again.
	DeadBytes int64
}

// DefaultDeadBytes has room for about a million loads of a few hundred rows.
const DefaultDeadBytes = 2 << 30

// NearlyFull is the share of a stream's limit from which it is warned of.
const NearlyFull = 0.8

// streamConfigs is every stream there is. What each promises is written down
// in ARCHITECTURE.md.
func (c Config) streamConfigs() []jetstream.StreamConfig {
	t := c.Topology
	limit := func(bytes int64) int64 {
		if bytes == 0 {
			return -1
		}
		return bytes
	}
	all := []jetstream.StreamConfig{{
		Name:        streamRows,
		Description: "batches of extractions that are not dispatched yet",
		Subjects:    []string{"rows.*.*"},
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardNew,
		MaxBytes:    limit(t.RowsBytes),
		MaxAge:      keepRows,
		Duplicates:  recallRows,
		AllowDirect: true,
	}, {
		Name:        streamCommits,
		Description: "one commit per extraction, and replayed ones",
		Subjects:    []string{"commit.*.*", "recommit.*.*.*"},
		Retention:   jetstream.LimitsPolicy,
		// A second commit of an extraction is refused by the server, whatever
		// the client sends.
		MaxMsgsPerSubject:    1,
		Discard:              jetstream.DiscardNew,
		DiscardNewPerSubject: true,
		MaxAge:               keepCommits,
		Duplicates:           recallCommits,
	}, {
		Name:               streamLoads,
		Description:        "loads that wait for a worker, and markers of what was dispatched",
		Subjects:           []string{"load.>", "dispatched.>"},
		Retention:          jetstream.WorkQueuePolicy,
		Discard:            jetstream.DiscardNew,
		MaxBytes:           limit(t.LoadsBytes),
		Duplicates:         recall,
		AllowAtomicPublish: true,
		AllowMsgTTL:        true,
	}, {
		Name:        streamSlices,
		Description: "rows of loads too large to carry them",
		Subjects:    []string{"slice.>"},
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardNew,
		MaxBytes:    limit(t.SlicesBytes),
		MaxAge:      keepSlices,
		Duplicates:  recall,
		AllowDirect: true,
	}, {
		// One stream, so that the sequences of outcomes and of the tallies that
		// count them can be compared. It keeps all as long as the records of
		// objects; events and tallies bring a shorter TTL.
		Name:               streamEvents,
		Description:        "the last word on every extraction, load and object",
		Subjects:           []string{"event.>", "tally.*.*.*", "object.*.*", "lease.*.*", "audit.>", "control.*.*"},
		Retention:          jetstream.LimitsPolicy,
		MaxMsgsPerSubject:  1,
		Discard:            jetstream.DiscardOld,
		MaxAge:             KeepObjects,
		Duplicates:         recall,
		AllowDirect:        true,
		AllowAtomicPublish: true,
		AllowMsgTTL:        true,
	}, {
		Name:              streamPast,
		Description:       "what earlier deliveries left of loads that had to be postponed",
		Subjects:          []string{"past.*"},
		Retention:         jetstream.LimitsPolicy,
		MaxMsgsPerSubject: 1,
		Discard:           jetstream.DiscardOld,
		MaxAge:            keepPast,
		Duplicates:        recall,
		AllowDirect:       true,
	}, {
		Name:              streamSchemas,
		Description:       "the columns that tables have had so far",
		Subjects:          []string{"schema.*.*.*"},
		Retention:         jetstream.LimitsPolicy,
		MaxMsgsPerSubject: 1,
		Discard:           jetstream.DiscardOld,
		Duplicates:        recall,
		AllowDirect:       true,
	}, {
		Name:                 streamDead,
		Description:          "what could not be carried out, until it is replayed or discarded",
		Subjects:             []string{"dead.>"},
		Retention:            jetstream.LimitsPolicy,
		MaxMsgsPerSubject:    1,
		Discard:              jetstream.DiscardNew,
		DiscardNewPerSubject: true,
		MaxBytes:             limit(cmp.Or(t.DeadBytes, DefaultDeadBytes)),
		Duplicates:           recall,
		AllowDirect:          true,
	}}
	for i := range all {
		all[i].Storage = jetstream.FileStorage
		all[i].Replicas = max(t.Replicas, 1)
	}
	return all
}

// consumerConfigs is every durable consumer there is, by stream. None has a
// BackOff, which would override AckWait and skew delays, nor a MaxDeliver,
// which would strand messages silently.
func (c Config) consumerConfigs() map[string][]jetstream.ConsumerConfig {
	durable := func(name, filter string) jetstream.ConsumerConfig {
		return jetstream.ConsumerConfig{
			Durable:       name,
			FilterSubject: filter,
			DeliverPolicy: jetstream.DeliverAllPolicy,
			AckPolicy:     jetstream.AckExplicitPolicy,
			AckWait:       c.AckWait,
			MaxDeliver:    -1,
			// Delayed deliveries count here: a low limit would let one
			// destination that is busy stop all others. One costs about 125
			// bytes of the server's memory.
			MaxAckPending: 200_000,
			MaxWaiting:    4096,
		}
	}
	all := map[string][]jetstream.ConsumerConfig{
		streamCommits: {durable(consumerDispatcher, "")},
	}
	for _, lane := range messages.Lanes() {
		all[streamLoads] = append(all[streamLoads], durable(laneConsumer(lane), messages.LaneSubjects(lane)))
	}
	parked := durable(laneConsumer(messages.Parked), messages.LaneSubjects(messages.Parked))
	parked.HeadersOnly, parked.MaxAckPending = true, 1_000_000
	all[streamLoads] = append(all[streamLoads], parked)
	return all
}

// Provision makes every stream, consumer and bucket, or brings those that are
// there up to date. It may be repeated at any time, and by several at once. It
// needs the rights of a provisioner: the actors only Check.
func (q *Queue) Provision(ctx context.Context) error {
	for _, s := range q.cfg.streamConfigs() {
		if err := q.retry(ctx, "provision stream "+s.Name, func(ctx context.Context) error {
			_, err := q.js.CreateOrUpdateStream(ctx, s)
			return err
		}); err != nil {
			if noRoom(err) {
				err = fmt.Errorf("%w: the server has less than %d bytes to set aside; give it more, or the stream less (dead letters: --dead-letters-limit)", err, s.MaxBytes)
			}
			return err
		}
	}
	for stream, consumers := range q.cfg.consumerConfigs() {
		for _, c := range consumers {
			if err := q.retry(ctx, fmt.Sprintf("provision consumer %s of %s", c.Durable, stream), func(ctx context.Context) error {
				_, err := q.js.CreateOrUpdateConsumer(ctx, stream, c)
				return err
			}); err != nil {
				return err
			}
		}
	}
	return q.retry(ctx, "provision bucket "+bucketDestinations, func(ctx context.Context) error {
		_, err := q.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket:      bucketDestinations,
			Description: "destinations, their secrets sealed",
			Metadata:    map[string]string{metadataProvisioned: strings.Join(q.cfg.provisioned(), " ")},
			History:     64,
			Storage:     jetstream.FileStorage,
			Replicas:    max(q.cfg.Topology.Replicas, 1),
		})
		return err
	})
}
