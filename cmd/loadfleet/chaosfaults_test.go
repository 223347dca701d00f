package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/storage/storagetest"
)

// breaker breaks the world, one thing after another, and mends each after a
// while. It is for one goroutine.
type breaker struct {
	w      *chaosWorld
	random *rand.Rand
	mends  []mend
	more   []func(*breaker) bool // what a larger world can suffer besides
}

type mend struct {
	at time.Time
	do func()
}

func newBreaker(w *chaosWorld, more ...func(*breaker) bool) *breaker {
	return &breaker{w: w, random: rand.New(rand.NewPCG(w.seed, 1)), more: more}
}

// between is a duration from a to b.
func (b *breaker) between(from, to time.Duration) time.Duration {
	return from + time.Duration(b.random.Int64N(int64(to-from)))
}

func (b *breaker) after(d time.Duration, do func()) {
	b.mends = append(b.mends, mend{time.Now().Add(d), do})
}

// run breaks things until enough says so or ctx ends, then mends what is broken.
func (b *breaker) run(ctx context.Context, enough func() bool) {
	acts := deck[func(*breaker) bool]{all: append([]func(*breaker) bool{
		(*breaker).killDispatcher, (*breaker).killWorker, (*breaker).killWorker, (*breaker).pauseDispatcher, (*breaker).pauseWorker, (*breaker).stopActor,
		(*breaker).killNATS, (*breaker).pauseNATS, (*breaker).cutS3, (*breaker).stormS3, (*breaker).shutBucket,
		(*breaker).replayDead, (*breaker).replayDead, (*breaker).editDestination,
	}, b.more...)}
	for ctx.Err() == nil && !enough() {
		pause(ctx, b.between(50*time.Millisecond, 700*time.Millisecond))
		b.mend(time.Now())
		b.supervise()
		if act := acts.deal(b.random); !act(b) { // nothing there to break just now
			acts.left = append(acts.left, act)
		}
	}
	for len(b.mends) > 0 {
		b.mend(time.Now())
		pause(context.WithoutCancel(ctx), 20*time.Millisecond)
	}
	b.supervise()
}

func (b *breaker) mend(now time.Time) {
	left := b.mends[:0:0]
	due := b.mends
	b.mends = nil
	for _, m := range due {
		if m.at.After(now) {
			left = append(left, m)
			continue
		}
		m.do()
	}
	b.mends = append(left, b.mends...)
}

// supervise starts again what has ended by itself, as an orchestrator does: a
// process that finds no NATS at its start ends.
func (b *breaker) supervise() {
	for _, s := range append(append([]*slot{}, b.w.actors...), b.w.nats...) {
		if s.broken {
			continue
		}
		select {
		case <-s.process.done:
			b.w.launch(s)
		default:
		}
	}
}

