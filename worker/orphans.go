package worker

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/loadfleet/loadfleet/destination"
	"github.com/loadfleet/loadfleet/messages"
	"github.com/loadfleet/loadfleet/queue"
)

// Orphan is an object that loadfleet wrote and that no load to the destination
// as it is now would write again: its templates, bucket, format or partitioning
// were changed since.
type Orphan struct {
	queue.Object
	Why string `json:"why"`
	// Replaced says that objects of the present naming, of newer extractions,
	// hold every day of this one and its account. Nothing is lost with it then.
	Replaced bool `json:"replaced"`
}

// Orphans finds the orphans of a destination in the ledger of objects, by key.
// An object whose record has expired is not found. It looks at no bucket.
func Orphans(ctx context.Context, q *queue.Queue, s *destination.Settings) ([]Orphan, error) {
	naming, err := s.Naming()
	if err != nil {
		return nil, err
	}
	last := map[string]*queue.Object{} // one that is written meanwhile comes twice
	for o, err := range q.Objects().All(ctx, s.ID) {
		if err != nil {
			return nil, fmt.Errorf("objects of destination %s: %w", s.ID, err)
		}
		last[o.Bucket+"\x00"+o.Key] = &o
	}
	return orphansAmong(slices.Collect(maps.Values(last)), s, naming), nil
}

func orphansAmong(objects []*queue.Object, s *destination.Settings, n *destination.Naming) []Orphan {
	current := map[string][]*queue.Object{} // by table
	var orphans []Orphan
	for _, o := range objects {
		if messages.Companion(o.Format) {
			continue
		}
		if o.Result == messages.Deleted {
			if o.Removing { // whoever removed it may have been stopped in between
				orphans = append(orphans, Orphan{Object: *o, Why: "its removal by " + o.RemovedBy + " was not completed", Replaced: true})
			}
			continue
		}
		if why := strayed(&o.Object, s, n); why != "" {
			orphans = append(orphans, Orphan{Object: *o, Why: why})
			continue
		}
		current[tableOf(o)] = append(current[tableOf(o)], o)
	}
	for i := range orphans {
		o := &orphans[i]
		o.Replaced = o.Replaced || replaced(&o.Object, current[tableOf(&o.Object)])
	}
	slices.SortFunc(orphans, func(a, b Orphan) int { return strings.Compare(a.Bucket+"\x00"+a.Key, b.Bucket+"\x00"+b.Key) })
	return orphans
}

func tableOf(o *queue.Object) string { return o.Workspace + "\x00" + o.Table }

// strayed says why no load would write the object again; empty when one would.
func strayed(o *messages.Object, s *destination.Settings, n *destination.Naming) string {
	switch {
	case o.Bucket != s.Bucket:
		return "the destination has another bucket now: " + s.Bucket
	case o.Format != string(s.FileFormat):
		return "the destination writes " + string(s.FileFormat) + " now"
	}
	at := destination.Placed{Account: o.Account, Names: destination.Names{WorkspaceID: o.Workspace, Filename: o.Table}}
	if from, _, ok := days(o); ok {
		at.Day, at.Dated = from, true
	}
	switch {
	case n.Renders(o.Key, at):
		return ""
	case o.Account == "" && s.LoadByAccount:
		return "the destination has a file per account now"
	case o.Account != "" && !s.LoadByAccount:
		return "accounts share a file now"
	}
	return "folder, file name or partition are others now"
}

// holds reports whether n has the accounts of o. Files of single accounts do
// not replace one that accounts shared: nobody knows all of its accounts.
func holds(n, o *messages.Object) bool {
	switch {
	case n.Account != "":
		return n.Account == o.Account
	case o.Account != "":
		var a messages.Accounts
		a.Add(o.Account)
		return n.Holds != messages.AllAccounts && n.Holds.Lacks(a.Set()) == 0
	}
	return n.Holds != messages.AllAccounts && o.Holds != messages.AllAccounts && n.Holds.Lacks(o.Holds) == 0
}

// replaced reports whether newer objects hold every day of o and its account.
func replaced(o *queue.Object, current []*queue.Object) bool {
	from, to, ok := days(&o.Object)
	if !ok {
		return false
	}
	type span struct{ from, to int32 }
	var held []span
	for _, n := range current {
		first, last, ok := days(&n.Object)
		if ok && o.Before(&n.Object) && holds(&n.Object, &o.Object) {
			held = append(held, span{first, last})
		}
	}
	slices.SortFunc(held, func(a, b span) int { return int(a.from) - int(b.from) })
	for _, s := range held {
		if s.from > from {
			return false
		}
		from = max(from, s.to+1)
		if from > to {
			return true
		}
	}
	return false
}

// days is the span of an object's days; ok is false when its rows were dated by
// their load.
func days(o *messages.Object) (from, to int32, ok bool) {
	if o.From == "" {
		return 0, 0, false
	}
	first, err := time.Parse(time.DateOnly, o.From)
	if err != nil {
		return 0, 0, false
	}
	last, err := time.Parse(time.DateOnly, o.To)
	if err != nil {
		return 0, 0, false
	}
	return int32(first.Unix() / 86400), int32(last.Unix() / 86400), true
}
