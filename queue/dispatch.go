package queue

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"maps"

	"github.com/nats-io/nats.go"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"github.com/loadfleet/loadfleet/messages"
)

// A chunk of loads is published at once or not at all. The server takes 1000
// messages: the marker and these loads. Workers begin with the first chunk, which
// is small, so that they need not wait for the rows of many loads.
const (
	chunkLoads = 999
	firstBytes = 1 << 20
	chunkBytes = 8 << 20
)

// Dispatch puts the loads of one extraction on the queue, each exactly once,
// however often the extraction is dispatched and by however many at a time.
// Its methods are for one goroutine.
//
// Loads go out in chunks. Each chunk carries a marker that the server stores
// only if there is none yet: a chunk that stands already is passed over, also
// when its loads have long been carried out. How a chunk that stands was cut is
// read from its marker, so that another program, or this one with other
// limits, may carry on.
type Dispatch struct {
	q                           *Queue
	workspace, extraction, plan string

	chunk  int
	looks  bool    // chunks may stand that we did not publish
	stands *marker // of the chunk that is being passed over; nil when it is ours to publish
	count  int     // its loads passed so far
	loads  []*nats.Msg
	bytes  int
	digest hash.Hash
	passed int
}

// marker is the body of the message that marks a chunk as dispatched.
type marker struct {
	Version int    `json:"version"`
	Plan    string `json:"plan"`
	Loads   int    `json:"loads"`
	Digest  string `json:"digest"` // of the chunk's loads: which ones, in which order
}

// Dispatch starts to dispatch an extraction. planHash names what is
// dispatched: two dispatches of one extraction with the same hash must add the
// same loads in the same order. How their rows are packed may differ.
func (q *Queue) Dispatch(ctx context.Context, workspace, extraction, planHash string) *Dispatch {
	return &Dispatch{q: q, workspace: workspace, extraction: extraction, plan: planHash, looks: true, digest: sha256.New()}
}

// Pass reports whether the load stands on the queue, or did, from an earlier
// dispatch; it then counts as added, and its payload is not needed. It fails
// as Add does.
func (d *Dispatch) Pass(ctx context.Context, load *messages.Load) (bool, error) {
	return d.pass(ctx, messages.LoadSubject(load))
}

func (d *Dispatch) pass(ctx context.Context, subject string) (bool, error) {
	if err := d.look(ctx); err != nil || d.stands == nil {
		return false, err
	}
	d.sum(subject)
	if d.count++; d.count < d.stands.Loads {
		return true, nil
	}
	if d.count > d.stands.Loads || d.digested() != d.stands.Digest {
		return false, d.differs()
	}
	d.stands, d.passed = nil, d.passed+1
	d.next()
	return true, nil
}

// look reads the marker of the next chunk, while one may stand.
func (d *Dispatch) look(ctx context.Context) error {
	if !d.looks || d.stands != nil || len(d.loads) > 0 {
		return nil
	}
	subject := messages.DispatchedSubject(d.workspace, d.extraction, d.chunk)
	if err := d.q.retry(ctx, "look for "+subject, func(ctx context.Context) (err error) {
		d.stands, err = d.standing(ctx, subject)
		return err
	}); err != nil {
		return err
	}
	if d.looks = d.stands != nil; d.looks && d.stands.Plan != d.plan {
		return d.differs()
	}
	return nil
}

// Add adds a load; a full chunk is published first. It fails with
// [ErrPlanDiffers] when the chunk was dispatched before under another plan.
// The payload belongs to the Dispatch until Close returns.
func (d *Dispatch) Add(ctx context.Context, load *messages.Load, payload []byte) error {
	header, err := loadHeader(load)
	if err != nil {
		return fmt.Errorf("dispatch load %s: %w", load.ID, err)
	}
	mark(ctx, header)
	if limit := d.q.nc.MaxPayload(); limit > 0 && int64(len(payload)) > limit-maxHeader {
		return fmt.Errorf("dispatch load %s: %d bytes are more than a message takes (%d)", load.ID, len(payload), limit-maxHeader)
	}
	return d.add(ctx, &nats.Msg{Subject: messages.LoadSubject(load), Header: nats.Header(header), Data: payload})
}

func (d *Dispatch) add(ctx context.Context, m *nats.Msg) error {
	if passed, err := d.pass(ctx, m.Subject); passed || err != nil {
		return err
	}
	size, most := m.Size(), chunkBytes
	if d.chunk == 0 {
		most = firstBytes
	}
	if len(d.loads) == chunkLoads || (len(d.loads) > 0 && d.bytes+size > most) {
		if err := d.flush(ctx); err != nil {
			return err
		}
		return d.add(ctx, m)
	}
	d.loads = append(d.loads, m)
	d.bytes += size
	d.sum(m.Subject)
	return nil
}

