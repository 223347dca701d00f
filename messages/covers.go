package messages

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

// Covers is what an extraction is complete for: all rows of these days and
// accounts are in it, also where there are none. Without it an extraction
// speaks only for the days and accounts of its rows.
type Covers struct {
	// From and To are the first and the last day, both inclusive, YYYY-MM-DD;
	// both empty when the extraction is not bound to days.
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`

	// Accounts are the accounts, each once; nil means all there are.
	Accounts []string `json:"accounts,omitempty"`
}

// What a Covers may name: enough for ten years of days, and for a day of every
// account an agency has.
const (
	MaxCoveredDays     = 3660
	MaxCoveredAccounts = 10_000
)

var coversFields = []string{"from", "to", "accounts"}

const (
	remedyDay      = "write a day as 2024-06-18"
	remedyAccounts = "list each account once, as it stands in the account column; leave the list out when the extraction covers all accounts"
)

func readCovers(o *object) *Covers {
	if !o.has("covers") {
		return nil
	}
	in, ok := readObject(o.values["covers"], "covers.", coversFields, o.found)
	if !ok {
		return nil
	}
	c := &Covers{From: in.text("from"), To: in.text("to")}
	list, listed := in.list("accounts")
	if listed {
		c.Accounts = make([]string, 0, len(list))
	}
	for i, raw := range list {
		var account string
		if err := json.Unmarshal(raw, &account); err != nil || kindOf(raw) != "a string" {
			o.found.add("covers.accounts["+strconv.Itoa(i)+"]", "write a string in double quotes", "%s where a string belongs", kindOf(raw))
			continue
		}
		c.Accounts = append(c.Accounts, account)
	}
	return c
}

func (c *Commit) checkCovers(flaw flawFunc) {
	v := c.Covers
	if v == nil {
		return
	}
	switch {
	case v.From == "" && v.To == "" && v.Accounts == nil:
		flaw("covers", "write from and to, accounts, or all three; or leave covers out", "it names neither days nor accounts")
	case v.From != "" && v.To == "":
		flaw("covers.to", remedyDay, "missing: from stands without it")
	case v.From == "" && v.To != "":
		flaw("covers.from", remedyDay, "missing: to stands without it")
	case v.From != "":
		v.checkDays(flaw)
	}
	if v.From != "" && c.DateColumn == "" {
		flaw("covers.from", "name the date_column, or leave from and to out", "the commit has no date_column that days could be told by")
	}
	if v.Accounts != nil {
		v.checkAccounts(flaw)
		if c.AccountColumn == "" {
			flaw("covers.accounts", "name the account_column, or leave accounts out", "the commit has no account_column that accounts could be told by")
		}
	}
}

func (c *Covers) checkDays(flaw flawFunc) {
	var day [2]time.Time
	for i, f := range [][2]string{{"covers.from", c.From}, {"covers.to", c.To}} {
		var err error
		if day[i], err = time.Parse(time.DateOnly, f[1]); err != nil || day[i].Year() < 1 {
			flaw(f[0], remedyDay, "%q is not a day", clip(f[1], 40))
			return
		}
	}
	days := int(day[1].Sub(day[0]).Hours()/24) + 1
	switch {
	case days < 1:
		flaw("covers.to", "write the last day, which is not before the first", "%s is before %s", c.To, c.From)
	case days > MaxCoveredDays:
		flaw("covers.to", "cover a long history with several extractions", "%d days: at most %d are taken", days, MaxCoveredDays)
	}
}

func (c *Covers) checkAccounts(flaw flawFunc) {
	if n := len(c.Accounts); n == 0 || n > MaxCoveredAccounts {
		flaw("covers.accounts", remedyAccounts, "%d accounts: 1 to %d are taken", n, MaxCoveredAccounts)
		return
	}
	seen := make(map[string]int, len(c.Accounts))
	for i, account := range c.Accounts {
		field := "covers.accounts[" + strconv.Itoa(i) + "]"
		first, twice := seen[account]
		switch {
		case account == "":
			flaw(field, remedyAccounts, "empty")
		case len(account) > MaxName:
			flaw(field, fmt.Sprintf("write at most %d bytes", MaxName), "%d bytes long: no key can hold it", len(account))
		case !utf8.ValidString(account):
			flaw(field, "write UTF-8", "%q is not UTF-8", clip(account, 80))
		case twice:
			flaw(field, remedyAccounts, "%q stands twice, in covers.accounts[%d] too", clip(account, 80), first)
		}
		seen[account] = i
	}
}

// Days is From and To as days since 1970-01-01, both inclusive; ok is false
// when the extraction is not bound to days. c may be nil.
func (c *Covers) Days() (from, to int32, ok bool) {
	if c == nil || c.From == "" {
		return 0, 0, false
	}
	first, err := time.Parse(time.DateOnly, c.From)
	if err != nil {
		return 0, 0, false
	}
	last, err := time.Parse(time.DateOnly, c.To)
	if err != nil {
		return 0, 0, false
	}
	return int32(first.Unix() / 86400), int32(last.Unix() / 86400), true
}
