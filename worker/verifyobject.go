package worker

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/storage"
)

// verifyTries is how often an object is downloaded whose body breaks off: all
// else was repeated by the store's client.
const verifyTries = 3

// keptOutcomes is how long the queue surely still has what it recorded: a day
// less than it keeps outcomes.
const keptOutcomes = 29 * 24 * time.Hour

// object looks at what an outcome left in the bucket.
func (v *verification) object(ctx context.Context, o *messages.Outcome) error {
	for try := 1; ; try++ {
		err := v.look(ctx, o)
		if !errors.Is(err, errBrokenOff) || try == verifyTries {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(backoff(200*time.Millisecond, try)):
		}
	}
}

// ledger compares an outcome with the record of its object, which is stored
// together with it, or before it, and gives way to newer ones only.
func (v *verification) ledger(ctx context.Context, o *messages.Outcome) error {
	if v.report.State != messages.EventCompleted || o.Result == messages.Superseded {
		return nil
	}
	record, err := v.cfg.Queue.Objects().Get(ctx, v.commit.Destination, o.Bucket, o.Key)
	if errors.Is(err, queue.ErrNotFound) {
		v.found(FindingRecord, o, "its load is %s, and the ledger has no record of the object", o.Result)
		return nil
	}
	if err != nil {
		return err
	}
	mine := messages.Object{Extraction: v.cfg.Extraction, Generation: o.Generation}
	switch own := record.Load == o.Load; {
	case record.Before(&mine):
		v.found(FindingRecord, o, "the ledger has generation %d of extraction %s", record.Generation, record.Extraction)
	case own && record.RemovedBy == "" && !sameRecord(record, o):
		v.found(FindingRecord, o, "the ledger says %s, ETag %s, %d rows, SHA-256 %s, and the outcome %s, %s, %d, %s",
			record.Result, record.ETag, record.Rows, record.SHA256, o.Result, o.ETag, o.Rows, o.SHA256)
	}
	return nil
}

// sameRecord reports whether the record of an object says what the outcome of its
// load says. What a deletion found is the first attempt's to know, and stays on
// record when a second one finds nothing.
func sameRecord(r *queue.Object, o *messages.Outcome) bool {
	if r.Result == messages.Deleted && o.Result == messages.Deleted {
		return true
	}
	return r.Result == o.Result && r.ETag == o.ETag && r.SHA256 == o.SHA256 && r.Rows == o.Rows
}

func (v *verification) look(ctx context.Context, o *messages.Outcome) error {
	if err := v.ledger(ctx, o); err != nil {
		return err
	}
	body, there, err := v.store.Get(ctx, o.Bucket, o.Key)
	if errors.Is(err, storage.ErrNotFound) {
		return v.absent(ctx, o)
	}
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }() // nothing is left to be read, or wanted
	mine := storage.Meta{Load: o.Load, Extraction: v.cfg.Extraction, Generation: o.Generation, Rows: o.Rows, SHA256: o.SHA256}
	switch own := there.HasMeta && there.Meta.Load == o.Load; {
	case there.HasMeta && !own && newer(there.Meta, mine):
		return v.later(ctx, o, there)
	case o.Result == messages.Deleted:
		v.found(FindingStale, o, "its load deleted it, and it is there again")
		return nil
	case o.Result == messages.Superseded:
		v.found(FindingStale, o, "a newer generation was there, and what is there now is none (%s)", madeBy(there))
		return nil
	case there.HasMeta && !own && newer(mine, there.Meta):
		v.found(FindingStale, o, "generation %d was loaded, and an older one is there (%s)", o.Generation, madeBy(there))
		return nil
	case !own:
		v.found(FindingForeign, o, "another writer's object is there (%s)", madeBy(there))
	default:
		v.metadata(o, there.Meta, mine)
	}
	if o.ETag != "" && there.ETag != o.ETag {
		v.found(FindingETag, o, "its ETag is %s, and %s was recorded", there.ETag, o.ETag)
	}
	if there.Size != o.Bytes {
		v.found(FindingSize, o, "it has %d bytes, and %d were recorded", there.Size, o.Bytes)
	}
	return v.content(o, there, body)
}

