package queue

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/loadfleet/loadfleet/messages"
)

// DeadLetter is a dead letter as it stands on the queue.
type DeadLetter struct {
	messages.DeadLetter
	Sequence uint64 `json:"sequence"` // its name for Show, Replay and Discard
	Bytes    int64  `json:"bytes"`    // of the payload

	// What a dead load would have written; empty when it cannot be read.
	Table string              `json:"table,omitempty"`
	Key   string              `json:"key,omitempty"`
	Part  *messages.Partition `json:"partition,omitempty"`
}

// DeadLetterFilter chooses dead letters; a zero field chooses all.
type DeadLetterFilter struct {
	ID          string // of the load or extraction
	Stage       messages.Stage
	Workspace   string
	Destination string
	Extraction  string
	Reason      messages.Reason
	Since       time.Time // inclusive
	Until       time.Time // exclusive
}

func (f *DeadLetterFilter) subject() string {
	stage, destination := "*", "*"
	if f.Stage != "" {
		stage = string(f.Stage)
	}
	if f.Destination != "" {
		destination = messages.Token(f.Destination)
	}
	return "dead." + stage + "." + destination + ".>"
}

func (f *DeadLetterFilter) match(d *messages.DeadLetter) bool {
	same := func(want, got string) bool { return want == "" || want == got }
	return same(f.ID, d.ID) && same(string(f.Stage), string(d.Stage)) && same(f.Workspace, d.Workspace) &&
		same(f.Destination, d.Destination) && same(f.Extraction, d.Extraction) && same(string(f.Reason), string(d.Failure.Reason)) &&
		(f.Since.IsZero() || !d.Time.Before(f.Since)) && (f.Until.IsZero() || d.Time.Before(f.Until))
}

// DeadLetters yields the dead letters that the filter chooses, the oldest
// first, without their payloads. An error is the last thing it yields.
func (q *Queue) DeadLetters(ctx context.Context, filter DeadLetterFilter) iter.Seq2[DeadLetter, error] {
	return q.deadLetters(ctx, filter, 0)
}

// deadLetters is DeadLetters behind a sequence.
func (q *Queue) deadLetters(ctx context.Context, filter DeadLetterFilter, after uint64) iter.Seq2[DeadLetter, error] {
	return func(yield func(DeadLetter, error) bool) {
		for msg, err := range q.read(ctx, reading{stream: streamDead, subjects: []string{filter.subject()}, headersOnly: true, after: after}) {
			if err != nil {
				yield(DeadLetter{}, err)
				return
			}
			meta, err := msg.Metadata()
			if err != nil {
				yield(DeadLetter{}, fmt.Errorf("read dead letters: %w", err))
				return
			}
			header := messages.Header(msg.Headers())
			letter := parseDeadLetter(header, meta.Sequence.Stream, msg.Subject(), meta.Timestamp)
			letter.Bytes, _ = strconv.ParseInt(header.Get("Nats-Msg-Size"), 10, 64)
			if filter.match(&letter.DeadLetter) && !yield(letter, nil) {
				return
			}
		}
	}
}

// parseDeadLetter reads a dead letter. One that cannot be read is shown as
// undecodable, never hidden.
func parseDeadLetter(h messages.Header, sequence uint64, subject string, stored time.Time) DeadLetter {
	d, err := messages.ParseDeadLetter(h.Get(messages.HeaderDeadLetter))
	if err != nil {
		d = &messages.DeadLetter{
			ID: subject, Subject: subject, Time: stored.UTC(),
			Failure: messages.Failure{Reason: messages.ReasonUndecodable, Message: err.Error()},
		}
	}
	letter := DeadLetter{DeadLetter: *d, Sequence: sequence}
	if d.Stage == messages.StageLoad {
		if load, err := parseLoad(d.Subject, h); err == nil {
			letter.Table, letter.Key, letter.Part = load.Table, load.Key, &load.Part
		}
	}
	return letter
}

// DeadMessage is a dead letter with the message that it is about.
type DeadMessage struct {
	DeadLetter
	Header  messages.Header // the message's own
	Payload []byte          // a load's rows, or a commit
}

