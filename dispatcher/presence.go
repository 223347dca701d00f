package dispatcher

import (
	"context"
	"crypto/rand"
	"os"
	"sync/atomic"
	"time"

	"github.com/loadfleet/loadfleet/messages"
)

// done adds up what a dispatcher did since its start.
type done struct {
	inFlight                 atomic.Int64 // extractions
	extractions, loads, rows atomic.Int64
}

func (s *done) add(p messages.Plan) {
	s.extractions.Add(1)
	s.loads.Add(p.Loads)
	s.rows.Add(p.Rows)
}

// self is what a dispatcher says of itself that never changes.
func self(cfg Config) messages.Presence {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return messages.Presence{
		Version: messages.Version, Role: messages.RoleDispatcher, Name: cfg.Name, Instance: rand.Text(), Program: cfg.Program,
		Host: host, Started: time.Now().UTC(), Slots: cfg.Concurrency, Memory: cfg.MemoryBytes,
	}
}

// presence is what the dispatcher says of itself now; pulling ends with its stop.
func (d *Dispatcher) presence(pulling context.Context) *messages.Presence {
	p := d.self
	p.State = messages.ProcessRunning
	if pulling.Err() != nil {
		p.State = messages.ProcessDraining
	}
	p.InFlight = int(d.done.inFlight.Load())
	// Each extraction in work may fill its readers' chunks.
	p.Reserved = int64(p.InFlight) * 5 * int64(d.cfg.Readers) * d.cfg.chunkBytes()
	p.Extractions, p.Loads, p.Rows = d.done.extractions.Load(), d.done.loads.Load(), d.done.rows.Load()
	return &p
}
