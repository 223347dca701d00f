package kubernetes

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
)

// The scaler is simulated with the numbers that the manifests have: KEDA turns the query's answer into an external
// metric, and the horizontal pod autoscaler turns that into replicas:
//
//   - a metric of AverageValue: ceil(metric / threshold), unless metric / (threshold * replicas) is within 10 % of 1
//     (https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#algorithm-details, and
//     GetExternalPerPodMetricReplicas in pkg/controller/podautoscaler/replica_calculator.go);
//   - then the stabilisation windows, then the policies, then the bounds
//     (https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#configurable-scaling-behavior, and
//     normalizeDesiredReplicasWithBehaviors in pkg/controller/podautoscaler/horizontal.go).
//
// KEDA's cooldownPeriod is not here: it is for the step to 0, which the scaler never takes.

const (
	sync15    = 15 * time.Second // --horizontal-pod-autoscaler-sync-period
	tolerance = 0.1              // --horizontal-pod-autoscaler-tolerance
)

// hpa is the autoscaler's state.
type hpa struct {
	spec     scaledObject
	replicas int
	failures int
	wanted   []event // recommendations
	changes  []event // of replicas
}

type event struct {
	at time.Duration
	n  int
}

func newHPA(t *testing.T) *hpa {
	t.Helper()
	m, err := read(render(t, production))
	if err != nil {
		t.Fatal(err)
	}
	return &hpa{spec: *m.scaled[0], replicas: m.scaled[0].Spec.Min}
}

func (h *hpa) threshold() float64 {
	n, err := strconv.ParseFloat(h.spec.Spec.Triggers[0].Metadata["threshold"], 64)
	if err != nil {
		panic(err)
	}
	return n
}

// sync is one look at the metric; missing is an answer that was none.
func (h *hpa) sync(now time.Duration, metric float64, missing bool) {
	s := &h.spec.Spec
	if missing && s.Triggers[0].Metadata["ignoreNullValues"] != "false" {
		metric, missing = 0, false
	}
	if missing {
		// KEDA hands the error on at first, and the autoscaler does nothing; then it makes a metric up.
		if h.failures++; h.failures <= s.Fallback.FailureThreshold {
			return
		}
		n := s.Fallback.Replicas
		if s.Fallback.Behavior == "currentReplicasIfHigher" {
			n = max(n, h.replicas)
		}
		metric = h.threshold() * float64(n)
	} else {
		h.failures = 0
	}
	want := h.replicas
	if ratio := metric / (h.threshold() * float64(h.replicas)); math.Abs(ratio-1) > tolerance {
		want = int(math.Ceil(metric / h.threshold()))
	}
	h.wanted = append(h.wanted, event{now, want})
	n := h.stabilized(now)
	if n > h.replicas {
		n = min(n, max(h.replicas, h.limit(now, s.Advanced.HPA.Behavior.ScaleUp, 1)), s.Max)
	} else if n < h.replicas {
		n = max(n, min(h.replicas, h.limit(now, s.Advanced.HPA.Behavior.ScaleDown, -1)), s.Min)
	}
	if n != h.replicas {
		h.changes = append(h.changes, event{now, n - h.replicas})
		h.replicas = n
	}
}

// stabilized is the lowest recommendation of the window upwards, and the highest of the one downwards.
func (h *hpa) stabilized(now time.Duration) int {
	behavior := h.spec.Spec.Advanced.HPA.Behavior
	last := h.wanted[len(h.wanted)-1].n
	up, down := last, last
	for _, w := range h.wanted {
		if age := now - w.at; age < seconds(*behavior.ScaleUp.StabilizationWindowSeconds) {
			up = min(up, w.n)
		}
		if age := now - w.at; age < seconds(*behavior.ScaleDown.StabilizationWindowSeconds) {
			down = max(down, w.n)
		}
	}
	return min(max(h.replicas, up), down)
}

func seconds(n int32) time.Duration { return time.Duration(n) * time.Second }

