package messages

import (
	"slices"
	"time"
)

// Role is what a process of the fleet does.
type Role string

// The roles that say that they are there.
const (
	RoleDispatcher Role = "dispatcher"
	RoleWorker     Role = "worker"
)

// ProcessState is whether a process takes work.
type ProcessState string

// The states.
const (
	ProcessRunning  ProcessState = "running"
	ProcessPaused   ProcessState = "paused"   // takes nothing more, and keeps what it has
	ProcessDraining ProcessState = "draining" // finishes what it has, then ends
	ProcessStopped  ProcessState = "stopped"  // its last word
)

// PresenceInterval is how often a process says that it is there, beside each
// time that its state changes. One that was not heard for [PresenceLost] is gone,
// or out of reach.
const (
	PresenceInterval = 2 * time.Second
	PresenceLost     = 7 * time.Second
)

// MaxProcessName is the longest name of a process, in bytes.
const MaxProcessName = 200

// Presence is what a process of the fleet says of itself, on [PresenceSubject].
// It holds no secret, no key of an object and no extraction.
type Presence struct {
	Version  int          `json:"version"`
	Role     Role         `json:"role"`
	Name     string       `json:"name"`     // what operators call it; several processes may have one name
	Instance string       `json:"instance"` // of this start of the process alone
	Program  string       `json:"program"`  // version of the program
	Host     string       `json:"host"`
	Started  time.Time    `json:"started"`
	State    ProcessState `json:"state"`
	// Operation is that of the last [Control] which the process obeys.
	Operation string `json:"operation,omitempty"`

	InFlight int   `json:"in_flight"` // loads, or extractions of a dispatcher
	Slots    int   `json:"slots"`     // how many at a time
	Memory   int64 `json:"memory_bytes"`
	Reserved int64 `json:"memory_reserved"` // of Memory, by what is in flight

	// Since its start.
	Extractions   int64   `json:"extractions,omitempty"` // that a dispatcher dispatched
	Loads         int64   `json:"loads"`                 // that ended, or that it dispatched
	Rows          int64   `json:"rows"`
	Bytes         int64   `json:"bytes"` // of files
	DecodeSeconds float64 `json:"decode_seconds"`
	EncodeSeconds float64 `json:"encode_seconds"`
	PutSeconds    float64 `json:"put_seconds"`

	// Refusing is destinations whose loads it parks, at most [MaxRefusing] of
	// them, and Breakers how many there are.
	Breakers int      `json:"breakers"`
	Refusing []string `json:"refusing,omitempty"`
}

// MaxRefusing is how many destinations a presence names.
const MaxRefusing = 20

// EncodePresence writes p as the JSON body of its message. It refuses, with a
// [*DecodeError], what ParsePresence would refuse.
func EncodePresence(p *Presence) ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	return marshal(p)
}

// ParsePresence reads what a process says of itself. It fails with a
// [*DecodeError]. Fields and states that it does not know are passed over.
func ParsePresence(body []byte) (*Presence, error) {
	p := new(Presence)
	if err := unmarshal("presence", body, p); err != nil {
		return nil, err
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *Presence) check() error {
	found := &mistakes{reason: ReasonUndecodable}
	checkProcess(p.Version, p.Role, p.Name, found)
	if !ValidID(p.Instance) {
		found.add("instance", "", "%q cannot be an id", clip(p.Instance, 2*MaxID))
	}
	if p.State == "" {
		found.add("state", "", "missing")
	}
	return decoded("presence", found)
}

func checkProcess(version int, role Role, name string, found *mistakes) {
	if version != Version {
		found.add("version", "", "there is no version %d", version)
	}
	if !slices.Contains([]Role{RoleDispatcher, RoleWorker}, role) {
		found.add("role", "", "unknown role %q", clip(string(role), 80))
	}
	if !ValidProcessName(name) {
		found.add("name", "", "%q cannot be the name of a process: 1 to %d bytes", clip(name, 80), MaxProcessName)
	}
}

// ValidProcessName reports whether s may be the name of a process.
func ValidProcessName(s string) bool { return s != "" && len(s) <= MaxProcessName }

// Instruction is what an operator decided about processes.
type Instruction string

// The instructions.
const (
	InstructPause  Instruction = "pause"  // take nothing more
	InstructResume Instruction = "resume" // take work again
	InstructDrain  Instruction = "drain"  // finish what is in flight, then end
)

// Control is what operators want of the processes of a name, as of the last
// instruction. It stands on [ControlSubject] and outlives the processes: one that
// is paused is so after a restart. A process ends only when Drain names it.
type Control struct {
	Version     int         `json:"version"`
	Operation   string      `json:"operation"` // the instruction's id
	Instruction Instruction `json:"instruction"`
	Role        Role        `json:"role"`
	Name        string      `json:"name"`
	Paused      bool        `json:"paused"`
	Drain       []string    `json:"drain,omitempty"` // instances
	// After is the sequence of the message that this one took the place of, 0 for
	// the first. It orders instructions.
	After    uint64    `json:"after"`
	By       string    `json:"by"`
	NATSUser string    `json:"nats_user,omitempty"` // as the client showed itself to NATS
	Time     time.Time `json:"time"`
}

// EncodeControl writes c as the JSON body of its message. It refuses, with a
// [*DecodeError], what ParseControl would refuse.
func EncodeControl(c *Control) ([]byte, error) {
	clipped := *c
	clipped.By, clipped.NATSUser = clip(c.By, maxAttemptText), clip(c.NATSUser, maxAttemptText)
	if err := clipped.check(); err != nil {
		return nil, err
	}
	return marshal(&clipped)
}

// ParseControl reads what operators want of processes. It fails with a
// [*DecodeError]. Fields that it does not know are passed over.
func ParseControl(body []byte) (*Control, error) {
	c := new(Control)
	if err := unmarshal("control", body, c); err != nil {
		return nil, err
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Control) check() error {
	found := &mistakes{reason: ReasonUndecodable}
	checkProcess(c.Version, c.Role, c.Name, found)
	if !ValidID(c.Operation) {
		found.add("operation", "", "%q cannot be an id", clip(c.Operation, 2*MaxID))
	}
	if !slices.Contains([]Instruction{InstructPause, InstructResume, InstructDrain}, c.Instruction) {
		found.add("instruction", "", "unknown instruction %q", clip(string(c.Instruction), 80))
	}
	if c.By == "" {
		found.add("by", "", "missing")
	}
	if c.Time.IsZero() {
		found.add("time", "", "missing")
	}
	return decoded("control", found)
}