// DeadLetter fetches one dead letter by its sequence; [ErrNotFound] when it is
// gone.
func (q *Queue) DeadLetter(ctx context.Context, sequence uint64) (*DeadMessage, error) {
	m, err := q.message(ctx, streamDead, sequence)
	if err != nil {
		return nil, err
	}
	dead := &DeadMessage{
		DeadLetter: parseDeadLetter(messages.Header(m.Header), sequence, m.Subject, m.Time),
		Header:     original(m.Header),
		Payload:    m.Data,
	}
	delete(dead.Header, messages.HeaderDeadLetter)
	dead.Bytes = int64(len(m.Data))
	return dead, nil
}

// Replay puts what is dead back on the queue and removes the dead letter,
// after the audit knows. A load goes to the lane of replays, a commit is
// dispatched anew with its first date. Interrupted anywhere, it may be
// repeated: at worst the same load is carried out twice. [ErrNotFound] says
// that someone else was faster.
func (q *Queue) Replay(ctx context.Context, sequence uint64, op Operation) error {
	dead, err := q.DeadLetter(ctx, sequence)
	if err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	m, err := dead.revived()
	if err != nil {
		return fmt.Errorf("replay dead letter %d: %w", sequence, err)
	}
	if err := q.record(ctx, op, messages.VerbReplay, dead); err != nil {
		return fmt.Errorf("replay dead letter %d: audit: %w", sequence, err)
	}
	// A new id: under the original one the server would drop the message as a
	// duplicate, and removing the dead letter would lose it. The load is part
	// of the id because sequences begin anew when a stream is made anew.
	m.Header.Set(messages.HeaderMsgID, fmt.Sprintf("replay/%d/%s/%s", sequence, dead.Workspace, dead.ID))
	if _, err := q.publish(ctx, m); err != nil && !taken(err) {
		return fmt.Errorf("replay dead letter %d: %w", sequence, err)
	}
	if err := q.remove(ctx, sequence); err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("replay dead letter %d: %w", sequence, err)
	}
	q.log.Info("dead letter replayed", dead.fields()...)
	return nil
}

// revived is the message that a replay publishes.
func (d *DeadMessage) revived() (*nats.Msg, error) {
	header := d.Header
	header.Set(messages.HeaderReplays, strconv.Itoa(d.Replays+1))
	m := &nats.Msg{Header: nats.Header(header), Data: d.Payload}
	if d.Stage == messages.StageDispatch {
		m.Subject = messages.RecommitSubject(d.Workspace, d.Extraction, d.Sequence)
		return m, nil
	}
	if d.Stage != messages.StageLoad {
		return nil, errors.New("it cannot be read; discard it")
	}
	m.Subject = messages.LoadSubject(&messages.Load{
		Lane: messages.Replay, Destination: d.Destination, Extraction: d.Extraction, ID: d.ID,
	})
	load, err := messages.ParseLoad(header.Get(messages.HeaderLoad))
	if err != nil {
		return m, nil // as it was: a newer worker may be able to read it
	}
	load.Lane = messages.Replay
	load.Replay = &messages.ReplayMark{Count: d.Replays + 1, At: time.Now().UTC()}
	text, err := messages.EncodeLoad(load)
	if err != nil {
		return nil, err
	}
	header.Set(messages.HeaderLoad, text)
	return m, nil
}

// Discard removes a dead letter for good, after the audit knows; [ErrNotFound]
// when it is gone.
func (q *Queue) Discard(ctx context.Context, sequence uint64, op Operation) error {
	dead, err := q.DeadLetter(ctx, sequence)
	if err != nil {
		return fmt.Errorf("discard: %w", err)
	}
	if err := q.record(ctx, op, messages.VerbDiscard, dead); err != nil {
		return fmt.Errorf("discard dead letter %d: audit: %w", sequence, err)
	}
	if err := q.remove(ctx, sequence); err != nil {
		return fmt.Errorf("discard: %w", err)
	}
	q.log.Info("dead letter discarded", dead.fields()...)
	return nil
}

func (d *DeadMessage) fields() []zap.Field {
	return []zap.Field{
		zap.Uint64("sequence", d.Sequence), zap.String("id", d.ID), zap.String("stage", string(d.Stage)),
		zap.String("workspace", d.Workspace), zap.String("destination", d.Destination),
		zap.String("extraction", d.Extraction), zap.String("reason", string(d.Failure.Reason)), zap.Int("replays", d.Replays),
	}
}