// limit is how far the policies let replicas go now: as far as the one that allows most.
func (h *hpa) limit(now time.Duration, rules *autoscalingv2.HPAScalingRules, sign int) int {
	if rules.SelectPolicy != nil && *rules.SelectPolicy != autoscalingv2.MaxChangePolicySelect {
		panic("the simulation knows selectPolicy Max only")
	}
	far := h.replicas
	for _, p := range rules.Policies {
		start := h.replicas // of the policy's period
		for _, c := range h.changes {
			if now-c.at < seconds(p.PeriodSeconds) {
				start -= c.n
			}
		}
		to := start + sign*int(p.Value)
		if p.Type == autoscalingv2.PercentScalingPolicy {
			part := float64(start) * (1 + float64(sign)*float64(p.Value)/100)
			if to = int(part); sign > 0 {
				to = int(math.Ceil(part))
			}
		}
		if sign > 0 {
			far = max(far, to)
		} else {
			far = min(far, to)
		}
	}
	return far
}

// sample is one scrape of a recording: series as they are exposed, without their fleet's labels.
type sample struct {
	at     time.Duration
	values map[string]float64
}

// lag is what the scaler's query makes of a sample; TestScalerAsks lets Prometheus say so.
func (s sample) lag() (n float64) {
	for name, v := range s.values {
		for _, lane := range []string{"fresh", "replay", "backfill"} {
			if strings.HasSuffix(name, fmt.Sprintf("{lane=%q}", lane)) {
				n += v
			}
		}
	}
	return n
}

func (s sample) parked() float64 {
	return s.values[`loadfleet_queue_pending{lane="parked"}`] + s.values[`loadfleet_queue_in_flight{lane="parked"}`]
}

// recording reads testdata/lag.prom: its samples, and where its phases begin.
func recording(t *testing.T) (samples []sample, phases map[string]time.Duration) {
	t.Helper()
	phases = map[string]time.Duration{}
	for line := range strings.Lines(readText(t, "testdata/lag.prom")) {
		f := strings.Fields(line)
		ms, err := strconv.ParseInt(f[len(f)-1], 10, 64)
		at := time.Duration(ms) * time.Millisecond
		switch {
		case f[0] == "#" && f[1] == "phase" && err == nil:
			phases[f[2]] = at
		case f[0] == "#":
		case err != nil || len(f) != 3:
			t.Fatalf("testdata/lag.prom: %q", line)
		default:
			if len(samples) == 0 || samples[len(samples)-1].at != at {
				samples = append(samples, sample{at, map[string]float64{}})
			}
			v, err := strconv.ParseFloat(f[1], 64)
			if err != nil {
				t.Fatal(err)
			}
			samples[len(samples)-1].values[f[0]] = v
		}
	}
	for _, s := range samples {
		if len(s.values) != 10 {
			t.Fatalf("testdata/lag.prom: %d series at %s", len(s.values), s.at)
		}
	}
	return samples, phases
}

// at is the last sample before then, as an instant query answers; after the end it is the last one for ever.
func at(samples []sample, now time.Duration) sample {
	i, _ := slices.BinarySearchFunc(samples, now, func(s sample, d time.Duration) int { return cmp.Compare(s.at, d) })
	return samples[max(i-1, 0)]
}

// replay lets the autoscaler look at a recording, and goes on after its end until nothing can change any more.
func replay(h *hpa, samples []sample, look func(now time.Duration, s sample)) {
	for now := samples[0].at + time.Second; now < samples[len(samples)-1].at+20*time.Minute; now += sync15 {
		s := at(samples, now)
		h.sync(now, s.lag(), false)
		look(now, s)
	}
}

