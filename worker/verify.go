package worker

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"golang.org/x/sync/errgroup"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/storage"
)

// VerifyConfig says which extraction to verify. Queue, Keyring, Workspace and
// Extraction are required.
type VerifyConfig struct {
	Queue      *queue.Queue
	Keyring    *destination.Keyring
	Workspace  string
	Extraction string

	Concurrency int    // objects read at a time; default 4
	MaxFindings int    // kept in the report, which counts all; default 1000
	MemoryBytes int64  // a file larger than this is read through a temporary one; default 8 MiB
	ScratchDir  string // of temporary files; default: the system's
	Storage     storage.Config
}

func (c VerifyConfig) withDefaults() VerifyConfig {
	if c.Concurrency <= 0 {
		c.Concurrency = 4
	}
	if c.MaxFindings <= 0 {
		c.MaxFindings = 1000
	}
	if c.MemoryBytes <= 0 {
		c.MemoryBytes = 8 << 20
	}
	return c
}

// Verify proves an extraction's account against the bucket: every planned load
// has exactly one outcome, every outcome its object or dead letter, every
// object the bytes, columns and rows on record, every row its own partition.
// ARCHITECTURE.md, "What verify proves", lists it all. It writes nothing.
//
// What is not as it must be is a finding. An error means that it could not be
// established: the queue or the store did not answer, the destination or its
// key is gone, or (an error that is [queue.ErrNotFound]) no such extraction was
// committed in the last 30 days. The report then holds what was found until then.
//
// Memory holds Concurrency files' chunks (a row group of a parquet file) and a
// few hundred bytes per load. An extraction that is verified while its loads still run
// is unfinished, never wrong.
func Verify(ctx context.Context, cfg VerifyConfig) (Report, error) {
	v := &verification{cfg: cfg.withDefaults()}
	v.report = Report{
		Workspace: cfg.Workspace, Extraction: cfg.Extraction,
		Results: map[messages.Result]int64{}, Found: map[FindingKind]int64{}, Findings: []Finding{},
	}
	v.most = v.cfg.MaxFindings
	err := v.run(ctx)
	if err != nil {
		err = fmt.Errorf("verify extraction %s of workspace %s: %w", cfg.Extraction, cfg.Workspace, err)
	}
	return v.done(), err
}

// verification is one extraction under examination.
type verification struct {
	tally
	cfg       VerifyConfig
	commit    messages.Commit
	plan      *messages.PinnedPlan
	partition *partitionCheck
	store     *storage.Store

	walked messages.Counts             // of the outcomes
	ended  map[string]bool             // loads that have an outcome
	dead   map[string]messages.Outcome // loads whose outcome is dead-lettered
}

func (v *verification) run(ctx context.Context) error {
	commit, err := v.cfg.Queue.Commit(ctx, v.cfg.Workspace, v.cfg.Extraction)
	var refused *messages.CommitError
	if err != nil && !errors.As(err, &refused) {
		return err
	}
	v.commit = commit
	v.report.Destination, v.report.Table = commit.Destination, commit.Filename
	state, err := v.cfg.Queue.State(ctx, v.cfg.Workspace, v.cfg.Extraction)
	if errors.Is(err, queue.ErrNotFound) {
		v.found(FindingUnfinished, nil, "no dispatcher has taken the commit yet")
		return nil
	}
	if err != nil {
		return err
	}
	v.report.State = state.State
	if state.Plan == nil {
		return v.undispatched(ctx, state)
	}
	v.report.Planned = *state.Plan
	if ok, err := v.pinned(ctx); err != nil || !ok {
		return err
	}
	if err := v.open(ctx); err != nil {
		return err
	}
	defer v.store.Close()
	if err := v.walk(ctx); err != nil {
		return err
	}
	return v.settle(ctx)
}