func (q *Queue) remove(ctx context.Context, sequence uint64) error {
	return q.retry(ctx, fmt.Sprintf("remove dead letter %d", sequence), func(ctx context.Context) error {
		s, err := q.stream(ctx, streamDead)
		if err != nil {
			return err
		}
		if err = s.DeleteMsg(ctx, sequence); errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
			// It says so, too, of a message that somebody else has just deleted.
			if _, look := s.GetMsg(ctx, sequence); missing(look) {
				err = look
			}
		}
		if missing(err) {
			return errors.Join(ErrNotFound, err)
		}
		return err
	})
}

// bury stores a dead letter beside the message's own header and payload. A
// letter that stands there already from an earlier delivery is left as it is.
func (q *Queue) bury(ctx context.Context, letter messages.DeadLetter, header messages.Header, payload []byte) error {
	letter.Version = messages.Version
	text, err := messages.EncodeDeadLetter(&letter)
	if err != nil {
		return err
	}
	header.Set(messages.HeaderDeadLetter, text)
	m := &nats.Msg{Subject: deadSubject(&letter), Header: nats.Header(header), Data: payload}
	for {
		// No message id: after a replay the same load may die again at once.
		err := q.retry(ctx, "publish on "+m.Subject, func(ctx context.Context) error {
			_, err := q.js.PublishMsg(ctx, m, jetstream.WithRetryAttempts(0))
			if full(err) {
				return fmt.Errorf("%w (%s)", ErrDeadLettersFull, err.Error()) // final: a wait may be long
			}
			return err
		})
		if err == nil {
			q.warnNearlyFull(ctx)
		}
		if !taken(err) {
			return err
		}
		stands, err := q.lastOn(ctx, streamDead, m.Subject)
		switch {
		case errors.Is(err, ErrNotFound): // a replay has just removed it
		case err != nil:
			return err
		case parseDeadLetter(messages.Header(stands.Header), stands.Sequence, stands.Subject, stands.Time).Replays >= letter.Replays:
			return nil
		default:
			// The letter from which this message was replayed: whoever replayed
			// it was stopped before removing it, or is about to.
			if err := q.remove(ctx, stands.Sequence); err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
			continue
		}
		if err := q.pause(ctx, firstPause); err != nil {
			return err
		}
	}
}

// warnNearlyFull says, at most once a minute, that dead letters fill most of
// what they may. It fails silently: the next dead letter asks again.
func (q *Queue) warnNearlyFull(ctx context.Context) {
	now, last := time.Now().UnixNano(), q.roomAsked.Load()
	if now-last < int64(time.Minute) || !q.roomAsked.CompareAndSwap(last, now) {
		return
	}
	s, err := q.stream(ctx, streamDead)
	if err != nil {
		return
	}
	info, err := s.Info(ctx)
	if err != nil {
		return
	}
	if full := (StreamStatus{Bytes: info.State.Bytes, MaxBytes: info.Config.MaxBytes}).Full(); full >= NearlyFull {
		q.log.Warn("dead letters fill most of their stream: when it is full, loads that die stay on the queue and are tried again",
			zap.Float64("full", full), zap.Uint64("dead_letters", info.State.Msgs), zap.Int64("limit_bytes", info.Config.MaxBytes),
			zap.String("do", "replay or discard some, or provision with a larger --dead-letters-limit"))
	}
}

// deadSubject is the one place of a dead letter. Ids of extractions, and so of
// loads, are unique in their workspace only, so the workspace is part of the
// name; what a hostile commit calls its destination is not, unless it is an id.
func deadSubject(letter *messages.DeadLetter) string {
	named := *letter
	if !messages.ValidID(named.Destination) {
		named.Destination = ""
	}
	named.ID = named.Workspace + "/" + named.ID
	if len(named.ID) > 4*messages.MaxID {
		sum := sha256.Sum256([]byte(named.ID))
		named.ID = hex.EncodeToString(sum[:])
	}
	return messages.DeadLetterSubject(&named)
}

// DeadLetterCounts counts dead letters by destination and reason, the most
// first.
func (q *Queue) DeadLetterCounts(ctx context.Context) ([]DeadLetterCount, error) {
	counts := map[DeadLetterCount]int{}
	for letter, err := range q.DeadLetters(ctx, DeadLetterFilter{}) {
		if err != nil {
			return nil, err
		}
		counts[DeadLetterCount{Destination: letter.Destination, Reason: letter.Failure.Reason}]++
	}
	all := make([]DeadLetterCount, 0, len(counts))
	for c, n := range counts {
		c.Count = n
		all = append(all, c)
	}
	slices.SortFunc(all, DeadLetterCount.compare)
	return all, nil
}