// TestScalerFollowsTheRecordedLag runs the scaler over what a fleet of one worker really told.
func TestScalerFollowsTheRecordedLag(t *testing.T) {
	samples, phases := recording(t)
	h := newHPA(t)
	var highest float64 // lag so far
	peaks, down := map[string]int{}, time.Duration(0)
	order := slices.SortedFunc(maps.Keys(phases), func(a, b string) int { return cmp.Compare(phases[a], phases[b]) })
	if want := []string{"idle", "backlog", "oscillation", "stopped", "parking", "parked", "end"}; !slices.Equal(order, want) {
		t.Fatalf("phases %v, want %v", order, want)
	}
	before := h.replicas
	replay(h, samples, func(now time.Duration, s sample) {
		highest = max(highest, s.lag())
		phase := ""
		for _, name := range order {
			if phases[name] <= now {
				phase = name
			}
		}
		peaks[phase] = max(peaks[phase], h.replicas)
		if s.at < samples[len(samples)-1].at {
			t.Logf("%-11s %4.0fs lag %6.0f parked %6.0f replicas %2d", phase, now.Seconds(), s.lag(), s.parked(), h.replicas)
		}
		// At once: what the lag asks for, as far as it goes.
		if need := min(int(math.Ceil(s.lag()/h.threshold()/(1+tolerance))), h.spec.Spec.Max); h.replicas < need {
			t.Errorf("at %s %d replicas for a lag of %.0f, want %d", now, h.replicas, s.lag(), need)
		}
		if h.replicas < before {
			// Down only when nothing has asked for more during the whole window.
			for past := now - 5*time.Minute + sync15; past <= now; past += sync15 {
				if need := int(math.Ceil(at(samples, past).lag() / h.threshold() / (1 + tolerance))); past > 0 && need > h.replicas {
					t.Errorf("down to %d at %s, although %d were needed at %s", h.replicas, now, need, past)
				}
			}
			if down == 0 {
				down = now
			}
		}
		if phase == "parked" && s.parked() < 20_000 {
			t.Errorf("the recording has only %.0f parked loads", s.parked())
		}
		before = h.replicas
	})
	if want := int(math.Ceil(highest / h.threshold())); peaks["backlog"] < want-1 || peaks["backlog"] > want {
		t.Errorf("a lag of %.0f made it %d replicas, want %d or one less", highest, peaks["backlog"], want)
	}
	if down < phases["oscillation"] {
		t.Errorf("the first went at %s, while bursts came until %s", down, phases["stopped"])
	}
	for i, c := range h.changes[1:] {
		if c.n > 0 && h.changes[i].n < 0 && c.at-h.changes[i].at < 5*time.Minute {
			t.Errorf("it flaps: %+d at %s, %+d at %s", h.changes[i].n, h.changes[i].at, c.n, c.at)
		}
	}
	if h.replicas != h.spec.Spec.Min {
		t.Errorf("an empty queue ends at %d replicas, want %d", h.replicas, h.spec.Spec.Min)
	}
}

// TestParkedLoadsAskForNobody lets the scaler look at parked loads alone, and at a lag that would count them.
func TestParkedLoadsAskForNobody(t *testing.T) {
	samples, phases := recording(t)
	i := slices.IndexFunc(samples, func(s sample) bool { return s.at > phases["parked"] })
	parked := samples[i:]
	h, counting := newHPA(t), newHPA(t)
	replay(h, parked, func(now time.Duration, s sample) {
		counting.sync(now, s.lag()+s.parked(), false)
		if s.lag() != 0 || h.replicas != h.spec.Spec.Min {
			t.Errorf("at %s a lag of %.0f and %d replicas for %.0f parked loads, want 0 and %d", now, s.lag(), h.replicas, s.parked(), h.spec.Spec.Min)
		}
	})
	if counting.replicas <= counting.spec.Spec.Min {
		t.Errorf("the test shows nothing: %d replicas if parked loads counted", counting.replicas)
	}
}

