package messages

// Version is the version of the queue contract that this code writes. Readers
// take every version up to it.
const Version = 1

// Header is a message's headers; the same shape as nats.Header.
type Header map[string][]string

// Get is the first value of the header, or "".
func (h Header) Get(name string) string {
	if v := h[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// Set puts the only value of a header.
func (h Header) Set(name, value string) { h[name] = []string{value} }

// The headers of the contract.
const (
	HeaderVersion     = "Loadfleet-Version"   // contract version, "1"; absent on a batch means 1
	HeaderBatch       = "Loadfleet-Batch"     // ordinal of a batch, from 1
	HeaderRows        = "Loadfleet-Rows"      // rows in a batch, optional
	HeaderWorkspace   = "Loadfleet-Workspace" // optional; refused when it is not the subject's
	HeaderLoad        = "Loadfleet-Load"      // a Load as ASCII JSON; the payload is its rows
	HeaderDeadLetter  = "Loadfleet-Dead-Letter"
	HeaderCommittedAt = "Loadfleet-Committed-At" // on a replayed commit: when the first one was stored
	HeaderReplays     = "Loadfleet-Replays"      // on a replayed message: how often it came back from the dead letters
	HeaderSettler     = "Loadfleet-Settler"      // on an outcome: the worker's process whose tally counts it
	HeaderReplaces    = "Loadfleet-Replaces"     // on an outcome: Counts of the load that tallies have already, and that it takes the place of
	HeaderTraceparent = "traceparent"            // W3C trace context, of a commit and of the loads made of it; optional
	HeaderContentType = "Content-Type"
	HeaderEncoding    = "Content-Encoding"
	HeaderMsgID       = "Nats-Msg-Id"
)