// Close publishes the rest. An extraction without loads gets its marker all
// the same.
func (d *Dispatch) Close(ctx context.Context) error {
	for {
		if err := d.look(ctx); err != nil {
			return err
		}
		switch {
		case d.stands != nil && d.stands.Loads == 0 && d.chunk == 0:
			d.stands, d.passed, d.chunk = nil, 1, 1
			return nil
		case d.stands != nil:
			return d.differs()
		case len(d.loads) == 0 && d.chunk > 0:
			return nil
		}
		if err := d.flush(ctx); err != nil {
			return err
		}
	}
}

// Passed is how many chunks stood there already.
func (d *Dispatch) Passed() int { return d.passed }

// Chunks is how many chunks there are, published or passed.
func (d *Dispatch) Chunks() int { return d.chunk }

func (d *Dispatch) sum(subject string) { fmt.Fprintf(d.digest, "%s\x00", subject) }
func (d *Dispatch) digested() string   { return hex.EncodeToString(d.digest.Sum(nil)[:16]) }

// next begins a chunk.
func (d *Dispatch) next() {
	d.chunk++
	d.restart()
}

func (d *Dispatch) restart() {
	d.loads, d.bytes, d.count = nil, 0, 0
	d.digest.Reset()
}

func (d *Dispatch) differs() error {
	return &PlanError{
		Workspace: d.workspace, Extraction: d.extraction, Chunk: d.chunk,
		Stored: d.stands.Plan + "/" + d.stands.Digest, Ours: d.plan + "/" + d.digested(),
	}
}

// flush publishes the chunk. Where another dispatcher was faster, its chunk
// counts, and what it left over begins the next one.
func (d *Dispatch) flush(ctx context.Context) error {
	mark := marker{Version: messages.Version, Plan: d.plan, Loads: len(d.loads), Digest: d.digested()}
	body, err := json.Marshal(mark)
	if err != nil {
		return fmt.Errorf("dispatch %s: %w", d.extraction, err)
	}
	subject := messages.DispatchedSubject(d.workspace, d.extraction, d.chunk)
	whole := ctx
	var stands *marker
	if err := d.q.retry(ctx, "dispatch "+subject, func(ctx context.Context) error {
		err := d.publish(whole, subject, body)
		if !outrun(err) {
			return err
		}
		var getErr error
		if stands, getErr = d.standing(ctx, subject); getErr == nil && stands == nil {
			// Another dispatcher is about to store it, or was and failed.
			return fmt.Errorf("%w (%w)", nats.ErrTimeout, err)
		}
		return getErr
	}); err != nil {
		return err
	}
	if stands == nil {
		d.next()
		return nil
	}
	loads := d.loads
	d.restart()
	d.looks = true
	for _, m := range loads {
		if err := d.add(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// publish stores the marker and the chunk's loads together. Each step that
// waits for the server, not the whole, has RequestTimeout.
func (d *Dispatch) publish(ctx context.Context, subject string, body []byte) error {
	batch, err := jetstreamext.NewBatchPublisher(d.q.js, jetstreamext.BatchFlowControl{
		AckFirst: true, AckEvery: 100, AckTimeout: d.q.cfg.RequestTimeout,
	})
	if err != nil {
		return err
	}
	mark := &nats.Msg{Subject: subject, Header: nats.Header{}, Data: body}
	options := []jetstreamext.BatchMsgOpt{jetstreamext.WithBatchExpectLastSequencePerSubject(0), jetstreamext.WithBatchMsgTTL(keepMarkers)}
	if len(d.loads) == 0 {
		return d.commit(ctx, batch, mark, options...)
	}
	if err := batch.AddMsg(mark, options...); err != nil {
		return err
	}
	for i, m := range d.loads {
		// The publisher writes into what it is given.
		m = &nats.Msg{Subject: m.Subject, Header: maps.Clone(m.Header), Data: m.Data}
		if i == len(d.loads)-1 {
			return d.commit(ctx, batch, m)
		}
		if err := batch.AddMsg(m); err != nil {
			return err
		}
	}
	return nil
}

func (d *Dispatch) commit(ctx context.Context, batch jetstreamext.BatchPublisher, last *nats.Msg, options ...jetstreamext.BatchMsgOpt) error {
	ctx, cancel := context.WithTimeout(ctx, d.q.cfg.RequestTimeout)
	defer cancel()
	_, err := batch.CommitMsg(ctx, last, options...)
	return err
}

// standing is the marker on a subject, nil when there is none.
func (d *Dispatch) standing(ctx context.Context, subject string) (*marker, error) {
	s, err := d.q.stream(ctx, streamLoads)
	if err != nil {
		return nil, err
	}
	m, err := s.GetLastMsgForSubject(ctx, subject)
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var mark marker
	if err := json.Unmarshal(m.Data, &mark); err != nil {
		return nil, errors.Join(ErrPlanDiffers, err)
	}
	return &mark, nil
}