// TestScalerNeedsItsWindow shows that the recorded bursts would make it flap, were it not for the window.
func TestScalerNeedsItsWindow(t *testing.T) {
	samples, _ := recording(t)
	turns := func(h *hpa) (n int) {
		replay(h, samples, func(time.Duration, sample) {})
		for i, c := range h.changes[1:] {
			if c.n > 0 != (h.changes[i].n > 0) {
				n++
			}
		}
		return n
	}
	with, without := newHPA(t), newHPA(t)
	*without.spec.Spec.Advanced.HPA.Behavior.ScaleDown.StabilizationWindowSeconds = 0
	a, b := turns(with), turns(without)
	t.Logf("it turns %d times, %d without the window", a, b)
	if a > 1 || b < a+2 {
		t.Errorf("it turns %d times with the window, want at most 1, and %d without, want more", a, b)
	}
}

// rate is what the threshold takes a worker to do in a second, and target in how many seconds the loads of one
// threshold shall be done (docs/decisions/10-scaling-workers.md).
const (
	rate   = 200
	target = 60
)

// TestThresholdIsRateTimesTarget holds the threshold to its reasons, and the rate to the recorded worker, which had an
// S3 server beside it: at a distance a put takes longer.
func TestThresholdIsRateTimesTarget(t *testing.T) {
	if got := newHPA(t).threshold(); got != rate*target {
		t.Errorf("threshold %.0f, want %d", got, rate*target)
	}
	samples, phases := recording(t)
	var first, last sample
	for _, s := range samples {
		if s.at < phases["backlog"] || s.at > phases["oscillation"] || s.lag() == 0 {
			continue
		}
		if s.lag() > first.lag() {
			first = s
		}
		last = s
	}
	done := (first.lag() - last.lag()) / (last.at - first.at).Seconds()
	t.Logf("one worker of 16 slots did %.0f loads a second", done)
	if done < rate {
		t.Errorf("the recorded worker did %.0f loads a second, want %d or more", done, rate)
	}
}

// TestScalerClearsABacklog closes the loop: replicas take from the lag what they are taken to do, each from a while
// after it was asked for.
func TestScalerClearsABacklog(t *testing.T) {
	const (
		starts = 30 * time.Second // scheduled, image pulled, ready
		scrape = 30 * time.Second // what Prometheus tells is as old as that
	)
	for _, tt := range []struct {
		name     string
		backlog  float64
		replicas int           // at the most
		cleared  time.Duration // at the latest
	}{
		{"one extraction", 1_800, 2, 30 * time.Second},
		{"less than two workers' share", 20_000, 2, 65 * time.Second},
		{"five workers' share", 60_000, 5, 2*time.Minute + 30*time.Second},
		{"all workers' share", 240_000, 20, 2*time.Minute + 30*time.Second},
		{"more than all can do", 1_000_000, 20, 6 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHPA(t)
			type start struct {
				at time.Duration
				n  int
			}
			lag, cleared, most := tt.backlog, time.Duration(0), 0
			told := []float64{lag}
			var asked []start
			reached := time.Duration(-1)
			for now := time.Duration(0); now < 30*time.Minute; now += time.Second {
				if now%scrape == 0 {
					told = append(told, lag)
				}
				if now%sync15 == 0 {
					was := h.replicas
					h.sync(now, told[len(told)-1], false)
					if asked = append(asked, start{now + starts, h.replicas}); h.replicas < was && cleared == 0 {
						t.Errorf("at %s it goes from %d to %d with %.0f loads waiting", now, was, h.replicas, lag)
					}
					if h.replicas == tt.replicas && reached < 0 {
						reached = now
					}
				}
				working := h.spec.Spec.Min
				for _, s := range asked {
					if s.at <= now {
						working = s.n
					}
				}
				// One that is told to go takes no more.
				lag = max(lag-rate*float64(min(working, h.replicas)), 0)
				if most = max(most, h.replicas); lag == 0 && cleared == 0 {
					cleared = now
				}
			}
			t.Logf("%d replicas, from %s on; cleared after %s", most, reached, cleared)
			if most != tt.replicas || cleared == 0 || cleared > tt.cleared {
				t.Errorf("%d replicas at the most, cleared after %s; want %d, within %s", most, cleared, tt.replicas, tt.cleared)
			}
			if reached < 0 || reached > sync15 {
				t.Errorf("it had %d replicas after %s, want within two looks", tt.replicas, reached)
			}
			if h.replicas != h.spec.Spec.Min {
				t.Errorf("it ends at %d replicas, want %d", h.replicas, h.spec.Spec.Min)
			}
		})
	}
}

