package messages

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

func setOf(names ...string) AccountSet {
	var a Accounts
	for _, name := range names {
		a.Add(name)
	}
	return a.Set()
}

func TestAccountSet(t *testing.T) {
	var many, most []string
	for i := range MaxAccountSet + 1 {
		many = append(many, fmt.Sprintf("account-%d", i))
	}
	most = many[1:]
	for _, c := range []struct {
		name        string
		mine, other AccountSet
		lacks       int
	}{
		{"nothing of nothing", setOf(), setOf(), 0},
		{"nothing of some", setOf(), setOf("a", "b"), 2},
		{"the same in another order", setOf("a", "b", "ü"), setOf("ü", "a", "b", "a"), 0},
		{"one is missing", setOf("a", "c"), setOf("a", "b", "c"), 1},
		{"more than there", setOf("a", "b", "c"), setOf("b"), 0},
		{"no account is one", setOf("a"), setOf("a", ""), 1},
		{"all have every one", AllAccounts, setOf("a"), 0},
		{"too many to tell", setOf("a"), setOf(many...), 0},
		{"as many as can be told", setOf(most...), setOf(many[0], many[1]), 1},
		{"damaged tells nothing", "!", setOf("a"), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.mine.Lacks(c.other); got != c.lacks {
				t.Errorf("%q lacks %d of %q, want %d", c.mine, got, c.other, c.lacks)
			}
		})
	}
	rng := rand.New(rand.NewPCG(1, 2))
	rng.Shuffle(len(most), func(i, j int) { most[i], most[j] = most[j], most[i] })
	if a, b := setOf(most...), setOf(many[1:]...); a != b || !a.Valid() || len(a) > 1100 {
		t.Errorf("the order matters, or the set is no set, or too long: %d bytes", len(a))
	}
	if setOf(many...) != AllAccounts || !AllAccounts.Valid() {
		t.Error("more than can be told are not all")
	}
	for _, s := range []AccountSet{"AA", "AAAAAA=", "AAAAAQAAAAE", "AAAAAgAAAAE", "*x"} {
		if s.Valid() {
			t.Errorf("%q is taken for a set", s)
		}
	}
}
