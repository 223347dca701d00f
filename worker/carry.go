package worker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/storage"
)

// carried is what was made of a load, as far as it came.
type carried struct {
	result messages.Result
	bytes  int64
	sha256 string // of the file
	etag   string // of the object; empty when it is not this load's
	// How long it took: to read the rows, to write them as a file, to put it.
	decode, encode, put time.Duration
}

// carry makes the load's object: rows to file, file to bucket.
func (w *Worker) carry(ctx context.Context, d *queue.LoadDelivery) (made carried, err error) {
	l := d.Load
	store, err := w.stores.get(ctx, l.Destination)
	if err != nil {
		return made, err
	}
	defer func() { w.stores.giveBack(store, err != nil) }()
	if err := store.admit(l.Workspace); err != nil {
		return made, fmt.Errorf("destination %s: %w", l.Destination, err)
	}
	defer func() { err = w.stores.leftBehind(ctx, store, l, err) }()
	ctx = storage.WithPermit(ctx, d.Held)
	p, err := w.place(ctx, d, store)
	if err != nil {
		return made, err
	}
	if l.Delete {
		return w.remove(ctx, d, p)
	}
	file := w.spools.take()
	defer func() { err = errors.Join(err, w.spools.giveBack(file)) }()
	began := time.Now()
	err = w.spanned(ctx, "encode", func(ctx context.Context) (err error) {
		made.decode, err = w.encode(ctx, d, file)
		return err
	})
	made.encode = time.Since(began) - made.decode
	if err != nil {
		return made, fmt.Errorf("encode: %w", err)
	}
	sum := file.sum()
	made.bytes, made.sha256 = file.size, hex.EncodeToString(sum[:])
	began = time.Now()
	p.object.Body, p.object.Size, p.object.SHA256, p.object.Meta.SHA256 = file, file.size, sum, made.sha256
	var result messages.Result
	var stored storage.Stored
	err = w.spanned(ctx, "put", func(ctx context.Context) error {
		return w.guarded(ctx, d, p, func(ctx context.Context) (err error) {
			result, stored, err = p.put(ctx)
			return err
		})
	})
	made.put = time.Since(began)
	if err != nil {
		return made, fmt.Errorf("place: %w", err)
	}
	made.result = result
	if result != messages.Superseded {
		made.etag = stored.ETag
	}
	return made, nil
}

// remove deletes the load's object. Its outcome tells what was deleted.
func (w *Worker) remove(ctx context.Context, d *queue.LoadDelivery, p *place) (made carried, err error) {
	began := time.Now()
	var result messages.Result
	var was storage.Stored
	err = w.spanned(ctx, "delete", func(ctx context.Context) error {
		return w.guarded(ctx, d, p, func(ctx context.Context) (err error) {
			result, was, err = p.remove(ctx)
			return err
		})
	})
	made.put = time.Since(began)
	if err != nil {
		return made, fmt.Errorf("delete: %w", err)
	}
	made.result = result
	if result == messages.Deleted {
		made.sha256, made.etag = was.Meta.SHA256, was.ETag
	}
	return made, nil
}

// place looks the load's object up in the ledger. What it says saves a look at
// the bucket; without it the load is carried out all the same.
func (w *Worker) place(ctx context.Context, d *queue.LoadDelivery, store *openStore) (*place, error) {
	l := d.Load
	p := &place{
		store: store.Store, load: l, asked: time.Now(),
		object: storage.Object{
			Key: l.Key, ContentType: l.ContentType(), Holds: string(l.Part.Holds),
			Meta: storage.Meta{Load: l.ID, Extraction: l.Extraction, Generation: l.Generation, Rows: l.Rows},
		},
		ledger: deliveryLedger{d, w.queue.Objects()}, deletes: store.settings.EmptyPartition == destination.DeleteEmpty,
	}
	remembered, err := d.Object(ctx)
	if _, unreadable := errors.AsType[*messages.DecodeError](err); err != nil && !unreadable {
		return nil, fmt.Errorf("look the object up: %w", err)
	}
	p.remembered = remembered
	if looked := d.Looked(); !looked.IsZero() {
		p.asked = looked // with other loads, maybe, and some time ago
	}
	return p, nil
}