// absent looks at a key without an object. One that a newer extraction, or an
// operator, has deleted since is on record as deleted.
func (v *verification) absent(ctx context.Context, o *messages.Outcome) error {
	if o.Result == messages.Deleted {
		return nil
	}
	record, err := v.cfg.Queue.Objects().Get(ctx, v.commit.Destination, o.Bucket, o.Key)
	if err != nil && !errors.Is(err, queue.ErrNotFound) {
		return err
	}
	mine := messages.Object{Extraction: v.cfg.Extraction, Generation: o.Generation}
	if err == nil && record.Result == messages.Deleted && !record.Before(&mine) {
		if o.Result != messages.Superseded {
			v.count(func(r *Report) { r.SupersededLater++ })
		}
		return nil
	}
	v.found(FindingMissingObject, o, "its load is %s, and the bucket has no such object", o.Result)
	return nil
}

// metadata compares what the object says of itself. Rows and content are
// compared with the object itself later; here it is about the words.
func (v *verification) metadata(o *messages.Outcome, said, want storage.Meta) {
	if said != want {
		v.found(FindingMetadata, o, "it says extraction %s, generation %d, %d rows, SHA-256 %s; recorded are %s, %d, %d, %s",
			said.Extraction, said.Generation, said.Rows, said.SHA256, want.Extraction, want.Generation, want.Rows, want.SHA256)
	}
}

func madeBy(there storage.Stored) string {
	if !there.HasMeta {
		return "no load made it, by its metadata"
	}
	return fmt.Sprintf("made by load %s of extraction %s, generation %d", there.Meta.Load, there.Meta.Extraction, there.Meta.Generation)
}

// later looks at an object that a newer generation has replaced: what is in it
// is for that extraction's own verification, but it must be on record.
func (v *verification) later(ctx context.Context, o *messages.Outcome, there storage.Stored) error {
	if o.Result != messages.Superseded {
		v.count(func(r *Report) { r.SupersededLater++ })
	}
	recorded, err := v.recorded(ctx, there.Meta)
	if err != nil || recorded || time.Since(there.Modified) > keptOutcomes {
		return err
	}
	v.found(FindingUnrecorded, o, "a newer generation is there (%s), and nothing is recorded of that extraction", madeBy(there))
	return nil
}

func (v *verification) recorded(ctx context.Context, m storage.Meta) (bool, error) {
	if !messages.ValidID(m.Extraction) || !messages.ValidID(m.Load) {
		return false, nil
	}
	_, err := v.cfg.Queue.Outcome(ctx, m.Extraction, m.Load)
	if err == nil {
		return true, nil
	}
	if !errors.Is(err, queue.ErrNotFound) {
		return false, err
	}
	// It may be on its way: the object comes before its outcome.
	return v.cfg.Queue.Committed(ctx, m.Extraction)
}

// content downloads the object, compares its bytes with the record and reads
// it back as the file it should be.
func (v *verification) content(o *messages.Outcome, there storage.Stored, body io.Reader) error {
	if there.Size > max(2*o.Bytes, foreignBytes) {
		return nil // not ours, which its size has told, and too much to be curious about
	}
	file, err := download(body, there.Size, v.cfg.MemoryBytes, v.cfg.ScratchDir)
	if err != nil {
		return err
	}
	defer file.close()
	sum := hex.EncodeToString(file.sum[:])
	ours := sum == o.SHA256
	if !ours {
		v.found(FindingContent, o, "its bytes have the SHA-256 %s, and %s was recorded", sum, o.SHA256)
	}
	// Bytes that nobody of the fleet wrote are not worth what a reader of
	// hostile files may cost.
	if !messages.Companion(o.Format) && (ours || there.HasMeta && there.Size <= foreignBytes) {
		v.readBack(o, file, there.Size)
	}
	v.count(func(r *Report) {
		r.Objects++
		r.ObjectBytes += there.Size
	})
	return nil
}
