package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
	"github.com/loadfleet/loadfleet/storage"
	"github.com/loadfleet/loadfleet/worker"
)

// chaosExtraction is what an extractor means to load, and what it was told.
type chaosExtraction struct {
	id         string
	target     *chaosTarget
	table      string
	generation int64
	days       []int
	large      bool
	poison     bool // one of its rows is not of the schema: all of it is refused

	mu      sync.Mutex
	content uint64 // of what was, or will be, committed
	acked   bool   // the extractor knows that it is committed
}

func (e *chaosExtraction) rows() []chaosRow {
	e.mu.Lock()
	defer e.mu.Unlock()
	return rowsOf(e.content, e.table, e.days, e.large)
}

func (e *chaosExtraction) acknowledged() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.acked
}

// byKey is the rows by the key of their object; none for one to be deleted.
func (e *chaosExtraction) byKey() map[string][]chaosRow {
	all := map[string][]chaosRow{}
	if e.target.covers {
		for d := range chaosDays {
			all[e.target.key(e.table, chaosRow{Day: chaosDay(d)})] = nil
		}
	}
	for _, r := range e.rows() {
		key := e.target.key(e.table, r)
		all[key] = append(all[key], r)
	}
	return all
}

// beats orders extractions of a table: the higher generation, then the greater id.
func (e *chaosExtraction) beats(than *chaosExtraction) bool {
	return cmp.Or(cmp.Compare(e.generation, than.generation), strings.Compare(e.id, than.id)) > 0
}

// oracle knows what was acknowledged to the extractors and works out what must
// be in the buckets and on the queue, by no code of the fleet's. It examines a
// world at rest: no load under way.
type oracle struct {
	queue   *queue.Queue
	keyring *destination.Keyring
	stores  map[string]*storage.Store // by destination, past all faults
	targets []*chaosTarget

	extractions []*chaosExtraction
	completed   map[string]int            // how often an extraction was said to be completed; nil: nobody listened
	once        bool                      // and it must be once
	orphan      func(storage.Upload) bool // tells an upload that nobody was left to abort

	violations []string
	files      map[string]string // the SHA-256 of the file that rows made under a key
	seen       struct{ loads, rows, objects, deleted, dead, again int }
}

func (o *oracle) wrong(promise, format string, args ...any) {
	o.violations = append(o.violations, promise+": "+fmt.Sprintf(format, args...))
}

// examine lists everything that is not as promised. An error means that it
// could not be established.
func (o *oracle) examine(ctx context.Context) ([]string, error) {
	o.violations, o.files = nil, map[string]string{}
	effective, err := o.effective(ctx)
	if err != nil {
		return nil, err
	}
	winners := map[string]*chaosExtraction{} // by destination and key
	for _, e := range effective {
		for key := range e.byKey() {
			name := e.target.id + " " + key
			if w := winners[name]; w == nil || e.beats(w) {
				winners[name] = e
			}
		}
	}
	if err := o.deadLetters(ctx); err != nil {
		return nil, err
	}
	for _, e := range effective {
		if err := o.account(ctx, e, winners); err != nil {
			return nil, err
		}
	}
	for _, t := range o.targets {
		if err := o.bucket(ctx, t, winners); err != nil {
			return nil, err
		}
	}
	for _, e := range o.extractions {
		if !e.acknowledged() {
			continue
		}
		report, err := worker.Verify(ctx, worker.VerifyConfig{Queue: o.queue, Keyring: o.keyring, Workspace: chaosWorkspace, Extraction: e.id})
		if errors.Is(err, queue.ErrNotFound) {
			continue // effective has said so
		}
		if err != nil {
			return nil, err
		}
		for _, f := range report.Findings {
			o.wrong("P7", "verify %s: %s at %q: %s", e.id, f.Kind, f.Key, f.Message)
		}
	}
	slices.Sort(o.violations)
	return slices.Compact(o.violations), nil
}