// whole is one of the slots on which no fault is at work.
func (b *breaker) whole(slots []*slot) *slot {
	var all []*slot
	for _, s := range slots {
		if !s.broken {
			all = append(all, s)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all[b.random.IntN(len(all))]
}

func roleOf(s *slot) string {
	word, _, _ := strings.Cut(s.name, " ")
	return word
}

// kill kills a slot's process, counts it as what it was, and starts it again
// after a while.
func (b *breaker) kill(s *slot, what string, least, most time.Duration) bool {
	if s == nil {
		return false
	}
	b.w.counts.add("kill -9 of " + what)
	s.broken = true
	if roleOf(s) == "worker" {
		b.w.died = append(b.w.died, span{s.started, time.Now()})
	}
	_ = s.process.cmd.Process.Kill()
	<-s.process.done
	b.after(b.between(least, most), func() { b.w.launch(s) })
	return true
}

// freeze stops a slot's process in the middle of whatever it does, and wakes it.
func (b *breaker) freeze(s *slot, what string, least, most time.Duration) bool {
	if s == nil || s.process.cmd.Process.Signal(syscall.SIGSTOP) != nil {
		return false
	}
	b.w.counts.add("SIGSTOP of " + what)
	s.broken = true
	b.after(b.between(least, most), func() {
		_ = s.process.cmd.Process.Signal(syscall.SIGCONT)
		s.broken = false
	})
	return true
}

// of are the slots of a role.
func of(role string, slots []*slot) (all []*slot) {
	for _, s := range slots {
		if roleOf(s) == role {
			all = append(all, s)
		}
	}
	return all
}

func (b *breaker) killDispatcher() bool { return b.killActor("dispatcher") }
func (b *breaker) killWorker() bool     { return b.killActor("worker") }

func (b *breaker) killActor(role string) bool {
	return b.kill(b.whole(of(role, b.w.actors)), role, 10*time.Millisecond, time.Second)
}

func (b *breaker) pauseDispatcher() bool { return b.pauseActor("dispatcher") }
func (b *breaker) pauseWorker() bool     { return b.pauseActor("worker") }

// pauseActor has it wake when its lease is over: a zombie.
func (b *breaker) pauseActor(role string) bool {
	return b.freeze(b.whole(of(role, b.w.actors)), role, chaosLease+500*time.Millisecond, 2*chaosLease)
}

// stopActor asks it to end, as an update does.
func (b *breaker) stopActor() bool {
	s := b.whole(b.w.actors)
	if s == nil || s.process.cmd.Process.Signal(syscall.SIGTERM) != nil {
		return false
	}
	b.w.counts.add("SIGTERM of " + roleOf(s))
	s.broken = true
	var again func()
	again = func() {
		select {
		case <-s.process.done:
			b.w.launch(s)
		default:
			b.after(200*time.Millisecond, again)
		}
	}
	b.after(200*time.Millisecond, again)
	return true
}

func (b *breaker) killNATS() bool {
	return b.kill(b.whole(b.w.nats), "nats", 10*time.Millisecond, 1500*time.Millisecond)
}

func (b *breaker) pauseNATS() bool {
	return b.freeze(b.whole(b.w.nats), "nats", 500*time.Millisecond, 2500*time.Millisecond)
}

func (b *breaker) cutS3() bool {
	var was bool
	b.w.faults.set(func(f *s3Faults) { was, f.away = f.away, true })
	if was {
		return true
	}
	b.w.counts.add("S3 away")
	began := time.Now()
	b.w.proxy.Cut()
	b.after(b.between(200*time.Millisecond, 2*time.Second), func() {
		b.w.faults.set(func(f *s3Faults) { f.away = false })
		b.w.away = append(b.w.away, span{began.Add(-time.Second), time.Now()})
	})
	return true
}

func (b *breaker) stormS3() bool {
	kinds := []storagetest.Fault{storagetest.SlowDown, storagetest.InternalError, storagetest.InternalError.ButApplied(),
		storagetest.DroppedReply.ButApplied(), storagetest.ConflictError}
	storm := kinds[b.random.IntN(len(kinds))]
	b.w.counts.add("storm of S3: " + storm.String())
	b.w.faults.set(func(f *s3Faults) { f.storm = &storm })
	b.after(b.between(200*time.Millisecond, 2*time.Second), func() { b.w.faults.set(func(f *s3Faults) { f.storm = nil }) })
	return true
}

func (b *breaker) shutBucket() bool {
	var was bool
	b.w.faults.set(func(f *s3Faults) { was, f.shut = f.shut, true })
	if was {
		return true
	}
	b.w.counts.add("destination denied")
	b.after(b.between(time.Second, 8*time.Second), func() { b.w.faults.set(func(f *s3Faults) { f.shut = false }) })
	return true
}

// replayDead replays every dead load, twice at once at times.
func (b *breaker) replayDead() bool {
	ctx, cancel := context.WithTimeout(b.w.Context(), 2*time.Second)
	defer cancel()
	var replays sync.WaitGroup
	for range 1 + b.random.IntN(2) {
		replays.Go(func() {
			n, err := replayLoads(ctx, b.w.oracle.queue)
			for range n {
				b.w.counts.add("dead load replayed")
			}
			_ = err // NATS may be away
		})
	}
	replays.Wait()
	return true
}

// loadStage chooses dead loads, not extractions.
var loadStage = queue.DeadLetterFilter{Stage: messages.StageLoad}

// replayLoads replays every dead load there is.
func replayLoads(ctx context.Context, q *queue.Queue) (n int, err error) {
	var dead []queue.DeadLetter
	for d, err := range q.DeadLetters(ctx, loadStage) {
		if err != nil {
			return 0, err
		}
		dead = append(dead, d)
	}
	for _, d := range dead {
		if err := q.Replay(ctx, d.Sequence, queue.Operation{By: "chaos"}); err == nil {
			n++
		}
	}
	return n, nil
}

// editDestination changes a destination while its loads run, or pauses it.
func (b *breaker) editDestination() bool {
	t := b.w.targets[b.random.IntN(len(b.w.targets))]
	ctx, cancel := context.WithTimeout(b.w.Context(), 2*time.Second)
	defer cancel()
	paused := b.random.IntN(2) == 0
	title := fmt.Sprint("edited ", b.random.IntN(1000))
	if err := b.w.store(ctx, t, func(s *destination.Settings) { s.Title, s.Paused = title, paused }); err == nil {
		b.w.counts.add("destination edited")
	}
	// NATS may be away, now and then: it may have been stored all the same.
	var restore func()
	restore = func() {
		ctx, cancel := context.WithTimeout(b.w.Context(), 2*time.Second)
		defer cancel()
		if err := b.w.store(ctx, t, nil); err != nil {
			b.after(time.Second, restore)
		}
	}
	b.after(b.between(200*time.Millisecond, 3*time.Second), restore)
	return true
}
