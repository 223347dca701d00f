package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/loadfleet/loadfleet/messages"
)

// chaosPlan is how long a test breaks things: until both are reached, and
// everything that the world requires has happened.
type chaosPlan struct {
	target string // of make
	seed   uint64
	faults int
	length time.Duration
	report string // file; "" for none
}

// plannedChaos reads the plan from the environment, where make puts it; without
// one it is the short run of every `go test`.
func plannedChaos(t *testing.T, short chaosPlan) chaosPlan {
	t.Helper()
	p := short
	var err error
	if text := os.Getenv("LOADFLEET_CHAOS_SEED"); text == "random" {
		p.seed = rand.Uint64() % 1_000_000
	} else if text != "" {
		if p.seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("SEED: %v", err)
		}
	}
	if text := os.Getenv("LOADFLEET_CHAOS_FAULTS"); text != "" {
		if p.faults, err = strconv.Atoi(text); err != nil {
			t.Fatalf("FAULTS: %v", err)
		}
	}
	if text := os.Getenv("LOADFLEET_CHAOS_DURATION"); text != "" {
		if p.length, err = time.ParseDuration(text); err != nil {
			t.Fatalf("DURATION: %v", err)
		}
	}
	p.report = os.Getenv("LOADFLEET_CHAOS_REPORT")
	return p
}

// oneNATS is a single server.
func oneNATS(w *chaosWorld) []natsServer {
	return []natsServer{natsConfig(w.T, w.dir, w.dir+"/nats", "n0", w.token, freePorts(w.T, 1)[0], alwaysSync, "")}
}

// TestP1Chaos breaks a fleet of processes at random: everything that was
// acknowledged must end in its objects, once, whole, the newest generation, and
// be accounted for. `make chaos` runs it for longer.
func TestP1Chaos(t *testing.T) {
	plan := plannedChaos(t, chaosPlan{target: "chaos", seed: 20240620, faults: 60, length: 8 * time.Second})
	w := newChaosWorld(t, plan.seed, chaosShape{dispatchers: 2, workers: 3, replicas: 1, nats: oneNATS})
	w.breakAndProve(plan, "One NATS server")
}

// breakAndProve breaks the world by plan, lets it settle and has the oracle
// examine it.
func (w *chaosWorld) breakAndProve(plan chaosPlan, title string, more ...func(*breaker) bool) {
	w.Helper()
	w.Logf("seed %d", plan.seed)
	began := time.Now()
	watching, rest := context.WithCancel(w.Context())
	defer rest()
	w.watch(watching)
	w.proxy.SetJudge(w.faults.judge)
	breaking, enough := context.WithCancel(w.Context())
	defer enough()
	x := newExtractors(w)
	x.run(w.Context(), breaking, 4)
	newBreaker(w, more...).run(breaking, func() bool {
		return time.Since(began) >= plan.length && w.counts.total() >= plan.faults && w.counts.has(w.required)
	})
	broke := time.Since(began)
	enough()
	w.proxy.Heal()
	x.done.Wait()
	w.Logf("broken for %s, the extractors ended after %s", broke.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	for _, t := range w.targets {
		w.apply(t)
	}
	w.settle()
	rest()
	w.observe.Wait()
	w.oracle.extractions = w.extractions
	examined := time.Now()
	violations, err := w.oracle.examine(w.Context())
	if err != nil {
		w.Errorf("the oracle could not establish: %v", err)
	}
	w.Logf("examined in %s", time.Since(examined).Round(time.Millisecond))
	for len(w.violations) > 0 {
		violations = append(violations, <-w.violations)
	}
	violations = append(violations, w.crashes()...)
	w.run("verify", "--all", "--workspace", chaosWorkspace)
	for i, v := range violations {
		if i == 40 {
			w.Errorf("... and %d more", len(violations)-i)
			break
		}
		w.Errorf("%s", v)
	}
	w.summary(plan, title, broke, time.Since(began), len(violations))
}

// settle waits until every load has ended well, replaying what died.
func (w *chaosWorld) settle() {
	w.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(w.Context(), patience)
	defer cancel()
	if err := w.proxy.AwaitIdle(ctx); err != nil {
		w.Fatal(err)
	}
	w.eventually("every load to end", func() error {
		newBreaker(w).supervise()
		if _, err := replayLoads(ctx, w.oracle.queue); err != nil {
			return err
		}
		return w.settled(ctx)
	})
	if err := w.proxy.AwaitIdle(ctx); err != nil {
		w.Fatal(err)
	}
	w.Logf("settled in %s", time.Since(began).Round(time.Millisecond))
}

// settled says what is not at rest yet.
func (w *chaosWorld) settled(ctx context.Context) error {
	states, err := w.oracle.queue.Extractions(ctx, chaosWorkspace)
	if err != nil {
		return err
	}
	at := map[string]messages.EventKind{}
	for _, s := range states {
		at[s.Extraction] = s.State
	}
	for _, e := range w.extractions {
		if e.acknowledged() && at[e.id] != messages.EventCompleted && at[e.id] != messages.EventFailed {
			return fmt.Errorf("extraction %s is %q", e.id, at[e.id])
		}
	}
	for _, s := range states {
		switch s.State {
		case messages.EventCompleted, messages.EventFailed:
		default:
			return fmt.Errorf("extraction %s is %s", s.Extraction, s.State)
		}
	}
	status, err := w.oracle.queue.Status(ctx)
	if err != nil {
		return err
	}
	for _, l := range append(status.Lanes, status.Commits) {
		if n := int(l.Pending) + l.InFlight; n > 0 {
			return fmt.Errorf("%d messages are left in lane %q", n, l.Lane)
		}
	}
	if status.Stuck > 0 {
		return fmt.Errorf("%d loads are stuck", status.Stuck)
	}
	for d, err := range w.oracle.queue.DeadLetters(ctx, loadStage) {
		if err != nil {
			return err
		}
		return fmt.Errorf("load %s is dead: %s", d.ID, d.Failure.Message)
	}
	return nil
}
