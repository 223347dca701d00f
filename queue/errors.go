package queue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

var (
	// ErrClosed says that the queue, or the puller asked, was closed.
	ErrClosed = errors.New("queue closed")
	// ErrLeaseLost is the cause of a delivery's context when the server heard
	// nothing of it for longer than the lease: another may have it by now.
	ErrLeaseLost = errors.New("lease lost: the server was out of reach for longer than the lease")
	// ErrSettled says that a delivery was settled before, and is the cause of
	// its context from then on.
	ErrSettled = errors.New("delivery already settled")
	// ErrNotFound says that a destination or dead letter does not exist.
	ErrNotFound = errors.New("not found")
	// ErrPlanDiffers says that a chunk of an extraction was dispatched before
	// with other loads; see [PlanError].
	ErrPlanDiffers = errors.New("dispatched before under another plan")
	// ErrRevision says that a destination was changed by someone else since
	// it was read.
	ErrRevision = errors.New("changed since it was read")
	// ErrKeyLeased says that another load has the lease on the object's key.
	ErrKeyLeased = errors.New("another load has the lease on the object's key")

	// ErrDeadLettersFull says that a dead letter found no room. The delivery is
	// not settled: postpone it, and tell an operator.
	ErrDeadLettersFull = errors.New("no room for dead letters: replay or discard some, or give their stream more")
	// ErrSliceDamaged says that a run of slices is not what its reference says.
	ErrSliceDamaged = errors.New("slices missing or damaged")
)

// PlanError says which chunk of an extraction stands on the queue under
// another plan. It is [ErrPlanDiffers].
type PlanError struct {
	Workspace, Extraction string
	Chunk                 int
	Stored, Ours          string // plans
}

func (e *PlanError) Error() string {
	return fmt.Sprintf("extraction %s of workspace %s, chunk %d: %v (stored %s, ours %s)",
		e.Extraction, e.Workspace, e.Chunk, ErrPlanDiffers, e.Stored, e.Ours)
}

func (e *PlanError) Unwrap() error { return ErrPlanDiffers }

// Error codes of the server that nats.go does not name.
const (
	codeStoreFailed       jetstream.ErrorCode = 10077 // full, by bytes or by messages of the subject
	codeWrongSequence     jetstream.ErrorCode = 10071
	codeWrongSequenceR3   jetstream.ErrorCode = 10164 // the same, from a replicated stream
	codeBatchIncomplete   jetstream.ErrorCode = 10176
	codeMessageNotFound   jetstream.ErrorCode = 10037
	codeAtomicInFlight    jetstream.ErrorCode = 10210
	codeDuplicateInFlight jetstream.ErrorCode = 10158 // of a replicated stream: that id is proposed, and neither stored nor lost
	codeStreamNotFound    jetstream.ErrorCode = 10059
	codeNoResources       jetstream.ErrorCode = 10023
	codeNoStorage         jetstream.ErrorCode = 10047
	perSubjectDescription                     = "per subject"
)

func apiError(err error) *jetstream.APIError {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return api
	}
	var js jetstream.JetStreamError
	if errors.As(err, &js) {
		return js.APIError()
	}
	return nil
}

// taken reports whether the subject already holds the only message it may.
// The server has one code for this and for a full stream: only the text tells.
func taken(err error) bool {
	api := apiError(err)
	return api != nil && api.ErrorCode == codeStoreFailed && strings.Contains(api.Description, perSubjectDescription)
}

// full reports whether a stream, or its server, has no room for a message.
func full(err error) bool {
	api := apiError(err)
	return api != nil && (api.ErrorCode == codeStoreFailed || api.ErrorCode == codeNoResources) && !taken(err)
}

// noRoom reports whether the server cannot set aside what a stream may hold.
func noRoom(err error) bool {
	api := apiError(err)
	return api != nil && (api.ErrorCode == codeNoStorage || api.ErrorCode == codeNoResources)
}

// outrun reports whether an expected last sequence did not hold.
func outrun(err error) bool {
	api := apiError(err)
	return api != nil && (api.ErrorCode == codeWrongSequence || api.ErrorCode == codeWrongSequenceR3)
}

func missing(err error) bool {
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return true
	}
	api := apiError(err)
	return api != nil && api.ErrorCode == codeMessageNotFound
}

// transient reports whether the same request may succeed later: the server is
// away, electing, or full. Everything else is final.
func transient(err error) bool {
	for _, passing := range []error{
		context.DeadlineExceeded, nats.ErrTimeout, nats.ErrNoResponders, nats.ErrDisconnected,
		nats.ErrConnectionReconnecting, nats.ErrReconnectBufExceeded, nats.ErrStaleConnection, nats.ErrNoServers,
		jetstream.ErrNoStreamResponse, jetstream.ErrAsyncPublishTimeout, jetstream.ErrTooManyStalledMsgs,
		jetstreamext.ErrInvalidBatchAck,
	} {
		if errors.Is(err, passing) {
			return true
		}
	}
	// A connection that breaks under a write shows the system's own error.
	var network net.Error
	if errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return true
	}
	api := apiError(err)
	if api == nil || taken(err) {
		return false
	}
	switch api.ErrorCode {
	case codeBatchIncomplete, codeAtomicInFlight, codeDuplicateInFlight:
		return true
	}
	return api.Code >= http.StatusInternalServerError || api.Code == http.StatusTooManyRequests || api.Code == http.StatusRequestTimeout
}
