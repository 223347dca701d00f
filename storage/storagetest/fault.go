package storagetest

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Fault is one way in which a request goes wrong. It is a value with two
// halves of the truth: what the client sees, and whether the store did the
// work all the same (Applied).
type Fault struct {
	Name    string
	Applied bool          // the store carries the request out before the client sees it fail
	Status  int           // of the reply; 0 drops the connection instead of replying
	Code    string        // error code of the reply; empty sends an empty body
	Cut     int64         // bytes of the request's body to read before dropping the connection
	Delay   time.Duration // before anything else; ends early when the client gives up
	Held    bool          // with Applied: the delay comes after the work, before the reply
	// Stubborn has the delay pass even when the client has gone: with Applied and
	// without Held, what the client gave up is carried out later.
	Stubborn bool
	Passed   bool   // with Applied: the client gets the store's own reply after all
	Header   string // only for requests that carry this header, as NAME or NAME: VALUE
}

// WhenSent is the fault for requests with this header only, given as NAME or
// as NAME: VALUE.
func (f Fault) WhenSent(header string) Fault {
	f.Header = header
	return f
}

// meets tells whether the fault is for this request.
func (f Fault) meets(r *http.Request) bool {
	name, value, exact := strings.Cut(f.Header, ": ")
	got := r.Header.Get(name)
	return f.Header == "" || (got != "" && (!exact || got == value))
}

// ButApplied is the other half of the fault: the client sees the same, the
// store has done the work.
func (f Fault) ButApplied() Fault {
	f.Applied = true
	return f
}

// String names the fault and its half.
func (f Fault) String() string {
	if f.Applied {
		return f.Name + ", but applied"
	}
	return f.Name
}

// The faults that a store is known for. Each fails without being applied;
// see [Fault.ButApplied].
var (
	SlowDown         = Fault{Name: "throttled", Status: 503, Code: "SlowDown"}
	InternalError    = Fault{Name: "internal error", Status: 500, Code: "InternalError"}
	ConflictError    = Fault{Name: "conflict", Status: 409, Code: "ConditionalRequestConflict"}
	ExpiredToken     = Fault{Name: "expired token", Status: 400, Code: "ExpiredToken"}
	ErrorAfterOK     = Fault{Name: "error inside a 200", Status: 200, Code: "InternalError"} // of Complete and of copies only
	EmptyOK          = Fault{Name: "empty 200", Status: 200}                                 // of Complete and of copies only
	DroppedReply     = Fault{Name: "connection dropped"}
	CutRequest       = Fault{Name: "connection reset within the body", Cut: 1000}
	DeniedByPolicy   = Fault{Name: "access denied", Status: 403, Code: "AccessDenied"}
	UploadHasGone    = Fault{Name: "no such upload", Status: 404, Code: "NoSuchUpload"}
	ServiceIsClosed  = Fault{Name: "service unavailable", Status: 503, Code: "ServiceUnavailable"}
	BodyCameTooLate  = Fault{Name: "request timeout", Status: 400, Code: "RequestTimeout"}
	AnswersTooLate   = Fault{Name: "no answer", Delay: time.Hour}
	NeverReplies     = Fault{Name: "no reply", Applied: true, Held: true, Delay: time.Hour}
	ComesLate        = Fault{Name: "carried out late", Applied: true, Passed: true, Stubborn: true}
	AnswerLate       = Fault{Name: "answered too late", Applied: true, Passed: true, Held: true}
	WrongRegionReply = Fault{Name: "another region", Status: 301, Code: "PermanentRedirect"}
)

// After is the fault, shown only when d has passed.
func (f Fault) After(d time.Duration) Fault {
	f.Delay = d
	return f
}

func (f Fault) body() string {
	if f.Code == "" {
		return ""
	}
	return fmt.Sprintf(`<?xml version="1.0" encoding="UTF-8"?>`+
		`<Error><Code>%s</Code><Message>injected by a test</Message><RequestId>INJECTED</RequestId></Error>`, f.Code)
}