// pinned reads the plan and compares what was counted of it in four places;
// false when there is nothing to compare objects with.
func (v *verification) pinned(ctx context.Context) (bool, error) {
	body, err := v.cfg.Queue.Plan(ctx, v.cfg.Workspace, v.cfg.Extraction)
	if errors.Is(err, queue.ErrNoPlan) {
		v.found(FindingPlan, nil, "it was dispatched, and no plan is pinned")
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if v.plan, err = messages.ParsePlan(body); err != nil {
		return false, err
	}
	if v.partition, err = newPartitionCheck(&v.commit, v.plan); err != nil {
		return false, err
	}
	if v.report.Planned.Rows != v.commit.Rows {
		v.found(FindingPlan, nil, "%d rows were committed and %d planned", v.commit.Rows, v.report.Planned.Rows)
	}
	marked, err := v.cfg.Queue.Marked(ctx, v.cfg.Workspace, v.cfg.Extraction)
	if err != nil {
		return false, err
	}
	if marked != v.report.Planned.Loads {
		v.found(FindingPlan, nil, "%d loads were put on the queue and %d planned", marked, v.report.Planned.Loads)
	}
	return true, nil
}

// open opens the destination as it is now: a rotated key counts.
func (v *verification) open(ctx context.Context) error {
	stored, err := v.cfg.Queue.Destinations().Get(ctx, v.commit.Destination)
	if errors.Is(err, queue.ErrNotFound) {
		// Not wrapped: it is the destination that is not found.
		return fmt.Errorf("destination %s is gone: apply it again to look into its bucket", v.commit.Destination)
	}
	if err != nil {
		return fmt.Errorf("destination %s: %w", v.commit.Destination, err)
	}
	settings, err := v.cfg.Keyring.Open(stored.Document)
	if err != nil {
		return fmt.Errorf("destination %s: %w", v.commit.Destination, err)
	}
	v.store, err = storage.OpenDestination(ctx, settings, v.cfg.Storage)
	return err
}

// walk looks at every outcome and its object. Outcomes are all read before the
// first download: they are as of one moment, and no download holds up the
// queue. What is kept of them is a few hundred bytes per load.
func (v *verification) walk(ctx context.Context) error {
	left, err := v.counted(ctx)
	if err != nil {
		return err
	}
	objects, within := errgroup.WithContext(ctx)
	objects.SetLimit(v.cfg.Concurrency)
	for i := range left {
		if within.Err() != nil {
			break
		}
		objects.Go(func() error { return v.object(within, &left[i]) })
	}
	return objects.Wait()
}

// counted compares the outcomes with the tallies. Where the tallies moved while
// the outcomes were read there is nothing to compare: loads still end.
func (v *verification) counted(ctx context.Context) ([]messages.Outcome, error) {
	before, err := v.cfg.Queue.Counts(ctx, v.cfg.Workspace, v.cfg.Extraction)
	if err != nil {
		return nil, err
	}
	left, err := v.outcomes(ctx)
	if err != nil {
		return nil, err
	}
	after, err := v.cfg.Queue.Counts(ctx, v.cfg.Workspace, v.cfg.Extraction)
	if err != nil {
		return nil, err
	}
	settled := after.Total().Loads >= v.report.Planned.Loads // a load may be stored and not counted yet
	if settled && maps.Equal(before, after) && !maps.Equal(after, v.walked) {
		v.found(FindingTally, nil, "the tallies count %+v, and the outcomes are %+v", after, v.walked)
	}
	return left, nil
}

// outcomes counts every outcome and gives those that left something in the
// bucket, or should have.
func (v *verification) outcomes(ctx context.Context) (left []messages.Outcome, err error) {
	v.ended, v.dead, v.walked = map[string]bool{}, map[string]messages.Outcome{}, messages.Counts{}
	for o, err := range v.cfg.Queue.Outcomes(ctx, v.cfg.Workspace, v.cfg.Extraction) {
		if err != nil {
			return nil, err
		}
		if v.ended[o.Load] {
			continue // said again while we read
		}
		v.ended[o.Load] = true
		v.report.Outcomes++
		v.report.Results[o.Result]++
		v.report.Rows += o.Rows
		v.walked.Add(&o)
		if !v.belongs(&o) {
			continue
		}
		if o.Result == messages.DeadLettered {
			v.dead[o.Load] = o
			continue
		}
		o.Bucket, o.Worker = v.plan.Bucket, "" // as it is, held once
		if !messages.Companion(o.Format) {
			o.Format = string(v.plan.File.Format)
		}
		left = append(left, o)
	}
	return left, nil
}

// belongs tells whether an outcome is of this plan: its load's id is a hash of
// where its object goes.
func (v *verification) belongs(o *messages.Outcome) bool {
	switch {
	case o.Bucket != v.plan.Bucket:
		v.found(FindingOutcome, o, "it is about bucket %q, and the plan's is %q", o.Bucket, v.plan.Bucket)
	case o.Load != messages.LoadID(v.cfg.Workspace, v.cfg.Extraction, o.Bucket, o.Key):
		v.found(FindingOutcome, o, "load %s is not the one that makes this object", o.Load)
	case o.Generation != v.commit.Generation:
		v.found(FindingOutcome, o, "it is of generation %d, and the commit's is %d", o.Generation, v.commit.Generation)
	case o.Format != string(v.plan.File.Format) && !v.accompanies(o.Format):
		v.found(FindingOutcome, o, "it is a %s file, and the plan says %s", o.Format, v.plan.File.Format)
	default:
		return true
	}
	return false
}

// accompanies reports whether the plan has objects of a format without rows.
func (v *verification) accompanies(format string) bool {
	return format == messages.FormatManifest && len(v.plan.Manifests) > 0 || format == messages.FormatSidecar && v.plan.Table != nil
}

// settle compares the outcomes as a whole with the plan, and the dead-lettered
// ones with the dead letters.
func (v *verification) settle(ctx context.Context) error {
	planned := v.report.Planned
	if v.report.Outcomes == planned.Loads && len(v.dead) == 0 {
		v.addUp()
		return nil
	}
	waiting, err := v.cfg.Queue.Waiting(ctx, v.commit.Destination, v.cfg.Extraction)
	if err != nil {
		return err
	}
	var open int64
	for load := range waiting {
		if !v.ended[load] {
			open++
		}
	}
	switch missing := planned.Loads - v.report.Outcomes; {
	case missing < 0:
		v.found(FindingPlan, nil, "%d loads were planned, and %d have an outcome", planned.Loads, v.report.Outcomes)
	case missing > 0 && open > 0:
		v.found(FindingUnfinished, nil, "%d of %d loads have no outcome yet, and %d of them wait on the queue", missing, planned.Loads, open)
	}
	if missing := planned.Loads - v.report.Outcomes - open; missing > 0 {
		v.found(FindingMissingOutcome, nil, "%d of %d loads have no outcome and are not on the queue; the outcomes account for %d of %d rows",
			missing, planned.Loads, v.report.Rows, planned.Rows)
	}
	v.addUp()
	return v.deadLetters(ctx, waiting)
}

// addUp compares rows: when each load has its outcome, a row that stands twice
// or nowhere shows in the sum.
func (v *verification) addUp() {
	planned := v.report.Planned
	if v.report.Outcomes == planned.Loads && v.report.Rows != planned.Rows {
		v.found(FindingPlan, nil, "%d rows were planned, and the outcomes' are %d", planned.Rows, v.report.Rows)
	}
}