// encode writes the load's rows as the file that its plan says; decode is how
// much of the time went into reading them. What goes wrong with the rows or the
// plan does so every time.
func (w *Worker) encode(ctx context.Context, d *queue.LoadDelivery, file *spool) (decode time.Duration, err error) {
	l := d.Load
	if l.Sidecar != "" {
		return 0, writeSidecar(d, file)
	}
	if l.Manifest != nil {
		return 0, writeManifest(ctx, w.queue, l, file)
	}
	var out encoding.Writer
	var rows int64
	reading := time.Now()
	for part, err := range w.rows(ctx, d) {
		decode += time.Since(reading)
		if err != nil {
			return decode, err
		}
		if err := checkPartition(l, part); err != nil {
			return decode, err
		}
		if part, err = part.Without(l.File.Without); err != nil {
			return decode, undecodable("%w", err)
		}
		if out == nil {
			if out, err = encoding.NewWriter(file, part.Schema(), fileOptions(l)); err != nil {
				return decode, unwritable(err, "a newer dispatcher may have planned it: update the workers, then replay")
			}
		}
		if err := out.Write(part); err != nil {
			return decode, unwritable(err, "")
		}
		rows += int64(part.Len())
		reading = time.Now()
	}
	if out == nil {
		return decode, undecodable("the load carries no rows, not even a schema")
	}
	if rows != l.Rows {
		return decode, undecodable("the load carries %d rows and says %d", rows, l.Rows)
	}
	return decode, unwritable(out.Close(), "")
}

func fileOptions(l *messages.Load) encoding.FileOptions {
	return encoding.FileOptions{Format: l.File.Format, Separator: l.File.Separator, Compression: l.File.Compression}
}

// unwritable is the error of an encoder: the spool's, or final.
func unwritable(err error, remedy string) error {
	if err == nil || errors.Is(err, errSpool) {
		return err
	}
	return &LoadError{Reason: messages.ReasonUndecodable, Remedy: remedy, Err: err}
}

func undecodable(format string, args ...any) error {
	return &LoadError{Reason: messages.ReasonUndecodable, Err: fmt.Errorf(format, args...)}
}

// writeSidecar writes the payload as it is, checked by its hash.
func writeSidecar(d *queue.LoadDelivery, file *spool) error {
	sum := sha256.Sum256(d.Payload)
	if hex.EncodeToString(sum[:]) != d.Load.Inline.SHA256 {
		return undecodable("the load's text is not the one it was made with (SHA-256 differs)")
	}
	_, err := file.Write(d.Payload)
	return err
}

// unpackers keep their memory from load to load.
var unpackers = sync.Pool{New: func() any { return new(encoding.RowsUnpacker) }}

// rows is what the load carries, inside or by reference, checked by hash. Each is
// void when the next is asked for.
func (w *Worker) rows(ctx context.Context, d *queue.LoadDelivery) iter.Seq2[*encoding.Rows, error] {
	return func(yield func(*encoding.Rows, error) bool) {
		u := unpackers.Get().(*encoding.RowsUnpacker)
		defer unpackers.Put(u)
		if in := d.Load.Inline; in != nil {
			sum := sha256.Sum256(d.Payload)
			if hex.EncodeToString(sum[:]) != in.SHA256 {
				yield(nil, undecodable("the load's rows are not those it was made with (SHA-256 differs)"))
				return
			}
			yield(unmarshal(u, in.Packed, d.Payload))
			return
		}
		for _, ref := range d.Load.Slices {
			for b, err := range w.queue.Slice(ctx, ref) {
				if err != nil {
					yield(nil, err)
					return
				}
				if !yield(unmarshal(u, ref.Packed, b)) {
					return
				}
			}
		}
	}
}

func unmarshal(u *encoding.RowsUnpacker, packed string, b []byte) (*encoding.Rows, error) {
	rows, err := u.Unpack(packed, b)
	if err != nil {
		return nil, undecodable("%w", err)
	}
	return rows, nil
}

// checkPartition refuses rows that are not of the load's partition: the last
// line of P11, before anything reaches a customer's bucket.
func checkPartition(l *messages.Load, rows *encoding.Rows) error {
	date, account := -1, -1
	for _, c := range []struct {
		name string
		at   *int
	}{{l.Part.DateColumn, &date}, {l.Part.AccountColumn, &account}} {
		if c.name == "" {
			continue
		}
		i, ok := rows.Schema().Index(c.name)
		if !ok {
			return undecodable("the load's rows have no column %q", c.name)
		}
		*c.at = i
	}
	if date < 0 && account < 0 {
		return nil
	}
	from, to, err := l.Part.Days()
	if err != nil {
		return undecodable("%w", err)
	}
	_, err = rows.Group(date, account, func(day int32, hasDay bool, acct string, hasAcct bool) (int32, error) {
		if date >= 0 && (!hasDay || day < from || day > to) {
			return 0, fmt.Errorf("the row's day lies outside %s to %s", l.Part.From, l.Part.To)
		}
		if account >= 0 && (!hasAcct || acct != l.Part.Account) {
			return 0, fmt.Errorf("the row's account is not %q", l.Part.Account)
		}
		return 0, nil
	})
	if err != nil {
		return undecodable("a row of another partition: %w", err)
	}
	return nil
}
