package worker

import (
	"crypto/rand"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/loadfleet/loadfleet/messages"
)

// done adds up what a worker did since its start.
type done struct {
	inFlight            atomic.Int64 // loads
	loads, rows, bytes  atomic.Int64
	decode, encode, put atomic.Int64 // nanoseconds
}

func (s *done) add(loads, rows int64, made carried) {
	s.loads.Add(loads)
	s.rows.Add(rows)
	s.bytes.Add(made.bytes)
	s.decode.Add(int64(made.decode))
	s.encode.Add(int64(made.encode))
	s.put.Add(int64(made.put))
}

// self is what a worker says of itself that never changes.
func self(cfg Config) messages.Presence {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return messages.Presence{
		Version: messages.Version, Role: messages.RoleWorker, Name: cfg.Name, Instance: rand.Text(), Program: cfg.Program,
		Host: host, Started: time.Now().UTC(), Slots: cfg.Slots, Memory: cfg.MemoryBytes,
	}
}

// presence is what the worker says of itself now.
func (w *Worker) presence() *messages.Presence {
	p := w.self
	p.State, p.Operation = w.gate.state()
	p.InFlight, p.Reserved = int(w.done.inFlight.Load()), w.budget.used.Load()
	p.Loads, p.Rows, p.Bytes = w.done.loads.Load(), w.done.rows.Load(), w.done.bytes.Load()
	p.DecodeSeconds, p.EncodeSeconds, p.PutSeconds = seconds(&w.done.decode), seconds(&w.done.encode), seconds(&w.done.put)
	for _, b := range w.breakers.refusing() {
		p.Refusing = append(p.Refusing, b.Destination)
	}
	slices.Sort(p.Refusing)
	p.Breakers = len(p.Refusing)
	p.Refusing = p.Refusing[:min(p.Breakers, messages.MaxRefusing)]
	return &p
}

func seconds(ns *atomic.Int64) float64 { return time.Duration(ns.Load()).Seconds() }
