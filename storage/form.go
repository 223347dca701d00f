package storage

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// form is how an object is put together. Stores commonly derive the ETag from
// the bytes and the form, so that the same bytes in another form have another
// ETag: a writer that waits with an If-Match of the first is then refused.
type form byte

const (
	whole form = 'w' // in one request; the ETag is a hash of the bytes
	parts form = 'p' // in parts of the usual size; the ETag ends in their count
	odd   form = 'o' // in parts of another size
)

// fence is how long an ETag stays dangerous after the object that had it was
// replaced. A write is signed with the time of the look that it is based on,
// and the store refuses signatures older than 15 minutes; the rest is for
// clocks that differ.
const fence = 20 * time.Minute

// use is bytes that stood at a key in a form, until some moment.
type use struct {
	sha256 string // the first 16 digits
	form   form
	until  time.Time
}

// uses is what stood at a key lately, the latest first.
type uses []use

const (
	metaHistory = "loadfleet-history"
	metaHolds   = "loadfleet-accounts"

	maxUses   = 8
	sumDigits = 16
)

// history is what an object's metadata says of it: its form, then the uses.
func history(f form, u uses) string {
	text := string(f)
	for _, one := range u {
		text += " " + one.sha256 + string(one.form) + strconv.FormatInt(one.until.Unix(), 10)
	}
	return text
}

// parseHistory reads what history wrote; what it cannot read it leaves out. The
// form of an object from before there were histories shows in its ETag.
func parseHistory(text, etag string) (f form, u uses) {
	f = whole
	if strings.Contains(strings.Trim(etag, `"`), "-") {
		f = parts
	}
	for i, one := range strings.Fields(text) {
		if i == 0 && len(one) == 1 {
			f = form(one[0])
			continue
		}
		if len(one) <= sumDigits+1 || len(u) == maxUses {
			continue
		}
		if seconds, err := strconv.ParseInt(one[sumDigits+1:], 10, 64); err == nil {
			u = append(u, use{one[:sumDigits], form(one[sumDigits]), time.Unix(seconds, 0)})
		}
	}
	return f, u
}

// after is what stood at the key lately once this object is replaced.
func (s *Stored) after(now time.Time) uses {
	if s == nil {
		return nil
	}
	f, before := parseHistory(s.History, s.ETag)
	u := uses{{shortSum(s.Meta.SHA256), f, now}}
	for _, old := range before {
		if now.Sub(old.until) < fence && len(u) < maxUses {
			u = append(u, old)
		}
	}
	return u
}

// Recall joins what before, which stood at the key until s was put, tells of the
// key's history to what s tells. more reports whether s did not tell of all of it;
// repeats, whether among that is the ETag that s has: then s is to be put over
// itself, with that history, which gives it another form.
func (s *Stored) Recall(before *Stored) (joined string, more, repeats bool) {
	now := time.Now()
	return s.join(before.after(now), now)
}

// Told joins another telling of s's own history to its own: the ledger's.
func (s *Stored) Told(other string) (joined string) {
	_, u := parseHistory(other, s.ETag)
	joined, _, _ = s.join(u, time.Now())
	return joined
}

func (s *Stored) join(u uses, now time.Time) (joined string, more, repeats bool) {
	f, all := parseHistory(s.History, s.ETag)
	for _, one := range u {
		at := slices.IndexFunc(all, func(known use) bool { return known.sha256 == one.sha256 && known.form == one.form })
		switch {
		case now.Sub(one.until) >= fence:
		case at < 0:
			more = true
			repeats = repeats || one.sha256 == shortSum(s.Meta.SHA256) && one.form == f
			all = append(all, one)
		case all[at].until.Before(one.until):
			all[at].until = one.until
		}
	}
	slices.SortStableFunc(all, func(a, b use) int { return b.until.Compare(a.until) })
	return history(f, all[:min(len(all), maxUses)]), more, repeats
}

func shortSum(sum string) string {
	if len(sum) < sumDigits {
		return fmt.Sprintf("%-*s", sumDigits, sum)[:sumDigits]
	}
	return sum[:sumDigits]
}

// choose gives the first of the forms in which these bytes have not stood at
// the key lately; when they stood there in all of them, the one that is longest
// ago, and false: a writer that has waited since then is not kept out.
func (u uses) choose(sum string, among ...form) (form, bool) {
	best, latest := among[0], time.Time{}
	for i, f := range among {
		at := slices.IndexFunc(u, func(one use) bool { return one.sha256 == shortSum(sum) && one.form == f })
		if at < 0 {
			return f, true
		}
		if i == 0 || u[at].until.Before(latest) {
			best, latest = f, u[at].until
		}
	}
	return best, false
}
