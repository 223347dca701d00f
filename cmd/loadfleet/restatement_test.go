package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/encoding"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/storage"
)

// history is a random sequence of extractions of one table into one
// destination, and what the bucket must be once all have ended.
type history struct {
	id        string
	byAccount bool
	byMonth   bool
	empty     destination.EmptyPartition
	covers    bool // each says what it is complete for

	extractions []*restating // by generation
}

// restating is one extraction: what it covers, and its rows, in order.
type restating struct {
	id         string
	generation int64
	from, to   time.Time
	accounts   []string
	rows       []restatedRow
}

type restatedRow struct {
	day     time.Time
	account string
	value   int
}

// newHistory draws one. What it leaves out is what has no one right end
// (ARCHITECTURE.md, "What is not guaranteed"): extractions of some accounts
// only, into files that accounts share.
func newHistory(random *rand.Rand, id string) *history {
	h := &history{
		id: id, byAccount: random.IntN(2) == 0, byMonth: random.IntN(3) == 0, covers: random.IntN(4) > 0,
		empty: []destination.EmptyPartition{destination.KeepEmpty, destination.DeleteEmpty, destination.EmptyFile}[random.IntN(3)],
	}
	all := []string{"a", "b/c", "c", "ä"}
	first := time.Date(2024, 1, 28, 0, 0, 0, 0, time.UTC) // and over the end of a month
	for g := range 3 + random.IntN(5) {
		from := random.IntN(6)
		x := &restating{
			id: fmt.Sprintf("%s-%d", id, g), generation: int64(100 + g),
			from: first.AddDate(0, 0, from), to: first.AddDate(0, 0, from+random.IntN(6-from)), accounts: all,
		}
		if h.byAccount {
			x.accounts = slices.Clone(all)
			random.Shuffle(len(all), func(i, j int) { x.accounts[i], x.accounts[j] = x.accounts[j], x.accounts[i] })
			x.accounts = x.accounts[:1+random.IntN(len(all))]
		}
		density := random.Float64()
		for day := x.from; !day.After(x.to); day = day.AddDate(0, 0, 1) {
			for _, account := range x.accounts {
				if !h.covers && !h.byAccount || random.Float64() < density { // without covers, shared files have all accounts
					for range 1 + random.IntN(3) {
						x.rows = append(x.rows, restatedRow{day, account, random.IntN(3)}) // few values, so that contents come again
					}
				}
			}
		}
		h.extractions = append(h.extractions, x)
	}
	return h
}

func (h *history) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: by account %t, by month %t, empty %s, covers %t\n", h.id, h.byAccount, h.byMonth, h.empty, h.covers)
	for _, x := range h.extractions {
		fmt.Fprintf(&b, "  %s %s..%s %q: %d rows\n", x.id, x.from.Format(time.DateOnly), x.to.Format(time.DateOnly), x.accounts, len(x.rows))
	}
	return b.String()
}

// key is where a row's file is; written here anew, not by the code under test.
func (h *history) key(day time.Time, account string) string {
	key := h.id + "/" + day.Format("2006-01")
	if !h.byMonth {
		key = h.id + "/" + day.Format("2006-01-02")
	}
	if h.byAccount {
		key += "-" + strings.ReplaceAll(account, "/", "%2F")
	}
	return key + ".csv"
}

// want is the bucket after all extractions, applied one by one in the order of
// their generations.
func (h *history) want() map[string]string {
	const header = "day,account,value\n"
	bucket := map[string]string{}
	for _, x := range h.extractions {
		files := map[string]string{}
		if h.covers {
			for day := x.from; !day.After(x.to); day = day.AddDate(0, 0, 1) {
				for _, account := range x.accounts {
					files[h.key(day, account)] = header
				}
			}
		}
		for _, r := range x.rows {
			key := h.key(r.day, r.account)
			if files[key] == "" {
				files[key] = header
			}
			files[key] += fmt.Sprintf("%s,%s,%d\n", r.day.Format(time.DateOnly), r.account, r.value)
		}
		for key, text := range files {
			switch {
			case text != header || h.empty == destination.EmptyFile:
				bucket[key] = text
			case h.empty == destination.DeleteEmpty:
				delete(bucket, key)
			}
		}
	}
	return bucket
}

