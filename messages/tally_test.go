package messages

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Counts go through a header as they are, below zero too; what is no counts, or is of
// results that there are not, is refused.
func TestCountsInAHeader(t *testing.T) {
	want := Counts{DeadLettered: {Loads: 1, Rows: 11, Attempts: 2}, Loaded: {Loads: -1, Bytes: -752}}
	got, err := ParseCounts(EncodeCounts(want))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	if got, err := ParseCounts(""); got != nil || err != nil {
		t.Errorf("no header: got %v, %v", got, err)
	}
	for _, bad := range []string{"{", "[]", `{"vanished":{"loads":1}}`} {
		var decode *DecodeError
		if _, err := ParseCounts(bad); !errors.As(err, &decode) {
			t.Errorf("%s: got %v, want a DecodeError", bad, err)
		}
	}
	sum := Counts{Loaded: {Loads: 1, Rows: 5}}
	sum.Take(Counts{Loaded: {Loads: 1, Rows: 5}, DeadLettered: {Loads: 1}})
	if diff := cmp.Diff(Counts{DeadLettered: {Loads: -1}}, sum); diff != "" {
		t.Errorf("what is left (-want +got):\n%s", diff)
	}
}