// effective is the extractions whose rows must be there: committed, whether or
// not the extractor heard of it, and not refused.
func (o *oracle) effective(ctx context.Context) (all []*chaosExtraction, err error) {
	for _, e := range o.extractions {
		commit, err := o.queue.Commit(ctx, chaosWorkspace, e.id)
		if errors.Is(err, queue.ErrNotFound) {
			if e.acknowledged() {
				o.wrong("P1", "extraction %s: its commit was acknowledged, and is gone", e.id)
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		want := int64(len(e.rows()))
		if e.poison {
			want++
		}
		if commit.Rows != want {
			o.wrong("P1", "extraction %s: %d rows are committed, want %d", e.id, commit.Rows, want)
		}
		if !e.poison {
			all = append(all, e)
		}
	}
	return all, nil
}

// deadLetters are one for each extraction with a poisoned row, and no others.
func (o *oracle) deadLetters(ctx context.Context) error {
	dead := map[string]int{}
	for d, err := range o.queue.DeadLetters(ctx, queue.DeadLetterFilter{}) {
		if err != nil {
			return err
		}
		if d.Stage != messages.StageDispatch {
			o.wrong("P1", "load %s of %s is dead (%s): %s", d.ID, d.Extraction, d.Failure.Reason, d.Failure.Message)
			continue
		}
		dead[d.Extraction]++
		o.seen.dead++
	}
	for _, e := range o.extractions {
		n := dead[e.id]
		delete(dead, e.id)
		if !e.poison && n > 0 {
			o.wrong("P1", "extraction %s is dead", e.id)
		}
		if e.poison && e.acknowledged() && n != 1 {
			o.wrong("P1", "extraction %s has a bad row and %d dead letters, want 1", e.id, n)
		}
		if !e.poison || n == 0 {
			continue
		}
		state, err := o.queue.State(ctx, chaosWorkspace, e.id)
		if err != nil {
			return err
		}
		if state.State != messages.EventFailed || state.Failure == nil {
			o.wrong("P7", "extraction %s has a bad row and is %s, want it failed", e.id, state.State)
		}
	}
	for id := range dead {
		o.wrong("P1", "a dead letter of extraction %s, which nobody committed", id)
	}
	return nil
}

// account compares the outcomes of an extraction with the loads it must have had.
func (o *oracle) account(ctx context.Context, e *chaosExtraction, winners map[string]*chaosExtraction) error {
	want := e.byKey()
	state, err := o.queue.State(ctx, chaosWorkspace, e.id)
	if err != nil && !errors.Is(err, queue.ErrNotFound) {
		return err
	}
	switch {
	case state == nil || state.Plan == nil:
		o.wrong("P1", "extraction %s was committed and never dispatched", e.id)
		return nil
	case state.State != messages.EventCompleted:
		o.wrong("P7", "extraction %s is %s, want it completed", e.id, state.State)
	case state.Plan.Loads != int64(len(want)) || state.Plan.Rows != int64(len(e.rows())):
		o.wrong("P2", "extraction %s was planned as %d loads of %d rows, want %d of %d", e.id, state.Plan.Loads, state.Plan.Rows, len(want), len(e.rows()))
	}
	if n := o.completed[e.id]; o.completed != nil && (n < 1 || n > 1 && o.once) {
		o.wrong("P7", "extraction %s was said to be completed %d times, want once", e.id, n)
	}
	ended := map[string]int{}
	for out, err := range o.queue.Outcomes(ctx, chaosWorkspace, e.id) {
		if err != nil {
			return err
		}
		o.seen.loads++
		o.seen.rows += int(out.Rows)
		ended[out.Key]++
		winner := winners[e.target.id+" "+out.Key]
		rows, planned := want[out.Key]
		switch {
		case !planned:
			o.wrong("P2", "extraction %s: an outcome for %s, which is no object of its rows", e.id, out.Key)
		case out.Rows != int64(len(rows)):
			o.wrong("P7", "extraction %s: the outcome of %s is of %d rows, want %d", e.id, out.Key, out.Rows, len(rows))
		case out.Bucket != e.target.bucket || out.Generation != e.generation:
			o.wrong("P7", "extraction %s: the outcome of %s names bucket %s and generation %d", e.id, out.Key, out.Bucket, out.Generation)
		case out.Result == messages.Superseded && winner == e:
			o.wrong("P4", "extraction %s: %s is superseded, and nothing newer was committed", e.id, out.Key)
		case out.Result != messages.Superseded && (out.Result == messages.Deleted) != (len(rows) == 0) || out.Result == messages.DeadLettered:
			o.wrong("P1", "extraction %s: %s ended %s", e.id, out.Key, out.Result)
		}
		if len(rows) > 0 && out.SHA256 != "" {
			o.sameBytes(e, out.Key, rows, out.SHA256)
		}
	}
	for key := range want {
		if ended[key] != 1 {
			o.wrong("P7", "extraction %s: %d outcomes of %s, want 1", e.id, ended[key], key)
		}
	}
	return nil
}

// sameBytes compares the file that rows made with the one that the same rows made
// under the same key before, in another extraction, by another worker.
func (o *oracle) sameBytes(e *chaosExtraction, key string, rows []chaosRow, sum string) {
	name := fmt.Sprintf("%s %s %x", e.target.id, key, sha256.Sum256(ndjson(rows)))
	before, again := o.files[name]
	if o.files[name] = sum; again && before != sum {
		o.wrong("P5", "extraction %s: %s has the SHA-256 %s, and the same rows made a file of %s", e.id, key, sum, before)
	}
	if again {
		o.seen.again++
	}
}

// bucket compares everything in a destination's bucket with what must be there.
// A bucket that several destinations share is looked at once for each.
func (o *oracle) bucket(ctx context.Context, t *chaosTarget, winners map[string]*chaosExtraction) error {
	store := o.stores[t.id]
	others := map[string]bool{} // keys of the bucket's other destinations
	want := map[string]*chaosExtraction{}
	for name, e := range winners {
		id, key, _ := strings.Cut(name, " ")
		switch {
		case id == t.id:
			want[key] = e
		case e.target.bucket == t.bucket:
			others[key] = true
		}
	}
	for found, err := range store.List(ctx, t.bucket, "") {
		if err != nil {
			return err
		}
		e := want[found.Key]
		if e == nil {
			if !others[found.Key] {
				o.wrong("P3", "s3://%s/%s is nobody's object", t.bucket, found.Key)
			}
			continue
		}
		delete(want, found.Key)
		if len(e.byKey()[found.Key]) == 0 {
			o.wrong("P4", "s3://%s/%s was deleted by extraction %s, and is there", t.bucket, found.Key, e.id)
			continue
		}
		b, stored, err := fetch(ctx, store, t.bucket, found.Key)
		if err != nil {
			return err
		}
		o.seen.objects++
		o.violations = append(o.violations, matches(e, found.Key, b, stored)...)
	}
	for key, e := range want {
		if len(e.byKey()[key]) == 0 {
			o.seen.deleted++
			continue
		}
		o.wrong("P1", "s3://%s/%s is missing: it is extraction %s's", t.bucket, key, e.id)
	}
	for u, err := range store.Uploads(ctx, t.bucket, "") {
		if err != nil {
			return err
		}
		if !o.orphan(u) {
			o.wrong("P3", "an upload of s3://%s/%s was left unfinished (%s)", t.bucket, u.Key, u.ID)
		}
	}
	return nil
}

func fetch(ctx context.Context, store *storage.Store, bucket, key string) ([]byte, storage.Stored, error) {
	body, stored, err := store.Get(ctx, bucket, key)
	if err != nil {
		return nil, stored, err
	}
	b, err := io.ReadAll(body)
	return b, stored, errors.Join(err, body.Close())
}

// matches compares an object with the extraction it must be of: its rows,
// exactly, its metadata, its hash.
func matches(e *chaosExtraction, key string, b []byte, stored storage.Stored) (wrong []string) {
	where := fmt.Sprintf("s3://%s/%s", e.target.bucket, key)
	add := func(promise, format string, args ...any) {
		wrong = append(wrong, promise+": "+where+" "+fmt.Sprintf(format, args...))
	}
	m, sum := stored.Meta, sha256.Sum256(b)
	switch {
	case !stored.HasMeta:
		add("P4", "carries no metadata of a load")
	case m.Generation != e.generation || m.Extraction != e.id:
		add("P4", "is extraction %s's, generation %d; want %s's, generation %d", m.Extraction, m.Generation, e.id, e.generation)
	case m.Load != messages.LoadID(chaosWorkspace, e.id, e.target.bucket, key):
		add("P5", "is load %s's, which does not make it", m.Load)
	case m.SHA256 != hex.EncodeToString(sum[:]):
		add("P3", "has bytes of SHA-256 %x and metadata of %s", sum, m.SHA256)
	}
	got, err := e.target.read(b)
	if err != nil {
		add("P3", "cannot be read: %v", err)
		return wrong
	}
	count := map[chaosRow]int{}
	for _, r := range got {
		count[r]++
	}
	for _, r := range e.byKey()[key] {
		count[r]--
	}
	var lost, more int
	var first string
	for _, r := range slices.SortedFunc(maps.Keys(count), func(a, b chaosRow) int { return strings.Compare(a.ID, b.ID) }) {
		n := count[r]
		lost, more = lost+max(0, -n), more+max(0, n)
		if n != 0 && first == "" {
			first = fmt.Sprintf("the first: %s, %+d", r, n)
		}
	}
	if lost > 0 {
		add("P1", "lacks %d of %d rows of extraction %s (%s)", lost, len(e.byKey()[key]), e.id, first)
	}
	if more > 0 {
		add("P2", "holds %d rows that are not extraction %s's, or once too often (%s)", more, e.id, first)
	}
	return wrong
}