// publish commits one extraction.
func (h *history) publish(t *testing.T, p *proving, schema *encoding.Schema, x *restating) {
	t.Helper()
	c := messages.Commit{
		WorkspaceID: provingWorkspace, Extraction: x.id, Destination: h.id, Filename: "ads", Schema: schema,
		DateColumn: "day", AccountColumn: "account", Generation: x.generation, Lane: messages.Fresh,
	}
	if h.covers {
		c.Covers = &messages.Covers{From: x.from.Format(time.DateOnly), To: x.to.Format(time.DateOnly)}
		if h.byAccount {
			c.Covers.Accounts = x.accounts
		}
	}
	e, err := p.node.queue.Extract(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	for rows := range slices.Chunk(x.rows, 5) {
		var body strings.Builder
		for _, r := range rows {
			fmt.Fprintf(&body, `{"day":%q,"account":%q,"value":%d}`+"\n", r.day.Format(time.DateOnly), r.account, r.value)
		}
		if err := e.Append(t.Context(), messages.Batch{Rows: int64(len(rows)), Format: encoding.NDJSONInput, Body: []byte(body.String())}); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestP4RestatementInAnyOrder applies random sequences of extractions, whose
// days and accounts overlap, in random orders of arrival, some at the same time
// and some one after the other: the bucket ends as if they had come in the order
// of their generations.
func TestP4RestatementInAnyOrder(t *testing.T) {
	p := startProving(t)
	var schema encoding.Schema
	if err := schema.UnmarshalJSON([]byte(`[{"name":"day","type":"date"},{"name":"account","type":"string"},{"name":"value","type":"int64"}]`)); err != nil {
		t.Fatal(err)
	}
	seed := uint64(time.Now().UnixNano())
	for i := range 60 {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		h := newHistory(random, fmt.Sprintf("history-%02d", i))
		t.Run(h.id, func(t *testing.T) {
			t.Parallel()
			settings := p.apply(t, h.id, h.settings())
			order := random.Perm(len(h.extractions))
			for _, at := range order {
				h.publish(t, p, &schema, h.extractions[at])
				if random.IntN(2) == 0 {
					p.awaitEnd(t, h.extractions[at].id)
				}
			}
			results := map[messages.Result]int64{}
			for _, x := range h.extractions {
				p.awaitEnd(t, x.id)
				for o, err := range p.node.queue.Outcomes(t.Context(), provingWorkspace, x.id) {
					if err != nil {
						t.Fatal(err)
					}
					if results[o.Result]++; o.Result == messages.DeadLettered {
						t.Errorf("%s: %s was dead-lettered: %+v", x.id, o.Key, o.Failure)
					}
				}
			}
			if d := cmp.Diff(h.want(), listing(t, settings, h.id+"/")); d != "" {
				t.Errorf("seed %d, arrival %v, results %v\n%sbucket (-want +got):\n%s", seed, order, results, h, d)
			}
			for _, x := range h.extractions {
				if report := p.verify(t, x.id); !report.OK() {
					t.Errorf("seed %d, arrival %v\n%sverify %s: %v", seed, order, h, x.id, report.Findings)
				}
			}
		})
	}
}

func (h *history) settings() string {
	name, by := "{{YYYY}}-{{MM}}", "partition_by: month\npartial_month: replace"
	if !h.byMonth {
		name, by = "{{YYYY}}-{{MM}}-{{DD}}", "partition_by: day"
	}
	if h.byAccount {
		name += "-{{account}}"
	}
	return fmt.Sprintf("folder: /%s\nfile_name: %q\nfile_format: csv\nload_by_account: %t\nempty_partition: %s\n%s", h.id, name, h.byAccount, h.empty, by)
}

// awaitEnd waits until an extraction is completed.
func (p *proving) awaitEnd(t *testing.T, extraction string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for event, err := range p.node.queue.Events(ctx, provingWorkspace, extraction, true) {
		if err != nil {
			t.Fatalf("%s: %v", extraction, err)
		}
		switch event.Kind {
		case messages.EventCompleted:
			return
		case messages.EventFailed:
			t.Fatalf("%s failed: %+v", extraction, event.Failure)
		}
	}
}

// listing is every object under a prefix with its text.
func listing(t *testing.T, s *destination.Settings, prefix string) map[string]string {
	t.Helper()
	store, err := storage.OpenDestination(t.Context(), s, storage.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	all := map[string]string{}
	for o, err := range store.List(t.Context(), s.Bucket, prefix) {
		if err != nil {
			t.Fatal(err)
		}
		body, _, err := store.Get(t.Context(), s.Bucket, o.Key)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(body)
		if err := errors.Join(err, body.Close()); err != nil {
			t.Fatal(err)
		}
		all[o.Key] = string(text)
	}
	return all
}