// TestScalerWithoutMetric keeps what there is, and some when there is little.
func TestScalerWithoutMetric(t *testing.T) {
	for _, tt := range []struct {
		name, ignore string
		before, want int
	}{
		{"a busy fleet", "false", 15, 15},
		{"a quiet fleet", "false", 2, 4},
		{"were it taken for 0", "true", 15, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHPA(t)
			h.spec.Spec.Triggers[0].Metadata["ignoreNullValues"] = tt.ignore
			h.replicas = tt.before
			for now := time.Duration(0); now < 30*time.Minute; now += sync15 {
				h.sync(now, 0, true)
			}
			if h.replicas != tt.want {
				t.Errorf("%d replicas become %d, want %d", tt.before, h.replicas, tt.want)
			}
		})
	}
}

// TestScalerGoesDownSlowly shows how many drain at a time.
func TestScalerGoesDownSlowly(t *testing.T) {
	h := newHPA(t)
	h.replicas = h.spec.Spec.Max
	var path []int
	for now := time.Duration(0); now < 30*time.Minute; now += sync15 {
		was := h.replicas
		if h.sync(now, 0, false); h.replicas != was {
			path = append(path, h.replicas)
		}
	}
	if want := []int{15, 11, 8, 6, 4, 3, 2}; !slices.Equal(path, want) {
		t.Errorf("down by %v, want %v", path, want)
	}
}

// TestScalerAsks lets Prometheus evaluate the scaler's query over the recording, told by two dispatchers, one of them
// late, beside another namespace's; and where nobody tells.
func TestScalerAsks(t *testing.T) {
	tool, err := filepath.Abs("../../testdata/foreign/bin/promtool")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(tool); err != nil {
		t.Fatalf("promtool is not installed: run `make setup` (%v)", err)
	}
	samples, _ := recording(t)
	const step = 15 * time.Second
	var names []string
	for name := range samples[0].values {
		names = append(names, name)
	}
	slices.Sort(names)
	query := newHPA(t).spec.Spec.Triggers[0].Metadata["query"]
	var file strings.Builder
	fmt.Fprintf(&file, "tests:\n  - interval: %s\n    input_series:\n", step)
	end := samples[len(samples)-1].at
	for _, pod := range []string{`namespace="loadfleet",pod="a"`, `namespace="loadfleet",pod="b"`, `namespace="other",pod="a"`} {
		for _, name := range names {
			fmt.Fprintf(&file, "      - series: '%s'\n        values: '", strings.Replace(name, "}", ","+pod+"}", 1))
			for now := time.Duration(0); now <= end; now += step {
				v := at(samples, now).values[name]
				switch {
				case strings.Contains(pod, "other"):
					v += 1_000_000
				case strings.Contains(pod, `"b"`):
					v = min(v, 1) // it was scraped before
				}
				fmt.Fprintf(&file, "%g ", v)
			}
			fmt.Fprint(&file, "'\n")
		}
	}
	fmt.Fprint(&file, "    promql_expr_test:\n")
	for now := time.Duration(0); now <= end; now += step {
		fmt.Fprintf(&file, "      - expr: '%s'\n        eval_time: %s\n        exp_samples: [{labels: '{}', value: %g}]\n", query, now, at(samples, now).lag())
	}
	// All dispatchers away for longer than Prometheus looks back: no answer.
	fmt.Fprintf(&file, "      - expr: '%s'\n        eval_time: %s\n        exp_samples: []\n", query, end.Round(step)+6*time.Minute)
	path := filepath.Join(t.TempDir(), "query.test.yaml")
	if err := os.WriteFile(path, []byte(file.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), tool, "test", "rules", path).CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}
