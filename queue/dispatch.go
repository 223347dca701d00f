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
// messages: the marker and these loads. Changing either limit changes how an
// extraction is cut, so that one half dispatched by the old program ends in
// ErrPlanDiffers.
const (
	chunkLoads = 999
	chunkBytes = 8 << 20
)

// Dispatch puts the loads of one extraction on the queue, each exactly once,
// however often the extraction is dispatched and by however many at a time.
// Its methods are for one goroutine.
//
// Loads go out in chunks. Each chunk carries a marker that the server stores
// only if there is none yet: a chunk that stands already is passed over, also
// when its loads have long been carried out.
type Dispatch struct {
	q                           *Queue
	workspace, extraction, plan string

	chunk  int
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
	Digest  string `json:"digest"` // of the chunk's loads and payloads' sizes
}

// Dispatch starts to dispatch an extraction. planHash names what is
// dispatched: two dispatches of one extraction with the same hash must add the
// same loads in the same order.
func (q *Queue) Dispatch(ctx context.Context, workspace, extraction, planHash string) *Dispatch {
	return &Dispatch{q: q, workspace: workspace, extraction: extraction, plan: planHash, digest: sha256.New()}
}

// Add adds a load; a full chunk is published first. It fails with
// [ErrPlanDiffers] when the chunk was dispatched before under another plan.
// The payload belongs to the Dispatch until Close returns.
func (d *Dispatch) Add(ctx context.Context, load *messages.Load, payload []byte) error {
	header, err := loadHeader(load)
	if err != nil {
		return fmt.Errorf("dispatch load %s: %w", load.ID, err)
	}
	m := &nats.Msg{Subject: messages.LoadSubject(load), Header: nats.Header(header), Data: payload}
	size := m.Size()
	if limit := d.q.nc.MaxPayload(); limit > 0 && int64(len(payload)) > limit-maxHeader {
		return fmt.Errorf("dispatch load %s: %d bytes are more than a message takes (%d)", load.ID, len(payload), limit-maxHeader)
	}
	if len(d.loads) == chunkLoads || (len(d.loads) > 0 && d.bytes+size > chunkBytes) {
		if err := d.flush(ctx); err != nil {
			return err
		}
	}
	d.loads = append(d.loads, m)
	d.bytes += size
	fmt.Fprintf(d.digest, "%s\x00%d\x00", m.Subject, len(payload))
	return nil
}

// Close publishes the rest. An extraction without loads gets its marker all
// the same.
func (d *Dispatch) Close(ctx context.Context) error {
	if len(d.loads) == 0 && d.chunk > 0 {
		return nil
	}
	return d.flush(ctx)
}

// Passed is how many chunks stood there already.
func (d *Dispatch) Passed() int { return d.passed }

// Chunks is how many chunks there are, published or passed.
func (d *Dispatch) Chunks() int { return d.chunk }

func (d *Dispatch) flush(ctx context.Context) error {
	mark := marker{Version: messages.Version, Plan: d.plan, Loads: len(d.loads), Digest: hex.EncodeToString(d.digest.Sum(nil)[:16])}
	body, err := json.Marshal(mark)
	if err != nil {
		return fmt.Errorf("dispatch %s: %w", d.extraction, err)
	}
	subject := messages.DispatchedSubject(d.workspace, d.extraction, d.chunk)
	whole := ctx
	err = d.q.retry(ctx, "dispatch "+subject, func(ctx context.Context) error {
		err := d.publish(whole, subject, body)
		if !outrun(err) {
			return err
		}
		stands, getErr := d.standing(ctx, subject)
		switch {
		case getErr != nil:
			return getErr
		case stands == nil:
			// Another dispatcher is about to store it, or was and failed.
			return fmt.Errorf("%w (%w)", nats.ErrTimeout, err)
		case stands.Plan != mark.Plan || stands.Digest != mark.Digest:
			return &PlanError{
				Workspace: d.workspace, Extraction: d.extraction, Chunk: d.chunk,
				Stored: stands.Plan + "/" + stands.Digest, Ours: mark.Plan + "/" + mark.Digest,
			}
		}
		d.passed++
		return nil
	})
	if err != nil {
		return err
	}
	d.chunk++
	clear(d.loads)
	d.loads, d.bytes = d.loads[:0], 0
	d.digest.Reset()
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
