package worker

import (
	"sync"
	"sync/atomic"
)

// crew carries jobs out beside each other, each on a goroutine of its own, and
// gives a goroutine that is done the next job: a put needs a stack of 32 KiB, and
// a new goroutine copies its own five times until it has that. What only waits is
// left to new ones, whose stacks are small.
type crew struct {
	keep int // how many goroutines may wait for a job

	jobs    chan func()
	ended   chan struct{}
	waiting atomic.Int64
	work    sync.WaitGroup // the jobs
	members sync.WaitGroup // the goroutines
}

func newCrew(keep int) *crew {
	return &crew{keep: keep, jobs: make(chan func()), ended: make(chan struct{})}
}

// do begins a job. It must not be called after end.
func (c *crew) do(job func()) {
	c.work.Add(1)
	select {
	case c.jobs <- job:
	default: // nobody waits
		c.members.Go(func() { c.member(job) })
	}
}

// wait begins what is left of a job and mostly waits; the job calls it.
func (c *crew) wait(rest func()) { c.work.Go(rest) }

func (c *crew) member(job func()) {
	for {
		c.carryOut(job)
		if c.waiting.Add(1) > int64(c.keep) {
			c.waiting.Add(-1)
			return
		}
		select {
		case job = <-c.jobs:
			c.waiting.Add(-1)
		case <-c.ended:
			return
		}
	}
}

func (c *crew) carryOut(job func()) {
	defer c.work.Done()
	job()
}

// end waits until all jobs are done, and dismisses the crew.
func (c *crew) end() {
	c.work.Wait()
	close(c.ended)
	c.members.Wait()
}
