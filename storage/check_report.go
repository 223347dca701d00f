package storage

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// Report is the outcome of a check, its probes in the order in which they ran.
type Report struct {
	Bucket string  `json:"bucket"`
	Prefix string  `json:"prefix"`
	Caller string  `json:"caller,omitempty"` // ARN of who we are to the store, where it tells
	Probes []Probe `json:"probes"`

	// Left is what the check put into the bucket and could not remove.
	Left []string `json:"left,omitempty"`

	// Interrupted says that the context ended before all was tried.
	Interrupted bool `json:"interrupted,omitempty"`
}

// Passed reports whether all was tried and no probe failed. Warnings do not
// count against it, nor what was skipped for another reason.
func (r *Report) Passed() bool {
	for _, p := range r.Probes {
		if p.Result == Failed {
			return false
		}
	}
	return !r.Interrupted
}

// Probe is one thing that was tried.
type Probe struct {
	Name   ProbeName `json:"name"`
	Result Result    `json:"result"`

	// Note says what was found, or why the probe was skipped.
	Note string `json:"note,omitempty"`

	// Cause is set when the result is Failed or Warning.
	Cause *Cause `json:"cause,omitempty"`

	// What the store said; empty when it said nothing.
	Error     string `json:"error,omitempty"`
	Code      string `json:"code,omitempty"`
	Status    int    `json:"status,omitempty"`
	RequestID string `json:"request_id,omitempty"`

	// Statement is what to add where, when that would help.
	Statement *Statement `json:"statement,omitempty"`

	Milliseconds int64 `json:"milliseconds"`
}

// Result is how a probe ended.
type Result string

// The results.
const (
	OK      Result = "ok"
	Warning Result = "warning" // loads work, but not as they should
	Failed  Result = "failed"  // loads will not work
	Skipped Result = "skipped" // could not be tried, or does not apply
)

// ProbeName names a probe.
type ProbeName string

// The probes. Those of roles are made for role_chain only, credentials for
// the other options.
const (
	ProbeOwnCredentials ProbeName = "own credentials"
	ProbeFleetRole      ProbeName = "fleet role"
	ProbeCustomerRole   ProbeName = "customer role"
	ProbeExternalID     ProbeName = "external id"
	ProbeEndpoint       ProbeName = "endpoint"
	ProbeCredentials    ProbeName = "credentials"
	ProbeClock          ProbeName = "clock"
	ProbeRegion         ProbeName = "region"
	ProbeBucket         ProbeName = "bucket"
	ProbeList           ProbeName = "list"
	ProbePut            ProbeName = "put"
	ProbeRead           ProbeName = "read back"
	ProbeConditions     ProbeName = "conditional put"
	ProbeCopy           ProbeName = "renew metadata"
	ProbeMultipart      ProbeName = "upload in parts"
	ProbeDelete         ProbeName = "delete"
	ProbeNothingLeft    ProbeName = "nothing left"
)

// Statement is what to add to a policy or ACL.
type Statement struct {
	Where string          `json:"where"` // in words
	Add   json.RawMessage `json:"add"`
}

// skip ends the probe untried.
func (p *Probe) skip(why string) error {
	p.Result, p.Note = Skipped, why
	return nil
}

// warning is an error that loads can live with.
type warning struct{ err error }

func (w *warning) Error() string { return w.err.Error() }
func (w *warning) Unwrap() error { return w.err }

// probe runs one probe and adds it to the report; false when it failed.
func (c *checker) probe(ctx context.Context, name ProbeName, do func(context.Context, *Probe) error) bool {
	p := Probe{Name: name, Result: OK}
	begun := time.Now()
	switch {
	case ctx.Err() != nil:
		_ = p.skip("the check was interrupted")
	case c.blocked != "":
		_ = p.skip(c.blocked)
	default:
		if err := do(ctx, &p); err != nil {
			c.judge(ctx, &p, err)
		}
	}
	p.Milliseconds = time.Since(begun).Milliseconds()
	c.report.Probes = append(c.report.Probes, p)
	return p.Result != Failed
}

// judge fills in what an error means.
func (c *checker) judge(ctx context.Context, p *Probe, err error) {
	if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		_ = p.skip("the check was interrupted")
		return
	}
	p.Result = Failed
	if _, ok := errors.AsType[*warning](err); ok {
		p.Result = Warning
	}
	if reply, ok := errors.AsType[*Error](err); ok {
		p.Code, p.Status, p.RequestID = reply.Code, reply.Status, reply.RequestID
		if p.Result == Failed { // a warning is about what did not fail
			p.Error = reply.Error()
		}
		if reply.Bucket == "" {
			reply.Bucket = c.cfg.Bucket
		}
	}
	if skew, ok := c.store.observer.skew(); ok && errors.Is(err, ErrCredentials) && skew.Abs() > toleratedSkew {
		err = c.skewed(skew, err)
	}
	cause := CauseOf(err, c.store.access)
	p.Cause, p.Statement = &cause, c.statement(cause.ID)
}
