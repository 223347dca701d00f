package queue

import (
	"context"
	"slices"

	"github.com/nats-io/nats.go/jetstream"
)

// DeadLetterPage is a page of the dead letters that a filter chooses.
type DeadLetterPage struct {
	Letters []DeadLetter // the newest first
	Newer   int          // how many come before them
	Older   int          // how many after
}

// All is how many the filter chooses.
func (p *DeadLetterPage) All() int { return p.Newer + len(p.Letters) + p.Older }

// DeadLetterPage is at most limit of the dead letters that a filter chooses,
// those below a sequence, 0 for the newest of all. It holds no more than twice
// the limit at a time. By stage and destination the server counts and only the
// page is read; any other filter reads the headers of all, as often as asked.
func (q *Queue) DeadLetterPage(ctx context.Context, filter DeadLetterFilter, before uint64, limit int) (*DeadLetterPage, error) {
	if filter == (DeadLetterFilter{Stage: filter.Stage, Destination: filter.Destination}) {
		return q.countedPage(ctx, filter, before, limit)
	}
	p := &DeadLetterPage{Letters: make([]DeadLetter, 0, 2*limit+1)}
	for letter, err := range q.DeadLetters(ctx, filter) {
		switch {
		case err != nil:
			return nil, err
		case before > 0 && letter.Sequence >= before:
			p.Newer++
		default:
			p.add(letter, limit)
			p.Older++
		}
	}
	p.end(limit)
	p.Older -= len(p.Letters)
	return p, nil
}

// add takes one more, the oldest first, and forgets what cannot be on the page.
func (p *DeadLetterPage) add(letter DeadLetter, limit int) {
	if p.Letters = append(p.Letters, letter); len(p.Letters) > 2*limit {
		p.Letters = append(p.Letters[:0], p.Letters[len(p.Letters)-limit:]...)
	}
}

func (p *DeadLetterPage) end(limit int) {
	slices.Reverse(p.Letters)
	p.Letters = p.Letters[:min(limit, len(p.Letters))]
}

// countedPage finds by the server's counts where the page begins: streams are
// read forwards only.
func (q *Queue) countedPage(ctx context.Context, filter DeadLetterFilter, before uint64, limit int) (*DeadLetterPage, error) {
	var first, end uint64
	if err := q.retry(ctx, "look at dead letters", func(ctx context.Context) error {
		s, err := q.stream(ctx, streamDead)
		if err != nil {
			return err
		}
		info, err := s.Info(ctx)
		if err == nil {
			first, end = info.State.FirstSeq, info.State.LastSeq+1
		}
		return err
	}); err != nil {
		return nil, err
	}
	if before == 0 || before > end {
		before = end
	}
	from := func(sequence uint64) (int, error) { return q.countFrom(ctx, streamDead, filter.subject(), sequence) }
	all, err := from(first)
	if err != nil {
		return nil, err
	}
	newer, err := from(before)
	if err != nil {
		return nil, err
	}
	p := &DeadLetterPage{Letters: make([]DeadLetter, 0, 2*limit+1), Newer: newer}
	if all <= newer || before <= first {
		return p, nil
	}
	want := min(limit, all-newer)
	begin, short, found := before, before, 0 // from short on there are fewer than wanted
	for step := uint64(limit); begin > first && found < want; step *= 2 {
		short, begin = begin, max(first, before-min(step, before))
		if found, err = from(begin); err != nil {
			return nil, err
		}
		found -= newer
	}
	for found > 2*limit && short-begin > 1 { // it went too far back at once
		middle := begin + (short-begin)/2
		n, err := from(middle)
		if err != nil {
			return nil, err
		}
		if n -= newer; n >= want {
			begin, found = middle, n
		} else {
			short = middle
		}
	}
	for letter, err := range q.deadLetters(ctx, filter, begin-1) {
		if err != nil {
			return nil, err
		}
		if letter.Sequence >= before {
			break
		}
		p.add(letter, limit)
	}
	p.end(limit)
	p.Older = max(all-newer-len(p.Letters), 0)
	return p, nil
}

// countFrom is how many messages stand on a subject from a sequence on: the
// server counts, and nothing is read.
func (q *Queue) countFrom(ctx context.Context, stream, subject string, sequence uint64) (n int, err error) {
	err = q.retry(ctx, "count "+subject, func(ctx context.Context) error {
		consumer, err := q.js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{
			FilterSubjects: []string{subject}, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: max(sequence, 1), HeadersOnly: true,
		})
		if err != nil {
			return err
		}
		info := consumer.CachedInfo()
		q.drop(stream, info.Name)
		n = int(info.NumPending)
		return nil
	})
	return n, err
}
