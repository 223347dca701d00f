package queue

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/messages"
)

// Announce says that a process is there until ctx ends: at once, at every
// [messages.PresenceInterval] and whenever again receives. say is asked each
// time, and once more for its last word. Nothing of it is stored, and while the
// server is away nobody hears it.
func (q *Queue) Announce(ctx context.Context, again <-chan struct{}, say func() *messages.Presence) {
	ticker := time.NewTicker(messages.PresenceInterval)
	defer ticker.Stop()
	for {
		q.announce(say())
		select {
		case <-ticker.C:
		case <-again:
		case <-ctx.Done():
			last := say()
			last.State = messages.ProcessStopped
			q.announce(last)
			return
		}
	}
}

func (q *Queue) announce(p *messages.Presence) {
	body, err := messages.EncodePresence(p)
	if err != nil {
		q.log.Warn("presence cannot be written", zap.Error(err))
		return
	}
	_ = q.nc.Publish(messages.PresenceSubject(p.Role, p.Name), body) // unheard: the next one is
}

// Presences is the processes of the fleet that say that they are there. It is
// safe for concurrent use; Close ends its listening.
type Presences struct {
	q     *Queue
	heard *nats.Subscription

	mu   sync.Mutex
	of   map[process]heard
	more chan struct{} // closed and replaced at every change
}

// process is one start of one process.
type process struct {
	role           messages.Role
	name, instance string
}

type heard struct {
	messages.Presence
	at time.Time
}

// Presences begins to listen. Who is there is known after about one
// [messages.PresenceInterval].
func (q *Queue) Presences(ctx context.Context) (*Presences, error) {
	p := &Presences{q: q, of: map[process]heard{}, more: make(chan struct{})}
	var err error
	if p.heard, err = q.nc.Subscribe(messages.PresenceSubjects(), func(m *nats.Msg) { p.hear(m.Subject, m.Data, time.Now()) }); err != nil {
		return nil, fmt.Errorf("listen for processes: %w", err)
	}
	if err := q.retry(ctx, "listen for processes", q.nc.FlushWithContext); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// Close ends the listening.
func (p *Presences) Close() { _ = p.heard.Unsubscribe() } // gone with the connection otherwise

func (p *Presences) hear(subject string, body []byte, now time.Time) {
	said, err := messages.ParsePresence(body)
	if err != nil || subject != messages.PresenceSubject(said.Role, said.Name) {
		p.q.log.Debug("presence cannot be read", zap.String("subject", subject), zap.Error(err))
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.of[process{said.Role, said.Name, said.Instance}] = heard{*said, now}
	p.forget(now)
	close(p.more)
	p.more = make(chan struct{})
}

// forget drops who was not heard for too long, and who went.
func (p *Presences) forget(now time.Time) {
	for who, h := range p.of {
		lasts := messages.PresenceLost
		if h.State == messages.ProcessStopped {
			lasts = messages.PresenceInterval
		}
		if now.Sub(h.at) > lasts {
			delete(p.of, who)
		}
	}
}

// All is who is there now, by role, name and start. Who said its last word is
// among them for one more [messages.PresenceInterval], as stopped: an instruction
// that it obeyed by going is thereby seen.
func (p *Presences) All() []messages.Presence {
	all, _ := p.now(time.Now())
	return all
}

func (p *Presences) now(now time.Time) (all []messages.Presence, more <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget(now)
	all = make([]messages.Presence, 0, len(p.of))
	for _, h := range p.of {
		all = append(all, h.Presence)
	}
	slices.SortFunc(all, func(a, b messages.Presence) int {
		return cmp.Or(cmp.Compare(a.Role, b.Role), cmp.Compare(a.Name, b.Name), a.Started.Compare(b.Started), cmp.Compare(a.Instance, b.Instance))
	})
	return all, p.more
}

// Await waits until those who are there are as wanted; it gives them, and ctx's
// cause when that ends first.
func (p *Presences) Await(ctx context.Context, wanted func([]messages.Presence) bool) ([]messages.Presence, error) {
	// Who is no longer heard says nothing: look from time to time.
	ticker := time.NewTicker(messages.PresenceInterval / 4)
	defer ticker.Stop()
	for {
		all, more := p.now(time.Now())
		if wanted(all) {
			return all, nil
		}
		select {
		case <-more:
		case <-ticker.C:
		case <-ctx.Done():
			return all, context.Cause(ctx)
		}
	}
}
