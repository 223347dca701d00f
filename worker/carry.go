package worker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/storage"
)

// timing is how long the parts of a load took.
type timing struct{ encode, put time.Duration }

// carry makes the load's object: rows to file, file to bucket.
func (w *Worker) carry(ctx context.Context, d *queue.LoadDelivery, took *timing) (out messages.Outcome, err error) {
	l := d.Load
	out = messages.Outcome{Started: time.Now().UTC()}
	store, err := w.stores.get(ctx, l.Destination)
	if err != nil {
		return out, err
	}
	file := newSpool(w.cfg.SpoolBytes, w.cfg.ScratchDir)
	defer func() { err = errors.Join(err, file.close()) }()
	encoding := time.Now()
	if err := w.encode(ctx, d, file); err != nil {
		return out, fmt.Errorf("encode: %w", err)
	}
	took.encode = time.Since(encoding)
	putting := time.Now()
	sum := file.sum()
	result, stored, err := place(ctx, store, l, storage.Object{
		Key: l.Key, ContentType: l.File.Format.ContentType(), Body: file, Size: file.size, SHA256: sum,
		Meta: storage.Meta{
			Load: l.ID, Extraction: l.Extraction, Generation: l.Generation, Rows: l.Rows,
			SHA256: hex.EncodeToString(sum[:]),
		},
	})
	took.put = time.Since(putting)
	if err != nil {
		return out, err
	}
	out.Result, out.ETag = result, stored.ETag
	out.Bytes, out.SHA256 = file.size, hex.EncodeToString(sum[:])
	return out, nil
}

// encode writes the load's rows as the file that its plan says.
func (w *Worker) encode(ctx context.Context, d *queue.LoadDelivery, file *spool) error {
	l := d.Load
	var out encoding.Writer
	var rows int64
	for part, err := range w.rows(ctx, d) {
		if err != nil {
			return err
		}
		if err := checkPartition(l, part); err != nil {
			return err
		}
		if out == nil {
			if out, err = encoding.NewWriter(file, part.Schema(), fileOptions(l)); err != nil {
				return err
			}
		}
		if err := out.Write(part); err != nil {
			return err
		}
		rows += int64(part.Len())
	}
	if out == nil {
		return &LoadError{Reason: messages.ReasonUndecodable, Message: "the load carries no rows, not even a schema"}
	}
	if rows != l.Rows {
		return &LoadError{Reason: messages.ReasonUndecodable,
			Message: fmt.Sprintf("the load carries %d rows and says %d", rows, l.Rows)}
	}
	return out.Close()
}

func fileOptions(l *messages.Load) encoding.FileOptions {
	return encoding.FileOptions{Format: l.File.Format, Separator: l.File.Separator, Compression: l.File.Compression}
}

// rows is what the load carries, inside or by reference, checked by hash.
func (w *Worker) rows(ctx context.Context, d *queue.LoadDelivery) iter.Seq2[*encoding.Rows, error] {
	return func(yield func(*encoding.Rows, error) bool) {
		if in := d.Load.Inline; in != nil {
			sum := sha256.Sum256(d.Payload)
			if hex.EncodeToString(sum[:]) != in.SHA256 {
				yield(nil, &LoadError{Reason: messages.ReasonUndecodable, Message: "the load's rows are not those it was made with (SHA-256 differs)"})
				return
			}
			yield(unmarshal(d.Payload))
			return
		}
		for _, ref := range d.Load.Slices {
			for b, err := range w.queue.Slice(ctx, ref) {
				if err != nil {
					yield(nil, err)
					return
				}
				if !yield(unmarshal(b)) {
					return
				}
			}
		}
	}
}

func unmarshal(b []byte) (*encoding.Rows, error) {
	rows, err := encoding.UnmarshalRows(b)
	if err != nil {
		return nil, &LoadError{Reason: messages.ReasonUndecodable, Message: err.Error()}
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
			return &LoadError{Reason: messages.ReasonUndecodable, Message: fmt.Sprintf("the load's rows have no column %q", c.name)}
		}
		*c.at = i
	}
	if date < 0 && account < 0 {
		return nil
	}
	from, to, err := l.Part.Days()
	if err != nil {
		return &LoadError{Reason: messages.ReasonUndecodable, Message: err.Error()}
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
		return &LoadError{Reason: messages.ReasonUndecodable, Message: "a row of another partition: " + err.Error()}
	}
	return nil
}
